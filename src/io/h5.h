/* h5.h - an HDF5 file of columns, read and written chunk by chunk. h5.c is the only user of hdf5.h.
 *
 * A column is a dataset [rows][width] of one type of value, cut into chunks of rows, each guarded by HDF5's
 * fletcher32. Chunks are moved whole (H5Dread_chunk, H5Dwrite_chunk) and the checksum is worked out here. To
 * other HDF5 software the file is an ordinary one; to us it means that no filter or plug-in ever runs on
 * bytes from outside, that a chunk which was never written is an error and not a fill value, and that reading
 * is twice as fast as through the filter. HDF5 is called by one thread of a process at a time. Local. */
#ifndef NPR_IO_H5_H
#define NPR_IO_H5_H

#include <stddef.h>
#include <stdint.h>

#include "npr/status.h"

/* Types of values, all little-endian in the file. */
typedef enum npr_value { NPR_HALF, NPR_FLOAT, NPR_INT64, NPR_INT32, NPR_BYTE } npr_value;

size_t npr_value_bytes(npr_value v);

typedef struct npr_h5_shape {
    const char *name; /* a string constant */
    npr_value value;
    int width;     /* values in a row: 1 makes a dataset of one dimension */
    int64_t chunk; /* rows in a chunk; a chunk has an even number of bytes */
} npr_h5_shape;

typedef struct npr_h5 npr_h5;               /* a file */
typedef struct npr_h5_column npr_h5_column; /* a column of it; release before the file */

/* ---- writing ---- */

npr_status npr_h5_create(const char *path, npr_h5 **out);

/* A new empty column. */
npr_status npr_h5_add(npr_h5 *f, const npr_h5_shape *shape, npr_h5_column **out);

/* Append n rows; a chunk is written when it is full. */
npr_status npr_h5_append(npr_h5_column *c, const void *rows, int64_t n);

/* Write what is left over. Then npr_h5_column_rows() and npr_h5_column_written() are final. */
npr_status npr_h5_finish(npr_h5_column *c);

/* Digest (base/digest.h) of the rows appended. */
void npr_h5_column_written(const npr_h5_column *c, char hex[33]);

/* Flush and close a file; frees f, also on failure. A file is good only if this and every call before it
 * succeeded. */
npr_status npr_h5_close(npr_h5 *f);

/* Close a file that is given up: its space is released first, so that closing needs none on a full disk. */
void npr_h5_discard(npr_h5 *f);

/* ---- reading ---- */

/* Open a file: it must have the superblock with checksums that npr_h5_create() makes. */
npr_status npr_h5_open(const char *path, npr_h5 **out);

const char *npr_h5_path(const npr_h5 *f);
int npr_h5_columns(const npr_h5 *f); /* number of links in the root group, -1 on failure */

/* Find a column: a chunked dataset in this file itself, with exactly this shape and only the fletcher32
 * filter; anything else under its name (links, external or virtual storage, other filters, types or chunks)
 * is refused. rows: how many it must have, -1 = any number that the file has room for. */
npr_status npr_h5_find(npr_h5 *f, const npr_h5_shape *shape, int64_t rows, npr_h5_column **out);

int64_t npr_h5_column_rows(const npr_h5_column *c);

/* Read rows [row0, row0 + n); the last chunk touched is kept. The caller has checked the range. */
npr_status npr_h5_read(npr_h5_column *c, int64_t row0, int64_t n, void *out);

/* Read the rows of an ascending list of row numbers, each chunk once. The caller has checked the range. */
npr_status npr_h5_pick(npr_h5_column *c, const int64_t *row, int64_t n, void *out);

/* The rows of a chunk, which there is, where they were read; they stay until the next read of the column. */
npr_status npr_h5_view(npr_h5_column *c, int64_t chunk, const void **rows);

/* Digest of all rows as they are in the file. */
npr_status npr_h5_digest(npr_h5_column *c, char hex[33]);

/* Release a column; NULL is fine. */
void npr_h5_column_free(npr_h5_column *c);

/* Library name and version, for --version. */
const char *npr_h5_version(void);

#endif
