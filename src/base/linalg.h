/* linalg.h - the dense linear algebra npr uses, over CBLAS. linalg.c is the only user of cblas.h. Local. */
#ifndef NPR_BASE_LINALG_H
#define NPR_BASE_LINALG_H

/* c[m][n] (row stride ldc) = a[m][d] b[n][d]^T, all row-major float with row stride d, on the calling thread
 * only. */
void npr_gemm_nt(int m, int n, int d, const float *a, const float *b, float *c, int ldc);

/* c[m][n] = alpha a[m][d] b + beta c, all row-major float with the row strides lda, ldb, ldc; b is [d][n], or
 * [n][d] if transposed. On the calling thread only. */
typedef struct npr_gemm {
    int m, n, d, transposed;
    const float *a, *b;
    float *c;
    int lda, ldb, ldc;
    float alpha, beta;
} npr_gemm;

void npr_gemm_run(const npr_gemm *g);

/* c[m][n] = a[k][m]^T b[k][n], all row-major float without gaps, on the calling thread only. */
void npr_gemm_tn(int m, int n, int k, const float *a, const float *b, float *c);

/* An upper bound of |computed - true| of one inner product of length d in float arithmetic, any order of
 * summation, for vectors of norms na and nb: gamma_d na nb with gamma_d = d u / (1 - d u), u = 2^-24 (Higham,
 * Accuracy and Stability of Numerical Algorithms, 3.1), and doubled for the rounding of a float operand
 * already counted in nb. */
double npr_gemm_error(int d, double na, double nb);

/* Threads that a library of others (FAISS) may use inside BLAS from now on. npr_gemm_nt() sets it back to
 * one. */
void npr_linalg_threads(int threads);

/* Library name and version, for --version. */
const char *npr_linalg_version(void);

#endif
