/* screen_avx2.c - the screen for many queries on CPUs with AVX2, in floats. See screen.h; screen_block.c is its
 * wider relative.
 *
 * The kernel keeps the scores of 6 rows and 16 queries in 12 registers. Queries are packed once in panels of 16,
 * value by value; a block of rows is converted once and stays in the second cache while all panels pass. The
 * scores are compared with the bounds as they leave the registers: no matrix of scores is written. */
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
    LANES = 8,
    ROWS = 6,                /* of a kernel call */
    PANEL = 2 * LANES,       /* queries of a panel */
    BLOCK_BYTES = 256 << 10, /* of converted rows */
};

#define AVX2 __attribute__((target("avx2,fma,f16c")))

/* Floats from row to row. */
static size_t stride_of(const npr_packed *p)
{
    return ((size_t)p->dim + LANES - 1) / LANES * LANES;
}

static npr_status pack(npr_packed *p)
{
    size_t dim = (size_t)p->dim, stride = stride_of(p);
    float *values = npr_alloc_aligned((size_t)p->padded * dim, sizeof *values, "queries");
    float *q = npr_alloc(dim, sizeof *q, "queries");
    p->values = (uint32_t *)values;
    if (!values || !q) {
        free(q);
        return npr_last();
    }
    memset(values, 0, (size_t)p->padded * dim * sizeof *values);
    for (int j = 0; j < p->nq; j++) {
        float *panel = values + (size_t)(j / PANEL * PANEL) * dim + (size_t)(j % PANEL);
        npr_packed_bound(p, j, npr_packed_scale(p, j, q), 0);
        for (size_t i = 0; i < dim; i++) panel[i * PANEL] = q[i];
    }
    free(q);
    size_t rows = BLOCK_BYTES / (stride * sizeof(float));
    if (rows > (size_t)p->block_rows) rows = (size_t)p->block_rows;
    p->block_rows = rows < ROWS ? ROWS : (int)rows / ROWS * ROWS;
    p->scratch = (size_t)p->block_rows * (stride + 1) * sizeof(float);
    return NPR_OK;
}

/* ---- rows --------------------------------------------------------------------------------------------- */

AVX2 static float sum_of(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

/* A row as floats, zeros behind its end; returns a bound of its norm. */
AVX2 static float convert(const uint16_t *row, int dim, float *out)
{
    __m256 a, squares = _mm256_setzero_ps();
    int j = 0;
    for (; j + LANES <= dim; j += LANES) {
        a = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(row + j)));
        squares = _mm256_fmadd_ps(a, a, squares);
        _mm256_storeu_ps(out + j, a);
    }
    if (j < dim) {
        uint16_t rest[LANES] = {0};
        memcpy(rest, row + j, (size_t)(dim - j) * sizeof *rest);
        a = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)rest));
        squares = _mm256_fmadd_ps(a, a, squares);
        _mm256_storeu_ps(out + j, a);
    }
    return npr_norm_above(sum_of(squares), dim);
}

/* ---- scores ------------------------------------------------------------------------------------------- */

/* t [ROWS][2] = scores of ROWS rows x [ROWS][stride] with a panel of queries [dim][PANEL]. */
AVX2 static void multiply(const float *x, size_t stride, const float *panel, int dim, __m256 *t)
{
    __m256 s[ROWS][2];
    for (int i = 0; i < ROWS; i++) s[i][0] = s[i][1] = _mm256_setzero_ps();
    for (int j = 0; j < dim; j++, panel += PANEL) {
        __m256 y0 = _mm256_load_ps(panel), y1 = _mm256_load_ps(panel + LANES);
        _Pragma("GCC unroll 6") for (int i = 0; i < ROWS; i++)
        {
            __m256 a = _mm256_broadcast_ss(x + (size_t)i * stride + j);
            s[i][0] = _mm256_fmadd_ps(a, y0, s[i][0]);
            s[i][1] = _mm256_fmadd_ps(a, y1, s[i][1]);
        }
    }
    for (int i = 0; i < ROWS; i++) {
        t[2 * i] = s[i][0];
        t[2 * i + 1] = s[i][1];
    }
}

/* A block of rows, converted. */
typedef struct block {
    const uint32_t *row; /* [n] numbers */
    int n;
    float *x; /* [n, rounded up to ROWS][stride] */
    float *norm;
} block;

/* Candidates of row i with the queries from q on whose bit is set. */
static void offer(npr_sieve *v, const block *b, int i, int q, unsigned hits, const float *t)
{
    for (; hits; hits &= hits - 1) {
        int u = __builtin_ctz(hits);
        if (q + u < v->p->nq)
            npr_sieve_offer(v, q + u, b->row[i], t[u], b->norm[i] * v->p->by_norm[q + u]);
    }
}

/* Look at the scores of the rows from i0 on with the panel from q0 on. */
AVX2 static void sift(npr_sieve *v, const block *b, int i0, int q0, const __m256 *t)
{
    int rows = b->n - i0 < ROWS ? b->n - i0 : ROWS;
    for (int h = 0; h < 2; h++) {
        int q = q0 + h * LANES;
        __m256 least = _mm256_loadu_ps(v->least + q), by_norm = _mm256_loadu_ps(v->p->by_norm + q);
        for (int i = 0; i < rows; i++) {
            __m256 s = t[2 * i + h];
            __m256 high = _mm256_fmadd_ps(_mm256_set1_ps(b->norm[i0 + i]), by_norm, s);
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
    size_t dim = (size_t)p->dim, stride = stride_of(p);
    block b = {.row = row, .n = n, .x = v->scratch};
    b.norm = b.x + (size_t)p->block_rows * stride;
    for (int i = 0; i < n; i++)
        b.norm[i] = convert(emb + (size_t)row[i] * dim, p->dim, b.x + (size_t)i * stride);
    int tiles = (n + ROWS - 1) / ROWS; /* the kernel reads rows that are not there: finite ones */
    memset(b.x + (size_t)n * stride, 0, (size_t)(tiles * ROWS - n) * stride * sizeof *b.x);
    npr_fetch next = npr_fetch_make(emb, row + n, ahead, p->dim, p->padded / PANEL * tiles);
    __m256 t[ROWS * 2];
    for (int q0 = 0; q0 < p->padded; q0 += PANEL)
        for (int i = 0; i < n; i += ROWS) {
            npr_fetch_step(&next);
            multiply(b.x + (size_t)i * stride, stride, (const float *)p->values + (size_t)q0 * dim, p->dim, t);
            sift(v, &b, i, q0, t);
        }
}

static int usable(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && npr_half_in_hardware();
}

const npr_screen npr_screen_block_avx2 = {"block-avx2", usable, INT_MAX, PANEL, pack, scan};
#endif
