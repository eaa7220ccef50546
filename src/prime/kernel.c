/* kernel.c - sums of binary16 rows of one class in double: portable, AVX2 (a few rows at a time in floats, as long
 * as that is exact) and AVX-512. No addition rounds
 * (see mean.c), so all kernels give the same bits. */
#include <stddef.h>

#include "base/half.h"
#include "prime/mean.h"

/* Columns from `column` on: all of them, or what is left of a row behind the last whole slice. */
static unsigned sum_columns(const npr_batch *b, int from, int to, int column, double *sum)
{
    enum { BLOCK = 64 };
    unsigned most = 0;
    float x[BLOCK];
    for (int i = from; i < to && column < b->dim; i++) {
        const uint16_t *row = b->emb + (size_t)b->order[i] * (size_t)b->dim;
        for (int j = column; j < b->dim; j += BLOCK) {
            int m = b->dim - j < BLOCK ? b->dim - j : BLOCK;
            npr_half_to_float(row + j, x, (size_t)m);
            for (int u = 0; u < m; u++) {
                unsigned magnitude = row[j + u] & 0x7fffu;
                most = magnitude > most ? magnitude : most;
                sum[j + u] += (double)x[u];
            }
        }
    }
    return most;
}

static unsigned sum_portable(const npr_batch *b, int from, int to, double *sum)
{
    return sum_columns(b, from, to, 0, sum);
}

unsigned npr_sum_counted(const npr_batch *b, const int32_t *count, int from, int to, double *sum)
{
    enum { BLOCK = 64 };
    unsigned most = 0;
    float x[BLOCK];
    for (int i = from; i < to; i++) {
        const uint16_t *row = b->emb + (size_t)b->order[i] * (size_t)b->dim;
        double times = count[b->order[i]];
        for (int j = 0; j < b->dim; j += BLOCK) {
            int m = b->dim - j < BLOCK ? b->dim - j : BLOCK;
            npr_half_to_float(row + j, x, (size_t)m);
            for (int u = 0; u < m; u++) {
                unsigned magnitude = row[j + u] & 0x7fffu;
                most = magnitude > most ? magnitude : most;
                sum[j + u] += times * (double)x[u]; /* 29 and 11 bits: exact */
            }
        }
    }
    return most;
}

#if defined(__x86_64__)
#include <immintrin.h>

enum { AHEAD = 16 }; /* rows fetched ahead: sorted rows lie anywhere in the batch */

/* Of eight unsigned values, by the instruction that finds the least. */
__attribute__((target("sse4.1"))) static inline unsigned largest(__m128i magnitude)
{
    __m128i least = _mm_minpos_epu16(_mm_xor_si128(magnitude, _mm_set1_epi16(-1)));
    return 0xffffu & ~(unsigned)_mm_cvtsi128_si32(least);
}

/* Always inlined: GCC takes a function that only prefetches for one without effect and drops the call. */
__attribute__((always_inline)) static inline void fetch_ahead(const npr_batch *b, int i, int column,
                                                              int bytes)
{
    if (i + AHEAD >= b->rows) return;
    const char *p = (const char *)(b->emb + (size_t)b->order[i + AHEAD] * (size_t)b->dim + column);
    for (int line = 0; line < bytes; line += 64) _mm_prefetch(p + line, _MM_HINT_T0);
}

/* The sums of a slice of columns stay in 16 registers over all rows of the class. */
__attribute__((target("avx512f,f16c"))) static unsigned sum_avx512(const npr_batch *b, int from, int to,
                                                                   double *sum)
{
    enum { LANES = 8, REGISTERS = 16, SLICE = LANES * REGISTERS };
    const __m128i mask = _mm_set1_epi16(0x7fff);
    __m128i worst = _mm_setzero_si128();
    int j = 0;
    for (; j + SLICE <= b->dim; j += SLICE) {
        __m512d s[REGISTERS];
        for (int u = 0; u < REGISTERS; u++) s[u] = _mm512_loadu_pd(sum + j + LANES * u);
        for (int i = from; i < to; i++) {
            const uint16_t *x = b->emb + (size_t)b->order[i] * (size_t)b->dim + j;
            fetch_ahead(b, i, j, 2 * SLICE);
#pragma GCC unroll 16
            for (int u = 0; u < REGISTERS; u++) {
                __m128i h = _mm_loadu_si128((const __m128i *)(const void *)(x + LANES * u));
                worst = _mm_max_epu16(worst, _mm_and_si128(h, mask));
                s[u] = _mm512_add_pd(s[u], _mm512_cvtps_pd(_mm256_cvtph_ps(h)));
            }
        }
        for (int u = 0; u < REGISTERS; u++) _mm512_storeu_pd(sum + j + LANES * u, s[u]);
    }
    unsigned rest = sum_columns(b, from, to, j, sum), most = largest(worst);
    return most > rest ? most : rest;
}

/* ---- AVX2 -----------------------------------------------------------------------------------------------
 */

enum { TOGETHER = 8, SLICE = 64, EIGHTS = SLICE / 8 }; /* rows added as floats; columns at a time */
enum { INEXACT = 0x20 };                               /* of MXCSR: some result was rounded */

/* Bring in the same columns of the next group. Always inlined, as fetch_ahead(). */
__attribute__((always_inline)) static inline void fetch_slice(const npr_batch *b, int i, int n, int column)
{
    for (int k = i + n; k < i + 2 * n && k < b->rows; k++) {
        const char *p = (const char *)(b->emb + (size_t)b->order[k] * (size_t)b->dim + column);
        for (int line = 0; line < 2 * SLICE; line += 64) _mm_prefetch(p + line, _MM_HINT_T0);
    }
}

__attribute__((target("avx2,f16c"), always_inline)) static inline void add_to_doubles(double *sum, __m256 x)
{
    __m256d low = _mm256_cvtps_pd(_mm256_castps256_ps128(x)),
            high = _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1));
    _mm256_storeu_pd(sum, _mm256_add_pd(_mm256_loadu_pd(sum), low));
    _mm256_storeu_pd(sum + 4, _mm256_add_pd(_mm256_loadu_pd(sum + 4), high));
}

/* A slice in doubles, row by row: where a sum of floats was rounded. */
__attribute__((target("avx2,f16c"))) static void add_singly(const uint16_t *const *row, int n, int j,
                                                            double *sum)
{
    for (int k = 0; k < n; k++)
        for (int u = 0; u < SLICE; u += 8)
            add_to_doubles(sum + j + u,
                           _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(row[k] + j + u))));
}

/* The accumulators pass through the reading of the flag, so that no addition moves across it. */
#define PIN(f)                                                                                               \
    "+x"((f)[0]), "+x"((f)[1]), "+x"((f)[2]), "+x"((f)[3]), "+x"((f)[4]), "+x"((f)[5]), "+x"((f)[6]),        \
        "+x"((f)[7])

/* A float has 24 bits for values of 11, so it holds the sum of a few of them exactly, but where very large
 * and very small ones meet. The processor keeps a flag for that; only if it is up are the rows added as
 * doubles, whose conversion is what costs. *worst takes the largest magnitudes in. */
__attribute__((target("avx2,f16c"), always_inline)) static inline void
add_together(const uint16_t *const *row, int n, int j, double *sum, __m256i *worst)
{
    const __m256i mask = _mm256_set1_epi16(0x7fff);
    __m256i most = *worst;
    __m256 f[EIGHTS];
    unsigned before, clear, after;
    for (int u = 0; u < EIGHTS; u++) f[u] = _mm256_setzero_ps();
    __asm__ volatile("vstmxcsr %0" : "=m"(before), PIN(f));
    clear = before & ~(unsigned)INEXACT;
    __asm__ volatile("vldmxcsr %8" : PIN(f) : "m"(clear));
    for (int k = 0; k < n; k++) {
        const __m128i *x = (const __m128i *)(const void *)(row[k] + j);
#pragma GCC unroll 8
        for (int u = 0; u < EIGHTS; u++) f[u] = _mm256_add_ps(f[u], _mm256_cvtph_ps(_mm_loadu_si128(x + u)));
#pragma GCC unroll 4
        for (int u = 0; u < EIGHTS; u += 2) {
            __m256i h = _mm256_loadu_si256((const __m256i *)(const void *)(x + u));
            most = _mm256_max_epu16(most, _mm256_and_si256(h, mask));
        }
    }
    *worst = most;
    __asm__ volatile("vstmxcsr %0" : "=m"(after), PIN(f));
    __asm__ volatile("vldmxcsr %0" : : "m"(before));
    if (after & INEXACT) {
        add_singly(row, n, j, sum);
        return;
    }
#pragma GCC unroll 8
    for (int u = 0; u < EIGHTS; u++) add_to_doubles(sum + j + 8 * u, f[u]);
}

/* Rows of a class, so many at a time that they stay in the first cache, a slice of columns after the other.
 */
__attribute__((target("avx2,f16c"))) static unsigned sum_avx2(const npr_batch *b, int from, int to,
                                                              double *sum)
{
    __m256i worst = _mm256_setzero_si256();
    int end = b->dim / SLICE * SLICE;
    for (int i = from; i < to; i += TOGETHER) {
        const uint16_t *row[TOGETHER];
        int n = to - i < TOGETHER ? to - i : TOGETHER;
        for (int k = 0; k < n; k++) row[k] = b->emb + (size_t)b->order[i + k] * (size_t)b->dim;
        for (int j = 0; j < end; j += SLICE) {
            fetch_slice(b, i, n, j);
            add_together(row, n, j, sum, &worst);
        }
    }
    unsigned rest = sum_columns(b, from, to, end, sum);
    unsigned most = largest(_mm_max_epu16(_mm256_castsi256_si128(worst), _mm256_extracti128_si256(worst, 1)));
    return most > rest ? most : rest;
}
#endif

npr_sum_kernel npr_sum_kernel_at(int i, const char **name)
{
#if defined(__x86_64__)
    int f16c = __builtin_cpu_supports("f16c");
    if (f16c && __builtin_cpu_supports("avx512f") && i-- == 0) return *name = "avx512", sum_avx512;
    if (f16c && __builtin_cpu_supports("avx2") && i-- == 0) return *name = "avx2", sum_avx2;
#endif
    if (i == 0) return *name = "portable", sum_portable;
    return NULL;
}
