/* score.h - the one way a score is computed: binary16 row x float query in double, in a fixed order. All
 * other kernels only screen; what is compared, stored or printed comes from here. Local. */
#ifndef NPR_BASE_SCORE_H
#define NPR_BASE_SCORE_H

#include <stdint.h>

#include "npr/status.h"

/* Inner product of a row (binary16) and a query (float), d values. Each product is exact in double (11 + 24
 * bits); the sum runs over 32 lanes j mod 32 in order of j, lanes combined by a fixed tree: the same bits on
 * every CPU, since a fused and a separate multiply-add agree when the product is exact. */
double npr_score_dot(const uint16_t *row, const float *query, int d);

/* The kernels of this CPU, the fastest first, NULL after the last: all give the same bits. */
typedef double (*npr_score_kernel)(const uint16_t *row, const float *query, int d);
npr_score_kernel npr_score_kernel_at(int i, const char **name);

/* exp(x) for x <= 0 to about one unit in the last place, from additions and multiplications only: libm's exp
 * has variants per CPU, and what is compared with a threshold must not depend on which one was linked. */
double npr_score_exp(double x);

/* For each of n rows [n][dim] the query (of nq, [nq][dim]) with the highest score; ties go to the lower
 * index.
 *   best   [n] index of that query; -1 for a row with a non-finite value
 *   score  [n] its score, or NULL; NaN where best is -1
 *   prob   [n] softmax(100 x scores)[best], in double in index order of queries, or NULL; NaN where best is
 * -1
 *
 * Screened by GEMM with a proven margin, ties and near-ties decided by npr_score_dot: exact. Without `prob`
 * only those are scored exactly, with it all queries are. `threads` OpenMP threads. */
npr_status npr_score_argmax(const uint16_t *row, int64_t n, int dim, const float *query, int nq, int threads,
                            int32_t *best, double *score, double *prob);

#endif
