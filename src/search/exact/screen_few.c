/* screen_few.c - the screen for few queries: rows are streamed once from memory, converted in registers and
 * multiplied with up to four queries at a time, which leaves the time of reading them. See screen.h.
 *
 * Four rows go together, so that each value of a query is loaded once for all of them. The error bound wants
 * a row's norm: a fifth sum per row is that of its squares. For CPUs without AVX-512: screen_few_avx2.c. */
#include <stdlib.h>

#include "base/half.h"
#include "base/mem.h"
#include "search/exact/screen_few.h"

enum {
    MOST = 10,         /* queries up to which blocks are slower, measured */
    GROUP = 4,         /* queries in one pass over a row */
    PREFETCH_ROWS = 8, /* rows fetched ahead; the hardware stops at page ends */
    LINE = 32,         /* values of a row in a cache line */
};

npr_status npr_few_pack(npr_packed *p)
{
    size_t stride = npr_few_stride(p);
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
    size_t stride = npr_few_stride(p);
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

static int usable_avx512(void)
{
    return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && npr_half_in_hardware();
}

const npr_screen npr_screen_few_avx512 = {"few-avx512", usable_avx512, 0,   MOST, 1,
                                          npr_few_pack, scan_avx512,   NULL};
#endif
