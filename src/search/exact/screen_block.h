/* screen_block.h - what the screens for many queries on CPUs with AVX-512 share (screen_block.c,
 * screen_amx.c): queries in panels, rows as bfloat16, and which scores are worth a second look. Local. */
#ifndef NPR_SEARCH_SCREEN_BLOCK_H
#define NPR_SEARCH_SCREEN_BLOCK_H

#include "search/exact/screen.h"

enum {
    NPR_BLOCK_LANES = 16,
    NPR_BLOCK_PANEL =
        2 * NPR_BLOCK_LANES, /* queries of a panel; the last has half as many if that is enough */
};

/* These screens see vectors as words of 32 bits: a float, or a pair of bfloat16. */
typedef struct npr_block_form {
    int values; /* of a word */
    int deep;   /* queries end with zeros up to a multiple of so many words */
    int rows;   /* of a kernel call */
    int blocks; /* of rows that a thread keeps */
    int bytes;  /* of a converted block */
} npr_block_form;

/* Words of a query; of a row, as many as two registers of floats fill. */
static inline int npr_block_steps(const npr_packed *p, const npr_block_form *f)
{
    int words = (p->dim + f->values - 1) / f->values;
    return (words + f->deep - 1) / f->deep * f->deep;
}

static inline size_t npr_block_stride(const npr_packed *p, const npr_block_form *f)
{
    return ((size_t)p->dim + NPR_BLOCK_PANEL - 1) / NPR_BLOCK_PANEL * (size_t)(NPR_BLOCK_PANEL / f->values);
}

/* Queries of the panel that begins with q0. */
static inline int npr_block_width(const npr_packed *p, int q0)
{
    return p->padded - q0 < NPR_BLOCK_PANEL ? NPR_BLOCK_LANES : NPR_BLOCK_PANEL;
}

/* npr_screen.pack: values [panels][steps][queries of the panel]; a thread's scratch holds f->blocks times
 * [block_rows][stride] words, then as often a norm and a residual for each row. */
npr_status npr_block_pack(npr_packed *p, const npr_block_form *f);

/* Offer a row with those of 16 queries from q0 on whose bit in `hits` is set; t [16]: its scores. */
static inline void npr_block_offer(npr_sieve *v, uint32_t row, float norm, float residual, int q0,
                                   uint32_t hits, const float *t)
{
    for (; hits; hits &= hits - 1) {
        int u = __builtin_ctz(hits), q = q0 + u;
        float e = norm * v->p->by_norm[q] + residual * v->p->by_residual[q];
        if (q < v->p->nq) npr_sieve_offer(v, q, row, t[u], e);
    }
}

#if defined(__x86_64__)
#include <immintrin.h>

#define NPR_AVX512      __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,f16c")))
#define NPR_AVX512_BF16 __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx512bf16,f16c")))

/* The queries of a register whose score with a row may reach what they want. */
NPR_AVX512 static inline uint32_t npr_block_reach(__m512 t, float norm, float residual, __m512 by_norm,
                                                  __m512 by_residual, __m512 least)
{
    __m512 high = _mm512_fmadd_ps(_mm512_set1_ps(norm), by_norm, t);
    high = _mm512_fmadd_ps(_mm512_set1_ps(residual), by_residual, high);
    return _mm512_cmp_ps_mask(high, least, _CMP_GE_OQ);
}

/* The first `left` of 32 values of a row as two registers of floats, the others zeros. */
NPR_AVX512 static inline void npr_block_load(const uint16_t *row, int left, __m512 *a, __m512 *b)
{
    uint32_t mask = left >= NPR_BLOCK_PANEL ? UINT32_MAX : (1u << left) - 1;
    __m512i h = _mm512_maskz_loadu_epi16(mask, row);
    *a = _mm512_cvtph_ps(_mm512_castsi512_si256(h));
    *b = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(h, 1));
}

/* Sums of a row's squares, and of those of what rounding moves. */
typedef struct npr_block_sums {
    __m512 square[2], moved[2];
} npr_block_sums;

/* The first `left` of 32 values of a row as 16 pairs of bfloat16. What rounding moves is exact in a float:
 * binary16 has three bits more than bfloat16. */
NPR_AVX512_BF16 static inline void npr_block_round(const uint16_t *row, int left, uint32_t *out,
                                                   npr_block_sums *s)
{
    __m512 a, b;
    npr_block_load(row, left, &a, &b);
    __m512i r = (__m512i)_mm512_cvtne2ps_pbh(b, a);
    _mm512_storeu_si512(out, r);
    __m512i low = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(r));
    __m512i high = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(r, 1));
    __m512 da = _mm512_sub_ps(a, _mm512_castsi512_ps(_mm512_slli_epi32(low, 16)));
    __m512 db = _mm512_sub_ps(b, _mm512_castsi512_ps(_mm512_slli_epi32(high, 16)));
    s->square[0] = _mm512_fmadd_ps(a, a, s->square[0]);
    s->square[1] = _mm512_fmadd_ps(b, b, s->square[1]);
    s->moved[0] = _mm512_fmadd_ps(da, da, s->moved[0]);
    s->moved[1] = _mm512_fmadd_ps(db, db, s->moved[1]);
}

/* Bounds of the row's norm, and of how far it was moved. */
NPR_AVX512 static inline void npr_block_bounds(const npr_block_sums *s, int dim, float *norm, float *residual)
{
    *norm = npr_norm_above(_mm512_reduce_add_ps(_mm512_add_ps(s->square[0], s->square[1])), dim);
    *residual = npr_norm_above(_mm512_reduce_add_ps(_mm512_add_ps(s->moved[0], s->moved[1])), dim);
}

int npr_block_bf16_usable(void); /* this CPU has what NPR_AVX512_BF16 names */
#endif

#endif
