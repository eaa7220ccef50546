/* npy.c - reading .npy arrays of embeddings in blocks. See npr/source.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/half.h"
#include "base/mem.h"
#include "io/npy_header.h"
#include "npr/source.h"

enum { BLOCK = 1 << 16 }; /* values converted at a time */

struct npr_npy {
    char *path;
    int fd;
    npr_npy_shape shape;
    int64_t data; /* offset of row 0 */
    void *block;  /* [BLOCK] values of the file's type, on their way to another; made when first needed */
};

/* n bytes at an offset; *got is less at the end of the file. */
static npr_status read_at(const npr_npy *f, int64_t offset, void *to, size_t n, size_t *got)
{
    for (*got = 0; *got < n;) {
        ssize_t m = npr_fault("npy.read") ? (errno = EIO, -1)
                                          : pread(f->fd, (char *)to + *got, n - *got, offset + (off_t)*got);
        if (m < 0 && errno == EINTR) continue;
        if (m < 0)
            return npr_fail(NPR_EIO, "%s: cannot read at byte %lld: %s", f->path,
                            (long long)offset + (long long)*got, strerror(errno));
        if (m == 0) break;
        *got += (size_t)m;
    }
    return NPR_OK;
}

static npr_status read_header(npr_npy *f)
{
    unsigned char prefix[NPR_NPY_PREFIX];
    size_t got, begin, length;
    NPR_TRY(read_at(f, 0, prefix, sizeof prefix, &got));
    NPR_TRY(npr_npy_prefix(f->path, prefix, got, &begin, &length));
    char *text = npr_alloc(length, 1, "a .npy header");
    if (!text) return npr_last();
    npr_status st = read_at(f, (int64_t)begin, text, length, &got);
    if (!st && got < length)
        st = npr_fail(NPR_EDATA, "%s: truncated in its header: %zu bytes, the header alone has %zu", f->path,
                      begin + got, begin + length);
    if (!st) st = npr_npy_header(f->path, text, length, &f->shape);
    free(text);
    f->data = (int64_t)(begin + length);
    return st;
}

/* The file must hold the array, the whole array, and nothing but the array. */
static npr_status check_size(const npr_npy *f, int64_t found)
{
    int64_t wanted;
    if (__builtin_mul_overflow(f->shape.rows, (int64_t)f->shape.dim * f->shape.value_bytes, &wanted) ||
        __builtin_add_overflow(wanted, f->data, &wanted))
        return npr_fail(NPR_EDATA, "%s: its shape (%lld, %d) makes more than 2^63 bytes", f->path,
                        (long long)f->shape.rows, f->shape.dim);
    if (found == wanted) return NPR_OK;
    return npr_fail(NPR_EDATA, "%s: %s: it has %lld bytes, its header and shape (%lld, %d) of %s make %lld",
                    f->path, found < wanted ? "truncated" : "too long", (long long)found,
                    (long long)f->shape.rows, f->shape.dim, f->shape.value_bytes == 2 ? "float16" : "float32",
                    (long long)wanted);
}

npr_status npr_npy_open(const char *path, npr_npy **out)
{
    npr_npy *f = npr_alloc(1, sizeof *f, "an open .npy file");
    if (!f) return npr_last();
    f->fd = -1;
    int64_t bytes = 0;
    npr_status st = (f->path = npr_strdup(path)) ? npr_file_open(path, &f->fd, &bytes) : npr_last();
    if (!st) st = read_header(f);
    if (!st) st = check_size(f, bytes);
    if (!st) (void)posix_fadvise(f->fd, 0, 0, POSIX_FADV_SEQUENTIAL); /* advice only */
    if (st)
        npr_npy_close(f);
    else
        *out = f;
    return st;
}

void npr_npy_close(npr_npy *f)
{
    if (!f) return;
    if (f->fd >= 0) close(f->fd);
    free(f->block);
    free(f->path);
    free(f);
}

int64_t npr_npy_rows(const npr_npy *f)
{
    return f->shape.rows;
}

int npr_npy_dim(const npr_npy *f)
{
    return f->shape.dim;
}

int npr_npy_value_bytes(const npr_npy *f)
{
    return f->shape.value_bytes;
}

int64_t npr_npy_offset(const npr_npy *f, int64_t row)
{
    return f->data + row * f->shape.dim * f->shape.value_bytes;
}

/* n values at a byte offset, all of them. */
static npr_status read_values(const npr_npy *f, int64_t offset, size_t n, void *out)
{
    size_t bytes = n * (size_t)f->shape.value_bytes, got;
    NPR_TRY(read_at(f, offset, out, bytes, &got));
    if (got < bytes)
        return npr_fail(NPR_EIO, "%s: became shorter while being read: it ends at byte %lld", f->path,
                        (long long)offset + (long long)got);
    return NPR_OK;
}

/* Values of rows [row0, row0 + n) as `want` bytes each: read straight into out, or through the block. */
static npr_status read_rows(npr_npy *f, int64_t row0, int64_t n, int want, void *out)
{
    if (row0 < 0 || n < 0 || n > f->shape.rows - row0)
        return npr_fail(NPR_EINTERNAL, "%s: rows %lld to %lld of %lld", f->path, (long long)row0,
                        (long long)(row0 + n), (long long)f->shape.rows);
    int64_t offset = npr_npy_offset(f, row0);
    size_t left = (size_t)n * (size_t)f->shape.dim;
    if (want == f->shape.value_bytes) return read_values(f, offset, left, out);
    if (!f->block && !(f->block = npr_alloc_aligned(BLOCK, sizeof(float), "a block of values")))
        return npr_last();
    uint16_t *half = out;
    float *single = out;
    for (size_t m; left > 0; left -= m) {
        m = left < BLOCK ? left : BLOCK;
        NPR_TRY(read_values(f, offset, m, f->block));
        offset += (int64_t)m * f->shape.value_bytes;
        if (want == 2) {
            npr_half_from_float(f->block, half, m);
            half += m;
        } else {
            npr_half_to_float(f->block, single, m);
            single += m;
        }
    }
    return NPR_OK;
}

npr_status npr_npy_read_half(npr_npy *f, int64_t row0, int64_t n, uint16_t *out)
{
    return read_rows(f, row0, n, 2, out);
}

npr_status npr_npy_read_float(npr_npy *f, int64_t row0, int64_t n, float *out)
{
    return read_rows(f, row0, n, 4, out);
}
