/* bench_transductive_mpi.c - npr_bench_transductive(). See include/npr/bench.h. */
#include <math.h>
#include <stdlib.h>

#include "base/half.h"
#include "base/measure.h"
#include "base/mem.h"
#include "npr/bench.h"
#include "npr/search.h"
#include "search/bench/bench.h"

/* The paper's own: 1.1 million images, 10,000 of ImageNet-V2, two RTX 3090. */
static const double PAPER_SECONDS = 192, PAPER_PRODUCTS = 1.1e6 * 1e4;

enum { TILE = 16384, BATCH = 2048 }; /* rows; queries a pass takes, so that their lists stay small */

typedef struct bench {
    const npr_bench_transductive_job *job;
    uint16_t *emb;
    int64_t *id;
    float *query;
    int32_t *label;
    double residual; /* largest of a row */
    int64_t kept;    /* distinct rows recalled */
} bench;

static npr_status make_data(bench *b)
{
    size_t rows = (size_t)b->job->rows, dim = (size_t)b->job->dim, nq = (size_t)b->job->queries;
    int threads = b->job->threads;
    double residual = 0;
    b->emb = npr_alloc_aligned(rows * dim, sizeof *b->emb, "rows");
    b->id = npr_alloc(rows, sizeof *b->id, "ids");
    b->query = npr_alloc_aligned(nq * dim, sizeof *b->query, "queries");
    b->label = npr_alloc(nq, sizeof *b->label, "queries");
    float *x = npr_alloc((size_t)threads, dim * sizeof *x, "a row");
    if (!b->emb || !b->id || !b->query || !b->label || !x) {
        free(x);
        return npr_last();
    }
#pragma omp parallel for num_threads(threads) reduction(max : residual) schedule(static)
    for (int t = 0; t < threads; t++)
        for (size_t r = rows * (size_t)t / (size_t)threads; r < rows * ((size_t)t + 1) / (size_t)threads;
             r++) {
            float *own = x + (size_t)t * dim;
            npr_bench_row((int64_t)r, b->job->dim, own);
            npr_half_from_float(own, b->emb + r * dim, dim);
            b->id[r] = (int64_t)r;
            npr_row_facts facts = npr_half_row_facts(b->emb + r * dim, b->job->dim);
            residual = facts.residual > residual ? facts.residual : residual;
        }
    for (size_t q = 0; q < nq; q++) npr_bench_query((int64_t)q, b->job->dim, b->query + q * dim);
    b->residual = residual * (1 + 0x1p-30);
    free(x);
    return NPR_OK;
}

/* Queries q0 .. q0 + n - 1 over all rows; seen [rows] marks what they recall. */
static npr_status search_batch(bench *b, int q0, int n, char *seen)
{
    const npr_bench_transductive_job *job = b->job;
    npr_queries q = {
        .nq = n, .dim = job->dim, .vector = b->query + (size_t)q0 * (size_t)job->dim, .label = b->label};
    npr_exact *e = NULL;
    npr_topk *lists = npr_topk_make(n, job->k);
    npr_status st = lists ? npr_exact_make(&q, job->k, job->threads, &e)
                          : npr_fail(NPR_EINTERNAL, "out of memory: lists");
    for (int64_t r = 0; !st && r < job->rows; r += TILE) {
        npr_tile tile = {.n = job->rows - r < TILE ? job->rows - r : TILE,
                         .emb = b->emb + r * job->dim,
                         .id = b->id + r,
                         .place0 = r,
                         .residual = b->residual};
        st = npr_exact_tile(e, &tile, lists);
    }
    if (!st) npr_topk_sort(lists);
    for (int i = 0; !st && i < n; i++)
        for (int j = 0; j < npr_topk_count(lists, i); j++) {
            char *mark = &seen[npr_topk_list(lists, i)[j].place];
            b->kept += !*mark;
            *mark = 1;
        }
    npr_exact_free(e);
    npr_topk_free(lists);
    return st;
}

static npr_status run(bench *b, npr_record *rec, const npr_log *log)
{
    const npr_bench_transductive_job *job = b->job;
    NPR_TRY(make_data(b));
    char *seen = npr_alloc((size_t)job->rows, 1, "rows recalled");
    if (!seen) return npr_last();
    double gemm = npr_measure_gemm(job->dim, job->threads), start = npr_now(), seconds;
    npr_status st = NPR_OK;
    for (int q = 0; !st && q < job->queries; q += BATCH)
        st = search_batch(b, q, job->queries - q < BATCH ? job->queries - q : BATCH, seen);
    seconds = npr_now() - start;
    free(seen);
    if (st) return st;
    gemm = fmax(gemm, npr_measure_gemm(job->dim, job->threads)); /* before and after: neighbours disturb */
    double products = (double)job->rows * job->queries, flops = 2 * products * job->dim;
    npr_record_int(rec, "bench.transductive.kept", b->kept);
    npr_record_real(rec, "bench.transductive.seconds", seconds);
    npr_record_real(rec, "bench.transductive.gflop_per_s", flops / seconds / 1e9);
    npr_record_real(rec, "bench.transductive.sgemm_gflop_per_s", gemm / 1e9);
    npr_record_real(rec, "bench.transductive.share_of_sgemm", flops / seconds / gemm);
    npr_record_real(rec, "bench.transductive.peak_memory_gib", (double)npr_measure_memory() / (1 << 30));
    npr_record_real(rec, "bench.transductive.paper_seconds_scaled",
                    PAPER_SECONDS * products / PAPER_PRODUCTS);
    npr_info(
        log,
        "%d images, %lld rows: %lld kept, %.2f s, %.0f GFLOP/s, %.0f %% of sgemm; the paper's two RTX 3090 "
        "would take %.2f s",
        job->queries, (long long)job->rows, (long long)b->kept, seconds, flops / seconds / 1e9,
        100 * flops / seconds / gemm, PAPER_SECONDS * products / PAPER_PRODUCTS);
    return NPR_OK;
}

npr_status npr_bench_transductive(const npr_comm *comm, const npr_log *log, npr_record *rec,
                                  const npr_bench_transductive_job *job)
{
    bench b = {.job = job};
    npr_status st = comm->rank == 0 ? run(&b, rec, log) : NPR_OK;
    free(b.emb);
    free(b.id);
    free(b.query);
    free(b.label);
    return npr_agree(comm, st, "bench");
}
