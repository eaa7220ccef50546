/* queries.c - the vectors a search asks with, read from a set. See npr/search.h. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/mem.h"
#include "npr/search.h"

/* Room for n queries; arrays are freed by npr_queries_free() also when only some could be made. */
static npr_status reserve(npr_queries *q, int64_t n, int dim, int named)
{
    q->nq = (int)n;
    q->dim = dim;
    q->vector = npr_alloc_aligned((size_t)n * (size_t)dim, sizeof *q->vector, "query vectors");
    q->label = npr_alloc((size_t)n, sizeof *q->label, "query labels");
    q->id = npr_alloc((size_t)n, sizeof *q->id, "query numbers");
    if (!q->vector || !q->label || !q->id) return npr_last();
    if (!named) return NPR_OK;
    q->name = npr_alloc((size_t)n, sizeof *q->name, "query names");
    return q->name ? NPR_OK : npr_last();
}

static npr_status copy_name(npr_queries *q, const npr_rows *r, int i)
{
    size_t n;
    const char *bytes = npr_text_at(&r->caption, i, &n);
    q->name[i] = npr_alloc(n + 1, 1, "a query name");
    if (!q->name[i]) return npr_last();
    memcpy(q->name[i], bytes, n);
    return NPR_OK;
}

static npr_status copy_row(npr_queries *q, const npr_set *set, const npr_rows *r, int i)
{
    size_t dim = (size_t)q->dim;
    float *v = q->vector + (size_t)i * dim;
    if (r->columns & NPR_COL(NPR_WEIGHT))
        memcpy(v, r->weight + (size_t)i * dim, dim * sizeof *v);
    else
        npr_half_to_float(r->emb + (size_t)i * dim, v, dim);
    for (size_t j = 0; j < dim; j++)
        if (!isfinite(v[j]))
            return npr_fail(NPR_EDATA, "%s: row %d, column %zu is %g; a query must be finite", set->path, i,
                            j, (double)v[j]);
    q->id[i] = r->id[i];
    q->label[i] = r->columns & NPR_COL(NPR_LABEL) ? r->label[i] : -1;
    if (q->label[i] < -1)
        return npr_fail(NPR_EDATA, "%s: row %d has the label %d", set->path, i, q->label[i]);
    if (q->label[i] == INT_MAX)
        return npr_fail(NPR_EDATA, "%s: row %d has the label %d, beyond the largest", set->path, i,
                        q->label[i]);
    if (q->label[i] >= q->classes) q->classes = q->label[i] + 1;
    return q->name ? copy_name(q, r, i) : NPR_OK;
}

npr_status npr_queries_read(const npr_set *set, npr_queries *q)
{
    *q = (npr_queries){0};
    if (set->rows == 0) return npr_fail(NPR_EDATA, "%s: no rows to search with", set->path);
    if (set->rows > INT_MAX)
        return npr_fail(NPR_EDATA, "%s: %lld rows are too many to search with, at most %d", set->path,
                        (long long)set->rows, INT_MAX);
    uint32_t vectors = set->columns & NPR_COL(NPR_WEIGHT) ? NPR_COL(NPR_WEIGHT) : NPR_COL(NPR_EMB);
    uint32_t columns =
        vectors | NPR_COL(NPR_ID) | (set->columns & (NPR_COL(NPR_LABEL) | NPR_COL(NPR_CAPTION)));
    npr_rows r = {0};
    npr_status st = npr_set_read_all(set, columns, &r);
    if (!st) st = reserve(q, r.n, set->dim, (columns & NPR_COL(NPR_CAPTION)) != 0);
    for (int i = 0; !st && i < q->nq; i++) st = copy_row(q, set, &r, i);
    npr_rows_free(&r);
    if (st) npr_queries_free(q);
    return st;
}

void npr_queries_free(npr_queries *q)
{
    for (int i = 0; q->name && i < q->nq; i++) free(q->name[i]);
    free(q->name);
    free(q->vector);
    free(q->label);
    free(q->id);
    *q = (npr_queries){0};
}
