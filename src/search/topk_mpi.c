/* topk_mpi.c - the same lists on all ranks. See include/npr/topk.h.
 *
 * First a floor for each list: every rank has ceil(k / P) hits that reach its own ceil(k / P)-th score, so at
 * least k hits reach the least of these scores over all ranks, and a hit below it is not among the k best.
 * What is dropped so need not be sorted or sent: of the k hits of a rank about k / P stay where ranks hold
 * rows of the same kind, and as many as before where one rank holds all that is similar.
 *
 * Then recursive halving by blocks of queries, then recursive doubling (Rabenseifner's allreduce, Thakur et
 * al. 2005, with lists as elements). Ranks pair up at distance 1, 2, 4 ... P/2; of the block that two have in
 * common each keeps half, gives the other half away and merges what it gets. After log2 P steps a rank has
 * the final lists of its own small block, having sent and merged less than one whole set of lists; a binomial
 * tree moves and merges one in each step. The largest messages go to the nearest rank, mostly on the same
 * node or switch. Then blocks travel back. Merging two sorted lists and keeping the k best is commutative and
 * associative, because the order of hits is total: any tree gives the same bits. results/README.md has what
 * this saves on 1,024 nodes. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "npr/log.h"
#include "npr/watchdog.h"
#include "search/topk.h"

enum {
    BATCH_BYTES = 32 << 20, /* of the lists that are merged at a time: a message stays far below 2 GiB */
    DEPTH = 32,             /* halvings of a number of ranks */
    TAG_LISTS = 81,
    TAG_FINAL,
};

typedef struct allmerge {
    const npr_comm *comm;
    npr_topk *t;
    const npr_merge_idle *idle;
    int half;       /* ranks that take part in halving: the largest power of two */
    double *floor;  /* [nq] hits that score less are not among the k best */
    int64_t *total; /* [nq] hits of each list in the end, on all ranks */
    char *out, *in; /* [room] messages: int64 length of each list, then the hits */
    size_t room;
} allmerge;

/* ---- lists to messages and back ------------------------------------------------------------------------ */

static size_t pack(const allmerge *m, int q0, int q1)
{
    int64_t *length = (int64_t *)(void *)m->out;
    char *to = m->out + (size_t)(q1 - q0) * sizeof *length;
    for (int q = q0; q < q1; q++) {
        const npr_hits *l = &m->t->list[q];
        size_t bytes = (size_t)l->n * sizeof *l->hit;
        length[q - q0] = l->n;
        if (bytes) memcpy(to, l->hit, bytes);
        to += bytes;
    }
    return (size_t)(to - m->out);
}

/* b = the k best of a and b, both sorted; there is room in b for what comes out. Those of b that stay move
 * back, so none is overwritten unread. */
static void merge_into(const npr_hit *a, int64_t na, npr_hits *b, int64_t k)
{
    int64_t m = na + b->n < k ? na + b->n : k, i = 0, j = 0;
    while (i + j < m) {
        if (i < na && (j == b->n || npr_hit_before(&a[i], &b->hit[j])))
            i++;
        else
            j++;
    }
    b->n = m;
    while (i > 0) {
        int from_b = j > 0 && npr_hit_before(&a[i - 1], &b->hit[j - 1]);
        b->hit[--m] = from_b ? b->hit[--j] : a[--i];
    }
}

/* Merge the lists of a message into ours, or replace ours with them. */
static void unpack(const allmerge *m, int q0, int q1, int replace)
{
    const int64_t *length = (const int64_t *)(const void *)m->in;
    const npr_hit *hit = (const npr_hit *)(const void *)(m->in + (size_t)(q1 - q0) * sizeof *length);
    for (int q = q0; q < q1; hit += length[q - q0], q++) {
        npr_hits *l = &m->t->list[q];
        if (replace) l->n = 0;
        merge_into(hit, length[q - q0], l, m->t->k);
    }
}

/* ---- communication ------------------------------------------------------------------------------------- */

/* Into MPI: a mark of the thread that waits there, or the turn of one beside it. */
static void enter(const allmerge *m)
{
    if (m->idle)
        m->idle->call(m->idle->self, NPR_MERGE_ENTER);
    else
        npr_mark("merge", 1);
}

static void leave(const allmerge *m)
{
    if (m->idle)
        m->idle->call(m->idle->self, NPR_MERGE_LEAVE);
    else
        npr_mark("merge", 0);
}

static void wait_for(const allmerge *m, MPI_Request *request, int n)
{
    if (!m->idle) {
        MPI_Waitall(n, request, MPI_STATUSES_IGNORE);
        return;
    }
    for (int there = 0;;) {
        MPI_Testall(n, request, &there, MPI_STATUSES_IGNORE);
        if (there) return;
        m->idle->call(m->idle->self, NPR_MERGE_WAIT);
    }
}

/* Both ways at once; either may be empty (no partner, or nothing for it). */
static void exchange(const allmerge *m, int to, size_t bytes, int from, int tag)
{
    MPI_Request request[2];
    enter(m);
    MPI_Irecv(m->in, npr_mpi_count(m->room), MPI_BYTE, from, tag, m->comm->mpi, &request[0]);
    MPI_Isend(m->out, npr_mpi_count(bytes), MPI_BYTE, to, tag, m->comm->mpi, &request[1]);
    wait_for(m, request, 2);
    leave(m);
}

/* In place, on all ranks. */
static void reduce(const allmerge *m, void *v, int n, MPI_Datatype type, MPI_Op op)
{
    MPI_Request request;
    enter(m);
    if (m->idle) {
        MPI_Iallreduce(MPI_IN_PLACE, v, n, type, op, m->comm->mpi, &request);
        wait_for(m, &request, 1);
    } else {
        MPI_Allreduce(MPI_IN_PLACE, v, n, type, op, m->comm->mpi);
    }
    leave(m);
}

/* Has any rank failed? */
static int any_failed(const allmerge *m, npr_status st)
{
    int64_t failed = st != NPR_OK;
    reduce(m, &failed, 1, MPI_INT64_T, MPI_SUM);
    return failed != 0;
}

/* Ranks beyond the power of two give all they have to a partner, */
static void fold(const allmerge *m, int q0, int q1)
{
    int r = m->comm->rank, extra = m->comm->size - m->half;
    if (r >= m->half) {
        exchange(m, r - m->half, pack(m, q0, q1), MPI_PROC_NULL, TAG_LISTS);
    } else if (r < extra) {
        exchange(m, MPI_PROC_NULL, 0, r + m->half, TAG_LISTS);
        unpack(m, q0, q1, 0);
    }
}

/* and get the result from it. */
static void unfold(const allmerge *m, int q0, int q1)
{
    int r = m->comm->rank, extra = m->comm->size - m->half;
    if (r >= m->half) {
        exchange(m, MPI_PROC_NULL, 0, r - m->half, TAG_FINAL);
        unpack(m, q0, q1, 1);
    } else if (r < extra) {
        exchange(m, r + m->half, pack(m, q0, q1), MPI_PROC_NULL, TAG_FINAL);
    }
}

/* Where to cut a block: half of the final hits on each side. The same on all ranks. */
static int middle(const allmerge *m, int q0, int q1)
{
    int64_t all = 0, left = 0;
    for (int q = q0; q < q1; q++) all += m->total[q] + 1; /* empty lists too cost their length */
    int q = q0;
    while (q < q1 && left < all / 2) left += m->total[q++] + 1;
    return q;
}

static void halve_and_double(const allmerge *m, int q0, int q1)
{
    int cut[DEPTH], lo[DEPTH], hi[DEPTH], steps = 0, r = m->comm->rank;
    for (int d = 1; d < m->half; d *= 2, steps++) {
        int upper = (r & d) != 0;
        lo[steps] = q0, hi[steps] = q1, cut[steps] = middle(m, q0, q1);
        size_t bytes = upper ? pack(m, q0, cut[steps]) : pack(m, cut[steps], q1);
        exchange(m, r ^ d, bytes, r ^ d, TAG_LISTS);
        if (upper)
            q0 = cut[steps];
        else
            q1 = cut[steps];
        unpack(m, q0, q1, 0);
    }
    for (int d = m->half / 2; steps-- > 0; d /= 2) {
        exchange(m, r ^ d, pack(m, q0, q1), r ^ d, TAG_FINAL);
        if (r & d)
            unpack(m, lo[steps], cut[steps], 1);
        else
            unpack(m, cut[steps], hi[steps], 1);
        q0 = lo[steps], q1 = hi[steps];
    }
}

/* ---- all lists ----------------------------------------------------------------------------------------- */

/* As many lists from q0 on as fit; at least one. */
static int cut_batch(const allmerge *m, int q0, size_t *bytes)
{
    int q = q0;
    for (*bytes = 0; q < m->t->nq; q++) {
        size_t list = sizeof(int64_t) + (size_t)m->total[q] * sizeof(npr_hit);
        if (q > q0 && *bytes + list > BATCH_BYTES) break;
        *bytes += list;
    }
    return q;
}

/* Drop what cannot be among the k best. */
static void drop_below_floor(allmerge *m)
{
    npr_topk *t = m->t;
    int64_t share = ((int64_t)t->k + m->comm->size - 1) / m->comm->size;
    for (int q = 0; q < t->nq; q++) m->floor[q] = npr_topk_nth(t, q, share);
    reduce(m, m->floor, t->nq, MPI_DOUBLE, MPI_MIN);
    for (int q = 0; q < t->nq; q++) npr_topk_drop_below(t, q, m->floor[q]);
    npr_topk_sort(t);
}

static npr_status make_room(allmerge *m)
{
    npr_topk *t = m->t;
    for (int q = 0; q < t->nq; q++) {
        npr_hits *l = &t->list[q];
        NPR_TRY(npr_grow(&l->hit, &l->cap, (size_t)m->total[q], sizeof *l->hit, "a list of hits"));
    }
    size_t bytes;
    for (int q = 0; q<t->nq; m->room = bytes> m->room ? bytes : m->room) q = cut_batch(m, q, &bytes);
    m->out = npr_alloc_aligned(m->room, 1, "merging hits");
    m->in = npr_alloc_aligned(m->room, 1, "merging hits");
    return m->out && m->in ? NPR_OK : npr_last();
}

/* Lengths of the lists in the end, and room for them: after this nothing can fail. 1: some rank has failed,
 * perhaps this one (*st). */
static int prepare(allmerge *m, npr_status *st)
{
    npr_topk *t = m->t;
    m->floor = npr_alloc((size_t)t->nq, sizeof *m->floor, "merging hits");
    m->total = npr_alloc((size_t)t->nq, sizeof *m->total, "merging hits");
    *st = m->floor && m->total ? NPR_OK : npr_last();
    if (npr_fault("merge.begin")) *st = npr_fail(NPR_EIO, "injected fault merge.begin");
    if (any_failed(m, *st)) return 1;
    drop_below_floor(m);
    for (int q = 0; q < t->nq; q++) m->total[q] = t->list[q].n;
    reduce(m, m->total, t->nq, MPI_INT64_T, MPI_SUM);
    for (int q = 0; q < t->nq; q++)
        if (m->total[q] > t->k) m->total[q] = t->k;
    *st = make_room(m);
    return any_failed(m, *st);
}

static void merge_all(const allmerge *m)
{
    npr_topk *t = m->t;
    size_t bytes;
    for (int q = 0, end; q < t->nq; q = end) {
        end = cut_batch(m, q, &bytes);
        fold(m, q, end);
        if (m->comm->rank < m->half) halve_and_double(m, q, end);
        unfold(m, q, end);
    }
    for (int q = 0; q < t->nq; q++) {
        npr_hits *l = &t->list[q];
        l->full = l->n == t->k;
        if (l->full) l->least = l->hit[l->n - 1];
    }
}

int npr_topk_allmerge_beside(const npr_comm *comm, npr_topk *t, const npr_merge_idle *idle, npr_status *st)
{
    allmerge m = {.comm = comm, .t = t, .idle = idle, .half = 1, .room = sizeof(int64_t)};
    while (m.half <= comm->size / 2) m.half *= 2;
    int failed = prepare(&m, st);
    if (!failed) merge_all(&m);
    free(m.out);
    free(m.in);
    free(m.floor);
    free(m.total);
    return failed;
}

npr_status npr_topk_allmerge(const npr_comm *comm, npr_topk *t, double *seconds)
{
    double start = npr_now();
    npr_status st = NPR_OK;
    int failed = 0;
    if (comm->size == 1)
        npr_topk_sort(t);
    else
        failed = npr_topk_allmerge_beside(comm, t, NULL, &st);
    if (failed) st = npr_agree(comm, st, "merge"); /* all ranks know that one has failed */
    if (seconds) *seconds = npr_now() - start;
    return st;
}

npr_status npr_topk_join(npr_topk *into, const npr_topk *from)
{
    for (int q = 0; q < into->nq; q++) {
        const npr_hits *f = &from->list[q];
        npr_hits *l = &into->list[q];
        int64_t n = l->n + f->n < into->k ? l->n + f->n : into->k;
        NPR_TRY(npr_grow(&l->hit, &l->cap, (size_t)n, sizeof *l->hit, "a list of hits"));
        merge_into(f->hit, f->n, l, into->k);
        l->full = l->n == into->k;
        if (l->full) l->least = l->hit[l->n - 1];
    }
    return NPR_OK;
}
