/* rescore.c - candidates become hits: the last word of exact search. See screen.h. */
#include <stdlib.h>

#include "base/score.h"
#include "search/exact/screen.h"
#include "search/topk.h"

enum { AHEAD = 6, LINE = 32 }; /* rows fetched ahead: candidates lie anywhere in the tile */

/* All threads' candidates of query q that reach `least`, in own->joined. */
static npr_status join(const npr_sieve *sieve, int threads, npr_sieve *own, int q, float least)
{
    npr_candidates *to = &own->joined;
    size_t n = 0;
    for (int t = 0; t < threads; t++) n += sieve[t].list[q].n;
    to->n = 0;
    NPR_TRY(npr_candidates_reserve(to, n));
    for (int t = 0; t < threads; t++) {
        const npr_candidates *c = &sieve[t].list[q];
        for (size_t i = 0; i < c->n; i++) {
            if (c->high[i] < least) continue;
            to->low[to->n] = c->low[i];
            to->high[to->n] = c->high[i];
            to->row[to->n++] = c->row[i];
        }
    }
    return NPR_OK;
}

static void fetch(const uint16_t *row, int dim)
{
    for (int j = 0; j < dim; j += LINE) __builtin_prefetch(row + j);
}

/* Score n rows of the tile exactly and offer them. Returns the least score in *worst. */
static npr_status score_rows(const npr_packed *p, const npr_tile *tile, int q, const uint32_t *row, size_t n,
                             npr_topk *into, double *worst)
{
    const float *query = p->vector + (size_t)q * (size_t)p->dim;
    size_t dim = (size_t)p->dim;
    *worst = INFINITY;
    for (size_t i = 0; i < n; i++) {
        if (i + AHEAD < n) fetch(tile->emb + (size_t)row[i + AHEAD] * dim, p->dim);
        double score = npr_score_dot(tile->emb + (size_t)row[i] * dim, query, p->dim);
        if (score < *worst) *worst = score;
        NPR_TRY(npr_topk_push(into, q, (npr_hit){score, tile->id[row[i]], tile->place0 + (int64_t)row[i]}));
    }
    return NPR_OK;
}

/* Move the rows whose high reaches `least` and whose low is in [from, to) to the front. */
static size_t pick(npr_candidates *c, float least, float from, float to)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++) {
        uint32_t row = c->row[i];
        float low = c->low[i], high = c->high[i];
        if (!(high >= least && low >= from && low < to)) continue;
        c->row[i] = c->row[n];
        c->low[i] = c->low[n];
        c->high[i] = c->high[n];
        c->row[n] = row;
        c->low[n] = low;
        c->high[n++] = high;
    }
    return n;
}

/* First the k candidates with the highest lower ends: the least of their exact scores is the best bound there
 * is, and most of the others do not reach it. */
npr_status npr_rescore(npr_sieve *sieve, int threads, npr_sieve *own, const npr_tile *tile, int q,
                       npr_topk *into)
{
    const npr_packed *p = own->p;
    npr_candidates *c = &own->joined;
    float least = -FLT_MAX, kth = -INFINITY;
    double worst;
    for (int t = 0; t < threads; t++)
        if (sieve[t].least[q] > least) least = sieve[t].least[q];
    NPR_TRY(join(sieve, threads, own, q, least));
    size_t k = (size_t)own->k;
    if (c->n > k) NPR_TRY(npr_sieve_kth(own, c->low, c->n, k, &kth));
    NPR_TRY(score_rows(p, tile, q, c->row, pick(c, -INFINITY, kth, INFINITY), into, &worst));
    if (c->n > k) {
        float bound = npr_float_below(ldexp(worst, p->shift[q]));
        if (bound > least) least = bound;
        NPR_TRY(score_rows(p, tile, q, c->row, pick(c, least, -INFINITY, kth), into, &worst));
    }
    npr_topk_settle(into, q);
    float floor = npr_float_below(ldexp(npr_topk_floor(into, q), p->shift[q]));
    if (floor > least) least = floor;
    for (int t = 0; t < threads; t++) sieve[t].least[q] = least;
    return NPR_OK;
}
