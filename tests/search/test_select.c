/* test_select.c - the k-th of n values against sorted ones: in any order, equal, infinite, few, many. */
#include "search/select.h"

#include "base/mem.h"
#include "base/rng.h"
#include "test.h"

enum { MOST = 5000 };

static float x[MOST], scratch[4 * MOST];
static double wide[MOST], scratch_wide[4 * MOST]; /* the same, and what no float tells apart */
static int64_t y[MOST], scratch_y[4 * MOST];

static int falling(const void *a, const void *b)
{
    float u = *(const float *)a, v = *(const float *)b;
    return (u < v) - (u > v);
}

static int falling_wide(const void *a, const void *b)
{
    double u = *(const double *)a, v = *(const double *)b;
    return (u < v) - (u > v);
}

static int rising(const void *a, const void *b)
{
    int64_t u = *(const int64_t *)a, v = *(const int64_t *)b;
    return (u > v) - (u < v);
}

/* kind 0: any; 1: few values; 2: falling; 3: rising; 4: some are infinite */
static void fill(int kind, size_t n)
{
    npr_rng r = npr_rng_make(1, (uint64_t)kind * MOST + n);
    for (size_t i = 0; i < n; i++) {
        x[i] = kind == 1 ? (float)npr_rng_below(&r, 3) : (float)npr_rng_normal(&r);
        if (kind == 2) x[i] = -(float)i;
        if (kind == 3) x[i] = (float)i;
        if (kind == 4 && i % 3 == 0) x[i] = i % 2 ? INFINITY : -INFINITY;
        wide[i] = kind == 0 ? 1 + 1e-12 * (double)x[i] : (double)x[i];
        y[i] = kind == 1   ? npr_rng_below(&r, 3)
               : kind == 4 ? (int64_t)(INT64_MAX - (i % 7))
                           : (int64_t)(x[i] * 1000);
    }
}

static void check(int kind, size_t n)
{
    float sorted[MOST], before[MOST];
    double sorted_wide[MOST];
    int64_t sorted_y[MOST];
    fill(kind, n);
    memcpy(sorted, x, n * sizeof *x);
    memcpy(before, x, n * sizeof *x);
    memcpy(sorted_wide, wide, n * sizeof *wide);
    memcpy(sorted_y, y, n * sizeof *y);
    qsort(sorted, n, sizeof *sorted, falling);
    qsort(sorted_wide, n, sizeof *sorted_wide, falling_wide);
    qsort(sorted_y, n, sizeof *sorted_y, rising);
    int wrong = 0;
    for (size_t k = 1; k <= n; k += n < 100 ? 1 : n / 37) {
        wrong += npr_select_largest(x, n, k, scratch) != sorted[k - 1];
        wrong += npr_select_largest_double(wide, n, k, scratch_wide) != sorted_wide[k - 1];
        wrong += npr_select_least(y, n, k, scratch_y) != sorted_y[k - 1];
    }
    CHECK_INT(wrong, 0);
    CHECK(!memcmp(before, x, n * sizeof *x));
}

int main(void)
{
    static const size_t sizes[] = {1, 2, 3, 10, 99, 1000, MOST};
    for (int kind = 0; kind < 5; kind++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) check(kind, sizes[i]);
    return TEST_END();
}
