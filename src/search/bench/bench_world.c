/* bench_world.c - see bench.h. */
#include <math.h>

#include "base/rng.h"
#include "search/bench/bench.h"

enum { CONCEPTS = 1000 };

static void make_vector(uint64_t stream, int64_t concept, int dim, double concept_weight, float *x)
{
    npr_rng mean = npr_rng_make(1, 0), group = npr_rng_make(2, (uint64_t) concept),
            own = npr_rng_make(3, stream);
    double squares = 0;
    for (int j = 0; j < dim; j++) {
        double v = npr_rng_normal(&mean) + concept_weight * npr_rng_normal(&group) + npr_rng_normal(&own);
        x[j] = (float)v;
        squares += v * v;
    }
    for (int j = 0; j < dim; j++) x[j] = (float)((double)x[j] / sqrt(squares));
}

void npr_bench_row(int64_t row, int dim, float *x)
{
    uint64_t like = (uint64_t)(row % 20 == 19 ? row / 2 : row);
    make_vector(like, (int64_t)(npr_mix64(like) % CONCEPTS), dim, 0.7, x);
}

void npr_bench_query(int64_t query, int dim, float *x)
{
    make_vector((uint64_t)query + ((uint64_t)1 << 40), query % CONCEPTS, dim, 1.0, x);
}
