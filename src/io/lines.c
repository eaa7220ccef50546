/* lines.c - see lines.h. */
#include "io/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

enum { BLOCK = 1 << 20, WINDOW = NPR_LINE_MAX + 2 + BLOCK }; /* a line that is too long is seen to be */

struct npr_lines {
    char *path;
    int fd, ended;     /* ended: the file has no more than what is in the window */
    char *window;      /* [WINDOW] */
    size_t begin, end; /* what of the window is not yet given out */
    int64_t base;      /* offset of window[0] in the file */
};

npr_status npr_lines_open(const char *path, npr_lines **out)
{
    npr_lines *l = npr_alloc(1, sizeof *l, "an open text file");
    if (!l) return npr_last();
    l->fd = -1;
    int64_t bytes;
    l->path = npr_strdup(path);
    l->window = npr_alloc_aligned(WINDOW, 1, "a block of text");
    npr_status st = l->path && l->window ? NPR_OK : npr_last();
    if (!st) st = npr_file_open(path, &l->fd, &bytes);
    if (!st) (void)posix_fadvise(l->fd, 0, 0, POSIX_FADV_SEQUENTIAL); /* advice only */
    if (st)
        npr_lines_close(l);
    else
        *out = l;
    return st;
}

void npr_lines_close(npr_lines *l)
{
    if (!l) return;
    if (l->fd >= 0) close(l->fd);
    free(l->window);
    free(l->path);
    free(l);
}

/* Move what is left to the front and read more behind it. */
static npr_status refill(npr_lines *l)
{
    memmove(l->window, l->window + l->begin, l->end - l->begin);
    l->base += (int64_t)l->begin;
    l->end -= l->begin;
    l->begin = 0;
    for (;;) {
        ssize_t n = npr_fault("lines.read")
                        ? (errno = EIO, -1)
                        : pread(l->fd, l->window + l->end, WINDOW - l->end, l->base + (off_t)l->end);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0)
            return npr_fail(NPR_EIO, "%s: cannot read at byte %lld: %s", l->path,
                            (long long)l->base + (long long)l->end, strerror(errno));
        l->end += (size_t)n;
        l->ended = n == 0;
        return NPR_OK;
    }
}

int npr_lines_starts_with(npr_lines *l, const char *bytes)
{
    if (l->end == 0 && refill(l)) return 0; /* the next line will say why */
    return l->end >= strlen(bytes) && !memcmp(l->window, bytes, strlen(bytes));
}

npr_status npr_lines_next(npr_lines *l, const char **line, size_t *n)
{
    size_t seen = 0; /* bytes of the window known to have no line break */
    char *stop = NULL;
    for (;;) {
        if (l->end > l->begin + seen)
            stop = memchr(l->window + l->begin + seen, '\n', l->end - l->begin - seen);
        seen = stop ? (size_t)(stop - l->window) - l->begin : l->end - l->begin;
        if (stop || l->ended || seen > NPR_LINE_MAX + 1) break;
        NPR_TRY(refill(l));
    }
    *line = seen || stop ? l->window + l->begin : NULL;
    *n = seen && (*line)[seen - 1] == '\r' ? seen - 1 : seen;
    if (*n > NPR_LINE_MAX)
        return npr_fail(NPR_EDATA, "%s: the line at byte %lld is longer than %d bytes", l->path,
                        (long long)npr_lines_offset(l), NPR_LINE_MAX);
    l->begin += seen + (stop != NULL);
    return NPR_OK;
}

int64_t npr_lines_offset(const npr_lines *l)
{
    return l->base + (int64_t)l->begin;
}

npr_status npr_lines_seek(npr_lines *l, int64_t offset)
{
    if (offset < 0) return npr_fail(NPR_EINTERNAL, "%s: seek to byte %lld", l->path, (long long)offset);
    l->base = offset;
    l->begin = l->end = 0;
    l->ended = 0;
    return NPR_OK;
}
