/* smpi_reduce.h - included before every source that smpicc compiles. SMPI's own MPI_Iallreduce sends from every rank to
 * every other; no MPI library does. Here the reduction takes the time of MPI_Allreduce, in which the rank does not
 * scan: rather too slow than too fast. */
#ifndef NPR_SMPI_REDUCE_H
#define NPR_SMPI_REDUCE_H

#include <mpi.h>

static inline int npr_smpi_iallreduce(const void *from, void *to, int n, MPI_Datatype type, MPI_Op op,
                                      MPI_Comm comm, MPI_Request *request)
{
    *request = MPI_REQUEST_NULL;
    return MPI_Allreduce(from, to, n, type, op, comm);
}
#undef MPI_Iallreduce
#define MPI_Iallreduce npr_smpi_iallreduce

#endif
