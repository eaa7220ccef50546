/* index_mpi.c - the collective stage behind npr-index: one trained index for the whole set, filled with the
 * rows of each part and stored inside of it. See npr/search.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/mem.h"
#include "npr/search.h"
#include "search/faiss.h"
#include "search/index_stage.h"

/* ---- the trained index --------------------------------------------------------------------------- */

/* It is kept in the scratch folder, so that a run that is interrupted need not train again: a line with the
 * digest of the rest, then the bytes. */
enum { HEADER = NPR_DIGEST_HEX }; /* 32 digits and a line break */

/* *blob = NULL if there is none. One that is damaged is as good as none: training gives the same bytes again.
 */
static npr_status read_trained(const char *path, char **blob, size_t *bytes)
{
    *blob = NULL;
    if (!npr_file_exists(path)) return NPR_OK;
    int64_t size;
    char *file = NULL, hex[NPR_DIGEST_HEX];
    size_t n;
    NPR_TRY(npr_file_size(path, &size));
    NPR_TRY(npr_file_read(path, (size_t)size, &file, &n));
    if (n > HEADER) npr_digest_block(file + HEADER, n - HEADER, hex);
    if (n > HEADER && !memcmp(hex, file, HEADER - 1)) {
        memmove(file, file + HEADER, n - HEADER);
        *blob = file;
        *bytes = n - HEADER;
        return NPR_OK;
    }
    free(file);
    return NPR_OK;
}

static npr_status write_trained(const char *path, const char *blob, size_t bytes)
{
    char *file = npr_alloc(bytes + HEADER, 1, "the trained index");
    if (!file) return npr_last();
    npr_digest_block(blob, bytes, file);
    file[HEADER - 1] = '\n';
    memcpy(file + HEADER, blob, bytes);
    npr_status st = npr_file_replace(path, file, bytes + HEADER);
    free(file);
    return st;
}

/* From an earlier run, or trained now: on rank 0. Collective. */
static npr_status train(const npr_comm *comm, const npr_log *log, npr_record *rec, const npr_index_job *job,
                        const npr_set *set, const char *path, char **blob, size_t *bytes)
{
    npr_status st = comm->rank == 0 ? read_trained(path, blob, bytes) : NPR_OK;
    NPR_TRY(npr_agree(comm, st, "reading the trained index"));
    int64_t found = *blob != NULL, n = 0;
    npr_max_i64(comm, &found, 1);
    if (found) {
        npr_info(log, "the trained index of an earlier run is used");
        return NPR_OK;
    }
    float *rows = NULL;
    double start = npr_now(), trained;
    NPR_TRY(index_sample_take(comm, log, set, job->sample, job->seed, &rows, &n));
    npr_record_time(comm, rec, "sample", npr_now() - start);
    start = npr_now();
    if (comm->rank == 0) {
        npr_info(log, "training %s on %lld rows", job->factory, (long long)n);
        st = npr_faiss_train(job->factory, set->dim, rows, n, npr_faiss_threads(job->factory, job->threads),
                             blob, bytes);
        if (!st) st = write_trained(path, *blob, *bytes);
    }
    free(rows);
    trained = npr_now() - start;
    st = npr_agree(comm, st, "training");
    npr_record_time(comm, rec, "train", comm->rank == 0 ? trained : 0);
    return st ? st : npr_agree_stop(comm, "training");
}

static npr_status share_trained(const npr_comm *comm, char **blob, size_t *bytes)
{
    int64_t n = (int64_t)*bytes;
    npr_bcast(comm, &n, sizeof n, 0);
    npr_status st = NPR_OK;
    if (comm->rank != 0 && !(*blob = npr_alloc((size_t)n, 1, "the trained index"))) st = npr_last();
    NPR_TRY(npr_agree(comm, st, "sharing the trained index"));
    npr_bcast(comm, *blob, (size_t)n, 0);
    *bytes = (size_t)n;
    return NPR_OK;
}

/* ---- the parts ----------------------------------------------------------------------------------- */

static npr_status index_part(const npr_index_job *job, const npr_set *set, npr_set_writer *w, int part,
                             const char *blob, size_t bytes, int64_t *written)
{
    char *filled = NULL;
    size_t n = 0;
    if (npr_fault("index.part")) return npr_fail(NPR_EIO, "injected fault at index.part");
    NPR_TRY(
        npr_faiss_build(set, part, blob, bytes, npr_faiss_threads(job->factory, job->threads), &filled, &n));
    npr_status st = npr_set_put_index(w, part, filled, n);
    free(filled);
    *written += (int64_t)n;
    return st;
}

/* This rank's parts that no earlier run has finished. Collective. */
static npr_status index_parts(const npr_comm *comm, const npr_log *log, npr_record *rec,
                              const npr_index_job *job, const npr_set *set, npr_set_writer *w,
                              const char *blob, size_t bytes)
{
    int64_t left = 0, written = 0;
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
        st = index_part(job, set, w, p, blob, bytes, &written);
        npr_progress_add(progress, set->part[p].rows);
        if (!st && npr_stop_requested())
            st = npr_fail(NPR_ESTOP,
                          "stopped on request; finished parts are kept, run the same command again");
    }
    npr_progress_end(comm, progress);
    npr_record_time(comm, rec, "index", npr_now() - start);
    npr_sum_i64(comm, &written, 1);
    npr_record_int(rec, "run.index_bytes_written", written); /* by this run: not a result */
    return npr_agree(comm, st, "indexing");
}

/* ---- the plan ------------------------------------------------------------------------------------ */

/* Bytes of a row in an index of this kind, about; 0 if the factory string does not tell. A number of 8 bytes
 * goes with each row, the links of a graph come on top. */
static double row_bytes(const char *factory, int dim)
{
    const char *last = strrchr(factory, ',');
    int m, bits = 8, links = 0;
    double bytes = 0;
    last = last ? last + 1 : factory;
    if (sscanf(factory, "HNSW%d", &links) == 1 && last == factory) last = "Flat";
    if (sscanf(last, "PQ%dx%d", &m, &bits) >= 1)
        bytes = (double)m * bits / 8;
    else if (!strncmp(last, "SQfp16", 6))
        bytes = 2.0 * dim;
    else if (sscanf(last, "SQ%d", &bits) == 1)
        bytes = (double)dim * bits / 8;
    else if (!strncmp(last, "Flat", 4))
        bytes = 4.0 * dim;
    return bytes > 0 ? bytes + 8 + 8.0 * links : 0;
}

static void record_plan(npr_record *rec, const npr_comm *comm, const npr_index_job *job, const npr_set *set)
{
    int64_t longest = 0, n = job->sample < set->rows ? job->sample : set->rows;
    for (int p = 0; p < set->parts; p++)
        if (set->part[p].rows > longest) longest = set->part[p].rows;
    double row = row_bytes(job->factory, set->dim);
    npr_record_int(rec, "plan.parts_per_rank", (set->parts + comm->size - 1) / comm->size);
    npr_record_int(rec, "plan.sample_rows", n);
    /* as it arrives (binary16 and its key) and as FAISS wants it (float), on rank 0 */
    npr_record_int(rec, "plan.sample_bytes", n * (6 * (int64_t)set->dim + 16));
    if (row > 0) {
        npr_record_int(rec, "plan.index_bytes", (int64_t)ceil(row * (double)set->rows));
        /* the index of the longest part in FAISS's memory, and the same as bytes to be written */
        npr_record_int(rec, "plan.memory_per_rank", (int64_t)ceil(2 * row * (double)longest));
    } else {
        npr_record_text(rec, "plan.index_bytes", "unknown for this factory string");
    }
}

/* ---- the stage ----------------------------------------------------------------------------------- */

static npr_status build_all(const npr_comm *comm, const npr_log *log, npr_record *rec,
                            const npr_index_job *job, const npr_set *set, npr_set_writer *w)
{
    char *blob = NULL, *path = npr_path("%s/trained.faiss", npr_set_scratch(w));
    size_t bytes = 0;
    npr_status st = npr_agree(comm, path ? NPR_OK : npr_last(), "start");
    if (!st) st = train(comm, log, rec, job, set, path, &blob, &bytes);
    if (!st) st = share_trained(comm, &blob, &bytes);
    if (!st) st = index_parts(comm, log, rec, job, set, w, blob, bytes);
    if (!st) st = npr_set_finish_index(comm, w);
    free(blob);
    free(path);
    return st;
}

/* What names this index: what it is made from, besides the set. */
static char *identity_of(const npr_index_job *job)
{
    return npr_path("factory=%s\nsample=%lld\nseed=%llu\n", job->factory, (long long)job->sample,
                    (unsigned long long)job->seed);
}

/* The manifest's digest names every byte of the set, the index included. Collective. */
static npr_status record_check(const npr_comm *comm, npr_record *rec, const char *path)
{
    npr_set *set = NULL;
    NPR_TRY(npr_set_open_all(comm, path, &set));
    npr_record_text(rec, "check.set", set->digest);
    npr_set_free(set);
    return NPR_OK;
}

static npr_status check_factory(const npr_comm *comm, const npr_index_job *job, int dim)
{
    npr_faiss *f = NULL;
    npr_status st = npr_faiss_make(job->factory, dim, &f);
    npr_faiss_free(f);
    return npr_agree(comm, st, "start");
}

npr_status npr_index_run(const npr_comm *comm, const npr_log *log, npr_record *rec, const npr_index_job *job)
{
    npr_set *set = NULL;
    npr_set_writer *w = NULL;
    char *identity = NULL;
    int complete = 0;
    NPR_TRY(npr_set_open_all(comm, job->set, &set));
    npr_record_int(rec, "result.rows", set->rows);
    npr_record_int(rec, "result.parts", set->parts);
    npr_record_int(rec, "result.dim", set->dim);
    npr_status st = check_factory(comm, job, set->dim);
    if (st) goto done;
    if (job->dry_run) {
        record_plan(rec, comm, job, set);
        goto done;
    }
    identity = identity_of(job);
    st = npr_agree(comm, identity ? NPR_OK : npr_last(), "start");
    if (!st) st = npr_set_begin_index(comm, set, job->factory, identity, &w, &complete);
    if (st) goto done;
    if (complete)
        npr_info(log, "%s: has this very index already", set->path);
    else
        st = build_all(comm, log, rec, job, set, w);
    if (!st) st = record_check(comm, rec, job->set);
done:
    npr_set_end(w);
    free(identity);
    npr_set_free(set);
    return st;
}
