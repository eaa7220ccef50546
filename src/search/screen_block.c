/* screen_block.c - the screens for many queries on CPUs with AVX-512: in floats, and in bfloat16 where the
 * CPU multiplies those (AVX512-BF16), at twice the speed. See screen.h.
 *
 * The kernel keeps the scores of 12 rows and 32 queries in 24 registers. Queries are packed once in panels of
 * 32, value by value, so one step loads two registers of queries and multiplies them with one value (or a
 * pair) of each row, broadcast. A block of rows is converted once and stays in the second cache; a panel
 * stays there too while all rows of the block pass. The scores are compared with the bounds from registers'
 * worth of memory: no matrix of scores is written. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/mem.h"
#include "search/screen.h"
#include "search/screen_fetch.h"

#if defined(__x86_64__)
#include <immintrin.h>

enum {
    LANES = 16,
    ROWS = 12,               /* of a kernel call */
    PANEL = 2 * LANES,       /* queries of a panel; the last one has half as many if that is enough */
    BLOCK_BYTES = 384 << 10, /* of converted rows */
};

#define AVX512      __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,f16c")))
#define AVX512_BF16 __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx512bf16,f16c")))

/* t [ROWS][1 or 2] = scores of ROWS rows x [ROWS][stride] with a panel of queries [steps][16 or 32]. */
typedef void (*kernel)(const uint32_t *x, size_t stride, const uint32_t *panel, int steps, __m512 *t);

/* Both screens see vectors as words of 32 bits: a float, or a pair of bfloat16. */
typedef struct form {
    int values; /* of a word */
    kernel wide, half;
    void (*convert)(const uint16_t *row, int dim, uint32_t *out, float *norm, float *residual);
} form;

static int steps_of(const npr_packed *p, int values)
{
    return (p->dim + values - 1) / values;
}

/* Words from row to row: what two registers of floats fill. */
static size_t stride_of(const npr_packed *p, int values)
{
    return ((size_t)p->dim + 2 * LANES - 1) / (2 * LANES) * (size_t)(2 * LANES / values);
}

/* Queries of the panel that begins with q0. */
static int panel_width(const npr_packed *p, int q0)
{
    return p->padded - q0 < PANEL ? LANES : PANEL;
}

/* ---- packing ------------------------------------------------------------------------------------------ */

/* The upper half of a float rounded to nearest even. */
static uint32_t bf16_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return (u + 0x7fff + (u >> 16 & 1)) >> 16;
}

static float bf16_value(uint32_t bits)
{
    uint32_t u = bits << 16;
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* One query as words; returns how far rounding moves it. */
static double pack_words(const float *q, int dim, int values, uint32_t *word)
{
    double moved = 0;
    for (int i = 0; i < dim; i++) {
        if (values == 1) {
            memcpy(&word[i], &q[i], sizeof *word);
            continue;
        }
        uint32_t bits = bf16_bits(q[i]);
        double d = (double)q[i] - (double)bf16_value(bits);
        moved += d * d;
        word[i / 2] = i % 2 ? word[i / 2] | bits << 16 : bits;
    }
    return sqrt(moved) * (1 + 0x1p-40);
}

static npr_status pack(npr_packed *p, int values)
{
    int steps = steps_of(p, values);
    size_t stride = stride_of(p, values);
    p->values = npr_alloc_aligned((size_t)p->padded * (size_t)steps, sizeof *p->values, "queries");
    float *q = npr_alloc((size_t)p->dim, sizeof *q, "queries");
    uint32_t *word = npr_alloc((size_t)steps, sizeof *word, "queries");
    if (!p->values || !q || !word) {
        free(q);
        free(word);
        return npr_last();
    }
    memset(p->values, 0, (size_t)p->padded * (size_t)steps * sizeof *p->values);
    for (int j = 0; j < p->nq; j++) {
        int q0 = j / PANEL * PANEL, width = panel_width(p, q0);
        uint32_t *panel = p->values + (size_t)q0 * (size_t)steps;
        double norm = npr_packed_scale(p, j, q);
        npr_packed_bound(p, j, norm, pack_words(q, p->dim, values, word));
        for (int s = 0; s < steps; s++) panel[(size_t)s * (size_t)width + (size_t)(j - q0)] = word[s];
    }
    free(q);
    free(word);
    size_t rows = BLOCK_BYTES / (stride * sizeof(uint32_t));
    if (rows > (size_t)p->block_rows) rows = (size_t)p->block_rows;
    p->block_rows = rows < ROWS ? ROWS : (int)rows / ROWS * ROWS;
    p->scratch = (size_t)p->block_rows * (stride * sizeof(uint32_t) + 2 * sizeof(float));
    return NPR_OK;
}

static npr_status pack_f32(npr_packed *p)
{
    return pack(p, 1);
}

static npr_status pack_bf16(npr_packed *p)
{
    return pack(p, 2);
}

/* ---- rows --------------------------------------------------------------------------------------------- */

/* Mask of the values j .. dim-1 among `lanes`. */
static inline uint32_t lanes_left(int j, int dim, int lanes)
{
    return dim - j >= lanes ? (uint32_t)((1ull << lanes) - 1) : (1u << (dim - j)) - 1;
}

/* Two registers of floats from column j on. */
AVX512 static inline void load_floats(const uint16_t *row, int j, int dim, __m512 *a, __m512 *b)
{
    __m512i h = _mm512_maskz_loadu_epi16(lanes_left(j, dim, 2 * LANES), row + j);
    *a = _mm512_cvtph_ps(_mm512_castsi512_si256(h));
    *b = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(h, 1));
}

AVX512 static void convert_f32(const uint16_t *row, int dim, uint32_t *out, float *norm, float *residual)
{
    __m512 a, b, sa = _mm512_setzero_ps(), sb = sa;
    for (int j = 0; j < dim; j += 2 * LANES) {
        load_floats(row, j, dim, &a, &b);
        sa = _mm512_fmadd_ps(a, a, sa);
        sb = _mm512_fmadd_ps(b, b, sb);
        _mm512_storeu_ps(out + j, a);
        _mm512_storeu_ps(out + j + LANES, b);
    }
    *norm = npr_norm_above(_mm512_reduce_add_ps(_mm512_add_ps(sa, sb)), dim);
    *residual = 0;
}

/* What rounding moves is exact in a float: binary16 has three bits more than bfloat16. */
AVX512_BF16 static void convert_bf16(const uint16_t *row, int dim, uint32_t *out, float *norm,
                                     float *residual)
{
    __m512 a, b, sa = _mm512_setzero_ps(), sb = sa, ra = sa, rb = sa;
    for (int j = 0; j < dim; j += 2 * LANES) {
        load_floats(row, j, dim, &a, &b);
        __m512i r = (__m512i)_mm512_cvtne2ps_pbh(b, a);
        _mm512_storeu_si512(out + j / 2, r);
        __m512i low = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(r));
        __m512i high = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(r, 1));
        __m512 da = _mm512_sub_ps(a, _mm512_castsi512_ps(_mm512_slli_epi32(low, 16)));
        __m512 db = _mm512_sub_ps(b, _mm512_castsi512_ps(_mm512_slli_epi32(high, 16)));
        sa = _mm512_fmadd_ps(a, a, sa);
        sb = _mm512_fmadd_ps(b, b, sb);
        ra = _mm512_fmadd_ps(da, da, ra);
        rb = _mm512_fmadd_ps(db, db, rb);
    }
    *norm = npr_norm_above(_mm512_reduce_add_ps(_mm512_add_ps(sa, sb)), dim);
    *residual = npr_norm_above(_mm512_reduce_add_ps(_mm512_add_ps(ra, rb)), dim);
}

/* ---- the kernels -------------------------------------------------------------------------------------- */

#define KERNEL(name, target, registers, multiply)                                                            \
    target static void name(const uint32_t *x, size_t stride, const uint32_t *panel, int steps, __m512 *t)   \
    {                                                                                                        \
        __m512 s[ROWS][registers];                                                                           \
        for (int i = 0; i < ROWS; i++)                                                                       \
            for (int r = 0; r < (registers); r++) s[i][r] = _mm512_setzero_ps();                             \
        for (int j = 0; j < steps; j++, panel += (registers)*LANES) {                                        \
            __m512i y[registers];                                                                            \
            _Pragma("GCC unroll 2") for (int r = 0; r < (registers); r++) y[r] =                             \
                _mm512_load_si512(panel + r * LANES);                                                        \
            _Pragma("GCC unroll 12") for (int i = 0; i < ROWS; i++)                                          \
            {                                                                                                \
                __m512i a = _mm512_set1_epi32((int)x[(size_t)i * stride + (size_t)j]);                       \
                _Pragma("GCC unroll 2") for (int r = 0; r < (registers); r++) s[i][r] =                      \
                    multiply(s[i][r], a, y[r]);                                                              \
            }                                                                                                \
        }                                                                                                    \
        for (int i = 0; i < ROWS; i++)                                                                       \
            for (int r = 0; r < (registers); r++) t[i * (registers) + r] = s[i][r];                          \
    }

#define FLOATS(s, a, y) _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(y), s)
#define PAIRS(s, a, y)  _mm512_dpbf16_ps(s, (__m512bh)(a), (__m512bh)(y))

KERNEL(wide_f32, AVX512, 2, FLOATS)
KERNEL(half_f32, AVX512, 1, FLOATS)
KERNEL(wide_bf16, AVX512_BF16, 2, PAIRS)
KERNEL(half_bf16, AVX512_BF16, 1, PAIRS)

/* ---- scanning ----------------------------------------------------------------------------------------- */

/* A block of rows, converted. */
typedef struct block {
    const uint32_t *row; /* [n] numbers */
    int n;
    uint32_t *x; /* [n, rounded up to ROWS][stride] */
    float *norm, *residual;
} block;

/* Candidates of one row with 16 queries. */
static void offer(npr_sieve *v, const block *b, int i, int q0, uint32_t hits, const float *t)
{
    for (; hits; hits &= hits - 1) {
        int u = __builtin_ctz(hits), q = q0 + u;
        float e = b->norm[i] * v->p->by_norm[q] + b->residual[i] * v->p->by_residual[q];
        if (q < v->p->nq) npr_sieve_offer(v, q, b->row[i], t[u], e);
    }
}

/* Look at the scores t [ROWS][registers] of rows i0 .. */
AVX512 static void sift(npr_sieve *v, const block *b, int i0, int q0, int registers, const __m512 *t)
{
    const npr_packed *p = v->p;
    int rows = b->n - i0 < ROWS ? b->n - i0 : ROWS;
    for (int r = 0; r < registers; r++) {
        int q = q0 + r * LANES;
        __m512 least = _mm512_load_ps(v->least + q), by_norm = _mm512_load_ps(p->by_norm + q),
               by_residual = _mm512_load_ps(p->by_residual + q);
        for (int i = 0; i < rows; i++) {
            __m512 s = t[i * registers + r];
            __m512 high = _mm512_fmadd_ps(_mm512_set1_ps(b->norm[i0 + i]), by_norm, s);
            high = _mm512_fmadd_ps(_mm512_set1_ps(b->residual[i0 + i]), by_residual, high);
            uint32_t hits = _mm512_cmp_ps_mask(high, least, _CMP_GE_OQ);
            if (!hits) continue;
            float lane[LANES];
            _mm512_storeu_ps(lane, s);
            offer(v, b, i0 + i, q, hits, lane);
        }
    }
}

AVX512 static void scan(const form *f, const npr_packed *p, npr_sieve *v, const uint16_t *emb,
                        const uint32_t *row, int n, int ahead)
{
    int steps = steps_of(p, f->values);
    size_t stride = stride_of(p, f->values), rows = (size_t)p->block_rows;
    block b = {.row = row, .n = n, .x = v->scratch};
    b.norm = (float *)(b.x + rows * stride);
    b.residual = b.norm + rows;
    for (int i = 0; i < n; i++)
        f->convert(emb + (size_t)row[i] * (size_t)p->dim, p->dim, b.x + (size_t)i * stride, &b.norm[i],
                   &b.residual[i]);
    int tiles = (n + ROWS - 1) / ROWS; /* the kernel reads rows that are not there: finite ones */
    memset(b.x + (size_t)n * stride, 0, (size_t)(tiles * ROWS - n) * stride * sizeof *b.x);
    npr_fetch next = npr_fetch_make(emb, row + n, ahead, p->dim, (p->padded + PANEL - 1) / PANEL * tiles);
    __m512 t[ROWS * 2];
    for (int q0 = 0; q0 < p->padded; q0 += PANEL) {
        int width = panel_width(p, q0);
        const uint32_t *panel = p->values + (size_t)q0 * (size_t)steps;
        for (int i = 0; i < n; i += ROWS) {
            npr_fetch_step(&next);
            (width == PANEL ? f->wide : f->half)(b.x + (size_t)i * stride, stride, panel, steps, t);
            sift(v, &b, i, q0, width / LANES, t);
        }
    }
}

static void scan_f32(const npr_packed *p, npr_sieve *v, const uint16_t *emb, const uint32_t *row, int n,
                     int ahead)
{
    static const form floats = {1, wide_f32, half_f32, convert_f32};
    scan(&floats, p, v, emb, row, n, ahead);
}

static void scan_bf16(const npr_packed *p, npr_sieve *v, const uint16_t *emb, const uint32_t *row, int n,
                      int ahead)
{
    static const form pairs = {2, wide_bf16, half_bf16, convert_bf16};
    scan(&pairs, p, v, emb, row, n, ahead);
}

static int usable_f32(void)
{
    return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && npr_half_in_hardware();
}

static int usable_bf16(void)
{
    return usable_f32() && __builtin_cpu_supports("avx512bf16");
}

const npr_screen npr_screen_block_f32 = {"block-f32", usable_f32, INT_MAX, LANES, pack_f32, scan_f32, NULL};
const npr_screen npr_screen_block_bf16 = {"block-bf16", usable_bf16, INT_MAX, LANES,
                                          pack_bf16,    scan_bf16,   NULL};
#endif
