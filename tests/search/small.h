/* small.h - a small index in parts, made of given rows, for the tests of scanners. */
#ifndef NPR_TEST_SMALL_H
#define NPR_TEST_SMALL_H

#include "base/half.h"
#include "npr/set.h"
#include "test.h"

/* Cut the rows into parts of part_rows and write them to `folder`; *set is filled in as npr_set_open() would.
 */
static inline void small_set(const char *folder, const npr_rows *all, int64_t part_rows, npr_set *set,
                             npr_part_entry *entry)
{
    *set = (npr_set){.path = (char *)(uintptr_t)folder,
                     .kind = "index",
                     .model = "test",
                     .job = "",
                     .digest = "",
                     .index = "",
                     .index_job = "",
                     .dim = all->dim,
                     .columns = all->columns,
                     .rows = all->n,
                     .part_rows = part_rows,
                     .part = entry};
    npr_rows some = {0};
    CHECK_OK(npr_rows_make(&some, all->columns, all->dim, part_rows));
    for (int64_t row = 0; row < all->n; set->parts++) {
        npr_part_writer *w;
        npr_rows_clear(&some);
        for (; row < all->n && some.n < part_rows; row++) CHECK_OK(npr_rows_copy(&some, all, row));
        CHECK_OK(npr_part_create(folder, set->parts, all->columns, all->dim, &w));
        CHECK_OK(npr_part_append(w, &some));
        CHECK_OK(npr_part_commit(w, &entry[set->parts]));
        if (entry[set->parts].residual > set->residual) set->residual = entry[set->parts].residual;
    }
    npr_rows_free(&some);
}

/* Random numbers for tests: the same on every machine. */
static inline uint32_t small_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*state >> 33);
}

static inline double small_uniform(uint64_t *state)
{
    return small_random(state) / 2147483648.0;
}

/* A unit vector near `centre` (or anywhere if NULL), as binary16. */
static inline void small_vector(uint64_t *state, const float *centre, double spread, int dim, uint16_t *out)
{
    double norm = 0, v[1024];
    for (int j = 0; j < dim; j++) {
        v[j] = spread * (small_uniform(state) + small_uniform(state) + small_uniform(state) - 1.5);
        if (centre) v[j] += (double)centre[j];
        norm += v[j] * v[j];
    }
    for (int j = 0; j < dim; j++) out[j] = npr_half_round((float)(v[j] / sqrt(norm)));
}

#endif
