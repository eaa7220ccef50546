/* beside.h - lists merged over ranks while their owner goes on scanning. Only for scan_mpi.c.
 *
 * At the end of a round of parts a rank gives away the hits it has found since the last time (start), scans
 * on with empty lists, and takes the merged lists back at the end of the next round (finish): the k best of
 * all ranks so far. From then on a hit that they push out is not even kept. What the last round found is
 * merged when nothing is left to scan (all).
 *
 * A thread merges. It and the scanning thread enter MPI in turn, under one lock, so MPI need not be more than
 * MPI_THREAD_SERIALIZED; where it is less, everything is merged in the end. Between start and finish the
 * scanning thread calls MPI only between enter and leave, and not on `comm`. */
#ifndef NPR_SEARCH_BESIDE_H
#define NPR_SEARCH_BESIDE_H

#include "npr/topk.h"

typedef struct npr_beside npr_beside;

/* For lists like `lists`. Local. */
npr_status npr_beside_make(const npr_comm *comm, const npr_topk *lists, npr_beside **out);
void npr_beside_free(npr_beside *b); /* Local; not between start and finish */

/* Have the ranks scanned long enough since the last merge to hide another one? The same on all ranks.
 * Collective. */
int npr_beside_worth(const npr_comm *comm, npr_beside *b);

/* Begin to merge *lists, which become empty lists of the same floors. Not collective by itself, but all ranks
 * must come here, or none. */
void npr_beside_start(npr_beside *b, npr_topk **lists);

/* The scanning thread's other calls of MPI; how long it has to wait for its turn counts as exposed. Local. */
void npr_beside_enter(npr_beside *b);
void npr_beside_leave(npr_beside *b);

/* Wait for what was started, if anything was, and raise the floors of `lists`. st: how the scan is; given
 * back, unless it is fine or a request to stop and merging failed. The status is this rank's own: the caller
 * agrees. */
npr_status npr_beside_finish(npr_beside *b, npr_status st, npr_topk *lists);

/* Merge the rest: *lists become the k best of everything, sorted, on all ranks. Not between start and finish.
 * Collective. */
npr_status npr_beside_all(const npr_comm *comm, npr_beside *b, npr_topk **lists);

/* Merges started; seconds in which merges were under way; those of them in which the scan stood still. */
typedef struct npr_beside_times {
    int started;
    double merge, exposed;
} npr_beside_times;
npr_beside_times npr_beside_took(const npr_beside *b);

#endif
