/* bench_mpi.c - npr_bench_search(). See include/npr/bench.h. */
#include "npr/bench.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/measure.h"
#include "base/mem.h"
#include "npr/search.h"
#include "search/bench/bench.h"
#include "search/exact/screen.h"

enum { TILE = 16384, REPEATS_MAX = 99 };

typedef struct bench {
    const npr_bench_search_job *job;
    const npr_log *log;
    npr_record *rec;
    uint16_t *emb;   /* [rows][dim] */
    float *wide;     /* [rows][dim] the same as floats, FAISS's input */
    int64_t *id;     /* [rows] */
    npr_queries all; /* as many as the largest batch */
    npr_faiss_flat *faiss;
    const npr_screen *screen; /* NULL: by the number of queries */
    double bandwidth, gemm;   /* bytes/s, flop/s of this machine with these threads */
} bench;

/* ---- made-up data: one row in twenty repeats an earlier one ---- */

static npr_status make_data(bench *b, int nq)
{
    int64_t rows = b->job->rows;
    int dim = b->job->dim;
    size_t values = (size_t)rows * (size_t)dim;
    b->emb = npr_alloc_aligned(values, sizeof *b->emb, "rows");
    b->wide = npr_alloc_aligned(values, sizeof *b->wide, "rows as floats");
    b->id = npr_alloc((size_t)rows, sizeof *b->id, "ids");
    b->all = (npr_queries){.nq = nq, .dim = dim};
    b->all.vector = npr_alloc_aligned((size_t)nq * (size_t)dim, sizeof(float), "queries");
    b->all.label = npr_alloc((size_t)nq, sizeof(int32_t), "queries");
    if (!b->emb || !b->wide || !b->id || !b->all.vector || !b->all.label) return npr_last();
#pragma omp parallel for num_threads(b->job->threads)
    for (int64_t r = 0; r < rows; r++) {
        float *x = b->wide + r * dim;
        npr_bench_row(r, dim, x);
        npr_half_from_float(x, b->emb + r * dim, (size_t)dim);
        npr_half_to_float(b->emb + r * dim, x, (size_t)dim);
        b->id[r] = r;
    }
    for (int q = 0; q < nq; q++) npr_bench_query(q, dim, b->all.vector + (size_t)q * (size_t)dim);
    return NPR_OK;
}

/* ---- the machine ---- */

static void measure_machine(bench *b)
{
    for (int i = 0; i < 5; i++) {
        size_t bytes = (size_t)b->job->rows * (size_t)b->job->dim * sizeof *b->emb;
        b->bandwidth = fmax(b->bandwidth, npr_measure_read(b->emb, bytes, b->job->threads));
        b->gemm = fmax(b->gemm, npr_measure_gemm(b->job->dim, b->job->threads));
    }
    npr_record_real(b->rec, "bench.read_gb_per_s", b->bandwidth / 1e9);
    npr_record_real(b->rec, "bench.sgemm_gflop_per_s", b->gemm / 1e9);
}

/* ---- the two searches ---- */

static const npr_screen *screen_for(const bench *b, int nq)
{
    return b->screen ? b->screen : npr_screen_choose(nq);
}

static npr_status search_ours(const bench *b, const npr_queries *q, npr_topk **out)
{
    npr_exact *e;
    NPR_TRY(npr_exact_make_with(screen_for(b, q->nq), q, b->job->k, b->job->threads, &e));
    npr_status st = (*out = npr_topk_make(q->nq, b->job->k)) ? NPR_OK : npr_last();
    for (int64_t r = 0; !st && r < b->job->rows; r += TILE) {
        npr_tile tile = {.n = b->job->rows - r < TILE ? b->job->rows - r : TILE,
                         .emb = b->emb + r * q->dim,
                         .id = b->id + r,
                         .place0 = r};
        st = npr_exact_tile(e, &tile, *out);
    }
    if (!st) npr_topk_sort(*out);
    npr_exact_free(e);
    return st;
}

/* Places where FAISS names another row although the scores differ by more than float rounding explains. */
static int64_t count_differences(const npr_topk *ours, int nq, int k, const float *score, const int64_t *id)
{
    int64_t differ = 0;
    for (int q = 0; q < nq; q++)
        for (int i = 0; i < npr_topk_count(ours, q); i++) {
            const npr_hit *h = &npr_topk_list(ours, q)[i];
            size_t at = (size_t)q * (size_t)k + (size_t)i;
            differ += h->id != id[at] && fabs(h->score - (double)score[at]) > 2e-6;
        }
    return differ;
}

static void put(npr_record *rec, int nq, const char *name, double v)
{
    char key[64];
    snprintf(key, sizeof key, "bench.nq%d.%s", nq, name);
    npr_record_real(rec, key, v);
}

static void report(const bench *b, int nq, double ours, double faiss, int64_t differ)
{
    double bytes = 2.0 * (double)b->job->rows * b->job->dim, flops = bytes * nq;
    const char *screen = screen_for(b, nq)->name;
    char key[64];
    snprintf(key, sizeof key, "bench.nq%d.screen", nq);
    npr_record_text(b->rec, key, screen);
    put(b->rec, nq, "ours_ms_per_query", 1e3 * ours / nq);
    put(b->rec, nq, "faiss_ms_per_query", 1e3 * faiss / nq);
    put(b->rec, nq, "ratio", faiss / ours);
    put(b->rec, nq, "share_of_bandwidth", bytes / ours / b->bandwidth);
    put(b->rec, nq, "share_of_sgemm", flops / ours / b->gemm);
    put(b->rec, nq, "differences", (double)differ);
    npr_info(b->log,
             "%5d queries: %8.3f ms per query, FAISS %8.3f: %.2fx; %3.0f %% of read bandwidth, %3.0f %% of "
             "sgemm (%s)",
             nq, 1e3 * ours / nq, 1e3 * faiss / nq, faiss / ours, 100 * bytes / ours / b->bandwidth,
             100 * flops / ours / b->gemm, screen);
}

static npr_status compare(const bench *b, int nq)
{
    npr_queries q = b->all;
    q.nq = nq;
    size_t places = (size_t)nq * (size_t)b->job->k;
    float *score = npr_alloc(places, sizeof *score, "scores");
    int64_t *id = npr_alloc(places, sizeof *id, "ids"), differ = 0;
    double ours[REPEATS_MAX], faiss[REPEATS_MAX];
    npr_status st = score && id ? NPR_OK : npr_last();
    for (int i = 0; !st && i < b->job->repeats; i++) {
        npr_topk *lists = NULL;
        double start = npr_now();
        st = search_ours(b, &q, &lists);
        ours[i] = npr_now() - start;
        start = npr_now();
        if (!st) st = npr_faiss_flat_search(b->faiss, q.vector, nq, b->job->k, b->job->threads, score, id);
        faiss[i] = npr_now() - start;
        if (!st) differ = count_differences(lists, nq, b->job->k, score, id);
        npr_topk_free(lists);
    }
    free(score);
    free(id);
    if (!st)
        report(b, nq, npr_measure_median(ours, b->job->repeats), npr_measure_median(faiss, b->job->repeats),
               differ);
    return st;
}

/* ---- the stage ---- */

/* The next number of "1,10,100"; 0 at the end, -1 for what is no number. */
static int next_number(const char **text)
{
    if (!**text) return 0;
    char *end;
    long n = strtol(*text, &end, 10);
    if (end == *text || n < 1 || n > 1000000 || (*end && *end != ',')) return -1;
    *text = *end ? end + 1 : end;
    return (int)n;
}

static npr_status run(bench *b)
{
    int most = 0, n;
    const char *at = b->job->queries;
    while ((n = next_number(&at)) > 0) most = n > most ? n : most;
    if (n < 0 || !most)
        return npr_fail(NPR_EUSAGE, "--queries=%s: wanted numbers such as 1,10,100", b->job->queries);
    if (b->job->screen) NPR_TRY(npr_screen_named(b->job->screen, &b->screen));
    NPR_TRY(make_data(b, most));
    NPR_TRY(npr_faiss_flat_make(b->wide, b->job->rows, b->job->dim, &b->faiss));
    measure_machine(b);
    for (at = b->job->queries; (n = next_number(&at)) > 0;) NPR_TRY(compare(b, n));
    return NPR_OK;
}

npr_status npr_bench_search(const npr_comm *comm, const npr_log *log, npr_record *rec,
                            const npr_bench_search_job *job)
{
    bench b = {.job = job, .log = log, .rec = rec};
    npr_status st = comm->rank == 0 ? run(&b) : NPR_OK;
    npr_faiss_flat_free(b.faiss);
    free(b.emb);
    free(b.wide);
    free(b.id);
    free(b.all.vector);
    free(b.all.label);
    return npr_agree(comm, st, "bench");
}
