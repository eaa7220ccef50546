/* inputs_mpi.c - options and sets of a solve, checked against one another. See solve.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "npr/plan.h"
#include "prime/solve.h"

/* ---- options ------------------------------------------------------------------------------------------- */

static npr_status check_method(npr_solve *s)
{
    static const char *const name[] = {"mean", "probe", "finetune", "wise"};
    int i = 0;
    while (i < 4 && strcmp(s->job->method, name[i]) != 0) i++;
    if (i == 4)
        return npr_fail(NPR_EUSAGE, "--method=%s: wanted mean, probe, finetune or wise", s->job->method);
    s->method = (npr_method)i;
    if (s->from == NPR_ALPHA_LOO && s->method == NPR_METHOD_WISE)
        return npr_fail(NPR_EUSAGE,
                        "--alpha=loo is for class means; a fine-tuned head has seen every row: use "
                        "--alpha=val or a number");
    return NPR_OK;
}

/* "0,1,2,5" */
static npr_status read_numbers(npr_solve *s)
{
    const char *at = s->job->shots_per_class;
    if (!at) return NPR_OK;
    if (!s->job->shots) return npr_fail(NPR_EUSAGE, "--shots-per-class draws from --shots=SET");
    do {
        char *end;
        errno = 0;
        long n = strtol(at, &end, 10);
        if (end == at || errno || n < 0 || n > 1 << 24 || (*end && *end != ',') ||
            s->numbers == NPR_SHOT_NUMBERS)
            return npr_fail(NPR_EUSAGE, "--shots-per-class=%s: wanted at most %d numbers such as 0,1,2,5",
                            s->job->shots_per_class, NPR_SHOT_NUMBERS);
        s->number[s->numbers++] = (int)n;
        at = *end ? end + 1 : end;
    } while (*at);
    return NPR_OK;
}

static npr_status check_files(const npr_solve_job *job)
{
    const struct {
        int given;
        const char *option;
    } of_test[] = {{job->sweep, "--sweep"},
                   {job->sweep_table != NULL, "--sweep-table"},
                   {job->predictions != NULL, "--predictions"},
                   {job->per_class != NULL, "--per-class"},
                   {job->baseline != NULL, "--baseline"},
                   {job->classes_subset != NULL, "--classes-subset"},
                   {job->shots_per_class != NULL, "--shots-per-class"}};
    for (size_t i = 0; i < sizeof of_test / sizeof *of_test; i++)
        if (of_test[i].given && !job->test)
            return npr_fail(NPR_EUSAGE, "%s needs a labelled test set: --test=SET", of_test[i].option);
    return NPR_OK;
}

static npr_status check_job(npr_solve *s)
{
    const npr_solve_job *job = s->job;
    NPR_TRY(npr_alpha_parse(job->alpha, &s->from, &s->given));
    NPR_TRY(npr_alpha_steps(job->step, &s->steps, &s->decimals));
    if (s->from == NPR_ALPHA_RULE && !(job->sigma > 0))
        return npr_fail(NPR_EUSAGE, "--sigma=%g: wanted a number above 0, in pool images per class",
                        job->sigma);
    if ((s->from == NPR_ALPHA_VALIDATION) != (job->validation != NULL))
        return npr_fail(NPR_EUSAGE, "--alpha=val and --validation=SET go together");
    if (!job->pool && !job->shots) return npr_fail(NPR_EUSAGE, "wanted --pool=SET, --shots=SET or both");
    if (job->exclude && !job->pool) return npr_fail(NPR_EUSAGE, "--exclude leaves rows of --pool out");
    if (job->pool == NULL && !strcmp(job->weight, "count"))
        return npr_fail(NPR_EUSAGE, "--weight=count is for --pool");
    NPR_TRY(check_files(job));
    NPR_TRY(check_method(s));
    return read_numbers(s);
}

/* ---- sets ---------------------------------------------------------------------------------------------- */

/* A set that must be comparable with the head. NULL path: none. */
static npr_status open_other(const npr_comm *comm, const npr_solve *s, const char *path, const char *key,
                             npr_set **set)
{
    if (!path) return NPR_OK;
    npr_status st = npr_set_open_all(comm, path, set);
    if (st) {
        *set = NULL;
        return st;
    }
    NPR_TRY(npr_set_match(s->head, *set));
    if (strcmp(s->head->model, (*set)->model) != 0)
        npr_warn(s->log, "%s says model %s, %s says %s: nothing tells that their vectors can be compared",
                 s->head->path, s->head->model, (*set)->path, (*set)->model);
    npr_record_text(s->rec, key, (*set)->digest);
    return NPR_OK;
}

/* The k-th of the heads named with commas between. */
static npr_status open_baseline(const npr_comm *comm, npr_solve *s, const char *name, size_t n)
{
    char key[48], *path = npr_alloc(n + 1, 1, "a path");
    int k = s->baselines;
    npr_status st = path ? NPR_OK : npr_last();
    st = npr_agree(comm, st, "baselines");
    if (st) {
        free(path);
        return st;
    }
    memcpy(path, name, n);
    snprintf(key, sizeof key, "check.input_baseline.%d", k + 1);
    st = open_other(comm, s, path, key, &s->baseline[k]);
    free(path);
    if (!st) st = npr_head_read_all(comm, s->baseline[k], &s->other[k]);
    if (s->baseline[k]) s->baselines++;
    if (!st && s->other[k].classes != s->text.classes)
        st = npr_fail(NPR_EENV, "%s: a head of %d classes; %s has %d", s->baseline[k]->path,
                      s->other[k].classes, s->head->path, s->text.classes);
    return st;
}

static npr_status open_baselines(const npr_comm *comm, npr_solve *s)
{
    const char *at = s->job->baseline;
    size_t names = 1;
    if (!at) return NPR_OK;
    for (const char *c = at; *c; c++) names += *c == ',';
    s->baseline = npr_alloc(names, sizeof *s->baseline, "baselines");
    s->other = npr_alloc(names, sizeof *s->other, "baselines");
    NPR_TRY(npr_agree(comm, s->baseline && s->other ? NPR_OK : npr_last(), "baselines"));
    for (size_t n; *at; at += n + (at[n] == ',')) {
        n = strcspn(at, ",");
        if (n == 0) return npr_fail(NPR_EUSAGE, "--baseline=%s: an empty name", s->job->baseline);
        NPR_TRY(open_baseline(comm, s, at, n));
    }
    return NPR_OK;
}

/* The subset, read by rank 0, who knows the names. */
static npr_status read_subset(const npr_comm *comm, npr_solve *s)
{
    if (!s->job->classes_subset) return NPR_OK;
    npr_status st = comm->rank == 0 ? npr_subset_read(s->job->classes_subset, &s->text, &s->subset) : NPR_OK;
    NPR_TRY(npr_agree(comm, st, "classes"));
    size_t classes = (size_t)s->text.classes;
    if (comm->rank != 0) {
        s->subset.class = npr_alloc(classes, sizeof *s->subset.class, "a subset of the classes");
        s->subset.number = npr_alloc(classes, sizeof *s->subset.number, "a subset of the classes");
        if (!s->subset.class || !s->subset.number) st = npr_last();
    }
    NPR_TRY(npr_agree(comm, st, "classes"));
    npr_bcast(comm, &s->subset.n, sizeof s->subset.n, 0);
    npr_bcast(comm, s->subset.class, classes * sizeof *s->subset.class, 0);
    npr_bcast(comm, s->subset.number, classes * sizeof *s->subset.number, 0);
    return NPR_OK;
}

static npr_status check_labels_of_shots(const npr_solve *s)
{
    for (int64_t i = 0; i < s->deck.rows; i++)
        if (s->deck.label[i] >= s->text.classes)
            return npr_fail(NPR_EDATA,
                            "%s: the row with id %lld has label %d; the head has the classes 0 to %d",
                            s->shots->path, (long long)s->deck.id[i], s->deck.label[i], s->text.classes - 1);
    return NPR_OK;
}

static npr_status check_sets(const npr_solve *s)
{
    if (s->validation && s->test && !strcmp(s->validation->digest, s->test->digest))
        return npr_fail(NPR_EUSAGE, "--validation=%s is the test set: alpha is not chosen on test labels",
                        s->validation->path);
    return NPR_OK;
}

/* By rank 0, who knows the names. */
static npr_status check_names(const npr_comm *comm, const npr_solve *s)
{
    const npr_set *const labelled[] = {s->shots, s->test, s->validation};
    npr_status st = NPR_OK;
    for (size_t i = 0; i < sizeof labelled / sizeof *labelled && !st; i++)
        if (labelled[i] && comm->rank == 0) st = npr_solve_check_names(s, labelled[i]);
    return npr_agree(comm, st, "classes");
}

npr_status npr_solve_inputs_read(const npr_comm *comm, npr_solve *s)
{
    const npr_solve_job *job = s->job;
    NPR_TRY(check_job(s));
    npr_status st = npr_set_open_all(comm, job->head, &s->head);
    if (st) {
        s->head = NULL;
        return st;
    }
    npr_record_text(s->rec, "check.input_head", s->head->digest);
    NPR_TRY(open_other(comm, s, job->pool, "check.input_pool", &s->pool));
    NPR_TRY(open_other(comm, s, job->shots, "check.input_shots", &s->shots));
    NPR_TRY(open_other(comm, s, job->test, "check.input_test", &s->test));
    NPR_TRY(open_other(comm, s, job->validation, "check.input_validation", &s->validation));
    NPR_TRY(open_other(comm, s, job->exclude, "check.input_exclude", &s->exclude));
    NPR_TRY(check_sets(s));
    NPR_TRY(npr_head_read_all(comm, s->head, &s->text));
    NPR_TRY(check_names(comm, s));
    NPR_TRY(open_baselines(comm, s));
    NPR_TRY(read_subset(comm, s));
    if (job->dry_run) return NPR_OK;
    if (s->exclude) NPR_TRY(npr_ids_read(comm, s->log, s->exclude, job->tile_rows, &s->without));
    if (!s->numbers) return NPR_OK;
    NPR_TRY(npr_deck_read(comm, s->log, s->shots, job->tile_rows, &s->deck));
    return npr_agree(comm, check_labels_of_shots(s), "shots");
}

void npr_solve_inputs_free(npr_solve *s)
{
    for (int k = 0; k < s->baselines; k++) {
        npr_set_free(s->baseline[k]);
        npr_head_free(&s->other[k]);
    }
    free(s->baseline);
    free(s->other);
    npr_head_free(&s->text);
    npr_set_free(s->head);
    npr_set_free(s->pool);
    npr_set_free(s->shots);
    npr_set_free(s->test);
    npr_set_free(s->validation);
    npr_set_free(s->exclude);
    npr_ids_free(&s->without);
    npr_deck_free(&s->deck);
    npr_subset_free(&s->subset);
}

npr_material npr_solve_material(const npr_solve *s, const npr_draw *draw)
{
    return (npr_material){.pool = s->pool,
                          .shots = s->shots,
                          .draw = draw,
                          .without = s->exclude ? &s->without : NULL,
                          .counted = !strcmp(s->job->weight, "count"),
                          .tile_rows = s->job->tile_rows};
}

/* ---- the plan ------------------------------------------------------------------------------------------ */

static int64_t rows_of(const npr_set *set)
{
    return set ? set->rows : 0;
}

void npr_solve_plan(const npr_solve *s)
{
    double learnings = 1 + (s->exclude != NULL);
    for (int i = 0; i < s->numbers; i++) learnings += s->number[i] ? s->job->seeds * (s->pool ? 2 : 1) : 1;
    npr_plan_solve_shape shape = {.classes = s->text.classes,
                                  .dim = s->text.dim,
                                  .pool = (double)(rows_of(s->pool) + rows_of(s->shots)),
                                  .test = (double)rows_of(s->test),
                                  .tile_rows = (double)s->job->tile_rows,
                                  .heads = learnings,
                                  .candidates = 3 + s->baselines,
                                  .baselines = s->baselines,
                                  .training = {.probe = s->method == NPR_METHOD_PROBE,
                                               .iterations = s->job->training.iterations,
                                               .evaluations = s->job->training.iterations,
                                               .epochs = s->job->training.epochs,
                                               .batch = s->job->training.batch}};
    int trained = s->method != NPR_METHOD_MEAN;
    shape.training.trainings = trained ? learnings : 0;
    double chosen = learnings - (s->exclude != NULL); /* the head with all rows has the alpha of the other */
    shape.loo = s->from == NPR_ALPHA_LOO ? chosen : 0;
    shape.passes = learnings * (1 + trained) + shape.loo;
    shape.validation = (double)rows_of(s->validation);
    shape.grid = s->from == NPR_ALPHA_VALIDATION ? chosen * (s->steps + 1) : 0;
    if (s->job->sweep || s->job->sweep_table) shape.candidates += (s->steps + 1) / learnings; /* once */
    npr_plan_dry_run *dry = s->job->dry_run;
    npr_plan_cluster here = npr_plan_here(dry, s->job->threads);
    npr_plan_needs n = dry->needs = npr_plan_solve(&shape, &here, dry->machine);
    npr_record_int(s->rec, "plan.classes", s->text.classes);
    npr_record_int(s->rec, "plan.dim", s->text.dim);
    npr_record_int(s->rec, "plan.pool_rows", (int64_t)shape.pool);
    npr_record_int(s->rec, "plan.test_rows", (int64_t)shape.test);
    npr_record_int(s->rec, "plan.heads_learnt", (int64_t)learnings);
    npr_record_int(s->rec, "plan.bytes_read", (int64_t)n.read);
    npr_record_int(s->rec, "plan.bytes_written", (int64_t)n.disk);
    npr_record_int(s->rec, "plan.memory_per_rank", (int64_t)n.memory);
}
