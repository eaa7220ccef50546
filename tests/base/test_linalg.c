/* GEMM against plain loops, and its error bound against what is observed. */
#include "test.h"

#include "base/linalg.h"
#include "base/rng.h"

static void test_gemm_tn(void)
{
    enum { M = 5, N = 7, K = 33 };
    float a[K * M], b[K * N], c[M * N];
    for (int i = 0; i < K * M; i++) a[i] = (float)(i * 7 % 11) - 5;
    for (int i = 0; i < K * N; i++) b[i] = (float)(i * 5 % 13) - 6;
    npr_gemm_tn(M, N, K, a, b, c);
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++) {
            float sum = 0; /* small integers: exact */
            for (int k = 0; k < K; k++) sum += a[k * M + i] * b[k * N + j];
            CHECK(c[i * N + j] == sum);
        }
}

int main(void)
{
    test_gemm_tn();
    enum { M = 37, N = 29, D = 133, LDC = 31 };
    static float a[M * D], b[N * D], c[M * LDC];
    npr_rng r = npr_rng_make(5, 0);
    for (int i = 0; i < M * D; i++) a[i] = (float)npr_rng_normal(&r);
    for (int i = 0; i < N * D; i++) b[i] = (float)npr_rng_normal(&r);
    for (int i = 0; i < M * LDC; i++) c[i] = 7;
    npr_gemm_nt(M, N, D, a, b, c, LDC);
    for (int i = 0; i < M; i++)
        for (int j = 0; j < LDC; j++) {
            double want = 0, na = 0, nb = 0;
            for (int k = 0; j < N && k < D; k++) {
                double x = a[i * D + k], y = b[j * D + k];
                want += x * y;
                na += x * x;
                nb += y * y;
            }
            if (j < N)
                CHECK_NEAR((double)c[i * LDC + j], want, npr_gemm_error(D, sqrt(na), sqrt(nb)));
            else
                CHECK_NEAR((double)c[i * LDC + j], 7, 0);
        }
    CHECK(npr_gemm_error(512, 1, 1) < 7e-5 && npr_gemm_error(512, 1, 1) > 3e-5);
    CHECK(strlen(npr_linalg_version()) > 0);
    return TEST_END();
}
