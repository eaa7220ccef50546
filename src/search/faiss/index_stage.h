/* index_stage.h - what the files of the collective index build share (index_mpi.c and its helpers); not for
 * others. */
#ifndef NPR_SEARCH_INDEX_STAGE_H
#define NPR_SEARCH_INDEX_STAGE_H

#include <stdint.h>

#include "npr/log.h"
#include "npr/set.h"
#include "search/faiss/faiss.h"
#include "search/faiss/kmeans.h"

/* The training sample: the `limit` rows of the whole set with the smallest hash of (id, seed), of equal ids
 * those that stand first, without those that are not finite. Each rank keeps those of its own parts; the
 * first ones, in the order of the hash, are given to rank 0 too: the same vectors for any number of ranks. */
typedef struct index_sample {
    kmeans_rows here; /* this rank's */
    float *rows;      /* rank 0: [n][dim], the first ones */
    int64_t n;
    char *bytes; /* that `here` lies in */
} index_sample;

/* first: how many of them rank 0 gets. Collective. */
npr_status index_sample_take(const npr_comm *comm, const npr_log *log, const npr_set *set, int64_t limit,
                             int64_t first, uint64_t seed, index_sample *sample);
void index_sample_free(index_sample *sample);

/* ---- index_budget.c. Local. -------------------------------------------------------------------------- */

/* Bytes per row, of a text such as "24B" or "24". NPR_EUSAGE: it is none. */
npr_status index_budget_parse(const char *text, double *bytes);

/* The best index whose part of part_rows rows of `dim` columns takes at most so many bytes per row, all told.
 * NPR_EUSAGE: there is none, and what the smallest takes. */
npr_status index_budget(double bytes, int dim, int64_t part_rows, char factory[NPR_FACTORY_MAX + 1]);

int64_t index_sample_rows(const char *factory,
                          int dim); /* rows that train it well: 64 per list, at least 65,536 */

#endif
