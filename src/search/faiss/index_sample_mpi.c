/* index_sample_mpi.c - the rows an index is trained on. See index_stage.h.
 *
 * Numbers first, vectors later: a pass over the ids finds which rows are wanted (8 bytes a row instead of a
 * kilobyte), and only these are then read. Those that rank 0 is to have are sent to it. */
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/mem.h"
#include "base/rng.h"
#include "npr/topk.h"
#include "search/faiss/index_stage.h"

enum { ID_ROWS = 64 * NPR_CHUNK_ROWS, PICK_ROWS = 4096 };

typedef struct keyed_row {
    uint64_t key; /* hash of the id: the sample is the smallest ones */
    int64_t place;
} keyed_row;

/* The smallest of this rank's rows. */
typedef struct chosen {
    keyed_row *row;
    size_t n, cap, limit;
    uint64_t floor; /* no larger key has a chance */
} chosen;

static int by_key(const void *va, const void *vb)
{
    const keyed_row *a = va, *b = vb;
    if (a->key != b->key) return a->key < b->key ? -1 : 1;
    return (a->place > b->place) - (a->place < b->place);
}

static int by_place(const void *va, const void *vb)
{
    const keyed_row *a = va, *b = vb;
    return (a->place > b->place) - (a->place < b->place);
}

static void cut(chosen *c)
{
    if (c->n > 1) qsort(c->row, c->n, sizeof *c->row, by_key);
    if (c->n <= c->limit) return;
    c->n = c->limit;
    c->floor = c->row[c->n - 1].key;
}

/* Twice the limit is kept before it is cut, so that sorting is rare. */
static npr_status offer(chosen *c, uint64_t key, int64_t place)
{
    if (key > c->floor) return NPR_OK;
    NPR_TRY(npr_grow(&c->row, &c->cap, c->n + 1, sizeof *c->row, "the sample's rows"));
    c->row[c->n++] = (keyed_row){key, place};
    if (c->n >= 2 * c->limit) cut(c);
    return NPR_OK;
}

/* ---- which rows ---------------------------------------------------------------------------------- */

static npr_status choose_in_part(const npr_set *set, int part, uint64_t seed, npr_rows *r, chosen *c)
{
    npr_part *p = NULL;
    NPR_TRY(npr_part_open(set, part, &p));
    npr_status st = NPR_OK;
    int64_t rows = npr_part_rows(p);
    for (int64_t row0 = 0; !st && row0 < rows; row0 += ID_ROWS) {
        npr_rows_clear(r);
        st = npr_part_read(p, row0, rows - row0 < ID_ROWS ? rows - row0 : ID_ROWS, r);
        for (int64_t i = 0; !st && i < r->n; i++)
            st = offer(c, npr_mix64((uint64_t)r->id[i] ^ seed), npr_place(part, row0 + i));
    }
    npr_part_close(p);
    return st;
}

static npr_status choose_here(const npr_comm *comm, const npr_set *set, uint64_t seed, chosen *c,
                              npr_progress *progress)
{
    npr_rows r = {0};
    npr_status st = npr_rows_make(&r, NPR_COL(NPR_ID), set->dim, ID_ROWS);
    for (int p = comm->rank; !st && p < set->parts; p += comm->size) {
        st = choose_in_part(set, p, seed, &r, c);
        if (!st && npr_stop_requested()) st = npr_fail(NPR_ESTOP, "stopped on request while sampling");
        npr_progress_add(progress, set->part[p].rows);
    }
    npr_rows_free(&r);
    cut(c);
    return st;
}

/* How many of the sorted rows are not after `last`. */
static size_t count_upto(const chosen *c, keyed_row last)
{
    size_t lo = 0, hi = c->n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (by_key(&c->row[mid], &last) <= 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The last of the `limit` first rows of all ranks: halve the range of keys until it is one key, then that of
 * places, as rows of equal ids have equal keys; a sum of 8 bytes each time. Collective. */
static keyed_row find_last(const npr_comm *comm, const chosen *c, int64_t limit)
{
    uint64_t lo[2] = {0, 0}, hi[2] = {UINT64_MAX, INT64_MAX}; /* key, place */
    for (int i = 0; i < 2; i++) {
        while (lo[i] < hi[i]) {
            uint64_t mid = lo[i] + (hi[i] - lo[i]) / 2;
            keyed_row last = i ? (keyed_row){lo[0], (int64_t)mid} : (keyed_row){mid, INT64_MAX};
            int64_t n = (int64_t)count_upto(c, last);
            npr_sum_i64(comm, &n, 1);
            if (n >= limit)
                hi[i] = mid;
            else
                lo[i] = mid + 1;
        }
    }
    return (keyed_row){lo[0], (int64_t)lo[1]};
}

/* ---- their vectors ------------------------------------------------------------------------------- */

/* A message of records {keyed_row, [dim] binary16}. */
typedef struct message {
    char *bytes;
    size_t used, record;
} message;

static npr_status pick_batch(npr_part *p, const keyed_row *row, int64_t n, npr_rows *r, message *m)
{
    int64_t number[PICK_ROWS];
    for (int64_t i = 0; i < n; i++) number[i] = npr_place_row(row[i].place);
    npr_rows_clear(r);
    NPR_TRY(npr_part_pick(p, number, n, r));
    for (int64_t i = 0; i < n; i++) {
        const uint16_t *emb = r->emb + (size_t)i * (size_t)r->dim;
        if (!npr_half_row_facts(emb, r->dim).finite) continue;
        memcpy(m->bytes + m->used, &row[i], sizeof row[i]);
        memcpy(m->bytes + m->used + sizeof row[i], emb, (size_t)r->dim * sizeof *emb);
        m->used += m->record;
    }
    return NPR_OK;
}

/* Rows [from, to) of the sample lie in the same part. */
static npr_status pick_part(const npr_set *set, const chosen *c, size_t from, size_t to, npr_rows *r,
                            message *m)
{
    npr_part *p = NULL;
    NPR_TRY(npr_part_open(set, npr_place_part(c->row[from].place), &p));
    npr_status st = NPR_OK;
    for (; !st && from < to; from += PICK_ROWS)
        st = pick_batch(p, c->row + from, (int64_t)(to - from < PICK_ROWS ? to - from : PICK_ROWS), r, m);
    npr_part_close(p);
    return st;
}

static npr_status pick_here(const npr_set *set, chosen *c, message *m)
{
    npr_rows r = {0};
    m->record = sizeof(keyed_row) + (size_t)set->dim * sizeof(uint16_t);
    m->bytes = npr_alloc(c->n, m->record, "the sample");
    npr_status st = m->bytes ? npr_rows_make(&r, NPR_COL(NPR_EMB), set->dim, PICK_ROWS) : npr_last();
    if (c->n) qsort(c->row, c->n, sizeof *c->row, by_place);
    for (size_t from = 0, to; !st && from < c->n; from = to) {
        for (to = from; to < c->n && npr_place_part(c->row[to].place) == npr_place_part(c->row[from].place);)
            to++;
        st = pick_part(set, c, from, to, &r, m);
        if (!st && npr_stop_requested()) st = npr_fail(NPR_ESTOP, "stopped on request while sampling");
    }
    npr_rows_free(&r);
    return st;
}

static int by_key_of_record(const void *va, const void *vb)
{
    keyed_row a, b;
    memcpy(&a, *(char *const *)va, sizeof a);
    memcpy(&b, *(char *const *)vb, sizeof b);
    return by_key(&a, &b);
}

/* The vectors of n records, in the order of their keys, as floats. */
static npr_status unpack(char *records, size_t n, size_t size, int dim, float **rows, int64_t *count)
{
    char **record = npr_alloc(n, sizeof *record, "the sample's order");
    uint16_t *emb = npr_alloc((size_t)dim, sizeof *emb, "a row");
    *count = (int64_t)n;
    *rows = npr_alloc_aligned(n * (size_t)dim, sizeof **rows, "the sample");
    npr_status st = record && emb && *rows ? NPR_OK : npr_last();
    if (!st) {
        for (size_t i = 0; i < n; i++) record[i] = records + i * size;
        if (n) qsort(record, n, sizeof *record, by_key_of_record);
        for (int64_t i = 0; i < *count; i++) {
            memcpy(emb, record[i] + sizeof(keyed_row), (size_t)dim * sizeof *emb);
            npr_half_to_float(emb, *rows + i * dim, (size_t)dim);
        }
    }
    free(record);
    free(emb);
    return st;
}

/* Those of this rank's records that rank 0 is to have. */
static npr_status copy_first(const message *m, keyed_row last, message *first)
{
    first->record = m->record;
    first->bytes = npr_alloc(m->used, 1, "the sample's first rows");
    if (!first->bytes) return npr_last();
    for (size_t at = 0; at < m->used; at += m->record) {
        keyed_row row;
        memcpy(&row, m->bytes + at, sizeof row);
        if (by_key(&row, &last) > 0) continue;
        memcpy(first->bytes + first->used, m->bytes + at, m->record);
        first->used += m->record;
    }
    return NPR_OK;
}

/* Give rank 0 the first rows. Collective. */
static npr_status send_first(const npr_comm *comm, const message *m, keyed_row last, int dim,
                             index_sample *sample)
{
    message first = {0};
    char *all = NULL;
    int64_t *offset = NULL;
    npr_status st = npr_agree(comm, copy_first(m, last, &first), "sampling");
    if (!st) st = npr_gather_bytes(comm, first.bytes, first.used, 0, &all, &offset);
    free(first.bytes);
    if (!st) {
        if (comm->rank == 0)
            st = unpack(all, (size_t)offset[comm->size] / m->record, m->record, dim, &sample->rows,
                        &sample->n);
        st = npr_agree(comm, st, "sampling");
    }
    free(all);
    free(offset);
    return st;
}

/* The vectors alone, in the memory of the records. */
static void keep_vectors(message *m, int dim, index_sample *sample)
{
    size_t row = (size_t)dim * sizeof(uint16_t), n = m->used / m->record;
    for (size_t i = 0; i < n; i++)
        memmove(m->bytes + i * row, m->bytes + i * m->record + sizeof(keyed_row), row);
    sample->bytes = m->bytes;
    sample->here = (kmeans_rows){(int64_t)n, dim, (const uint16_t *)(const void *)m->bytes};
    m->bytes = NULL;
}

/* ---- all of it ----------------------------------------------------------------------------------- */

npr_status index_sample_take(const npr_comm *comm, const npr_log *log, const npr_set *set, int64_t limit,
                             int64_t first, uint64_t seed, index_sample *sample)
{
    chosen c = {.limit = (size_t)limit, .floor = UINT64_MAX};
    message m = {0};
    *sample = (index_sample){0};
    npr_progress *progress = npr_progress_start(comm, log, "sampling", "rows", set->rows);
    npr_status st = choose_here(comm, set, seed, &c, progress);
    npr_progress_end(comm, progress);
    st = npr_agree(comm, st, "sampling");
    if (!st) {
        c.n = count_upto(&c, find_last(comm, &c, limit));
        keyed_row last = find_last(comm, &c, first);
        st = npr_agree(comm, pick_here(set, &c, &m), "sampling");
        if (!st) st = send_first(comm, &m, last, set->dim, sample);
        if (!st) keep_vectors(&m, set->dim, sample);
    }
    free(c.row);
    free(m.bytes);
    if (st) index_sample_free(sample);
    return st;
}

void index_sample_free(index_sample *sample)
{
    free(sample->rows);
    free(sample->bytes);
    *sample = (index_sample){0};
}
