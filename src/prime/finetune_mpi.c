/* finetune_mpi.c - the text head fine-tuned on the rows: stochastic gradient descent with momentum and weight
 * decay on the cross-entropy of scale x cosines, the learning rate following a cosine down to zero, as the
 * authors' comments name it and PyTorch's SGD computes it: v = momentum v + (g + decay W), W -= rate v.
 *
 * The rows are shuffled once; each epoch shuffles the atoms of 32 rows they are cut into and takes them a
 * batch at a time. One reduction for each step, all else the same on every rank. See train.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "prime/train.h"

typedef struct tuner {
    const npr_comm *comm;
    npr_gradient *g;
    const npr_training *how;
    uint64_t seed;
    size_t n;
    int64_t batch, steps; /* atoms of a step; steps of an epoch */
    double *w, *v;        /* [n] head, momentum */
    float *now;           /* [n] the head as the GEMMs take it */
    int64_t *mine;        /* [batch] this rank's atoms of a step */
    double loss;          /* mean over the rows of the last epoch */
} tuner;

static npr_status make(tuner *u, const float *text)
{
    u->w = npr_alloc_aligned(u->n, sizeof *u->w, "training");
    u->v = npr_alloc(u->n, sizeof *u->v, "training");
    u->now = npr_alloc_aligned(u->n, sizeof *u->now, "training");
    u->mine = npr_alloc((size_t)u->batch, sizeof *u->mine, "training");
    if (!u->w || !u->v || !u->now || !u->mine) return npr_last();
    for (size_t i = 0; i < u->n; i++) u->w[i] = (double)text[i];
    return NPR_OK;
}

/* Atoms [from, to) of this epoch's order that this rank has. */
static int64_t find_mine(const tuner *u, int epoch, int64_t from, int64_t to)
{
    const npr_train *t = u->g->t;
    int64_t n = 0;
    uint64_t seed = npr_mix64(u->seed + 1) + (uint64_t)epoch;
    for (int64_t i = from; i < to; i++) {
        int64_t atom = npr_rng_shuffled(seed, t->atoms, i);
        if (atom >= t->first && atom < t->last) u->mine[n++] = atom - t->first;
    }
    return n;
}

static void step(tuner *u, int epoch, int64_t at)
{
    const npr_train *t = u->g->t;
    const double *sum = u->g->sum;
    int64_t from = at * u->batch, to = from + u->batch < t->atoms ? from + u->batch : t->atoms;
    double share = (double)(epoch * u->steps + at) / (double)(u->how->epochs * u->steps);
    double rate = u->how->rate * 0.5 * (1 + cos(3.14159265358979323846 * share));
    for (size_t i = 0; i < u->n; i++) u->now[i] = (float)u->w[i];
    npr_gradient_run(u->g, u->now, u->mine, find_mine(u, epoch, from, to), 1);
    npr_gradient_reduce(u->comm, u->g);
    u->loss += sum[u->n];
    double rows = sum[u->n + 1], factor = rows > 0 ? (double)u->g->scale / rows : 0;
    for (size_t i = 0; i < u->n; i++) {
        u->v[i] = u->how->momentum * u->v[i] + (factor * sum[i] + u->how->decay * u->w[i]);
        u->w[i] -= rate * u->v[i];
    }
}

static npr_status run(tuner *u)
{
    for (int epoch = 0; epoch < u->how->epochs; epoch++) {
        u->loss = 0;
        for (int64_t at = 0; at < u->steps; at++) {
            if (at % 16 == 0) {
                npr_status st =
                    npr_fault("solve.train") ? npr_fail(NPR_EIO, "injected fault at solve.train") : NPR_OK;
                if (npr_stop_requested()) st = npr_fail(NPR_ESTOP, "stopped on request during training");
                NPR_TRY(npr_agree(u->comm, st, "training"));
            }
            step(u, epoch, at);
        }
        u->loss /= (double)u->g->t->rows;
    }
    return NPR_OK;
}

npr_status npr_train_finetune(const npr_comm *comm, const npr_solve *s, npr_gradient *g, int told, float *out)
{
    const npr_training *how = &s->job->training;
    tuner u = {.comm = comm, .g = g, .how = how, .seed = s->job->seed, .n = g->sum_each - 2};
    u.batch = how->batch < NPR_ATOM_ROWS ? 1 : how->batch / NPR_ATOM_ROWS;
    u.steps = (g->t->atoms + u.batch - 1) / u.batch;
    npr_status st = npr_agree(comm, make(&u, s->text.w), "training");
    if (!st) st = run(&u);
    for (size_t i = 0; i < u.n && !st; i++) out[i] = (float)u.w[i];
    if (!st && told) {
        npr_record_int(s->rec, "result.training.steps", how->epochs * u.steps);
        npr_record_real(s->rec, "result.training.loss", u.loss);
    }
    free(u.w);
    free(u.v);
    free(u.now);
    free(u.mine);
    return st;
}
