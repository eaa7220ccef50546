/* part_index.c - a part with an index put into it. See part.h. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/mem.h"
#include "io/part.h"

static npr_status add_blob(npr_h5 *to, const void *blob, size_t n)
{
    npr_h5_column *c;
    NPR_TRY(npr_h5_add(to, &npr_index_shape, &c));
    npr_status st = npr_h5_append(c, blob, (int64_t)n);
    if (!st) st = npr_h5_finish(c);
    npr_h5_column_free(c);
    return st;
}

/* By chunks of ours, not by H5Ocopy(), which crashes in HDF5 1.10.8 when the disk is full. */
static npr_status copy_column(npr_h5 *from, npr_h5 *to, const npr_h5_shape *shape)
{
    npr_h5_column *in = NULL, *out = NULL;
    size_t row_bytes = (size_t)shape->width * npr_value_bytes(shape->value);
    char *chunk = npr_alloc((size_t)shape->chunk, row_bytes, "a chunk to copy");
    npr_status st = chunk ? npr_h5_find(from, shape, -1, &in) : npr_last();
    if (!st) st = npr_h5_add(to, shape, &out);
    int64_t rows = st ? 0 : npr_h5_column_rows(in);
    for (int64_t row = 0; !st && row < rows; row += shape->chunk) {
        int64_t n = rows - row < shape->chunk ? rows - row : shape->chunk;
        st = npr_h5_read(in, row, n, chunk);
        if (!st) st = npr_h5_append(out, chunk, n);
    }
    if (!st) st = npr_h5_finish(out);
    npr_h5_column_free(in);
    npr_h5_column_free(out);
    free(chunk);
    return st;
}

static npr_status copy_columns(const npr_set *set, npr_h5 *from, npr_h5 *to)
{
    for (int d = 0; d < NPR_DATASETS; d++) {
        npr_h5_shape shape;
        if (npr_dataset_shape(d, set->columns, set->dim, &shape)) NPR_TRY(copy_column(from, to, &shape));
    }
    return NPR_OK;
}

static npr_status write_copy(const npr_set *set, const char *path, const char *temp, const void *blob,
                             size_t n)
{
    npr_h5 *from, *to;
    NPR_TRY(npr_h5_open(path, &from));
    npr_status st = npr_h5_create(temp, &to);
    if (!st) {
        st = copy_columns(set, from, to);
        if (!st) st = add_blob(to, blob, n);
        if (st)
            npr_h5_discard(to);
        else
            st = npr_h5_close(to);
    }
    npr_h5_discard(from);
    return st;
}

/* The digest of one column of a file. */
static npr_status digest_column(npr_h5 *f, const npr_h5_shape *shape, int64_t *rows, char hex[NPR_DIGEST_HEX])
{
    npr_h5_column *c;
    NPR_TRY(npr_h5_find(f, shape, *rows, &c));
    *rows = npr_h5_column_rows(c);
    npr_status st = npr_h5_digest(c, hex);
    npr_h5_column_free(c);
    return st;
}

static npr_status compare_files(const npr_set *set, npr_h5 *old, npr_h5 *new)
{
    for (int d = 0; d < NPR_DATASETS; d++) {
        npr_h5_shape shape;
        char was[NPR_DIGEST_HEX], is[NPR_DIGEST_HEX];
        int64_t rows = -1;
        if (!npr_dataset_shape(d, set->columns, set->dim, &shape)) continue;
        NPR_TRY(digest_column(old, &shape, &rows, was));
        NPR_TRY(digest_column(new, &shape, &rows, is));
        if (npr_fault("part.verify") || strcmp(was, is) != 0)
            return npr_fail(NPR_EIO, "%s: \"%s\" does not read back as it was copied", npr_h5_path(new),
                            shape.name);
    }
    return NPR_OK;
}

static npr_status read_back(const npr_set *set, const char *path, const char *temp, const char *want,
                            size_t n)
{
    npr_h5 *old = NULL, *new = NULL;
    char hex[NPR_DIGEST_HEX];
    int64_t rows = (int64_t)n;
    npr_status st = npr_h5_open(path, &old);
    if (!st) st = npr_h5_open(temp, &new);
    if (!st) st = npr_part_count(new, set->columns, set->dim, 1);
    if (!st) st = compare_files(set, old, new);
    if (!st) st = digest_column(new, &npr_index_shape, &rows, hex);
    if (!st && strcmp(hex, want) != 0)
        st = npr_fail(NPR_EIO, "%s: the index does not read back as it was written", temp);
    npr_h5_discard(old);
    npr_h5_discard(new);
    return st;
}

npr_status npr_part_with_index(const npr_set *set, int part, const void *blob, size_t n, char **temp,
                               npr_part_entry *entry)
{
    const npr_part_entry *old = &set->part[part];
    char *path = npr_path("%s/%s", set->path, old->file);
    *temp = path ? npr_file_temporary(path) : NULL;
    *entry = *old;
    npr_digest_block(blob, n, entry->index_digest);
    npr_status st = path && *temp ? npr_part_check_digest(set, part) : npr_last();
    if (!st) st = write_copy(set, path, *temp, blob, n);
    if (!st) st = read_back(set, path, *temp, entry->index_digest, n);
    if (!st) st = npr_digest_file(*temp, entry->digest, &entry->bytes);
    if (st) {
        if (*temp) unlink(*temp);
        free(*temp);
        *temp = NULL;
    }
    free(path);
    return st;
}
