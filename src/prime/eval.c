/* eval.c - accuracy of heads on labelled rows, with intervals. See include/npr/prime.h. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "npr/prime.h"

static const double z95 = 1.959963984540054; /* two-sided 95 % quantile of the normal distribution */

npr_status npr_eval_make(int classes, npr_eval *e)
{
    *e = (npr_eval){.classes = classes};
    e->right = npr_alloc((size_t)classes, sizeof *e->right, "counts of right answers");
    e->seen = npr_alloc((size_t)classes, sizeof *e->seen, "counts of test rows");
    if (e->right && e->seen) return NPR_OK;
    npr_eval_free(e);
    return NPR_EINTERNAL;
}

void npr_eval_free(npr_eval *e)
{
    free(e->right);
    free(e->seen);
    e->right = e->seen = NULL;
}

void npr_eval_add(npr_eval *e, const int32_t *label, const int32_t *predicted, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        assert(label[i] >= 0 && label[i] < e->classes);
        e->seen[label[i]]++;
        e->right[label[i]] += predicted[i] == label[i];
    }
}

/* Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927): the shares p
 * that a test with `right` of `seen` does not reject. Holds near 0 and 1, where p +- z sd does not. */
static void wilson(int64_t right, int64_t seen, double *low, double *high)
{
    double n = (double)seen, p = (double)right / n, z2 = z95 * z95;
    double centre = (p + z2 / (2 * n)) / (1 + z2 / n);
    double half = z95 * sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n);
    *low = right == 0 ? 0 : centre - half; /* 0 and 1 exactly, not but for rounding */
    *high = right == seen ? 1 : centre + half;
}

npr_accuracy npr_eval_accuracy(const npr_eval *e)
{
    npr_accuracy a = {0};
    int64_t right = 0;
    double shares = 0, squares = 0;
    for (int c = 0; c < e->classes; c++) {
        if (!e->seen[c]) continue;
        right += e->right[c];
        a.seen += e->seen[c];
        a.classes_seen++;
        shares += (double)e->right[c] / (double)e->seen[c];
    }
    if (!a.seen) return a;
    a.top1 = (double)right / (double)a.seen;
    wilson(right, a.seen, &a.top1_low, &a.top1_high);
    a.mean = shares / a.classes_seen;
    for (int c = 0; c < e->classes; c++) {
        double off = e->seen[c] ? (double)e->right[c] / (double)e->seen[c] - a.mean : 0;
        squares += off * off;
    }
    double k = a.classes_seen, half = k > 1 ? z95 * sqrt(squares / (k - 1) / k) : 0;
    a.mean_low = fmax(0, a.mean - half);
    a.mean_high = fmin(1, a.mean + half);
    return a;
}

void npr_pairs_add(npr_pairs *p, const int32_t *label, const int32_t *before, const int32_t *after, int64_t n)
{
    p->seen += n;
    for (int64_t i = 0; i < n; i++) {
        p->gained += before[i] != label[i] && after[i] == label[i];
        p->lost += before[i] == label[i] && after[i] != label[i];
    }
}

/* Agresti and Min, Simple improved confidence intervals for comparing matched proportions, Statistics in
 * Medicine 24 (2005): the normal interval after half a row is added to each of the four cells (both right,
 * gained, lost, both wrong), so that it has a width even when the heads never differ. */
npr_difference npr_pairs_difference(const npr_pairs *p)
{
    if (!p->seen) return (npr_difference){0, 0, 0};
    double n = (double)p->seen + 2, gained = (double)p->gained + 0.5, lost = (double)p->lost + 0.5;
    double centre = (gained - lost) / n;
    double half = z95 * sqrt((gained + lost - (gained - lost) * (gained - lost) / n)) / n;
    return (npr_difference){(double)(p->gained - p->lost) / (double)p->seen, fmax(-1, centre - half),
                            fmin(1, centre + half)};
}
