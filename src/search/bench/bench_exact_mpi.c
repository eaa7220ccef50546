/* bench_exact_mpi.c - the rates of exact search, of predictions and of the merge. See npr/bench.h. All ranks
 * work at once, each on the rows of its own parts in memory, so that they share what a node's cores share. */
#include <math.h>
#include <stdlib.h>

#include "base/measure.h"
#include "base/mem.h"
#include "base/score.h"
#include "npr/bench.h"
#include "npr/search.h"

enum { TILE = 16384, REPEATS_MAX = 99, MERGE_LISTS = 100 };

typedef struct bench {
    const npr_comm *comm;
    const npr_bench_rates_job *job;
    uint16_t *emb; /* [rows][dim] */
    int64_t *id, rows;
    int dim;
    double residual;
    npr_queries all;
} bench;

/* ---- rows of this rank, and queries -------------------------------------------------------------------- */

static npr_status read_part(bench *b, const npr_set *set, int p)
{
    npr_part *part;
    npr_rows r = {0};
    NPR_TRY(npr_part_open(set, p, &part));
    int64_t n = npr_part_rows(part);
    npr_status st = npr_rows_make(&r, NPR_COL(NPR_EMB), set->dim, TILE);
    for (int64_t at = 0; at < n && !st; at += TILE) {
        st = npr_part_read(part, at, n - at < TILE ? n - at : TILE, &r);
        for (int64_t i = 0; i < r.n && !st; i++) b->id[b->rows + i] = b->rows + i;
        for (int64_t i = 0; i < r.n * set->dim && !st; i++) b->emb[b->rows * set->dim + i] = r.emb[i];
        b->rows += st ? 0 : r.n;
    }
    b->residual = fmax(b->residual, set->part[p].residual);
    npr_rows_free(&r);
    npr_part_close(part);
    return st;
}

static npr_status read_rows(bench *b, const npr_set *set)
{
    int64_t rows = 0;
    for (int p = 0; p < set->parts; p++) rows += npr_owns(b->comm, p) ? set->part[p].rows : 0;
    b->dim = set->dim;
    b->emb = npr_alloc_aligned((size_t)rows * (size_t)set->dim + 1, sizeof *b->emb, "rows");
    b->id = npr_alloc((size_t)rows + 1, sizeof *b->id, "ids");
    if (!b->emb || !b->id) return npr_last();
    for (int p = 0; p < set->parts; p++)
        if (npr_owns(b->comm, p)) NPR_TRY(read_part(b, set, p));
    return b->rows ? NPR_OK : npr_fail(NPR_EUSAGE, "%s: fewer parts than ranks", set->path);
}

static npr_status open_all(bench *b)
{
    npr_set *set = NULL, *queries = NULL;
    NPR_TRY(npr_set_open_all(b->comm, b->job->index, &set));
    npr_status st = npr_set_open_all(b->comm, b->job->queries, &queries);
    if (!st) {
        st = read_rows(b, set);
        if (!st) st = npr_queries_read(queries, &b->all);
        st = npr_agree(b->comm, st, "bench");
        npr_set_free(queries);
    }
    npr_set_free(set);
    return st;
}

/* ---- exact ---- */

static npr_status search(const bench *b, int nq, int64_t rows, npr_topk **out)
{
    npr_queries q = b->all;
    npr_exact *e;
    q.nq = nq;
    *out = NULL;
    NPR_TRY(npr_exact_make(&q, b->job->k, b->job->threads, &e));
    npr_status st = (*out = npr_topk_make(nq, b->job->k)) ? NPR_OK : npr_last();
    for (int64_t r = 0; !st && r < rows; r += TILE) {
        npr_tile tile = {.n = rows - r < TILE ? rows - r : TILE,
                         .emb = b->emb + r * b->dim,
                         .id = b->id + r,
                         .place0 = r,
                         .residual = b->residual};
        st = npr_exact_tile(e, &tile, *out);
    }
    npr_exact_free(e);
    return st;
}

/* Median seconds of a search on all ranks at once: of the slowest. Collective. */
static npr_status time_search(const bench *b, int nq, int64_t rows, double *seconds)
{
    double t[REPEATS_MAX];
    npr_status st = NPR_OK;
    for (int i = 0; i < b->job->repeats && !st; i++) {
        npr_topk *lists;
        double start = npr_now();
        st = search(b, nq, rows, &lists);
        t[i] = npr_now() - start;
        npr_topk_free(lists);
        st = npr_agree(b->comm, st, "bench");
        npr_max_f64(b->comm, &t[i], 1);
    }
    *seconds = st ? NAN : npr_measure_median(t, b->job->repeats);
    return st;
}

/* Two sizes: what grows with the rows, and what filling the lists costs: the mean over batches of 10 and
 * more, where it is not lost in noise. Collective. */
static npr_status exact_rates(const bench *b, npr_plan_machine *m)
{
    double hit = 0;
    int hits = 0;
    int64_t all = b->rows, part = all / 4;
    for (int i = 0; i < NPR_PLAN_BATCHES; i++) {
        int nq = npr_plan_batch[i];
        double small, large, k = b->job->k;
        if (nq > b->all.nq) break;
        NPR_TRY(time_search(b, nq, part, &small));
        NPR_TRY(time_search(b, nq, all, &large));
        /* t = rows x cost + hits x each, for both sizes */
        double h0 = nq * npr_plan_hits((double)part, k), h1 = nq * npr_plan_hits((double)all, k);
        double each = (small * (double)all - large * (double)part) / (h0 * (double)all - h1 * (double)part);
        each = fmin(fmax(each, 0), 0.5 * large / h1); /* small sizes are noise */
        m->exact[i] = (large - each * h1) / ((double)all * b->dim);
        if (nq < 10) continue;
        hit += each;
        hits++;
    }
    if (hits) m->exact_hit = hit / hits;
    return NPR_OK;
}

/* ---- predictions ---- */

/* A tile of rows, as npr-solve has them: less is over in an instant, in which a core may be faster or slower
 * than it stays. Collective. */
static npr_status argmax_rate(const bench *b, npr_plan_machine *m)
{
    int64_t n = b->rows < TILE ? b->rows : TILE;
    int32_t *best = npr_alloc((size_t)n, sizeof *best, "predictions");
    double t[REPEATS_MAX];
    npr_status st = npr_agree(b->comm, best ? NPR_OK : npr_last(), "bench");
    for (int i = 0; i < b->job->repeats && !st; i++) {
        double start = npr_now();
        st = npr_score_argmax(b->emb, n, b->dim, b->all.vector, b->all.nq, b->job->threads, best, NULL, NULL);
        t[i] = npr_now() - start;
        st = npr_agree(b->comm, st, "bench");
        t[i] /= (double)n;
        npr_max_f64(b->comm, &t[i], 1);
    }
    free(best);
    if (!st) m->argmax = 2.0 * b->all.nq * b->dim / npr_measure_median(t, b->job->repeats);
    return st;
}

/* ---- the merge ---- */

/* Seconds per hit of the merged lists, besides latency and bandwidth. Collective. */
static npr_status merge_rate(const bench *b, npr_plan_machine *m)
{
    double t[REPEATS_MAX];
    int nq = b->all.nq < MERGE_LISTS ? b->all.nq : MERGE_LISTS;
    npr_status st = NPR_OK;
    if (b->comm->size < 2) return NPR_OK;
    for (int i = 0; i < b->job->repeats && !st; i++) {
        npr_topk *lists;
        st = npr_agree(b->comm, search(b, nq, b->rows, &lists), "bench");
        if (!st) st = npr_topk_allmerge(b->comm, lists, &t[i]);
        npr_topk_free(lists);
    }
    if (st) return st;
    double hits = (double)nq * b->job->k, size = b->comm->size,
           bytes = 2 * (size - 1) / size * hits * sizeof(npr_hit);
    double seconds = npr_measure_median(t, b->job->repeats);
    seconds -= 2 * ceil(log2(size)) * m->latency + bytes / m->bandwidth;
    m->merge_hit = fmax(seconds, 0) / hits;
    npr_max_f64(b->comm, &m->merge_hit, 1);
    return NPR_OK;
}

npr_status npr_bench_exact_rates(const npr_comm *comm, const npr_bench_rates_job *job, npr_plan_machine *m)
{
    bench b = {.comm = comm, .job = job};
    npr_status st = open_all(&b);
    if (!st) st = exact_rates(&b, m);
    if (!st) st = argmax_rate(&b, m);
    if (!st) st = merge_rate(&b, m);
    npr_queries_free(&b.all);
    free(b.emb);
    free(b.id);
    return st;
}
