/* part_write.c - writing a part. See include/npr/set.h; the protocol and its reasons are in README.md.
 *
 * The same rows give the same bytes however they are batched: chunks are written only when a slab of
 * NPR_CHUNK_ROWS rows is complete, column by column. So texts wait in memory until their slab ends. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/half.h"
#include "base/mem.h"
#include "io/part.h"

/* Texts of the rows of the slab being filled. */
typedef struct texts {
    char *bytes;
    size_t used, cap;
    int64_t *end;  /* [NPR_CHUNK_ROWS] where each text ends in the whole column */
    int64_t total; /* bytes in the whole column */
} texts;

struct npr_part_writer {
    char *folder, *temp;
    int part, dim;
    uint32_t columns;
    int broken; /* an append failed: the file must not be used */
    int64_t rows;
    double residual;
    npr_h5 *file;
    npr_h5_column *data[NPR_DATASETS];
    texts text[NPR_COLUMNS];
    npr_rows names; /* containers in the order of their first use */
};

/* ---- create ---- */

static npr_status add_dataset(npr_part_writer *w, int d)
{
    npr_h5_shape shape;
    if (!npr_dataset_shape(d, w->columns, w->dim, &shape)) return NPR_OK;
    NPR_TRY(npr_h5_add(w->file, &shape, &w->data[d]));
    if (d % 2 == 0) return NPR_OK;
    if (d / 2 < NPR_COLUMNS && !(w->text[d / 2].end = npr_alloc(NPR_CHUNK_ROWS, sizeof(int64_t), "offsets")))
        return npr_last();
    int64_t zero = 0; /* offsets begin with 0 and go on with the end of each text */
    return npr_h5_append(w->data[d], &zero, 1);
}

npr_status npr_part_create(const char *folder, int part, uint32_t columns, int dim, npr_part_writer **out)
{
    uint32_t needed = NPR_COL(NPR_EMB) | NPR_COL(NPR_ID);
    if ((columns & needed) != needed || columns >= NPR_COL(NPR_COLUMNS) || dim < 1 || dim > NPR_DIM_MAX ||
        part < 0 || part >= NPR_PARTS_MAX)
        return npr_fail(NPR_EINTERNAL, "%s: part %d with columns %#x and dim %d", folder, part, columns, dim);
    npr_part_writer *w = npr_alloc(1, sizeof *w, "a part being written");
    if (!w) return npr_last();
    char file[24];
    npr_part_name(part, file);
    w->part = part;
    w->dim = dim;
    w->columns = columns;
    w->folder = npr_strdup(folder);
    char *path = npr_path("%s/%s", folder, file);
    w->temp = path ? npr_file_temporary(path) : NULL;
    free(path);
    npr_status st = w->folder && w->temp ? npr_h5_create(w->temp, &w->file) : npr_last();
    for (int d = 0; d < NPR_DATASETS && !st; d++) st = add_dataset(w, d);
    if (st)
        npr_part_abandon(w);
    else
        *out = w;
    return st;
}

static void free_columns(npr_part_writer *w)
{
    for (int d = 0; d < NPR_DATASETS; d++) {
        npr_h5_column_free(w->data[d]);
        w->data[d] = NULL;
    }
}

void npr_part_abandon(npr_part_writer *w)
{
    if (!w) return;
    free_columns(w);
    if (w->file) npr_h5_discard(w->file);
    if (w->temp) unlink(w->temp);
    for (int c = 0; c < NPR_COLUMNS; c++) {
        free(w->text[c].bytes);
        free(w->text[c].end);
    }
    npr_rows_free(&w->names);
    free(w->folder);
    free(w->temp);
    free(w);
}

/* ---- append ---- */

static npr_status keep_texts(npr_part_writer *w, const npr_rows *r, npr_column c, int64_t i, int64_t m)
{
    const npr_text *from = npr_column_text(r, c);
    texts *to = &w->text[c];
    int64_t first = from->offset[i], slab = w->rows % NPR_CHUNK_ROWS;
    size_t n = (size_t)(from->offset[i + m] - first);
    NPR_TRY(npr_grow(&to->bytes, &to->cap, to->used + n, 1, "texts of a part"));
    if (n) memcpy(to->bytes + to->used, from->bytes + first, n);
    to->used += n;
    for (int64_t j = 0; j < m; j++) to->end[slab + j] = to->total + from->offset[i + j + 1] - first;
    to->total += (int64_t)n;
    return NPR_OK;
}

/* Write the texts of the first n rows of the slab. */
static npr_status write_texts(npr_part_writer *w, int64_t n)
{
    for (int c = 0; c < NPR_COLUMNS; c++) {
        if (!(w->columns & NPR_COL(c)) || !npr_column_is_text(c)) continue;
        NPR_TRY(npr_h5_append(w->data[2 * c], w->text[c].bytes, (int64_t)w->text[c].used));
        NPR_TRY(npr_h5_append(w->data[2 * c + 1], w->text[c].end, n));
        w->text[c].used = 0;
    }
    return NPR_OK;
}

/* Containers are numbered by their first use in the part: how rows were batched does not show. */
static npr_status append_source(npr_part_writer *w, const npr_rows *r, int64_t i, int64_t m)
{
    int64_t source[NPR_CHUNK_ROWS][3], last = -1, number = -1;
    memcpy(source, r->source + 3 * i, (size_t)m * sizeof *source);
    for (int64_t j = 0; j < m; j++) {
        if (source[j][0] < 0) continue;
        if (source[j][0] >= r->n_container)
            return npr_fail(NPR_EINTERNAL, "%s: container %lld of %d", w->temp, (long long)source[j][0],
                            r->n_container);
        if (source[j][0] != last)
            NPR_TRY(npr_rows_container(&w->names, r->container[last = source[j][0]], &number));
        source[j][0] = number;
    }
    return npr_h5_append(w->data[2 * NPR_SOURCE], source, m);
}

/* Append rows [i, i + m) of r, which do not go beyond the end of the slab. */
static npr_status append_slab(npr_part_writer *w, const npr_rows *r, int64_t i, int64_t m)
{
    for (int k = 0; k < NPR_COLUMNS; k++) {
        npr_column c = (npr_column)k;
        if (!(w->columns & NPR_COL(c))) continue;
        if (npr_column_is_text(c)) {
            NPR_TRY(keep_texts(w, r, c, i, m));
        } else if (c == NPR_SOURCE) {
            NPR_TRY(append_source(w, r, i, m));
        } else {
            const char *from = npr_column_data(r, c);
            NPR_TRY(npr_h5_append(w->data[2 * c], from + (size_t)i * npr_column_bytes(c, w->dim), m));
        }
    }
    for (int64_t j = i; j < i + m; j++) {
        npr_row_facts facts = npr_half_row_facts(r->emb + j * w->dim, w->dim);
        if (facts.finite) w->residual = fmax(w->residual, facts.residual);
    }
    w->rows += m;
    return w->rows % NPR_CHUNK_ROWS ? NPR_OK : write_texts(w, NPR_CHUNK_ROWS);
}

npr_status npr_part_append(npr_part_writer *w, const npr_rows *r)
{
    char wanted[NPR_COLUMNS_TEXT], found[NPR_COLUMNS_TEXT];
    if ((w->columns & ~r->columns) || r->dim != w->dim)
        return npr_fail(NPR_EINTERNAL, "%s: rows of dim %d with columns %s into a part of dim %d with %s",
                        w->temp, r->dim, npr_columns_print(r->columns, found), w->dim,
                        npr_columns_print(w->columns, wanted));
    if (r->n > NPR_PART_ROWS - w->rows)
        return npr_fail(NPR_EINTERNAL, "%s: more than %d rows", w->temp, NPR_PART_ROWS);
    npr_status st = NPR_OK;
    for (int64_t i = 0, m; i < r->n && !st; i += m) {
        int64_t room = NPR_CHUNK_ROWS - w->rows % NPR_CHUNK_ROWS;
        m = r->n - i < room ? r->n - i : room;
        st = append_slab(w, r, i, m);
    }
    if (st) w->broken = 1;
    return st;
}

/* ---- commit ---- */

/* What a dataset must read back as. */
typedef struct written {
    int64_t rows;
    char digest[NPR_DIGEST_HEX];
} written;

static npr_status write_rest(npr_part_writer *w)
{
    if (w->rows % NPR_CHUNK_ROWS) NPR_TRY(write_texts(w, w->rows % NPR_CHUNK_ROWS));
    int64_t end = 0;
    for (int i = 0; i < w->names.n_container; i++) {
        const char *name = w->names.container[i];
        end += (int64_t)strlen(name);
        NPR_TRY(npr_h5_append(w->data[2 * NPR_CONTAINER], name, (int64_t)strlen(name)));
        NPR_TRY(npr_h5_append(w->data[2 * NPR_CONTAINER + 1], &end, 1));
    }
    for (int d = 0; d < NPR_DATASETS; d++)
        if (w->data[d]) NPR_TRY(npr_h5_finish(w->data[d]));
    return NPR_OK;
}

static npr_status close_file(npr_part_writer *w, written want[NPR_DATASETS])
{
    NPR_TRY(write_rest(w));
    for (int d = 0; d < NPR_DATASETS; d++) {
        if (!w->data[d]) continue;
        want[d].rows = npr_h5_column_rows(w->data[d]);
        npr_h5_column_written(w->data[d], want[d].digest);
    }
    free_columns(w);
    npr_h5 *f = w->file;
    w->file = NULL;
    return npr_h5_close(f);
}

/* Read a column back and compare. */
static npr_status compare_column(npr_h5 *f, const npr_h5_shape *shape, const written *want)
{
    char hex[NPR_DIGEST_HEX];
    npr_h5_column *c;
    NPR_TRY(npr_h5_find(f, shape, want->rows, &c));
    npr_status st = npr_h5_digest(c, hex);
    npr_h5_column_free(c);
    if (!st && (npr_fault("part.verify") || strcmp(hex, want->digest) != 0))
        st = npr_fail(NPR_EIO,
                      "%s: \"%s\" does not read back as it was written: the disk or the memory is bad",
                      npr_h5_path(f), shape->name);
    return st;
}

static npr_status read_back(const npr_part_writer *w, const written want[NPR_DATASETS])
{
    npr_h5 *f;
    npr_h5_shape shape;
    NPR_TRY(npr_h5_open(w->temp, &f));
    npr_status st = npr_part_count(f, w->columns, w->dim, 0);
    for (int d = 0; d < NPR_DATASETS && !st; d++)
        if (npr_dataset_shape(d, w->columns, w->dim, &shape)) st = compare_column(f, &shape, &want[d]);
    npr_h5_discard(f);
    return st;
}

npr_status npr_part_publish(const char *folder, const char *temp, const npr_part_entry *entry)
{
    char *path = npr_path("%s/%s", folder, entry->file);
    npr_status st = path ? NPR_OK : npr_last();
    if (!st && npr_fault("part.rename")) st = npr_fail(NPR_EIO, "%s: cannot rename to %s", temp, path);
    if (!st) st = npr_file_publish(temp, path);
    if (st) unlink(temp);
    free(path);
    return st;
}

npr_status npr_part_commit(npr_part_writer *w, npr_part_entry *entry)
{
    written want[NPR_DATASETS] = {0};
    *entry = (npr_part_entry){.rows = w->rows};
    npr_part_name(w->part, entry->file);
    /* the sum behind a residual is itself rounded, by less than dim 2^-52 <= 2^-36 of it */
    entry->residual = w->residual * (1 + 0x1p-35);
    npr_status st = NPR_OK;
    if (w->broken) st = npr_fail(NPR_EINTERNAL, "%s: rows of it were not written", w->temp);
    if (!st) st = close_file(w, want);
    if (!st) st = read_back(w, want);
    if (!st) st = npr_digest_file(w->temp, entry->digest, &entry->bytes);
    if (!st) st = npr_part_publish(w->folder, w->temp, entry);
    npr_part_abandon(w); /* after success too: its temporary file is gone */
    return st;
}
