/* screen_sample.h - for screens in bytes: what some rows of a block have in common. Local. */
#ifndef NPR_SEARCH_SCREEN_SAMPLE_H
#define NPR_SEARCH_SCREEN_SAMPLE_H

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/half.h"

/* Every how many of n rows one is looked at, so that there are at most so many. */
static inline int npr_sample_step(int n, int most)
{
    return (n + most - 1) / most;
}

/* Values that are not finite count for nothing. */
static inline float npr_sample_value(float x)
{
    return fabsf(x) <= FLT_MAX ? x : 0;
}

/* mean [dim] of every step-th of the rows of emb [][dim] that row [n] names. x [dim]: room. */
static inline void npr_sample_mean(const uint16_t *emb, const uint32_t *row, int n, int step, size_t dim,
                                   float *x, float *mean)
{
    int rows = (n + step - 1) / step;
    memset(mean, 0, dim * sizeof *mean);
    for (int i = 0; i < n; i += step) {
        npr_half_to_float(emb + (size_t)row[i] * dim, x, dim);
        for (size_t j = 0; j < dim; j++) mean[j] += npr_sample_value(x[j]);
    }
    for (size_t j = 0; j < dim; j++) mean[j] /= (float)rows;
}

#endif
