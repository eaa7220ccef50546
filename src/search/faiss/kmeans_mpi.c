/* kmeans_mpi.c - spherical k-means over the sample's rows where they lie. See kmeans.h.
 *
 * Every rank has all centroids and its own rows. A round is one exact search of the centroids with these rows
 * (kmeans.c) and one sum over ranks, which is taken in blocks of lists to bound memory. Values of binary16
 * are multiples of 2^-24, so they are summed as integers, exactly; where values were so large that a sum
 * might not fit into 63 bits, low bits of each value are left out first. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/mem.h"
#include "search/faiss/kmeans.h"

enum {
    BLOCK_BYTES = 64 << 20, /* of sums that are reduced together */
    LOWEST_BIT = 24,        /* binary16 values are multiples of 2^-24 */
    SUM_BITS = 62,
    ASSIGN_ROWS = 4096, /* between two signs of life, and two looks for a request to stop */
    KEEP_SECONDS = 60
};

static const double SPLIT = 1.0 / 1024; /* by how much the halves of a list are moved apart */

typedef struct kmeans {
    const npr_comm *comm;
    const kmeans_rows *rows;
    int lists, threads, block; /* lists whose sums are reduced together */
    double unit;               /* values are summed as multiples of 1 / unit */
    float *centroid;
    int32_t *list;  /* [n] of each row */
    int64_t *first; /* [lists + 2] this rank's rows of list l: order[first[l] .. first[l + 1]) */
    int64_t *order; /* [n] */
    int64_t *count; /* [lists] rows of all ranks */
    int64_t *sum;   /* [block][dim] */
    int32_t *rank;  /* [lists] lists, the largest first */
} kmeans;

/* ---- sums ---------------------------------------------------------------------------------------------- */

/* How fine values are summed. Collective. */
static double choose_unit(const npr_comm *comm, const kmeans_rows *rows)
{
    int64_t n = rows->n, most = 0;
    for (int64_t i = 0; i < rows->n * rows->dim; i++) {
        int64_t magnitude = rows->emb[i] & 0x7fff; /* the order of magnitudes is that of these bits */
        if (magnitude > most) most = magnitude;
    }
    npr_sum_i64(comm, &n, 1);
    npr_max_i64(comm, &most, 1);
    int value_bits, count_bits;
    (void)frexp(npr_half_value((uint16_t)most), &value_bits); /* below 2^value_bits */
    (void)frexp((double)n, &count_bits);
    int spare = SUM_BITS - value_bits - count_bits;
    return ldexp(1, spare < LOWEST_BIT ? spare : LOWEST_BIT);
}

static void sort_by_list(kmeans *k)
{
    int64_t *end = k->first + 1; /* grows from where a list begins to where it ends */
    memset(k->first, 0, ((size_t)k->lists + 2) * sizeof *k->first);
    for (int64_t i = 0; i < k->rows->n; i++) end[k->list[i] + 1]++;
    for (int l = 0; l < k->lists; l++) end[l + 1] += end[l];
    for (int64_t i = 0; i < k->rows->n; i++) k->order[end[k->list[i]]++] = i;
}

static void add_row(const uint16_t *emb, int dim, double unit, int64_t *sum)
{
    enum { SOME = 256 };
    float x[SOME];
    for (int j0 = 0; j0 < dim; j0 += SOME) {
        int n = dim - j0 < SOME ? dim - j0 : SOME;
        npr_half_to_float(emb + j0, x, (size_t)n);
        for (int j = 0; j < n; j++) sum[j0 + j] += llrint((double)x[j] * unit);
    }
}

/* This rank's sum of the rows of a list. */
static void add_rows(const kmeans *k, int list, int64_t *sum)
{
    size_t dim = (size_t)k->rows->dim;
    for (int64_t i = k->first[list]; i < k->first[list + 1]; i++)
        add_row(k->rows->emb + (size_t)k->order[i] * dim, k->rows->dim, k->unit, sum);
}

/* x scaled to unit length; stays as it is if it has none. */
static int make_unit(const double *x, int dim, float *to)
{
    double squares = 0;
    for (int j = 0; j < dim; j++) squares += x[j] * x[j];
    if (!(squares > 0)) return 0;
    double norm = sqrt(squares);
    for (int j = 0; j < dim; j++) to[j] = (float)(x[j] / norm);
    return 1;
}

/* The means of all lists. Collective. */
static npr_status take_means(kmeans *k)
{
    int dim = k->rows->dim;
    double *mean = npr_alloc((size_t)dim, sizeof *mean, "a centroid");
    NPR_TRY(npr_agree(k->comm, mean ? NPR_OK : npr_last(), "training"));
    for (int l0 = 0; l0 < k->lists; l0 += k->block) {
        int n = k->lists - l0 < k->block ? k->lists - l0 : k->block;
        size_t values = (size_t)n * (size_t)dim;
        memset(k->sum, 0, values * sizeof *k->sum);
#pragma omp parallel for num_threads(k->threads) schedule(dynamic, 16)
        for (int l = 0; l < n; l++) add_rows(k, l0 + l, k->sum + (size_t)l * (size_t)dim);
        npr_sum_i64(k->comm, k->sum, values);
        for (int l = 0; l < n; l++) {
            for (int j = 0; j < dim; j++) mean[j] = (double)k->sum[(size_t)l * (size_t)dim + (size_t)j];
            (void)make_unit(mean, dim, k->centroid + (size_t)(l0 + l) * (size_t)dim); /* else as before */
        }
    }
    free(mean);
    return NPR_OK;
}

/* ---- lists without rows -------------------------------------------------------------------------------- */

static int by_count(const void *va, const void *vb, void *count)
{
    int32_t a = *(const int32_t *)va, b = *(const int32_t *)vb;
    const int64_t *c = count;
    if (c[a] != c[b]) return c[a] > c[b] ? -1 : 1;
    return (a > b) - (a < b);
}

/* Two centroids on both sides of that of `from`. */
static void split(kmeans *k, int from, int empty, double *x)
{
    int dim = k->rows->dim;
    float *a = k->centroid + (size_t)from * (size_t)dim, *b = k->centroid + (size_t)empty * (size_t)dim;
    for (int j = 0; j < dim; j++) x[j] = (double)a[j] * (j % 2 ? 1 - SPLIT : 1 + SPLIT);
    (void)make_unit(x, dim, b);
    for (int j = 0; j < dim; j++) x[j] = (double)a[j] * (j % 2 ? 1 + SPLIT : 1 - SPLIT);
    (void)make_unit(x, dim, a);
}

/* The n-th empty list gets half of the n-th largest. Returns how many were empty. */
static npr_status fill_empty(kmeans *k, int *empty)
{
    double *x = npr_alloc((size_t)k->rows->dim, sizeof *x, "a centroid");
    if (!x) return npr_last();
    for (int l = 0; l < k->lists; l++) k->rank[l] = l;
    qsort_r(k->rank, (size_t)k->lists, sizeof *k->rank, by_count, k->count);
    *empty = 0;
    for (int l = 0; l < k->lists; l++) {
        if (k->count[l]) continue;
        int large = k->rank[(*empty)++];
        if (k->count[large] > 1) split(k, large, l, x);
    }
    free(x);
    return NPR_OK;
}

/* ---- rounds -------------------------------------------------------------------------------------------- */

/* The list of each of this rank's rows. A round can take minutes: each block of rows is progress, and between
 * two of them a request to stop is heard. */
static npr_status assign_rows(const kmeans *k, npr_progress *progress)
{
    kmeans_rows some = *k->rows;
    for (int64_t at = 0; at < k->rows->n; at += ASSIGN_ROWS) {
        some.n = k->rows->n - at < ASSIGN_ROWS ? k->rows->n - at : ASSIGN_ROWS;
        some.emb = k->rows->emb + (size_t)at * (size_t)some.dim;
        NPR_TRY(kmeans_assign(&some, k->centroid, k->lists, k->threads, k->list + at));
        npr_progress_add(progress, some.n);
        (void)npr_fault("index.block"); /* can be slowed down, or asked to stop, here */
        if (at + some.n < k->rows->n && npr_stop_requested())
            return npr_fail(NPR_ESTOP, "training stopped on request, in a round");
    }
    return NPR_OK;
}

/* Collective. */
static npr_status train_round(kmeans *k, npr_progress *progress)
{
    int empty = 0;
    NPR_TRY(npr_agree(k->comm, assign_rows(k, progress), "training"));
    sort_by_list(k);
    for (int l = 0; l < k->lists; l++) k->count[l] = k->first[l + 1] - k->first[l];
    npr_sum_i64(k->comm, k->count, (size_t)k->lists);
    NPR_TRY(take_means(k));
    return npr_agree(k->comm, fill_empty(k, &empty), "training");
}

static npr_status make_room(kmeans *k)
{
    size_t n = (size_t)k->rows->n, lists = (size_t)k->lists, dim = (size_t)k->rows->dim;
    size_t block = BLOCK_BYTES / (dim * sizeof *k->sum);
    k->block = (int)(block < 1 ? 1 : block > lists ? lists : block);
    k->list = npr_alloc(n, sizeof *k->list, "lists of rows");
    k->order = npr_alloc(n, sizeof *k->order, "rows by list");
    k->first = npr_alloc(lists + 2, sizeof *k->first, "rows by list");
    k->count = npr_alloc(lists, sizeof *k->count, "rows of lists");
    k->rank = npr_alloc(lists, sizeof *k->rank, "lists by size");
    k->sum = npr_alloc_aligned((size_t)k->block * dim, sizeof *k->sum, "sums of lists");
    return k->list && k->order && k->first && k->count && k->rank && k->sum ? NPR_OK : npr_last();
}

/* Once a minute, and before leaving: `done` rounds, of which some are new. Collective. */
static npr_status keep(const kmeans *k, const kmeans_job *job, int done, double *last)
{
    npr_status st = NPR_OK, stop = npr_agree_stop(k->comm, "training");
    int due = done > job->done && done < job->rounds && (stop || npr_now() - *last > KEEP_SECONDS);
    if (k->comm->rank == 0 && job->keep && due) {
        st = job->keep(job->self, done, k->centroid);
        *last = npr_now();
    }
    st = npr_agree(k->comm, st, "training");
    return st ? st : npr_agree_stop(k->comm, "training");
}

npr_status kmeans_train(const npr_comm *comm, const npr_log *log, const kmeans_rows *rows,
                        const kmeans_job *job, float *centroid)
{
    kmeans k = {
        .comm = comm, .rows = rows, .lists = job->lists, .threads = job->threads, .centroid = centroid};
    int64_t all = rows->n;
    double last = npr_now();
    npr_sum_i64(comm, &all, 1);
    npr_status st = npr_agree(comm, make_room(&k), "training");
    if (!st) {
        k.unit = choose_unit(comm, rows);
        npr_progress *progress =
            npr_progress_start(comm, log, "training lists", "rows", all * (job->rounds - job->done));
        for (int done = job->done; !st && done < job->rounds;) {
            st = train_round(&k, progress);
            (void)npr_fault("index.round"); /* a stop can be asked for here */
            done += !st;
            /* stopped in a round: it is done again, from the centroids of the one before */
            if (!st || st == NPR_ESTOP) st = keep(&k, job, done, &last);
        }
        npr_progress_end(comm, progress);
    }
    free(k.list);
    free(k.order);
    free(k.first);
    free(k.count);
    free(k.rank);
    free(k.sum);
    return st;
}
