/* counter_mpi.c - the counter of work (src/par/counter.c, as it is) on a simulated network: see merge_mpi.c.
 *
 * "counter DRAWS PART-SECONDS": all ranks draw until DRAWS numbers are given; each costs its rank between
 * half and one and a half times PART-SECONDS of computing (0: they draw as fast as they can). Every number
 * must come once. Prints one line of key=value pairs.
 *
 * SMPI's one-sided calls need nothing of the target: rank 0 may compute meanwhile, as with a network that
 * does atomic operations by itself. But SMPI keeps a lock on the target while a number is fetched and the sum
 * sent back, two ways through the network, where hardware holds it for the addition only: so many draws at
 * once take longer here than they must. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "npr/comm.h"

/* SMPI's MPI_Test leaves its flag as it was if the request is null and the status is ignored (to 4.1 at
 * least; MPI says that it becomes true). SMPI's MPI_Rget_accumulate is over when it returns, with a null
 * request, so that npr_counter_next() would wait for ever. lib_simgrid.sh has counter.c call this instead. */
int npr_smpi_test(MPI_Request *request, int *done, MPI_Status *status)
{
    (void)status; /* npr ignores it everywhere */
    return MPI_Testall(1, request, done, MPI_STATUSES_IGNORE);
}

typedef struct drawn {
    int64_t sums[3]; /* how many, their sum, their squares' sum */
    double waited, longest, computed;
} drawn;

static double seconds_of(int64_t number, double part_s)
{
    npr_rng r = npr_rng_make(1, (uint64_t)number);
    return part_s * (0.5 + npr_rng_uniform(&r));
}

static drawn draw(npr_counter *counter, int64_t draws, double part_s)
{
    drawn d = {0};
    for (;;) {
        double start = MPI_Wtime();
        int64_t i = npr_counter_next(counter);
        double s = MPI_Wtime() - start;
        d.waited += s;
        d.longest = s > d.longest ? s : d.longest;
        if (i >= draws) return d;
        d.sums[0]++;
        d.sums[1] += i;
        d.sums[2] += i * i;
        d.computed += s = seconds_of(i, part_s);
        if (s > 0) smpi_execute(s);
    }
}

static void check(const npr_comm *c, int64_t n, int64_t sums[3])
{
    npr_sum_i64(c, sums, 3);
    if (sums[0] != n || sums[1] != n * (n - 1) / 2 || sums[2] != (n - 1) * n * (2 * n - 1) / 6)
        MPI_Abort(c->mpi, 1);
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    npr_comm c = npr_comm_make(MPI_COMM_WORLD);
    npr_counter *counter;
    if (argc != 3) MPI_Abort(c.mpi, 64);
    int64_t draws = atoll(argv[1]);
    if (npr_counter_make(&c, &counter)) MPI_Abort(c.mpi, 1);
    MPI_Barrier(c.mpi);
    double start = MPI_Wtime();
    drawn d = draw(counter, draws, atof(argv[2]));
    double whole = MPI_Wtime() - start;
    npr_counter_free(&c, counter);
    check(&c, draws, d.sums);
    double sum[2] = {d.waited, d.computed};
    MPI_Allreduce(MPI_IN_PLACE, sum, 2, MPI_DOUBLE, MPI_SUM, c.mpi);
    npr_max_f64(&c, &whole, 1);
    npr_max_f64(&c, &d.longest, 1);
    if (c.rank == 0)
        printf("ranks=%d draws=%lld wait_s=%.6g longest_s=%.6g computed_s=%.6g whole_s=%.6g\n", c.size,
               (long long)(draws + c.size), sum[0] / c.size, d.longest, sum[1] / c.size, whole);
    npr_comm_free(&c);
    MPI_Finalize();
    return 0;
}
