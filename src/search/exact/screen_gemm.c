/* screen_gemm.c - the screen that runs anywhere: rows converted to floats a block at a time, one matrix
 * product with the queries, and a look at every score. See screen.h. */
#include <limits.h>
#include <stdlib.h>

#include "base/half.h"
#include "base/linalg.h"
#include "base/mem.h"
#include "search/exact/screen.h"

enum {
    BLOCK_ROWS = 512,
    QUERIES = 256, /* scored at a time: the scores stay in the second cache */
    CHUNK = 32,    /* scores looked at together */
};

static npr_status pack(npr_packed *p)
{
    float *out = npr_alloc((size_t)p->nq * (size_t)p->dim, sizeof *out, "queries");
    if (!out) return npr_last();
    p->values = (uint32_t *)out;
    for (int j = 0; j < p->nq; j++)
        npr_packed_bound(p, j, npr_packed_scale(p, j, out + (size_t)j * (size_t)p->dim), 0);
    if (p->block_rows > BLOCK_ROWS) p->block_rows = BLOCK_ROWS;
    p->scratch = (size_t)p->block_rows * sizeof(float) * ((size_t)p->dim + QUERIES + 1);
    return NPR_OK;
}

static float norm_of(const float *x, int dim)
{
    enum { WIDE = 16 };
    float s[WIDE] = {0}, squares = 0;
    int j = 0;
    for (; j + WIDE <= dim; j += WIDE)
        for (int u = 0; u < WIDE; u++) s[u] += x[j + u] * x[j + u];
    for (; j < dim; j++) squares += x[j] * x[j];
    for (int u = 0; u < WIDE; u++) squares += s[u];
    return npr_norm_above(squares, dim);
}

/* Scores of one query with n rows. */
static void sift(npr_sieve *v, int q, const float *t, const float *norm, const uint32_t *row, int n)
{
    float by_norm = v->p->by_norm[q];
    for (int i = 0; i < n; i += CHUNK) {
        int m = n - i < CHUNK ? n - i : CHUNK, hit = 0;
        float least = v->least[q];
        for (int u = 0; u < m; u++) hit |= t[i + u] + norm[i + u] * by_norm >= least;
        for (int u = 0; hit && u < m; u++) npr_sieve_offer(v, q, row[i + u], t[i + u], norm[i + u] * by_norm);
    }
}

static void scan(const npr_packed *p, npr_sieve *v, const uint16_t *emb, const uint32_t *row, int n,
                 int ahead)
{
    (void)ahead;
    size_t dim = (size_t)p->dim, rows = (size_t)p->block_rows;
    float *x = v->scratch, *t = x + rows * dim, *norm = t + rows * QUERIES;
    for (int i = 0; i < n; i++) {
        npr_half_to_float(emb + (size_t)row[i] * dim, x + (size_t)i * dim, dim);
        norm[i] = norm_of(x + (size_t)i * dim, p->dim);
    }
    for (int q0 = 0; q0 < p->nq; q0 += QUERIES) {
        int m = p->nq - q0 < QUERIES ? p->nq - q0 : QUERIES;
        npr_gemm_nt(m, n, p->dim, (const float *)p->values + (size_t)q0 * dim, x, t, n);
        for (int q = 0; q < m; q++) sift(v, q0 + q, t + (size_t)q * (size_t)n, norm, row, n);
    }
}

static int usable(void)
{
    return 1;
}

const npr_screen npr_screen_gemm = {"gemm", usable, 0, INT_MAX, 1, pack, scan, NULL};
