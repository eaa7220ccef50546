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
    if (fd < 0)
        return npr_fail(npr_status_from_create(errno), "%s: cannot create a file in it: %s", folder,
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

static npr_status try_inside(const char *folder, npr_output_how how)
{
    if (how == NPR_OUTPUT_LOOK)
        return access(folder, W_OK | X_OK)
                   ? npr_fail(NPR_ECREATE, "%s: cannot create a file in it: %s", folder, strerror(errno))
                   : NPR_OK;
    char *temp = npr_path("%s/.npr-output.%ld", folder, (long)getpid());
    npr_status st = temp ? try_file(temp, folder) : npr_last();
    free(temp);
    return st;
}

npr_status npr_output_folder(const char *path, npr_output_how how)
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
        st = try_inside(at, how);
    free(copy);
    return st;
}

npr_status npr_output_file(const char *path, npr_output_how how)
{
    struct stat s;
    char *copy = npr_strdup(path), *temp = npr_file_temporary(path);
    npr_status st = copy && temp ? NPR_OK : npr_last();
    const char *folder = st ? NULL : cut_last(copy);
    if (!st && path[strlen(path) - 1] == '/')
        st = npr_fail(NPR_ECREATE, "is a folder, wanted the name of a file");
    else if (!st && stat(path, &s) == 0 && !S_ISREG(s.st_mode))
        st = npr_fail(NPR_ECREATE, "is %s, wanted the name of a file",
                      S_ISDIR(s.st_mode) ? "a folder" : "no plain file");
    int make = how == NPR_OUTPUT_MAKE;
    if (!st) st = make ? npr_folder_make(folder) : npr_output_folder(folder, how);
    if (!st && make) st = try_file(temp, folder);
    free(copy);
    free(temp);
    return st;
}

/* The next name of a path behind an absolute place without links, which is taken over. */
static char *step(char *place, const char *name)
{
    if (!strcmp(name, ".")) return place;
    if (!strcmp(name, "..")) return cut_last(place), place;
    char *next = npr_path("%s/%s", place[1] ? place : "", name);
    free(place);
    struct stat s;
    char *real = next && !stat(next, &s) && S_ISDIR(s.st_mode) ? realpath(next, NULL) : NULL;
    if (!real) return next; /* not there yet, or a file, whose name is what counts */
    free(next);
    return real;
}

char *npr_output_place(const char *path)
{
    char *copy = npr_strdup(path), *save = NULL;
    char *place = copy ? realpath(path[0] == '/' ? "/" : ".", NULL) : NULL;
    if (copy && !place) npr_fail(NPR_ECREATE, "%s: cannot tell where it lies: %s", path, strerror(errno));
    for (char *name = copy ? strtok_r(copy, "/", &save) : NULL; name && place;
         name = strtok_r(NULL, "/", &save))
        place = step(place, name);
    free(copy);
    return place;
}
