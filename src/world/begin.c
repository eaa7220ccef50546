/* begin.c - see begin.h. */
#include "world/begin.h"

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

/* Is this the only run at this world? world.txt stays open and locked until the process ends. Where there are
 * no locks, or nothing can be written, nobody knows. */
static int is_only_run(const char *path)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd >= 0 && !fcntl(fd, F_OFD_SETLK, &lock)) return 1;
    if (fd >= 0) close(fd);
    return 0;
}

npr_status world_begin(const char *out, const char *what, const char *identity, const char *const *folder,
                       size_t folders)
{
    NPR_TRY(npr_folder_make(out));
    char *path = npr_path("%s/world.txt", out), *text = npr_path("%s%s", what, identity);
    npr_status st = path && text ? NPR_OK : npr_last();
    if (!st && npr_file_exists(path))
        st = check_same_world(path, text);
    else if (!st)
        st = npr_file_replace(path, text, strlen(text));
    int tidy = !st && is_only_run(path);
    free(path);
    free(text);
    if (tidy) st = npr_folder_tidy(out);
    for (size_t i = 0; i < folders && !st; i++) {
        path = npr_path("%s/%s", out, folder[i]);
        st = path ? npr_folder_make(path) : npr_last();
        if (!st && tidy) st = npr_folder_tidy(path);
        free(path);
    }
    return st;
}
