/* counter.c - numbers drawn by all ranks. See include/npr/comm.h.
 *
 * Drawing is an atomic fetch-and-add on a window of rank 0 (MPI_Rget_accumulate: of the fetching operations
 * the one with a request, so that a rank can compute while its number is under way). Measured with Open
 * MPI 4.1.4: in shared memory a number takes a microsecond whatever rank 0 does; over TCP it waits until rank
 * 0 enters MPI. */
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "npr/comm.h"

struct npr_counter {
    npr_comm comm; /* own communicator, so that a probe in it finds nothing */
    MPI_Win win;
    int64_t *value; /* the window: one number on rank 0, nothing elsewhere */
    int asked;
    int64_t one, drawn;
    MPI_Request request;
};

/* A window takes more of a network than messages do, and an MPI may lack what this network needs for it: that
 * is for whoever set it up, and must not end in MPI's own abort. */
static npr_status make_window(npr_counter *c)
{
    MPI_Comm_set_errhandler(c->comm.mpi, MPI_ERRORS_RETURN);
    int rc = MPI_Win_allocate(c->comm.rank ? 0 : (MPI_Aint)sizeof *c->value, (int)sizeof *c->value,
                              MPI_INFO_NULL, c->comm.mpi, &c->value, &c->win);
    MPI_Comm_set_errhandler(c->comm.mpi, MPI_ERRORS_ARE_FATAL);
    if (rc == MPI_SUCCESS) return NPR_OK;
    return npr_fail(NPR_EENV,
                    "this MPI has no one-sided communication for this network (Debian's Open MPI leaves "
                    "out what TCP needs: OMPI_MCA_osc=^ucx lets it in)");
}

npr_status npr_counter_make(const npr_comm *comm, npr_counter **out)
{
    npr_counter *c = npr_alloc(1, sizeof *c, "a counter");
    npr_status st = npr_agree(comm, c ? NPR_OK : npr_last(), "counter");
    if (st) {
        free(c);
        return st;
    }
    c->comm = npr_comm_make(comm->mpi);
    c->one = 1;
    c->request = MPI_REQUEST_NULL;
    st = npr_agree(comm, make_window(c), "counter");
    if (st) {
        npr_comm_free(&c->comm);
        free(c);
        return st;
    }
    if (comm->rank == 0) {
        MPI_Win_lock(MPI_LOCK_EXCLUSIVE, 0, 0, c->win);
        *c->value = 0;
        MPI_Win_unlock(0, c->win);
    }
    MPI_Barrier(c->comm.mpi); /* nobody draws before it is zero */
    MPI_Win_lock_all(MPI_MODE_NOCHECK, c->win);
    *out = c;
    return NPR_OK;
}

void npr_counter_free(const npr_comm *comm, npr_counter *c)
{
    (void)comm; /* it says that this call is collective */
    if (!c) return;
    if (c->asked) npr_counter_next(c);
    MPI_Win_unlock_all(c->win);
    MPI_Win_free(&c->win);
    npr_comm_free(&c->comm);
    free(c);
}

void npr_counter_ask(npr_counter *c)
{
    if (c->asked) return;
    c->asked = 1;
    MPI_Rget_accumulate(&c->one, 1, MPI_INT64_T, &c->drawn, 1, MPI_INT64_T, 0, 0, 1, MPI_INT64_T, MPI_SUM,
                        c->win, &c->request);
}

int64_t npr_counter_next(npr_counter *c)
{
    npr_counter_ask(c);
    for (int done = 0; !done;) {
        MPI_Test(&c->request, &done, MPI_STATUS_IGNORE);
        if (!done) usleep(50); /* the cores are for those who compute */
    }
    c->asked = 0;
    return c->drawn;
}

void npr_counter_serve(npr_counter *c)
{
    int there;
    MPI_Iprobe(MPI_ANY_SOURCE, 0, c->comm.mpi, &there, MPI_STATUS_IGNORE);
}
