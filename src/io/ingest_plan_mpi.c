/* ingest_plan_mpi.c - all inputs found, counted and checked against one another before a row is written.
 * Files are dealt to ranks for counting; what each rank learns is gathered on all. See ingest.h. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "io/ingest.h"
#include "io/part.h"
#include "io/share.h"

/* ---- the files ---- */

/* Metadata in a folder may be of any kind we read, but of one kind. */
static npr_status find_meta(const char *pattern, npr_paths *paths)
{
    static const char *const suffix[] = {".tsv", ".jsonl", ".sqlite", ".db"};
    npr_status st = NPR_OK;
    for (size_t i = 0; i < sizeof suffix / sizeof *suffix; i++) {
        st = npr_paths_find(pattern, suffix[i], paths);
        if (st != NPR_ENOINPUT) return st;
    }
    return npr_context(st, "metadata (.tsv, .jsonl, .sqlite, .db)");
}

static npr_status find_files(const npr_ingest_job *job, npr_ingest_plan *plan)
{
    NPR_TRY(npr_paths_find(job->emb, ".npy", &plan->emb));
    if (!job->meta) return NPR_OK;
    NPR_TRY(find_meta(job->meta, &plan->meta));
    if (plan->meta.count != plan->emb.count)
        return npr_fail(
            NPR_EDATA,
            "%zu arrays in %s, but %zu metadata files in %s: they are paired in the order of their names",
            plan->emb.count, job->emb, plan->meta.count, job->meta);
    return job->emb[0] == '@' || job->meta[0] == '@' ? NPR_OK
                                                     : npr_ingest_check_pairs(&plan->emb, &plan->meta);
}

/* ---- what is in them ---- */

static npr_status scan(const npr_ingest_job *job, const npr_ingest_plan *plan, size_t i)
{
    npr_ingest_file *f = &plan->file[i];
    if (i == plan->emb.count)
        return job->labels ? npr_ingest_scan_meta(job->labels, "label", &f->meta) : NPR_OK;
    NPR_TRY(npr_ingest_scan_array(plan->emb.path[i], f));
    return plan->meta.count ? npr_ingest_scan_meta(plan->meta.path[i], job->columns, &f->meta) : NPR_OK;
}

static npr_status scan_mine(const npr_comm *comm, const npr_log *log, const npr_ingest_job *job,
                            const npr_ingest_plan *plan)
{
    npr_progress *progress = npr_progress_start(comm, log, "checking", "files", (int64_t)plan->emb.count + 1);
    npr_status st = NPR_OK;
    for (size_t i = (size_t)comm->rank; !st && i <= plan->emb.count; i += (size_t)comm->size) {
        st = scan(job, plan, i);
        npr_progress_add(progress, 1);
        if (!st && npr_stop_requested())
            st = npr_fail(NPR_ESTOP,
                          "stopped on request before a row was written; run the same command again");
    }
    npr_progress_end(comm, progress);
    return npr_agree(comm, st, "inputs");
}

static npr_status share_facts(const npr_comm *comm, npr_ingest_plan *plan)
{
    const npr_share_items facts = {.item = plan->file,
                                   .count = plan->emb.count + 1,
                                   .bytes = sizeof *plan->file,
                                   .list = offsetof(npr_ingest_file, meta.mark),
                                   .length = offsetof(npr_ingest_file, meta.marks),
                                   .entry = sizeof *plan->file->meta.mark,
                                   .what = "inputs"};
    return npr_share_facts(comm, &facts);
}

/* ---- whether they fit together; every rank knows the same and comes to the same result ---- */

/* Number the rows; widths and counts must agree. */
static npr_status check_files(const npr_ingest_job *job, npr_ingest_plan *plan)
{
    for (size_t i = 0; i < plan->emb.count; i++) {
        npr_ingest_file *f = &plan->file[i];
        if (f->dim != plan->file[0].dim)
            return npr_fail(NPR_EDATA, "%s has rows of %d values, %s of %d", plan->emb.path[i], f->dim,
                            plan->emb.path[0], plan->file[0].dim);
        if (plan->meta.count && f->meta.rows != f->rows)
            return npr_fail(
                NPR_EDATA,
                "%s has %lld rows, but its metadata %s has %lld: row n of one must be row n of the other",
                plan->emb.path[i], (long long)f->rows, plan->meta.path[i], (long long)f->meta.rows);
        f->row0 = plan->rows;
        plan->rows += f->rows;
    }
    plan->dim = plan->file[0].dim;
    return plan->rows ? NPR_OK : npr_fail(NPR_EDATA, "%s: no rows", job->emb);
}

static npr_status settle_columns(const npr_ingest_job *job, npr_ingest_plan *plan)
{
    uint32_t label = NPR_COL(NPR_LABEL), meta = 0;
    for (size_t i = 0; i < plan->emb.count; i++) meta |= plan->file[i].meta.columns;
    if (!!job->head + !!job->labels + !!(meta & label) > 1)
        return npr_fail(NPR_EUSAGE, "labels from more than one place: %s%s%s",
                        job->head ? "a head's row i is class i" : "",
                        job->labels ? job->head ? ", --labels" : "--labels" : "",
                        meta & label ? ", a field of the metadata" : "");
    if (job->head && plan->rows > INT32_MAX)
        return npr_fail(NPR_EDATA, "a head of %lld classes, at most %d", (long long)plan->rows, INT32_MAX);
    plan->columns = meta | NPR_COL(NPR_EMB) | NPR_COL(NPR_ID) | NPR_COL(NPR_SOURCE);
    if (meta & NPR_COL(NPR_CAPTION)) plan->columns |= NPR_COL(NPR_TOKENS);
    if (job->head) plan->columns |= NPR_COL(NPR_WEIGHT);
    if (job->head || job->labels) plan->columns |= label;
    return NPR_OK;
}

static npr_status settle(const npr_ingest_job *job, npr_ingest_plan *plan)
{
    NPR_TRY(check_files(job, plan));
    NPR_TRY(settle_columns(job, plan));
    const npr_ingest_meta *labels = &plan->file[plan->emb.count].meta;
    if (job->labels && labels->rows != plan->rows)
        return npr_fail(NPR_EDATA, "%s has %lld labels, but there are %lld rows", job->labels,
                        (long long)labels->rows, (long long)plan->rows);
    NPR_TRY(npr_part_cut(plan->rows, job->part_rows, &plan->parts));
    if (job->id_base > INT64_MAX - plan->rows)
        return npr_fail(NPR_EUSAGE, "--id-base=%lld leaves no room for %lld ids", (long long)job->id_base,
                        (long long)plan->rows);
    return NPR_OK;
}

static void print_input(FILE *to, const char *what, const char *path, int64_t bytes, uint64_t hash)
{
    const char *slash = strrchr(path, '/');
    fprintf(to, "%s=%s %lld %016llx\n", what, slash ? slash + 1 : path, (long long)bytes,
            (unsigned long long)hash);
}

/* The identity: the options, then a line per input. Base names only: moving the inputs changes nothing. */
static npr_status describe(const npr_ingest_job *job, npr_ingest_plan *plan)
{
    size_t n;
    FILE *f = open_memstream(&plan->job, &n);
    if (!f) return npr_fail(NPR_EINTERNAL, "out of memory: the identity of the job");
    fputs(job->identity ? job->identity : "", f);
    for (size_t i = 0; i < plan->emb.count; i++) {
        const npr_ingest_file *in = &plan->file[i];
        print_input(f, "input", plan->emb.path[i], in->bytes, in->hash);
        if (plan->meta.count) print_input(f, "metadata", plan->meta.path[i], in->meta.bytes, in->meta.hash);
    }
    const npr_ingest_meta *labels = &plan->file[plan->emb.count].meta;
    if (job->labels) print_input(f, "labels", job->labels, labels->bytes, labels->hash);
    int failed = ferror(f);
    if (fclose(f) || failed) return npr_fail(NPR_EINTERNAL, "out of memory: the identity of the job");
    return NPR_OK;
}

npr_status npr_ingest_read_plan(const npr_comm *comm, const npr_log *log, const npr_ingest_job *job,
                                npr_ingest_plan *plan)
{
    *plan = (npr_ingest_plan){0};
    npr_status st = npr_agree(comm, comm->rank ? NPR_OK : find_files(job, plan), "inputs");
    if (!st) st = npr_share_paths(comm, &plan->emb);
    if (!st) st = npr_share_paths(comm, &plan->meta);
    if (!st) {
        plan->file = npr_alloc(plan->emb.count + 1, sizeof *plan->file, "a list of inputs");
        st = npr_agree(comm, plan->file ? NPR_OK : npr_last(), "inputs");
    }
    if (!st) st = scan_mine(comm, log, job, plan);
    if (!st) st = share_facts(comm, plan);
    if (!st) st = settle(job, plan);
    if (!st) st = npr_agree(comm, describe(job, plan), "inputs");
    if (st) npr_ingest_plan_free(plan);
    return st;
}

void npr_ingest_plan_free(npr_ingest_plan *plan)
{
    for (size_t i = 0; plan->file && i <= plan->emb.count; i++) free(plan->file[i].meta.mark);
    free(plan->file);
    npr_paths_free(&plan->emb);
    npr_paths_free(&plan->meta);
    free(plan->job);
    *plan = (npr_ingest_plan){0};
}
