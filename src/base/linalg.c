/* linalg.c - see linalg.h. */
#include "base/linalg.h"

#include <cblas.h>

void npr_gemm_nt(int m, int n, int d, const float *a, const float *b, float *c, int ldc)
{
    /* Threads are ours (OpenMP over tiles): a GEMM that starts its own would oversubscribe the node. */
    openblas_set_num_threads(1);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, d, 1.0f, a, d, b, d, 0.0f, c, ldc);
}

void npr_gemm_run(const npr_gemm *g)
{
    openblas_set_num_threads(1);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, g->transposed ? CblasTrans : CblasNoTrans, g->m, g->n, g->d,
                g->alpha, g->a, g->lda, g->b, g->ldb, g->beta, g->c, g->ldc);
}

void npr_gemm_tn(int m, int n, int k, const float *a, const float *b, float *c)
{
    openblas_set_num_threads(1);
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, m, n, k, 1.0f, a, m, b, n, 0.0f, c, n);
}

double npr_gemm_error(int d, double na, double nb)
{
    double du = d * 0x1p-24;
    return 2 * du / (1 - du) * na * nb;
}

void npr_linalg_threads(int threads)
{
    openblas_set_num_threads(threads);
}

const char *npr_linalg_version(void)
{
    return openblas_get_config();
}
