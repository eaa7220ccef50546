/* lbfgs.c - L-BFGS. See train.h. All sums run in one fixed order: the same bits on every rank. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "prime/train.h"

enum { KEPT = NPR_LBFGS_KEPT, STEPS = 30 }; /* evaluations of a line search at most */

typedef struct descent {
    npr_lbfgs *o;
    npr_lbfgs_state *state;
    int64_t tried; /* evaluations of the step under way: counted in the state when it is whole */
    double *x, *g; /* [n] in the state */
    double *s, *y; /* [KEPT][n] in the state: steps and changes of the gradient */
    double *d, *x_next, *g_next; /* [n] */
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
    const double *rho = p->state->rho;
    int held = (int)p->state->held, newest = (int)p->state->newest;
    double a[KEPT];
    for (size_t i = 0; i < n; i++) p->d[i] = -p->g[i];
    for (int k = 0; k < held; k++) {
        int i = (newest - k + KEPT) % KEPT;
        a[i] = rho[i] * dot(p->s + (size_t)i * n, p->d, n);
        add(p->d, -a[i], p->y + (size_t)i * n, n);
    }
    if (held) {
        const double *y = p->y + (size_t)newest * n;
        double gamma = 1 / (rho[newest] * dot(y, y, n));
        for (size_t i = 0; i < n; i++) p->d[i] *= gamma;
    }
    for (int k = held - 1; k >= 0; k--) {
        int i = (newest - k + KEPT) % KEPT;
        double b = rho[i] * dot(p->y + (size_t)i * n, p->d, n);
        add(p->d, a[i] - b, p->s + (size_t)i * n, n);
    }
}

static npr_status value(descent *p, const double *x, double *f, double *gradient)
{
    NPR_TRY(p->o->value(p->o->self, x, f, gradient));
    p->tried++;
    return NPR_OK;
}

/* *found = 0: no step downhill is left within rounding. */
static npr_status search_line(descent *p, double step, double *f_next, int *found)
{
    size_t n = p->o->n;
    double slope = dot(p->g, p->d, n), low = 0, high = INFINITY;
    *found = 0;
    for (int i = 0; i < STEPS && slope < 0; i++) {
        for (size_t j = 0; j < n; j++) p->x_next[j] = p->x[j] + step * p->d[j];
        NPR_TRY(value(p, p->x_next, f_next, p->g_next));
        if (!(*f_next <= p->state->f + 1e-4 * step * slope))
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
    *found = slope < 0 && *f_next < p->state->f;
    return NPR_OK;
}

/* Remember the step, if the function curves along it, and go there. */
static void go(descent *p, double f_next)
{
    npr_lbfgs_state *state = p->state;
    size_t n = p->o->n;
    int64_t i = (state->newest + 1) % KEPT;
    double *s = p->s + (size_t)i * n, *y = p->y + (size_t)i * n;
    for (size_t j = 0; j < n; j++) {
        s[j] = p->x_next[j] - p->x[j];
        y[j] = p->g_next[j] - p->g[j];
    }
    double curve = dot(s, y, n);
    if (curve > 1e-14 * dot(y, y, n)) {
        state->rho[i] = 1 / curve;
        state->newest = i;
        if (state->held < KEPT) state->held++;
    } else if (state->held == KEPT)
        state->held--; /* its place was the oldest one's */
    memcpy(p->x, p->x_next, n * sizeof *p->x);
    memcpy(p->g, p->g_next, n * sizeof *p->g);
    state->f = f_next;
    state->done++;
}

static void count_tried(descent *p)
{
    p->state->evaluations += p->tried;
    p->tried = 0;
}

static npr_status descend(descent *p)
{
    npr_lbfgs *o = p->o;
    npr_lbfgs_state *state = p->state;
    if (!state->evaluations) NPR_TRY(value(p, p->x, &state->f, p->g));
    count_tried(p);
    while (state->done < o->iterations) {
        double f_next = INFINITY, first = 1 / sqrt(dot(p->g, p->g, o->n));
        int found;
        o->largest = largest(p->g, o->n);
        if (o->largest <= o->tolerance) return NPR_OK;
        direction(p);
        NPR_TRY(search_line(p, state->held ? 1 : first, &f_next, &found));
        count_tried(p);
        if (!found) return NPR_OK;
        go(p, f_next);
        if (o->step) NPR_TRY(o->step(o->self));
    }
    o->largest = largest(p->g, o->n);
    return NPR_OK;
}

npr_status npr_lbfgs_make(npr_lbfgs *o)
{
    o->bytes = sizeof *o->state + (2 + 2 * KEPT) * o->n * sizeof(double);
    o->state = npr_alloc(o->bytes, 1, "L-BFGS");
    o->work = npr_alloc_aligned(3 * o->n, sizeof *o->work, "L-BFGS");
    if (!o->state || !o->work) return npr_last();
    o->state->newest = KEPT - 1;
    o->x = (double *)(o->state + 1);
    return NPR_OK;
}

void npr_lbfgs_free(npr_lbfgs *o)
{
    free(o->state);
    free(o->work);
}

npr_status npr_lbfgs_run(npr_lbfgs *o)
{
    size_t n = o->n;
    descent p = {.o = o, .state = o->state, .x = o->x, .d = o->work};
    p.g = p.x + n;
    p.s = p.g + n;
    p.y = p.s + KEPT * n;
    p.x_next = p.d + n;
    p.g_next = p.x_next + n;
    return descend(&p);
}
