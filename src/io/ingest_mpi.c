/* ingest_mpi.c - npr_ingest_run(): arrays and their metadata become a set. Parts are cut by input row number,
 * so any number of ranks writes the same bytes; each rank writes the parts it owns. Rows that cannot be used
 * are left out, counted by reason and listed in rejected.tsv. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "io/ingest.h"

typedef struct stage {
    const npr_comm *comm;
    const npr_log *log;
    const npr_ingest_job *job;
    npr_ingest_plan plan;
    npr_set_writer *writer;
    npr_progress *progress;
} stage;

static int64_t part_begin(const stage *s, int part)
{
    int64_t row = (int64_t)part * s->job->part_rows;
    return row < s->plan.rows ? row : s->plan.rows;
}

/* ---- one part ---- */

/* Rejected rows of a part lie in the scratch folder until the set is finished; durable before the part is
 * committed. */
static npr_status keep_rejected(const stage *s, int part, const npr_ingest_rows *rows)
{
    size_t n;
    const char *text = npr_ingest_rows_rejected(rows, &n);
    if (!n) return NPR_OK;
    char *path = npr_path("%s/rejected-%d.tsv", npr_set_scratch(s->writer), part);
    npr_status st = path ? npr_file_replace(path, text, n) : npr_last();
    free(path);
    return st;
}

static npr_status fill_part(stage *s, npr_ingest_rows *rows, npr_part_writer *w)
{
    for (;;) {
        const npr_rows *batch;
        int64_t read;
        NPR_TRY(npr_ingest_rows_next(rows, &batch, &read));
        if (!read) return NPR_OK;
        NPR_TRY(npr_part_append(w, batch));
        npr_progress_add(s->progress, read);
        if (npr_fault("ingest.batch")) return npr_fail(NPR_EIO, "%s: injected fault", s->job->out);
        if (npr_stop_requested())
            return npr_fail(NPR_ESTOP,
                            "ingest stopped on request; finished parts are kept, run the same command again");
    }
}

static npr_status write_part(stage *s, int part)
{
    npr_ingest_rows *rows = NULL;
    npr_part_writer *w = NULL;
    npr_part_entry entry;
    npr_status st =
        npr_ingest_rows_open(s->job, &s->plan, part_begin(s, part), part_begin(s, part + 1), &rows);
    if (!st) st = npr_part_create(npr_set_folder(s->writer), part, s->plan.columns, s->plan.dim, &w);
    if (!st) st = fill_part(s, rows, w);
    if (!st) st = keep_rejected(s, part, rows);
    if (st) {
        npr_part_abandon(w);
    } else {
        st = npr_part_commit(w, &entry);
        if (!st) st = npr_set_commit_part(s->writer, part, &entry);
    }
    npr_ingest_rows_close(rows);
    return st;
}

static npr_status write_mine(stage *s)
{
    for (int part = 0; part < s->plan.parts; part++)
        if (npr_owns(s->comm, part) && !npr_set_done(s->writer, part)) NPR_TRY(write_part(s, part));
    return NPR_OK;
}

static npr_status write_parts(stage *s)
{
    int64_t left = 0;
    for (int part = 0; part < s->plan.parts; part++)
        if (!npr_set_done(s->writer, part)) left += part_begin(s, part + 1) - part_begin(s, part);
    if (left < s->plan.rows)
        npr_info(s->log, "an earlier run wrote %lld of %lld rows; going on", (long long)(s->plan.rows - left),
                 (long long)s->plan.rows);
    s->progress = npr_progress_start(s->comm, s->log, "ingest", "rows", left);
    npr_status st = write_mine(s);
    npr_progress_end(s->comm, s->progress);
    return npr_agree(s->comm, st, "ingest");
}

/* ---- what was left out ---- */

/* Put the parts' lists of rejected rows together (rank 0): the text, and rows per reason. */
static npr_status collect_rejected(const stage *s, char **text, size_t *n, int64_t count[NPR_BAD_REASONS])
{
    enum { LIST_MAX = 1 << 30 };
    size_t cap = 0;
    *text = NULL;
    *n = 0;
    for (int part = 0; part < s->plan.parts; part++) {
        char *path = npr_path("%s/rejected-%d.tsv", npr_set_scratch(s->writer), part), *one = NULL;
        size_t bytes = 0;
        npr_status st = path ? NPR_OK : npr_last();
        if (!st && npr_file_exists(path)) st = npr_file_read(path, LIST_MAX, &one, &bytes);
        if (!st) st = npr_grow(text, &cap, *n + bytes + 1, 1, "the list of rejected rows");
        if (!st && bytes) memcpy(*text + *n, one, bytes);
        *n += bytes;
        free(one);
        free(path);
        if (st) return st;
    }
    (*text)[*n] = 0;
    for (const char *line = *text; *line; line = strchr(line, '\n') + 1)
        for (int reason = 0; reason < NPR_BAD_REASONS; reason++) {
            const char *word = strchr(line, '\t') + 1, *name = npr_bad_reason(reason);
            count[reason] += !strncmp(word, name, strlen(name));
        }
    return NPR_OK;
}

static npr_status refuse_too_many(const stage *s, const int64_t count[NPR_BAD_REASONS])
{
    int64_t bad = 0;
    for (int reason = 0; reason < NPR_BAD_REASONS; reason++) bad += count[reason];
    if (s->job->head && bad)
        return npr_fail(
            NPR_EDATA, "%s: %lld of its rows are not finite unit vectors, and a head needs every class%s",
            s->job->emb, (long long)bad, s->job->normalize ? "" : "; --normalize scales rows to unit norm");
    if ((double)bad <= s->job->max_bad * (double)s->plan.rows) return NPR_OK;
    return npr_fail(
        NPR_EDATA,
        "%s: %lld of %lld rows cannot be used (%lld not finite, %lld zero, %lld not of unit norm), more than "
        "--max-bad=%g allows%s",
        s->job->emb, (long long)bad, (long long)s->plan.rows, (long long)count[NPR_BAD_NON_FINITE],
        (long long)count[NPR_BAD_ZERO], (long long)count[NPR_BAD_NORM], s->job->max_bad,
        count[NPR_BAD_NORM] ? "; --normalize scales rows to unit norm" : "");
}

static npr_status publish_rejected(const stage *s)
{
    char *text = NULL;
    size_t n;
    int64_t count[NPR_BAD_REASONS] = {0};
    npr_status st = collect_rejected(s, &text, &n, count);
    if (!st) st = refuse_too_many(s, count);
    if (!st && n) {
        char *path = npr_path("%s/rejected.tsv", s->job->out);
        st = path ? npr_file_replace(path, text, n) : npr_last();
        free(path);
    }
    free(text);
    return st;
}

/* ---- the stage ---- */

static void record_plan(const stage *s, npr_record *rec)
{
    const npr_ingest_plan *p = &s->plan;
    int64_t bytes = 0;
    for (size_t i = 0; i < p->emb.count; i++) bytes += p->file[i].bytes;
    int64_t width = (int64_t)p->dim * (p->columns & NPR_COL(NPR_WEIGHT) ? 6 : 2) + 40;
    npr_record_int(rec, "result.files", (int64_t)p->emb.count);
    npr_record_int(rec, "result.rows_in", p->rows);
    npr_record_int(rec, "result.dim", p->dim);
    npr_record_int(rec, "result.parts", p->parts);
    npr_record_int(rec, "result.bytes_in", bytes);
    if (!s->job->dry_run) return;
    npr_record_int(rec, "plan.bytes_out", p->rows * width);
    npr_record_int(rec, "plan.bytes_per_rank",
                   NPR_INGEST_BATCH * (3 * width + 4 * (int64_t)p->dim) + (64 << 20));
    int64_t busy = p->parts < s->comm->size ? p->parts : s->comm->size;
    npr_record_int(rec, "plan.ranks_with_work", busy);
    npr_info(
        s->log,
        "dry run: %lld rows of %d values in %zu files become %d parts; text columns come on top of bytes_out",
        (long long)p->rows, p->dim, p->emb.count, p->parts);
}

/* The finished set as it is on disk: the same lines whether this run wrote it or an earlier one. */
static npr_status record_set(const stage *s, npr_record *rec)
{
    npr_set *set;
    NPR_TRY(npr_set_open_all(s->comm, s->job->out, &set));
    npr_record_int(rec, "result.rows", set->rows);
    npr_record_int(rec, "result.rejected", s->plan.rows - set->rows);
    npr_record_text(rec, "check.set", set->digest);
    if (set->rows < s->plan.rows)
        npr_warn(s->log, "%lld of %lld rows were left out; %s/rejected.tsv lists them with reasons",
                 (long long)(s->plan.rows - set->rows), (long long)s->plan.rows, s->job->out);
    npr_set_free(set);
    return NPR_OK;
}

static npr_status write_set(stage *s, npr_record *rec)
{
    const npr_ingest_plan *p = &s->plan;
    npr_set_plan plan = {.path = s->job->out,
                         .kind = s->job->kind,
                         .model = s->job->model,
                         .job = p->job,
                         .dim = p->dim,
                         .columns = p->columns,
                         .part_rows = s->job->part_rows};
    int complete = 0;
    NPR_TRY(npr_set_begin(s->comm, &plan, &s->writer, &complete));
    if (complete) {
        npr_info(s->log, "%s is complete already", s->job->out);
        return NPR_OK;
    }
    double start = npr_now();
    npr_status st = write_parts(s);
    double seconds = npr_now() - start;
    if (!st) st = npr_agree(s->comm, s->comm->rank ? NPR_OK : publish_rejected(s), "ingest");
    if (!st) st = npr_set_finish(s->comm, s->writer, p->parts);
    npr_set_end(s->writer);
    if (!st) npr_record_time(s->comm, rec, "ingest", seconds);
    return st;
}

npr_status npr_ingest_run(const npr_comm *comm, const npr_log *log, npr_record *rec,
                          const npr_ingest_job *job)
{
    stage s = {.comm = comm, .log = log, .job = job};
    double start = npr_now();
    NPR_TRY(npr_ingest_read_plan(comm, job, &s.plan));
    npr_record_time(comm, rec, "inputs", npr_now() - start);
    record_plan(&s, rec);
    npr_status st = NPR_OK;
    if (!job->dry_run) st = write_set(&s, rec);
    if (!st && !job->dry_run) st = record_set(&s, rec);
    npr_ingest_plan_free(&s.plan);
    return st;
}
