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

/* All that the next step depends on; behind it in memory [n] the head, [n] momentum. */
typedef struct state {
    int64_t steps; /* made */
    double loss;   /* sum over the rows of this epoch so far */
} state;

typedef struct tuner {
    const npr_comm *comm;
    npr_gradient *g;
    const npr_training *how;
    uint64_t seed;
    size_t n;
    int64_t batch, steps; /* atoms of a step; steps of an epoch */
    state *state;
    double *w, *v; /* [n] head, momentum: in the state */
    float *now;    /* [n] the head as the GEMMs take it */
    int64_t *mine; /* [batch] this rank's atoms of a step */
    npr_checkpoint *checkpoint;
    npr_progress *progress;
} tuner;

static npr_status make(tuner *u, const float *text)
{
    u->checkpoint->bytes = sizeof *u->state + 2 * u->n * sizeof *u->w;
    u->checkpoint->state = u->state = npr_alloc(u->checkpoint->bytes, 1, "training");
    u->now = npr_alloc_aligned(u->n, sizeof *u->now, "training");
    u->mine = npr_alloc((size_t)u->batch, sizeof *u->mine, "training");
    if (!u->state || !u->now || !u->mine) return npr_last();
    u->w = (double *)(u->state + 1);
    u->v = u->w + u->n;
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
    u->state->loss += sum[u->n];
    double rows = sum[u->n + 1], factor = rows > 0 ? (double)u->g->scale / rows : 0;
    for (size_t i = 0; i < u->n; i++) {
        u->v[i] = u->how->momentum * u->v[i] + (factor * sum[i] + u->how->decay * u->w[i]);
        u->w[i] -= rate * u->v[i];
    }
}

/* Between steps, now and then: keep the state, and see whether to go on. */
static npr_status pause(tuner *u)
{
    npr_status st = npr_checkpoint_keep(u->checkpoint);
    if (npr_fault("solve.train")) st = npr_fail(NPR_EIO, "injected fault at solve.train");
    if (!st && npr_stop_requested())
        st = npr_fail(NPR_ESTOP, "stopped on request during training; run the same command again");
    st = npr_agree(u->comm, st, "training");
    if (st == NPR_ESTOP) npr_checkpoint_leave(u->checkpoint);
    return st;
}

static npr_status run(tuner *u)
{
    for (int64_t k = u->state->steps, all = u->how->epochs * u->steps; k < all; k++) {
        if (k % 16 == 0) NPR_TRY(pause(u));
        if (k % u->steps == 0) u->state->loss = 0;
        step(u, (int)(k / u->steps), k % u->steps);
        u->state->steps = k + 1;
        if (!u->comm->rank) npr_progress_add(u->progress, 1);
    }
    return NPR_OK;
}

/* From what an earlier run kept, or from the text head. */
static npr_status tune(tuner *u, int told)
{
    int found;
    int64_t all = u->how->epochs * u->steps;
    NPR_TRY(npr_checkpoint_read(u->comm, u->checkpoint, &found));
    if (found)
        npr_info(u->checkpoint->log, "fine-tuning goes on after %lld of %lld steps",
                 (long long)u->state->steps, (long long)all);
    if (told)
        u->progress =
            npr_progress_start(u->comm, u->checkpoint->log, "fine-tuning", "steps", all - u->state->steps);
    npr_status st = run(u);
    npr_progress_end(u->comm, u->progress);
    return st;
}

npr_status npr_train_finetune(const npr_comm *comm, const npr_solve *s, npr_gradient *g, int told,
                              npr_checkpoint *checkpoint, float *out)
{
    const npr_training *how = &s->job->training;
    tuner u = {.comm = comm,
               .g = g,
               .how = how,
               .seed = s->job->seed,
               .n = g->sum_each - 2,
               .checkpoint = checkpoint};
    u.batch = how->batch < NPR_ATOM_ROWS ? 1 : how->batch / NPR_ATOM_ROWS;
    u.steps = (g->t->atoms + u.batch - 1) / u.batch;
    npr_status st = npr_agree(comm, make(&u, s->text.w), "training");
    if (!st) st = tune(&u, told);
    for (size_t i = 0; i < u.n && !st; i++) out[i] = (float)u.w[i];
    if (!st && told) {
        npr_record_int(s->rec, "result.training.steps", u.state->steps);
        npr_record_real(s->rec, "result.training.loss", u.state->loss / (double)g->t->rows);
    }
    free(u.state);
    free(u.now);
    free(u.mine);
    return st;
}
