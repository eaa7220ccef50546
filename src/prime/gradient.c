/* gradient.c - cross-entropy and its gradient, the same bits whoever computes which rows. See train.h. */
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/linalg.h"
#include "base/mem.h"
#include "prime/train.h"

static const double LOSS_MOST = 1024; /* of a row: what is more counts as this */

/* x + c - c rounds x to multiples of 2^-51 of `bound` (as a power of two), if |x| is below it; sums of such
 * multiples below it are exact. */
static double rounder(double bound)
{
    return 1.5 * ldexp(1, ilogb(bound) + 2);
}

npr_status npr_gradient_make(const npr_train *t, int classes, int threads, double scale, npr_gradient *g)
{
    size_t rows = NPR_UNIT_ROWS, n = (size_t)classes, dim = (size_t)t->dim, each = (size_t)threads;
    *g = (npr_gradient){.t = t, .classes = classes, .threads = threads, .scale = (float)scale};
    /* |p - y| <= 1 and |x| <= 1: no value of a gradient is above the number of rows */
    g->to_grid = rounder((double)t->rows + 1);
    g->to_loss_grid = rounder(((double)t->rows + 1) * LOSS_MOST);
    g->work_each = (rows * dim + rows * n + n * dim + 2 * n + 63) / 16 * 16;
    g->sum_each = n * dim + 2;
    g->work = npr_alloc_aligned(each * g->work_each, sizeof *g->work, "training");
    g->sum = npr_alloc_aligned(each * g->sum_each, sizeof *g->sum, "training");
    return g->work && g->sum ? NPR_OK : npr_last();
}

void npr_gradient_free(npr_gradient *g)
{
    free(g->work);
    free(g->sum);
    *g = (npr_gradient){0};
}

/* ---- softmax ------------------------------------------------------------------------------------------- */

/* e^x for x <= 0 as npr_score_exp() has it, without branches, so that compilers make vectors of it. */
static inline double exp_below(double x)
{
    static const double LN2_HIGH = 0x1.62e42feep-1, LN2_LOW = 0x1.a39ef35793c76p-33, ROUND = 0x1.8p52;
    x = x > -700 ? x : -700;
    double t = x * 0x1.71547652b82fep+0 + ROUND, n = t - ROUND, r = x - n * LN2_HIGH - n * LN2_LOW;
    double sum = 1 / 6227020800.0;
    sum = sum * r + 1 / 479001600.0;
    sum = sum * r + 1 / 39916800.0;
    sum = sum * r + 1 / 3628800.0;
    sum = sum * r + 1 / 362880.0;
    sum = sum * r + 1 / 40320.0;
    sum = sum * r + 1 / 5040.0;
    sum = sum * r + 1 / 720.0;
    sum = sum * r + 1 / 120.0;
    sum = sum * r + 1 / 24.0;
    sum = sum * r + 1 / 6.0;
    sum = sum * r + 0.5;
    sum = sum * r + 1;
    sum = sum * r + 1;
    uint64_t bits;
    double power;
    memcpy(&bits, &t, sizeof bits);
    bits = (bits << 52) + (UINT64_C(1023) << 52); /* the low bits of t are n */
    memcpy(&power, &bits, sizeof power);
    return sum * power;
}

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
__attribute__((target_clones("avx512f", "avx2", "default")))
#endif
static void
exponentials(const float *logit, float most, int classes, double *e)
{
    for (int c = 0; c < classes; c++) e[c] = exp_below((double)logit[c] - (double)most);
}

double npr_softmax_rows(float *logits, const int32_t *label, int n, int classes, double *e)
{
    enum { LANES = 8 };
    double loss = 0;
    for (int i = 0; i < n; i++) {
        float *l = logits + (size_t)i * (size_t)classes, most = l[0];
        for (int c = 1; c < classes; c++) most = l[c] > most ? l[c] : most;
        double own = (double)most - (double)l[label[i]], lane[LANES] = {0}, sum = 0;
        exponentials(l, most, classes, e);
        int c = 0;
        for (; c + LANES <= classes; c += LANES)
            for (int u = 0; u < LANES; u++) lane[u] += e[c + u];
        for (; c < classes; c++) sum += e[c];
        for (int u = 0; u < LANES; u++) sum += lane[u];
        for (c = 0; c < classes; c++) l[c] = (float)(e[c] / sum);
        l[label[i]] = (float)(e[label[i]] / sum - 1);
        loss += own + log(sum);
    }
    return loss;
}

/* ---- units --------------------------------------------------------------------------------------------- */

static void add_unit(const npr_gradient *g, const float *w, int64_t first, int64_t rows, float *work,
                     double *sum)
{
    const npr_train *t = g->t;
    int n = (int)rows, dim = t->dim, classes = g->classes;
    size_t cells = (size_t)classes * (size_t)dim;
    float *x = work, *logit = x + (size_t)NPR_UNIT_ROWS * (size_t)dim,
          *gradient = logit + (size_t)NPR_UNIT_ROWS * (size_t)classes;
    double *e = (double *)(void *)(gradient + (cells + 1) / 2 * 2);
    npr_half_to_float(t->emb + (size_t)first * (size_t)dim, x, (size_t)n * (size_t)dim);
    npr_gemm_nt(n, classes, dim, x, w, logit, classes);
    for (size_t i = 0; i < (size_t)n * (size_t)classes; i++) logit[i] *= g->scale;
    double loss = npr_softmax_rows(logit, t->label + first, n, classes, e), most = LOSS_MOST * n;
    npr_gemm_tn(classes, dim, n, logit, x, gradient);
    for (size_t i = 0; i < cells; i++) sum[i] += (double)gradient[i] + g->to_grid - g->to_grid;
    loss = loss < most ? loss : most; /* a NaN counts as most */
    sum[cells] += loss + g->to_loss_grid - g->to_loss_grid;
    sum[cells + 1] += n;
}

void npr_gradient_run(npr_gradient *g, const float *w, const int64_t *unit, int64_t n, int atoms)
{
    const npr_train *t = g->t;
    int64_t owned = t->last - t->first;
    memset(g->sum, 0, (size_t)g->threads * g->sum_each * sizeof *g->sum);
#pragma omp parallel num_threads(g->threads)
    {
        size_t me = (size_t)omp_get_thread_num();
#pragma omp for schedule(dynamic, 1)
        for (int64_t i = 0; i < n; i++) {
            int64_t from = unit[i] * atoms, to = from + atoms < owned ? from + atoms : owned;
            int64_t first = t->start[from], rows = t->start[to] - first;
            if (rows) add_unit(g, w, first, rows, g->work + me * g->work_each, g->sum + me * g->sum_each);
        }
#pragma omp for schedule(static)
        for (size_t j = 0; j < g->sum_each; j++)
            for (int r = 1; r < g->threads; r++) g->sum[j] += g->sum[(size_t)r * g->sum_each + j];
    }
}
