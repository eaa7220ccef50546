/* merge_mpi.c - the collectives of npr on a simulated network (SimGrid's SMPI): the sources of src/base,
 * src/par and src/search/topk*.c, compiled with smpicc by tests/simgrid/lib_simgrid.sh, not copies of them.
 * Every answer is checked on every rank.
 *
 * "merge merge QUERIES K WAY MERGE-NS": one merge. WAY is npr, or an operation of MPI's: reduce or allreduce.
 *
 * "merge search QUERIES K PARTS PART-SECONDS MERGE-NS": a whole search: the queries, scans in rounds of parts
 * with merges beside them, as scan_mpi.c and beside_mpi.c do it.
 *
 * "merge solve": sums of 1,000 classes x 512; an agreement. The counter of work has counter_mpi.c.
 *
 * Computing takes no time in the simulation but for what is injected: scans, and MERGE-NS nanoseconds per hit
 * that is looked at. SMPI has no threads: instead of scanning in one and merging in another, a rank scans 100
 * us at a time while it waits for messages. Prints one line of key=value pairs. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "npr/comm.h"
#include "npr/log.h"
#include "base/rng.h"
#include "search/topk.h"

static int k;
static double merge_ns;

static void compute(double seconds)
{
    if (seconds > 0) smpi_execute(seconds);
}

/* SMPI's own MPI_Iallreduce sends from every rank to every other; no MPI library does. lib_simgrid.sh has all
 * sources call this instead (-DMPI_Iallreduce=..., which renames the declaration in mpi.h too): it takes the
 * time of MPI_Allreduce, in which the rank does not scan, so it is rather too slow than too fast. */
int npr_smpi_iallreduce(const void *from, void *to, int n, MPI_Datatype type, MPI_Op op, MPI_Comm comm,
                        MPI_Request *request)
{
    *request = MPI_REQUEST_NULL;
    return MPI_Allreduce(from, to, n, type, op, comm);
}

/* The hits of a list on a rank in a round: scores fall by random steps, as if each row were as likely as any
 * to be a good one. */
typedef struct stream {
    npr_rng rng;
    double score;
    int64_t n, first;
} stream;

static stream stream_open(int q, int rank, int round)
{
    int64_t first = ((int64_t)round << 20 | rank) << 12;
    return (stream){npr_rng_make((uint64_t)q, (uint64_t)first), 0, 0, first};
}

static npr_hit stream_next(stream *s)
{
    s->score += log(1 - npr_rng_uniform(&s->rng));
    int64_t id = s->first + s->n++;
    return (npr_hit){s->score, id, id};
}

/* Is the list the k best of all ranks' hits of all rounds? The last one says how far to look. */
static int is_right(const npr_comm *c, const npr_topk *t, int q, int rounds)
{
    if (npr_topk_count(t, q) != k) return 0;
    const npr_hit *hit = npr_topk_list(t, q);
    int64_t found = 0, ids = 0, want = 0;
    for (int i = 0; i < k; i++) want += hit[i].id * (hit[i].id % 1009 + 1);
    for (int round = 0; round < rounds; round++)
        for (int rank = 0; rank < c->size; rank++) {
            stream s = stream_open(q, rank, round);
            for (npr_hit h = stream_next(&s); !npr_hit_before(&hit[k - 1], &h); h = stream_next(&s))
                found++, ids += h.id * (h.id % 1009 + 1);
        }
    return found == k && ids == want;
}

/* Each rank checks some lists; all ranks have the same. */
static void check(const npr_comm *c, const npr_topk *t, int rounds)
{
    int64_t digest = 0, most;
    for (int q = 0; q < npr_topk_queries(t); q++) {
        if (q % c->size == c->rank && !is_right(c, t, q, rounds)) MPI_Abort(c->mpi, 1);
        for (int i = 0; i < npr_topk_count(t, q); i++)
            digest = (int64_t)npr_mix64((uint64_t)(digest ^ npr_topk_list(t, q)[i].id));
    }
    most = digest;
    npr_max_i64(c, &most, 1);
    if (most != digest) MPI_Abort(c->mpi, 1);
}

/* Offer what a round finds, best first, until floors let nothing in. */
static void find(const npr_comm *c, npr_topk *t, int nq, int round)
{
    for (int q = 0; q < nq; q++) {
        stream s = stream_open(q, c->rank, round);
        npr_hit h = stream_next(&s);
        for (int i = 0; i < k && h.score >= npr_topk_floor(t, q); i++, h = stream_next(&s))
            if (npr_topk_push(t, q, h)) MPI_Abort(c->mpi, 1);
    }
}

static int64_t hits_of(const npr_topk *t)
{
    int64_t n = 0;
    for (int q = 0; q < npr_topk_queries(t); q++) n += npr_topk_count(t, q);
    return n;
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

static npr_topk *merge_by_mpi(const npr_comm *c, npr_topk *t, int nq, int all)
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
    npr_topk *merged = npr_topk_make(nq, k);
    for (size_t i = 0; i < n; i++)
        if (npr_topk_push(merged, (int)(i / (size_t)k), out[i])) MPI_Abort(c->mpi, 1);
    npr_topk_sort(merged);
    npr_topk_free(t);
    MPI_Op_free(&op);
    MPI_Type_free(&list);
    free(mine);
    free(out);
    return merged;
}

/* ---- ours ---------------------------------------------------------------------------------------------- */

static void say_merge(const npr_comm *c, const char *way, int nq)
{
    npr_topk *t = npr_topk_make(nq, k);
    find(c, t, nq, 0);
    int ours = !strcmp(way, "npr");
    MPI_Barrier(c->mpi);
    double start = MPI_Wtime();
    if (ours) {
        compute(1e-9 * merge_ns * (double)hits_of(t)); /* choosing; what is merged after that is little */
        if (npr_topk_allmerge(c, t, NULL)) MPI_Abort(c->mpi, 1);
    } else {
        t = merge_by_mpi(c, t, nq, !strcmp(way, "allreduce"));
    }
    double seconds = MPI_Wtime() - start;
    npr_max_f64(c, &seconds, 1);
    check(c, t, 1);
    npr_topk_free(t);
    if (c->rank == 0) printf("ranks=%d queries=%d k=%d way=%s merge_s=%.6g\n", c->size, nq, k, way, seconds);
}

/* Queries to all ranks: of 512 floats, or a tenth where 10 x 10 times as many hits are meant and the network
 * is described a hundred times slower. */
static double broadcast(const npr_comm *c, int nq)
{
    size_t n = (size_t)nq * 512 / 10;
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

/* ---- a whole search ------------------------------------------------------------------------------------ */

typedef struct scan {
    double left, exposed; /* of this round; time in which a merge was waited for */
} scan;

static void scan_some(void *self, npr_merge_step where)
{
    scan *s = self;
    double step = 1e-4;
    if (where != NPR_MERGE_WAIT) return;
    if (s->left <= 0) s->exposed += step;
    if (s->left > 0 && s->left < step) step = s->left;
    s->left -= step;
    compute(step);
}

/* Parts of a rank in a round: as scan_mpi.c has it. */
static int64_t parts_of_round(int size, int64_t parts)
{
    int64_t most = parts / size / 8;
    return most < 1 ? 1 : most > 8 ? 8 : most;
}

static int64_t owned(const npr_comm *c, int64_t from, int64_t to)
{
    int64_t n = 0;
    for (int64_t p = from; p < to; p++) n += npr_owns(c, p);
    return n;
}

static npr_topk *scan_and_merge(const npr_comm *c, int nq, int64_t parts, double part_s, scan *s, int *rounds)
{
    npr_topk *whole = npr_topk_make(nq, k), *batch = NULL, *found = npr_topk_make(nq, k);
    npr_merge_idle idle = {scan_some, s};
    npr_status st = NPR_OK;
    int64_t step = parts_of_round(c->size, parts) * c->size;
    *rounds = 0;
    for (int64_t p = 0; p < parts; p += step) {
        int64_t mine = owned(c, p, p + step < parts ? p + step : parts);
        s->left = part_s * (double)mine;
        find(c, found, nq, (*rounds)++);
        if (batch) {
            compute(1e-9 * merge_ns * (double)hits_of(batch));
            if (npr_topk_allmerge_beside(c, batch, &idle, &st)) MPI_Abort(c->mpi, 1);
            compute(s->left);
            st = npr_topk_join(whole, batch);
            npr_topk_free(batch);
            for (int q = 0; q < nq; q++) npr_topk_raise(found, q, &whole->list[q].least);
        } else {
            compute(s->left);
        }
        batch = NULL;
        if (npr_agree(c, st, "scan")) MPI_Abort(c->mpi, 1);
        double lacking = 0;
        npr_max_f64(c, &lacking, 1); /* whether a merge is worth it: it is */
        if (p + step >= parts) break;
        batch = found;
        found = npr_topk_make(nq, k);
        for (int q = 0; q < nq; q++)
            if (batch->list[q].full)
                npr_topk_raise(found, q, &batch->list[q].least);
            else if (whole->list[q].full)
                npr_topk_raise(found, q, &whole->list[q].least);
    }
    double start = MPI_Wtime();
    compute(1e-9 * merge_ns * (double)hits_of(found));
    if (npr_topk_allmerge(c, found, NULL) || npr_topk_join(whole, found)) MPI_Abort(c->mpi, 1);
    compute(1e-9 * merge_ns * (double)hits_of(whole)); /* joining */
    s->exposed += MPI_Wtime() - start;
    npr_topk_free(found);
    return whole;
}

static void say_search(const npr_comm *c, int nq, int64_t parts, double part_s)
{
    scan s = {0};
    int rounds;
    double b = broadcast(c, nq);
    MPI_Barrier(c->mpi);
    double start = MPI_Wtime();
    npr_topk *t = scan_and_merge(c, nq, parts, part_s, &s, &rounds);
    double whole = MPI_Wtime() - start + b;
    check(c, t, rounds);
    npr_topk_free(t);
    npr_max_f64(c, &whole, 1);
    npr_max_f64(c, &s.exposed, 1);
    if (c->rank == 0)
        printf("ranks=%d queries=%d k=%d parts=%lld rounds=%d bcast_s=%.6g exposed_s=%.6g whole_s=%.6g\n",
               c->size, nq, k, (long long)parts, rounds, b, s.exposed, whole);
}

/* ---- what npr-solve does ------------------------------------------------------------------ */

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

static void say_solve(const npr_comm *c)
{
    double s = class_sums(c), a = agreement(c);
    if (c->rank == 0) printf("ranks=%d sums_s=%.6g agree_s=%.6g\n", c->size, s, a);
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    npr_comm c = npr_comm_make(MPI_COMM_WORLD);
    k = argc > 3 ? atoi(argv[3]) : 1;
    if (argc == 6 && !strcmp(argv[1], "merge")) {
        merge_ns = atof(argv[5]);
        say_merge(&c, argv[4], atoi(argv[2]));
    } else if (argc == 7 && !strcmp(argv[1], "search")) {
        merge_ns = atof(argv[6]);
        say_search(&c, atoi(argv[2]), atoll(argv[4]), atof(argv[5]));
    } else if (argc == 2 && !strcmp(argv[1], "solve")) {
        say_solve(&c);
    } else {
        MPI_Abort(MPI_COMM_WORLD, 64);
    }
    npr_comm_free(&c);
    MPI_Finalize();
    return 0;
}
