/* loo.c - how often the pool's own rows are classified right by the blended head, each with itself left out,
 * for a grid of alphas. A way to choose alpha that looks at no test label. See npr_loo in
 * include/npr/prime.h.
 *
 * For a row x of class c the image mean of c is m = (S_c - x) / |S_c - x|, with S_c the sum over all rows of
 * c. Class c must beat every other class k: a x.T_c + (1-a) x.m > a x.T_k + (1-a) x.M_k. The right side is
 * screened by float GEMM with a proven error bound; only rows nearer to a tie than the bound are decided by
 * exact scores (npr_score_dot). So the counts do not depend on how the rows were cut into blocks. */
#include <assert.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/linalg.h"
#include "base/mem.h"
#include "base/score.h"
#include "npr/prime.h"

enum { BLOCK = 64, LANES = 16 }; /* rows per GEMM; running maxima side by side */

static const float never = -1e30f; /* stands for the own class among the others: below any score */

/* ---- the object ---------------------------------------------------------------------------------------- */

static double row_norm(const float *row, int dim)
{
    double squares = 0;
    for (int j = 0; j < dim; j++) squares += (double)row[j] * (double)row[j];
    return sqrt(squares);
}

npr_status npr_loo_make(const float *text, const npr_means *means, int text_if_empty, int steps, npr_loo *l)
{
    int dim = means->dim;
    *l = (npr_loo){.text = text, .means = means, .text_if_empty = text_if_empty, .steps = steps};
    l->image = npr_alloc_aligned((size_t)means->classes * (size_t)dim, sizeof *l->image, "the image means");
    l->right =
        npr_alloc((size_t)means->classes, ((size_t)steps + 1) * sizeof *l->right, "leave-one-out counts");
    l->seen = npr_alloc((size_t)means->classes, sizeof *l->seen, "leave-one-out counts");
    if (!l->image || !l->right || !l->seen) {
        npr_loo_free(l);
        return NPR_EINTERNAL;
    }
    npr_means_unit(means, l->image);
    for (int c = 0; c < means->classes; c++) {
        float *image = l->image + (size_t)c * (size_t)dim;
        const float *row = text + (size_t)c * (size_t)dim;
        if (!means->count[c] && text_if_empty) memcpy(image, row, (size_t)dim * sizeof *image);
        l->head_norm = fmax(l->head_norm, fmax(row_norm(row, dim), row_norm(image, dim)));
    }
    return NPR_OK;
}

void npr_loo_free(npr_loo *l)
{
    free(l->image);
    free(l->right);
    free(l->seen);
    l->image = NULL;
    l->right = l->seen = NULL;
}

double npr_loo_accuracy(const npr_loo *l, int i)
{
    int classes = l->means->classes, seen = 0;
    double shares = 0;
    for (int c = 0; c < classes; c++) {
        if (!l->seen[c]) continue;
        shares += (double)l->right[(size_t)i * (size_t)classes + (size_t)c] / (double)l->seen[c];
        seen++;
    }
    return seen ? shares / seen : 0;
}

int npr_loo_best(const npr_loo *l)
{
    int best = 0;
    for (int i = 1; i <= l->steps; i++)
        if (npr_loo_accuracy(l, i) >= npr_loo_accuracy(l, best)) best = i;
    return best;
}

/* ---- scores of one row --------------------------------------------------------------------------------- */

/* Scores of a row: the own class exactly, all others by GEMM. */
typedef struct loo_row {
    const uint16_t *half; /* [dim] */
    int own;              /* its class */
    double own_text, own_image;
    const float *text, *image; /* [classes] approximate */
    double margin;             /* bound of their error and of a blend's */
} loo_row;

/* x.m with m the unit mean of the class's other rows: S - n x is exact, each value a multiple of 2^-24. */
static double left_out_score(const npr_loo *l, const float *x, double times, int own, double own_text)
{
    const npr_means *m = l->means;
    if (m->count[own] < 2) return l->text_if_empty ? own_text : 0;
    const double *sum = m->sum + (size_t)own * (size_t)m->dim;
    double squares = 0, dot = 0;
    for (int j = 0; j < m->dim; j++) {
        double rest = sum[j] - times * (double)x[j];
        squares += rest * rest;
        dot += rest * (double)x[j];
    }
    return squares > 0 ? dot / sqrt(squares) : 0;
}

static double blend(double alpha, double text, double image)
{
    return alpha * text + (1 - alpha) * image;
}

/* Largest blended score of the other classes. Lanes, so that the compiler may use vector maxima. */
static float best_other(const loo_row *r, int classes, float a, float b)
{
    float lane[LANES];
    for (int u = 0; u < LANES; u++) lane[u] = never;
    int k = 0;
    for (; k + LANES <= classes; k += LANES)
        for (int u = 0; u < LANES; u++) {
            float v = a * r->text[k + u] + b * r->image[k + u];
            lane[u] = v > lane[u] ? v : lane[u];
        }
    for (; k < classes; k++) {
        float v = a * r->text[k] + b * r->image[k];
        lane[0] = v > lane[0] ? v : lane[0];
    }
    for (int u = 1; u < LANES; u++) lane[0] = lane[u] > lane[0] ? lane[u] : lane[0];
    return lane[0];
}

/* Exactly: does the own class stand before every class whose approximate score comes near? */
static int wins_exactly(const npr_loo *l, const loo_row *r, double alpha, double own)
{
    int dim = l->means->dim;
    float a = (float)alpha, b = (float)(1 - alpha);
    for (int k = 0; k < l->means->classes; k++) {
        if (k == r->own || (double)(a * r->text[k] + b * r->image[k]) < own - r->margin) continue;
        double score = blend(alpha, npr_score_dot(r->half, l->text + (size_t)k * (size_t)dim, dim),
                             npr_score_dot(r->half, l->image + (size_t)k * (size_t)dim, dim));
        if (score > own || (score == own && k < r->own)) return 0;
    }
    return 1;
}

/* right [steps + 1][classes] counts from several threads; a row adds to the column of its class only. */
static void count_row(const npr_loo *l, const loo_row *r)
{
    size_t classes = (size_t)l->means->classes;
    for (int i = 0; i <= l->steps; i++) {
        double alpha = (double)i / l->steps, own = blend(alpha, r->own_text, r->own_image);
        double other = (double)best_other(r, l->means->classes, (float)alpha, (float)(1 - alpha));
        int wins = other < own - r->margin || (other <= own + r->margin && wins_exactly(l, r, alpha, own));
        if (!wins) continue;
#pragma omp atomic
        l->right[(size_t)i * classes + (size_t)r->own]++;
    }
#pragma omp atomic
    l->seen[r->own]++;
}

/* ---- blocks of rows ------------------------------------------------------------------------------------ */

/* What one thread works in. */
typedef struct loo_scratch {
    float *x, *text, *image; /* [BLOCK][dim], [BLOCK][classes] twice */
} loo_scratch;

static void count_block(const npr_loo *l, const uint16_t *emb, const int32_t *label, const int32_t *count,
                        int n, loo_scratch *s)
{
    int dim = l->means->dim, classes = l->means->classes;
    npr_half_to_float(emb, s->x, (size_t)n * (size_t)dim);
    npr_gemm_nt(n, classes, dim, s->x, l->text, s->text, classes);
    npr_gemm_nt(n, classes, dim, s->x, l->image, s->image, classes);
    for (int i = 0; i < n; i++) {
        if (label[i] < 0) continue;
        const uint16_t *half = emb + (size_t)i * (size_t)dim;
        const float *x = s->x + (size_t)i * (size_t)dim;
        float *text = s->text + (size_t)i * (size_t)classes, *image = s->image + (size_t)i * (size_t)classes;
        loo_row r = {.half = half, .own = label[i], .text = text, .image = image};
        r.own_text = npr_score_dot(half, l->text + (size_t)r.own * (size_t)dim, dim);
        r.own_image = left_out_score(l, x, count ? count[i] : 1, r.own, r.own_text);
        text[r.own] = image[r.own] = never;
        /* 8 more roundings than the products': alpha to float, two products, a sum, and the doubles' */
        r.margin = npr_gemm_error(dim + 8, row_norm(x, dim), l->head_norm);
        count_row(l, &r);
    }
}

static void free_scratch(loo_scratch *s, int threads)
{
    for (int t = 0; s && t < threads; t++) {
        free(s[t].x);
        free(s[t].text);
        free(s[t].image);
    }
    free(s);
}

static loo_scratch *make_scratch(const npr_loo *l, int threads)
{
    static const char what[] = "leave-one-out scores";
    loo_scratch *s = npr_alloc((size_t)threads, sizeof *s, what);
    int whole = s != NULL;
    for (int t = 0; t < threads && whole; t++) {
        s[t].x = npr_alloc_aligned((size_t)l->means->dim, BLOCK * sizeof(float), what);
        s[t].text = npr_alloc_aligned((size_t)l->means->classes, BLOCK * sizeof(float), what);
        s[t].image = npr_alloc_aligned((size_t)l->means->classes, BLOCK * sizeof(float), what);
        whole = s[t].x && s[t].text && s[t].image;
    }
    if (whole) return s;
    free_scratch(s, threads);
    return NULL;
}

npr_status npr_loo_add(npr_loo *l, const uint16_t *emb, const int32_t *label, const int32_t *count, int64_t n,
                       int threads)
{
    loo_scratch *s = make_scratch(l, threads);
    if (!s) return NPR_EINTERNAL;
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int64_t i = 0; i < n; i += BLOCK)
        count_block(l, emb + i * l->means->dim, label + i, count ? count + i : NULL,
                    (int)(n - i < BLOCK ? n - i : BLOCK), &s[omp_get_thread_num()]);
    free_scratch(s, threads);
    return NPR_OK;
}
