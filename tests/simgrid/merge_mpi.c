/* merge_mpi.c - the collectives of npr on a simulated network (SimGrid's SMPI): the sources of src/base, src/par
 * and src/search/topk*.c, compiled with smpicc by tests/simgrid/run.sh, not copies of them. Merges of made-up
 * lists are checked hit by hit; the others against what they must give.
 *
 *   merge QUERIES K WAY SCAN-SECONDS MERGE-NS    WAY: npr | reduce | allreduce   (the last two: an MPI
 * operation)
 *
 * Computing takes no time in the simulation but for what is injected: the scan, and MERGE-NS nanoseconds per
 * hit that is merged. Prints one line of key=value pairs. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "npr/comm.h"
#include "npr/log.h"
#include "npr/topk.h"

static int k;
static double merge_ns;

static void compute(double seconds)
{
    if (seconds > 0) smpi_execute(seconds);
}

/* Rank r has the hits r, r + P, ... of an endless list of falling scores: the k best are known. */
static npr_hit make_hit(int q, int64_t i)
{
    return (npr_hit){-(double)i - q * 1e-3, i, i};
}

/* ---- the other ways: a user-defined operation on padded lists ------------------------------------------ */

static void operation(void *in, void *inout, int *count, MPI_Datatype *type)
{
    (void)type;
    npr_hit *out = malloc((size_t)k * sizeof *out);
    for (int q = 0; q < *count; q++) {
        npr_hit *a = (npr_hit *)in + (size_t)q * (size_t)k, *b = (npr_hit *)inout + (size_t)q * (size_t)k;
        for (int i = 0, x = 0, y = 0; i < k; i++) out[i] = npr_hit_before(&a[x], &b[y]) ? a[x++] : b[y++];
        memcpy(b, out, (size_t)k * sizeof *out);
    }
    free(out);
    compute(1e-9 * merge_ns * *count * k);
}

static void merge_by_mpi(const npr_comm *c, npr_topk *t, int nq, int all)
{
    size_t n = (size_t)nq * (size_t)k;
    npr_hit *mine = malloc(n * sizeof *mine), *out = malloc(n * sizeof *out);
    MPI_Datatype list;
    MPI_Op op;
    MPI_Type_contiguous(k * (int)sizeof(npr_hit), MPI_BYTE, &list);
    MPI_Type_commit(&list);
    MPI_Op_create(operation, 1, &op);
    npr_topk_sort(t);
    for (int q = 0; q < nq; q++)
        memcpy(mine + (size_t)q * (size_t)k, npr_topk_list(t, q), (size_t)k * sizeof *mine);
    if (all) {
        MPI_Allreduce(mine, out, nq, list, op, c->mpi);
    } else {
        MPI_Reduce(mine, out, nq, list, op, 0, c->mpi);
        MPI_Bcast(out, nq, list, 0, c->mpi);
    }
    for (int q = 0; q < nq; q++)
        for (int i = 0; i < k; i++)
            if (out[(size_t)q * (size_t)k + (size_t)i].id != i) MPI_Abort(c->mpi, 1);
    MPI_Op_free(&op);
    MPI_Type_free(&list);
    free(mine);
    free(out);
}

/* ---- ours ---------------------------------------------------------------------------------------------- */

static void merge_by_npr(const npr_comm *c, npr_topk *t, int nq)
{
    if (npr_topk_allmerge(c, t, NULL)) MPI_Abort(c->mpi, 1);
    /* halving merges less than a whole set of lists per rank, and one more where ranks are folded */
    int folded = (c->size & (c->size - 1)) != 0;
    compute(1e-9 * merge_ns * nq * k * (c->size > 1 ? 1 + folded : 0));
    for (int q = 0; q < nq; q++) {
        if (npr_topk_count(t, q) != k) MPI_Abort(c->mpi, 1);
        for (int i = 0; i < k; i++) {
            npr_hit want = make_hit(q, i), is = npr_topk_list(t, q)[i];
            if (memcmp(&want, &is, sizeof is) != 0) MPI_Abort(c->mpi, 1);
        }
    }
}

static double merge(const npr_comm *c, const char *way, int nq)
{
    npr_topk *t = npr_topk_make(nq, k);
    for (int q = 0; q < nq; q++)
        for (int i = 0; i < k; i++)
            if (npr_topk_push(t, q, make_hit(q, c->rank + (int64_t)i * c->size))) MPI_Abort(c->mpi, 1);
    MPI_Barrier(c->mpi);
    double start = MPI_Wtime();
    if (!strcmp(way, "npr"))
        merge_by_npr(c, t, nq);
    else
        merge_by_mpi(c, t, nq, !strcmp(way, "allreduce"));
    double seconds = MPI_Wtime() - start;
    npr_topk_free(t);
    npr_max_f64(c, &seconds, 1);
    return seconds;
}

/* Queries of 512 floats to all ranks. */
static double broadcast(const npr_comm *c, int nq)
{
    size_t n = (size_t)nq * 512;
    float *v = calloc(n, sizeof *v);
    if (c->rank == 0) v[n - 1] = 1;
    MPI_Barrier(c->mpi);
    double start = MPI_Wtime();
    npr_bcast(c, v, n * sizeof *v, 0);
    double seconds = MPI_Wtime() - start;
    if (v[n - 1] < 0.5f) MPI_Abort(c->mpi, 1);
    free(v);
    npr_max_f64(c, &seconds, 1);
    return seconds;
}

/* Sums of 1,000 classes of 512 values, as npr-solve makes them; also what an iteration of a probe reduces. */
static double class_sums(const npr_comm *c)
{
    size_t n = 1000 * 512;
    double *v = malloc(n * sizeof *v);
    for (size_t i = 0; i < n; i++) v[i] = 0x1p-24 * (double)(c->rank + 1);
    MPI_Barrier(c->mpi);
    double start = MPI_Wtime();
    npr_sum_f64_exact(c, v, n);
    double seconds = MPI_Wtime() - start;
    if (v[n - 1] != 0x1p-24 * ((double)c->size * (c->size + 1) / 2)) MPI_Abort(c->mpi, 1);
    free(v);
    npr_max_f64(c, &seconds, 1);
    return seconds;
}

static double agreement(const npr_comm *c)
{
    MPI_Barrier(c->mpi);
    double start = MPI_Wtime();
    if (npr_agree(c, NPR_OK, "nothing")) MPI_Abort(c->mpi, 1);
    double seconds = MPI_Wtime() - start;
    npr_max_f64(c, &seconds, 1);
    return seconds;
}

/* Compute the scan, then merge: a whole search but for reading its inputs. */
static void search(const npr_comm *c, const char *way, int nq, double scan)
{
    double b = broadcast(c, nq);
    MPI_Barrier(c->mpi);
    double start = MPI_Wtime();
    compute(scan / c->size);
    double m = merge(c, way, nq), whole = MPI_Wtime() - start;
    npr_max_f64(c, &whole, 1);
    if (c->rank == 0)
        printf("ranks=%d queries=%d k=%d way=%s bcast_s=%.6g merge_s=%.6g scan_s=%.6g whole_s=%.6g\n",
               c->size, nq, k, way, b, m, scan / c->size, whole + b);
}

static void others(const npr_comm *c)
{
    double s = class_sums(c), a = agreement(c);
    if (c->rank == 0) printf("ranks=%d way=sums sums_s=%.6g agree_s=%.6g\n", c->size, s, a);
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    if (argc != 6) MPI_Abort(MPI_COMM_WORLD, 64);
    k = atoi(argv[2]);
    merge_ns = atof(argv[5]);
    npr_comm c = npr_comm_make(MPI_COMM_WORLD);
    if (!strcmp(argv[3], "sums"))
        others(&c);
    else
        search(&c, argv[3], atoi(argv[1]), atof(argv[4]));
    npr_comm_free(&c);
    MPI_Finalize();
    return 0;
}
