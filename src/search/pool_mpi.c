/* pool_mpi.c - from the plan of the pool to its parts. See search_stage.h.
 *
 * The plan, the same on all ranks, says which index row stands in each row of the pool. Part p of the pool is
 * written by one rank, and the rows come from wherever the index parts are dealt to (npr_owns). A part is
 * filled a window of rows at a time: every rank reads the rows of the window it owns in the order in which
 * they lie on disk, so that a chunk is read once however the pool is ordered, and sends them in small rounds;
 * the writer keeps them, packed, until the window is whole, then appends them in order. Memory: one window on
 * a writer, one round on the others. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "npr/plan.h"
#include "search/search_stage.h"

enum {
    BATCH_ROWS = 4096,     /* rows per append: fixed, so that the file does not depend on the window */
    ROUND_ROWS = 8192,     /* rows a rank sends per round, at most */
    ROUND_BYTES = 16 << 20 /* and bytes, about */
};

static const int64_t ROW_MAX = (int64_t)1 << 30; /* bytes of one row with its texts */

/* A row of the window at hand that this rank reads. */
typedef struct want {
    int64_t place, row; /* in the index; in the plan */
} want;

typedef struct pool_job {
    const npr_comm *comm;
    const npr_search_job *job;
    const npr_search_inputs *in;
    const npr_set *index;
    const npr_search_plan *plan;
    uint32_t columns;
    npr_set_writer *w;
    int parts;
    int64_t part_rows, window;
    int *todo; /* [n_todo] parts not written yet; `size` of them at a time, one a rank */
    int n_todo;
    npr_progress *progress;
    /* reading */
    want *wants;
    size_t n_wants, cap_wants;
    npr_rows picked, one; /* rows as read; one row as it is sent */
    int64_t *row;         /* [ROUND_ROWS] */
    /* sending: a buffer per rank */
    char **send; /* [size] */
    size_t *sent, *cap_sent;
    int64_t *to, *from;   /* [size] bytes of this round */
    MPI_Request *request; /* [2 * size] */
    /* writing */
    npr_part_writer *part;
    char *arena; /* packed rows of the window, in order of arrival */
    size_t used, cap_arena;
    int64_t *at; /* [window] where row i of the window lies in the arena, -1 = not yet there */
    npr_rows batch;
} pool_job;

uint32_t npr_search_pool_columns(const npr_set *index, int by_vector)
{
    uint32_t may = NPR_COL(NPR_CAPTION) | NPR_COL(NPR_URL) | NPR_COL(NPR_TOKENS) | NPR_COL(NPR_SOURCE) |
                   NPR_COL(NPR_SIMILARITY) | NPR_COL(NPR_NSFW) | NPR_COL(NPR_WIDTH) | NPR_COL(NPR_HEIGHT);
    return NPR_COL(NPR_EMB) | NPR_COL(NPR_ID) | NPR_COL(NPR_LABEL) | NPR_COL(NPR_SCORE) |
           (by_vector ? NPR_COL(NPR_RECALLS) : 0) | (index->columns & may);
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Rows of the plan that stand in window w of part p: [*first, *end). */
static void window_range(const pool_job *p, int part, int64_t w, int64_t *first, int64_t *end)
{
    int64_t part_end = least(((int64_t)part + 1) * p->part_rows, (int64_t)p->plan->count);
    *first = least((int64_t)part * p->part_rows + w * p->window, part_end);
    *end = least(*first + p->window, part_end);
}

/* ---- reading ------------------------------------------------------------------------------------------- */

static int want_compare(const void *va, const void *vb)
{
    const want *a = va, *b = vb;
    if (a->place != b->place) return a->place < b->place ? -1 : 1;
    return (a->row > b->row) - (a->row < b->row);
}

/* The rows of this window, of all parts being written, that lie in index parts of this rank, in order of
 * place. */
static npr_status list_wants(pool_job *p, int group, int64_t w)
{
    p->n_wants = 0;
    for (int i = group; i < p->n_todo && i < group + p->comm->size; i++) {
        int64_t first, end;
        window_range(p, p->todo[i], w, &first, &end);
        for (int64_t r = first; r < end; r++) {
            int64_t place = p->plan->row[r].hit.place;
            if (!npr_owns(p->comm, npr_place_part(place))) continue;
            NPR_TRY(npr_grow(&p->wants, &p->cap_wants, p->n_wants + 1, sizeof *p->wants, "rows to fetch"));
            p->wants[p->n_wants++] = (want){place, r};
        }
    }
    if (p->n_wants) qsort(p->wants, p->n_wants, sizeof *p->wants, want_compare);
    return NPR_OK;
}

/* Pack picked row j as row `row` of the plan into the buffer of the rank that writes it: number, length, row.
 */
static npr_status send_row(pool_job *p, int group, int64_t j, int64_t row)
{
    const npr_plan_row *from = &p->plan->row[row];
    npr_rows_clear(&p->one);
    NPR_TRY(npr_rows_copy(&p->one, &p->picked, j));
    if (p->picked.id[j] != from->hit.id)
        return npr_fail(NPR_EDATA, "%s: row %lld has the id %lld, it had %lld when it was recalled",
                        p->index->path, (long long)npr_place_row(from->hit.place), (long long)p->picked.id[j],
                        (long long)from->hit.id);
    if (strcmp(p->job->pool, "row") != 0) p->one.label[0] = from->label;
    /* Caption search ranks by a key that says nothing of the row, unless the head gave it; its similarity
     * does.
     */
    int key = !p->in->by && !p->job->keep && strcmp(p->job->cap_by, "head") != 0;
    int known = p->one.columns & NPR_COL(NPR_SIMILARITY) && p->one.similarity[0] == p->one.similarity[0];
    p->one.score[0] = key && known ? p->one.similarity[0] : (float)from->hit.score;
    if (p->one.recalls) p->one.recalls[0] = from->recalls;
    int rank = 0;
    while (p->todo[group + rank] != (int)(row / p->part_rows)) rank++;
    char **buffer = &p->send[rank];
    size_t at = p->sent[rank], used = at + 2 * sizeof(int64_t);
    NPR_TRY(npr_grow(buffer, &p->cap_sent[rank], used, 1, "rows to send"));
    NPR_TRY(npr_rows_pack(&p->one, 0, buffer, &used, &p->cap_sent[rank]));
    int64_t head[2] = {row, (int64_t)(used - at - sizeof head)};
    if (head[1] > ROW_MAX)
        return npr_fail(NPR_EDATA, "%s: row %lld has %lld bytes of text, at most %lld are handled",
                        p->index->path, (long long)npr_place_row(from->hit.place), (long long)head[1],
                        (long long)ROW_MAX);
    memcpy(*buffer + at, head, sizeof head);
    p->sent[rank] = used;
    return NPR_OK;
}

/* Read and pack rows from `*next` on that lie in one index part, as many as this round still takes. */
static npr_status fetch_some(pool_job *p, int group, size_t *next, int64_t room)
{
    size_t first = *next, end = first;
    int part = npr_place_part(p->wants[first].place);
    int64_t n = 0;
    for (; end < p->n_wants && npr_place_part(p->wants[end].place) == part && (int64_t)(end - first) < room;
         end++)
        if (n == 0 || p->row[n - 1] != npr_place_row(p->wants[end].place))
            p->row[n++] = npr_place_row(p->wants[end].place);
    npr_part *in;
    NPR_TRY(npr_part_open(p->index, part, &in));
    npr_rows_clear(&p->picked);
    npr_status st = npr_part_pick(in, p->row, n, &p->picked);
    npr_part_close(in);
    int64_t j = 0;
    for (size_t i = first; !st && i < end; i++) {
        while (p->row[j] != npr_place_row(p->wants[i].place)) j++;
        st = send_row(p, group, j, p->wants[i].row);
    }
    *next = end;
    return st;
}

/* Fill the buffers of one round. */
static npr_status fetch_round(pool_job *p, int group, size_t *next)
{
    size_t start = *next, bytes = 0;
    for (int r = 0; r < p->comm->size; r++) p->sent[r] = 0;
    while (*next < p->n_wants && *next - start < ROUND_ROWS && bytes < ROUND_BYTES) {
        NPR_TRY(fetch_some(p, group, next, ROUND_ROWS - (int64_t)(*next - start)));
        bytes = 0;
        for (int r = 0; r < p->comm->size; r++) bytes += p->sent[r];
    }
    return npr_fault("pool.batch") ? npr_fail(NPR_EIO, "injected fault pool.batch") : NPR_OK;
}

/* ---- sending ------------------------------------------------------------------------------------------- */

/* Room in the arena for what all ranks send to this one in this round. Collective. */
static npr_status announce(pool_job *p)
{
    for (int r = 0; r < p->comm->size; r++) p->to[r] = (int64_t)p->sent[r];
    MPI_Alltoall(p->to, 1, MPI_INT64_T, p->from, 1, MPI_INT64_T, p->comm->mpi);
    size_t more = 0;
    for (int r = 0; r < p->comm->size; r++) more += (size_t)p->from[r];
    npr_status st = npr_grow(&p->arena, &p->cap_arena, p->used + more, 1, "rows of the pool");
    return npr_agree(p->comm, st, "pool");
}

/* Note where each row of the bytes [at, used) lies. */
static npr_status file_rows(pool_job *p, size_t at, int64_t first)
{
    while (at < p->used) {
        int64_t head[2];
        memcpy(head, p->arena + at, sizeof head);
        p->at[head[0] - first] = (int64_t)(at + sizeof head);
        at += sizeof head + (size_t)head[1];
    }
    return at == p->used ? NPR_OK : npr_fail(NPR_EINTERNAL, "rows of the pool came in pieces");
}

/* Only writers receive, so messages go point to point, with offsets of 64 bits. */
static void exchange(pool_job *p)
{
    enum { TAG = 81 };
    int n = 0;
    for (int r = 0; r < p->comm->size; r++) {
        if (!p->from[r]) continue;
        MPI_Irecv(p->arena + p->used, npr_mpi_count((size_t)p->from[r]), MPI_BYTE, r, TAG, p->comm->mpi,
                  &p->request[n++]);
        p->used += (size_t)p->from[r];
    }
    for (int r = 0; r < p->comm->size; r++)
        if (p->to[r])
            MPI_Isend(p->send[r], npr_mpi_count(p->sent[r]), MPI_BYTE, r, TAG, p->comm->mpi,
                      &p->request[n++]);
    MPI_Waitall(n, p->request, MPI_STATUSES_IGNORE);
}

/* ---- writing ------------------------------------------------------------------------------------------- */

/* Append the window's rows in order. */
static npr_status append_window(pool_job *p, int64_t rows)
{
    for (int64_t i = 0; i < rows;) {
        npr_rows_clear(&p->batch);
        for (; i < rows && p->batch.n < BATCH_ROWS; i++) {
            if (p->at[i] < 0)
                return npr_fail(NPR_EINTERNAL, "row %lld of a window of the pool never came", (long long)i);
            size_t eaten, at = (size_t)p->at[i];
            NPR_TRY(npr_rows_unpack(&p->batch, p->arena + at, p->used - at, &eaten));
        }
        NPR_TRY(npr_part_append(p->part, &p->batch));
    }
    return NPR_OK;
}

/* Fill window w of the parts of a group. Collective. */
static npr_status fill_window(pool_job *p, int group, int64_t w)
{
    int mine = group + p->comm->rank < p->n_todo ? p->todo[group + p->comm->rank] : -1;
    int64_t first = 0, end = 0;
    if (mine >= 0) window_range(p, mine, w, &first, &end);
    for (int64_t i = 0; i < end - first; i++) p->at[i] = -1;
    p->used = 0;
    npr_status st = list_wants(p, group, w);
    size_t next = 0;
    for (int64_t left = 1; left;) {
        if (!st) st = fetch_round(p, group, &next);
        NPR_TRY(npr_agree(p->comm, st, "pool"));
        size_t at = p->used;
        NPR_TRY(announce(p));
        exchange(p);
        st = file_rows(p, at, first);
        left = next < p->n_wants;
        npr_max_i64(p->comm, &left, 1);
    }
    if (!st) st = append_window(p, end - first);
    npr_progress_add(p->progress, end - first);
    return npr_agree(p->comm, st, "pool");
}

/* Commit the part this rank has filled. */
static npr_status commit(pool_job *p, int part)
{
    npr_part_entry entry;
    npr_part_writer *w = p->part;
    p->part = NULL;
    NPR_TRY(npr_part_commit(w, &entry));
    return npr_set_commit_part(p->w, part, &entry);
}

/* Write up to `size` parts, one a rank. Collective. */
static npr_status write_group(pool_job *p, int group)
{
    int mine = group + p->comm->rank < p->n_todo ? p->todo[group + p->comm->rank] : -1;
    npr_status st = NPR_OK;
    if (mine >= 0) st = npr_part_create(npr_set_folder(p->w), mine, p->columns, p->index->dim, &p->part);
    NPR_TRY(npr_agree(p->comm, st, "pool"));
    int64_t first, end; /* the group's first part is a longest one */
    window_range(p, p->todo[group], 0, &first, &end);
    for (int64_t w = 0; first < end; window_range(p, p->todo[group], ++w, &first, &end)) {
        NPR_TRY(fill_window(p, group, w));
        NPR_TRY(npr_agree_stop(p->comm, "writing the pool"));
    }
    if (mine >= 0) st = commit(p, mine);
    return npr_agree(p->comm, st, "pool");
}

static npr_status prepare(pool_job *p)
{
    size_t size = (size_t)p->comm->size;
    /* A window of 256 MiB, taking a row for its embedding and 256 bytes; a multiple of the batch. */
    int64_t rows = ((int64_t)NPR_PLAN_WINDOW_MB << 20) / (2 * (int64_t)p->index->dim + 256);
    p->window = (rows / BATCH_ROWS + 1) * BATCH_ROWS;
    int64_t most = p->part_rows < (int64_t)p->plan->count ? p->part_rows : (int64_t)p->plan->count;
    p->todo = npr_alloc((size_t)p->parts, sizeof *p->todo, "parts of the pool");
    p->row = npr_alloc(ROUND_ROWS, sizeof *p->row, "rows to fetch");
    p->send = npr_alloc(size, sizeof *p->send, "buffers");
    p->sent = npr_alloc(size, sizeof *p->sent, "buffers");
    p->cap_sent = npr_alloc(size, sizeof *p->cap_sent, "buffers");
    p->to = npr_alloc(size, sizeof *p->to, "buffers");
    p->from = npr_alloc(size, sizeof *p->from, "buffers");
    p->request = npr_alloc(2 * size, sizeof *p->request, "buffers");
    p->at = npr_alloc((size_t)least(p->window, most), sizeof *p->at, "a window of the pool");
    if (!p->todo || !p->row || !p->send || !p->sent || !p->cap_sent || !p->to || !p->from || !p->request ||
        !p->at)
        return npr_last();
    for (int i = 0; i < p->parts; i++)
        if (!npr_set_done(p->w, i)) p->todo[p->n_todo++] = i;
    uint32_t read = p->columns & p->index->columns & ~(NPR_COL(NPR_SCORE) | NPR_COL(NPR_RECALLS));
    NPR_TRY(npr_rows_make(&p->picked, read, p->index->dim, ROUND_ROWS));
    NPR_TRY(npr_rows_make(&p->one, p->columns, p->index->dim, 1));
    return npr_rows_make(&p->batch, p->columns, p->index->dim, BATCH_ROWS);
}

static void release(pool_job *p)
{
    npr_part_abandon(p->part);
    for (int r = 0; p->send && r < p->comm->size; r++) free(p->send[r]);
    npr_rows_free(&p->picked);
    npr_rows_free(&p->one);
    npr_rows_free(&p->batch);
    free(p->todo);
    free(p->row);
    free(p->wants);
    free(p->send);
    free(p->sent);
    free(p->cap_sent);
    free(p->to);
    free(p->from);
    free(p->request);
    free(p->arena);
    free(p->at);
}

npr_status npr_search_pool_write(const npr_comm *comm, const npr_log *log, const npr_search_job *job,
                                 const npr_search_inputs *in, const npr_search_plan *plan, npr_set_writer *w,
                                 int parts)
{
    pool_job p = {.comm = comm,
                  .job = job,
                  .in = in,
                  .index = in->index,
                  .plan = plan,
                  .columns = npr_search_pool_columns(in->index, in->by != NULL),
                  .w = w,
                  .parts = parts,
                  .part_rows = job->part_rows};
    npr_status st = npr_agree(comm, prepare(&p), "pool");
    if (!st) {
        int64_t rows = 0, first, end;
        for (int i = 0; i < p.n_todo; i++) {
            first = (int64_t)p.todo[i] * p.part_rows;
            end = least(first + p.part_rows, (int64_t)plan->count);
            rows += end - first;
        }
        p.progress = npr_progress_start(comm, log, "pool", "rows", rows);
        for (int group = 0; !st && group < p.n_todo; group += comm->size) st = write_group(&p, group);
        npr_progress_end(comm, p.progress);
    }
    release(&p);
    return st;
}
