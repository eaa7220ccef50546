/* mean.h - what lies behind npr_means_add(), for the files beside it, its test and benchmarks. Local. */
#ifndef NPR_PRIME_MEAN_H
#define NPR_PRIME_MEAN_H

#include <stdint.h>

#include "npr/prime.h"

/* A batch of rows and the order to take them in (sorted by class). */
typedef struct npr_batch {
    const uint16_t *emb;  /* binary16 rows of dim values */
    int dim, rows;        /* rows = length of order */
    const int32_t *order; /* [rows] row numbers */
} npr_batch;

/* Add rows order[from .. to) to sum [dim]. Returns the largest magnitude met, as the bits of a binary16. */
typedef unsigned (*npr_sum_kernel)(const npr_batch *b, int from, int to, double *sum);

/* The same with row i taken count[i] times; portable. */
unsigned npr_sum_counted(const npr_batch *b, const int32_t *count, int from, int to, double *sum);

/* Kernels this machine can run, best first: i = 0, 1, ... until NULL. All give the same bits. */
npr_sum_kernel npr_sum_kernel_at(int i, const char **name);

/* Refuses more rows of a class than sums are exact for. */
npr_status npr_means_check(const npr_means *m);

#endif
