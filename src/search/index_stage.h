/* index_stage.h - what the files of the collective index build share (index_mpi.c and its helper); not for
 * others. */
#ifndef NPR_SEARCH_INDEX_STAGE_H
#define NPR_SEARCH_INDEX_STAGE_H

#include <stdint.h>

#include "npr/log.h"
#include "npr/set.h"

/* The training sample: the `limit` rows of the whole set with the smallest hash of (id, seed), without those
 * that are not finite, in the order of the hash: the same vectors for any number of ranks. *rows [*n][dim] is
 * given to rank 0 only, and released with free(). Collective. */
npr_status index_sample_take(const npr_comm *comm, const npr_log *log, const npr_set *set, int64_t limit,
                             uint64_t seed, float **rows, int64_t *n);

#endif
