/* part.c - reading a part. See include/npr/set.h. */
#include "io/part.h"

#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/mem.h"

struct npr_part {
    npr_h5 *file;
    char *path;
    npr_part_entry entry;
    uint32_t columns;
    int dim;
    npr_h5_column *data[NPR_DATASETS];
    npr_rows names;  /* no columns: only the containers' names */
    int64_t *offset; /* scratch: offsets of the texts being read, from 0 */
    size_t offset_cap;
};

const npr_h5_shape npr_index_shape = {"index", NPR_BYTE, 1, NPR_TEXT_CHUNK};

void npr_part_name(int part, char file[24])
{
    snprintf(file, 24, "part-%05d.h5", part);
}

npr_status npr_part_cut(int64_t rows, int64_t part_rows, int *parts)
{
    int64_t n = rows / part_rows + (rows % part_rows > 0);
    if (n > NPR_PARTS_MAX)
        return npr_fail(NPR_EUSAGE, "--part-rows=%lld makes %lld parts, at most %d", (long long)part_rows,
                        (long long)n, NPR_PARTS_MAX);
    *parts = (int)n;
    return NPR_OK;
}

int64_t npr_part_begin(int64_t rows, int64_t part_rows, int part)
{
    int64_t row = (int64_t)part * part_rows;
    return row < rows ? row : rows;
}

npr_status npr_part_count(const npr_h5 *f, uint32_t columns, int dim, int more)
{
    npr_h5_shape shape;
    int want = more, found = npr_h5_columns(f);
    for (int d = 0; d < NPR_DATASETS; d++) want += npr_dataset_shape(d, columns, dim, &shape);
    if (found != want)
        return npr_fail(NPR_EDATA, "%s: has %d datasets, a part with these columns has %d", npr_h5_path(f),
                        found, want);
    return NPR_OK;
}

/* ---- opening ---- */

/* n texts from row0 of text column c, appended to bytes at `used`; p->offset [n + 1] says where, from 0. */
static npr_status read_texts(npr_part *p, int c, int64_t row0, int64_t n, char **bytes, size_t *cap,
                             size_t used)
{
    npr_h5_column *blob = p->data[2 * c], *offsets = p->data[2 * c + 1];
    NPR_TRY(npr_grow(&p->offset, &p->offset_cap, (size_t)n + 1, sizeof *p->offset, "offsets of texts"));
    NPR_TRY(npr_h5_read(offsets, row0, n + 1, p->offset));
    int64_t first = p->offset[0], end = 0;
    for (int64_t i = 0; i <= n; i++) {
        if (p->offset[i] < end || p->offset[i] > npr_h5_column_rows(blob))
            return npr_fail(NPR_EDATA, "%s: the offsets of %s are wrong at row %lld", p->path,
                            npr_column_name((npr_column)c), (long long)(row0 + i));
        end = p->offset[i];
    }
    for (int64_t i = 0; i <= n; i++) p->offset[i] -= first;
    NPR_TRY(npr_grow(bytes, cap, used + (size_t)(end - first) + 1, 1, "texts"));
    return npr_h5_read(blob, first, end - first, *bytes + used);
}

static npr_status read_containers(npr_part *p)
{
    char *bytes = NULL, name[4096];
    size_t cap = 0;
    int64_t n = npr_h5_column_rows(p->data[2 * NPR_CONTAINER + 1]) - 1, number = 0;
    if (n < 0 || n > NPR_PART_ROWS)
        return npr_fail(NPR_EDATA, "%s: %lld container names", p->path, (long long)n);
    npr_status st = read_texts(p, NPR_CONTAINER, 0, n, &bytes, &cap, 0);
    for (int64_t i = 0; !st && i < n; i++) {
        size_t length = (size_t)(p->offset[i + 1] - p->offset[i]);
        const char *at = bytes + p->offset[i];
        if (length >= sizeof name || memchr(at, 0, length)) {
            st = npr_fail(NPR_EDATA, "%s: container name %lld is not a path", p->path, (long long)i);
            break;
        }
        memcpy(name, at, length);
        name[length] = 0;
        st = npr_rows_container(&p->names, name, &number);
        if (!st && number != i)
            st = npr_fail(NPR_EDATA, "%s: container name %lld is there twice", p->path, (long long)i);
    }
    free(bytes);
    return st;
}

static npr_status find_datasets(npr_part *p)
{
    NPR_TRY(npr_part_count(p->file, p->columns, p->dim, p->entry.index_digest[0] != 0));
    for (int d = 0; d < NPR_DATASETS; d++) {
        npr_h5_shape shape;
        if (!npr_dataset_shape(d, p->columns, p->dim, &shape)) continue;
        int64_t rows = p->entry.rows; /* known, but for blobs of bytes and container names */
        if (npr_column_is_text(d / 2)) rows = d % 2 ? rows + 1 : -1;
        if (d / 2 == NPR_CONTAINER) rows = -1;
        NPR_TRY(npr_h5_find(p->file, &shape, rows, &p->data[d]));
    }
    return p->data[2 * NPR_CONTAINER] ? read_containers(p) : NPR_OK;
}

/* A part whose size is not what the manifest says is damaged, or npr-index was interrupted. */
static npr_status check_size(const npr_set *set, const npr_part_entry *e, const char *path)
{
    int64_t bytes;
    NPR_TRY(npr_file_size(path, &bytes));
    if (bytes == e->bytes) return NPR_OK;
    npr_status st = npr_fail(NPR_EDATA, "%s: the file has %lld bytes, the manifest says %lld", path,
                             (long long)bytes, (long long)e->bytes);
    char *scratch = npr_path("%s/.index", set->path);
    if (scratch && npr_file_exists(scratch))
        st = npr_context(st, "%s: npr-index was interrupted on this set: run it again", set->path);
    free(scratch);
    return st;
}

npr_status npr_part_check_digest(const npr_set *set, int part)
{
    const npr_part_entry *e = &set->part[part];
    char hex[NPR_DIGEST_HEX];
    char *path = npr_path("%s/%s", set->path, e->file);
    npr_status st = path ? check_size(set, e, path) : npr_last();
    if (!st) st = npr_digest_file(path, hex, NULL);
    if (!st && strcmp(hex, e->digest) != 0)
        st = npr_fail(NPR_EDATA, "%s: the file has digest %s, the manifest says %s", path, hex, e->digest);
    free(path);
    return st;
}

npr_status npr_part_open(const npr_set *set, int part, npr_part **out)
{
    if (part < 0 || part >= set->parts)
        return npr_fail(NPR_EINTERNAL, "%s: part %d of %d", set->path, part, set->parts);
    npr_part *p = npr_alloc(1, sizeof *p, "a part");
    if (!p) return npr_last();
    p->entry = set->part[part];
    p->columns = set->columns;
    p->dim = set->dim;
    p->path = npr_path("%s/%s", set->path, p->entry.file);
    npr_status st = p->path ? check_size(set, &p->entry, p->path) : npr_last();
    if (!st) st = npr_h5_open(p->path, &p->file);
    if (!st) st = find_datasets(p);
    if (st)
        npr_part_close(p);
    else
        *out = p;
    return st;
}

void npr_part_close(npr_part *p)
{
    if (!p) return;
    for (int d = 0; d < NPR_DATASETS; d++) npr_h5_column_free(p->data[d]);
    if (p->file) npr_h5_discard(p->file); /* only read: nothing can be lost */
    npr_rows_free(&p->names);
    free(p->offset);
    free(p->path);
    free(p);
}

int64_t npr_part_rows(const npr_part *p)
{
    return p->entry.rows;
}

/* ---- reading ---- */

/* Here and below: rows [row0, row0 + n) of a column to r's rows from `at` on. */
static npr_status read_text(npr_part *p, npr_column c, int64_t row0, int64_t n, npr_rows *r, int64_t at)
{
    npr_text *t = npr_column_text(r, c);
    int64_t start = t->offset[at];
    NPR_TRY(read_texts(p, c, row0, n, &t->bytes, &t->cap, (size_t)start));
    for (int64_t i = 1; i <= n; i++) t->offset[at + i] = start + p->offset[i];
    return NPR_OK;
}

/* Containers are numbered anew: r may hold rows of several parts. */
static npr_status renumber(npr_part *p, int64_t row0, int64_t n, npr_rows *r, int64_t at)
{
    int64_t last = -1, number = -1;
    for (int64_t i = 0; i < n; i++) {
        int64_t *source = r->source + 3 * (at + i);
        if (source[0] < -1 || source[0] >= p->names.n_container)
            return npr_fail(NPR_EDATA, "%s: row %lld names container %lld of %d", p->path,
                            (long long)(row0 + i), (long long)source[0], p->names.n_container);
        if (source[0] >= 0 && source[0] != last)
            NPR_TRY(npr_rows_container(r, p->names.container[last = source[0]], &number));
        if (source[0] >= 0) source[0] = number;
    }
    return NPR_OK;
}

static npr_status read_column(npr_part *p, npr_column c, int64_t row0, int64_t n, npr_rows *r, int64_t at)
{
    if (npr_column_is_text(c)) return read_text(p, c, row0, n, r, at);
    char *to = (char *)npr_column_data(r, c) + (size_t)at * npr_column_bytes(c, r->dim);
    NPR_TRY(npr_h5_read(p->data[2 * c], row0, n, to));
    return c == NPR_SOURCE ? renumber(p, row0, n, r, at) : NPR_OK;
}

static npr_status check_range(const npr_part *p, int64_t row0, int64_t n)
{
    if (row0 >= 0 && n >= 0 && row0 <= p->entry.rows - n) return NPR_OK;
    return npr_fail(NPR_EDATA, "%s: %lld rows from row %lld wanted of %lld", p->path, (long long)n,
                    (long long)row0, (long long)p->entry.rows);
}

/* Append rows [row0, row0 + n) to r, which has room. */
static npr_status append_rows(npr_part *p, int64_t row0, int64_t n, npr_rows *r)
{
    npr_status st = check_range(p, row0, n);
    for (int c = 0; c < NPR_COLUMNS && !st; c++)
        if (r->columns & NPR_COL(c)) st = read_column(p, (npr_column)c, row0, n, r, r->n);
    if (!st) r->n += n;
    npr_rows_drop(r);
    return st;
}

/* The batch must fit the part, and have room for n more rows. */
static npr_status check_batch(const npr_part *p, const npr_rows *r, int64_t n)
{
    uint32_t missing = r->columns & ~p->columns, vectors = NPR_COL(NPR_EMB) | NPR_COL(NPR_WEIGHT);
    char wanted[NPR_COLUMNS_TEXT], found[NPR_COLUMNS_TEXT];
    if (missing)
        return npr_fail(NPR_EENV, "%s: no column %s, it has %s", p->path, npr_columns_print(missing, wanted),
                        npr_columns_print(p->columns, found));
    if (r->dim != p->dim && (r->columns & vectors))
        return npr_fail(NPR_EENV, "%s: vectors of %d dimensions, wanted %d", p->path, p->dim, r->dim);
    if (n > r->cap - r->n)
        return npr_fail(NPR_EINTERNAL, "%s: %lld rows wanted into a batch with room for %lld", p->path,
                        (long long)n, (long long)(r->cap - r->n));
    return NPR_OK;
}

npr_status npr_part_read(npr_part *p, int64_t row0, int64_t n, npr_rows *r)
{
    npr_rows_clear(r);
    return npr_part_read_more(p, row0, n, r);
}

npr_status npr_part_read_more(npr_part *p, int64_t row0, int64_t n, npr_rows *r)
{
    NPR_TRY(check_batch(p, r, n));
    return append_rows(p, row0, n, r);
}

/* A column of an ascending list of rows: values of one size row by row, others a run of neighbours at a time.
 */
static npr_status pick_column(npr_part *p, npr_column c, const int64_t *row, int64_t n, npr_rows *r)
{
    if (!npr_column_is_text(c) && c != NPR_SOURCE)
        return npr_h5_pick(p->data[2 * c], row, n, npr_column_data(r, c));
    for (int64_t i = 0, run; i < n; i += run) {
        for (run = 1; i + run < n && row[i + run] == row[i] + run; run++) {
        }
        NPR_TRY(read_column(p, c, row[i], run, r, i));
    }
    return NPR_OK;
}

npr_status npr_part_pick(npr_part *p, const int64_t *row, int64_t n, npr_rows *r)
{
    npr_rows_clear(r);
    npr_status st = check_batch(p, r, n);
    for (int64_t i = 0; !st && i < n; i++) {
        st = check_range(p, row[i], 1);
        if (!st && i && row[i] < row[i - 1])
            st = npr_fail(NPR_EINTERNAL, "%s: rows to pick are not ascending", p->path);
    }
    for (int c = 0; c < NPR_COLUMNS && !st; c++)
        if (r->columns & NPR_COL(c)) st = pick_column(p, (npr_column)c, row, n, r);
    if (!st) r->n = n;
    npr_rows_drop(r);
    return st;
}

npr_status npr_part_view(npr_part *p, int64_t chunk, const uint16_t **emb)
{
    const void *rows = NULL;
    int64_t chunks = (p->entry.rows + NPR_CHUNK_ROWS - 1) / NPR_CHUNK_ROWS;
    if (chunk < 0 || chunk >= chunks)
        return npr_fail(NPR_EINTERNAL, "%s: chunk %lld of %lld", p->path, (long long)chunk,
                        (long long)chunks);
    NPR_TRY(npr_h5_view(p->data[2 * NPR_EMB], chunk, &rows));
    *emb = rows;
    return NPR_OK;
}

/* All of a column of bytes that has the digest of the part's index: some chunks at a time, while they are in
 * a cache. */
static npr_status read_digested(const npr_part *p, npr_h5_column *c, char *to)
{
    enum { SLICE = 4 * NPR_TEXT_CHUNK };
    char hex[NPR_DIGEST_HEX] = "";
    int64_t bytes = npr_h5_column_rows(c);
    npr_digest *g = npr_digest_new();
    npr_status st = g ? NPR_OK : npr_last();
    for (int64_t at = 0, n; !st && at < bytes; at += n) {
        n = bytes - at < SLICE ? bytes - at : SLICE;
        st = npr_h5_read(c, at, n, to + at);
        if (!st) npr_digest_add(g, to + at, (size_t)n);
    }
    if (!st) npr_digest_hex(g, hex);
    npr_digest_free(g);
    if (!st && strcmp(hex, p->entry.index_digest) != 0)
        st = npr_fail(NPR_EDATA, "%s: the index has digest %s, the manifest says %s", p->path, hex,
                      p->entry.index_digest);
    return st;
}

npr_status npr_part_read_index(npr_part *p, char **bytes, size_t *n)
{
    *bytes = NULL;
    if (!p->entry.index_digest[0])
        return npr_fail(NPR_EENV, "%s: has no index, npr-index makes one", p->path);
    npr_h5_column *c;
    NPR_TRY(npr_h5_find(p->file, &npr_index_shape, -1, &c));
    *n = (size_t)npr_h5_column_rows(c);
    *bytes = npr_alloc_aligned(*n, 1, "an index");
    npr_status st = *bytes ? read_digested(p, c, *bytes) : npr_last();
    npr_h5_column_free(c);
    if (st) {
        free(*bytes);
        *bytes = NULL;
    }
    return st;
}
