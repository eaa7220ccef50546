/* mean.h - what lies behind npr_means_add(), for the files beside it, its test and benchmarks. Local. */
#ifndef NPR_PRIME_MEAN_H
#define NPR_PRIME_MEAN_H

#include <stdint.h>

#include "npr/prime.h"

/* Add n rows of m->dim values, row i count[i] times (NULL: once), to the sums of m, which npr_means_settle()
 * brings up to date; those labelled < 0 are skipped. *most: the largest magnitude met, as the bits of a
 * binary16; above 1 the sums are spoiled. */
typedef npr_status (*npr_sum_kernel)(npr_means *m, const uint16_t *emb, const int32_t *label,
                                     const int32_t *count, int64_t n, unsigned *most);

/* Kernels this machine can run, best first: i = 0, 1, ... until NULL. All give the same bits. */
npr_sum_kernel npr_sum_kernel_at(int i, const char **name);

/* Refuses more rows of a class than sums are exact for. */
npr_status npr_means_check(const npr_means *m);

#endif
