/* verdict.h - what a watcher knows of all ranks, when that means "stuck", and the words for it. No threads,
 * no network, no MPI: time comes in as an argument, so a test can let it pass. Local. See
 * include/npr/watchdog.h.
 */
#ifndef NPR_PAR_VERDICT_H
#define NPR_PAR_VERDICT_H

#include "par/beat.h"

typedef struct npr_of_rank {
    npr_beat beat; /* the last one */
    double moved;  /* when its steps changed last */
    double heard;  /* when it was heard of last */
    int known;     /* 0: never heard of */
} npr_of_rank;

typedef struct npr_verdict {
    const char *program;
    int rank, size, watchers;
    double patience; /* seconds */
    npr_of_rank *of; /* [size] on watchers, else only [rank] is used */
} npr_verdict;

/* Time counts from now on. */
npr_status npr_verdict_make(npr_verdict *v, const char *program, int rank, int size, int watchers,
                            double patience);
void npr_verdict_free(npr_verdict *v);

void npr_verdict_hear(npr_verdict *v, const npr_beat *beat, double now);

/* Count from `now` on: this process was stopped for a while. */
void npr_verdict_forgive(npr_verdict *v, double now);

/* Must this process end the job? Rank 0 after the patience has passed without a step of any rank; rank 1 a
 * little later; the others a little later still, if they have not moved themselves and no watcher has
 * answered (last: `answered`) for that time. As long as a watcher has never heard of some rank (a network
 * that carries no datagrams), it waits four times as long: that rank may be at work. */
int npr_verdict_stuck(const npr_verdict *v, double answered, double now);

/* One line on what happened, then a line per group of ranks that are in the same phase; one write. Each
 * begins with the time of day and the program, as a log's do. */
void npr_verdict_print(const npr_verdict *v, double now, int fd);

#endif
