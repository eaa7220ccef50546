/* fewshot_mpi.c - few-shot priming: several numbers of shots of each class, each drawn several times,
 * together with the pool and without it. See solve.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "prime/solve.h"

/* What the draws of one number of shots came to. */
typedef struct spread {
    int n;
    double top1, squares, mean, mean_squares, alpha; /* sums */
} spread;

typedef struct study {
    const npr_solve *s;
    FILE *table;
} study;

static double mean_of(double sum, int n)
{
    return sum / n;
}

/* Standard deviation of the sample. */
static double deviation(double sum, double squares, int n)
{
    return n > 1 ? sqrt(fmax(0, (squares - sum * sum / n) / (n - 1))) : 0;
}

static npr_status try_head(const npr_comm *comm, const study *f, const npr_learned *l, npr_accuracy *found)
{
    npr_candidate c = {.name = "primed", .w = l->primed, .rival = -1};
    npr_trial t = {
        .set = f->s->test, .what = "evaluation", .candidate = &c, .n = 1, .before = -1, .after = -1};
    npr_status st = npr_trial_run(comm, f->s, &t);
    if (!st) *found = npr_eval_accuracy(&c.eval);
    npr_trial_free(&t);
    return st;
}

/* One draw, with or without the pool. */
static npr_status try_draw(const npr_comm *comm, const study *f, int shots, int seed, int with, spread *into)
{
    const npr_solve *s = f->s;
    npr_draw draw = {0};
    npr_learned l = {0};
    npr_accuracy found = {0};
    npr_status st = npr_draw_make(&s->deck, s->text.classes, shots, s->job->seed + (uint64_t)seed, &draw);
    st = npr_agree(comm, st, "few-shot");
    npr_material m = npr_solve_material(s, &draw);
    if (!with) m.pool = NULL;
    if (!st) st = npr_learn(comm, s, &m, 0, &l);
    if (!st) st = try_head(comm, f, &l, &found);
    if (!st) {
        char key[80];
        snprintf(key, sizeof key, "result.fewshot.%d.%s.%d.top1", shots, with ? "pool" : "alone", seed);
        npr_record_real(s->rec, key, found.top1);
        fprintf(f->table, "%d\t%s\t%d\t%lld\t%.9g\t%.9g\t%.9g\n", shots, with ? "pool" : "alone", seed,
                (long long)draw.rows, l.alpha, found.top1, found.mean);
        into->n++;
        into->top1 += found.top1;
        into->squares += found.top1 * found.top1;
        into->mean += found.mean;
        into->mean_squares += found.mean * found.mean;
        into->alpha += l.alpha;
    }
    npr_learned_free(&l);
    npr_draw_free(&draw);
    return st;
}

static void record_spread(const npr_solve *s, int shots, int with, const spread *v)
{
    const struct {
        const char *field;
        double value;
    } line[] = {{"top1", mean_of(v->top1, v->n)},
                {"top1_sd", deviation(v->top1, v->squares, v->n)},
                {"mean", mean_of(v->mean, v->n)},
                {"mean_sd", deviation(v->mean, v->mean_squares, v->n)},
                {"alpha", mean_of(v->alpha, v->n)}};
    for (size_t i = 0; i < sizeof line / sizeof *line; i++) {
        char key[80];
        snprintf(key, sizeof key, "result.fewshot.%d.%s.%s", shots, with ? "pool" : "alone", line[i].field);
        npr_record_real(s->rec, key, line[i].value);
    }
    npr_info(s->log, "%3d shots %s: %.2f %% +- %.2f over %d draws", shots,
             with ? "and the pool" : "alone       ", 100 * line[0].value, 100 * line[1].value, v->n);
}

/* Without shots there is one draw, and none without the pool. */
static npr_status try_number(const npr_comm *comm, const study *f, int shots, int with)
{
    spread v = {0};
    int draws = shots ? f->s->job->seeds : 1;
    if (with ? !f->s->pool : !shots) return NPR_OK;
    for (int seed = 0; seed < draws; seed++) NPR_TRY(try_draw(comm, f, shots, seed, with, &v));
    record_spread(f->s, shots, with, &v);
    return NPR_OK;
}

npr_status npr_fewshot(const npr_comm *comm, const npr_solve *s, char **table)
{
    size_t n = 0;
    *table = NULL;
    study f = {s, open_memstream(table, &n)};
    npr_status st = f.table ? NPR_OK : npr_fail(NPR_EINTERNAL, "out of memory: the table of shots");
    st = npr_agree(comm, st, "few-shot");
    if (f.table) fprintf(f.table, "shots\twith\tdraw\trows\talpha\ttop1\tmean\n");
    npr_record_int(s->rec, "result.fewshot.draws", s->job->seeds);
    for (int i = 0; i < s->numbers && !st; i++)
        for (int with = 1; with >= 0 && !st; with--) st = try_number(comm, &f, s->number[i], with);
    if (f.table && fclose(f.table) && !st) st = npr_fail(NPR_EINTERNAL, "out of memory: the table of shots");
    return npr_agree(comm, st, "few-shot");
}
