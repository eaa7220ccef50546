/* watchdog.h - ends a job in which no rank makes progress any more: a process that was stopped, a rank that
 * left out a collective, a network that swallows messages. Batch systems do not notice; the job would hold
 * its nodes until the time limit.
 *
 * Every rank says what it is doing with npr_mark(): progress, agreement and the collectives of comm.h do it
 * already. A thread per process, which makes no MPI calls, tells its rank's marks to ranks 0 and 1 in
 * datagrams. When no rank has moved for the given time, rank 0 (rank 1 if rank 0 is silent, any other if both
 * are) writes one line per group of ranks with their last phase and leaves with 70 (NPR_EINTERNAL), on which
 * the launcher ends the others. A job that is stopped and continued as a whole (`scontrol suspend`) starts
 * measuring anew. */
#ifndef NPR_WATCHDOG_H
#define NPR_WATCHDOG_H

#include "npr/comm.h"

/* This rank has done a step of `phase` (NULL: of the same phase as before). waiting: 1 = it now waits for the
 * other ranks. Local, cheap; from the thread that talks MPI. */
void npr_mark(const char *phase, int waiting);

/* Between hold(phase) and hold(NULL) this rank counts as moving as long as its process runs: for one long
 * call into a library. Local. */
void npr_mark_hold(const char *phase);

/* Watch from now on. seconds: without any progress until the job is ended; 0: nothing is watched. The time
 * must be longer than the longest step between two marks, on any rank. Collective. */
npr_status npr_watchdog_start(const npr_comm *comm, const char *program, double seconds);

/* End watching; a watchdog that is not running is fine. Local. */
void npr_watchdog_stop(void);

#endif
