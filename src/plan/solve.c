/* solve.c - npr-solve: class means, the trainings, and evaluation. See npr/plan.h. */
#include <math.h>

#include "plan/phase.h"

enum { TRAINED_ROW = 2 }; /* copies of a row while rows change hands */

/* Rows are dealt anew; then per evaluation (probe) or step (fine-tuning) two products over rows, a pass over
 * the values of the head, and one reduction of them all. */
static void train_seconds(const npr_plan_solve_shape *s, const npr_plan_cluster *c, const npr_plan_machine *m,
                          npr_plan_needs *n)
{
    const npr_plan_training *t = &s->training;
    double cells = s->classes * s->dim, flop = 4 * s->pool / c->ranks * cells, team = npr_plan_team(c, m);
    double rounds = t->probe ? t->iterations : t->epochs * ceil(s->pool / t->batch);
    double sums = t->probe ? t->evaluations : rounds;
    double passes = t->probe ? t->evaluations : t->epochs;
    double rate = t->probe ? m->gradient : m->step, cell = t->probe ? m->gradient_cell : m->step_cell;
    double row = 2 * s->dim + 24;
    npr_plan_add(n, "deal", t->trainings * npr_plan_message(c, s->pool * row / c->ranks),
                 "rows sent to their ranks: alpha log2(ranks) + bytes / bandwidth");
    npr_plan_add(n, "gradients", t->trainings * passes * flop / (rate * team),
                 t->probe ? "evaluations x 4 x rows of a rank x classes x dim / gradient"
                          : "epochs x 4 x rows of a rank x classes x dim / step");
    npr_plan_add(n, "descent", t->trainings * rounds * cells * cell,
                 t->probe ? "iterations x classes x dim x gradient_cell"
                          : "steps x classes x dim x step_cell");
    npr_plan_add(n, "gradient_sums", t->trainings * sums * npr_plan_message(c, 2 * 8 * cells),
                 "evaluations or steps x (alpha log2(ranks) + bytes / bandwidth)");
}

static void solve_seconds(const npr_plan_solve_shape *s, const npr_plan_cluster *c, const npr_plan_machine *m,
                          npr_plan_needs *n)
{
    double row = 2 * s->dim + 12, tile = s->tile_rows;
    double pool = npr_plan_busiest(s->pool, tile, c->ranks), test = npr_plan_busiest(s->test, tile, c->ranks);
    double tried = npr_plan_busiest(s->validation, tile, c->ranks), cells = s->classes * s->dim;
    double team = npr_plan_team(c, m);
    npr_plan_add(n, "start", m->pool_start, "sets opened, journals, a head written: as any search");
    npr_plan_add(n, "read", (pool * s->passes + test * s->heads + (s->grid > 0) * tried) * row / m->part_read,
                 "bytes of a rank's tiles / part_read");
    npr_plan_add(n, "sums", (s->passes - s->loo) * pool * 2 * s->dim / m->sums, "bytes of the pool / sums");
    if (s->loo > 0)
        npr_plan_add(n, "loo", s->loo * 4 * pool * cells / (m->loo * team),
                     "4 x rows of the pool x classes x dim / loo");
    npr_plan_add(n, "evaluate",
                 2 * (s->heads * s->candidates * test + s->grid * tried) * cells / (m->argmax * team),
                 "2 x test (validation) rows x classes x dim x heads side by side / argmax");
    npr_plan_add(n, "reduce", npr_plan_message(c, n->sent), "alpha log2(ranks) + bytes / bandwidth");
    if (s->training.trainings > 0) train_seconds(s, c, m, n);
}

npr_plan_needs npr_plan_solve(const npr_plan_solve_shape *s, const npr_plan_cluster *c,
                              const npr_plan_machine *m)
{
    npr_plan_needs n = {.files = 1};
    double row = 2 * s->dim + 12, cells = s->classes * s->dim;
    double longest = fmax(s->pool, s->test), tile = fmin(s->tile_rows, longest);
    double block = 64 * (2 * s->classes + s->dim) * 4; /* scores of a block of rows, per thread */
    /* gradients of a thread; L-BFGS's history or the momentum */
    int trained = s->training.trainings > 0;
    double vectors = trained ? 8 * cells * (c->threads + (s->training.probe ? 26 : 4)) : 0;
    n.read = row * (s->pool * s->passes + s->test * s->heads + s->validation);
    n.disk = cells * 6;
    n.sent = 2 * 8 * cells;
    /* tiles are dealt out whole; rows to train on evenly */
    n.busy = trained ? c->ranks : fmin(ceil(longest / fmax(s->tile_rows, 1)), c->ranks);
    n.memory = cells * (8 + 2 + 4 * (5 + s->baselines)) + vectors + tile * (row + 12) + block * c->threads +
               64 * s->test;
    /* trained on: rows in memory, twice while they change hands */
    if (trained) n.memory += TRAINED_ROW * s->pool * row / c->ranks;
    if (m) solve_seconds(s, c, m, &n);
    return n;
}
