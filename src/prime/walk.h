/* walk.h - a set walked by all ranks together: each reads a share of its tiles and hands them to a function.
 */
#ifndef NPR_PRIME_WALK_H
#define NPR_PRIME_WALK_H

#include "npr/comm.h"
#include "npr/log.h"
#include "npr/set.h"

typedef struct npr_walk {
    const npr_set *set;
    const char *what;  /* for the progress line and messages: "class sums" */
    uint32_t columns;  /* wanted, NPR_COL() mask */
    int64_t tile_rows; /* rows read at a time; the last tile of a part may have fewer */
    double read, work; /* out: this rank's seconds in reading and in the function */
} npr_walk;

/* Called with the rows of one tile, which may be changed, and the number of the first one in the set. */
typedef npr_status (*npr_walk_tile)(void *to, npr_rows *rows, int64_t row0);

/* Rank r of n takes tiles [T r / n, T (r + 1) / n) of all T: ranks in order have the rows in order, and a set
 * of one part still occupies many ranks. Stops between tiles when asked to. Collective. */
npr_status npr_walk_set(const npr_comm *comm, const npr_log *log, npr_walk *w, npr_walk_tile each, void *to);

#endif
