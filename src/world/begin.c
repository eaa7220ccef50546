/* begin.c - see begin.h. */
#include "world/begin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "npr/comm.h"

enum { SMALL_FILES = 16, FILES_MAX = 1000000 };

npr_status world_cut(int64_t total, int64_t file_rows, int64_t step, int64_t file_max, world_files *files)
{
    if (file_rows == 0) {
        file_rows = (total / SMALL_FILES / step + 1) * step;
        if (file_rows > file_max) file_rows = file_max;
    }
    int64_t count = (total + file_rows - 1) / file_rows;
    if (count > FILES_MAX)
        return npr_fail(NPR_EUSAGE, "%lld rows in files of %lld would be %lld files; wanted at most %d",
                        (long long)total, (long long)file_rows, (long long)count, FILES_MAX);
    *files = (world_files){file_rows, total, (int)count};
    return NPR_OK;
}

int64_t world_rows_of(const world_files *files, int file)
{
    int64_t left = files->total - (int64_t)file * files->rows;
    return left < files->rows ? left : files->rows;
}

npr_status world_write_small(const char *out, const char *name, const void *bytes, size_t n)
{
    char *path = npr_path("%s/%s", out, name);
    npr_status st = path ? npr_file_replace(path, bytes, n) : npr_last();
    free(path);
    return st;
}

npr_status world_stop(void)
{
    if (!npr_stop_requested()) return NPR_OK;
    return npr_fail(NPR_ESTOP, "stopped on request; finished files are kept, run the same command again");
}

static npr_status check_same_world(const char *path, const char *wanted)
{
    enum { WORLD_MAX = 1 << 16 };
    char *found;
    size_t n;
    NPR_TRY(npr_file_read(path, WORLD_MAX, &found, &n));
    size_t at = 0, line = 0;
    for (; found[at] && found[at] == wanted[at]; at++)
        if (found[at] == '\n') line = at + 1;
    npr_status st = NPR_OK;
    if (found[at] || wanted[at])
        st = npr_fail(NPR_ECREATE, "%s: the folder holds another world: wanted \"%.*s\", found \"%.*s\"",
                      path, (int)strcspn(wanted + line, "\n"), wanted + line,
                      (int)strcspn(found + line, "\n"), found + line);
    free(found);
    return st;
}

/* Every run at this world has its .lock open, locked and shared, until the process ends. Who gets it alone is
 * the only run: it stays so until it shares it, and those that come meanwhile wait. Where there are no locks,
 * or nothing can be written, nobody knows. (Where locks are local to a node, two nodes both get it.) */
static int is_only_run(const char *out, int *fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char *path = npr_path("%s/.lock", out);
    *fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666) : -1;
    free(path);
    return *fd >= 0 && !fcntl(*fd, F_OFD_SETLK, &lock);
}

static void share_lock(int fd)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    while (fd >= 0 && fcntl(fd, F_OFD_SETLKW, &lock) && errno == EINTR && !npr_stop_requested()) continue;
}

/* Write world.txt, or see that it is of this world: then it was there before. */
static npr_status claim(const char *out, const char *what, const char *identity, int *old)
{
    char *path = npr_path("%s/world.txt", out), *text = npr_path("%s%s", what, identity);
    npr_status st = path && text ? NPR_OK : npr_last();
    *old = !st && npr_file_exists(path);
    if (!st) st = *old ? check_same_world(path, text) : npr_file_replace(path, text, strlen(text));
    free(path);
    free(text);
    return st;
}

static npr_status make_folders(const char *out, const char *const *folder, size_t folders, int tidy)
{
    npr_status st = tidy ? npr_folder_tidy(out) : NPR_OK;
    for (size_t i = 0; i < folders && !st; i++) {
        char *path = npr_path("%s/%s", out, folder[i]);
        st = path ? npr_folder_make(path) : npr_last();
        if (!st && tidy) st = npr_folder_tidy(path);
        free(path);
    }
    return st;
}

npr_status world_begin(const char *out, const char *what, const char *identity, const char *const *folder,
                       size_t folders)
{
    NPR_TRY(npr_folder_make(out));
    int fd, old, only = is_only_run(out, &fd);
    if (!only) share_lock(fd);
    npr_status st = claim(out, what, identity, &old);
    /* what lies in a folder that was no world is somebody else's */
    if (!st) st = make_folders(out, folder, folders, only && old);
    if (only) share_lock(fd);
    return st;
}
