/* painted_mpi.c - the collective stage behind npr-minilaion: ranks take the tars of a painted world in turn,
 * then the classes of its labelled sets. */
#include <stdlib.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/mem.h"
#include "world/painted_files.h"

enum { ROW_BYTES = 4096, SAMPLE_BYTES = 4096 }; /* on disk, about: a picture, its texts and their headers */

typedef struct stage {
    const npr_comm *comm;
    const npr_minilaion_job *job;
    npr_painted *w;
    world_files files;
    char *todo;   /* [files, then classes x sets]: this rank's share of what is missing */
    int64_t rows; /* to be drawn, over all ranks */
} stage;

static int set_size(const stage *s, int set)
{
    return set == NPR_PAINTED_SHOTS        ? s->job->shots
           : set == NPR_PAINTED_VALIDATION ? s->job->val
                                           : s->job->tests;
}

static int64_t samples_of(const stage *s)
{
    int64_t n = 0;
    for (int set = 0; set < NPR_PAINTED_SETS; set++) n += set_size(s, set);
    return n * npr_painted_classes(s->w);
}

static size_t unit_of(const stage *s, int set, int class)
{
    return (size_t)(s->files.count + set * npr_painted_classes(s->w) + class);
}

/* Collective. */
static npr_status find_missing(stage *s)
{
    int done, classes = npr_painted_classes(s->w);
    s->todo = npr_alloc(unit_of(s, NPR_PAINTED_SETS, 0), 1, "the list of files");
    npr_status st = s->todo ? NPR_OK : npr_last();
    for (int f = 0; f < s->files.count && !st; f++) {
        if (!npr_owns(s->comm, f)) continue;
        st = painted_tar_done(s->job->out, f, &done);
        s->todo[f] = !done;
        s->rows += done ? 0 : world_rows_of(&s->files, f);
    }
    for (int set = 0; set < NPR_PAINTED_SETS; set++)
        for (int c = 0; c < classes && !st; c++) {
            if (!npr_owns(s->comm, c)) continue;
            st = painted_class_done(s->job->out, s->w, (npr_painted_set)set, c, &done);
            s->todo[unit_of(s, set, c)] = !done;
            s->rows += done ? 0 : set_size(s, set);
        }
    st = npr_agree(s->comm, st, "looking for finished files");
    if (!st) npr_sum_i64(s->comm, &s->rows, 1);
    return st;
}

/* Better now than after an hour. Collective. */
static npr_status check_room(const stage *s)
{
    npr_status st = NPR_OK;
    int64_t room, need = s->rows * ROW_BYTES;
    if (s->comm->rank == 0) {
        st = npr_folder_free_bytes(s->job->out, &room);
        if (!st && room < need)
            st = npr_fail(NPR_EIO, "%s: %lld pictures need about %.1f GB, the file system has %.1f GB free",
                          s->job->out, (long long)s->rows, (double)need * 1e-9, (double)room * 1e-9);
    }
    return npr_agree(s->comm, st, "checking the disk");
}

/* This rank's classes of all sets: drawn, made durable together, then given their names. Local. */
static npr_status write_sets(const stage *s, npr_progress *progress)
{
    const char *out = s->job->out;
    int classes = npr_painted_classes(s->w);
    npr_status st = NPR_OK;
    for (int set = 0; set < NPR_PAINTED_SETS; set++)
        for (int c = 0; c < classes && !st; c++)
            if (s->todo[unit_of(s, set, c)])
                st = painted_class_draw(out, s->w, (npr_painted_set)set, c, set_size(s, set), progress);
    if (!st) st = painted_sync(out);
    for (int set = 0; set < NPR_PAINTED_SETS; set++)
        for (int c = 0; c < classes && !st; c++)
            if (s->todo[unit_of(s, set, c)]) st = painted_class_show(out, s->w, (npr_painted_set)set, c);
    return st ? st : painted_sync(out);
}

/* Collective. */
static npr_status write_world(stage *s, const npr_log *log, npr_record *rec)
{
    int64_t all = s->files.total + samples_of(s);
    if (s->rows < all)
        npr_info(log, "%lld of %lld pictures are there already", (long long)(all - s->rows), (long long)all);
    double start = npr_now();
    npr_progress *progress = npr_progress_start(s->comm, log, "painting", "pictures", s->rows);
    npr_status st = NPR_OK;
    for (int f = 0; f < s->files.count && !st; f++)
        if (s->todo[f]) st = painted_tar_write(s->job->out, s->w, &s->files, f, progress);
    if (!st) st = write_sets(s, progress);
    if (!st && s->comm->rank == 0) st = painted_words(s->job->out, s->w);
    npr_progress_end(s->comm, progress);
    npr_record_time(s->comm, rec, "write", npr_now() - start);
    return npr_agree(s->comm, st, "painting");
}

/* Digests of some files: a glance tells whether two machines made the same world. Collective. */
static npr_status record_checks(const stage *s, npr_record *rec)
{
    static const char *const file[][2] = {{"check.classes", "classes.txt"},
                                          {"check.prompts", "coined/prompts.json"},
                                          {"check.pictures", "pictures/00000.tar"}};
    npr_status st = NPR_OK;
    for (size_t i = 0; i < sizeof file / sizeof *file && s->comm->rank == 0 && !st; i++) {
        char hex[NPR_DIGEST_HEX], *path = npr_path("%s/%s", s->job->out, file[i][1]);
        st = path ? npr_digest_file(path, hex, NULL) : npr_last();
        if (!st) npr_record_text(rec, file[i][0], hex);
        free(path);
    }
    return npr_agree(s->comm, st, "checks");
}

npr_status npr_minilaion_paint(const npr_comm *comm, const npr_log *log, npr_record *rec,
                               const npr_minilaion_job *job)
{
    stage s = {.comm = comm, .job = job};
    npr_status st = painted_cut(job->rows, job->file_rows, &s.files);
    if (!st) st = npr_painted_make((uint64_t)job->seed, job->classes, &s.w);
    st = npr_agree(comm, st, "making the world");
    if (st) goto done;
    npr_record_int(rec, "result.rows", s.files.total);
    npr_record_int(rec, "result.files", s.files.count);
    npr_record_int(rec, "result.rows_per_file", s.files.rows);
    npr_record_int(rec, "result.classes", job->classes);
    npr_record_int(rec, "result.labelled", samples_of(&s));
    if (job->dry_run) {
        npr_record_int(rec, "plan.bytes", s.files.total * ROW_BYTES + samples_of(&s) * SAMPLE_BYTES);
        npr_record_int(rec, "plan.files_per_rank", (s.files.count + comm->size - 1) / comm->size);
        goto done;
    }
    if (comm->rank == 0) st = painted_begin(job->out, job->identity);
    st = npr_agree(comm, st, "start");
    if (!st) st = find_missing(&s);
    if (!st) st = check_room(&s);
    if (!st) st = write_world(&s, log, rec);
    if (!st) st = record_checks(&s, rec);
done:
    npr_painted_free(s.w);
    free(s.todo);
    return st;
}
