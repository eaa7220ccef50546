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
    npr_checkpoint *checkpoint;
    npr_status kept; /* of the last time the state was kept: on rank 0 only, until the next value() */
    npr_progress *progress;
} probe;

/* Value and gradient at x. */
static npr_status value(void *self, const double *x, double *f, double *gradient)
{
    probe *p = self;
    npr_status st = p->kept;
    if (!st && npr_stop_requested())
        st = npr_fail(NPR_ESTOP, "stopped on request during training; run the same command again");
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
    return NPR_OK;
}

static npr_status step(void *self)
{
    probe *p = self;
    p->kept = npr_checkpoint_keep(p->checkpoint);
    if (!p->comm->rank) npr_progress_add(p->progress, 1);
    return NPR_OK;
}

static npr_status make(probe *p, npr_lbfgs *o)
{
    const npr_train *t = p->g->t;
    p->units = (t->last - t->first + NPR_UNIT_ATOMS - 1) / NPR_UNIT_ATOMS;
    p->unit = npr_alloc((size_t)p->units, sizeof *p->unit, "training");
    p->w = npr_alloc_aligned(p->n, sizeof *p->w, "training");
    if (!p->unit || !p->w) return npr_last();
    for (int64_t i = 0; i < p->units; i++) p->unit[i] = i;
    return npr_lbfgs_make(o);
}

static void record(const npr_solve *s, const probe *p, const npr_lbfgs *o)
{
    npr_record_real(s->rec, "result.training.l2", p->l2);
    npr_record_real(s->rec, "result.training.loss", o->state->f);
    npr_record_real(s->rec, "result.training.gradient", o->largest);
    npr_record_int(s->rec, "result.training.iterations", o->state->done);
    npr_record_int(s->rec, "result.training.evaluations", o->state->evaluations);
    if (o->largest > o->tolerance)
        npr_warn(s->log, "the probe ended after %d iterations with a gradient of %.2g, wanted %.2g",
                 (int)o->state->done, o->largest, o->tolerance);
}

/* From what an earlier run kept, or from zero. A run that is stopped keeps the last whole step. */
static npr_status descend(probe *p, npr_lbfgs *o, int told)
{
    int found;
    p->checkpoint->state = o->state;
    p->checkpoint->bytes = o->bytes;
    NPR_TRY(npr_checkpoint_read(p->comm, p->checkpoint, &found));
    if (found) npr_info(p->checkpoint->log, "the probe goes on after %d iterations", (int)o->state->done);
    if (told)
        p->progress = npr_progress_start(p->comm, p->checkpoint->log, "the probe", "iterations at most",
                                         o->iterations - o->state->done);
    npr_status st = npr_lbfgs_run(o);
    if (st == NPR_ESTOP) npr_checkpoint_leave(p->checkpoint);
    npr_progress_end(p->comm, p->progress);
    return st;
}

npr_status npr_train_probe(const npr_comm *comm, const npr_solve *s, npr_gradient *g, int told,
                           npr_checkpoint *checkpoint, float *out)
{
    const npr_training *how = &s->job->training;
    probe p = {.comm = comm, .g = g, .n = g->sum_each - 2, .checkpoint = checkpoint};
    npr_lbfgs o = {.n = p.n,
                   .iterations = how->iterations,
                   .tolerance = how->tolerance,
                   .value = value,
                   .step = step,
                   .self = &p};
    p.l2 = how->l2 > 0 ? how->l2 : 1 / (double)g->t->rows;
    npr_status st = npr_agree(comm, make(&p, &o), "training");
    if (!st) st = descend(&p, &o, told);
    for (size_t i = 0; i < p.n && !st; i++) out[i] = (float)o.x[i];
    if (!st && told) record(s, &p, &o);
    npr_lbfgs_free(&o);
    free(p.unit);
    free(p.w);
    return st;
}
