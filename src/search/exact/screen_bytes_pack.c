/* screen_bytes_pack.c - queries for the screens in bytes. See screen_bytes.h and screen_few_bytes.h. */
#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "search/exact/screen_bytes.h"
#include "search/exact/screen_few_bytes.h"

#if defined(__x86_64__)

enum { BLOCK_BYTES = 128 << 10 }; /* of converted rows */

/* How a screen adds: the largest integer, the largest norm of a sum's integers, and the sum of a column. */
typedef struct layout {
    int most, most_norm;
    size_t (*sum)(size_t column);
} layout;

/* Two in a segment. */
static size_t sum_of_column(size_t j)
{
    return j / NPR_BYTES_COLUMNS * 2 + j % NPR_BYTES_STEP / 2;
}

/* 16 in a segment: pairs of neighbours in the order of a line. */
static size_t sum_of_place(size_t j)
{
    size_t column = j % NPR_FEW_LINE, place = column / 4 % 2 * 16 + column / 8 * 4 + column % 4;
    return j / (NPR_FEW_SEGMENT * NPR_FEW_LINE) * 16 + place / 2;
}

static const layout many = {127, 255, sum_of_column}, few = {63, 128, sum_of_place};

/* k = w / unit as integers; returns the largest square of the norms of their sums. */
static int round_query(const layout *l, const double *w, size_t dim, double unit, int *square, int8_t *k)
{
    int most = 0;
    for (size_t j = 0; j < dim; j++) square[l->sum(j)] = 0;
    for (size_t j = 0; j < dim; j++) {
        double whole = unit > 0 ? nearbyint(w[j] / unit) : 0;
        k[j] = (int8_t)fmax(fmin(whole, l->most), -l->most);
        int *s = &square[l->sum(j)];
        *s += k[j] * k[j];
        if (*s > most) most = *s;
    }
    return most;
}

/* The smallest scale, or nearly, with which integers stay within their bounds; a normal number, since a
 * smaller one might not grow. */
static float find_unit(const layout *l, const double *w, size_t dim, int *square, int8_t *k)
{
    double largest = 0;
    for (size_t j = 0; j < dim; j++) largest = fmax(largest, fabs(w[j]));
    float unit = fmaxf((float)(largest / l->most), FLT_MIN);
    for (;;) {
        int most = round_query(l, w, dim, (double)unit, square, k);
        if (most <= l->most_norm * l->most_norm) return unit;
        unit *= (float)fmax(sqrt(most) / l->most_norm, 1.002);
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
        float unit = npr_bytes_units(p)[j] = find_unit(&many, s->w, dim, s->square, s->k);
        bound(p, j, norm, s->w, s->k, unit, sqrt(squares) * (1 + 0x1p-40));
        store(p, j, s->k);
    }
}

static npr_status make_packing(size_t dim, packing *s)
{
    s->q = npr_alloc(dim, sizeof *s->q, "queries");
    s->w = npr_alloc(dim, sizeof *s->w, "queries");
    s->k = npr_alloc(dim, sizeof *s->k, "queries");
    s->square = npr_alloc(dim + 64, sizeof *s->square, "queries"); /* sums of a last, short segment, too */
    return s->q && s->w && s->k && s->square ? NPR_OK : npr_last();
}

static void free_packing(packing *s)
{
    free(s->q);
    free(s->w);
    free(s->k);
    free(s->square);
}

npr_status npr_bytes_pack(npr_packed *p)
{
    size_t dim = (size_t)p->dim, width = npr_bytes_width(p);
    size_t words = (size_t)(p->padded / NPR_BYTES_PANEL) * npr_bytes_panel(p) + 2 * (size_t)p->padded + width;
    packing s;
    npr_status st = make_packing(dim, &s);
    p->values = npr_alloc_aligned(words, sizeof *p->values, "queries");
    if (!p->values) st = npr_last();
    if (!st && p->nq) {
        memset(p->values, 0, words * sizeof *p->values);
        pack_queries(p, &s);
    }
    free_packing(&s);
    size_t rows = BLOCK_BYTES / width;
    if (rows > (size_t)p->block_rows) rows = (size_t)p->block_rows;
    p->block_rows = rows < NPR_BYTES_ROWS ? NPR_BYTES_ROWS : (int)rows / NPR_BYTES_ROWS * NPR_BYTES_ROWS;
    p->scratch = npr_bytes_scratch(p) + p->wide->scratch;
    return st;
}

/* ---- few queries -------------------------------------------------------------------------------------- */

/* Query j's integers into its lines, and the starts of its sums. */
static void store_few(npr_packed *p, int j, const int8_t *k)
{
    enum { STARTS = NPR_FEW_LINE / 2 };
    int8_t *at = (int8_t *)p->values + (size_t)j * npr_few_query(p);
    for (size_t line = 0; line < npr_few_lines(p); line += NPR_FEW_SEGMENT) {
        int start[STARTS] = {0};
        int16_t *starts = (int16_t *)(void *)at;
        at += NPR_FEW_LINE;
        for (size_t i = line; i < line + NPR_FEW_SEGMENT && i < npr_few_lines(p); i++, at += NPR_FEW_LINE)
            for (size_t place = 0; place < NPR_FEW_LINE; place++) {
                size_t column = i * NPR_FEW_LINE + npr_few_column(place);
                at[place] = column < (size_t)p->dim ? k[column] : 0;
                start[place / 2] -= NPR_FEW_MIDDLE * at[place];
            }
        for (int i = 0; i < STARTS; i++) starts[i] = (int16_t)(uint16_t)start[i];
    }
}

npr_status npr_few_bytes_pack(npr_packed *p)
{
    size_t dim = (size_t)p->dim, bytes = (size_t)p->padded * (npr_few_query(p) + sizeof(float));
    packing s;
    npr_status st = make_packing(dim, &s);
    p->values = npr_alloc_aligned(bytes, 1, "queries");
    if (!p->values) st = npr_last();
    if (!st) memset(p->values, 0, bytes);
    for (int j = 0; !st && j < p->nq; j++) {
        double norm = npr_packed_scale(p, j, s.q), sum = 0;
        for (size_t i = 0; i < dim; i++) {
            s.w[i] = (double)s.q[i];
            sum += fabs(s.w[i]);
        }
        float unit = npr_few_units(p)[j] = find_unit(&few, s.w, dim, s.square, s.k);
        for (size_t i = 0; i < dim; i++) s.w[i] -= (double)unit * s.k[i];
        double moved = norm_of(s.w, dim);
        p->by_norm[j] = (float)((moved + 0x1p-20 * (norm + moved)) * (1 + 0x1p-20));
        p->by_residual[j] = (float)(sum * (0.5 + 0x1p-9) * (1 + 0x1p-20));
        store_few(p, j, s.k);
    }
    free_packing(&s);
    p->scratch = npr_few_scratch(p) + p->wide->scratch;
    return st;
}
#endif
