/* ingest_scan.c - what is to be known of one input file before a row is written. See ingest.h. */
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/mem.h"
#include "io/ingest.h"

npr_status npr_ingest_scan_array(const char *path, npr_ingest_file *f)
{
    npr_npy *npy;
    NPR_TRY(npr_npy_open(path, &npy));
    f->rows = npr_npy_rows(npy);
    f->dim = npr_npy_dim(npy);
    npr_npy_close(npy);
    return npr_digest_ends(path, &f->bytes, &f->hash);
}

npr_status npr_ingest_scan_meta(const char *path, const char *columns, npr_ingest_meta *m)
{
    npr_meta *meta;
    NPR_TRY(npr_meta_open(path, columns, &meta));
    m->columns = npr_meta_columns(meta);
    npr_status st = npr_meta_count(meta, NPR_META_MARK, &m->mark, &m->rows);
    if (!st) m->marks = (m->rows + NPR_META_MARK - 1) / NPR_META_MARK;
    npr_meta_close(meta);
    return st ? st : npr_digest_ends(path, &m->bytes, &m->hash);
}

/* ---- pairs ---- */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* The last number in a file's name before its suffix; -1: none. */
static int64_t number_in(const char *path)
{
    const char *name = base_name(path), *p = strrchr(name, '.');
    if (!p) p = name + strlen(name);
    while (p > name && (p[-1] < '0' || p[-1] > '9')) p--;
    int64_t v = 0, unit = 1;
    if (p == name) return -1;
    for (; p > name && p[-1] >= '0' && p[-1] <= '9' && unit < INT64_MAX / 100; p--, unit *= 10)
        v += (p[-1] - '0') * unit;
    return v;
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Do the numbers tell the files apart? */
static npr_status are_distinct(const npr_paths *paths, int *distinct)
{
    int64_t *v = npr_alloc(paths->count, sizeof *v, "numbers of files");
    if (!v) return npr_last();
    for (size_t i = 0; i < paths->count; i++) v[i] = number_in(paths->path[i]);
    qsort(v, paths->count, sizeof *v, by_value);
    *distinct = v[0] >= 0;
    for (size_t i = 1; i < paths->count; i++)
        if (v[i] == v[i - 1]) *distinct = 0;
    free(v);
    return NPR_OK;
}

npr_status npr_ingest_check_pairs(const npr_paths *emb, const npr_paths *meta)
{
    int a, b;
    NPR_TRY(are_distinct(emb, &a));
    NPR_TRY(are_distinct(meta, &b));
    if (!a || !b) return NPR_OK;
    int64_t apart = number_in(emb->path[0]) - number_in(meta->path[0]); /* one list may begin with 1 */
    for (size_t i = 1; i < emb->count; i++)
        if (number_in(emb->path[i]) - number_in(meta->path[i]) != apart)
            return npr_fail(NPR_EDATA,
                            "in the order of their names %s would be paired with %s: give both lists as "
                            "@LIST files, in the "
                            "order that is right",
                            base_name(emb->path[i]), base_name(meta->path[i]));
    return NPR_OK;
}
