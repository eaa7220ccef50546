/* beside_mpi.c - see beside.h. */
#include "search/beside.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "npr/log.h"
#include "npr/watchdog.h"
#include "search/topk.h"

enum {
    WORTH = 4,     /* a merge is begun if scanning took so many times as long as the last one */
    PAUSE_US = 100 /* between looks whether a message is there: the cores are for the scan */
};

struct npr_beside {
    const npr_comm *comm;
    npr_topk *whole; /* the k best so far, of all ranks; the same on all */
    npr_topk *fresh; /* empty, for the next start */
    npr_topk *batch; /* being merged */
    int serialized;  /* does MPI let another thread in? */
    /* the thread */
    pthread_t thread;
    pthread_mutex_t mpi; /* held by whoever is in MPI */
    int under_way, running;
    atomic_int done;
    atomic_uint moved; /* messages that have come */
    npr_status st;
    char *text; /* of st: texts are kept per thread */
    double begun, took;
    npr_beside_times times;
};

npr_status npr_beside_make(const npr_comm *comm, const npr_topk *lists, npr_beside **out)
{
    npr_beside *b = npr_alloc(1, sizeof *b, "the merge");
    if (!b) return npr_last();
    int provided;
    MPI_Query_thread(&provided);
    b->comm = comm;
    b->serialized = provided >= MPI_THREAD_SERIALIZED;
    b->begun = npr_now();
    b->whole = npr_topk_make(npr_topk_queries(lists), npr_topk_k(lists));
    b->fresh = npr_topk_make(npr_topk_queries(lists), npr_topk_k(lists));
    if (!b->whole || !b->fresh || pthread_mutex_init(&b->mpi, NULL)) {
        npr_status st = b->whole && b->fresh ? npr_fail(NPR_EINTERNAL, "cannot make a lock") : npr_last();
        npr_topk_free(b->whole);
        npr_topk_free(b->fresh);
        free(b);
        return st;
    }
    *out = b;
    return NPR_OK;
}

void npr_beside_free(npr_beside *b)
{
    if (!b) return;
    npr_topk_free(b->whole);
    npr_topk_free(b->fresh);
    npr_topk_free(b->batch);
    pthread_mutex_destroy(&b->mpi);
    free(b->text);
    free(b);
}

int npr_beside_worth(const npr_comm *comm, npr_beside *b)
{
    double scanned = npr_now() - b->begun, lacking = WORTH * b->took - scanned;
    if (comm->size == 1) return 0;
    if (!b->serialized || !b->fresh) lacking = INFINITY;
    npr_max_f64(comm, &lacking, 1);
    return lacking <= 0;
}

/* ---- the thread ---------------------------------------------------------------------------------------- */

/* Sorting and merging are outside of the lock: the scanning thread waits for a call of MPI at most. */
static void take_turns(void *self, npr_merge_step step)
{
    npr_beside *b = self;
    if (step == NPR_MERGE_LEAVE) atomic_fetch_add(&b->moved, 1);
    if (step != NPR_MERGE_ENTER) pthread_mutex_unlock(&b->mpi);
    if (step == NPR_MERGE_WAIT) usleep(PAUSE_US);
    if (step != NPR_MERGE_LEAVE) pthread_mutex_lock(&b->mpi);
}

static void *merge(void *self)
{
    npr_beside *b = self;
    double start = npr_now();
    npr_merge_idle idle = {take_turns, b};
    int failed = npr_topk_allmerge_beside(b->comm, b->batch, &idle, &b->st);
    if (!failed) b->st = npr_topk_join(b->whole, b->batch);
    if (b->st) b->text = strdup(npr_status_text());
    b->took = npr_now() - start;
    atomic_store(&b->done, 1);
    return NULL;
}

/* Signals are for the main thread. */
static int start_thread(npr_beside *b)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    int rc = pthread_create(&b->thread, NULL, merge, b);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc == 0;
}

void npr_beside_start(npr_beside *b, npr_topk **lists)
{
    b->batch = *lists;
    *lists = b->fresh;
    b->fresh = NULL;
    for (int q = 0; q < b->batch->nq; q++)
        if (b->batch->list[q].full) npr_topk_raise(*lists, q, &b->batch->list[q].least);
    atomic_store(&b->done, 0);
    b->begun = npr_now();
    b->under_way = 1;
    b->times.started++;
    b->running = start_thread(b);
    if (b->running) return;
    merge(b); /* without a thread now, so that the others are not left waiting */
    b->times.exposed += b->took;
}

void npr_beside_enter(npr_beside *b)
{
    double start = npr_now();
    pthread_mutex_lock(&b->mpi);
    b->times.exposed += npr_now() - start;
}

void npr_beside_leave(npr_beside *b)
{
    pthread_mutex_unlock(&b->mpi);
}

static void wait_for_thread(npr_beside *b)
{
    npr_mark("merge", 1);
    for (unsigned seen = atomic_load(&b->moved); !atomic_load(&b->done); usleep(PAUSE_US)) {
        unsigned moved = atomic_load(&b->moved);
        if (moved != seen) npr_mark("merge", 1);
        seen = moved;
    }
    pthread_join(b->thread, NULL);
}

static npr_status finish(npr_beside *b, npr_topk *lists)
{
    double start = npr_now();
    if (b->running) wait_for_thread(b);
    b->under_way = b->running = 0;
    npr_topk_free(b->batch);
    b->batch = NULL;
    b->times.merge += b->took;
    if (b->st) npr_status_set(b->st, b->text ? b->text : "merging hits failed");
    for (int q = 0; !b->st && q < lists->nq; q++)
        if (b->whole->list[q].full) npr_topk_raise(lists, q, &b->whole->list[q].least);
    if (!b->st) b->fresh = npr_topk_make(lists->nq, lists->k);
    b->times.exposed += npr_now() - start;
    return b->st ? b->st : b->fresh ? NPR_OK : npr_last();
}

npr_status npr_beside_finish(npr_beside *b, npr_status st, npr_topk *lists)
{
    if (!b->under_way) return st;
    char *text = st && st != NPR_ESTOP ? npr_strdup(npr_status_text()) : NULL;
    npr_status merged = finish(b, lists);
    if (text)
        npr_status_set(st, text);
    else if (merged)
        st = merged;
    free(text);
    return st;
}

npr_status npr_beside_all(const npr_comm *comm, npr_beside *b, npr_topk **lists)
{
    double took;
    NPR_TRY(npr_topk_allmerge(comm, *lists, &took));
    double start = npr_now();
    npr_status st = NPR_OK;
    if (b->times.started) st = npr_agree(comm, npr_topk_join(b->whole, *lists), "merge");
    if (!st && b->times.started) {
        npr_topk *rest = *lists;
        *lists = b->whole;
        b->whole = rest;
    }
    took += npr_now() - start;
    b->times.merge += took;
    b->times.exposed += took;
    return st;
}

npr_beside_times npr_beside_took(const npr_beside *b)
{
    return b->times;
}
