/* select.h - the k-th of n values, without branches that depend on them. Local. */
#ifndef NPR_SEARCH_SELECT_H
#define NPR_SEARCH_SELECT_H

#include <stddef.h>
#include <stdint.h>

/* The k-th largest of x[n], 1 <= k <= n, none of them NaN. scratch: 4 n values. x is left as it is. */
float npr_select_largest(const float *x, size_t n, size_t k, float *scratch);
double npr_select_largest_double(const double *x, size_t n, size_t k, double *scratch);

/* The k-th smallest. */
int64_t npr_select_least(const int64_t *x, size_t n, size_t k, int64_t *scratch);

#endif
