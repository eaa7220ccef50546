/* kernel.c - sums of binary16 rows of one class in double: portable, AVX2 and AVX-512. No addition rounds
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

static inline unsigned largest(__m128i magnitude)
{
    uint16_t lane[8];
    unsigned most = 0;
    _mm_storeu_si128((__m128i *)(void *)lane, magnitude);
    for (int u = 0; u < 8; u++) most = lane[u] > most ? lane[u] : most;
    return most;
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

__attribute__((target("avx2,f16c"))) static unsigned sum_avx2(const npr_batch *b, int from, int to,
                                                              double *sum)
{
    enum { LANES = 4, REGISTERS = 8, SLICE = LANES * REGISTERS };
    const __m128i mask = _mm_set1_epi16(0x7fff);
    __m128i worst = _mm_setzero_si128();
    int j = 0;
    for (; j + SLICE <= b->dim; j += SLICE) {
        __m256d s[REGISTERS];
        for (int u = 0; u < REGISTERS; u++) s[u] = _mm256_loadu_pd(sum + j + LANES * u);
        for (int i = from; i < to; i++) {
            const uint16_t *x = b->emb + (size_t)b->order[i] * (size_t)b->dim + j;
            fetch_ahead(b, i, j, 2 * SLICE);
#pragma GCC unroll 8
            for (int u = 0; u < REGISTERS; u += 2) {
                __m128i h = _mm_loadu_si128((const __m128i *)(const void *)(x + LANES * u));
                worst = _mm_max_epu16(worst, _mm_and_si128(h, mask));
                __m256 f = _mm256_cvtph_ps(h);
                s[u] = _mm256_add_pd(s[u], _mm256_cvtps_pd(_mm256_castps256_ps128(f)));
                s[u + 1] = _mm256_add_pd(s[u + 1], _mm256_cvtps_pd(_mm256_extractf128_ps(f, 1)));
            }
        }
        for (int u = 0; u < REGISTERS; u++) _mm256_storeu_pd(sum + j + LANES * u, s[u]);
    }
    unsigned rest = sum_columns(b, from, to, j, sum), most = largest(worst);
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
