/* bench_train_mpi.c - npr_bench_training(): the probe and fine-tuning themselves, on made-up rows in memory.
 * See include/npr/bench.h. */
#include <math.h>
#include <stdlib.h>

#include "base/half.h"
#include "base/measure.h"
#include "base/mem.h"
#include "base/rng.h"
#include "npr/bench.h"
#include "prime/train.h"

enum { ROWS = 1024, FEW = 256, ITERATIONS = 20, SMALL = 64, LARGE = 512, REPEATS_MAX = 99 };

typedef struct bench {
    const npr_comm *comm;
    npr_train t;
    npr_head text;
    float *out; /* [classes][dim] */
    npr_solve_job job;
    npr_solve solve;
    npr_plan_machine *m;
} bench;

/* Unit vectors, about, with labels at random. */
static npr_status make_rows(bench *b, int classes, int dim)
{
    size_t n = ROWS, d = (size_t)dim, cells = (size_t)classes * d;
    b->t = (npr_train){.dim = dim, .atoms = ROWS / NPR_ATOM_ROWS};
    b->t.emb = npr_alloc_aligned(n * d, sizeof *b->t.emb, "training rows");
    b->t.label = npr_alloc(n, sizeof *b->t.label, "training rows");
    b->t.start = npr_alloc((size_t)b->t.atoms + 1, sizeof *b->t.start, "training rows");
    b->text = (npr_head){.classes = classes, .dim = dim};
    b->text.w = npr_alloc_aligned(cells, sizeof *b->text.w, "a head");
    b->out = npr_alloc_aligned(cells, sizeof *b->out, "a head");
    if (!b->t.emb || !b->t.label || !b->t.start || !b->text.w || !b->out) return npr_last();
    npr_rng r = npr_rng_make(1, (uint64_t)b->comm->rank);
    float scale = 1 / sqrtf((float)dim);
    for (size_t i = 0; i < n * d; i++) b->t.emb[i] = npr_half_round(scale * (float)npr_rng_normal(&r));
    for (size_t i = 0; i < n; i++) b->t.label[i] = (int32_t)npr_rng_below(&r, classes);
    for (size_t i = 0; i < cells; i++) b->text.w[i] = scale * (float)npr_rng_normal(&r);
    for (int64_t a = 0; a <= b->t.atoms; a++) b->t.start[a] = a * NPR_ATOM_ROWS;
    return NPR_OK;
}

/* The first `rows` rows, as all there are. */
static npr_status some_rows(const bench *b, int64_t rows, npr_train *t, npr_gradient *g)
{
    *t = b->t;
    t->rows = rows;
    t->atoms = t->last = rows / NPR_ATOM_ROWS;
    return npr_gradient_make(t, b->text.classes, b->job.threads, b->job.training.scale, g);
}

/* Seconds of a training on the first `rows` rows; iterations and evaluations of a probe. */
static npr_status train(bench *b, int probe, int64_t rows, double *seconds, double count[2])
{
    static const char *const key[2] = {"result.training.iterations", "result.training.evaluations"};
    npr_gradient g = {0};
    npr_checkpoint none = {.log = b->solve.log};
    npr_train some;
    npr_status st = some_rows(b, rows, &some, &g);
    b->solve.rec = npr_record_make();
    if (!st && !b->solve.rec) st = npr_last();
    double start = npr_now();
    if (!st) st = (probe ? npr_train_probe : npr_train_finetune)(b->comm, &b->solve, &g, 1, &none, b->out);
    *seconds = npr_now() - start;
    for (int i = 0; i < 2; i++) {
        const char *text = st ? NULL : npr_record_get(b->solve.rec, key[i]);
        count[i] = text ? strtod(text, NULL) : NAN;
    }
    npr_record_free(b->solve.rec);
    npr_gradient_free(&g);
    return st;
}

/* Seconds of one gradient over the first `rows` rows, as the probe takes it. */
static npr_status gradient_seconds(bench *b, int64_t rows, int repeats, double *seconds)
{
    int64_t unit[ROWS / NPR_UNIT_ROWS];
    double t[REPEATS_MAX];
    npr_gradient g = {0};
    npr_train some;
    npr_status st = some_rows(b, rows, &some, &g);
    for (int64_t u = 0; u < rows / NPR_UNIT_ROWS; u++) unit[u] = u;
    for (int i = -1; i < repeats && !st; i++) { /* the first touches the memory */
        double start = npr_now();
        npr_gradient_run(&g, b->text.w, unit, rows / NPR_UNIT_ROWS, NPR_UNIT_ATOMS);
        if (i >= 0) t[i] = npr_now() - start;
    }
    npr_gradient_free(&g);
    if (!st) *seconds = npr_measure_median(t, repeats);
    return st;
}

/* A gradient, and what an iteration costs besides those it takes. */
static npr_status probe_rates(bench *b, int repeats)
{
    double t[REPEATS_MAX], count[2], all, few, cells = (double)b->text.classes * b->text.dim;
    NPR_TRY(gradient_seconds(b, ROWS, repeats, &all));
    NPR_TRY(gradient_seconds(b, FEW, repeats, &few));
    for (int i = 0; i < repeats; i++) {
        NPR_TRY(train(b, 1, FEW, &t[i], count));
        t[i] = (t[i] - few * count[1]) / count[0];
    }
    b->m->gradient = 4 * ROWS * cells / all;
    b->m->gradient_cell = fmax(npr_measure_median(t, repeats), 0) / cells;
    return NPR_OK;
}

/* The same rows in small steps and in large ones. */
static npr_status step_rates(bench *b, int repeats)
{
    double small[REPEATS_MAX], large[REPEATS_MAX], n[2], cells = (double)b->text.classes * b->text.dim;
    for (int i = 0; i < repeats; i++) {
        b->job.training.batch = SMALL;
        NPR_TRY(train(b, 0, ROWS, &small[i], n));
        b->job.training.batch = LARGE;
        NPR_TRY(train(b, 0, ROWS, &large[i], n));
    }
    double steps = ROWS / SMALL - ROWS / LARGE, whole = npr_measure_median(large, repeats);
    double step = fmax(npr_measure_median(small, repeats) - whole, 0) / steps;
    b->m->step_cell = step / cells;
    b->m->step = 4.0 * ROWS * cells / fmax(whole - ROWS / LARGE * step, 0.1 * whole);
    return NPR_OK;
}

npr_status npr_bench_training(const npr_comm *comm, const npr_log *log, const npr_bench_means_job *job,
                              npr_plan_machine *m)
{
    bench b = {.comm = comm, .m = m};
    int repeats = job->repeats < REPEATS_MAX ? job->repeats : REPEATS_MAX;
    b.job = (npr_solve_job){.threads = job->threads,
                            .training = {.iterations = ITERATIONS,
                                         .l2 = 1e-6,
                                         .tolerance = 1e-12,
                                         .epochs = 1,
                                         .rate = 1e-3,
                                         .momentum = 0.9,
                                         .decay = 1e-4,
                                         .scale = 1}};
    npr_status st = make_rows(&b, job->classes, job->dim);
    b.solve = (npr_solve){.log = log, .job = &b.job, .text = b.text};
    if (!st) st = probe_rates(&b, repeats);
    if (!st) st = step_rates(&b, repeats);
    npr_train_free(&b.t);
    free(b.text.w);
    free(b.out);
    return st;
}
