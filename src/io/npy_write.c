/* npy_write.c - writing .npy arrays of float16. See npr/source.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "io/rows.h"
#include "npr/source.h"

enum { HEADER = 128 }; /* a multiple of 64, as numpy aligns it, and room for any shape */

struct npr_npy_writer {
    char *path, *temp;
    int fd, dim;
    int64_t rows, done;
    npr_status st; /* of the first append that failed */
};

static npr_status write_header(npr_npy_writer *w)
{
    unsigned char header[HEADER] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, HEADER - 10, 0};
    int n = snprintf((char *)header + 10, HEADER - 10,
                     "{'descr': '<f2', 'fortran_order': False, 'shape': (%lld, %d), }", (long long)w->rows,
                     w->dim);
    memset(header + 10 + n, ' ', (size_t)(HEADER - 11 - n));
    header[HEADER - 1] = '\n';
    return npr_file_write_all(w->fd, w->temp, header, HEADER);
}

/* Frees w; the temporary file is removed unless it was published. */
static void release(npr_npy_writer *w, int published)
{
    if (w->fd >= 0) close(w->fd);
    if (w->temp && !published) unlink(w->temp);
    free(w->temp);
    free(w->path);
    free(w);
}

npr_status npr_npy_create(const char *path, int64_t rows, int dim, npr_npy_writer **out)
{
    if (rows < 0 || dim < 1 || dim > NPR_DIM_MAX || rows > INT64_MAX / 2 / dim - HEADER)
        return npr_fail(NPR_EINTERNAL, "%s: an array of %lld rows of %d values", path, (long long)rows, dim);
    npr_npy_writer *w = npr_alloc(1, sizeof *w, "a .npy file being written");
    if (!w) return npr_last();
    *w = (npr_npy_writer){.path = npr_strdup(path), .fd = -1, .dim = dim, .rows = rows};
    w->temp = npr_file_temporary(path);
    npr_status st = w->path && w->temp ? npr_file_create(w->temp, &w->fd) : npr_last();
    if (!st) st = write_header(w);
    if (st)
        release(w, 0);
    else
        *out = w;
    return st;
}

npr_status npr_npy_append(npr_npy_writer *w, const uint16_t *rows, int64_t n)
{
    if (w->st) return w->st;
    if (n < 0 || n > w->rows - w->done)
        w->st = npr_fail(NPR_EINTERNAL, "%s: %lld rows beyond the %lld of its %lld", w->path, (long long)n,
                         (long long)w->done, (long long)w->rows);
    else
        w->st = npr_file_write_all(w->fd, w->temp, rows, (size_t)n * (size_t)w->dim * sizeof *rows);
    w->done += n;
    return w->st;
}

npr_status npr_npy_finish(npr_npy_writer *w)
{
    npr_status st = w->st;
    if (st) st = npr_fail(st, "%s: an earlier write failed", w->path);
    if (!st && w->done != w->rows)
        st = npr_fail(NPR_EINTERNAL, "%s: %lld of %lld rows were written", w->path, (long long)w->done,
                      (long long)w->rows);
    int fd = w->fd;
    w->fd = -1;
    if (close(fd) && !st) st = npr_fail(NPR_EIO, "%s: cannot close: %s", w->temp, strerror(errno));
    if (!st) st = npr_file_publish(w->temp, w->path);
    release(w, !st);
    return st;
}

void npr_npy_abandon(npr_npy_writer *w)
{
    if (w) release(w, 0);
}
