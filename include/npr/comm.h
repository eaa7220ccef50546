/* comm.h - a communicator and the few collectives npr needs. The only public header that includes mpi.h.
 *
 * If the first argument of a function is `const npr_comm *`, the function is Collective, unless its comment
 * says Local: every rank of the communicator calls it, and it returns the same status on every rank. All other
 * functions are Local.
 * MPI errors are fatal (MPI_ERRORS_ARE_FATAL); a status here means input, disk or memory on some rank. */
#ifndef NPR_COMM_H
#define NPR_COMM_H

#include <mpi.h>
#include <stddef.h>
#include <stdint.h>

#include "npr/status.h"

typedef struct npr_comm {
    MPI_Comm mpi;
    int rank, size;
} npr_comm;

/* Wrap a communicator (duplicated; errors fatal). Collective over `mpi`. Release with npr_comm_free(). */
npr_comm npr_comm_make(MPI_Comm mpi);
void npr_comm_free(npr_comm *comm);

/* The ranks of this group (0 or more) as a communicator of their own, in the same order. Collective; release with
 * npr_comm_free(). */
npr_comm npr_comm_split(const npr_comm *comm, int group);

/* Make a local status collective: NPR_OK on all ranks, or the first failing rank's status and text on all
 * ranks, as "STAGE failed on N of SIZE ranks; rank R (HOST): TEXT". One reduction of 8 bytes when all is
 * well. NPR_ESTOP is given only if no rank has a real failure. Call it before any branch that changes what is
 * communicated. */
npr_status npr_agree(const npr_comm *comm, npr_status st, const char *stage);

/* Has SIGUSR1 or SIGTERM asked any rank to stop? NPR_ESTOP on all ranks, or NPR_OK. */
npr_status npr_agree_stop(const npr_comm *comm, const char *stage);

/* Collectives on any number of bytes or elements (counts beyond 2^31 are split). */
void npr_bcast(const npr_comm *comm, void *bytes, size_t n, int root);
void npr_sum_i64(const npr_comm *comm, int64_t *v, size_t n); /* in place, on all ranks */
void npr_max_i64(const npr_comm *comm, int64_t *v, size_t n);
void npr_max_f64(const npr_comm *comm, double *v, size_t n);
/* Sum of doubles, in place on all ranks. Only for sums that are exact in any order (see mean.c), else the
 * answer would depend on the number of ranks. */
void npr_sum_f64_exact(const npr_comm *comm, double *v, size_t n);
void npr_gather_i64(const npr_comm *comm, int64_t mine, int64_t *all); /* all: [size], on all ranks */

/* Byte strings of all ranks, concatenated in rank order, on rank `root` (*all = NULL elsewhere) or on all
 * ranks (root = -1). *offset: [size + 1]. Release both with free(). */
npr_status npr_gather_bytes(const npr_comm *comm, const void *mine, size_t n, int root, char **all,
                            int64_t **offset);

/* A text from rank `root` for all: *text is replaced on the others; release with free(). NULL stays NULL. */
npr_status npr_bcast_text(const npr_comm *comm, char **text, int root);

/* Numbers of parts this rank works on: part p belongs to rank p % size. Local. */
static inline int npr_owns(const npr_comm *comm, int64_t part)
{
    return (int)(part % comm->size) == comm->rank;
}

/* A counter that all ranks draw numbers from: 0, 1, 2, ..., each given to one rank, in the order in which they
 * come. It deals out work that takes unforeseeable time. It lives on rank 0 and is reached one-sidedly; where
 * the network cannot do that by itself, rank 0 must enter MPI for others to be served: npr_counter_serve(). */
typedef struct npr_counter npr_counter;
npr_status npr_counter_make(const npr_comm *comm, npr_counter **out);
void npr_counter_free(const npr_comm *comm, npr_counter *c); /* after make only; Collective */

/* Begin to draw a number, so that it is there when the work in hand ends. At most one is under way. Local. */
void npr_counter_ask(npr_counter *c);
int64_t npr_counter_next(npr_counter *c); /* the number asked for, or a new one; waits. Local. */
void npr_counter_serve(npr_counter *c);   /* call it now and then while computing: a microsecond. Local. */

/* Narrow a count to the int MPI takes; asserts that it fits. Local. */
int npr_mpi_count(size_t n);

/* SIGUSR1 and SIGTERM set a flag that long loops ask for; SIGPIPE is ignored. Local. */
void npr_stop_install(void);
int npr_stop_requested(void);

#endif
