/* recall.c - how many of the exact answers an approximate search found. See search_stage.h. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "search/search_stage.h"

npr_status npr_search_sample_make(const npr_queries *from, int n, npr_search_sample *s)
{
    size_t dim = (size_t)from->dim;
    *s = (npr_search_sample){.queries = {.nq = n, .dim = from->dim, .classes = from->classes}};
    s->list = npr_alloc((size_t)n, sizeof *s->list, "sampled queries");
    s->queries.vector = npr_alloc_aligned((size_t)n * dim, sizeof(float), "sampled queries");
    s->queries.label = npr_alloc((size_t)n, sizeof(int32_t), "sampled queries");
    s->queries.id = npr_alloc((size_t)n, sizeof(int64_t), "sampled queries");
    if (!s->list || !s->queries.vector || !s->queries.label || !s->queries.id) return npr_last();
    for (int i = 0; i < n; i++) {
        int q = (int)((int64_t)i * from->nq / n); /* spread evenly: heads are often sorted by theme */
        s->list[i] = q;
        s->queries.label[i] = from->label[q];
        s->queries.id[i] = from->id[q];
        memcpy(s->queries.vector + (size_t)i * dim, from->vector + (size_t)q * dim, dim * sizeof(float));
    }
    return NPR_OK;
}

static void copy_queries(const npr_queries *from, npr_queries *to, int at)
{
    size_t n = (size_t)from->nq, dim = (size_t)to->dim;
    if (!n) return;
    memcpy(to->vector + (size_t)at * dim, from->vector, n * dim * sizeof *to->vector);
    memcpy(to->label + at, from->label, n * sizeof *to->label);
    memcpy(to->id + at, from->id, n * sizeof *to->id);
}

npr_status npr_search_queries_join(const npr_queries *a, const npr_queries *b, npr_queries *out)
{
    *out = (npr_queries){.nq = a->nq + b->nq, .dim = a->dim, .classes = a->classes};
    size_t nq = (size_t)out->nq;
    out->vector = npr_alloc_aligned(nq * (size_t)out->dim, sizeof *out->vector, "queries to answer exactly");
    out->label = npr_alloc(nq, sizeof *out->label, "queries to answer exactly");
    out->id = npr_alloc(nq, sizeof *out->id, "queries to answer exactly");
    if (!out->vector || !out->label || !out->id) return npr_last();
    copy_queries(a, out, 0);
    copy_queries(b, out, a->nq);
    return NPR_OK;
}

void npr_search_sample_free(npr_search_sample *s)
{
    npr_queries_free(&s->queries);
    free(s->list);
}

static int place_compare(const void *va, const void *vb)
{
    int64_t a = *(const int64_t *)va, b = *(const int64_t *)vb;
    return (a > b) - (a < b);
}

/* Share of the `most` best of [want] exact hits that are among the n places found. */
static double share_found(const npr_hit *exact, size_t want, size_t most, const int64_t *place, size_t n)
{
    size_t hits = 0;
    if (most > want) most = want;
    for (size_t j = 0; n && j < most; j++)
        hits += bsearch(&exact[j].place, place, n, sizeof *place, place_compare) != NULL;
    return most ? (double)hits / (double)most : 1;
}

npr_status npr_search_recall_measure(const npr_search_plan *found, const npr_topk *truth,
                                     const npr_search_sample *s, npr_search_recall *recall)
{
    static const size_t reach[SEARCH_RECALLS] = {1, 10, 100};
    npr_status st = NPR_OK;
    *recall = (npr_search_recall){.queries = s->queries.nq, .least = 1, .scanned = recall->scanned};
    int64_t *place = NULL;
    size_t cap = 0, at = 0;
    for (int i = 0; !st && i < s->queries.nq; i++) {
        size_t n = 0, want = (size_t)npr_topk_count(truth, i);
        while (at < found->count && found->row[at].list < s->list[i])
            at++; /* the plan is still in order of lists */
        for (; !st && at < found->count && found->row[at].list == s->list[i]; at++) {
            st = npr_grow(&place, &cap, n + 1, sizeof *place, "recall");
            if (!st) place[n++] = found->row[at].hit.place;
        }
        if (n) qsort(place, n, sizeof *place, place_compare);
        const npr_hit *exact = npr_topk_list(truth, i);
        for (int a = 0; a < SEARCH_RECALLS; a++)
            recall->at[a] += share_found(exact, want, reach[a], place, n) / s->queries.nq;
        double share = share_found(exact, want, want, place, n);
        recall->mean += share / s->queries.nq;
        if (share < recall->least) recall->least = share;
    }
    free(place);
    return st;
}
