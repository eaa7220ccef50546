/* kernel.c - sums of labelled binary16 rows: plain C, AVX2 and AVX-512. No addition rounds (see mean.c), so
 * all kernels give the same bits. */
#include "prime/mean.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/mem.h"

/* Row x, `times` times, from `column` on: all of it, or what is left behind the last whole slice. Returns the
 * largest magnitude met. 29 and 11 bits: the product is exact. */
static unsigned add_columns(const uint16_t *x, int column, int dim, double times, double *sum)
{
    enum { BLOCK = 64 };
    unsigned most = 0;
    float f[BLOCK];
    for (int j = column; j < dim; j += BLOCK) {
        int m = dim - j < BLOCK ? dim - j : BLOCK;
        npr_half_to_float(x + j, f, (size_t)m);
        for (int u = 0; u < m; u++) {
            unsigned magnitude = x[j + u] & 0x7fffu;
            most = magnitude > most ? magnitude : most;
            sum[j + u] += times * (double)f[u];
        }
    }
    return most;
}

static double *sum_of(npr_means *m, int32_t label)
{
    return m->sum + (size_t)label * (size_t)m->dim;
}

static unsigned larger(unsigned a, unsigned b)
{
    return a > b ? a : b;
}

/* How often row i is taken: not at all without a class. */
static int times_of(const int32_t *label, const int32_t *count, int64_t i)
{
    return label[i] < 0 ? 0 : count ? count[i] : 1;
}

static npr_status sum_portable(npr_means *m, const uint16_t *emb, const int32_t *label, const int32_t *count,
                               int64_t n, unsigned *most)
{
    *most = 0;
    for (int64_t i = 0; i < n; i++) {
        int times = times_of(label, count, i);
        if (times)
            *most = larger(*most, add_columns(emb + i * m->dim, 0, m->dim, times, sum_of(m, label[i])));
    }
    return NPR_OK;
}

#if defined(__x86_64__)
#include <immintrin.h>

/* Of eight unsigned values, by the instruction that finds the least. */
__attribute__((target("sse4.1"))) static inline unsigned largest(__m128i magnitude)
{
    __m128i least = _mm_minpos_epu16(_mm_xor_si128(magnitude, _mm_set1_epi16(-1)));
    return 0xffffu & ~(unsigned)_mm_cvtsi128_si32(least);
}

/* ---- AVX-512: rows sorted by class, a batch at a time -------------------------------------------------- */

enum { BATCH = 16384, AHEAD = 16 }; /* rows; sorted rows lie anywhere in the batch and are fetched ahead */

/* A batch of rows and the order to take them in. */
typedef struct batch {
    const uint16_t *emb;
    int dim, rows;        /* rows = length of order */
    const int32_t *order; /* [rows] row numbers */
    const int32_t *count; /* of all rows of the batch: how often each is taken; NULL: once */
} batch;

/* Counting sort: order[start[c] .. start[c + 1]) = rows of class c, ascending. */
static void sort_by_class(const int32_t *label, int n, int classes, int32_t *start, int32_t *order)
{
    memset(start, 0, ((size_t)classes + 2) * sizeof *start);
    for (int i = 0; i < n; i++)
        if (label[i] >= 0) start[label[i] + 2]++;
    for (int c = 0; c < classes; c++) start[c + 2] += start[c + 1];
    for (int i = 0; i < n; i++)
        if (label[i] >= 0) order[start[label[i] + 1]++] = i;
}

/* Always inlined: GCC takes a function that only prefetches for one without effect and drops the call. */
__attribute__((always_inline)) static inline void fetch_ahead(const batch *b, int i, int column, int bytes)
{
    if (i + AHEAD >= b->rows) return;
    const char *p = (const char *)(b->emb + (size_t)b->order[i + AHEAD] * (size_t)b->dim + column);
    for (int line = 0; line < bytes; line += 64) _mm_prefetch(p + line, _MM_HINT_T0);
}

/* Rows order[from .. to) of a class: the sums of a slice of columns stay in 16 registers over all of them. A
 * row times its count is exact, and so is what is added of it. */
__attribute__((target("avx512f,f16c"))) static unsigned add_class(const batch *b, int from, int to,
                                                                  double *sum)
{
    enum { LANES = 8, REGISTERS = 16, SLICE = LANES * REGISTERS };
    const __m128i mask = _mm_set1_epi16(0x7fff);
    __m128i worst = _mm_setzero_si128();
    unsigned most = 0;
    int j = 0;
    for (; j + SLICE <= b->dim; j += SLICE) {
        __m512d s[REGISTERS];
        for (int u = 0; u < REGISTERS; u++) s[u] = _mm512_loadu_pd(sum + j + LANES * u);
        for (int i = from; i < to; i++) {
            int32_t row = b->order[i];
            const uint16_t *x = b->emb + (size_t)row * (size_t)b->dim + j;
            const __m512d times = _mm512_set1_pd(b->count ? b->count[row] : 1);
            fetch_ahead(b, i, j, 2 * SLICE);
#pragma GCC unroll 16
            for (int u = 0; u < REGISTERS; u++) {
                __m128i h = _mm_loadu_si128((const __m128i *)(const void *)(x + LANES * u));
                worst = _mm_max_epu16(worst, _mm_and_si128(h, mask));
                s[u] = _mm512_fmadd_pd(times, _mm512_cvtps_pd(_mm256_cvtph_ps(h)), s[u]);
            }
        }
        for (int u = 0; u < REGISTERS; u++) _mm512_storeu_pd(sum + j + LANES * u, s[u]);
    }
    for (int i = from; i < to && j < b->dim; i++) {
        int32_t row = b->order[i];
        most = larger(most, add_columns(b->emb + (size_t)row * (size_t)b->dim, j, b->dim,
                                        b->count ? b->count[row] : 1, sum));
    }
    return larger(most, largest(worst));
}

static npr_status sum_avx512(npr_means *m, const uint16_t *emb, const int32_t *label, const int32_t *count,
                             int64_t n, unsigned *most)
{
    int32_t *start = npr_alloc((size_t)m->classes + 2, sizeof *start, "sorting rows by class");
    int32_t *order = npr_alloc(BATCH, sizeof *order, "sorting rows by class");
    npr_status st = start && order ? NPR_OK : npr_last();
    *most = 0;
    for (int64_t row0 = 0; row0 < n && !st; row0 += BATCH) {
        int rows = (int)(n - row0 < BATCH ? n - row0 : BATCH);
        sort_by_class(label + row0, rows, m->classes, start, order);
        batch b = {emb + row0 * m->dim, m->dim, start[m->classes], order, count ? count + row0 : NULL};
        for (int c = 0; c < m->classes; c++)
            if (start[c] < start[c + 1])
                *most = larger(*most, add_class(&b, start[c], start[c + 1], sum_of(m, c)));
    }
    free(start);
    free(order);
    return st;
}

/* ---- AVX2: rows as they lie ------------------------------------------------------------------------------
 * Rows taken in any but their own order reach only half of the memory's speed on the machine this was
 * measured on (Zen 3: 7 to 8 GB/s of 16, whatever is fetched ahead), so rows are not sorted: two streams of
 * them, the first half and the second, are read side by side, a cache line of each in turn, and added to the
 * class they belong to. What is read and written beside each row must then be small. It is the class's sum of
 * at most HELD rows in 32-bit integers of 2^-24: a value is at most 2^24 of them, so 127 values stay below
 * 2^31. A binary16 is made one by four instructions without rounding: to a float (11 bits), times 2^24 and
 * times the row's count (6 bits), to an integer. Of the next row's sums one cache line of each two is asked
 * for meanwhile; the other one comes with it.
 * When HELD rows are in, what is above 2^24 is carried to 16-bit integers, 1 KiB of 512 columns where the
 * doubles have 4 that no cache holds any more; what is left is worth a row. 255 carries of at most 127 stay
 * below 2^15. Then, and when the sums are asked for, both are added to the doubles, exactly as well. */

enum {
    LINE = 32,  /* values of a cache line */
    HELD = 127, /* rows, each as often as its count says */
    TIMES = 63, /* the largest count that goes this way: two such rows of a class and what is left are HELD */
    CARRIES = 255,
    FETCH = 1024 /* bytes a stream is read ahead */
};

__attribute__((target("avx2"))) static void release(npr_means *m, int c)
{
    int32_t *part = m->part + (size_t)c * (size_t)m->stride;
    int16_t *high = m->high + (size_t)c * (size_t)m->stride;
    double *sum = sum_of(m, c);
    int end = m->dim / LINE * LINE;
    for (int j = 0; j < end; j += 4) {
        __m128i *p = (__m128i *)(void *)(part + j), *h = (__m128i *)(void *)(high + j);
        __m256d low = _mm256_mul_pd(_mm256_cvtepi32_pd(_mm_load_si128(p)), _mm256_set1_pd(0x1p-24));
        __m256d v = _mm256_add_pd(low, _mm256_cvtepi32_pd(_mm_cvtepi16_epi32(_mm_loadl_epi64(h))));
        _mm256_storeu_pd(sum + j, _mm256_add_pd(_mm256_loadu_pd(sum + j), v));
        _mm_store_si128(p, _mm_setzero_si128());
        _mm_storel_epi64(h, _mm_setzero_si128());
    }
    m->held[c] = m->carried[c] = 0;
}

__attribute__((target("avx2"))) static void carry(npr_means *m, int c)
{
    int32_t *part = m->part + (size_t)c * (size_t)m->stride;
    int16_t *high = m->high + (size_t)c * (size_t)m->stride;
    const __m256i below = _mm256_set1_epi32((1 << 24) - 1);
    int end = m->dim / LINE * LINE;
    for (int j = 0; j < end; j += 16) {
        __m256i *p = (__m256i *)(void *)(part + j), *h = (__m256i *)(void *)(high + j);
        __m256i a = _mm256_load_si256(p), b = _mm256_load_si256(p + 1);
        __m256i up = _mm256_packs_epi32(_mm256_srai_epi32(a, 24), _mm256_srai_epi32(b, 24));
        up = _mm256_permute4x64_epi64(up, _MM_SHUFFLE(3, 1, 2, 0)); /* packing works on halves */
        _mm256_store_si256(h, _mm256_add_epi16(_mm256_load_si256(h), up));
        _mm256_store_si256(p, _mm256_and_si256(a, below));
        _mm256_store_si256(p + 1, _mm256_and_si256(b, below));
    }
    m->held[c] = 1;
    m->carried[c]++;
}

/* The integers of a class, with room for `times` rows. */
static int32_t *hold(npr_means *m, int c, int times)
{
    if (m->held[c] + times > HELD) {
        if (m->carried[c] == CARRIES)
            release(m, c);
        else
            carry(m, c);
    }
    m->held[c] = (uint8_t)(m->held[c] + times);
    return m->part + (size_t)c * (size_t)m->stride;
}

/* A row to be taken, or none (times 0). */
typedef struct taken {
    const uint16_t *x;
    int class, times;
    const int32_t *next; /* sums of the row behind it, if they are others */
} taken;

/* A cache line of a row, scaled, and its place in the sums; `next` in those of the next row, NULL = not asked
 * for. */
__attribute__((target("avx2,f16c"), always_inline)) static inline __m256i
add_line(const uint16_t *x, __m256 scale, int32_t *part, const int32_t *next, __m256i worst)
{
    const __m256i mask = _mm256_set1_epi16(0x7fff);
    _mm_prefetch((const char *)x + FETCH, _MM_HINT_T0);
    if (next) _mm_prefetch((const char *)next, _MM_HINT_T1);
#pragma GCC unroll 4
    for (int u = 0; u < LINE; u += 8) {
        __m256 f = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(x + u)));
        __m256i v = _mm256_cvtps_epi32(_mm256_mul_ps(f, scale));
        __m256i *p = (__m256i *)(void *)(part + u);
        _mm256_store_si256(p, _mm256_add_epi32(_mm256_load_si256(p), v));
    }
#pragma GCC unroll 2
    for (int u = 0; u < LINE; u += 16) {
        __m256i h = _mm256_loadu_si256((const __m256i *)(const void *)(x + u));
        worst = _mm256_max_epu16(worst, _mm256_and_si256(h, mask));
    }
    return worst;
}

__attribute__((target("avx2,f16c"))) static __m256i add_one(npr_means *m, const taken *a, __m256i worst)
{
    __m256 scale = _mm256_set1_ps(0x1p24f * (float)a->times);
    int32_t *p = hold(m, a->class, a->times);
    for (int j = 0; j < m->dim / LINE * LINE; j += LINE)
        worst = add_line(a->x + j, scale, p + j, NULL, worst);
    return worst;
}

/* Two rows side by side, with or without asking for the next ones' sums: two loops, written once. */
__attribute__((target("avx2,f16c"), always_inline)) static inline __m256i
add_lines(const taken *a, const taken *b, int32_t *p, int32_t *q, int dim, int ahead, __m256i worst)
{
    __m256 scale = _mm256_set1_ps(0x1p24f * (float)a->times),
           other = _mm256_set1_ps(0x1p24f * (float)b->times);
    for (int j = 0; j < dim / LINE * LINE; j += LINE) {
        worst = add_line(a->x + j, scale, p + j, ahead ? a->next + j : NULL, worst);
        worst = add_line(b->x + j, other, q + j, ahead ? b->next + j : NULL, worst);
    }
    return worst;
}

__attribute__((target("avx2,f16c"))) static __m256i add_two(npr_means *m, const taken *a, const taken *b,
                                                            __m256i worst)
{
    int same = a->class == b->class; /* then room for both is made at once, before either is added */
    int32_t *p = hold(m, a->class, same ? a->times + b->times : a->times);
    int32_t *q = same ? p : hold(m, b->class, b->times);
    return a->next && b->next ? add_lines(a, b, p, q, m->dim, 1, worst)
                              : add_lines(a, b, p, q, m->dim, 0, worst);
}

/* Row i of those before `end`. */
static inline taken take(const npr_means *m, const uint16_t *emb, const int32_t *label, const int32_t *count,
                         int64_t i, int64_t end)
{
    if (i >= end) return (taken){0};
    int times = times_of(label, count, i);
    int next = i + 1 < end && label[i + 1] != label[i] ? label[i + 1] : -1;
    return (taken){emb + i * m->dim, label[i], times > TIMES ? 0 : times,
                   next < 0 ? NULL : m->part + (size_t)next * (size_t)m->stride};
}

/* What is left of the rows: those of a large count, and the columns behind the last whole line. */
static unsigned add_rest(npr_means *m, const uint16_t *emb, const int32_t *label, const int32_t *count,
                         int64_t n)
{
    int end = m->dim / LINE * LINE;
    unsigned most = 0;
    if (end == m->dim && !count) return 0;
    for (int64_t i = 0; i < n; i++) {
        int times = times_of(label, count, i);
        if (times > TIMES || (times && end < m->dim))
            most = larger(most, add_columns(emb + i * m->dim, times > TIMES ? 0 : end, m->dim, times,
                                            sum_of(m, label[i])));
    }
    return most;
}

__attribute__((target("avx2,f16c"))) static npr_status sum_avx2(npr_means *m, const uint16_t *emb,
                                                                const int32_t *label, const int32_t *count,
                                                                int64_t n, unsigned *most)
{
    __m256i worst = _mm256_setzero_si256();
    int64_t half = (n + 1) / 2;
    for (int64_t i = 0; i < half; i++) {
        taken a = take(m, emb, label, count, i, half), b = take(m, emb, label, count, half + i, n);
        if (a.times && b.times)
            worst = add_two(m, &a, &b, worst);
        else if (a.times || b.times)
            worst = add_one(m, a.times ? &a : &b, worst);
    }
    *most = larger(add_rest(m, emb, label, count, n),
                   largest(_mm_max_epu16(_mm256_castsi256_si128(worst), _mm256_extracti128_si256(worst, 1))));
    return NPR_OK;
}
#endif

npr_sum_kernel npr_sum_kernel_at(int i, const char **name)
{
#if defined(__x86_64__)
    int f16c = npr_half_in_hardware();
    if (f16c && __builtin_cpu_supports("avx512f") && i-- == 0) return *name = "avx512", sum_avx512;
    if (f16c && __builtin_cpu_supports("avx2") && i-- == 0) return *name = "avx2", sum_avx2;
#endif
    if (i == 0) return *name = "portable", sum_portable;
    return NULL;
}

void npr_means_settle(npr_means *m)
{
#if defined(__x86_64__)
    for (int c = 0; c < m->classes; c++)
        if (m->held[c]) release(m, c); /* only its own kernel holds anything */
#else
    (void)m;
#endif
}
