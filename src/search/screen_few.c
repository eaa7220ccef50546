/* screen_few.c - the screen for few queries: rows are streamed once from memory, converted in registers and
 * multiplied with up to four queries at a time, which leaves the time of reading them. See screen.h.
 *
 * Four (AVX2: three) rows go together, so that each value of a query is loaded once for all of them. The
 * error bound wants a row's norm: with AVX-512 a fifth sum per row is that of its squares. AVX2 has no
 * registers left for those, and ors the rows' bits instead, which bounds their largest value and so, more
 * widely, their norms; only a row that passes is looked at more closely.
 *
 * With AVX2 the three are rows of the three thirds of a block, hundreds of kilobytes apart, a cache line of
 * each in turn. Neighbours are one stream of memory, which AMD's Zen 3 reads at 6 GB/s (163 ns a row of 512
 * values), whatever is fetched ahead; two far ones at 13 (79 ns). The next rows of each are fetched into the
 * second cache.
 */
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/mem.h"
#include "search/screen.h"

enum {
    /* queries up to which blocks are slower, measured */
    MOST_AVX512 = 10,
    MOST_AVX2 = 11,
    GROUP = 4,         /* queries in one pass over a row */
    PREFETCH_ROWS = 8, /* rows fetched ahead; the hardware stops at page ends */
    ROWS_AVX2 = 3,     /* of a turn */
    PREFETCH_AVX2 = 2, /* rows fetched ahead in each of three streams */
    LINE = 32,         /* values of a row in a cache line */
};

/* Queries follow each other, padded with zeros to a multiple of 16 values. */
static size_t stride_of(const npr_packed *p)
{
    return ((size_t)p->dim + 15) / 16 * 16;
}

static npr_status pack(npr_packed *p)
{
    size_t stride = stride_of(p);
    float *out = npr_alloc((size_t)p->nq * stride, sizeof *out, "queries");
    if (!out) return npr_last();
    p->values = (uint32_t *)out;
    for (int j = 0; j < p->nq; j++)
        npr_packed_bound(p, j, npr_packed_scale(p, j, out + (size_t)j * stride), 0);
    return NPR_OK;
}

#if defined(__x86_64__)
#include <immintrin.h>

/* Rows of a turn, and rows to fetch meanwhile. */
typedef struct turn {
    const uint16_t *row[4], *next[4];
    uint32_t number[4];
    int rows;
} turn;

/* Rows i .. of row [n]; `ahead` more rows follow in row[]. */
static inline turn start_turn(const npr_packed *p, const uint16_t *emb, const uint32_t *row, int i, int n,
                              int ahead, int step)
{
    turn t = {.rows = n - i < step ? n - i : step};
    for (int u = 0; u < step; u++) {
        int at = u < t.rows ? i + u : i, next = i + u + PREFETCH_ROWS;
        t.number[u] = row[at];
        t.row[u] = emb + (size_t)row[at] * (size_t)p->dim;
        t.next[u] = emb + (size_t)row[next < n + ahead ? next : at] * (size_t)p->dim;
    }
    return t;
}

static void offer(npr_sieve *v, const turn *t, int q, const float *sum, const float *norm)
{
    for (int u = 0; u < t->rows; u++) npr_sieve_offer(v, q, t->number[u], sum[u], norm[u] * v->p->by_norm[q]);
}

#define AVX512 __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,f16c")))

/* The sums of the lanes of four registers. */
AVX512 static inline __m128 sum4(__m512 a, __m512 b, __m512 c, __m512 d)
{
    __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    __m512 s = _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xee));
    __m256 h = _mm256_add_ps(_mm512_castps512_ps256(s), _mm512_extractf32x8_ps(s, 1));
    return _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
}

/* Sums of four rows with up to GROUP queries, and of the rows' squares. */
typedef struct sums512 {
    __m512 dot[GROUP][4], squares[4];
} sums512;

/* Add 16 columns from j on; `in` masks those behind the end of the row. */
AVX512 static inline __attribute__((always_inline)) void add512(sums512 *s, const turn *t, const float *q,
                                                                size_t stride, int nq, int j, __mmask16 in)
{
    __m512 x[4];
#pragma GCC unroll 4
    for (int u = 0; u < 4; u++) {
        x[u] = _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(in, t->row[u] + j));
        s->squares[u] = _mm512_fmadd_ps(x[u], x[u], s->squares[u]);
    }
#pragma GCC unroll 4
    for (int g = 0; g < nq; g++) {
        __m512 y = _mm512_loadu_ps(q + (size_t)g * stride + j);
#pragma GCC unroll 4
        for (int u = 0; u < 4; u++) s->dot[g][u] = _mm512_fmadd_ps(x[u], y, s->dot[g][u]);
    }
}

/* Queries q0 .. q0+nq-1 (nq a constant where this is inlined) with four rows. */
AVX512 static inline __attribute__((always_inline)) void few512(const npr_packed *p, npr_sieve *v,
                                                                const turn *t, int q0, int nq)
{
    size_t stride = stride_of(p);
    const float *q = (const float *)p->values + (size_t)q0 * stride;
    sums512 s;
    for (int u = 0; u < 4; u++) s.squares[u] = _mm512_setzero_ps();
    for (int g = 0; g < nq; g++)
        for (int u = 0; u < 4; u++) s.dot[g][u] = _mm512_setzero_ps();
    int j = 0;
    for (; j + LINE <= p->dim; j += LINE) {
        for (int u = 0; u < 4; u++) _mm_prefetch((const char *)(t->next[u] + j), _MM_HINT_T0);
        add512(&s, t, q, stride, nq, j, 0xffff);
        add512(&s, t, q, stride, nq, j + 16, 0xffff);
    }
    for (; j < p->dim; j += 16)
        add512(&s, t, q, stride, nq, j, (__mmask16)(p->dim - j >= 16 ? 0xffff : (1 << (p->dim - j)) - 1));
    float sums[4], norms[4];
    _mm_storeu_ps(norms, sum4(s.squares[0], s.squares[1], s.squares[2], s.squares[3]));
    for (int u = 0; u < 4; u++) norms[u] = npr_norm_above(norms[u], p->dim);
    __m128 norm = _mm_loadu_ps(norms);
    for (int g = 0; g < nq; g++) {
        __m128 sum = sum4(s.dot[g][0], s.dot[g][1], s.dot[g][2], s.dot[g][3]);
        __m128 high = _mm_add_ps(sum, _mm_mul_ps(norm, _mm_set1_ps(p->by_norm[q0 + g])));
        if (!_mm_movemask_ps(_mm_cmpge_ps(high, _mm_set1_ps(v->least[q0 + g])))) continue;
        _mm_storeu_ps(sums, sum);
        offer(v, t, q0 + g, sums, norms);
    }
}

AVX512 static void scan_avx512(const npr_packed *p, npr_sieve *v, const uint16_t *emb, const uint32_t *row,
                               int n, int ahead)
{
    for (int i = 0; i < n; i += 4) {
        turn t = start_turn(p, emb, row, i, n, ahead, 4);
        int q = 0;
        for (; q + 4 <= p->nq; q += 4) few512(p, v, &t, q, 4);
        if (p->nq - q == 3) few512(p, v, &t, q, 3);
        if (p->nq - q == 2) few512(p, v, &t, q, 2);
        if (p->nq - q == 1) few512(p, v, &t, q, 1);
    }
}

#define AVX2 __attribute__((target("avx2,fma,f16c")))

/* The sums of the lanes of four registers. */
AVX2 static inline __m128 sum4_256(__m256 a, __m256 b, __m256 c, __m256 d)
{
    __m256 ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    __m256 cd = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
    __m256 s = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xee));
    return _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
}

/* Eight values of a row from column j on, zeros behind its end. */
AVX2 static inline __m128i load8(const uint16_t *row, int j, int dim)
{
    uint16_t end[8] = {0};
    if (dim - j < 8) {
        memcpy(end, row + j, (size_t)(dim - j) * sizeof *end);
        row = end;
        j = 0;
    }
    return _mm_loadu_si128((const __m128i *)(const void *)(row + j));
}

/* Sums of three rows with up to GROUP queries. */
typedef struct sums256 {
    __m256 dot[GROUP][ROWS_AVX2];
} sums256;

/* Add 8 columns from j on: x[u] of row u. */
AVX2 static inline __attribute__((always_inline)) void add256(sums256 *s, const __m256 *x, const float *q,
                                                              size_t stride, int nq, int j)
{
#pragma GCC unroll 4
    for (int g = 0; g < nq; g++) {
        __m256 y = _mm256_loadu_ps(q + (size_t)g * stride + j);
#pragma GCC unroll 3
        for (int u = 0; u < ROWS_AVX2; u++) s->dot[g][u] = _mm256_fmadd_ps(x[u], y, s->dot[g][u]);
    }
}

/* The larger of each pair of magnitudes: binary16 without its sign, moved up by a bit, grows with its value.
 */
AVX2 static inline __m256i largest256(__m256i most, __m256i bits)
{
    return _mm256_max_epu16(most, _mm256_slli_epi16(bits, 1));
}

/* A bound of the norms of all rows whose values went into largest256(). */
AVX2 static float norm_of_largest(__m256i largest, int dim)
{
    __m128i b = _mm_max_epu16(_mm256_castsi256_si128(largest), _mm256_extracti128_si256(largest, 1));
    int least = _mm_extract_epi16(_mm_minpos_epu16(_mm_xor_si128(b, _mm_set1_epi16(-1))), 0);
    int most = (0xffff ^ least) >> 1;
    if (most >= 0x7c00) return INFINITY;
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(most))) * sqrtf((float)dim) * (1 + 0x1p-20f);
}

/* A bound of one row's norm that is as near as floats allow. */
AVX2 static float norm_of_row(const uint16_t *row, int dim)
{
    __m256 s = _mm256_setzero_ps();
    for (int j = 0; j < dim; j += 8) {
        __m256 x = _mm256_cvtph_ps(load8(row, j, dim));
        s = _mm256_fmadd_ps(x, x, s);
    }
    return npr_norm_above(_mm_cvtss_f32(sum4_256(s, s, s, s)), dim);
}

/* Offer what may reach the bounds: seen with the bound of all rows' norms, looked at with the row's own. */
AVX2 static inline __attribute__((always_inline)) void sift256(npr_sieve *v, const turn *t, int q0, int nq,
                                                               const sums256 *s, float norm)
{
    const npr_packed *p = v->p;
    __m256 zero = _mm256_setzero_ps();
    __m128 least = _mm_loadu_ps(v->least + q0);
    __m128 e = _mm_mul_ps(_mm_set1_ps(norm), _mm_loadu_ps(p->by_norm + q0));
    for (int u = 0; u < t->rows; u++) {
        __m128 sum = sum4_256(s->dot[0][u], nq > 1 ? s->dot[1][u] : zero, nq > 2 ? s->dot[2][u] : zero,
                              nq > 3 ? s->dot[3][u] : zero);
        int hits = _mm_movemask_ps(_mm_cmpge_ps(_mm_add_ps(sum, e), least)) & ((1 << nq) - 1);
        if (!hits) continue;
        float lane[4], own = norm_of_row(t->row[u], p->dim);
        _mm_storeu_ps(lane, sum);
        for (; hits; hits &= hits - 1) {
            int g = __builtin_ctz((unsigned)hits);
            npr_sieve_offer(v, q0 + g, t->number[u], lane[g], own * p->by_norm[q0 + g]);
        }
    }
}

/* Queries q0 .. q0+nq-1 (nq a constant where this is inlined) with three rows. The first of a turn's calls
 * leaves the bound of the rows' norms in *norm for the others. */
AVX2 static inline __attribute__((always_inline)) void few256(const npr_packed *p, npr_sieve *v,
                                                              const turn *t, int q0, int nq, float *norm)
{
    size_t stride = stride_of(p);
    const float *q = (const float *)p->values + (size_t)q0 * stride;
    sums256 s;
    __m256 x[ROWS_AVX2];
    __m256i largest = _mm256_setzero_si256();
    for (int g = 0; g < nq; g++)
        for (int u = 0; u < ROWS_AVX2; u++) s.dot[g][u] = _mm256_setzero_ps();
    int j = 0;
    for (; j + LINE <= p->dim; j += LINE) {
        for (int u = 0; u < ROWS_AVX2; u++) _mm_prefetch((const char *)(t->next[u] + j), _MM_HINT_T1);
#pragma GCC unroll 4
        for (int k = j; k < j + LINE; k += 8) {
#pragma GCC unroll 3
            for (int u = 0; u < ROWS_AVX2; u++) {
                const void *at = t->row[u] + k;
                x[u] = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)at));
                if (k % 16 == 0) largest = largest256(largest, _mm256_loadu_si256((const __m256i *)at));
            }
            add256(&s, x, q, stride, nq, k);
        }
    }
    for (; j < p->dim; j += 8) {
        for (int u = 0; u < ROWS_AVX2; u++) {
            __m128i bits = load8(t->row[u], j, p->dim);
            x[u] = _mm256_cvtph_ps(bits);
            largest = largest256(largest, _mm256_zextsi128_si256(bits));
        }
        add256(&s, x, q, stride, nq, j);
    }
    if (q0 == 0) *norm = norm_of_largest(largest, p->dim);
    sift256(v, t, q0, nq, &s, *norm);
}

/* Row i of each third of row [n], and the ones to fetch meanwhile. */
static inline turn start_three(const npr_packed *p, const uint16_t *emb, const uint32_t *row, int i, int n,
                               int ahead)
{
    int third = (n + ROWS_AVX2 - 1) / ROWS_AVX2;
    turn t = {.rows = 0};
    for (int u = 0; u < ROWS_AVX2; u++) {
        int there = i + u * third < n, at = there ? i + u * third : i,
            next = at + PREFETCH_AVX2 < n + ahead ? at + PREFETCH_AVX2 : at;
        t.rows += there;
        t.number[u] = row[at];
        t.row[u] = emb + (size_t)row[at] * (size_t)p->dim;
        t.next[u] = emb + (size_t)row[next] * (size_t)p->dim;
    }
    return t;
}

AVX2 static void scan_avx2(const npr_packed *p, npr_sieve *v, const uint16_t *emb, const uint32_t *row, int n,
                           int ahead)
{
    int passes = (p->nq + GROUP - 1) / GROUP;
    for (int i = 0; i < (n + ROWS_AVX2 - 1) / ROWS_AVX2; i++) {
        turn t = start_three(p, emb, row, i, n, ahead);
        float norm = 0;
        for (int k = 0, q = 0; k < passes; k++) { /* groups of about one size */
            int m = (p->nq - q + passes - k - 1) / (passes - k);
            if (m == 4) few256(p, v, &t, q, 4, &norm);
            if (m == 3) few256(p, v, &t, q, 3, &norm);
            if (m == 2) few256(p, v, &t, q, 2, &norm);
            if (m == 1) few256(p, v, &t, q, 1, &norm);
            q += m;
        }
    }
}

static int usable_avx512(void)
{
    return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && npr_half_in_hardware();
}

static int usable_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && npr_half_in_hardware();
}

const npr_screen npr_screen_few_avx512 = {"few-avx512", usable_avx512, MOST_AVX512, 1,
                                          pack,         scan_avx512,   NULL};
const npr_screen npr_screen_few_avx2 = {"few-avx2", usable_avx2, MOST_AVX2, GROUP, pack, scan_avx2, NULL};
#endif
