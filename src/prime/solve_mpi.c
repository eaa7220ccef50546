/* solve_mpi.c - the stage: pool and text head in; primed head, accuracies and a record out. See npr_solve_job
 * in include/npr/prime.h. Nothing here depends on how rows fall to ranks: sums are exact, predictions are
 * made row by row. The stage is quick, so a run that finds its head complete still computes all of it again,
 * for the record. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/mem.h"
#include "prime/solve.h"

/* Texts of tables, on rank 0. */
typedef struct extra_tables {
    char *sweep, *fewshot;
} extra_tables;

/* ---- heads --------------------------------------------------------------------------------------------- */

static void record_left_out(const npr_solve *s, const npr_learned *all)
{
    int64_t rows = 0;
    for (int c = 0; c < s->text.classes; c++) rows += all->pool_count[c] - s->main.pool_count[c];
    npr_record_int(s->rec, "result.excluded_rows", rows);
}

/* The head with the rows that were left out, at the same alpha: what these rows do to accuracy. */
static npr_status learn_with_all(const npr_comm *comm, npr_solve *s, npr_material m)
{
    size_t n = (size_t)s->text.classes * (size_t)s->text.dim;
    npr_learned all = {0};
    npr_solve given = *s;
    given.from = NPR_ALPHA_GIVEN;
    given.given = s->main.alpha;
    m.without = NULL;
    npr_status st = npr_learn(comm, &given, &m, 0, &all);
    s->with = st ? NULL : npr_alloc_aligned(n, sizeof *s->with, "a head");
    if (!st) st = npr_agree(comm, s->with ? NPR_OK : npr_last(), "class sums");
    if (!st) {
        memcpy(s->with, all.primed, n * sizeof *s->with);
        record_left_out(s, &all);
    }
    npr_learned_free(&all);
    return st;
}

/* The head that is written: of the pool and all shots, or the last number of them, drawn with the first seed.
 */
static npr_status learn_main(const npr_comm *comm, npr_solve *s)
{
    npr_draw draw = {0};
    npr_status st = NPR_OK;
    if (s->numbers) {
        st = npr_draw_make(&s->deck, s->text.classes, s->number[s->numbers - 1], s->job->seed, &draw);
        st = npr_agree(comm, st, "shots");
    }
    npr_material m = npr_solve_material(s, s->numbers ? &draw : NULL);
    if (!st) st = npr_learn(comm, s, &m, 1, &s->main);
    if (!st && s->exclude) st = learn_with_all(comm, s, m);
    npr_draw_free(&draw);
    return st;
}

/* ---- evaluation ---------------------------------------------------------------------------------------- */

/* Zero-shot, what was learnt alone, primed; then baselines, and the head with the rows that were left out. */
static int list_candidates(const npr_solve *s, npr_candidate *c)
{
    int n = 0, primed = 2;
    c[n++] = (npr_candidate){.name = "zero_shot", .w = s->text.w, .rival = -1};
    c[n++] = (npr_candidate){.name = "image_only", .w = s->main.image, .rival = 0};
    c[n++] = (npr_candidate){.name = "primed", .w = s->main.primed, .rival = 0};
    if (s->with) c[n++] = (npr_candidate){.name = "with_excluded", .w = s->with, .rival = primed};
    for (int k = 0; k < s->baselines; k++, n++) {
        c[n] = (npr_candidate){.w = s->other[k].w, .rival = primed};
        snprintf(c[n].name, sizeof c[n].name, "baseline.%d", k + 1);
    }
    return n;
}

static npr_status sweep(const npr_comm *comm, const npr_solve *s, char **table)
{
    npr_trial t = {.set = s->test, .what = "sweep", .n = s->steps + 1, .before = -1, .after = -1};
    t.candidate = npr_trial_grid(s, &s->main);
    npr_status st = npr_agree(comm, t.candidate ? NPR_OK : npr_last(), t.what);
    if (!st) st = npr_trial_run(comm, s, &t);
    if (!st && comm->rank == 0) st = npr_report_sweep(s, &t, table);
    st = npr_agree(comm, st, t.what);
    npr_trial_free(&t);
    free(t.candidate);
    return st;
}

static npr_status evaluate(const npr_comm *comm, const npr_solve *s, extra_tables *tables)
{
    npr_trial t = {
        .set = s->test, .what = "evaluation", .after = 2, .subset = s->subset.n ? &s->subset : NULL};
    t.candidate = npr_alloc(4 + (size_t)s->baselines, sizeof *t.candidate, "heads side by side");
    npr_status st = npr_agree(comm, t.candidate ? NPR_OK : npr_last(), t.what);
    if (!st) {
        t.n = list_candidates(s, t.candidate);
        st = npr_trial_run(comm, s, &t);
    }
    if (!st) {
        npr_report_trial(s, &t);
        npr_record_time(comm, s->rec, "evaluate_read", t.seconds.read);
        npr_record_time(comm, s->rec, "evaluate", t.seconds.work);
        double flops = 2.0 * (double)s->test->rows * s->text.dim * s->text.classes * t.n;
        npr_record_work(comm, s->rec, "evaluate", 0, comm->rank ? 0 : flops);
        if (s->job->per_class && comm->rank == 0) st = npr_report_classes(s, &t);
        st = npr_agree(comm, st, t.what);
    }
    if (!st) st = npr_predictions_write(comm, s, &t);
    npr_trial_free(&t);
    free(t.candidate);
    if (!st && (s->job->sweep || s->job->sweep_table)) st = sweep(comm, s, &tables->sweep);
    if (!st && s->numbers) st = npr_fewshot(comm, s, &tables->fewshot);
    return st;
}

/* ---- the stage ----------------------------------------------------------------------------------------- */

/* Heads, alpha, accuracies: all that goes into the record. */
static npr_status compute(const npr_comm *comm, npr_solve *s, extra_tables *tables)
{
    char hex[NPR_DIGEST_HEX];
    NPR_TRY(learn_main(comm, s));
    npr_digest_block(s->main.primed, (size_t)s->text.classes * (size_t)s->text.dim * sizeof *s->main.primed,
                     hex);
    npr_record_text(s->rec, "check.head", hex);
    return s->test ? evaluate(comm, s, tables) : NPR_OK;
}

static npr_status write_table(const npr_solve *s, const char *name, const char *text)
{
    char *path = npr_path("%s/%s", s->job->out, name);
    npr_status st = path ? npr_file_replace(path, text, strlen(text)) : npr_last();
    free(path);
    return st;
}

/* These depend on the test set and the head does not: they are replaced by every run that makes them. */
static npr_status write_tables(const npr_comm *comm, const npr_solve *s, const extra_tables *tables)
{
    npr_status st = NPR_OK;
    if (comm->rank == 0 && tables->sweep) st = write_table(s, "sweep.tsv", tables->sweep);
    if (comm->rank == 0 && tables->fewshot && !st) st = write_table(s, "fewshot.tsv", tables->fewshot);
    return npr_agree(comm, st, "writing tables");
}

static npr_status solve(const npr_comm *comm, npr_solve *s)
{
    NPR_TRY(npr_solve_inputs_read(comm, s));
    if (s->job->dry_run) {
        npr_solve_plan(s);
        return NPR_OK;
    }
    char *identity = npr_solve_identity(s);
    extra_tables tables = {0};
    npr_set_plan plan = {.path = s->job->out,
                         .kind = "head",
                         .model = s->head->model,
                         .job = identity,
                         .dim = s->text.dim,
                         .columns = NPR_COL(NPR_EMB) | NPR_COL(NPR_ID) | NPR_COL(NPR_LABEL) |
                                    NPR_COL(NPR_CAPTION) | NPR_COL(NPR_WEIGHT),
                         .part_rows = NPR_PART_ROWS};
    npr_set_writer *writer = NULL;
    int complete = 0;
    npr_status st = npr_agree(comm, identity ? NPR_OK : NPR_EINTERNAL, "start");
    if (!st) st = npr_set_begin(comm, &plan, &writer, &complete);
    if (!st && complete) npr_info(s->log, "%s is complete; computing its record again", s->job->out);
    if (!st && !complete) s->scratch = npr_set_scratch(writer);
    if (!st) st = compute(comm, s, &tables);
    if (!st && !complete) st = npr_solve_write(comm, s, &plan, writer);
    if (!st) st = write_tables(comm, s, &tables);
    if (!st) st = npr_set_record(comm, s->rec, s->job->out, NULL, NULL);
    npr_set_end(writer);
    free(tables.sweep);
    free(tables.fewshot);
    free(identity);
    return st;
}

npr_status npr_solve_run(const npr_comm *comm, const npr_log *log, npr_record *rec, const npr_solve_job *job)
{
    npr_solve s = {.log = log, .rec = rec, .job = job};
    npr_status st = solve(comm, &s);
    npr_learned_free(&s.main);
    free(s.with);
    npr_solve_inputs_free(&s);
    return st;
}
