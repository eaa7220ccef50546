/* screen_bytes_pack.c - queries for the screen in bytes. See screen_bytes.h. */
#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "search/screen_bytes.h"

#if defined(__x86_64__)

enum {
    MOST = 127,              /* of an integer */
    MOST_NORM = 255,         /* of a sum's integers */
    BLOCK_BYTES = 128 << 10, /* of converted rows */
};

/* The sum that column j belongs to: two in a segment. */
static size_t sum_of_column(size_t j)
{
    return j / NPR_BYTES_COLUMNS * 2 + j % NPR_BYTES_STEP / 2;
}

/* k = w / unit as integers; returns the largest square of the norms of their sums. */
static int round_query(const double *w, size_t dim, double unit, int *square, int8_t *k)
{
    int most = 0;
    for (size_t j = 0; j < dim; j++) {
        double whole = unit > 0 ? nearbyint(w[j] / unit) : 0;
        k[j] = (int8_t)fmax(fmin(whole, MOST), -MOST);
        int *s = &square[sum_of_column(j)];
        if (j % NPR_BYTES_COLUMNS < NPR_BYTES_STEP && j % 2 == 0) *s = 0;
        *s += k[j] * k[j];
        if (*s > most) most = *s;
    }
    return most;
}

/* The smallest scale, or nearly, with which integers stay within their bounds; a normal number, since a
 * smaller one might not grow. */
static float find_unit(const double *w, size_t dim, int *square, int8_t *k)
{
    double largest = 0;
    for (size_t j = 0; j < dim; j++) largest = fmax(largest, fabs(w[j]));
    float unit = fmaxf((float)(largest / MOST), FLT_MIN);
    for (;;) {
        int most = round_query(w, dim, (double)unit, square, k);
        if (most <= MOST_NORM * MOST_NORM) return unit;
        unit *= (float)fmax(sqrt(most) / MOST_NORM, 1.002);
    }
}

static double norm_of(const double *w, size_t dim)
{
    double squares = 0;
    for (size_t j = 0; j < dim; j++) squares += w[j] * w[j];
    return sqrt(squares) * (1 + 0x1p-40);
}

/* Bounds of query j, of norm `norm`; w becomes what rounding moves. */
static void bound(npr_packed *p, int j, double norm, double *w, const int8_t *k, float unit, double nu)
{
    size_t dim = (size_t)p->dim;
    double length = norm_of(w, dim), g = p->dim * 0x1p-22 + 0x1p-20, up = 1 + 0x1p-20;
    for (size_t i = 0; i < dim; i++) w[i] -= (double)unit * k[i];
    npr_packed_bound(p, j, length, norm_of(w, dim) + 0x1p-40 * (norm + nu)); /* w was rounded too */
    p->by_norm[j] = (float)(((double)p->by_norm[j] + g * nu + 0x1p-20 * length) * up);
    npr_bytes_by_mean(p)[j] = (float)(0x1p-20 * norm * up);
}

/* Query j's integers into its panel, four to a word, and the starts of its sums. */
static void store(npr_packed *p, int j, const int8_t *k)
{
    uint32_t *panel =
        p->values + (size_t)(j / NPR_BYTES_PANEL) * npr_bytes_panel(p) + (size_t)(j % NPR_BYTES_PANEL);
    for (int s = 0, steps = npr_bytes_steps(p); s < steps; s += NPR_BYTES_SEGMENT) {
        int start[2] = {0};
        uint32_t *at = panel;
        panel += NPR_BYTES_PANEL;
        for (int i = s; i < s + NPR_BYTES_SEGMENT && i < steps; i++, panel += NPR_BYTES_PANEL) {
            int8_t four[NPR_BYTES_STEP] = {0};
            for (int u = 0; u < NPR_BYTES_STEP && NPR_BYTES_STEP * i + u < p->dim; u++) {
                four[u] = k[NPR_BYTES_STEP * i + u];
                start[u / 2] -= NPR_BYTES_MIDDLE * four[u];
            }
            memcpy(panel, four, sizeof four);
        }
        *at = (uint32_t)(uint16_t)start[0] | (uint32_t)(uint16_t)start[1] << 16;
    }
}

/* Scratch of packing. */
typedef struct packing {
    float *q;  /* [dim] */
    double *w; /* [dim] */
    int8_t *k; /* [dim] */
    int *square;
} packing;

static void pack_queries(npr_packed *p, const packing *s)
{
    size_t dim = (size_t)p->dim;
    float *nu = npr_bytes_nu(p);
    double squares = 0;
    for (size_t i = 0; i < dim; i++) s->w[i] = 0;
    for (int j = 0; j < p->nq; j++) {
        npr_packed_scale(p, j, s->q);
        for (size_t i = 0; i < dim; i++) s->w[i] += (double)s->q[i];
    }
    for (size_t i = 0; i < dim; i++) {
        nu[i] = (float)(s->w[i] / p->nq);
        squares += (double)nu[i] * (double)nu[i];
    }
    for (int j = 0; j < p->nq; j++) {
        double norm = npr_packed_scale(p, j, s->q);
        for (size_t i = 0; i < dim; i++) s->w[i] = (double)s->q[i] - (double)nu[i];
        float unit = npr_bytes_units(p)[j] = find_unit(s->w, dim, s->square, s->k);
        bound(p, j, norm, s->w, s->k, unit, sqrt(squares) * (1 + 0x1p-40));
        store(p, j, s->k);
    }
}

npr_status npr_bytes_pack(npr_packed *p)
{
    size_t dim = (size_t)p->dim, width = npr_bytes_width(p);
    size_t words = (size_t)(p->padded / NPR_BYTES_PANEL) * npr_bytes_panel(p) + 2 * (size_t)p->padded + width;
    p->values = npr_alloc_aligned(words, sizeof *p->values, "queries");
    packing s = {npr_alloc(dim, sizeof *s.q, "queries"), npr_alloc(dim, sizeof *s.w, "queries"),
                 npr_alloc(dim, sizeof *s.k, "queries"),
                 npr_alloc(2 * width / NPR_BYTES_COLUMNS, sizeof *s.square, "queries")};
    npr_status st = p->values && s.q && s.w && s.k && s.square ? NPR_OK : npr_last();
    if (!st && p->nq) {
        memset(p->values, 0, words * sizeof *p->values);
        pack_queries(p, &s);
    }
    free(s.q);
    free(s.w);
    free(s.k);
    free(s.square);
    size_t rows = BLOCK_BYTES / width;
    if (rows > (size_t)p->block_rows) rows = (size_t)p->block_rows;
    p->block_rows = rows < NPR_BYTES_ROWS ? NPR_BYTES_ROWS : (int)rows / NPR_BYTES_ROWS * NPR_BYTES_ROWS;
    p->scratch = npr_bytes_scratch(p) + p->wide->scratch;
    return st;
}
#endif
