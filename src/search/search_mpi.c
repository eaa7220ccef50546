/* search_mpi.c - recall as one collective stage: scan in batches of queries, merge, order, write. See
 * npr/search.h; the steps are in the files that search_stage.h lists. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "base/mem.h"
#include "io/urls.h"
#include "npr/plan.h"
#include "search/faiss/proposals.h"
#include "search/resident.h"
#include "search/scan_journal.h"
#include "search/search_stage.h"

typedef struct search_run {
    const npr_comm *comm;
    const npr_log *log;
    npr_record *rec;
    const npr_search_job *job;
    npr_search_inputs in;
    npr_set_writer *w;
    npr_scan_journal *journal; /* of all passes */
    int by_class;
    npr_search_plan plan;
    npr_tally tally; /* of all lists */
    npr_search_kept kept;
    npr_search_recall recall;
    npr_search_tuned tuned;
    npr_search_sample sample; /* queries at which recall is measured */
    npr_topk *truth;          /* exact answers: of the sample's queries, then of those to tune by */
    npr_search_job tuned_job; /* the job with what was tuned */
    npr_search_times times;
} search_run;

static int batch_size(const search_run *r)
{
    npr_plan_search_shape s = npr_search_shape(r->job, &r->in);
    return (int)npr_plan_search_parts(&s).batch;
}

/* Bytes of parts that a rank keeps in memory at most: none for a single pass. */
static double resident_bytes(const search_run *r)
{
    npr_plan_search_shape s = npr_search_shape(r->job, &r->in);
    return npr_plan_search_parts(&s).resident;
}

/* ---- recall -------------------------------------------------------------------------------------------- */

/* Take the lists and the tally of one pass into the whole. Local. */
static npr_status keep(search_run *r, const npr_search_pass *pass, const npr_topk *lists,
                       const npr_tally *tally)
{
    size_t first = (size_t)pass->list0 * NPR_TALLY_FIELDS, n = (size_t)tally->lists * NPR_TALLY_FIELDS;
    memcpy(r->tally.count + first, tally->count, n * sizeof *tally->count);
    r->tally.non_finite = tally->non_finite; /* every pass sees the same rows */
    return npr_search_plan_add(&r->plan, lists, pass->list0, r->in.label, r->job->min_score);
}

/* FAISS: which rows to score for the pass's lists. Collective. */
static npr_status propose(search_run *r, const npr_search_pass *pass, npr_chosen *candidates,
                          npr_tally *tally)
{
    npr_search_pass first = *pass;
    first.kind = SEARCH_CANDIDATES;
    first.k = (int)npr_search_candidates(r->job->k, r->job->refine, r->in.index->rows);
    first.candidates = candidates;
    return npr_search_pass_run(r->comm, r->log, r->job, &r->in, r->journal, &first, NULL, tally, &r->times);
}

/* Search with the lists [list0, list1), and take what is found into the whole. Collective. */
static npr_status run_pass(search_run *r, int list0, int list1)
{
    int faiss = !strcmp(r->job->mode, "faiss");
    int nprobe = faiss ? r->job->nprobe : 0, refine = faiss ? r->job->refine : 0;
    npr_search_pass pass = {SEARCH_MAIN, list0,  list1,  r->job->mode, r->in.by,
                            r->job->k,   nprobe, refine, NULL};
    npr_topk *lists = NULL;
    npr_chosen candidates = {0};
    npr_tally tally = {0}, proposed = {0};
    npr_status st = NPR_OK;
    if (faiss) st = propose(r, &pass, &candidates, &proposed);
    if (faiss) pass.candidates = &candidates;
    if (!st)
        st = npr_search_pass_run(r->comm, r->log, r->job, &r->in, r->journal, &pass, &lists, &tally,
                                 &r->times);
    if (faiss) tally.non_finite = proposed.non_finite; /* only an index knows what is not in it */
    if (!st) st = npr_agree(r->comm, keep(r, &pass, lists, &tally), "scan");
    npr_topk_free(lists);
    npr_chosen_free(&candidates);
    npr_search_tally_free(&tally);
    npr_search_tally_free(&proposed);
    return st;
}

static npr_status run_passes(search_run *r)
{
    npr_status st = npr_agree(r->comm, npr_search_tally_make(r->in.lists, &r->tally), "scan");
    int batch = batch_size(r);
    double resident = resident_bytes(r);
    if (!st && resident > 0)
        st = npr_agree(r->comm, npr_resident_make(r->in.index->parts, (int64_t)resident, &r->in.resident),
                       "scan");
    for (int q = 0; !st && q < r->in.lists; q += batch) {
        int end = r->in.lists - q < batch ? r->in.lists : q + batch;
        st = run_pass(r, q, end);
    }
    if (!st && resident > 0) {
        int64_t served = npr_resident_served(r->in.resident);
        npr_sum_i64(r->comm, &served, 1);
        npr_record_int(r->rec, "run.parts_from_memory", served);
    }
    npr_resident_free(r->in.resident);
    r->in.resident = NULL;
    return st;
}

/* Exact answers to the sample's queries, and to those to tune by. */
static npr_status find_truth(search_run *r, const npr_queries *tune)
{
    npr_queries all = {0};
    npr_tally tally = {0};
    npr_search_times apart = {0};
    npr_status st = npr_agree(r->comm, npr_search_queries_join(&r->sample.queries, tune, &all), "recall");
    if (!st) {
        npr_search_pass pass = {SEARCH_TRUTH, 0, all.nq, "exact", &all, r->job->k, 0, 0, NULL};
        st = npr_search_pass_run(r->comm, r->log, r->job, &r->in, r->journal, &pass, &r->truth, &tally,
                                 &apart);
    }
    if (!st) npr_record_time(r->comm, r->rec, "recall", apart.scan + apart.exposed);
    npr_search_tally_free(&tally);
    npr_queries_free(&all);
    return st;
}

static npr_status use_tuned(search_run *r)
{
    const npr_search_tuned *t = &r->tuned;
    r->tuned_job = *r->job;
    r->tuned_job.nprobe = t->nprobe;
    r->tuned_job.refine = t->refine;
    if (!t->reached && r->job->strict)
        return npr_fail(
            NPR_EENV,
            "%s: a recall of %.3g is out of reach of index %s: %.3f (+-%.3f) at nprobe %d, refine %d",
            r->job->index, r->job->target_recall, r->in.index->index, t->recall, t->error, t->nprobe,
            t->refine);
    if (!t->reached)
        npr_warn(
            r->log,
            "a recall of %.3g is out of reach of index %s: the search goes on with what finds most, %.3f "
            "(+-%.3f) at nprobe %d, refine %d",
            r->job->target_recall, r->in.index->index, t->recall, t->error, t->nprobe, t->refine);
    else
        npr_info(r->log, "recall %.3f (+-%.3f) at nprobe %d, refine %d", t->recall, t->error, t->nprobe,
                 t->refine);
    r->job = &r->tuned_job;
    return NPR_OK;
}

/* Before the search: exact answers to some queries, and with --target-recall the probes that find them. */
static npr_status prepare_recall(search_run *r)
{
    if (strcmp(r->job->mode, "faiss") != 0) return NPR_OK;
    int n = r->job->recall_queries < r->in.by->nq ? r->job->recall_queries : r->in.by->nq;
    int tune = r->job->target_recall > 0;
    if (!n && !tune) return NPR_OK;
    npr_queries by = {0};
    npr_status st = npr_agree(r->comm, npr_search_sample_make(r->in.by, n, &r->sample), "recall");
    if (!st && tune) st = npr_search_tune_queries(r->comm, r->log, &r->in, n, &by, &r->tuned.rows);
    if (!st) st = find_truth(r, &by);
    double start = npr_now();
    if (!st && tune) {
        st = npr_search_tune_once(r->comm, r->log, r->job, &r->in, r->w, &by, r->truth, n, &r->tuned);
        if (!st) npr_record_time(r->comm, r->rec, "tune", npr_now() - start);
        if (!st) st = use_tuned(r);
    }
    npr_queries_free(&by);
    return st;
}

/* However the run ends, what it has found is on the disk, on all ranks. A stop whose records are not is a
 * failure; another failure stays what it was. */
static npr_status sync_journal(search_run *r, npr_status st)
{
    if (!st || st == NPR_ESTOP) {
        npr_status kept = npr_agree(r->comm, npr_scan_journal_sync(r->journal), "journal");
        return kept ? kept : st;
    }
    char *text = npr_strdup(npr_status_text());
    npr_status kept = npr_scan_journal_sync(r->journal);
    if (kept && text) npr_status_set(st, text);
    free(text);
    return st;
}

/* All passes, with one journal. */
static npr_status scan_all(search_run *r)
{
    NPR_TRY(npr_scan_journal_open(r->comm, npr_set_scratch(r->w), npr_set_run(r->w), r->in.index->parts,
                                  &r->journal));
    npr_status st = prepare_recall(r);
    if (!st) st = run_passes(r);
    st = sync_journal(r, st);
    int64_t read = npr_scan_journal_bytes_read(r->journal);
    npr_scan_journal_close(r->journal);
    if (st) return st;
    npr_sum_i64(r->comm, &read, 1);
    npr_record_int(r->rec, "run.journal_bytes_read", read);
    return NPR_OK;
}

/* After the search: how much of that was found, and how much was looked at. */
static npr_status measure_recall(search_run *r)
{
    if (!r->sample.queries.nq) return NPR_OK;
    NPR_TRY(npr_search_scanned(r->comm, r->in.index, &r->sample.queries, r->job->nprobe, &r->recall.scanned));
    return npr_agree(r->comm, npr_search_recall_measure(&r->plan, r->truth, &r->sample, &r->recall),
                     "recall");
}

static void say_times(search_run *r, double pool)
{
    int64_t bytes = r->times.bytes;
    double slowest = r->times.scan;
    npr_sum_i64(r->comm, &bytes, 1);
    npr_max_f64(r->comm, &slowest, 1);
    npr_record_int(r->rec, "run.bytes_scanned", bytes);
    npr_record_real(r->rec, "run.scan_gb_per_s", slowest > 0 ? (double)bytes / slowest / 1e9 : 0);
    npr_record_int(r->rec, "run.merges_beside", r->times.beside);
    double asked = r->times.scan + r->times.exposed;
    npr_max_f64(r->comm, &asked, 1);
    npr_record_real(r->rec, "run.queries_per_s", asked > 0 ? r->in.lists / asked : 0);
    double flops = !strcmp(r->job->mode, "exact") ? 2 * r->times.pairs * r->in.index->dim : 0;
    npr_record_work(r->comm, r->rec, "scan", (double)r->times.bytes, flops);
    double lists = (double)r->in.lists * r->job->k * sizeof(npr_hit), others = r->comm->size - 1;
    npr_record_work(r->comm, r->rec, "merge", 2 * lists * others / r->comm->size, 0); /* at most */
    npr_record_time(r->comm, r->rec, "scan", r->times.scan);
    npr_record_time(r->comm, r->rec, "scan_waited", r->times.waited);
    npr_record_time(r->comm, r->rec, "scan_rows_waited", r->times.rows_waited);
    npr_record_time(r->comm, r->rec, "scan_reading", r->times.reading);
    npr_record_time(r->comm, r->rec, "merge", r->times.merge);
    npr_record_time(r->comm, r->rec, "merge_exposed", r->times.exposed);
    npr_record_time(r->comm, r->rec, "pool", pool);
}

/* From the plan to a finished set. */
static npr_status write_pool(search_run *r)
{
    double start = npr_now();
    int64_t rows = (int64_t)r->plan.count, parts = (rows + r->job->part_rows - 1) / r->job->part_rows;
    if (rows == 0) {
        npr_warn(r->log, "nothing was recalled: the pool is empty");
        parts = 1; /* of no rows */
    }
    npr_heap_back(); /* lists and indexes are gone */
    NPR_TRY(npr_search_pool_write(r->comm, r->log, r->job, &r->in, &r->plan, r->w, (int)parts));
    npr_status st = NPR_OK;
    if (r->comm->rank == 0)
        st = npr_search_summary_write(r->rec, &r->in, &r->plan, &r->tally, &r->kept, &r->recall, &r->tuned,
                                      r->by_class, npr_set_folder(r->w));
    NPR_TRY(npr_agree(r->comm, st, "summary"));
    NPR_TRY(npr_set_finish(r->comm, r->w, (int)parts));
    say_times(r, npr_now() - start);
    return NPR_OK;
}

/* The pool's URLs, for img2dataset. Rank 0 writes the one file. */
static npr_status write_urls(search_run *r, const npr_set *pool)
{
    npr_urls_count n = {0};
    if (!r->job->urls) return NPR_OK;
    npr_status st = r->comm->rank ? NPR_OK : npr_urls_write(pool, r->job->urls, &n);
    NPR_TRY(npr_agree(r->comm, st, "URLs"));
    npr_record_int(r->rec, "result.urls", n.written);
    npr_record_int(r->rec, "result.urls_repeated", n.repeated);
    npr_record_int(r->rec, "result.urls_without", n.without);
    npr_info(r->log,
             "%s: %lld URLs of %lld rows; %lld rows have a picture that is wanted already, %lld no URL",
             r->job->urls, (long long)n.written, (long long)pool->rows, (long long)n.repeated,
             (long long)n.without);
    return NPR_OK;
}

/* The digest of the finished set, and a word on what is in it. */
static npr_status say_pool(search_run *r)
{
    npr_set *pool;
    NPR_TRY(npr_set_open_all(r->comm, r->job->out, &pool));
    npr_record_text(r->rec, "check.pool", pool->digest);
    npr_info(r->log, "%s: %lld rows in %d parts", r->job->out, (long long)pool->rows, pool->parts);
    npr_status st = write_urls(r, pool);
    npr_set_free(pool);
    return st;
}

static npr_status recall_and_write(search_run *r)
{
    NPR_TRY(scan_all(r));
    NPR_TRY(measure_recall(r));
    npr_search_plan_order(&r->plan, r->by_class);
    if (r->plan.full && r->job->min_score > -INFINITY)
        npr_warn(r->log,
                 "%d lists of %d rows are full: there may be more rows of at least --min-score; raise --k",
                 r->plan.full, r->job->k);
    double start = npr_now();
    NPR_TRY(npr_search_keep(r->comm, r->job, &r->in, r->by_class, &r->plan, &r->kept));
    npr_record_time(r->comm, r->rec, "keep", npr_now() - start);
    return write_pool(r);
}

static npr_status search(search_run *r)
{
    int complete = 0;
    npr_set_plan plan = {.path = r->job->out,
                         .kind = "pool",
                         .model = r->in.index->model,
                         .job = r->in.identity,
                         .dim = r->in.index->dim,
                         .columns = npr_search_pool_columns(r->in.index, r->in.by != NULL),
                         .part_rows = r->job->part_rows};
    NPR_TRY(npr_set_begin(r->comm, &plan, &r->w, &complete));
    npr_status st = NPR_OK;
    if (complete) {
        npr_info(r->log, "%s is already there, made by this very command: nothing to do", r->job->out);
        if (r->comm->rank == 0) st = npr_search_summary_read(r->rec, r->job->out);
        st = npr_agree(r->comm, st, "summary");
    } else {
        st = recall_and_write(r);
    }
    if (!st) st = say_pool(r);
    npr_set_end(r->w);
    return st;
}

npr_status npr_search_run(const npr_comm *comm, const npr_log *log, npr_record *rec,
                          const npr_search_job *job)
{
    search_run r = {
        .comm = comm, .log = log, .rec = rec, .job = job, .by_class = strcmp(job->pool, "row") != 0};
    npr_status st = npr_search_inputs_read(comm, log, job, &r.in);
    if (!st && job->urls && !(r.in.index->columns & NPR_COL(NPR_URL)))
        st = npr_fail(NPR_EDATA, "--urls=%s: %s has no column url", job->urls, job->index);
    if (!st && job->dry_run)
        npr_search_needs_say(rec, job, &r.in, comm->size);
    else if (!st)
        st = search(&r);
    npr_search_tally_free(&r.tally);
    npr_search_kept_free(&r.kept);
    npr_search_sample_free(&r.sample);
    npr_topk_free(r.truth);
    npr_search_inputs_free(&r.in);
    free(r.plan.row);
    return st;
}
