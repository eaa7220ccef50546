/* h5_write.c - columns into a file. See h5.h. */
#include "io/h5_private.h"

#include <string.h>

#include "base/mem.h"
#include "io/fletcher32.h"

/* What other software reads where a chunk is missing: NaN and -1, which no good row has, never a plausible 0.
 */
static herr_t set_fill(hid_t plist, hid_t type, npr_value v)
{
    static const uint16_t half_nan = 0x7e00;
    static const uint32_t float_nan = 0x7fc00000;
    static const int64_t minus_one = -1;
    static const uint8_t zero = 0;
    const void *fill = v == NPR_HALF    ? (const void *)&half_nan
                       : v == NPR_FLOAT ? &float_nan
                       : v == NPR_BYTE  ? &zero
                                        : (const void *)&minus_one;
    return H5Pset_fill_value(plist, type, fill);
}

static hid_t create_dataset(const npr_h5 *f, const npr_h5_shape *s)
{
    int dims = s->width == 1 ? 1 : 2;
    hsize_t empty[2] = {0, (hsize_t)s->width}, most[2] = {H5S_UNLIMITED, (hsize_t)s->width};
    hsize_t chunk[2] = {(hsize_t)s->chunk, (hsize_t)s->width};
    hid_t type = npr_h5_type(s->value), space = H5Screate_simple(dims, empty, most),
          plist = H5Pcreate(H5P_DATASET_CREATE);
    hid_t id = H5I_INVALID_HID;
    if (type >= 0 && space >= 0 && plist >= 0 && H5Pset_chunk(plist, dims, chunk) >= 0 &&
        H5Pset_fletcher32(plist) >= 0 && set_fill(plist, type, s->value) >= 0 &&
        H5Pset_obj_track_times(plist, 0) >= 0)
        id = H5Dcreate2(f->id, s->name, type, space, H5P_DEFAULT, plist, H5P_DEFAULT);
    if (type >= 0) H5Tclose(type);
    if (space >= 0) H5Sclose(space);
    if (plist >= 0) H5Pclose(plist);
    return id;
}

npr_status npr_h5_add(npr_h5 *f, const npr_h5_shape *shape, npr_h5_column **out)
{
    npr_h5_column *c;
    NPR_TRY(npr_h5_column_make(f, shape, &c));
    npr_status st = NPR_OK;
    if (!(c->digest = npr_digest_new()))
        st = npr_last();
    else if ((c->id = create_dataset(f, shape)) < 0)
        st = npr_h5_write_failed(f, shape->name);
    if (st)
        npr_h5_column_free(c);
    else
        *out = c;
    return st;
}

/* A chunk in the file is always whole: behind the last row it is zero. */
static npr_status write_chunk(npr_h5_column *c)
{
    size_t used = (size_t)c->staged * c->row_bytes;
    memset(c->buf + used, 0, c->chunk_bytes - used);
    uint32_t check = npr_fletcher32(c->buf, c->chunk_bytes);
    memcpy(c->buf + c->chunk_bytes, &check, NPR_H5_CHECKSUM);
    hsize_t at[2] = {(hsize_t)c->rows, 0},
            size[2] = {(hsize_t)(c->rows + c->staged), (hsize_t)c->shape.width};
    if (npr_fault("part.write") || H5Dset_extent(c->id, size) < 0 ||
        H5Dwrite_chunk(c->id, H5P_DEFAULT, 0, at, c->chunk_bytes + NPR_H5_CHECKSUM, c->buf) < 0)
        return npr_h5_write_failed(c->file, c->shape.name);
    c->rows += c->staged;
    c->staged = 0;
    return NPR_OK;
}

npr_status npr_h5_append(npr_h5_column *c, const void *rows, int64_t n)
{
    const char *from = rows;
    npr_digest_add(c->digest, rows, (size_t)n * c->row_bytes);
    while (n > 0) {
        int64_t room = c->shape.chunk - c->staged, m = n < room ? n : room;
        memcpy(c->buf + (size_t)c->staged * c->row_bytes, from, (size_t)m * c->row_bytes);
        c->staged += m;
        from += (size_t)m * c->row_bytes;
        n -= m;
        if (c->staged == c->shape.chunk) NPR_TRY(write_chunk(c));
    }
    return NPR_OK;
}

npr_status npr_h5_finish(npr_h5_column *c)
{
    return c->staged ? write_chunk(c) : NPR_OK;
}

void npr_h5_column_written(const npr_h5_column *c, char hex[33])
{
    npr_digest_hex(c->digest, hex);
}
