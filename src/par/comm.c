/* comm.c - agreement on failures, and collectives on any number of bytes. See include/npr/comm.h. */
#include "npr/comm.h"

#include <assert.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "npr/watchdog.h"

enum { SLICE = 1 << 28 }; /* elements or bytes per MPI call: far below 2^31, where some MPIs wrap silently */

npr_comm npr_comm_make(MPI_Comm mpi)
{
    npr_comm c;
    MPI_Comm_dup(mpi, &c.mpi);
    MPI_Comm_set_name(c.mpi, "npr");
    MPI_Comm_set_errhandler(c.mpi, MPI_ERRORS_ARE_FATAL);
    MPI_Comm_rank(c.mpi, &c.rank);
    MPI_Comm_size(c.mpi, &c.size);
    return c;
}

npr_comm npr_comm_split(const npr_comm *comm, int group)
{
    MPI_Comm part;
    MPI_Comm_split(comm->mpi, group, comm->rank, &part);
    npr_comm c = npr_comm_make(part);
    MPI_Comm_free(&part);
    return c;
}

void npr_comm_free(npr_comm *comm)
{
    MPI_Comm_free(&comm->mpi);
}

int npr_mpi_count(size_t n)
{
    assert(n <= INT_MAX);
    return (int)n;
}

/* The slow path of npr_agree: somebody failed. Real failures go before requests to stop. */
static npr_status spread_failure(const npr_comm *comm, npr_status st, const char *stage)
{
    enum { TEXT = 1600 };
    struct {
        int32_t code;
        char host[64], text[TEXT];
    } first = {0};
    int64_t real = st != NPR_OK && st != NPR_ESTOP, any_real = real;
    npr_sum_i64(comm, &any_real, 1);
    int64_t mine = any_real ? real : st != NPR_OK, failed = mine;
    npr_sum_i64(comm, &failed, 1);
    int64_t who = mine ? comm->rank : INT_MAX;
    MPI_Allreduce(MPI_IN_PLACE, &who, 1, MPI_INT64_T, MPI_MIN, comm->mpi);
    if (who == comm->rank) {
        char host[MPI_MAX_PROCESSOR_NAME];
        int n;
        MPI_Get_processor_name(host, &n);
        first.code = st;
        snprintf(first.host, sizeof first.host, "%.63s", host);
        snprintf(first.text, sizeof first.text, "%.*s", TEXT - 1, npr_status_text());
    }
    MPI_Bcast(&first, (int)sizeof first, MPI_BYTE, (int)who, comm->mpi);
    char text[TEXT + 256];
    if (first.code == NPR_ESTOP)
        snprintf(text, sizeof text, "%s", first.text);
    else
        snprintf(text, sizeof text, "%s failed on %lld of %d ranks; rank %lld (%s): %s", stage,
                 (long long)failed, comm->size, (long long)who, first.host, first.text);
    npr_status_set((npr_status)first.code, text);
    return (npr_status)first.code;
}

npr_status npr_agree(const npr_comm *comm, npr_status st, const char *stage)
{
    int64_t failed = st != NPR_OK;
    npr_mark(stage, 1);
    npr_sum_i64(comm, &failed, 1);
    return failed ? spread_failure(comm, st, stage) : NPR_OK;
}

npr_status npr_agree_stop(const npr_comm *comm, const char *stage)
{
    npr_status st = NPR_OK;
    if (npr_stop_requested())
        st = npr_fail(NPR_ESTOP, "%s stopped on request; finished work is kept, run the same command again",
                      stage);
    return npr_agree(comm, st, stage);
}

void npr_bcast(const npr_comm *comm, void *bytes, size_t n, int root)
{
    npr_mark(NULL, 1);
    for (size_t at = 0; at < n; at += SLICE)
        MPI_Bcast((char *)bytes + at, npr_mpi_count(n - at < SLICE ? n - at : SLICE), MPI_BYTE, root,
                  comm->mpi);
    npr_mark(NULL, 0);
}

/* In-place Allreduce of n elements of `size` bytes, in slices. */
static void reduce_all(const npr_comm *comm, void *v, size_t n, size_t size, MPI_Datatype type, MPI_Op op)
{
    npr_mark(NULL, 1);
    for (size_t at = 0; at < n; at += SLICE / 8)
        MPI_Allreduce(MPI_IN_PLACE, (char *)v + at * size,
                      npr_mpi_count(n - at < SLICE / 8 ? n - at : SLICE / 8), type, op, comm->mpi);
    npr_mark(NULL, 0);
}

void npr_sum_i64(const npr_comm *comm, int64_t *v, size_t n)
{
    reduce_all(comm, v, n, sizeof *v, MPI_INT64_T, MPI_SUM);
}

void npr_max_i64(const npr_comm *comm, int64_t *v, size_t n)
{
    reduce_all(comm, v, n, sizeof *v, MPI_INT64_T, MPI_MAX);
}

void npr_max_f64(const npr_comm *comm, double *v, size_t n)
{
    reduce_all(comm, v, n, sizeof *v, MPI_DOUBLE, MPI_MAX);
}

void npr_sum_f64_exact(const npr_comm *comm, double *v, size_t n)
{
    reduce_all(comm, v, n, sizeof *v, MPI_DOUBLE, MPI_SUM);
}

void npr_gather_i64(const npr_comm *comm, int64_t mine, int64_t *all)
{
    npr_mark(NULL, 1);
    MPI_Allgather(&mine, 1, MPI_INT64_T, all, 1, MPI_INT64_T, comm->mpi);
    npr_mark(NULL, 0);
}

/* Point-to-point in slices: a gatherv's displacements are ints and wrap beyond 2 GiB. */
static void gather_to(const npr_comm *comm, const void *mine, size_t n, int root, char *all,
                      const int64_t *offset)
{
    enum { TAG = 71 };
    if (comm->rank != root) {
        for (size_t at = 0; at < n; at += SLICE)
            MPI_Send((const char *)mine + at, npr_mpi_count(n - at < SLICE ? n - at : SLICE), MPI_BYTE, root,
                     TAG, comm->mpi);
        return;
    }
    for (int r = 0; r < comm->size; r++) {
        size_t bytes = (size_t)(offset[r + 1] - offset[r]);
        char *to = all + offset[r];
        if (r == root && n) memcpy(to, mine, n);
        for (size_t at = 0; r != root && at < bytes; at += SLICE)
            MPI_Recv(to + at, npr_mpi_count(bytes - at < SLICE ? bytes - at : SLICE), MPI_BYTE, r, TAG,
                     comm->mpi, MPI_STATUS_IGNORE);
    }
}

npr_status npr_gather_bytes(const npr_comm *comm, const void *mine, size_t n, int root, char **all,
                            int64_t **offset)
{
    *all = NULL;
    npr_status st = NPR_OK;
    *offset = npr_alloc((size_t)comm->size + 1, sizeof **offset, "gathered offsets");
    if (!*offset) st = npr_last();
    st = npr_agree(comm, st, "gather");
    if (st) goto failed;
    npr_gather_i64(comm, (int64_t)n, *offset + 1);
    for (int r = 0; r < comm->size; r++) (*offset)[r + 1] += (*offset)[r];
    size_t total = (size_t)(*offset)[comm->size];
    int target = root < 0 ? 0 : root;
    if (root < 0 || comm->rank == root) {
        *all = npr_alloc(total + 1, 1, "gathered bytes");
        if (!*all) st = npr_last();
    }
    st = npr_agree(comm, st, "gather");
    if (st) goto failed;
    gather_to(comm, mine, n, target, *all, *offset);
    if (root < 0) npr_bcast(comm, *all, total, target);
    return NPR_OK;
failed:
    free(*all);
    free(*offset);
    *all = NULL;
    *offset = NULL;
    return st;
}

npr_status npr_bcast_text(const npr_comm *comm, char **text, int root)
{
    int64_t n = comm->rank == root && *text ? (int64_t)strlen(*text) : -1;
    npr_bcast(comm, &n, sizeof n, root);
    if (comm->rank != root) *text = NULL;
    if (n < 0) return NPR_OK;
    if (comm->rank != root) *text = npr_alloc((size_t)n + 1, 1, "a text from another rank");
    npr_status st = npr_agree(comm, *text ? NPR_OK : npr_last(), "broadcast");
    if (!st) npr_bcast(comm, *text, (size_t)n, root);
    return st;
}

/* ---- requests to stop ---------------------------------------------------------------------------------- */

/* A signal handler can reach nothing but a static flag. */
static volatile sig_atomic_t stop_flag;

static void on_stop(int signal_number)
{
    (void)signal_number;
    stop_flag = 1;
}

void npr_stop_install(void)
{
    struct sigaction a = {.sa_handler = on_stop, .sa_flags = SA_RESTART};
    sigemptyset(&a.sa_mask);
    sigaction(SIGUSR1, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigemptyset(&ignore.sa_mask);
    sigaction(SIGPIPE, &ignore, NULL);
    sigaction(SIGXFSZ, &ignore, NULL); /* a file size limit becomes EFBIG, which we report */
}

int npr_stop_requested(void)
{
    return stop_flag != 0;
}
