/* output.c - see output.h. */
#include "base/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

/* A file of this name is made and removed. */
static npr_status try_file(const char *temp, const char *folder)
{
    int fd = open(temp, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    int full = errno == ENOSPC || errno == EDQUOT || errno == EIO;
    if (fd < 0)
        return npr_fail(full ? NPR_EIO : NPR_ECREATE, "%s: cannot create a file in it: %s", folder,
                        strerror(errno));
    close(fd);
    unlink(temp);
    return NPR_OK;
}

/* The folder a path lies in, cut off in place: "." of a bare name, "/" of "/name". */
static const char *cut_last(char *path)
{
    char *slash = strrchr(path, '/');
    if (!slash) return ".";
    while (slash > path && slash[-1] == '/') slash--;
    slash[slash == path] = 0;
    return path;
}

static npr_status try_inside(const char *folder)
{
    char *temp = npr_path("%s/.npr-output.%ld", folder, (long)getpid());
    npr_status st = temp ? try_file(temp, folder) : npr_last();
    free(temp);
    return st;
}

npr_status npr_output_folder(const char *path)
{
    struct stat s;
    char *copy = npr_strdup(path);
    if (!copy) return npr_last();
    size_t n = strlen(copy);
    while (n > 1 && copy[n - 1] == '/') copy[--n] = 0;
    const char *at = copy;
    int gone;
    while ((gone = stat(at, &s) != 0) && errno == ENOENT && strcmp(at, ".") != 0 && strcmp(at, "/") != 0)
        at = cut_last(copy);
    npr_status st = NPR_OK;
    if (gone)
        st = npr_fail(NPR_ECREATE, "%s: cannot be reached: %s", at, strerror(errno));
    else if (!S_ISDIR(s.st_mode))
        st = npr_fail(NPR_ECREATE, "%s: is a file, wanted a folder", at);
    else
        st = try_inside(at);
    free(copy);
    return st;
}

npr_status npr_output_file(const char *path, int make)
{
    struct stat s;
    char *copy = npr_strdup(path), *temp = npr_path("%s.tmp.%ld", path, (long)getpid());
    npr_status st = copy && temp ? NPR_OK : npr_last();
    const char *folder = st ? NULL : cut_last(copy);
    if (!st && path[strlen(path) - 1] == '/')
        st = npr_fail(NPR_ECREATE, "is a folder, wanted the name of a file");
    else if (!st && stat(path, &s) == 0 && !S_ISREG(s.st_mode))
        st = npr_fail(NPR_ECREATE, "is %s, wanted the name of a file",
                      S_ISDIR(s.st_mode) ? "a folder" : "no plain file");
    if (!st) st = make ? npr_folder_make(folder) : npr_output_folder(folder);
    if (!st && make) st = try_file(temp, folder);
    free(copy);
    free(temp);
    return st;
}
