/* kernel.c - see kernel.h. Each kernel is an inline body that is compiled twice, plainly and for AVX2. */
#include "clip/kernel.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

enum { LANES = 16 };

#define INLINE static inline __attribute__((always_inline))

/* ---- functions of one value, without branches, so that loops over them become vector code -------------- */

INLINE uint32_t bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

INLINE float float_of(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* exp(x) for x in [-87, 88]: 2^k exp(r), k nearest to x / ln 2 by adding 1.5 x 2^23, whose last bits then
 * hold k; exp(r) = 1 + r + r^2 times a polynomial fitted to |r| <= ln 2 / 2 (relative error 3.3e-9). */
INLINE float exp_of(float x)
{
    const float magic = 0x1.8p23f;
    float t = x * 0x1.715476p0f + magic, k = t - magic;
    float r = (x - k * 0x1.62p-1f) - k * 0x1.c85fe0p-10f; /* ln 2 in two pieces; the first product is exact */
    float p = 0x1.6a1a72p-10f;
    p = p * r + 0x1.123fc6p-7f;
    p = p * r + 0x1.555916p-5f;
    p = p * r + 0x1.55548ap-3f;
    p = p * r + 0x1.fffffcp-2f;
    float e = 1 + (r + r * r * p);
    return float_of(bits_of(e) + (bits_of(t) << 23));
}

/* x Phi(x). The smaller side of Phi is exp(-a^2 / 2) times a quotient of polynomials in a = |x|, fitted to
 * erfcx(a / sqrt 2) / 2 on [0, 13] (relative error 4.8e-9, all coefficients positive: nothing cancels).
 * Beyond 13 the smaller side is below 1e-38. */
INLINE float gelu_of(float x)
{
    float a = fabsf(x);
    a = a < 13 ? a : 13;
    float p = 0x1.05c572p-8f, q = 0x1.4813a2p-7f;
    p = p * a + 0x1.461c82p-5f;
    q = q * a + 0x1.98c058p-4f;
    p = p * a + 0x1.723e7ap-3f;
    q = q * a + 0x1.da1c56p-2f;
    p = p * a + 0x1.bd6a22p-2f;
    q = q * a + 0x1.313abcp0f;
    p = p * a + 0.5f;
    q = q * a + 0x1.aaf740p0f;
    q = q * a + 1;
    float side = exp_of(-0.5f * a * a) * (p / q), other = 1 - side;
    return x * (x > 0 ? other : side);
}

INLINE float quick_gelu_of(float x)
{
    float t = -1.702f * x;
    t = t > -87 ? t : -87;
    t = t < 88 ? t : 88;
    return x / (1 + exp_of(t));
}

/* ---- sums in LANES lanes: lane l takes the values l, l + LANES, ... ------------------------------------ */

INLINE float add_lanes(float *lane)
{
    for (int half = LANES / 2; half; half /= 2)
        for (int l = 0; l < half; l++) lane[l] += lane[l + half];
    return lane[0];
}

INLINE float sum_of(int n, const float *x)
{
    float lane[LANES] = {0};
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++) lane[l] += x[i + l];
    for (int l = 0; i + l < n; l++) lane[l] += x[i + l];
    return add_lanes(lane);
}

INLINE float squares_of(int n, const float *x, float mean)
{
    float lane[LANES] = {0};
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++) lane[l] += (x[i + l] - mean) * (x[i + l] - mean);
    for (int l = 0; i + l < n; l++) lane[l] += (x[i + l] - mean) * (x[i + l] - mean);
    return add_lanes(lane);
}

INLINE float max_of(int n, const float *x)
{
    float lane[LANES];
    for (int l = 0; l < LANES; l++) lane[l] = x[0];
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++) lane[l] = x[i + l] > lane[l] ? x[i + l] : lane[l];
    for (int l = 0; i + l < n; l++) lane[l] = x[i + l] > lane[l] ? x[i + l] : lane[l];
    float most = lane[0];
    for (int l = 1; l < LANES; l++) most = lane[l] > most ? lane[l] : most;
    return most;
}

/* ---- bodies -------------------------------------------------------------------------------------------- */

INLINE void norm_body(int rows, int width, const float *x, const float *gain, const float *shift, float *y)
{
    for (int r = 0; r < rows; r++, x += width, y += width) {
        float mean = sum_of(width, x) / (float)width;
        float variance = squares_of(width, x, mean) / (float)width;
        float scale = 1 / sqrtf(variance + 1e-5f);
        for (int i = 0; i < width; i++) y[i] = (x[i] - mean) * scale * gain[i] + shift[i];
    }
}

INLINE void gelu_body(size_t n, float *x)
{
    for (size_t i = 0; i < n; i++) x[i] = gelu_of(x[i]);
}

INLINE void quick_gelu_body(size_t n, float *x)
{
    for (size_t i = 0; i < n; i++) x[i] = quick_gelu_of(x[i]);
}

INLINE void softmax_body(int rows, int n, int stride, int first, float *s, float *scale)
{
    for (int r = 0; r < rows; r++, s += stride) {
        int m = first < 0 || first + r + 1 > n ? n : first + r + 1;
        float most = max_of(m, s);
        for (int i = 0; i < m; i++) {
            float d = s[i] - most;
            s[i] = exp_of(d > -87 ? d : -87);
        }
        scale[r] = 1 / sum_of(m, s);
        for (int i = m; i < n; i++) s[i] = 0;
    }
}

INLINE void scale_body(int rows, int width, int stride, const float *scale, float *x)
{
    for (int r = 0; r < rows; r++, x += stride)
        for (int i = 0; i < width; i++) x[i] *= scale[r];
}

INLINE void bfloat_body(size_t n, const float *x, uint16_t *y)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t u = bits_of(x[i]), rounded = (u + 0x7fff + (u >> 16 & 1)) >> 16, quiet = u >> 16 | 0x40;
        y[i] = (uint16_t)((u & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
    }
}

/* ---- twice compiled ------------------------------------------------------------------------------------ */

#if defined(__x86_64__)
#define KERNEL(name, parameters, arguments)                                                                  \
    static void name##_portable parameters                                                                   \
    {                                                                                                        \
        name##_body arguments;                                                                               \
    }                                                                                                        \
    __attribute__((target("avx2"))) static void name##_avx2 parameters                                       \
    {                                                                                                        \
        name##_body arguments;                                                                               \
    }                                                                                                        \
    void npr_kernel_##name parameters                                                                        \
    {                                                                                                        \
        (__builtin_cpu_supports("avx2") ? name##_avx2 : name##_portable) arguments;                          \
    }
#else
#define KERNEL(name, parameters, arguments)                                                                  \
    void npr_kernel_##name parameters                                                                        \
    {                                                                                                        \
        name##_body arguments;                                                                               \
    }
#endif

KERNEL(norm, (int rows, int width, const float *x, const float *gain, const float *shift, float *y),
       (rows, width, x, gain, shift, y))
KERNEL(gelu, (size_t n, float *x), (n, x))
KERNEL(quick_gelu, (size_t n, float *x), (n, x))
KERNEL(softmax, (int rows, int n, int stride, int first, float *s, float *scale),
       (rows, n, stride, first, s, scale))
KERNEL(scale, (int rows, int width, int stride, const float *scale, float *x),
       (rows, width, stride, scale, x))
KERNEL(bfloat, (size_t n, const float *x, uint16_t *y), (n, x, y))
