/* bench_mpi.c - npr_bench_means(). See include/npr/bench.h. */
#include "npr/bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/measure.h"
#include "base/mem.h"
#include "base/rng.h"
#include "npr/prime.h"
#include "prime/mean.h"

enum { REPEATS_MAX = 99, LOO_ROWS = 4096, LOO_STEPS = 20 }; /* the alphas of npr-solve's own grid */

typedef struct bench {
    const npr_bench_means_job *job;
    uint16_t *emb;    /* [rows][dim] */
    int32_t *label;   /* [rows] */
    int32_t *count;   /* [rows] */
    npr_means *means; /* [threads] each thread's, as if it were a rank */
} bench;

/* Values as unit vectors of this dimension have them: about +-2/sqrt(dim), a few columns up to 0.9 as CLIP's.
 */
static npr_status make_data(bench *b)
{
    const npr_bench_means_job *job = b->job;
    size_t rows = (size_t)job->rows, dim = (size_t)job->dim;
    b->emb = npr_alloc_aligned(rows * dim, sizeof *b->emb, "rows");
    b->label = npr_alloc(rows, sizeof *b->label, "labels");
    b->count = npr_alloc(rows, sizeof *b->count, "counts");
    if (!b->emb || !b->label || !b->count) return npr_last();
    unsigned usual = (unsigned)(15 - ilogb(sqrt(job->dim)) + 1); /* exponent of a binary16 */
    for (size_t i = 0; i < rows; i++) {
        npr_rng r = npr_rng_make(1, i);
        b->label[i] = (int32_t)npr_rng_below(&r, job->classes);
        b->count[i] = 1 + (int32_t)(i % 10);
        for (size_t j = 0; j < dim; j += 4) {
            uint64_t bits = npr_rng_next(&r);
            for (size_t k = j; k < j + 4 && k < dim; k++, bits >>= 16) {
                unsigned exponent = k % 256 == 133 ? 14 : usual - ((unsigned)bits >> 13 & 3);
                b->emb[i * dim + k] = (uint16_t)((bits & 0x83ff) | exponent << 10);
            }
        }
    }
    b->means = npr_alloc((size_t)job->threads, sizeof *b->means, "class sums");
    if (!b->means) return npr_last();
    for (int t = 0; t < job->threads; t++) NPR_TRY(npr_means_make(job->classes, job->dim, &b->means[t]));
    return NPR_OK;
}

/* Every thread sums its share of the rows, in tiles as npr-solve reads them. */
static npr_status sum_once(bench *b, const int32_t *count)
{
    enum { TILE = 16384 };
    const npr_bench_means_job *job = b->job;
    int failed = 0;
#pragma omp parallel for num_threads(job->threads) schedule(static, 1)
    for (int t = 0; t < job->threads; t++) {
        int64_t from = job->rows * t / job->threads, to = job->rows * (t + 1) / job->threads;
        for (int64_t i = from; i < to; i += TILE) {
            int64_t n = to - i < TILE ? to - i : TILE;
            if (npr_means_add_counted(&b->means[t], b->emb + i * job->dim, b->label + i,
                                      count ? count + i : NULL, n)) {
#pragma omp atomic write
                failed = 1;
            }
        }
        npr_means_settle(&b->means[t]);
    }
    return failed ? npr_fail(NPR_EINTERNAL, "class sums failed") : NPR_OK;
}

static void report(npr_record *rec, const npr_log *log, const npr_bench_means_job *job, const char *order,
                   double seconds, double read)
{
    const char *kernel;
    char key[64];
    double bytes = 2.0 * (double)job->rows * job->dim, share = bytes / seconds / read;
    npr_sum_kernel_at(0, &kernel);
    snprintf(key, sizeof key, "bench.means.%s.ms", order);
    npr_record_real(rec, key, 1e3 * seconds);
    snprintf(key, sizeof key, "bench.means.%s.gb_per_s", order);
    npr_record_real(rec, key, bytes / seconds / 1e9);
    snprintf(key, sizeof key, "bench.means.%s.share_of_bandwidth", order);
    npr_record_real(rec, key, share);
    npr_info(
        log, "class sums of %lld rows, labels %s: %.1f ms, %.2f GB/s, %.0f %% of what %d threads read (%s)",
        (long long)job->rows, order, 1e3 * seconds, bytes / seconds / 1e9, 100 * share, job->threads, kernel);
}

static int by_label(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Leave-one-out over some of the rows of the first thread's sums, for all alphas: against two heads. */
static npr_status leave_one_out(const bench *b, npr_record *rec, const npr_log *log, const float *text)
{
    const npr_bench_means_job *job = b->job;
    int64_t n = job->rows / job->threads < LOO_ROWS ? job->rows / job->threads : LOO_ROWS;
    double t[REPEATS_MAX];
    for (int i = 0; i < job->repeats; i++) {
        npr_loo l;
        double start = npr_now();
        npr_status st = npr_loo_make(text, &b->means[0], 1, LOO_STEPS, &l);
        if (!st) st = npr_loo_add(&l, b->emb, b->label, NULL, n, job->threads);
        t[i] = npr_now() - start;
        npr_loo_free(&l);
        NPR_TRY(st);
    }
    double seconds = npr_measure_median(t, job->repeats),
           rate = 4.0 * (double)n * job->classes * job->dim / seconds;
    npr_record_real(rec, "bench.means.loo.gflops", rate / 1e9);
    npr_info(log, "leave-one-out of %lld rows, %d alphas: %.1f ms, %.1f Gflop/s", (long long)n, LOO_STEPS + 1,
             1e3 * seconds, rate / 1e9);
    return NPR_OK;
}

/* Against a head whose rows are those of the pool, as far as there are any. */
static npr_status time_loo(const bench *b, npr_record *rec, const npr_log *log)
{
    const npr_bench_means_job *job = b->job;
    size_t cells = (size_t)job->classes * (size_t)job->dim, most = (size_t)job->rows * (size_t)job->dim;
    float *text = npr_alloc_aligned(cells, sizeof *text, "a head");
    if (!text) return npr_last();
    for (size_t i = 0; i < cells; i++) text[i] = npr_half_value(b->emb[i % most]);
    npr_status st = leave_one_out(b, rec, log, text);
    free(text);
    return st;
}

/* Labels at random, as in a pool by row, also with counts, as of a transductive pool; and in order, as in a
 * pool by class. */
static npr_status run(bench *b, npr_record *rec, const npr_log *log)
{
    static const char *const orders[] = {"random", "counted", "sorted"};
    double ours[REPEATS_MAX], read[REPEATS_MAX];
    const char *kernel;
    size_t bytes = (size_t)b->job->rows * (size_t)b->job->dim * sizeof *b->emb;
    NPR_TRY(make_data(b));
    npr_sum_kernel_at(0, &kernel);
    npr_record_text(rec, "bench.means.kernel", kernel);
    for (int k = 0; k < 3; k++) {
        if (k == 2) qsort(b->label, (size_t)b->job->rows, sizeof *b->label, by_label);
        for (int i = 0; i < b->job->repeats; i++) {
            double start = npr_now();
            NPR_TRY(sum_once(b, k == 1 ? b->count : NULL));
            ours[i] = npr_now() - start;
            read[i] = npr_measure_read(b->emb, bytes, b->job->threads);
        }
        double bandwidth = npr_measure_median(read, b->job->repeats);
        if (!k) npr_record_real(rec, "bench.means.read_gb_per_s", bandwidth / 1e9);
        report(rec, log, b->job, orders[k], npr_measure_median(ours, b->job->repeats), bandwidth);
    }
    return time_loo(b, rec, log);
}

npr_status npr_bench_means(const npr_comm *comm, const npr_log *log, npr_record *rec,
                           const npr_bench_means_job *job)
{
    bench b = {.job = job};
    npr_status st = NPR_OK;
    if (comm->rank == 0)
        st = job->rows * job->dim < 64 || job->repeats > REPEATS_MAX
                 ? npr_fail(NPR_EUSAGE, "too few rows, or more than %d repeats", REPEATS_MAX)
                 : run(&b, rec, log);
    for (int t = 0; b.means && t < job->threads; t++) npr_means_free(&b.means[t]);
    free(b.means);
    free(b.emb);
    free(b.label);
    free(b.count);
    return npr_agree(comm, st, "bench");
}
