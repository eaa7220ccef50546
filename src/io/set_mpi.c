/* set_mpi.c - a set read and written by all ranks. See include/npr/set.h. What rank 0 does alone on the disk
 * is in scratch.c; here is only who tells whom. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "io/journal.h"
#include "io/manifest.h"
#include "io/part.h"
#include "io/scratch.h"

/* A part this rank has committed in this run. */
typedef struct committed {
    int64_t part;
    npr_part_entry entry;
} committed;

struct npr_set_writer {
    int rank;
    npr_set *set;         /* what the manifest will say */
    int borrowed;         /* 1: set is the caller's (an index is being added) */
    char *factory, *job;  /* of that index */
    npr_scratch scratch;  /* the lock is rank 0's */
    npr_journal *journal; /* this rank's, opened by its first part */
    committed *mine;
    size_t mines, cap;
};

/* ---- reading ---- */

npr_status npr_set_open_all(const npr_comm *comm, const char *path, npr_set **set)
{
    char *text = NULL;
    size_t n = 0;
    npr_status st = npr_agree(comm, comm->rank ? NPR_OK : npr_manifest_read(path, &text, &n), "open");
    if (st) return st;
    int64_t bytes = (int64_t)n;
    npr_bcast(comm, &bytes, sizeof bytes, 0);
    if (comm->rank) text = npr_alloc((size_t)bytes + 1, 1, "a manifest");
    st = npr_agree(comm, text ? NPR_OK : npr_last(), "open");
    if (!st) {
        npr_bcast(comm, text, (size_t)bytes, 0);
        *set = NULL;
        st = npr_agree(comm, npr_manifest_parse(path, text, (size_t)bytes, set), "open");
        if (st) npr_set_free(*set);
    }
    free(text);
    return st;
}

npr_status npr_set_record(const npr_comm *comm, npr_record *rec, const char *path, const char *rows_key,
                          int64_t *rows)
{
    npr_set *set;
    int64_t bytes = 0;
    char key[64];
    NPR_TRY(npr_set_open_all(comm, path, &set));
    for (int i = 0; i < set->parts; i++) bytes += set->part[i].bytes;
    if (rows_key) {
        snprintf(key, sizeof key, "result.%s", rows_key);
        npr_record_int(rec, key, set->rows);
        npr_record_int(rec, "result.bytes", bytes);
    }
    npr_record_text(rec, "check.set", set->digest);
    if (rows) *rows = set->rows;
    npr_set_free(set);
    return NPR_OK;
}

/* ---- beginning ---- */

static npr_set_writer *new_writer(const npr_comm *comm)
{
    npr_set_writer *w = npr_alloc(1, sizeof *w, "a set being written");
    if (!w) return NULL;
    w->rank = comm->rank;
    w->scratch.lock = -1;
    return w;
}

/* Rank 0 has begun with status st: tell all ranks what it found, or end. */
static npr_status share_begin(const npr_comm *comm, npr_status st, npr_set_writer **w, int *complete)
{
    npr_scratch *s = *w ? &(*w)->scratch : NULL;
    st = npr_agree(comm, st, "output");
    if (!st) npr_bcast(comm, complete, sizeof *complete, 0);
    if (st || *complete) {
        npr_set_end(*w);
        *w = NULL;
        return st;
    }
    int64_t state[2] = {s->run, s->parts};
    npr_bcast(comm, state, sizeof state, 0);
    s->run = (int)state[0];
    npr_part_entry none = {0};
    if (comm->rank && state[1]) st = npr_scratch_put(s, (int)state[1] - 1, &none); /* makes room for all */
    st = npr_agree(comm, st, "output");
    if (!st) npr_bcast(comm, s->done, (size_t)state[1] * sizeof *s->done, 0);
    if (st) {
        npr_set_end(*w);
        *w = NULL;
    }
    return st;
}

/* Check what only a bug of the caller could make wrong, and set the writer up. */
static npr_status plan_writer(const npr_comm *comm, const npr_set_plan *plan, npr_set_writer **out)
{
    uint32_t needed = NPR_COL(NPR_EMB) | NPR_COL(NPR_ID);
    if ((plan->columns & needed) != needed || plan->dim < 1 || plan->dim > NPR_DIM_MAX ||
        plan->part_rows < 1 || plan->part_rows > NPR_PART_ROWS)
        return npr_fail(NPR_EINTERNAL, "%s: a set with columns %#x, dim %d and %lld rows a part", plan->path,
                        plan->columns, plan->dim, (long long)plan->part_rows);
    npr_set_writer *w = *out = new_writer(comm);
    if (!w) return npr_last();
    w->set = npr_set_new(plan->path, plan->kind, plan->model, plan->job);
    if (!w->set) return npr_last();
    w->set->dim = plan->dim;
    w->set->columns = plan->columns;
    w->set->part_rows = plan->part_rows;
    if (comm->rank == 0) return NPR_OK;
    w->scratch.path = npr_path("%s/.work", plan->path);
    return w->scratch.path ? NPR_OK : npr_last();
}

npr_status npr_set_begin(const npr_comm *comm, const npr_set_plan *plan, npr_set_writer **w, int *complete)
{
    *w = NULL;
    *complete = 0;
    npr_status st = plan_writer(comm, plan, w);
    if (!st && comm->rank == 0) st = npr_scratch_begin(&(*w)->scratch, (*w)->set, complete);
    return share_begin(comm, st, w, complete);
}

static npr_status plan_index(const npr_comm *comm, npr_set *set, const char *factory, const char *job,
                             npr_set_writer **out)
{
    npr_set_writer *w = *out = new_writer(comm);
    if (!w) return npr_last();
    w->set = set;
    w->borrowed = 1;
    w->factory = npr_manifest_text(factory);
    w->job = npr_manifest_text(job);
    if (!w->factory || !w->job) return npr_last();
    if (!w->factory[0]) return npr_fail(NPR_EUSAGE, "%s: an index needs a factory string", set->path);
    if (comm->rank == 0) return NPR_OK;
    w->scratch.path = npr_path("%s/.index", set->path);
    return w->scratch.path ? NPR_OK : npr_last();
}

npr_status npr_set_begin_index(const npr_comm *comm, npr_set *set, const char *factory, const char *job,
                               npr_set_writer **w, int *complete)
{
    *w = NULL;
    *complete = 0;
    npr_status st = plan_index(comm, set, factory, job, w);
    if (!st && comm->rank == 0)
        st = npr_scratch_begin_index(&(*w)->scratch, set, (*w)->factory, (*w)->job, complete);
    st = share_begin(comm, st, w, complete);
    for (int i = 0; *w && i < (*w)->scratch.parts; i++) /* the parts as they are now */
        if (npr_set_done(*w, i)) set->part[i] = (*w)->scratch.done[i];
    return st;
}

/* ---- working, each rank on its parts ---- */

int npr_set_done(const npr_set_writer *w, int part)
{
    return part < w->scratch.parts && w->scratch.done[part].file[0];
}

const char *npr_set_folder(const npr_set_writer *w)
{
    return w->set->path;
}

const char *npr_set_scratch(const npr_set_writer *w)
{
    return w->scratch.path;
}

int npr_set_run(const npr_set_writer *w)
{
    return w->scratch.run;
}

static npr_status open_journal(npr_set_writer *w)
{
    if (w->journal) return NPR_OK;
    char *path = npr_path("%s/parts-%d-%d.log", w->scratch.path, w->scratch.run, w->rank);
    npr_status st = path ? npr_journal_open(path, &w->journal) : npr_last();
    free(path);
    return st;
}

static npr_status append_entry(npr_set_writer *w, int part, const npr_part_entry *e)
{
    char *text = NULL;
    npr_json *v = npr_entry_to_json(e);
    npr_status st = v ? npr_json_set_int(v, "part", part) : npr_last();
    if (!st && !(text = npr_json_print(v, 0))) st = npr_last();
    if (!st) st = npr_journal_append(w->journal, "part", text, strlen(text));
    free(text);
    npr_json_free(v);
    return st;
}

npr_status npr_set_commit_part(npr_set_writer *w, int part, const npr_part_entry *e)
{
    NPR_TRY(npr_grow(&w->mine, &w->cap, w->mines + 1, sizeof *w->mine, "committed parts"));
    NPR_TRY(open_journal(w));
    NPR_TRY(append_entry(w, part, e));
    w->mine[w->mines++] = (committed){part, *e};
    return npr_scratch_put(&w->scratch, part, e);
}

/* Journal first: whoever finds the new file finds its entry too. Where only the entry is found, the part is
 * made again. */
npr_status npr_set_put_index(npr_set_writer *w, int part, const void *blob, size_t n)
{
    char *temp;
    npr_part_entry e;
    NPR_TRY(npr_part_with_index(w->set, part, blob, n, &temp, &e));
    npr_status st = npr_set_commit_part(w, part, &e);
    if (st)
        (void)unlink(temp); /* as npr_part_publish() does: it has the size of a part */
    else
        st = npr_part_publish(w->set->path, temp, &e);
    if (!st) w->set->part[part] = e;
    free(temp);
    return st;
}

/* ---- finishing ---- */

/* Make all ranks' entries known to all, in scratch.done. */
static npr_status share_entries(const npr_comm *comm, npr_set_writer *w)
{
    char *all;
    int64_t *offset;
    npr_journal_close(w->journal);
    w->journal = NULL;
    NPR_TRY(npr_gather_bytes(comm, w->mine, w->mines * sizeof *w->mine, -1, &all, &offset));
    npr_status st = NPR_OK;
    for (int64_t at = 0; at < offset[comm->size] && !st; at += (int64_t)sizeof(committed)) {
        committed one;
        memcpy(&one, all + at, sizeof one);
        st = npr_scratch_put(&w->scratch, (int)one.part, &one.entry);
    }
    free(all);
    free(offset);
    return npr_agree(comm, st, "output");
}

/* The entries of all parts into the set, the set into its manifest. */
static npr_status write_manifest(const npr_comm *comm, npr_set_writer *w, int parts)
{
    npr_status st = NPR_OK;
    for (int i = 0; i < parts && !st; i++)
        if (!npr_set_done(w, i))
            st =
                npr_fail(NPR_EINTERNAL, "%s: part %d of %d was committed by no rank", w->set->path, i, parts);
    if (!st) st = npr_set_put_parts(w->set, w->scratch.done, parts);
    if (!st && w->borrowed) st = npr_set_put_index_texts(w->set, w->factory, w->job);
    st = npr_agree(comm, st, "output");
    if (st) return st;
    if (comm->rank == 0) st = npr_manifest_write(w->set);
    st = npr_agree(comm, st, "output");
    if (!st && comm->rank == 0) npr_scratch_remove(&w->scratch);
    return st;
}

npr_status npr_set_finish(const npr_comm *comm, npr_set_writer *w, int parts)
{
    NPR_TRY(share_entries(comm, w));
    return write_manifest(comm, w, parts);
}

npr_status npr_set_finish_index(const npr_comm *comm, npr_set_writer *w)
{
    NPR_TRY(share_entries(comm, w));
    NPR_TRY(write_manifest(comm, w, w->set->parts));
    npr_bcast(comm, w->set->digest, 33, 0); /* only rank 0 has printed the manifest */
    return NPR_OK;
}

void npr_set_end(npr_set_writer *w)
{
    if (!w) return;
    npr_journal_close(w->journal);
    npr_scratch_free(&w->scratch);
    if (!w->borrowed) npr_set_free(w->set);
    free(w->factory);
    free(w->job);
    free(w->mine);
    free(w);
}
