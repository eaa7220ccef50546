/* exact.c - the exact k nearest rows: screen, then rescore. See npr_exact_*() in include/npr/search.h.
 *
 * Rows are converted to float in blocks that stay in the cache and screened in float arithmetic (screen.c). A
 * row whose screened score t may belong into a list is scored again by npr_score_dot(), and only that score
 * is kept. The proof that nothing is missed: |t - s| <= eps for the true score s (npr_gemm_error). A list's
 * floor f is an exact score that a new hit must reach; t < f - eps implies s < f, so such a row is out, ties
 * included. The list depends on exact scores only and its order is total: the answer is the same for any
 * block, tile, thread count and instruction set. */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/linalg.h"
#include "base/mem.h"
#include "base/score.h"
#include "npr/search.h"
#include "search/screen.h"

/* Scratch memory of a thread. */
typedef struct worker {
    float *x;         /* [NPR_SCREEN_ROWS][dim] rows as floats */
    float *screen;    /* [NPR_SCREEN_ROWS][nq] */
    float *threshold; /* [nq] the least screened score worth rescoring, in this block */
} worker;

struct npr_exact {
    const npr_queries *queries;
    double *norm; /* [nq] of the queries */
    int k, threads;
    worker *worker; /* [threads] */
};

npr_status npr_exact_make(const npr_queries *q, int k, int threads, npr_exact **out)
{
    npr_exact *e = npr_alloc(1, sizeof *e, "an exact search");
    if (!e) return npr_last();
    size_t nq = (size_t)q->nq, dim = (size_t)q->dim;
    e->queries = q;
    e->k = k;
    e->threads = threads < 1 ? 1 : threads;
    e->norm = npr_alloc(nq, sizeof *e->norm, "norms of queries");
    e->worker = npr_alloc((size_t)e->threads, sizeof *e->worker, "an exact search");
    int ok = e->norm && e->worker;
    for (int t = 0; ok && t < e->threads; t++) {
        worker *w = &e->worker[t];
        w->x = npr_alloc_aligned(NPR_SCREEN_ROWS * dim, sizeof *w->x, "rows as floats");
        w->screen = npr_alloc_aligned(NPR_SCREEN_ROWS * nq, sizeof *w->screen, "screened scores");
        w->threshold = npr_alloc_aligned(nq, sizeof *w->threshold, "thresholds");
        ok = w->x && w->screen && w->threshold;
    }
    if (!ok) {
        npr_exact_free(e);
        return npr_last();
    }
    for (size_t i = 0; i < nq; i++) {
        double squares = 0;
        for (size_t j = 0; j < dim; j++)
            squares += (double)q->vector[i * dim + j] * (double)q->vector[i * dim + j];
        e->norm[i] = sqrt(squares);
    }
    *out = e;
    return NPR_OK;
}

void npr_exact_free(npr_exact *e)
{
    if (!e) return;
    for (int t = 0; e->worker && t < e->threads; t++) {
        free(e->worker[t].x);
        free(e->worker[t].screen);
        free(e->worker[t].threshold);
    }
    free(e->worker);
    free(e->norm);
    free(e);
}

/* What a thread works on: rows [.., ..) of a tile into its own lists, or straight into the result. */
typedef struct job {
    npr_exact *e;
    const npr_tile *tile;
    const npr_topk
        *result; /* its floors hold for every thread; not written while threads run, unless it is `into` */
    npr_topk *into;
    worker *w;
    double norm; /* the largest of the block's rows */
} job;

/* The threshold of a query, rounded down: floor - eps. */
static float threshold(const job *j, int q)
{
    double floor = npr_topk_floor(j->into, q), global = npr_topk_floor(j->result, q);
    if (global > floor) floor = global;
    double t = floor - npr_gemm_error(j->e->queries->dim, j->norm, j->e->norm[q]);
    return nextafterf((float)t, -INFINITY);
}

/* Rescore row r of the tile for query q; keep it if it is good enough. */
static npr_status offer(const job *j, int64_t r, int q)
{
    const npr_tile *tile = j->tile;
    const npr_queries *queries = j->e->queries;
    if (tile->gate && tile->gate[r] != NPR_GATE_ANY && tile->gate[r] != queries->label[q]) return NPR_OK;
    int dim = queries->dim;
    double score = npr_score_dot(tile->emb + r * dim, queries->vector + (size_t)q * (size_t)dim, dim);
    NPR_TRY(npr_topk_push(j->into, q, (npr_hit){score, tile->id[r], tile->place0 + r}));
    j->w->threshold[q] = threshold(j, q);
    return NPR_OK;
}

/* Queries of [0, nq) whose screened score reaches their threshold. A first look at 16 at a time: almost
 * always none does. */
static npr_status select_queries(const job *j, int64_t r, const float *s)
{
    int nq = j->e->queries->nq;
    const float *least = j->w->threshold;
    enum { STEP = 16 };
    for (int q0 = 0; q0 < nq; q0 += STEP) {
        int n = nq - q0 < STEP ? nq - q0 : STEP, any = 0;
        if (n == STEP)
            for (int i = 0; i < STEP; i++) any |= s[q0 + i] >= least[q0 + i];
        else
            for (int i = 0; i < n; i++) any |= s[q0 + i] >= least[q0 + i];
        if (!any) continue;
        for (int q = q0; q < q0 + n; q++)
            if (s[q] >= least[q]) NPR_TRY(offer(j, r, q));
    }
    return NPR_OK;
}

static npr_status scan_block(job *j, int64_t r0, int n)
{
    const npr_queries *queries = j->e->queries;
    float norm2[NPR_SCREEN_ROWS], largest = 0;
    npr_half_to_float(j->tile->emb + r0 * queries->dim, j->w->x, (size_t)n * (size_t)queries->dim);
    npr_screen_norms(j->w->x, n, queries->dim, norm2);
    for (int i = 0; i < n; i++)
        if (isfinite(norm2[i]) && norm2[i] > largest) largest = norm2[i];
    j->norm = sqrt((double)largest * 1.001); /* rounded up: its own error is far below */
    for (int q = 0; q < queries->nq; q++) j->w->threshold[q] = threshold(j, q);
    npr_screen(j->w->x, n, queries->vector, queries->nq, queries->dim, j->w->screen);
    for (int i = 0; i < n; i++) {
        int out = !isfinite(norm2[i]) || (j->tile->gate && j->tile->gate[r0 + i] == NPR_GATE_NONE);
        if (!out) NPR_TRY(select_queries(j, r0 + i, j->w->screen + (size_t)i * (size_t)queries->nq));
    }
    return NPR_OK;
}

static npr_status scan_rows(job *j, int64_t begin, int64_t end)
{
    for (int64_t r = begin; r < end; r += NPR_SCREEN_ROWS)
        NPR_TRY(scan_block(j, r, (int)(end - r < NPR_SCREEN_ROWS ? end - r : NPR_SCREEN_ROWS)));
    return NPR_OK;
}

/* Thread t of a tile: its share of the rows, into lists of its own. */
static npr_status scan_share(npr_exact *e, const npr_tile *tile, const npr_topk *result, npr_topk *own, int t)
{
    job j = {e, tile, result, own, &e->worker[t], 0};
    int64_t share = (tile->n / e->threads + NPR_SCREEN_ROWS - 1) / NPR_SCREEN_ROWS * NPR_SCREEN_ROWS;
    int64_t begin = t * share, end = t == e->threads - 1 ? tile->n : begin + share;
    return scan_rows(&j, begin < tile->n ? begin : tile->n, end < tile->n ? end : tile->n);
}

npr_status npr_exact_tile(npr_exact *e, const npr_tile *tile, npr_topk *into)
{
    if (e->threads == 1) {
        job j = {e, tile, into, into, &e->worker[0], 0};
        return scan_rows(&j, 0, tile->n);
    }
    npr_status st = NPR_OK;
    npr_topk **own = npr_alloc((size_t)e->threads, sizeof *own, "lists of threads");
    for (int t = 0; own && !st && t < e->threads; t++)
        if (!(own[t] = npr_topk_make(e->queries->nq, e->k))) st = npr_last();
    if (!own) return npr_last();
    char text[1024] = "";
    if (!st) {
#pragma omp parallel for num_threads(e->threads) schedule(static, 1)
        for (int t = 0; t < e->threads; t++) {
            npr_status mine = scan_share(e, tile, into, own[t], t);
            if (!mine) continue;
#pragma omp critical(npr_exact_failure)
            {
                st = mine; /* the text belongs to the thread: carry it over */
                snprintf(text, sizeof text, "%s", npr_status_text());
            }
        }
        if (st) npr_status_set(st, text);
    }
    for (int t = 0; t < e->threads; t++) {
        if (!st) st = npr_topk_merge(into, own[t]);
        npr_topk_free(own[t]);
    }
    free(own);
    return st;
}
