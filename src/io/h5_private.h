/* h5_private.h - what h5.c, h5_read.c and h5_write.c share. The only place where hdf5.h is included: nothing
 * outside of these three files sees HDF5. */
#ifndef NPR_IO_H5_PRIVATE_H
#define NPR_IO_H5_PRIVATE_H

#define H5Dread_chunk_vers 1 /* HDF5 2 has a second form; the first works from 1.10.3 on */
#include <hdf5.h>

#include "base/digest.h"
#include "io/h5.h"

enum { NPR_H5_CHECKSUM = 4 };

struct npr_h5 {
    hid_t id;
    char *path;
    int64_t bytes; /* size of a file open for reading */
    int writing;
};

struct npr_h5_column {
    const npr_h5 *file;
    hid_t id;
    npr_h5_shape shape;
    size_t row_bytes, chunk_bytes;
    int64_t rows;       /* whole column; while writing: in chunks already written */
    int64_t staged;     /* writing: rows in buf */
    int64_t chunk;      /* reading: number of the chunk in buf, -1 = none */
    char *buf;          /* [chunk_bytes + NPR_H5_CHECKSUM] */
    npr_digest *digest; /* writing: of all rows appended */
};

/* A column without its dataset; the type of its values (close it with H5Tclose; negative on failure). */
npr_status npr_h5_column_make(const npr_h5 *f, const npr_h5_shape *shape, npr_h5_column **out);
hid_t npr_h5_type(npr_value v);

/* HDF5 has just failed to write or read `what`: make a sentence of its error stack. */
npr_status npr_h5_write_failed(const npr_h5 *f, const char *what);
npr_status npr_h5_read_failed(const npr_h5 *f, const char *what);

#endif
