/* measure.c - see measure.h. */
#include "base/measure.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "base/linalg.h"
#include "base/mem.h"

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double npr_measure_read(const void *bytes, size_t n, int threads)
{
    const uint64_t *word = bytes;
    size_t quarter = n / 32;
    uint64_t bits = 0;
    double start = now();
#pragma omp parallel for num_threads(threads) reduction(| : bits) schedule(static)
    for (size_t i = 0; i < quarter; i++)
        bits |= word[i] | word[i + quarter] | word[i + 2 * quarter] | word[i + 3 * quarter];
    double seconds = now() - start;
    /* the bits are used, so that they are computed */
    return bits == 1 ? 0 : 32.0 * (double)quarter / seconds;
}

double npr_measure_gemm(int dim, int threads)
{
    enum { M = 128, N = 1000, ROUNDS = 8 };
    size_t d = (size_t)dim;
    int failed = 0;
    double start = now();
#pragma omp parallel num_threads(threads)
    {
        float *c = npr_alloc_aligned((size_t)M * N, sizeof *c, "a product");
        float *x = npr_alloc_aligned((M + N) * d, sizeof *x, "rows");
        for (size_t i = 0; x && i < (M + N) * d; i++) x[i] = (float)(i % 7) - 3;
        for (int i = 0; c && x && i < ROUNDS; i++) npr_gemm_nt(M, N, dim, x, x + M * d, c, N);
        if (!c || !x) {
#pragma omp atomic write
            failed = 1;
        }
        free(c);
        free(x);
    }
    return failed ? 0 : 2.0 * M * N * dim * ROUNDS * threads / (now() - start);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double npr_measure_median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, by_value);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

int64_t npr_measure_memory(void)
{
    struct rusage use;
    return getrusage(RUSAGE_SELF, &use) ? 0 : (int64_t)use.ru_maxrss * 1024;
}
