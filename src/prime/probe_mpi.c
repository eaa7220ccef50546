/* probe_mpi.c - the linear probe: multinomial logistic regression on the rows, without an intercept,
 *     f(W) = mean of -log softmax(W x)[label] + l2 / 2 |W|^2,
 * which is scikit-learn's LogisticRegression(fit_intercept=False) with C = 1 / (rows l2). Minimised from zero
 * by L-BFGS; one reduction for each evaluation, all else the same on every rank. See train.h. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "prime/train.h"

typedef struct probe {
    const npr_comm *comm;
    npr_gradient *g;
    size_t n;
    double l2;
    float *w;      /* [n] the point as the GEMMs take it */
    int64_t *unit; /* this rank's */
    int64_t units;
    int evaluations;
} probe;

/* Value and gradient at x. */
static npr_status value(void *self, const double *x, double *f, double *gradient)
{
    probe *p = self;
    npr_status st = npr_stop_requested() ? npr_fail(NPR_ESTOP, "stopped on request during training") : NPR_OK;
    if (npr_fault("solve.train")) st = npr_fail(NPR_EIO, "injected fault at solve.train");
    NPR_TRY(npr_agree(p->comm, st, "training"));
    for (size_t i = 0; i < p->n; i++) p->w[i] = (float)x[i];
    npr_gradient_run(p->g, p->w, p->unit, p->units, NPR_UNIT_ATOMS);
    npr_gradient_reduce(p->comm, p->g);
    const double *sum = p->g->sum;
    double rows = sum[p->n + 1], squares = 0;
    for (size_t i = 0; i < p->n; i++) {
        squares += x[i] * x[i];
        gradient[i] = sum[i] / rows + p->l2 * x[i];
    }
    *f = sum[p->n] / rows + p->l2 / 2 * squares;
    p->evaluations++;
    return NPR_OK;
}

static npr_status make(probe *p, npr_lbfgs *o, double **x)
{
    const npr_train *t = p->g->t;
    p->units = (t->last - t->first + NPR_UNIT_ATOMS - 1) / NPR_UNIT_ATOMS;
    p->unit = npr_alloc((size_t)p->units, sizeof *p->unit, "training");
    p->w = npr_alloc_aligned(p->n, sizeof *p->w, "training");
    *x = npr_alloc(p->n, sizeof **x, "training");
    if (!p->unit || !p->w || !*x) return npr_last();
    for (int64_t i = 0; i < p->units; i++) p->unit[i] = i;
    return npr_lbfgs_make(o);
}

static void record(const npr_solve *s, const probe *p, const npr_lbfgs *o)
{
    npr_record_real(s->rec, "result.training.l2", p->l2);
    npr_record_real(s->rec, "result.training.loss", o->f);
    npr_record_real(s->rec, "result.training.gradient", o->largest);
    npr_record_int(s->rec, "result.training.iterations", o->done);
    npr_record_int(s->rec, "result.training.evaluations", p->evaluations);
    if (o->largest > o->tolerance)
        npr_warn(s->log, "the probe ended after %d iterations with a gradient of %.2g, wanted %.2g", o->done,
                 o->largest, o->tolerance);
}

npr_status npr_train_probe(const npr_comm *comm, const npr_solve *s, npr_gradient *g, int told, float *out)
{
    const npr_training *how = &s->job->training;
    probe p = {.comm = comm, .g = g, .n = g->sum_each - 2};
    npr_lbfgs o = {
        .n = p.n, .iterations = how->iterations, .tolerance = how->tolerance, .value = value, .self = &p};
    double *x = NULL;
    p.l2 = how->l2 > 0 ? how->l2 : 1 / (double)g->t->rows;
    npr_status st = npr_agree(comm, make(&p, &o, &x), "training");
    if (!st) st = npr_lbfgs_run(&o, x);
    for (size_t i = 0; i < p.n && !st; i++) out[i] = (float)x[i];
    if (!st && told) record(s, &p, &o);
    free(o.work);
    free(p.unit);
    free(p.w);
    free(x);
    return st;
}
