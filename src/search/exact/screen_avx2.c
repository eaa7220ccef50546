/* screen_avx2.c - the screen for many queries on CPUs with AVX2: in integers of 16 bits, which AVX2
 * multiplies at twice the rate of floats. See screen.h; screen_block.c is its wider relative.
 *
 * A vector x of norm N becomes x' = i 2^-e, i = x 2^e rounded to integers, with the largest e for which N 2^e
 * is at most 2^15 - 1. So no value is beyond 16 bits, and rounding adds at most sqrt(dim) / 2 to the norm:
 * the norms of a row and a query are below 2^15 + 128, and every partial sum of their products is below 2^31
 * (Cauchy-Schwarz), as a pair of products is. The sums are exact; what is lost is what rounding moves, about
 * 0.3 sqrt(dim) of 2^14 to 2^15, 0.0002 to 0.0004 N for 512 columns, which is measured for each row and each
 * query. The scores become floats, rounded by 2^-24, and are multiplied by powers of two: npr_packed_bound()
 * allows for more.
 *
 * The kernel keeps the scores of 6 rows and 16 queries in 12 registers. Queries are packed once in panels of
 * 16, a pair of values after the other; a block of rows is converted once and stays in the second cache while
 * all panels pass. The scores are compared with the bounds as they leave the registers: no matrix of scores
 * is written. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/mem.h"
#include "search/exact/screen.h"
#include "search/exact/screen_sum.h"

#if defined(__x86_64__)
#include <immintrin.h>

enum {
    LANES = 8,
    ROWS = 6,                /* of a kernel call */
    PANEL = 2 * LANES,       /* queries of a panel */
    BLOCK_BYTES = 256 << 10, /* of converted rows */
    MOST = 32767,            /* of a norm, in integers */
};

#define AVX2 __attribute__((target("avx2,fma,f16c")))

/* Pairs of values in a vector, and words of 32 bits from row to row: what two registers of floats fill. */
static int steps_of(const npr_packed *p)
{
    return (p->dim + 1) / 2;
}

static size_t stride_of(const npr_packed *p)
{
    return ((size_t)p->dim + 2 * LANES - 1) / (2 * LANES) * LANES;
}

/* The largest e with norm 2^e <= MOST; 0 for a vector of zeros. A norm is a normal number: at least 2^-24. */
static inline int exponent_for(float norm)
{
    uint32_t bits;
    if (!(norm > 0)) return 0;
    memcpy(&bits, &norm, sizeof bits);
    int e = 14 - ((int)(bits >> 23) - 127);                         /* norm 2^e is in [2^14, 2^15) */
    return e - ((bits & 0x7fffff) > (uint32_t)(MOST - 16384) << 9); /* in the last unit of it */
}

/* 2^e for an e of exponent_for(), or its negative. */
static inline float power_of_two(int e)
{
    uint32_t bits = (uint32_t)(e + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return power;
}

/* ---- queries ------------------------------------------------------------------------------------------ */

/* What turns sums of integers back: [padded], behind the panels. */
static float *units_of(const npr_packed *p)
{
    return (float *)(p->values + (size_t)p->padded * (size_t)steps_of(p));
}

/* One query as pairs, times 2^e; returns how far rounding moves it. */
static double pack_pairs(const float *q, int dim, int e, uint32_t *pair)
{
    double moved = 0;
    for (int i = 0; i < dim; i++) {
        double value = ldexp((double)q[i], e), whole = nearbyint(value);
        uint32_t bits = (uint16_t)(int16_t)whole;
        pair[i / 2] = i % 2 ? pair[i / 2] | bits << 16 : bits;
        moved += (value - whole) * (value - whole);
    }
    return ldexp(sqrt(moved) * (1 + 0x1p-40), -e);
}

static npr_status pack(npr_packed *p)
{
    size_t steps = (size_t)steps_of(p), stride = stride_of(p), words = (size_t)p->padded * (steps + 1);
    p->values = npr_alloc_aligned(words, sizeof *p->values, "queries");
    float *q = npr_alloc((size_t)p->dim, sizeof *q, "queries");
    uint32_t *pair = npr_alloc(steps, sizeof *pair, "queries");
    if (!p->values || !q || !pair) {
        free(q);
        free(pair);
        return npr_last();
    }
    memset(p->values, 0, words * sizeof *p->values);
    for (int j = 0; j < p->nq; j++) {
        uint32_t *panel = p->values + (size_t)(j / PANEL * PANEL) * steps + (size_t)(j % PANEL);
        double norm = npr_packed_scale(p, j, q);
        int e = norm > 0 ? exponent_for(nextafterf((float)norm, INFINITY)) : 0;
        npr_packed_bound(p, j, norm, pack_pairs(q, p->dim, e, pair));
        units_of(p)[j] = power_of_two(-e);
        for (size_t s = 0; s < steps; s++) panel[s * PANEL] = pair[s];
    }
    free(q);
    free(pair);
    size_t rows = BLOCK_BYTES / (stride * sizeof(uint32_t));
    if (rows > (size_t)p->block_rows) rows = (size_t)p->block_rows;
    p->block_rows = rows < ROWS ? ROWS : (int)rows / ROWS * ROWS;
    p->scratch = (size_t)p->block_rows * (stride * sizeof(uint32_t) + 3 * sizeof(float));
    return NPR_OK;
}

/* ---- rows --------------------------------------------------------------------------------------------- */

/* 16 values from column j on, zeros behind the end. */
AVX2 static inline void load_floats(const uint16_t *row, int j, int dim, __m256 *a, __m256 *b)
{
    uint16_t rest[2 * LANES] = {0};
    const uint16_t *from = row + j;
    if (dim - j < 2 * LANES) {
        memcpy(rest, from, (size_t)(dim - j) * sizeof *rest);
        from = rest;
    }
    *a = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)from));
    *b = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(from + LANES)));
}

/* Bounds of two rows' norms. This is where rows come from memory: two of them, of the two halves of a block,
 * are read a cache line of each in turn, since one stream reaches only half of Zen 3's speed (see
 * screen_few.c). */
AVX2 static void norms_of(const uint16_t *x, const uint16_t *y, int dim, float norm[2])
{
    __m256 a, b, sx = _mm256_setzero_ps(), sy = sx, tx = sx, ty = sx;
    for (int j = 0; j < dim; j += 2 * LANES) {
        load_floats(x, j, dim, &a, &b);
        sx = _mm256_fmadd_ps(a, a, sx);
        tx = _mm256_fmadd_ps(b, b, tx);
        load_floats(y, j, dim, &a, &b);
        sy = _mm256_fmadd_ps(a, a, sy);
        ty = _mm256_fmadd_ps(b, b, ty);
    }
    norm[0] = npr_norm_above(npr_sum_of_lanes(_mm256_add_ps(sx, tx)), dim);
    norm[1] = npr_norm_above(npr_sum_of_lanes(_mm256_add_ps(sy, ty)), dim);
}

/* A row times 2^e as integers; returns how far rounding moves it. The differences are exact in floats: a
 * value below 1/2 is the difference itself, another one has 11 bits, the last at 2^-11 or above. */
AVX2 static float convert(const uint16_t *row, int dim, int e, uint32_t *out)
{
    const __m256 scale = _mm256_set1_ps(power_of_two(e));
    __m256 a, b, ra = _mm256_setzero_ps(), rb = ra;
    for (int j = 0; j < dim; j += 2 * LANES) {
        load_floats(row, j, dim, &a, &b);
        a = _mm256_mul_ps(a, scale);
        b = _mm256_mul_ps(b, scale);
        __m256i ia = _mm256_cvtps_epi32(a), ib = _mm256_cvtps_epi32(b);
        a = _mm256_sub_ps(a, _mm256_cvtepi32_ps(ia));
        b = _mm256_sub_ps(b, _mm256_cvtepi32_ps(ib));
        ra = _mm256_fmadd_ps(a, a, ra);
        rb = _mm256_fmadd_ps(b, b, rb);
        __m256i both =
            _mm256_permute4x64_epi64(_mm256_packs_epi32(ia, ib), 0xd8); /* packed by halves: 0 2 1 3 */
        _mm256_storeu_si256((__m256i *)(void *)(out + j / 2), both);
    }
    return npr_norm_above(npr_sum_of_lanes(_mm256_add_ps(ra, rb)), dim) * power_of_two(-e);
}

/* A block of rows, converted. */
typedef struct block {
    const uint32_t *row; /* [n] numbers */
    int n;
    uint32_t *x; /* [n, rounded up to ROWS][stride] pairs */
    float *norm, *residual;
    float *
        unit; /* turns a row's sums back; NaN for a row that is not finite, which then passes no comparison */
} block;

static void convert_row(const uint16_t *row, int dim, float norm, size_t stride, int i, block *b)
{
    uint32_t *out = b->x + (size_t)i * stride;
    if (norm <= FLT_MAX) {
        int e = exponent_for(norm);
        b->norm[i] = norm;
        b->residual[i] = convert(row, dim, e, out);
        b->unit[i] = power_of_two(-e);
    } else {
        memset(out, 0, stride * sizeof *out);
        b->norm[i] = b->residual[i] = 0;
        b->unit[i] = NAN;
    }
}

static void convert_block(const npr_packed *p, const uint16_t *emb, size_t stride, block *b)
{
    b->norm = (float *)(b->x + (size_t)p->block_rows * stride);
    b->residual = b->norm + p->block_rows;
    b->unit = b->residual + p->block_rows;
    int half = (b->n + 1) / 2;
    for (int i = 0; i < half; i++) {
        int k = half + i < b->n ? half + i : i; /* an odd number: one row is done twice */
        const uint16_t *x = emb + (size_t)b->row[i] * (size_t)p->dim,
                       *y = emb + (size_t)b->row[k] * (size_t)p->dim;
        float norm[2];
        norms_of(x, y, p->dim, norm);
        convert_row(x, p->dim, norm[0], stride, i, b);
        convert_row(y, p->dim, norm[1], stride, k, b);
    }
}

/* ---- scores ------------------------------------------------------------------------------------------- */

/* t [ROWS][2] = sums of ROWS rows x [ROWS][stride] with a panel of queries [steps][PANEL]. */
AVX2 static void multiply(const uint32_t *x, size_t stride, const uint32_t *panel, int steps, __m256i *t)
{
    __m256i s[ROWS][2];
    for (int i = 0; i < ROWS; i++) s[i][0] = s[i][1] = _mm256_setzero_si256();
    for (int j = 0; j < steps; j++, panel += PANEL) {
        __m256i y0 = _mm256_load_si256((const __m256i *)(const void *)panel);
        __m256i y1 = _mm256_load_si256((const __m256i *)(const void *)(panel + LANES));
        _Pragma("GCC unroll 6") for (int i = 0; i < ROWS; i++)
        {
            __m256i a = _mm256_set1_epi32((int)x[(size_t)i * stride + (size_t)j]);
            s[i][0] = _mm256_add_epi32(s[i][0], _mm256_madd_epi16(a, y0));
            s[i][1] = _mm256_add_epi32(s[i][1], _mm256_madd_epi16(a, y1));
        }
    }
    for (int i = 0; i < ROWS; i++) {
        t[2 * i] = s[i][0];
        t[2 * i + 1] = s[i][1];
    }
}

/* Candidates of row i with the queries from q on whose bit is set. */
static void offer(npr_sieve *v, const block *b, int i, int q, unsigned hits, const float *t)
{
    for (; hits; hits &= hits - 1) {
        int u = __builtin_ctz(hits);
        float e = b->norm[i] * v->p->by_norm[q + u] + b->residual[i] * v->p->by_residual[q + u];
        if (q + u < v->p->nq) npr_sieve_offer(v, q + u, b->row[i], t[u], e);
    }
}

/* Look at the sums of the rows from i0 on with the panel from q0 on. */
AVX2 static void sift(npr_sieve *v, const block *b, int i0, int q0, const __m256i *t)
{
    const npr_packed *p = v->p;
    int rows = b->n - i0 < ROWS ? b->n - i0 : ROWS;
    for (int h = 0; h < 2; h++) {
        int q = q0 + h * LANES;
        __m256 least = _mm256_loadu_ps(v->least + q), by_norm = _mm256_loadu_ps(p->by_norm + q),
               by_residual = _mm256_loadu_ps(p->by_residual + q), unit = _mm256_loadu_ps(units_of(p) + q);
        for (int i = 0; i < rows; i++) {
            __m256 s = _mm256_mul_ps(_mm256_cvtepi32_ps(t[2 * i + h]), unit);
            s = _mm256_mul_ps(s, _mm256_set1_ps(b->unit[i0 + i]));
            __m256 high = _mm256_fmadd_ps(_mm256_set1_ps(b->norm[i0 + i]), by_norm, s);
            high = _mm256_fmadd_ps(_mm256_set1_ps(b->residual[i0 + i]), by_residual, high);
            int hits = _mm256_movemask_ps(_mm256_cmp_ps(high, least, _CMP_GE_OQ));
            if (!hits) continue;
            float lane[LANES];
            _mm256_storeu_ps(lane, s);
            offer(v, b, i0 + i, q, (unsigned)hits, lane);
        }
    }
}

AVX2 static void scan(const npr_packed *p, npr_sieve *v, const uint16_t *emb, const uint32_t *row, int n,
                      int ahead)
{
    (void)ahead; /* what is fetched while the kernel runs is not there in time: measured slower */
    int steps = steps_of(p);
    size_t stride = stride_of(p);
    block b = {.row = row, .n = n, .x = v->scratch};
    convert_block(p, emb, stride, &b);
    int tiles = (n + ROWS - 1) / ROWS; /* the kernel reads rows that are not there */
    memset(b.x + (size_t)n * stride, 0, (size_t)(tiles * ROWS - n) * stride * sizeof *b.x);
    __m256i t[ROWS * 2];
    for (int q0 = 0; q0 < p->padded; q0 += PANEL)
        for (int i = 0; i < n; i += ROWS) {
            multiply(b.x + (size_t)i * stride, stride, p->values + (size_t)q0 * (size_t)steps, steps, t);
            sift(v, &b, i, q0, t);
        }
}

static int usable(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && npr_half_in_hardware();
}

const npr_screen npr_screen_block_avx2 = {"block-avx2", usable, 0, INT_MAX, PANEL, pack, scan, NULL};
#endif
