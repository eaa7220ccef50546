/* index_mpi.c - the collective stage behind npr-index: one trained index for the whole set, filled with the
 * rows of each part and stored inside of it. See npr/search.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/mem.h"
#include "npr/plan.h"
#include "npr/search.h"
#include "npr/watchdog.h"
#include "search/faiss/faiss.h"
#include "search/faiss/index_stage.h"

/* ---- the trained index --------------------------------------------------------------------------- */

/* It is kept in the scratch folder, so that a run that is interrupted need not train again, and so are
 * centroids that are not done yet: a line with a digest, then the bytes. The digest is of what the index was
 * trained for, too: that of another command is not taken for ours. */
enum { HEADER = NPR_DIGEST_HEX }; /* 32 digits and a line break */

typedef struct trained_index {
    char *path;
    const char *identity;
    char *blob;
    size_t bytes;
} trained_index;

static npr_status print_digest(const char *identity, const char *blob, size_t bytes, char hex[NPR_DIGEST_HEX])
{
    npr_digest *g = npr_digest_new();
    if (!g) return npr_last();
    npr_digest_add(g, identity, strlen(identity));
    npr_digest_add(g, blob, bytes);
    npr_digest_hex(g, hex);
    npr_digest_free(g);
    return NPR_OK;
}

/* t->blob stays NULL if there is none. One that is damaged is as good as none: training gives the same bytes
 * again. */
static npr_status read_trained(trained_index *t)
{
    if (!npr_file_exists(t->path)) return NPR_OK;
    int64_t size;
    char *file = NULL, hex[NPR_DIGEST_HEX];
    size_t n;
    NPR_TRY(npr_file_size(t->path, &size));
    NPR_TRY(npr_file_read(t->path, (size_t)size, &file, &n));
    npr_status st = n > HEADER ? print_digest(t->identity, file + HEADER, n - HEADER, hex) : NPR_OK;
    if (!st && n > HEADER && !memcmp(hex, file, HEADER - 1)) {
        memmove(file, file + HEADER, n - HEADER);
        t->blob = file;
        t->bytes = n - HEADER;
    } else {
        free(file);
    }
    return st;
}

static npr_status write_trained(const trained_index *t)
{
    char *file = npr_alloc(t->bytes + HEADER, 1, "the trained index");
    if (!file) return npr_last();
    npr_status st = print_digest(t->identity, t->blob, t->bytes, file);
    file[HEADER - 1] = '\n';
    memcpy(file + HEADER, t->blob, t->bytes);
    if (!st) st = npr_file_replace(t->path, file, t->bytes + HEADER);
    free(file);
    return st;
}

/* Rows that codes are trained on: FAISS takes 65,536 of them for a product quantizer, 100,000 for a scalar
 * one. */
enum { CODE_ROWS = 1 << 17 };

/* The codes of an index with these centroids; without them (NULL), all of it. */
static npr_status train_here(const npr_log *log, const npr_index_job *job, const index_sample *sample,
                             const float *centroid, trained_index *t)
{
    if (npr_fault("index.train")) return npr_fail(NPR_EINTERNAL, "injected fault at index.train");
    int lists = npr_faiss_open_lists(job->factory), threads = npr_faiss_threads(job->factory, job->threads);
    int64_t n = centroid && sample->n > CODE_ROWS ? CODE_ROWS : sample->n;
    npr_info(log, "training %s%s on %lld rows", centroid ? "the codes of " : "", job->factory, (long long)n);
    npr_mark_hold("training"); /* one long call */
    npr_status st = centroid ? npr_faiss_train_codes(job->factory, sample->here.dim, centroid, lists,
                                                     sample->rows, n, threads, &t->blob, &t->bytes)
                             : npr_faiss_train(job->factory, sample->here.dim, sample->rows, n, threads,
                                               &t->blob, &t->bytes);
    npr_mark_hold(NULL);
    return st ? st : write_trained(t);
}

/* Centroids after some rounds: the number of rounds, then the vectors. */
typedef struct kept_centroids {
    trained_index file;
    size_t values;
} kept_centroids;

static npr_status keep_centroids(void *self, int done, const float *centroid)
{
    kept_centroids *k = self;
    int64_t rounds = done;
    size_t bytes = k->values * sizeof *centroid;
    k->file.bytes = sizeof rounds + bytes;
    k->file.blob = npr_alloc(k->file.bytes, 1, "centroids");
    if (!k->file.blob) return npr_last();
    memcpy(k->file.blob, &rounds, sizeof rounds);
    memcpy(k->file.blob + sizeof rounds, centroid, bytes);
    npr_status st = write_trained(&k->file);
    free(k->file.blob);
    return st;
}

/* Those of an earlier run, or the first rows of the sample. On rank 0. */
static npr_status begin_centroids(kept_centroids *k, const index_sample *sample, float *centroid,
                                  int64_t *done)
{
    size_t bytes = k->values * sizeof *centroid;
    NPR_TRY(read_trained(&k->file));
    *done = 0;
    if (k->file.blob && k->file.bytes == sizeof *done + bytes) {
        memcpy(done, k->file.blob, sizeof *done);
        memcpy(centroid, k->file.blob + sizeof *done, bytes);
    } else {
        memcpy(centroid, sample->rows, bytes);
    }
    free(k->file.blob);
    return NPR_OK;
}

/* The centroids of the lists, on all ranks. Collective. */
static npr_status train_lists(const npr_comm *comm, const npr_log *log, const npr_index_job *job,
                              const index_sample *sample, const trained_index *t, float **centroid)
{
    int lists = npr_faiss_open_lists(job->factory);
    kept_centroids kept = {{npr_path("%s.lists", t->path), t->identity, NULL, 0},
                           (size_t)lists * (size_t)sample->here.dim};
    int64_t done = 0;
    *centroid = npr_alloc_aligned(kept.values, sizeof **centroid, "centroids");
    npr_status st = kept.file.path && *centroid ? NPR_OK : npr_last();
    if (!st && comm->rank == 0) {
        if (sample->n < lists)
            st = npr_fail(NPR_EUSAGE,
                          "%s has %d lists, which cannot be trained on %lld finite rows of the sample",
                          job->factory, lists, (long long)sample->n);
        else
            st = begin_centroids(&kept, sample, *centroid, &done);
    }
    st = npr_agree(comm, st, "training");
    if (!st) {
        npr_bcast(comm, &done, sizeof done, 0);
        npr_bcast(comm, *centroid, kept.values * sizeof **centroid, 0);
        if (done)
            npr_info(log, "the centroids of an earlier run are used, after %lld rounds", (long long)done);
        kmeans_job k = {lists, job->threads, (int)done, KMEANS_ROUNDS, keep_centroids, &kept};
        st = kmeans_train(comm, log, &sample->here, &k, *centroid);
    }
    free(kept.file.path);
    return st;
}

/* Lists on all ranks where FAISS lets us; codes, and indexes of other kinds, on rank 0. Collective. */
static npr_status train(const npr_comm *comm, const npr_log *log, npr_record *rec, const npr_index_job *job,
                        const npr_set *set, trained_index *t)
{
    index_sample sample;
    float *centroid = NULL;
    int lists = npr_faiss_open_lists(job->factory);
    int64_t first = 2 * (int64_t)lists > CODE_ROWS ? 2 * (int64_t)lists : CODE_ROWS;
    if (!lists || first > job->sample) first = job->sample;
    double start = npr_now(), seconds;
    NPR_TRY(index_sample_take(comm, log, set, job->sample, first, job->seed, &sample));
    npr_record_time(comm, rec, "sample", npr_now() - start);
    start = npr_now();
    npr_status st = lists ? train_lists(comm, log, job, &sample, t, &centroid) : NPR_OK;
    npr_record_time(comm, rec, "train_lists", npr_now() - start);
    if (!st) {
        if (comm->rank == 0) st = train_here(log, job, &sample, centroid, t);
        seconds = npr_now() - start;
        st = npr_agree(comm, st, "training");
        npr_record_time(comm, rec, "train", seconds);
    }
    index_sample_free(&sample);
    free(centroid);
    return st;
}

/* From an earlier run, or trained now; on all ranks. Collective. */
static npr_status get_trained(const npr_comm *comm, const npr_log *log, npr_record *rec,
                              const npr_index_job *job, const npr_set *set, trained_index *t)
{
    npr_status st = comm->rank == 0 ? read_trained(t) : NPR_OK;
    NPR_TRY(npr_agree(comm, st, "reading the trained index"));
    int64_t found = t->blob != NULL;
    npr_max_i64(comm, &found, 1);
    if (found)
        npr_info(log, "the trained index of an earlier run is used");
    else
        NPR_TRY(train(comm, log, rec, job, set, t));
    NPR_TRY(npr_agree_stop(comm, "training"));
    int64_t n = (int64_t)t->bytes;
    npr_bcast(comm, &n, sizeof n, 0);
    if (comm->rank != 0 && !(t->blob = npr_alloc((size_t)n, 1, "the trained index"))) st = npr_last();
    NPR_TRY(npr_agree(comm, st, "sharing the trained index"));
    npr_bcast(comm, t->blob, (size_t)n, 0);
    t->bytes = (size_t)n;
    return NPR_OK;
}

/* ---- the parts ----------------------------------------------------------------------------------- */

static npr_status index_part(const npr_index_job *job, const npr_set *set, npr_set_writer *w, int part,
                             const trained_index *t)
{
    char *blob = NULL;
    size_t n = 0;
    if (npr_fault("index.part")) return npr_fail(NPR_EIO, "injected fault at index.part");
    int threads = npr_faiss_fill_threads(job->factory, job->threads);
    NPR_TRY(npr_faiss_build(set, part, t->blob, t->bytes, threads, &blob, &n));
    npr_status st = npr_set_put_index(w, part, blob, n);
    free(blob);
    return st;
}

/* This rank's parts that no earlier run has finished. Collective. */
static npr_status index_parts(const npr_comm *comm, const npr_log *log, npr_record *rec,
                              const npr_index_job *job, const npr_set *set, npr_set_writer *w,
                              const trained_index *t)
{
    int64_t left = 0;
    for (int p = comm->rank; p < set->parts; p += comm->size)
        if (!npr_set_done(w, p)) left += set->part[p].rows;
    npr_sum_i64(comm, &left, 1);
    if (left < set->rows)
        npr_info(log, "%lld of %lld rows are indexed already", (long long)(set->rows - left),
                 (long long)set->rows);
    double start = npr_now();
    npr_progress *progress = npr_progress_start(comm, log, "indexing", "rows", left);
    npr_status st = NPR_OK;
    for (int p = comm->rank; !st && p < set->parts; p += comm->size) {
        if (npr_set_done(w, p)) continue;
        st = index_part(job, set, w, p, t);
        npr_progress_add(progress, set->part[p].rows);
        if (!st && npr_stop_requested())
            st = npr_fail(NPR_ESTOP,
                          "stopped on request; finished parts are kept, run the same command again");
    }
    npr_progress_end(comm, progress);
    npr_record_time(comm, rec, "index", npr_now() - start);
    return npr_agree(comm, st, "indexing");
}

/* ---- the plan ------------------------------------------------------------------------------------ */

static int64_t longest_part(const npr_set *set)
{
    int64_t longest = 0;
    for (int p = 0; p < set->parts; p++)
        if (set->part[p].rows > longest) longest = set->part[p].rows;
    return longest;
}

static void record_plan(npr_record *rec, const npr_comm *comm, const npr_index_job *job, const npr_set *set)
{
    npr_plan_index_shape shape = {.rows = (double)set->rows,
                                  .dim = set->dim,
                                  .part_rows = (double)longest_part(set),
                                  .sample = (double)job->sample,
                                  .factory = npr_plan_factory_read(job->factory, set->dim)};
    npr_plan_cluster here = npr_plan_here(job->dry_run, job->threads);
    npr_plan_needs n = job->dry_run->needs = npr_plan_index(&shape, &here, job->dry_run->machine);
    npr_record_int(rec, "plan.parts_per_rank", (set->parts + comm->size - 1) / comm->size);
    npr_record_int(rec, "plan.sample_rows", job->sample);
    if (shape.factory.known) {
        const npr_plan_factory *f = &shape.factory;
        double all = f->row * (double)set->rows + f->part * set->parts;
        npr_record_int(rec, "plan.sample_bytes", (int64_t)ceil(f->sample * npr_plan_index_sample(&shape)));
        npr_record_int(rec, "plan.index_bytes", (int64_t)ceil(all));
        npr_record_real(rec, "plan.index_bytes_per_row", set->rows ? all / (double)set->rows : 0);
        npr_record_int(rec, "plan.bytes_on_disk", (int64_t)ceil(n.disk));
        npr_record_int(rec, "plan.memory_per_rank",
                       (int64_t)ceil(4 * npr_plan_index_bytes(&shape, shape.part_rows)));
        npr_record_int(rec, "plan.memory_rank0", (int64_t)ceil(n.memory)); /* it has had the sample before */
    } else {
        npr_record_text(rec, "plan.index_bytes", "unknown for this factory string");
    }
}

/* What is to be built: the factory string of a budget, and how many rows it is trained on. The text is
 * written to `factory`. */
static npr_status choose(const npr_index_job *from, const npr_set *set, npr_index_job *job,
                         char factory[NPR_FACTORY_MAX + 1])
{
    *job = *from;
    if (from->budget && from->factory)
        return npr_fail(NPR_EUSAGE, "--budget chooses the index itself: give it or --factory, not both");
    if (from->budget) {
        double bytes;
        NPR_TRY(index_budget_parse(from->budget, &bytes));
        NPR_TRY(index_budget(bytes, set->dim, longest_part(set), factory));
        job->factory = factory;
    } else if (!from->factory) {
        job->factory = NPR_FACTORY_DEFAULT;
    }
    if (job->sample == 0) job->sample = index_sample_rows(job->factory, set->dim);
    if (job->sample > set->rows) job->sample = set->rows;
    return npr_faiss_check(job->factory, set->dim, job->sample);
}

/* ---- the stage ----------------------------------------------------------------------------------- */

/* Before the first part is touched, a run that fails leaves the set as it was: free for another command. */
static void leave_untouched(const npr_comm *comm, const npr_set *set, const npr_set_writer *w,
                            const trained_index *t)
{
    for (int p = 0; p < set->parts; p++)
        if (npr_set_done(w, p)) return;
    char *lists = npr_path("%s.lists", t->path);
    if (comm->rank == 0 && lists && !npr_file_exists(t->path) && !npr_file_exists(lists))
        (void)npr_folder_remove(npr_set_scratch(w)); /* only tidier */
    free(lists);
}

static npr_status build_all(const npr_comm *comm, const npr_log *log, npr_record *rec,
                            const npr_index_job *job, const npr_set *set, npr_set_writer *w,
                            const char *identity)
{
    trained_index t = {.path = npr_path("%s/trained.faiss", npr_set_scratch(w)), .identity = identity};
    npr_status st = npr_agree(comm, t.path ? NPR_OK : npr_last(), "start");
    if (!st) {
        st = get_trained(comm, log, rec, job, set, &t);
        if (st) leave_untouched(comm, set, w, &t);
    }
    if (!st) st = index_parts(comm, log, rec, job, set, w, &t);
    if (!st) st = npr_set_finish_index(comm, w);
    free(t.blob);
    free(t.path);
    return st;
}

npr_status npr_index_run(const npr_comm *comm, const npr_log *log, npr_record *rec, const npr_index_job *from)
{
    npr_index_job chosen, *job = &chosen;
    char factory[NPR_FACTORY_MAX + 1];
    npr_set *set = NULL;
    npr_set_writer *w = NULL;
    char *identity = NULL; /* what names this index: what it is made from, besides the set */
    int complete = 0;
    NPR_TRY(npr_set_open_all(comm, from->set, &set));
    npr_record_int(rec, "result.rows", set->rows);
    npr_record_int(rec, "result.parts", set->parts);
    npr_record_int(rec, "result.dim", set->dim);
    npr_status st = npr_agree(comm, choose(from, set, job, factory), "start");
    if (st) goto done;
    npr_record_text(rec, "result.factory", job->factory);
    if (job->dry_run) {
        record_plan(rec, comm, job, set);
        goto done;
    }
    identity = npr_path("factory=%s\nsample=%lld\nseed=%llu\n", job->factory, (long long)job->sample,
                        (unsigned long long)job->seed);
    st = npr_agree(comm, identity ? NPR_OK : npr_last(), "start");
    if (!st) st = npr_set_begin_index(comm, set, job->factory, identity, &w, &complete);
    if (st) goto done;
    if (complete)
        npr_info(log, "%s: has this very index already", set->path);
    else
        st = build_all(comm, log, rec, job, set, w, identity);
    if (!st)
        npr_record_text(rec, "check.set", set->digest); /* names every byte of the set, the index included */
done:
    npr_set_end(w);
    free(identity);
    npr_set_free(set);
    return st;
}
