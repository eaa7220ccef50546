/* npy_header.h - the header of a .npy file: what it must say for npr to read the array. Local. */
#ifndef NPR_IO_NPY_HEADER_H
#define NPR_IO_NPY_HEADER_H

#include <stddef.h>
#include <stdint.h>

#include "npr/status.h"

enum {
    NPR_NPY_PREFIX = 12,       /* magic, version and the longest form of the header's length */
    NPR_NPY_HEADER_MAX = 65536 /* a header of ours needs 128 bytes */
};

typedef struct npr_npy_shape {
    int64_t rows;
    int dim, value_bytes; /* 2: float16, 4: float32 */
} npr_npy_shape;

/* Where the header's text begins and how long it is, from the first n (up to NPR_NPY_PREFIX) bytes of a file.
 */
npr_status npr_npy_prefix(const char *path, const unsigned char *bytes, size_t n, size_t *begin,
                          size_t *length);

/* Read the text of a header: a Python dictionary with exactly the keys descr, fortran_order and shape. */
npr_status npr_npy_header(const char *path, const char *text, size_t n, npr_npy_shape *shape);

#endif
