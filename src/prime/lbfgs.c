/* lbfgs.c - L-BFGS. See train.h. All sums run in one fixed order: the same bits on every rank. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "prime/train.h"

enum { KEPT = 10, STEPS = 30 }; /* pairs remembered; evaluations of a line search at most */

typedef struct descent {
    npr_lbfgs *o;
    double *x, *g, *d, *x_next, *g_next; /* [n] */
    double *s, *y;                       /* [KEPT][n] steps and changes of the gradient */
    double rho[KEPT];
    int held, newest;
} descent;

static double dot(const double *a, const double *b, size_t n)
{
    enum { LANES = 8 };
    double lane[LANES] = {0}, sum = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t u = 0; u < LANES; u++) lane[u] += a[i + u] * b[i + u];
    for (; i < n; i++) sum += a[i] * b[i];
    for (size_t u = 0; u < LANES; u++) sum += lane[u];
    return sum;
}

static double largest(const double *a, size_t n)
{
    double most = 0;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs(a[i]));
    return most;
}

static void add(double *to, double factor, const double *a, size_t n)
{
    for (size_t i = 0; i < n; i++) to[i] += factor * a[i];
}

/* d = -H g, by the two loops. */
static void direction(descent *p)
{
    size_t n = p->o->n;
    double a[KEPT];
    for (size_t i = 0; i < n; i++) p->d[i] = -p->g[i];
    for (int k = 0; k < p->held; k++) {
        int i = (p->newest - k + KEPT) % KEPT;
        a[i] = p->rho[i] * dot(p->s + (size_t)i * n, p->d, n);
        add(p->d, -a[i], p->y + (size_t)i * n, n);
    }
    if (p->held) {
        const double *y = p->y + (size_t)p->newest * n;
        double gamma = 1 / (p->rho[p->newest] * dot(y, y, n));
        for (size_t i = 0; i < n; i++) p->d[i] *= gamma;
    }
    for (int k = p->held - 1; k >= 0; k--) {
        int i = (p->newest - k + KEPT) % KEPT;
        double b = p->rho[i] * dot(p->y + (size_t)i * n, p->d, n);
        add(p->d, a[i] - b, p->s + (size_t)i * n, n);
    }
}

/* *found = 0: no step downhill is left within rounding. */
static npr_status search_line(descent *p, double step, double *f_next, int *found)
{
    size_t n = p->o->n;
    double slope = dot(p->g, p->d, n), low = 0, high = INFINITY;
    *found = 0;
    for (int i = 0; i < STEPS && slope < 0; i++) {
        for (size_t j = 0; j < n; j++) p->x_next[j] = p->x[j] + step * p->d[j];
        NPR_TRY(p->o->value(p->o->self, p->x_next, f_next, p->g_next));
        if (!(*f_next <= p->o->f + 1e-4 * step * slope))
            high = step;
        else if (dot(p->g_next, p->d, n) < 0.9 * slope)
            low = step;
        else {
            *found = 1;
            return NPR_OK;
        }
        step = high < INFINITY ? (low + high) / 2 : 2 * step;
    }
    /* the last point is taken if it is lower: a flat function ends here */
    *found = slope < 0 && *f_next < p->o->f;
    return NPR_OK;
}

/* Remember the step, if the function curves along it, and go there. */
static void go(descent *p, double f_next)
{
    size_t n = p->o->n;
    int i = (p->newest + 1) % KEPT;
    double *s = p->s + (size_t)i * n, *y = p->y + (size_t)i * n;
    for (size_t j = 0; j < n; j++) {
        s[j] = p->x_next[j] - p->x[j];
        y[j] = p->g_next[j] - p->g[j];
    }
    double curve = dot(s, y, n);
    if (curve > 1e-14 * dot(y, y, n)) {
        p->rho[i] = 1 / curve;
        p->newest = i;
        if (p->held < KEPT) p->held++;
    }
    memcpy(p->x, p->x_next, n * sizeof *p->x);
    memcpy(p->g, p->g_next, n * sizeof *p->g);
    p->o->f = f_next;
}

static npr_status descend(descent *p)
{
    npr_lbfgs *o = p->o;
    NPR_TRY(o->value(o->self, p->x, &o->f, p->g));
    for (o->done = 0; o->done < o->iterations; o->done++) {
        double f_next = INFINITY, first = 1 / sqrt(dot(p->g, p->g, o->n));
        int found;
        o->largest = largest(p->g, o->n);
        if (o->largest <= o->tolerance) return NPR_OK;
        direction(p);
        NPR_TRY(search_line(p, p->held ? 1 : first, &f_next, &found));
        if (!found) return NPR_OK;
        go(p, f_next);
    }
    o->largest = largest(p->g, o->n);
    return NPR_OK;
}

npr_status npr_lbfgs_make(npr_lbfgs *o)
{
    o->work = npr_alloc_aligned((4 + 2 * KEPT) * o->n, sizeof *o->work, "L-BFGS");
    return o->work ? NPR_OK : npr_last();
}

npr_status npr_lbfgs_run(npr_lbfgs *o, double *x)
{
    size_t n = o->n;
    double *w = o->work;
    descent p = {.o = o, .x = x, .newest = KEPT - 1};
    p.g = w;
    p.d = w + n;
    p.x_next = w + 2 * n;
    p.g_next = w + 3 * n;
    p.s = w + 4 * n;
    p.y = p.s + KEPT * n;
    return descend(&p);
}
