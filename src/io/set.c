/* set.c - a set as a whole: opening, comparing, reading all of it. See include/npr/set.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/mem.h"
#include "io/manifest.h"
#include "io/part.h"

char *npr_manifest_text(const char *text)
{
    const char *kept = NULL;
    char *copy = NULL;
    npr_json *o = npr_json_object();
    if (o && !npr_json_set_text(o, "text", text) && !npr_json_get_text(o, "text", "text", &kept))
        copy = npr_strdup(kept);
    npr_json_free(o);
    return copy;
}

npr_set *npr_set_new(const char *path, const char *kind, const char *model, const char *job)
{
    npr_set *set = npr_alloc(1, sizeof *set, "a set");
    if (!set) return NULL;
    set->path = npr_strdup(path);
    set->kind = npr_manifest_text(kind);
    set->model = npr_manifest_text(model);
    set->job = npr_manifest_text(job);
    set->index = npr_strdup("");
    set->index_job = npr_strdup("");
    set->digest = npr_alloc(NPR_DIGEST_HEX, 1, "a digest");
    if (set->path && set->kind && set->model && set->job && set->index && set->index_job && set->digest)
        return set;
    npr_set_free(set);
    return NULL;
}

npr_status npr_set_put_parts(npr_set *set, const npr_part_entry *part, int parts)
{
    npr_part_entry *copy = npr_alloc((size_t)parts, sizeof *copy, "the parts of a set");
    if (!copy) return npr_last();
    if (parts) memcpy(copy, part, (size_t)parts * sizeof *copy);
    free(set->part);
    set->part = copy;
    set->parts = parts;
    set->rows = 0;
    set->residual = 0;
    for (int i = 0; i < parts; i++) { /* at most 2^20 parts of 2^20 rows: no overflow */
        set->rows += copy[i].rows;
        set->residual = fmax(set->residual, copy[i].residual);
    }
    return NPR_OK;
}

npr_status npr_set_put_index_texts(npr_set *set, const char *index, const char *index_job)
{
    char *a = npr_manifest_text(index), *b = npr_manifest_text(index_job);
    if (!a || !b) {
        free(a);
        free(b);
        return npr_last();
    }
    free(set->index);
    free(set->index_job);
    set->index = a;
    set->index_job = b;
    return NPR_OK;
}

void npr_set_free(npr_set *set)
{
    if (!set) return;
    free(set->path);
    free(set->kind);
    free(set->model);
    free(set->job);
    free(set->digest);
    free(set->index);
    free(set->index_job);
    free(set->part);
    free(set);
}

npr_status npr_set_open(const char *path, npr_set **set)
{
    char *text;
    size_t n;
    NPR_TRY(npr_manifest_read(path, &text, &n));
    npr_status st = npr_manifest_parse(path, text, n, set);
    free(text);
    return st;
}

npr_status npr_set_match(const npr_set *a, const npr_set *b)
{
    if (a->dim != b->dim)
        return npr_fail(NPR_EENV, "%s has embeddings of %d dimensions, %s of %d", a->path, a->dim, b->path,
                        b->dim);
    if (strcmp(a->model, b->model) != 0 && strcmp(a->model, "unknown") != 0 &&
        strcmp(b->model, "unknown") != 0)
        return npr_fail(NPR_EENV, "%s has embeddings by model %s, %s by %s: they cannot be compared", a->path,
                        a->model, b->path, b->model);
    return NPR_OK;
}

npr_status npr_set_read_all(const npr_set *set, uint32_t columns, npr_rows *r)
{
    NPR_TRY(npr_rows_make(r, columns, set->dim, set->rows));
    npr_status st = NPR_OK;
    for (int i = 0; i < set->parts && !st; i++) {
        npr_part *p;
        st = npr_part_open(set, i, &p);
        if (st) break;
        st = npr_part_read_more(p, 0, npr_part_rows(p), r);
        npr_part_close(p);
    }
    if (st) npr_rows_free(r);
    return st;
}
