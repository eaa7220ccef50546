/* screen.c - see screen.h. Few queries are bound by memory: rows are read once, and a plain loop over vectors
 * of 16 floats keeps up with it. Many are bound by arithmetic: GEMM. This file alone is compiled with fused
 * multiply-adds allowed: its results are never compared with one another, only with a margin. */
#include "search/screen.h"

#include <string.h>

#include "base/linalg.h"

enum { LANES = 16, GROUP = 4 }; /* floats of a vector; rows, and queries, of a register block */

typedef float vector __attribute__((vector_size(LANES * sizeof(float))));

static inline __attribute__((always_inline)) vector load(const float *p)
{
    vector v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline __attribute__((always_inline)) float add_up(vector v)
{
    float s = 0;
    for (int i = 0; i < LANES; i++) s += v[i];
    return s;
}

/* rows x queries inner products, both at most GROUP and known when this is inlined. */
static inline __attribute__((always_inline)) void block(int rows, int queries, const float *x, const float *q,
                                                        int d, float *out, int ld)
{
    vector sum[GROUP][GROUP];
    float rest[GROUP][GROUP];
    memset(sum, 0, sizeof sum);
    memset(rest, 0, sizeof rest);
    int j = 0;
    for (; j + LANES <= d; j += LANES)
        for (int r = 0; r < rows; r++) {
            vector row = load(x + (long)r * d + j);
            for (int c = 0; c < queries; c++) sum[r][c] += row * load(q + (long)c * d + j);
        }
    for (; j < d; j++)
        for (int r = 0; r < rows; r++)
            for (int c = 0; c < queries; c++) rest[r][c] += x[(long)r * d + j] * q[(long)c * d + j];
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < queries; c++) out[(long)r * ld + c] = add_up(sum[r][c]) + rest[r][c];
}

static inline __attribute__((always_inline)) void few_rows(int rows, const float *x, const float *q, int nq,
                                                           int d, float *out)
{
    int c = 0;
    for (; c + GROUP <= nq; c += GROUP) block(rows, GROUP, x, q + (long)c * d, d, out + c, nq);
    for (; c + 2 <= nq; c += 2) block(rows, 2, x, q + (long)c * d, d, out + c, nq);
    if (c < nq) block(rows, 1, x, q + (long)c * d, d, out + c, nq);
}

static inline __attribute__((always_inline)) void few(const float *x, int n, const float *q, int nq, int d,
                                                      float *out)
{
    int r = 0;
    for (; r + GROUP <= n; r += GROUP) few_rows(GROUP, x + (long)r * d, q, nq, d, out + (long)r * nq);
    for (; r < n; r++) few_rows(1, x + (long)r * d, q, nq, d, out + (long)r * nq);
}

static inline __attribute__((always_inline)) void norms(const float *x, int n, int d, float *norm2)
{
    for (int r = 0; r < n; r++) {
        const float *row = x + (long)r * d;
        vector sum = {0};
        float rest = 0;
        int j = 0;
        for (; j + LANES <= d; j += LANES) sum += load(row + j) * load(row + j);
        for (; j < d; j++) rest += row[j] * row[j];
        norm2[r] = add_up(sum) + rest;
    }
}

/* One version per instruction set, chosen at run time. */
#define VERSION(name, attributes)                                                                            \
    attributes static void few_##name(const float *x, int n, const float *q, int nq, int d, float *out)      \
    {                                                                                                        \
        few(x, n, q, nq, d, out);                                                                            \
    }                                                                                                        \
    attributes static void norms_##name(const float *x, int n, int d, float *norm2)                          \
    {                                                                                                        \
        norms(x, n, d, norm2);                                                                               \
    }

VERSION(plain, )
#if defined(__x86_64__)
VERSION(avx2, __attribute__((target("avx2,fma"))))
VERSION(avx512,
        __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,avx2,fma,prefer-vector-width=512"))))
#endif

static int level(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
        return 2;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return 1;
#endif
    return 0;
}

void npr_screen(const float *x, int n, const float *query, int nq, int d, float *out)
{
    if (nq > NPR_SCREEN_FEW) {
        npr_gemm_nt(n, nq, d, x, query, out, nq);
        return;
    }
    switch (level()) {
#if defined(__x86_64__)
    case 2:
        few_avx512(x, n, query, nq, d, out);
        return;
    case 1:
        few_avx2(x, n, query, nq, d, out);
        return;
#endif
    default:
        few_plain(x, n, query, nq, d, out);
    }
}

void npr_screen_norms(const float *x, int n, int d, float *norm2)
{
    switch (level()) {
#if defined(__x86_64__)
    case 2:
        norms_avx512(x, n, d, norm2);
        return;
    case 1:
        norms_avx2(x, n, d, norm2);
        return;
#endif
    default:
        norms_plain(x, n, d, norm2);
    }
}
