/* bench.c - what a message costs. See npr/bench.h. */
#include "npr/bench.h"

#include <stdlib.h>

#include "base/mem.h"
#include "npr/log.h"

enum { TAG = 90, SMALL = 8, LARGE = 4 << 20, SMALL_ROUNDS = 200, LARGE_ROUNDS = 20, WARM = 4 };

/* Half a round trip of n bytes between the first and the last rank, over so many rounds. */
static double half_trip(const npr_comm *comm, char *bytes, int n, int rounds)
{
    int last = comm->size - 1;
    double start = 0;
    MPI_Barrier(comm->mpi);
    for (int i = -WARM; i < rounds; i++) {
        if (i == 0) start = npr_now();
        if (comm->rank == 0) {
            MPI_Send(bytes, n, MPI_BYTE, last, TAG, comm->mpi);
            MPI_Recv(bytes, n, MPI_BYTE, last, TAG, comm->mpi, MPI_STATUS_IGNORE);
        } else if (comm->rank == last) {
            MPI_Recv(bytes, n, MPI_BYTE, 0, TAG, comm->mpi, MPI_STATUS_IGNORE);
            MPI_Send(bytes, n, MPI_BYTE, 0, TAG, comm->mpi);
        }
    }
    double seconds = (npr_now() - start) / (2.0 * rounds);
    npr_bcast(comm, &seconds, sizeof seconds, 0);
    return seconds;
}

npr_status npr_bench_messages(const npr_comm *comm, double *latency, double *bandwidth)
{
    char *bytes = npr_alloc(LARGE, 1, "a message");
    npr_status st = npr_agree(comm, bytes ? NPR_OK : npr_last(), "messages");
    if (!st && comm->size > 1) {
        *latency = half_trip(comm, bytes, SMALL, SMALL_ROUNDS);
        double large = half_trip(comm, bytes, LARGE, LARGE_ROUNDS);
        *bandwidth = LARGE / (large > *latency ? large - *latency : large);
    }
    free(bytes);
    return st;
}
