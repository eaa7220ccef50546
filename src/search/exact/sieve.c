/* sieve.c - what is common to all screens: scaled queries, error bounds, lists of candidates. See screen.h.
 *
 * The bound. x: a row; q: a query, scaled; x' and q': what the screen computes with; r = ||x - x'||,
 * m = ||q - q'||, N = ||x||, Q = ||q||; t: what comes out.
 *     |x.q - x'.q'| = |(x - x').q + x'.(q - q')| <= r Q + (N + r) m                      (Cauchy-Schwarz)
 *     |x'.q' - t|  <= g ||x'|| ||q'|| <= g (N + r) (Q + m)
 * where g = npr_gemm_error(dim, 1, 1) covers dim additions in any order, fused or not: products of two
 * bfloat16 values are exact in a float, other products round once more, for which g has twice gamma_dim. So
 *     e = N (m + g (Q + m)) + r (Q + m + g (Q + m)).
 * Screens in floats have r = m = 0 and e = N g Q. Added to the factor of N: 2^-22 Q for the rounding of t - e
 * and t + e (|t| <= N Q (1 + g) + ...), and dim 2^-80 for what falls below the least normal float: a row that
 * is not zero has N >= 2^-24, and what is lost is below dim 2^-109. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/linalg.h"
#include "base/mem.h"
#include "base/score.h"
#include "search/exact/screen.h"
#include "search/select.h"

enum { LEAST_ROOM = 64 }; /* of a list of candidates */

/* ---- packed queries ----------------------------------------------------------------------------------- */

double npr_packed_scale(const npr_packed *p, int j, float *out)
{
    const float *q = p->vector + (size_t)j * (size_t)p->dim;
    double squares = 0, power = ldexp(1, p->shift[j]);
    for (int i = 0; i < p->dim; i++) {
        out[i] = (float)((double)q[i] * power);
        squares += (double)out[i] * (double)out[i];
    }
    return sqrt(squares) * (1 + 0x1p-40);
}

void npr_packed_bound(npr_packed *p, int j, double norm, double moved)
{
    double g = npr_gemm_error(p->dim, 1, 1), up = 1 + 0x1p-20; /* e is computed in floats */
    double to = norm + moved;
    p->by_norm[j] = (float)((moved + g * to + 0x1p-22 * norm + p->dim * 0x1p-80) * up);
    p->by_residual[j] = (float)((to + g * to) * up);
}

/* The power of two that brings the largest value into [1, 2). */
static npr_status find_shift(npr_packed *p, int j)
{
    const float *q = p->vector + (size_t)j * (size_t)p->dim;
    float most = 0;
    for (int i = 0; i < p->dim; i++) {
        if (!(fabsf(q[i]) <= FLT_MAX))
            return npr_fail(NPR_EDATA, "query %d has a value that is not finite", j);
        if (fabsf(q[i]) > most) most = fabsf(q[i]);
    }
    p->shift[j] = most > 0 ? -ilogbf(most) : 0;
    return NPR_OK;
}

npr_status npr_packed_make(const npr_screen *screen, const npr_queries *q, npr_packed **out)
{
    npr_packed *p = npr_alloc(1, sizeof *p, "queries");
    if (!p) return npr_last();
    *p = (npr_packed){.screen = screen, .nq = q->nq, .dim = q->dim, .vector = q->vector};
    p->padded = (q->nq + screen->width - 1) / screen->width * screen->width;
    size_t padded = (size_t)p->padded;
    /* before a list is full every row is a candidate: one block must not have too many */
    p->block_rows = NPR_BLOCK_ROWS;
    while (p->block_rows > 48 && (int64_t)p->block_rows * p->nq > NPR_SIEVE_HELD) p->block_rows /= 2;
    p->shift = npr_alloc(padded, sizeof *p->shift, "queries");
    p->by_norm = npr_alloc_aligned(padded, sizeof *p->by_norm, "queries");
    p->by_residual = npr_alloc_aligned(padded, sizeof *p->by_residual, "queries");
    npr_status st = p->shift && p->by_norm && p->by_residual ? NPR_OK : npr_last();
    for (int j = 0; !st && j < p->nq; j++) st = find_shift(p, j);
    for (int j = p->nq; !st && j < p->padded; j++) p->by_norm[j] = p->by_residual[j] = 0;
    if (!st && screen->wide) st = npr_packed_make(screen->wide, q, &p->wide);
    if (!st) st = screen->pack(p);
    if (st) {
        npr_packed_free(p);
        return st;
    }
    *out = p;
    return NPR_OK;
}

void npr_packed_free(npr_packed *p)
{
    if (!p) return;
    npr_packed_free(p->wide);
    free(p->shift);
    free(p->by_norm);
    free(p->by_residual);
    free(p->values);
    free(p);
}

/* ---- lists of candidates ------------------------------------------------------------------------------ */

npr_status npr_candidates_reserve(npr_candidates *c, size_t n)
{
    size_t cap_low = c->cap, cap_high = c->cap, cap_row = c->cap;
    if (n <= c->cap) return NPR_OK;
    NPR_TRY(npr_grow(&c->low, &cap_low, n, sizeof *c->low, "candidates"));
    NPR_TRY(npr_grow(&c->high, &cap_high, n, sizeof *c->high, "candidates"));
    NPR_TRY(npr_grow(&c->row, &cap_row, n, sizeof *c->row, "candidates"));
    c->cap = cap_row;
    return NPR_OK;
}

void npr_candidates_free(npr_candidates *c)
{
    free(c->low);
    free(c->high);
    free(c->row);
    *c = (npr_candidates){0};
}

npr_status npr_sieve_make(const npr_packed *p, int k, npr_sieve *v)
{
    size_t nq = (size_t)p->nq, room = (size_t)k + (size_t)k / 2 + 32;
    *v = (npr_sieve){.p = p, .k = k};
    if (nq && room > NPR_SIEVE_HELD / nq) room = NPR_SIEVE_HELD / nq;
    v->room = room < LEAST_ROOM ? LEAST_ROOM : room;
    v->least = npr_alloc_aligned((size_t)p->padded, sizeof *v->least, "candidates");
    v->list = npr_alloc(nq, sizeof *v->list, "candidates");
    v->open = npr_alloc(3 * (size_t)p->block_rows, sizeof *v->open, "candidates");
    v->scratch = npr_alloc_aligned(p->scratch, 1, "a block of rows");
    if (!v->least || !v->list || !v->open || !v->scratch) return npr_last();
    for (int j = 0; j < p->padded; j++) v->least[j] = FLT_MAX;
    return NPR_OK;
}

void npr_sieve_free(npr_sieve *v)
{
    for (int q = 0; v->list && q < v->p->nq; q++) npr_candidates_free(&v->list[q]);
    npr_candidates_free(&v->joined);
    free(v->least);
    free(v->list);
    free(v->select);
    free(v->open);
    free(v->scratch);
}

void npr_sieve_clear(npr_sieve *v)
{
    for (int q = 0; q < v->p->nq; q++) {
        if (v->list[q].cap > 2 * v->room) npr_candidates_free(&v->list[q]);
        v->list[q].n = 0;
    }
    v->held = 0;
}

npr_status npr_sieve_kth(npr_sieve *v, const float *x, size_t n, size_t k, float *kth)
{
    NPR_TRY(npr_grow(&v->select, &v->cap_select, 4 * n, sizeof *v->select, "candidates"));
    *kth = npr_select_largest(x, n, k, v->select);
    return NPR_OK;
}

/* Raise the bound to the k-th largest low and drop what cannot reach it. */
static void prune(npr_sieve *v, int q)
{
    npr_candidates *c = &v->list[q];
    float kth, least = v->least[q];
    if (c->n >= (size_t)v->k) {
        v->st = npr_sieve_kth(v, c->low, c->n, (size_t)v->k, &kth);
        if (v->st) return;
        if (kth > least) least = kth;
    }
    size_t kept = 0;
    for (size_t i = 0; i < c->n; i++) {
        float low = c->low[i], high = c->high[i];
        uint32_t row = c->row[i];
        c->low[kept] = low;
        c->high[kept] = high;
        c->row[kept] = row;
        kept += high >= least;
    }
    v->held -= (int64_t)(c->n - kept);
    v->least[q] = least;
    c->n = kept;
}

void npr_sieve_push(npr_sieve *v, int q, uint32_t row, float low, float high)
{
    npr_candidates *c = &v->list[q];
    if (v->st) return;
    if (c->n == c->cap) {
        if (c->n >= v->room) prune(v, q);
        /* the list is made as large as it is meant to be, or half as large again if most of it stays */
        if (!v->st && 4 * c->n >= 3 * c->cap)
            v->st = npr_candidates_reserve(c, c->cap < v->room ? v->room : c->cap + 1);
        if (v->st || high < v->least[q]) return;
    }
    c->low[c->n] = low;
    c->high[c->n] = high;
    c->row[c->n++] = row;
    v->held++;
}

void npr_sieve_offer_exact(npr_sieve *v, int q, const uint16_t *emb, uint32_t row)
{
    const npr_packed *p = v->p;
    size_t dim = (size_t)p->dim;
    double score = npr_score_dot(emb + (size_t)row * dim, p->vector + (size_t)q * dim, p->dim);
    float t = (float)ldexp(score, p->shift[q]);
    npr_sieve_offer(v, q, row, t, fabsf(t) * 0x1p-22f + FLT_MIN); /* the rounding to t, and of t +- e */
}
