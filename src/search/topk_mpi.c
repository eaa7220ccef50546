/* topk_mpi.c - the same lists on all ranks, by reduction. See include/npr/topk.h.
 *
 * The element of the reduction is a whole list. Merging two sorted lists and keeping the k best is
 * commutative and associative, because the order of hits is total; and an element is never split. So the MPI
 * library is free to segment, reorder and pipeline. The lists of a batch are padded to the longest that comes
 * out of it. Several batches are under way at once, and while they are the next one is sorted and packed. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "npr/log.h"
#include "npr/watchdog.h"
#include "search/topk.h"

enum {
    BATCH_BYTES = 8 << 20, /* of the lists of a batch: enough to fill a network, little to hold */
    IN_FLIGHT = 4,
};

/* Sorts behind every hit: parts and rows of real places are smaller. */
static const npr_hit PADDING = {-INFINITY, INT64_MAX, INT64_MAX};

/* Lists q0 .. q1-1 under way. */
typedef struct batch {
    int q0, q1;
    int64_t length; /* of each list */
    npr_hit *hit;   /* [q1 - q0][length] */
    MPI_Datatype type;
    MPI_Request request;
} batch;

typedef struct allmerge {
    const npr_comm *comm;
    npr_topk *t;
    int64_t *total;  /* [nq] hits of each list in the end, on all ranks */
    npr_hit *memory; /* [IN_FLIGHT][slot] */
    size_t slot;     /* hits that a batch may have */
    MPI_Op op;
    MPI_Datatype hit;
} allmerge;

/* b = the k best of a and b, all sorted. Those of b that stay move back, so none is overwritten unread. */
static void merge_into(const npr_hit *a, npr_hit *b, int64_t k)
{
    int64_t from_a = 0;
    while (from_a < k && npr_hit_before(&a[from_a], &b[k - 1 - from_a])) from_a++;
    for (int64_t i = from_a, j = k - from_a, to = k; i > 0;) {
        int from_b = j > 0 && npr_hit_before(&a[i - 1], &b[j - 1]);
        b[--to] = from_b ? b[--j] : a[--i];
    }
}

/* What MPI calls: `count` lists, whose length is in the size of their type. */
static void merge_lists(void *in, void *inout, int *count, MPI_Datatype *type)
{
    MPI_Count bytes;
    MPI_Type_size_x(*type, &bytes);
    int64_t k = (int64_t)bytes / (int64_t)sizeof(npr_hit);
    for (int i = 0; i < *count; i++) merge_into((npr_hit *)in + i * k, (npr_hit *)inout + i * k, k);
}

/* Lengths of the lists in the end, and room for them: after this nothing can fail. */
static npr_status prepare(allmerge *m)
{
    npr_topk *t = m->t;
    int64_t longest = 0;
    m->total = npr_alloc((size_t)t->nq, sizeof *m->total, "merging hits");
    NPR_TRY(npr_agree(m->comm, m->total ? NPR_OK : npr_last(), "merge"));
    for (int q = 0; q < t->nq; q++) m->total[q] = t->list[q].n;
    npr_sum_i64(m->comm, m->total, (size_t)t->nq);
    npr_status st = NPR_OK;
    for (int q = 0; q < t->nq; q++) {
        npr_hits *l = &t->list[q];
        if (m->total[q] > t->k) m->total[q] = t->k;
        if (m->total[q] > longest) longest = m->total[q];
        if (!st) st = npr_grow(&l->hit, &l->cap, (size_t)m->total[q], sizeof *l->hit, "a list of hits");
    }
    m->slot = BATCH_BYTES / sizeof(npr_hit);
    if (m->slot < (size_t)longest) m->slot = (size_t)longest;
    if (!st && !(m->memory = npr_alloc_aligned(IN_FLIGHT * m->slot, sizeof *m->memory, "merging hits")))
        st = npr_last();
    return npr_agree(m->comm, st, "merge");
}

/* As many lists from q0 on as fit. */
static void cut_batch(const allmerge *m, batch *b, int q0)
{
    b->q0 = b->q1 = q0;
    b->length = 0;
    while (b->q1 < m->t->nq) {
        int64_t length = m->total[b->q1] > b->length ? m->total[b->q1] : b->length;
        if ((size_t)length * (size_t)(b->q1 + 1 - q0) > m->slot) break;
        b->length = length;
        b->q1++;
    }
}

static void start_batch(const allmerge *m, batch *b)
{
    for (int q = b->q0; q < b->q1; q++) {
        npr_hit *to = b->hit + (q - b->q0) * b->length;
        npr_topk_sort_list(m->t, q);
        const npr_hits *l = &m->t->list[q];
        if (l->n) memcpy(to, l->hit, (size_t)l->n * sizeof *to);
        for (int64_t i = l->n; i < b->length; i++) to[i] = PADDING;
    }
    b->request = MPI_REQUEST_NULL;
    if (b->length == 0) return;
    MPI_Type_contiguous(npr_mpi_count((size_t)b->length), m->hit, &b->type);
    MPI_Type_commit(&b->type);
    MPI_Iallreduce(MPI_IN_PLACE, b->hit, b->q1 - b->q0, b->type, m->op, m->comm->mpi, &b->request);
}

static void end_batch(const allmerge *m, batch *b)
{
    if (b->length == 0) return;
    npr_mark("merge", 1);
    MPI_Wait(&b->request, MPI_STATUS_IGNORE);
    npr_mark("merge", 0);
    MPI_Type_free(&b->type);
    for (int q = b->q0; q < b->q1; q++) {
        npr_hits *l = &m->t->list[q];
        l->n = m->total[q];
        if (l->n) memcpy(l->hit, b->hit + (q - b->q0) * b->length, (size_t)l->n * sizeof *l->hit);
        l->full = l->n == m->t->k;
        if (l->full) l->least = l->hit[l->n - 1];
    }
}

/* Keep IN_FLIGHT batches under way: before a slot is used again, its batch is taken out. */
static void run(allmerge *m)
{
    batch b[IN_FLIGHT] = {0};
    int started = 0, ended = 0;
    for (int q = 0; q < m->t->nq; started++) {
        batch *next = &b[started % IN_FLIGHT];
        if (started - ended == IN_FLIGHT) end_batch(m, &b[ended++ % IN_FLIGHT]);
        next->hit = m->memory + (size_t)(started % IN_FLIGHT) * m->slot;
        cut_batch(m, next, q);
        start_batch(m, next);
        q = next->q1;
    }
    while (ended < started) end_batch(m, &b[ended++ % IN_FLIGHT]);
}

npr_status npr_topk_allmerge(const npr_comm *comm, npr_topk *t, double *seconds)
{
    double start = npr_now();
    npr_status st = NPR_OK;
    if (comm->size == 1) {
        npr_topk_sort(t);
    } else {
        allmerge m = {.comm = comm, .t = t};
        st = prepare(&m);
        if (!st) {
            MPI_Type_contiguous(sizeof(npr_hit), MPI_BYTE, &m.hit);
            MPI_Op_create(merge_lists, 1, &m.op);
            run(&m);
            MPI_Op_free(&m.op);
            MPI_Type_free(&m.hit);
        }
        free(m.memory);
        free(m.total);
    }
    if (seconds) *seconds = npr_now() - start;
    return st;
}
