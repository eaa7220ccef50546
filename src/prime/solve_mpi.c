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
#include "prime/mean.h"
#include "prime/solve.h"
#include "prime/walk.h"

/* ---- inputs ----------------------------------------------------------------------------------------------
 */

static npr_status check_job(npr_solve *s)
{
    const npr_solve_job *job = s->job;
    NPR_TRY(npr_alpha_parse(job->alpha, &s->from, &s->alpha));
    NPR_TRY(npr_alpha_steps(job->step, &s->steps, &s->decimals));
    if (s->from == NPR_ALPHA_RULE && !(job->sigma > 0))
        return npr_fail(NPR_EUSAGE, "--sigma=%g: wanted a number above 0, in pool images per class",
                        job->sigma);
    if (job->sweep && !job->test)
        return npr_fail(NPR_EUSAGE, "--sweep needs a labelled test set: --test=SET");
    if (job->predictions && !job->test)
        return npr_fail(NPR_EUSAGE, "--predictions needs a labelled test set: --test=SET");
    return NPR_OK;
}

/* A set that must be comparable with the head. NULL path: none. */
static npr_status open_other(const npr_comm *comm, const npr_solve *s, const char *path, npr_set **set)
{
    if (!path) return NPR_OK;
    NPR_TRY(npr_set_open_all(comm, path, set));
    NPR_TRY(npr_set_match(s->head, *set));
    if (strcmp(s->head->model, (*set)->model) != 0)
        npr_warn(s->log, "%s says model %s, %s says %s: nothing tells that their vectors can be compared",
                 s->head->path, s->head->model, (*set)->path, (*set)->model);
    return NPR_OK;
}

static npr_status open_inputs(const npr_comm *comm, npr_solve *s)
{
    NPR_TRY(npr_set_open_all(comm, s->job->head, &s->head));
    NPR_TRY(open_other(comm, s, s->job->pool, &s->pool));
    NPR_TRY(open_other(comm, s, s->job->shots, &s->shots));
    NPR_TRY(open_other(comm, s, s->job->test, &s->test));
    npr_record_text(s->rec, "check.input_head", s->head->digest);
    npr_record_text(s->rec, "check.input_pool", s->pool->digest);
    if (s->shots) npr_record_text(s->rec, "check.input_shots", s->shots->digest);
    if (s->test) npr_record_text(s->rec, "check.input_test", s->test->digest);
    return npr_head_read_all(comm, s->head, &s->text);
}

static void record_plan(const npr_solve *s)
{
    int64_t pool = s->pool->rows + (s->shots ? s->shots->rows : 0), test = s->test ? s->test->rows : 0;
    int64_t row = 2 * s->text.dim + 12, cells = (int64_t)s->text.classes * s->text.dim;
    int64_t tile = s->job->tile_rows < pool || s->job->tile_rows < test ? s->job->tile_rows
                   : pool > test                                        ? pool
                                                                        : test;
    int64_t block =
        64 * (2 * (int64_t)s->text.classes + s->text.dim) * 4; /* scores of a block of rows, per thread */
    npr_record_int(s->rec, "plan.classes", s->text.classes);
    npr_record_int(s->rec, "plan.dim", s->text.dim);
    npr_record_int(s->rec, "plan.pool_rows", pool);
    npr_record_int(s->rec, "plan.test_rows", test);
    npr_record_int(s->rec, "plan.bytes_read", row * (pool * (s->from == NPR_ALPHA_LOO ? 2 : 1) + test));
    npr_record_int(s->rec, "plan.bytes_written", cells * 6);
    npr_record_int(s->rec, "plan.memory_per_rank",
                   cells * (8 + 4 * 5) + tile * (row + 12) + block * s->job->threads + 64 * test);
}

/* ---- class means -----------------------------------------------------------------------------------------
 */

static npr_status sum_tile(void *to, const npr_rows *r)
{
    return npr_means_add_counted(to, r->emb, r->label, r->recalls, r->n); /* no column: once each */
}

/* Columns that class means need. Shots have no counts. */
static uint32_t columns_of(const npr_solve *s, const npr_set *set)
{
    int counted = set == s->pool && !strcmp(s->job->weight, "count");
    return NPR_COL(NPR_EMB) | NPR_COL(NPR_LABEL) | (counted ? NPR_COL(NPR_RECALLS) : 0);
}

static npr_status sum_set(const npr_comm *comm, npr_solve *s, const npr_set *set, const char *phase)
{
    char read[32];
    npr_walk walk = {
        .set = set, .what = "class sums", .columns = columns_of(s, set), .tile_rows = s->job->tile_rows};
    npr_status st = npr_walk_set(comm, s->log, &walk, sum_tile, &s->means);
    snprintf(read, sizeof read, "%s_read", phase);
    npr_record_time(comm, s->rec, read, walk.read);
    npr_record_time(comm, s->rec, phase, walk.work);
    return st;
}

static npr_status make_arrays(npr_solve *s)
{
    int classes = s->text.classes, dim = s->text.dim;
    size_t n = (size_t)classes * (size_t)dim;
    NPR_TRY(npr_means_make(classes, dim, &s->means));
    s->pool_count = npr_alloc((size_t)classes, sizeof *s->pool_count, "the class counts");
    s->image = npr_alloc_aligned(n, sizeof *s->image, "the image means");
    s->primed = npr_alloc_aligned(n, sizeof *s->primed, "the primed head");
    s->keep = strcmp(s->job->empty, "text") ? NULL : s->means.count;
    return s->pool_count && s->image && s->primed ? NPR_OK : NPR_EINTERNAL;
}

/* Names (or numbers, of classes without names) of the first classes without rows, as "a; b; c". */
static npr_status record_empty(npr_solve *s)
{
    enum { NAMED = 20 };
    int empty = 0;
    char *names = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&names, &n);
    if (!f) return npr_fail(NPR_EINTERNAL, "out of memory: the names of empty classes");
    for (int c = 0; c < s->text.classes; c++) {
        if (s->means.count[c] || ++empty > NAMED || !s->text.name) continue;
        fprintf(f, "%s", empty > 1 ? "; " : "");
        s->text.name[c][0] ? fprintf(f, "%s", s->text.name[c]) : fprintf(f, "%d", c);
    }
    int failed = fclose(f) != 0;
    npr_record_int(s->rec, "result.classes_empty", empty);
    npr_record_text(s->rec, "result.classes_empty_names", failed ? "" : names);
    if (empty)
        npr_warn(s->log, "%d of %d classes have no rows in the pool; %s (listed in classes.tsv)", empty,
                 s->text.classes, s->keep ? "they keep their text row" : "their image mean is zero");
    free(names);
    return failed ? npr_fail(NPR_EINTERNAL, "out of memory: the names of empty classes") : NPR_OK;
}

static npr_status make_means(const npr_comm *comm, npr_solve *s)
{
    int classes = s->text.classes;
    int64_t pool = 0, all = 0, weight = 0;
    char hex[NPR_DIGEST_HEX];
    NPR_TRY(sum_set(comm, s, s->pool, "sums"));
    memcpy(s->pool_count, s->means.count, (size_t)classes * sizeof *s->pool_count);
    npr_sum_i64(comm, s->pool_count, (size_t)classes);
    if (s->shots) NPR_TRY(sum_set(comm, s, s->shots, "shots"));
    double start = npr_now();
    NPR_TRY(npr_means_reduce(comm, &s->means));
    npr_record_time(comm, s->rec, "reduce", npr_now() - start);
    npr_means_unit(&s->means, s->image);
    for (int c = 0; c < classes; c++) {
        pool += s->pool_count[c];
        all += s->means.count[c];
        weight += s->means.weight[c];
    }
    npr_record_int(s->rec, "result.classes", classes);
    npr_record_int(s->rec, "result.pool_rows", pool);
    npr_record_int(s->rec, "result.shot_rows", all - pool);
    npr_record_int(s->rec, "result.weight", weight);
    npr_digest_block(s->means.sum, (size_t)classes * (size_t)s->text.dim * sizeof *s->means.sum, hex);
    npr_record_text(s->rec, "check.sums", hex);
    return npr_agree(comm, record_empty(s), "class sums");
}

/* ---- alpha ------------------------------------------------------------------------------------------------
 */

typedef struct loo_pass {
    npr_loo loo;
    int threads;
} loo_pass;

static npr_status loo_tile(void *to, const npr_rows *r)
{
    loo_pass *p = to;
    return npr_loo_add(&p->loo, r->emb, r->label, r->recalls, r->n, p->threads);
}

static npr_status leave_one_out(const npr_comm *comm, npr_solve *s)
{
    loo_pass p = {.threads = s->job->threads};
    npr_walk walk = {.what = "leave-one-out", .tile_rows = s->job->tile_rows};
    const npr_set *sets[2] = {s->pool, s->shots};
    npr_status st = npr_loo_make(s->text.w, &s->means, s->keep != NULL, s->steps, &p.loo);
    st = npr_agree(comm, st, walk.what);
    for (int i = 0; i < 2 && !st; i++) {
        walk.set = sets[i];
        walk.columns = walk.set ? columns_of(s, walk.set) : 0;
        if (walk.set) st = npr_walk_set(comm, s->log, &walk, loo_tile, &p);
    }
    if (!st) {
        npr_loo_reduce(comm, &p.loo);
        npr_record_time(comm, s->rec, "loo_read", walk.read);
        npr_record_time(comm, s->rec, "loo", walk.work);
        for (int i = 0; i <= s->steps; i++) {
            char key[48];
            snprintf(key, sizeof key, "result.loo.%.*f", s->decimals, (double)i / s->steps);
            npr_record_real(s->rec, key, npr_loo_accuracy(&p.loo, i));
        }
        s->alpha = (double)npr_loo_best(&p.loo) / s->steps;
    }
    npr_loo_free(&p.loo);
    return st;
}

static npr_status choose_alpha(const npr_comm *comm, npr_solve *s)
{
    static const char *const from[] = {
        [NPR_ALPHA_GIVEN] = "given", [NPR_ALPHA_RULE] = "rule", [NPR_ALPHA_LOO] = "leave-one-out"};
    int64_t rows = 0;
    for (int c = 0; c < s->text.classes; c++) rows += s->means.count[c];
    if (s->from == NPR_ALPHA_RULE) s->alpha = npr_alpha_rule(rows, s->text.classes, s->job->sigma);
    if (s->from == NPR_ALPHA_LOO) NPR_TRY(leave_one_out(comm, s));
    npr_record_real(s->rec, "result.alpha", s->alpha);
    npr_record_text(s->rec, "result.alpha_from", from[s->from]);
    return NPR_OK;
}

/* ---- the stage --------------------------------------------------------------------------------------------
 */

/* Means, alpha, head, accuracies: all that goes into the record. */
static npr_status compute(const npr_comm *comm, npr_solve *s, char **sweep)
{
    char hex[NPR_DIGEST_HEX];
    NPR_TRY(npr_agree(comm, make_arrays(s), "class sums"));
    NPR_TRY(make_means(comm, s));
    NPR_TRY(choose_alpha(comm, s));
    npr_head_blend(s->text.w, s->image, s->keep, s->text.classes, s->text.dim, s->alpha, s->primed);
    npr_digest_block(s->primed, (size_t)s->text.classes * (size_t)s->text.dim * sizeof *s->primed, hex);
    npr_record_text(s->rec, "check.head", hex);
    return s->test ? npr_solve_evaluate(comm, s, sweep) : NPR_OK;
}

/* The sweep depends on the test set and the head does not: its table is replaced by every run that makes one.
 */
static npr_status write_sweep(const npr_comm *comm, const npr_solve *s, const char *text)
{
    npr_status st = NPR_OK;
    if (comm->rank == 0 && text) {
        char *path = npr_path("%s/sweep.tsv", s->job->out);
        st = path ? npr_file_replace(path, text, strlen(text)) : npr_last();
        free(path);
    }
    return npr_agree(comm, st, "writing the sweep");
}

/* Digest of the manifest: one line that names the whole head. */
static npr_status record_set(const npr_comm *comm, const npr_solve *s)
{
    npr_set *set = NULL;
    NPR_TRY(npr_set_open_all(comm, s->job->out, &set));
    npr_record_text(s->rec, "check.set", set->digest);
    npr_set_free(set);
    return NPR_OK;
}

static npr_status solve(const npr_comm *comm, npr_solve *s)
{
    NPR_TRY(check_job(s));
    NPR_TRY(open_inputs(comm, s));
    if (s->job->dry_run) {
        record_plan(s);
        return NPR_OK;
    }
    char *identity = npr_solve_identity(s), *sweep = NULL;
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
    if (!st) st = compute(comm, s, &sweep);
    if (!st && !complete) st = npr_solve_write(comm, s, &plan, writer);
    if (!st) st = write_sweep(comm, s, sweep);
    if (!st) st = record_set(comm, s);
    npr_set_end(writer);
    free(sweep);
    free(identity);
    return st;
}

npr_status npr_solve_run(const npr_comm *comm, const npr_log *log, npr_record *rec, const npr_solve_job *job)
{
    npr_solve s = {.log = log, .rec = rec, .job = job};
    npr_status st = solve(comm, &s);
    npr_means_free(&s.means);
    npr_head_free(&s.text);
    free(s.pool_count);
    free(s.image);
    free(s.primed);
    npr_set_free(s.head);
    npr_set_free(s.pool);
    npr_set_free(s.shots);
    npr_set_free(s.test);
    return st;
}
