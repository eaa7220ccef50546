/* screen_block.c - the screens for many queries on CPUs with AVX-512: in floats, and in bfloat16 where the
 * CPU multiplies those (AVX512-BF16), at twice the speed. See screen.h.
 *
 * The kernel keeps the scores of 12 rows and 32 queries in 24 registers. Queries are packed once in panels of
 * 32, value by value, so one step loads two registers of queries and multiplies them with one value (or a
 * pair) of each row, broadcast. A block of rows is converted once and stays in the second cache; a panel
 * stays there too while all rows of the block pass. The scores are compared with the bounds from registers'
 * worth of memory: no matrix of scores is written. */
#include <limits.h>
#include <string.h>

#include "base/half.h"
#include "search/exact/screen_block.h"
#include "search/exact/screen_fetch.h"

#if defined(__x86_64__)

enum {
    LANES = NPR_BLOCK_LANES,
    PANEL = NPR_BLOCK_PANEL,
    ROWS = 12,               /* of a kernel call */
    BLOCK_BYTES = 384 << 10, /* of converted rows */
};

/* t [ROWS][1 or 2] = scores of ROWS rows x [ROWS][stride] with a panel of queries [steps][16 or 32]. */
typedef void (*kernel)(const uint32_t *x, size_t stride, const uint32_t *panel, int steps, __m512 *t);

typedef struct form {
    npr_block_form words;
    kernel wide, half;
    void (*convert)(const uint16_t *row, int dim, uint32_t *out, float *norm, float *residual);
} form;

/* ---- rows --------------------------------------------------------------------------------------------- */

NPR_AVX512 static void convert_f32(const uint16_t *row, int dim, uint32_t *out, float *norm, float *residual)
{
    __m512 a, b, sa = _mm512_setzero_ps(), sb = sa;
    for (int j = 0; j < dim; j += 2 * LANES) {
        npr_block_load(row + j, dim - j, &a, &b);
        sa = _mm512_fmadd_ps(a, a, sa);
        sb = _mm512_fmadd_ps(b, b, sb);
        _mm512_storeu_ps(out + j, a);
        _mm512_storeu_ps(out + j + LANES, b);
    }
    *norm = npr_norm_above(_mm512_reduce_add_ps(_mm512_add_ps(sa, sb)), dim);
    *residual = 0;
}

NPR_AVX512_BF16 static void convert_bf16(const uint16_t *row, int dim, uint32_t *out, float *norm,
                                         float *residual)
{
    npr_block_sums s = {{_mm512_setzero_ps(), _mm512_setzero_ps()},
                        {_mm512_setzero_ps(), _mm512_setzero_ps()}};
    for (int j = 0; j < dim; j += 2 * LANES) npr_block_round(row + j, dim - j, out + j / 2, &s);
    npr_block_bounds(&s, dim, norm, residual);
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

KERNEL(wide_f32, NPR_AVX512, 2, FLOATS)
KERNEL(half_f32, NPR_AVX512, 1, FLOATS)
KERNEL(wide_bf16, NPR_AVX512_BF16, 2, PAIRS)
KERNEL(half_bf16, NPR_AVX512_BF16, 1, PAIRS)

static const form floats = {{1, 1, ROWS, 1, BLOCK_BYTES}, wide_f32, half_f32, convert_f32};
static const form pairs = {{2, 1, ROWS, 1, BLOCK_BYTES}, wide_bf16, half_bf16, convert_bf16};

/* ---- scanning ----------------------------------------------------------------------------------------- */

/* A block of rows, converted. */
typedef struct block {
    const uint32_t *row; /* [n] numbers */
    int n;
    uint32_t *x; /* [n, rounded up to ROWS][stride] */
    float *norm, *residual;
} block;

/* Look at the scores t [ROWS][registers] of rows i0 .. */
NPR_AVX512 static void sift(npr_sieve *v, const block *b, int i0, int q0, int registers, const __m512 *t)
{
    const npr_packed *p = v->p;
    int rows = b->n - i0 < ROWS ? b->n - i0 : ROWS;
    for (int r = 0; r < registers; r++) {
        int q = q0 + r * LANES;
        __m512 least = _mm512_load_ps(v->least + q), by_norm = _mm512_load_ps(p->by_norm + q),
               by_residual = _mm512_load_ps(p->by_residual + q);
        for (int i = 0; i < rows; i++) {
            __m512 s = t[i * registers + r];
            float norm = b->norm[i0 + i], residual = b->residual[i0 + i];
            uint32_t hits = npr_block_reach(s, norm, residual, by_norm, by_residual, least);
            if (!hits) continue;
            float lane[LANES];
            _mm512_storeu_ps(lane, s);
            npr_block_offer(v, b->row[i0 + i], norm, residual, q, hits, lane);
        }
    }
}

NPR_AVX512 static void scan(const form *f, const npr_packed *p, npr_sieve *v, const uint16_t *emb,
                            const uint32_t *row, int n, int ahead)
{
    int steps = npr_block_steps(p, &f->words);
    size_t stride = npr_block_stride(p, &f->words), rows = (size_t)p->block_rows;
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
        int width = npr_block_width(p, q0);
        const uint32_t *panel = p->values + (size_t)q0 * (size_t)steps;
        for (int i = 0; i < n; i += ROWS) {
            npr_fetch_step(&next);
            (width == PANEL ? f->wide : f->half)(b.x + (size_t)i * stride, stride, panel, steps, t);
            sift(v, &b, i, q0, width / LANES, t);
        }
    }
}

static npr_status pack_f32(npr_packed *p)
{
    return npr_block_pack(p, &floats.words);
}

static npr_status pack_bf16(npr_packed *p)
{
    return npr_block_pack(p, &pairs.words);
}

static void scan_f32(const npr_packed *p, npr_sieve *v, const uint16_t *emb, const uint32_t *row, int n,
                     int ahead)
{
    scan(&floats, p, v, emb, row, n, ahead);
}

static void scan_bf16(const npr_packed *p, npr_sieve *v, const uint16_t *emb, const uint32_t *row, int n,
                      int ahead)
{
    scan(&pairs, p, v, emb, row, n, ahead);
}

static int usable_f32(void)
{
    return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && npr_half_in_hardware();
}

int npr_block_bf16_usable(void)
{
    return usable_f32() && __builtin_cpu_supports("avx512bf16");
}

const npr_screen npr_screen_block_f32 = {"block-f32", usable_f32, 0,        INT_MAX,
                                         LANES,       pack_f32,   scan_f32, NULL};
const npr_screen npr_screen_block_bf16 = {
    "block-bf16", npr_block_bf16_usable, 0, INT_MAX, LANES, pack_bf16, scan_bf16, NULL};
#endif
