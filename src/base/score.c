/* score.c - the exact inner product, and argmax and softmax built on it. See score.h. */
#include "base/score.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/linalg.h"
#include "base/mem.h"

/* ---- the exact inner product --------------------------------------------------------------------------- */

enum { LANES = 32 };

/* What is left of the row behind the last whole 32 values, and the tree. */
static double finish_lanes(double *lane, const uint16_t *row, const float *query, int n)
{
    float x[LANES];
    npr_half_to_float(row, x, (size_t)n);
    for (int j = 0; j < n; j++) lane[j] += (double)x[j] * (double)query[j];
    for (int half = LANES / 2; half; half /= 2)
        for (int j = 0; j < half; j++) lane[j] += lane[j + half];
    return lane[0];
}

static double dot_portable(const uint16_t *row, const float *query, int d)
{
    double lane[LANES] = {0};
    float x[LANES];
    int j = 0;
    for (; j + LANES <= d; j += LANES) {
        npr_half_to_float(row + j, x, LANES);
        for (int i = 0; i < LANES; i++) lane[i] += (double)x[i] * (double)query[j + i];
    }
    return finish_lanes(lane, row + j, query + j, d - j);
}

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx512f,avx512vl,avx512dq,f16c"))) static double dot_avx512(const uint16_t *row,
                                                                                   const float *query, int d)
{
    __m512d a[4];
    for (int u = 0; u < 4; u++) a[u] = _mm512_setzero_pd();
    int j = 0;
    for (; j + LANES <= d; j += LANES)
#pragma GCC unroll 4
        for (int u = 0; u < 4; u++) {
            __m128i h = _mm_loadu_si128((const __m128i *)(const void *)(row + j + 8 * u));
            a[u] = _mm512_fmadd_pd(_mm512_cvtps_pd(_mm256_cvtph_ps(h)),
                                   _mm512_cvtps_pd(_mm256_loadu_ps(query + j + 8 * u)), a[u]);
        }
    if (j < d) {
        double lane[LANES];
        for (int u = 0; u < 4; u++) _mm512_storeu_pd(lane + 8 * u, a[u]);
        return finish_lanes(lane, row + j, query + j, d - j);
    }
    __m512d s8 = _mm512_add_pd(_mm512_add_pd(a[0], a[2]), _mm512_add_pd(a[1], a[3]));
    __m256d s4 = _mm256_add_pd(_mm512_castpd512_pd256(s8), _mm512_extractf64x4_pd(s8, 1));
    __m128d s2 = _mm_add_pd(_mm256_castpd256_pd128(s4), _mm256_extractf128_pd(s4, 1));
    return _mm_cvtsd_f64(_mm_add_sd(s2, _mm_unpackhi_pd(s2, s2)));
}

/* Loops are unrolled to the end, and sums named one by one: a compiler keeps an array in registers only then.
 */
__attribute__((target("avx2,fma,f16c"))) static double dot_avx2(const uint16_t *row, const float *query,
                                                                int d)
{
    __m256d a[8];
#pragma GCC unroll 8
    for (int u = 0; u < 8; u++) a[u] = _mm256_setzero_pd();
    int j = 0;
    for (; j + LANES <= d; j += LANES)
#pragma GCC unroll 4
        for (int u = 0; u < 4; u++) {
            __m256 x = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(row + j + 8 * u)));
            const float *q = query + j + 8 * u;
            a[2 * u] = _mm256_fmadd_pd(_mm256_cvtps_pd(_mm256_castps256_ps128(x)),
                                       _mm256_cvtps_pd(_mm_loadu_ps(q)), a[2 * u]);
            a[2 * u + 1] = _mm256_fmadd_pd(_mm256_cvtps_pd(_mm256_extractf128_ps(x, 1)),
                                           _mm256_cvtps_pd(_mm_loadu_ps(q + 4)), a[2 * u + 1]);
        }
    if (j < d) {
        double lane[LANES];
#pragma GCC unroll 8
        for (int u = 0; u < 8; u++) _mm256_storeu_pd(lane + 4 * u, a[u]);
        return finish_lanes(lane, row + j, query + j, d - j);
    }
    __m256d even = _mm256_add_pd(_mm256_add_pd(a[0], a[4]), _mm256_add_pd(a[2], a[6]));
    __m256d odd = _mm256_add_pd(_mm256_add_pd(a[1], a[5]), _mm256_add_pd(a[3], a[7]));
    __m256d s4 = _mm256_add_pd(even, odd);
    __m128d s2 = _mm_add_pd(_mm256_castpd256_pd128(s4), _mm256_extractf128_pd(s4, 1));
    return _mm_cvtsd_f64(_mm_add_sd(s2, _mm_unpackhi_pd(s2, s2)));
}
#endif

npr_score_kernel npr_score_kernel_at(int i, const char **name)
{
#if defined(__x86_64__)
    int f16c = npr_half_in_hardware();
    if (f16c && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") && i-- == 0)
        return *name = "avx512", dot_avx512;
    if (f16c && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && i-- == 0)
        return *name = "avx2", dot_avx2;
#endif
    if (i == 0) return *name = "portable", dot_portable;
    return NULL;
}

double npr_score_dot(const uint16_t *row, const float *query, int d)
{
    const char *name;
    return npr_score_kernel_at(0, &name)(row, query, d);
}

/* ---- argmax -------------------------------------------------------------------------------------------- */

double npr_score_exp(double x)
{
    /* 1/i!, from i = 14 down to 1: the next term is below 2^-60 of the sum */
    static const double c[14] = {1 / 87178291200.0,
                                 1 / 6227020800.0,
                                 1 / 479001600.0,
                                 1 / 39916800.0,
                                 1 / 3628800.0,
                                 1 / 362880.0,
                                 1 / 40320.0,
                                 1 / 5040.0,
                                 1 / 720.0,
                                 1 / 120.0,
                                 1 / 24.0,
                                 1 / 6.0,
                                 0.5,
                                 1};
    static const double LN2_HIGH = 0x1.62e42feep-1, LN2_LOW = 0x1.a39ef35793c76p-33, ROUND = 0x1.8p52;
    if (!(x > -708)) return 0;
    /* x = n ln 2 + r with |r| <= ln 2 / 2; n times the high part is exact */
    double n = x * 0x1.71547652b82fep+0 + ROUND - ROUND, r = x - n * LN2_HIGH - n * LN2_LOW, sum = 0;
    for (int i = 0; i < 14; i++) sum = sum * r + c[i];
    uint64_t bits = (uint64_t)(1023 + (int)n) << 52; /* 2^n, a normal number */
    double power;
    memcpy(&power, &bits, sizeof power);
    return (1 + sum * r) * power;
}

typedef struct argmax {
    const uint16_t *row;
    const float *query;
    int dim, nq;
    const double *norm; /* [nq] upper bounds of the queries' norms */
    int32_t *best;
    double *score, *prob;
    npr_score_kernel dot;
} argmax;

/* One thread's memory. */
typedef struct argmax_work {
    float *x;      /* [block][dim] */
    float *screen; /* [block][nq] */
    double *exact; /* [nq] */
} argmax_work;

static double softmax_of_best(const double *s, int nq, int best)
{
    double sum = 0;
    for (int j = 0; j < nq; j++) sum += npr_score_exp(100 * (s[j] - s[best]));
    return 1 / sum;
}

/* Every score exact: for probabilities, and for values so large that the screen overflows. */
static void decide_all(const argmax *a, const uint16_t *row, int64_t i, double *exact)
{
    int best = 0;
    for (int j = 0; j < a->nq; j++) {
        exact[j] = a->dot(row, a->query + (size_t)j * (size_t)a->dim, a->dim);
        if (exact[j] > exact[best]) best = j;
    }
    a->best[i] = best;
    if (a->score) a->score[i] = exact[best];
    if (a->prob) a->prob[i] = softmax_of_best(exact, a->nq, best);
}

/* The true score of query j lies within error x norm[j] of screen[j] (npr_gemm_error, plus what is too small
 * for a float). So a query whose upper end lies below the best lower end is not the best one, ties included.
 */
static void decide_screened(const argmax *a, const uint16_t *row, int64_t i, const float *screen,
                            double error)
{
    double low = -INFINITY;
    for (int j = 0; j < a->nq; j++) {
        double l = (double)screen[j] - error * a->norm[j];
        low = l > low ? l : low;
    }
    int found = 0, best = -1;
    double top = 0;
    for (int j = 0; j < a->nq; j++) {
        if ((double)screen[j] + error * a->norm[j] < low) continue;
        if (found == 1 && !a->score) top = a->dot(row, a->query + (size_t)best * (size_t)a->dim, a->dim);
        double s = found || a->score ? a->dot(row, a->query + (size_t)j * (size_t)a->dim, a->dim) : 0;
        if (!found || s > top) {
            best = j;
            top = s;
        }
        found++;
    }
    a->best[i] = best;
    if (a->score) a->score[i] = top;
}

/* Euclidean norm of a row, rounded up a little; not finite if a value is not. */
static double row_norm(const float *x, int d)
{
    enum { WIDE = 8 };
    double s[WIDE] = {0}, squares = 0;
    int j = 0;
    for (; j + WIDE <= d; j += WIDE)
        for (int u = 0; u < WIDE; u++) s[u] += (double)x[j + u] * (double)x[j + u];
    for (; j < d; j++) squares += (double)x[j] * (double)x[j];
    for (int u = 0; u < WIDE; u++) squares += s[u];
    return sqrt(squares) * (1 + 0x1p-20);
}

static void decide_row(const argmax *a, int64_t i, const float *x, const float *screen, double *exact)
{
    const uint16_t *row = a->row + (size_t)i * (size_t)a->dim;
    double norm = row_norm(x, a->dim);
    int overflow = 0;
    for (int j = 0; j < a->nq; j++) overflow |= !(fabsf(screen[j]) <= FLT_MAX);
    if (!(norm <= DBL_MAX)) {
        a->best[i] = -1;
        if (a->score) a->score[i] = NAN;
        if (a->prob) a->prob[i] = NAN;
    } else if (a->prob || overflow) {
        decide_all(a, row, i, exact);
    } else {
        decide_screened(a, row, i, screen, npr_gemm_error(a->dim, norm, 1));
    }
}

static npr_status make_work(const argmax *a, int block, argmax_work *w)
{
    size_t rows = (size_t)block, dim = (size_t)a->dim, nq = (size_t)a->nq;
    w->x = npr_alloc_aligned(rows * dim, sizeof *w->x, "scoring rows");
    w->screen = npr_alloc_aligned(rows * nq, sizeof *w->screen, "scoring rows");
    w->exact = npr_alloc(nq, sizeof *w->exact, "scoring rows");
    return w->x && w->screen && w->exact ? NPR_OK : npr_last();
}

/* One thread's share of the blocks. A failure is recorded on the thread it happens on. */
static npr_status run_blocks(const argmax *a, int64_t n, int block)
{
    argmax_work w = {0};
    npr_status st = make_work(a, block, &w);
#pragma omp for schedule(dynamic, 1)
    for (int64_t i0 = 0; i0 < n; i0 += block) {
        if (st) continue;
        int m = n - i0 < block ? (int)(n - i0) : block;
        npr_half_to_float(a->row + (size_t)i0 * (size_t)a->dim, w.x, (size_t)m * (size_t)a->dim);
        if (a->nq > 0) npr_gemm_nt(m, a->nq, a->dim, w.x, a->query, w.screen, a->nq);
        for (int i = 0; i < m; i++)
            decide_row(a, i0 + i, w.x + (size_t)i * (size_t)a->dim, w.screen + (size_t)i * (size_t)a->nq,
                       w.exact);
    }
    free(w.x);
    free(w.screen);
    free(w.exact);
    return st;
}

npr_status npr_score_argmax(const uint16_t *row, int64_t n, int dim, const float *query, int nq, int threads,
                            int32_t *best, double *score, double *prob)
{
    enum { BLOCK = 256, SCREEN = 1 << 20, LEAST = 16 }; /* rows; scores kept in cache; rows */
    double *norm = npr_alloc((size_t)nq, sizeof *norm, "query norms");
    if (!norm) return npr_last();
    for (int j = 0; j < nq; j++) {
        double squares = 0;
        for (int i = 0; i < dim; i++) {
            double q = query[(size_t)j * (size_t)dim + (size_t)i];
            squares += q * q;
        }
        /* the norm itself is rounded; products below a float's least normal number vanish */
        norm[j] = sqrt(squares) * (1 + 0x1p-20) + dim * 0x1p-100;
    }
    const char *name;
    argmax a = {row, query, dim, nq, norm, best, score, prob, npr_score_kernel_at(0, &name)};
    int block = BLOCK;
    while (block > LEAST && (int64_t)block * nq > SCREEN) block /= 2;
    int failed = 0;
#pragma omp parallel num_threads(threads)
    {
        npr_status st = run_blocks(&a, n, block);
        if (st) {
#pragma omp atomic write
            failed = 1;
        }
    }
    free(norm);
    return failed ? npr_fail(NPR_EINTERNAL, "out of memory: scoring rows against %d queries", nq) : NPR_OK;
}
