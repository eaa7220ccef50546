/* ingest_mpi.c - npr_ingest_run(): arrays and their metadata become a set. Parts are cut by input row number,
 * so any number of ranks writes the same bytes; each rank writes the parts it owns. Rows that cannot be used
 * are left out, counted by reason and listed in rejected.tsv. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "io/ingest.h"
#include "io/part.h"
#include "npr/plan.h"

typedef struct stage {
    const npr_comm *comm;
    const npr_log *log;
    const npr_ingest_job *job;
    npr_ingest_plan plan;
    npr_set_writer *writer;
    npr_ingest_rows *rows;
    npr_progress *progress;
} stage;

static int64_t part_begin(const stage *s, int part)
{
    return npr_part_begin(s->plan.rows, s->job->part_rows, part);
}

/* ---- too many bad rows ---- */

/* A head needs every class. */
static npr_status refuse_too_many(const stage *s, const int64_t *bad, const char *at_least)
{
    int64_t all = 0;
    for (int i = 0; i < NPR_BAD_REASONS; i++) all += bad[i];
    double share = s->job->head ? 0 : s->job->max_bad;
    if ((double)all <= share * (double)s->plan.rows) return NPR_OK;
    char allowed[48] = "a head needs every class";
    if (!s->job->head) snprintf(allowed, sizeof allowed, "more than --max-bad=%g allows", share);
    return npr_fail(
        NPR_EDATA,
        "%s: %s%lld of %lld rows cannot be used (%lld not finite, %lld zero, %lld not of unit norm), %s%s",
        s->job->emb, at_least, (long long)all, (long long)s->plan.rows, (long long)bad[NPR_BAD_NON_FINITE],
        (long long)bad[NPR_BAD_ZERO], (long long)bad[NPR_BAD_NORM], allowed,
        bad[NPR_BAD_NORM] ? "; --normalize scales rows to unit norm" : "");
}

/* ---- one part ---- */

static npr_status fill_part(stage *s, npr_part_writer *w)
{
    for (;;) {
        const npr_rows *batch;
        int64_t read;
        NPR_TRY(npr_ingest_rows_next(s->rows, &batch, &read));
        if (!read) return NPR_OK;
        NPR_TRY(npr_part_append(w, batch));
        npr_progress_add(s->progress, read);
        NPR_TRY(refuse_too_many(s, npr_ingest_rows_rejected(s->rows)->count,
                                "at least ")); /* hopeless: stop now */
        if (npr_fault("ingest.batch"))
            return npr_fail(NPR_EIO, "%s: injected fault at ingest.batch", s->job->out);
        if (npr_stop_requested())
            return npr_fail(NPR_ESTOP,
                            "stopped on request; finished parts are kept, run the same command again");
    }
}

static npr_status write_part(stage *s, int part)
{
    npr_part_writer *w;
    npr_part_entry entry;
    npr_ingest_rows_begin(s->rows, part_begin(s, part), part_begin(s, part + 1));
    NPR_TRY(npr_part_create(npr_set_folder(s->writer), part, s->plan.columns, s->plan.dim, &w));
    npr_status st = fill_part(s, w);
    if (!st) st = npr_skipped_keep(npr_ingest_rows_rejected(s->rows), npr_set_scratch(s->writer), part);
    if (st) {
        npr_part_abandon(w);
        return st;
    }
    NPR_TRY(npr_part_commit(w, &entry));
    return npr_set_commit_part(s->writer, part, &entry);
}

static npr_status write_mine(stage *s)
{
    npr_status st = npr_ingest_rows_make(s->job, &s->plan, &s->rows);
    for (int part = 0; part < s->plan.parts && !st; part++)
        if (npr_owns(s->comm, part) && !npr_set_done(s->writer, part)) st = write_part(s, part);
    npr_ingest_rows_free(s->rows);
    s->rows = NULL;
    return st;
}

static npr_status write_parts(stage *s)
{
    int64_t left = 0;
    for (int part = 0; part < s->plan.parts; part++)
        if (!npr_set_done(s->writer, part)) left += part_begin(s, part + 1) - part_begin(s, part);
    if (left < s->plan.rows)
        npr_info(s->log, "an earlier run wrote the parts of %lld of %lld rows; going on",
                 (long long)(s->plan.rows - left), (long long)s->plan.rows);
    s->progress = npr_progress_start(s->comm, s->log, "ingest", "rows", left);
    npr_status st = write_mine(s);
    npr_progress_end(s->comm, s->progress);
    return npr_agree(s->comm, st, "ingest");
}

/* ---- what was left out ---- */

/* The list of all rejected rows, if there are any and not too many. On rank 0, before the manifest. */
static npr_status publish_rejected(const stage *s)
{
    int64_t count[NPR_SKIP_REASONS] = {0};
    const char *scratch = npr_set_scratch(s->writer);
    NPR_TRY(npr_skipped_merge(&npr_ingest_rejected, scratch, s->plan.parts, count));
    NPR_TRY(refuse_too_many(s, count, ""));
    return npr_skipped_publish(&npr_ingest_rejected, scratch, s->job->out);
}

/* ---- the record ---- */

/* Bytes of a row in the set, without its texts. */
static int64_t row_bytes(const npr_ingest_plan *p)
{
    static const int width[NPR_COLUMNS] = {
        [NPR_ID] = 8,      [NPR_LABEL] = 4,      [NPR_CAPTION] = 8, [NPR_URL] = 8,   [NPR_TOKENS] = 8,
        [NPR_SOURCE] = 24, [NPR_SIMILARITY] = 4, [NPR_NSFW] = 1,    [NPR_WIDTH] = 4, [NPR_HEIGHT] = 4};
    int64_t bytes = (int64_t)p->dim * (p->columns & NPR_COL(NPR_WEIGHT) ? 6 : 2);
    for (int c = 0; c < NPR_COLUMNS; c++)
        if (p->columns & NPR_COL(c)) bytes += width[c];
    return bytes;
}

static int64_t input_bytes(const npr_ingest_plan *p, int64_t *meta)
{
    int64_t bytes = 0;
    *meta = 0;
    for (size_t i = 0; i <= p->emb.count; i++) {
        bytes += p->file[i].bytes + p->file[i].meta.bytes;
        *meta += i < p->emb.count ? p->file[i].meta.bytes : 0;
    }
    return bytes;
}

/* By the formulas of npr/plan.h. */
static npr_plan_needs needs_of(const stage *s)
{
    const npr_ingest_plan *p = &s->plan;
    int64_t meta, bytes = input_bytes(p, &meta);
    npr_plan_ingest_shape shape = {.rows = (double)p->rows,
                                   .dim = p->dim,
                                   .part_rows = (double)s->job->part_rows,
                                   .in = (double)(bytes - meta),
                                   .text = (double)meta,
                                   .row_bytes = (double)row_bytes(p),
                                   .batch = NPR_INGEST_BATCH};
    npr_plan_dry_run *dry = s->job->dry_run;
    npr_plan_cluster here = {.nodes = 1, .ranks = s->comm->size, .threads = 1};
    if (!dry) return npr_plan_ingest(&shape, &here, NULL);
    here = npr_plan_here(dry, 1);
    return dry->needs = npr_plan_ingest(&shape, &here, dry->machine);
}

static void record_plan(const stage *s, npr_record *rec)
{
    const npr_ingest_plan *p = &s->plan;
    int64_t meta, bytes = input_bytes(p, &meta);
    npr_record_int(rec, "result.files", (int64_t)p->emb.count);
    npr_record_int(rec, "result.rows_in", p->rows);
    npr_record_int(rec, "result.bytes_in", bytes);
    npr_record_int(rec, "result.dim", p->dim);
    npr_record_int(rec, "result.parts", p->parts);
    if (!s->job->dry_run) return;
    npr_plan_needs n = needs_of(s);
    npr_record_int(rec, "plan.bytes_on_disk", (int64_t)n.disk);
    npr_record_int(rec, "plan.memory_per_rank", (int64_t)n.memory);
    npr_record_int(rec, "plan.ranks_with_work", (int64_t)n.busy);
    npr_info(s->log, "dry run: %lld rows of %d values in %zu files become %d parts, about %.1f GB",
             (long long)p->rows, p->dim, p->emb.count, p->parts, n.disk / 1e9);
}

/* How many rows were left out, why, and which were the first: from the list beside the set. Collective. */
static npr_status record_rejected(const stage *s, npr_record *rec, int64_t rejected)
{
    int64_t count[NPR_SKIP_REASONS] = {0};
    char key[48], first[64] = "";
    npr_status st = NPR_OK;
    if (s->comm->rank == 0 && rejected)
        st = npr_skipped_read(&npr_ingest_rejected, s->job->out, count, first, sizeof first);
    NPR_TRY(npr_agree(s->comm, st, "reading rejected.tsv"));
    npr_bcast(s->comm, count, sizeof count, 0);
    npr_record_int(rec, "result.rejected", rejected);
    for (int i = 0; i < NPR_BAD_REASONS; i++) {
        snprintf(key, sizeof key, "result.rejected.%s", npr_bad_reason(i));
        npr_record_int(rec, key, count[i]);
    }
    if (rejected)
        npr_warn(s->log,
                 "%lld of %lld rows were left out (ids %s, ...); %s/rejected.tsv lists them with reasons",
                 (long long)rejected, (long long)s->plan.rows, first, s->job->out);
    return NPR_OK;
}

static npr_status record_set(const stage *s, npr_record *rec)
{
    int64_t rows;
    NPR_TRY(npr_set_record(s->comm, rec, s->job->out, "rows", &rows));
    NPR_TRY(record_rejected(s, rec, s->plan.rows - rows));
    npr_info(s->log, "%s: %lld rows", s->job->out, (long long)rows);
    return NPR_OK;
}

/* ---- the stage ---- */

/* A full disk is better known now than in an hour. */
static void warn_of_space(const stage *s)
{
    int64_t there, needed = (int64_t)needs_of(s).disk;
    if (s->comm->rank || npr_folder_free_bytes(s->job->out, &there) || there >= needed) return;
    npr_warn(s->log, "%s: the set will take about %.1f GB, %.1f GB are free", s->job->out,
             (double)needed / 1e9, (double)there / 1e9);
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
    int64_t meta;
    NPR_TRY(npr_set_begin(s->comm, &plan, &s->writer, &complete));
    if (complete) {
        npr_info(s->log, "%s is complete already", s->job->out);
        return NPR_OK;
    }
    warn_of_space(s);
    double start = npr_now();
    npr_status st = write_parts(s);
    double seconds = npr_now() - start;
    if (!st) st = npr_agree(s->comm, s->comm->rank ? NPR_OK : publish_rejected(s), "ingest");
    if (!st) st = npr_set_finish(s->comm, s->writer, p->parts);
    npr_set_end(s->writer);
    if (st) return st;
    npr_record_time(s->comm, rec, "ingest", seconds);
    npr_record_work(s->comm, rec, "ingest", s->comm->rank ? 0 : (double)input_bytes(p, &meta), 0);
    npr_max_f64(s->comm, &seconds, 1);
    if (seconds > 0)
        npr_record_real(rec, "time.ingest.gb_per_s", (double)input_bytes(p, &meta) / seconds / 1e9);
    return NPR_OK;
}

npr_status npr_ingest_run(const npr_comm *comm, const npr_log *log, npr_record *rec,
                          const npr_ingest_job *job)
{
    stage s = {.comm = comm, .log = log, .job = job};
    double start = npr_now();
    NPR_TRY(npr_ingest_read_plan(comm, log, job, &s.plan));
    npr_record_time(comm, rec, "inputs", npr_now() - start);
    record_plan(&s, rec);
    npr_status st = NPR_OK;
    if (!job->dry_run) st = write_set(&s, rec);
    if (!st && !job->dry_run) st = record_set(&s, rec);
    npr_ingest_plan_free(&s.plan);
    return st;
}
