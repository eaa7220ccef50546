/* h5_read.c - columns out of a file that is not trusted. See h5.h. */
#include "io/h5_private.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "io/fletcher32.h"

int npr_h5_columns(const npr_h5 *f)
{
    H5G_info_t info;
    return H5Gget_info(f->id, &info) < 0 || info.nlinks > 1000 ? -1 : (int)info.nlinks;
}

static npr_status open_dataset(npr_h5_column *c)
{
    const npr_h5 *f = c->file;
    const char *name = c->shape.name;
    H5L_info_t link;
    H5O_info_t object;
    htri_t there = H5Lexists(f->id, name, H5P_DEFAULT);
    if (there == 0) return npr_fail(NPR_EDATA, "%s: has no dataset \"%s\"", f->path, name);
    if (there < 0 || H5Lget_info(f->id, name, &link, H5P_DEFAULT) < 0) return npr_h5_read_failed(f, name);
    if (link.type != H5L_TYPE_HARD)
        return npr_fail(NPR_EDATA, "%s: \"%s\" is a link, a part must hold its data itself", f->path, name);
    if (H5Oget_info_by_name(f->id, name, &object, H5P_DEFAULT) < 0) return npr_h5_read_failed(f, name);
    if (object.type != H5O_TYPE_DATASET)
        return npr_fail(NPR_EDATA, "%s: \"%s\" is not a dataset", f->path, name);
    c->id = H5Dopen2(f->id, name, H5P_DEFAULT);
    return c->id < 0 ? npr_h5_read_failed(f, name) : NPR_OK;
}

static npr_status check_type(const npr_h5_column *c)
{
    static const char *const names[] = {[NPR_HALF] = "float16",
                                        [NPR_FLOAT] = "float32",
                                        [NPR_INT64] = "int64",
                                        [NPR_INT32] = "int32",
                                        [NPR_BYTE] = "uint8"};
    hid_t found = H5Dget_type(c->id), want = npr_h5_type(c->shape.value);
    htri_t same = found >= 0 && want >= 0 ? H5Tequal(found, want) : -1;
    if (found >= 0) H5Tclose(found);
    if (want >= 0) H5Tclose(want);
    if (same < 0) return npr_h5_read_failed(c->file, c->shape.name);
    if (!same)
        return npr_fail(NPR_EDATA, "%s: \"%s\" is not of type %s, little-endian", c->file->path,
                        c->shape.name, names[c->shape.value]);
    return NPR_OK;
}

/* Only plain chunks of the wanted size with fletcher32: nothing that refers to other files or runs foreign
 * code. */
static npr_status check_storage(const npr_h5_column *c)
{
    const npr_h5_shape *s = &c->shape;
    hsize_t chunk[2] = {0, (hsize_t)s->width};
    int dims = s->width == 1 ? 1 : 2, filters = -1, plain = 0, chunks = 0;
    hid_t plist = H5Dget_create_plist(c->id);
    if (plist >= 0) {
        chunks = H5Pget_layout(plist) == H5D_CHUNKED && H5Pget_chunk(plist, 2, chunk) == dims &&
                 chunk[0] == (hsize_t)s->chunk && chunk[1] == (hsize_t)s->width;
        filters = H5Pget_nfilters(plist);
        size_t values = 0;
        plain = H5Pget_external_count(plist) == 0 && filters == 1 &&
                H5Pget_filter_by_id2(plist, H5Z_FILTER_FLETCHER32, NULL, &values, NULL, 0, NULL, NULL) >= 0;
        H5Pclose(plist);
    }
    if (!chunks)
        return npr_fail(NPR_EDATA, "%s: \"%s\" is not stored in chunks of %lld x %d", c->file->path, s->name,
                        (long long)s->chunk, s->width);
    if (!plain)
        return npr_fail(
            NPR_EDATA,
            "%s: \"%s\" has %d filters or external storage, a part has fletcher32 and nothing else",
            c->file->path, s->name, filters);
    return NPR_OK;
}

static npr_status check_rows(npr_h5_column *c, int64_t rows)
{
    hsize_t size[2] = {0, 1};
    hid_t space = H5Dget_space(c->id);
    int dims = space < 0 ? -1 : H5Sget_simple_extent_ndims(space);
    if (dims < 1 || dims > 2 || H5Sget_simple_extent_dims(space, size, NULL) < 0) dims = -1;
    if (space >= 0) H5Sclose(space);
    int want = c->shape.width == 1 ? 1 : 2;
    if (dims != want || size[1] != (hsize_t)c->shape.width)
        return npr_fail(NPR_EDATA, "%s: \"%s\" has %d dimensions and %llu columns, wanted %d and %d",
                        c->file->path, c->shape.name, dims, (unsigned long long)size[1], want,
                        c->shape.width);
    if (rows >= 0 && size[0] != (hsize_t)rows)
        return npr_fail(NPR_EDATA, "%s: \"%s\" has %llu rows, wanted %lld", c->file->path, c->shape.name,
                        (unsigned long long)size[0], (long long)rows);
    c->rows = (int64_t)size[0];
    return NPR_OK;
}

/* Chunks are stored whole and not compressed: a column cannot be larger than its file. */
static npr_status check_room(const npr_h5_column *c)
{
    if ((uint64_t)c->rows <= (uint64_t)c->file->bytes / c->row_bytes) return NPR_OK;
    return npr_fail(NPR_EDATA, "%s: \"%s\" claims %llu rows, more than a file of %lld bytes holds",
                    c->file->path, c->shape.name, (unsigned long long)c->rows, (long long)c->file->bytes);
}

npr_status npr_h5_find(npr_h5 *f, const npr_h5_shape *shape, int64_t rows, npr_h5_column **out)
{
    npr_h5_column *c;
    NPR_TRY(npr_h5_column_make(f, shape, &c));
    npr_status st = open_dataset(c);
    if (!st) st = check_type(c);
    if (!st) st = check_rows(c, rows);
    if (!st) st = check_storage(c);
    if (!st) st = check_room(c);
    if (st)
        npr_h5_column_free(c);
    else
        *out = c;
    return st;
}

static npr_status bad_chunk(const npr_h5_column *c, int64_t chunk, const char *what)
{
    return npr_fail(NPR_EDATA, "%s: cannot read \"%s\" from row %lld: %s", c->file->path, c->shape.name,
                    (long long)(chunk * c->shape.chunk), what);
}

/* The same where HDF5 has the reason. */
static npr_status lost_chunk(const npr_h5_column *c, int64_t chunk)
{
    char what[96];
    snprintf(what, sizeof what, "\"%s\" from row %lld", c->shape.name, (long long)(chunk * c->shape.chunk));
    return npr_h5_read_failed(c->file, what);
}

/* A chunk and its checksum, which has been compared, to `to`. */
static npr_status read_chunk(const npr_h5_column *c, int64_t chunk, char *to)
{
    hsize_t at[2] = {(hsize_t)(chunk * c->shape.chunk), 0}, stored = 0;
    uint32_t skipped = 0, check;
    if (H5Dget_chunk_storage_size(c->id, at, &stored) < 0) return lost_chunk(c, chunk);
    if (stored != c->chunk_bytes + NPR_H5_CHECKSUM)
        return bad_chunk(c, chunk, stored ? "this chunk has a wrong size" : "this chunk was never written");
    if (H5Dread_chunk(c->id, H5P_DEFAULT, at, &skipped, to) < 0) return lost_chunk(c, chunk);
    memcpy(&check, to + c->chunk_bytes, NPR_H5_CHECKSUM);
    if (skipped || check != npr_fletcher32(to, c->chunk_bytes))
        return bad_chunk(c, chunk, "the checksum of this chunk is wrong");
    return NPR_OK;
}

static npr_status load_chunk(npr_h5_column *c, int64_t chunk)
{
    if (c->chunk == chunk) return NPR_OK;
    c->chunk = -1;
    NPR_TRY(read_chunk(c, chunk, c->buf));
    c->chunk = chunk;
    return NPR_OK;
}

npr_status npr_h5_read(npr_h5_column *c, int64_t row0, int64_t n, void *out)
{
    char *to = out;
    while (n > 0) {
        int64_t first = row0 % c->shape.chunk, room = c->shape.chunk - first, m = n < room ? n : room;
        /* one behind which more is wanted is read where it belongs: the next one hides its checksum */
        if (first == 0 && (uint64_t)(n - m) >= (NPR_H5_CHECKSUM + c->row_bytes - 1) / c->row_bytes) {
            NPR_TRY(read_chunk(c, row0 / c->shape.chunk, to));
        } else {
            NPR_TRY(load_chunk(c, row0 / c->shape.chunk));
            memcpy(to, c->buf + (size_t)first * c->row_bytes, (size_t)m * c->row_bytes);
        }
        to += (size_t)m * c->row_bytes;
        row0 += m;
        n -= m;
    }
    return NPR_OK;
}

npr_status npr_h5_pick(npr_h5_column *c, const int64_t *row, int64_t n, void *out)
{
    char *to = out;
    size_t bytes = c->row_bytes;
    for (int64_t i = 0; i < n;) {
        int64_t chunk = row[i] / c->shape.chunk, first = chunk * c->shape.chunk;
        NPR_TRY(load_chunk(c, chunk));
        for (; i < n && row[i] - first < c->shape.chunk; i++, to += bytes)
            memcpy(to, c->buf + (size_t)(row[i] - first) * bytes, bytes);
    }
    return NPR_OK;
}

npr_status npr_h5_view(npr_h5_column *c, int64_t chunk, const void **rows)
{
    NPR_TRY(load_chunk(c, chunk));
    *rows = c->buf;
    return NPR_OK;
}

npr_status npr_h5_digest(npr_h5_column *c, char hex[33])
{
    npr_digest *g = npr_digest_new();
    npr_status st = g ? NPR_OK : npr_last();
    for (int64_t row = 0; !st && row < c->rows; row += c->shape.chunk) {
        int64_t left = c->rows - row, n = left < c->shape.chunk ? left : c->shape.chunk;
        st = load_chunk(c, row / c->shape.chunk);
        if (!st) npr_digest_add(g, c->buf, (size_t)n * c->row_bytes);
    }
    if (!st) npr_digest_hex(g, hex);
    npr_digest_free(g);
    return st;
}
