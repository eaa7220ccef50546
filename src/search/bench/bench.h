/* bench.h - made-up vectors for the benchmarks of search: a mean direction, concepts, noise; one row in
 * twenty repeats an earlier one. Local. */
#ifndef NPR_SEARCH_BENCH_H
#define NPR_SEARCH_BENCH_H

#include <stdint.h>

void npr_bench_row(int64_t row, int dim, float *x); /* [dim], of unit norm */
void npr_bench_query(int64_t query, int dim, float *x);

#endif
