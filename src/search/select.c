/* select.c - see select.h. Quickselect: what stands before and behind the pivot is copied to two places, and
 * the one with the wanted value is searched on. */
#include "search/select.h"

#define LEAST(a, b) ((a) < (b) ? (a) : (b))
#define MOST(a, b)  ((a) > (b) ? (a) : (b))

#define SELECT(T, BEFORE)                                                                                    \
    T *half[2] = {scratch, scratch + 2 * n};                                                                 \
    for (int turn = 0;; turn = !turn) {                                                                      \
        T a = x[0], b = x[n / 2], c = x[n - 1];                                                              \
        T pivot = MOST(LEAST(a, b), LEAST(MOST(a, b), c)); /* the middle one */                              \
        T *before = half[turn], *behind = half[turn] + n;                                                    \
        size_t n_before = 0, n_behind = 0;                                                                   \
        for (size_t i = 0; i < n; i++) {                                                                     \
            before[n_before] = x[i];                                                                         \
            behind[n_behind] = x[i];                                                                         \
            n_before += x[i] BEFORE pivot;                                                                   \
            n_behind += pivot BEFORE x[i];                                                                   \
        }                                                                                                    \
        if (k <= n_before) {                                                                                 \
            x = before;                                                                                      \
            n = n_before;                                                                                    \
        } else if (k > n - n_behind) {                                                                       \
            k -= n - n_behind;                                                                               \
            x = behind;                                                                                      \
            n = n_behind;                                                                                    \
        } else {                                                                                             \
            return pivot;                                                                                    \
        }                                                                                                    \
    }

float npr_select_largest(const float *x, size_t n, size_t k, float *scratch)
{
    SELECT(float, >)
}

double npr_select_largest_double(const double *x, size_t n, size_t k, double *scratch){SELECT(double, >)}

int64_t npr_select_least(const int64_t *x, size_t n, size_t k, int64_t *scratch)
{
    SELECT(int64_t, <)
}
