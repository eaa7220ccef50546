/* space_mpi.c - the collective stage behind npr-minilaion: ranks take the files of a world in turn. */
#include <stdlib.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/mem.h"
#include "world/space_files.h"

enum { LINE_BYTES = 140 }; /* of metadata per row, about */

static int64_t bytes_of(int64_t rows, int dim)
{
    return rows * (dim * (int64_t)sizeof(uint16_t) + LINE_BYTES);
}

/* Which files are missing, todo [count], and how many rows that are over all ranks. Collective. */
static npr_status find_missing(const npr_comm *comm, const npr_minilaion_job *job, const world_files *files,
                               char *todo, int64_t *rows)
{
    npr_status st = NPR_OK;
    *rows = 0;
    for (int f = comm->rank; f < files->count && !st; f += comm->size) {
        int done;
        st = space_done(job->out, files, f, job->dim, &done);
        todo[f] = !done;
        *rows += done ? 0 : world_rows_of(files, f);
    }
    NPR_TRY(npr_agree(comm, st, "looking for finished files"));
    npr_sum_i64(comm, rows, 1);
    return NPR_OK;
}

/* Better now than after an hour. Collective. */
static npr_status check_room(const npr_comm *comm, const npr_minilaion_job *job, int64_t rows)
{
    npr_status st = NPR_OK;
    int64_t room, need = bytes_of(rows, job->dim);
    if (comm->rank == 0) {
        st = npr_folder_free_bytes(job->out, &room);
        if (!st && room < need)
            st = npr_fail(NPR_EIO, "%s: %lld rows need about %.1f GB, the file system has %.1f GB free",
                          job->out, (long long)rows, (double)need * 1e-9, (double)room * 1e-9);
    }
    return npr_agree(comm, st, "checking the disk");
}

static npr_status write_files(const npr_comm *comm, const npr_log *log, npr_record *rec,
                              const npr_minilaion_job *job, const npr_world *w, const world_files *files)
{
    char *todo = npr_alloc((size_t)files->count, 1, "the list of files");
    npr_status st = npr_agree(comm, todo ? NPR_OK : npr_last(), "start");
    int64_t rows = 0;
    if (!st) st = find_missing(comm, job, files, todo, &rows);
    if (!st) st = check_room(comm, job, rows);
    if (st) goto done;
    if (rows < files->total)
        npr_info(log, "%lld of %lld rows are there already", (long long)(files->total - rows),
                 (long long)files->total);
    double start = npr_now();
    npr_progress *progress = npr_progress_start(comm, log, "writing", "rows", rows);
    for (int f = comm->rank; f < files->count && !st; f += comm->size)
        if (todo[f]) st = space_write(job->out, w, files, f, progress);
    if (!st && comm->rank == 0) st = space_text(job->out, w);
    if (!st && comm->rank == comm->size - 1) st = space_tests(job->out, w, job->tests);
    npr_progress_end(comm, progress);
    npr_record_time(comm, rec, "write", npr_now() - start);
    st = npr_agree(comm, st, "writing");
done:
    free(todo);
    return st;
}

/* Digests of the small files: a glance tells whether two machines made the same world. Collective. */
static npr_status record_checks(const npr_comm *comm, npr_record *rec, const char *out)
{
    static const char *const file[][2] = {{"check.head", "text/head.npy"},
                                          {"check.classes", "text/classes.txt"},
                                          {"check.test", "test/test.npy"}};
    npr_status st = NPR_OK;
    for (size_t i = 0; i < sizeof file / sizeof *file && comm->rank == 0 && !st; i++) {
        char hex[NPR_DIGEST_HEX], *path = npr_path("%s/%s", out, file[i][1]);
        st = path ? npr_digest_file(path, hex, NULL) : npr_last();
        if (!st) npr_record_text(rec, file[i][0], hex);
        free(path);
    }
    return npr_agree(comm, st, "checks");
}

npr_status npr_minilaion_embed(const npr_comm *comm, const npr_log *log, npr_record *rec,
                               const npr_minilaion_job *job)
{
    npr_world *w = NULL;
    world_files files;
    npr_status st = space_cut(job->rows, job->file_rows, &files);
    if (!st) st = npr_world_make((uint64_t)job->seed, job->dim, job->classes, &w);
    st = npr_agree(comm, st, "making the world");
    if (st) goto done;
    npr_record_int(rec, "result.rows", files.total);
    npr_record_int(rec, "result.files", files.count);
    npr_record_int(rec, "result.rows_per_file", files.rows);
    npr_record_int(rec, "result.classes", job->classes);
    if (job->dry_run) {
        npr_record_int(rec, "plan.bytes", bytes_of(files.total, job->dim));
        npr_record_int(rec, "plan.files_per_rank", (files.count + comm->size - 1) / comm->size);
        goto done;
    }
    if (comm->rank == 0) st = space_begin(job->out, job->identity);
    st = npr_agree(comm, st, "start");
    if (!st) st = write_files(comm, log, rec, job, w, &files);
    if (!st) st = record_checks(comm, rec, job->out);
done:
    npr_world_free(w);
    return st;
}
