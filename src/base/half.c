/* half.c - see half.h. */
#include "base/half.h"

#include <math.h>
#include <string.h>

static uint32_t float_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static float bits_float(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

float npr_half_value(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 0x1f, fraction = h & 0x3ff;
    if (exponent == 0x1f) return bits_float(sign | 0x7f800000u | fraction << 13 | (fraction ? 0x400000u : 0));
    if (exponent) return bits_float(sign | (exponent + 112) << 23 | fraction << 13);
    float subnormal = (float)fraction * 0x1p-24f;
    return sign ? -subnormal : subnormal;
}

uint16_t npr_half_round(float f)
{
    uint32_t u = float_bits(f), sign = u >> 16 & 0x8000, magnitude = u & 0x7fffffffu;
    if (magnitude > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x3ff)); /* NaN, quiet */
    if (magnitude >= 0x477ff000u) return (uint16_t)(sign | 0x7c00);   /* rounds beyond 65504 */
    if (magnitude < 0x38800000u) {                                    /* below 2^-14: subnormal, unit 2^-24 */
        float units = bits_float(magnitude) * 0x1p24f;                /* exact: a power of two */
        return (uint16_t)(sign | (uint32_t)nearbyintf(units)); /* ties to even in the default rounding mode */
    }
    uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
    return (uint16_t)(sign | ((rounded - 0x38000000u) >> 13));
}

static void to_float_portable(const uint16_t *h, float *f, size_t n)
{
    for (size_t i = 0; i < n; i++) f[i] = npr_half_value(h[i]);
}

static void from_float_portable(const float *f, uint16_t *h, size_t n)
{
    for (size_t i = 0; i < n; i++) h[i] = npr_half_round(f[i]);
}

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx,f16c"))) static void to_float_f16c(const uint16_t *h, float *f, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(f + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(h + i))));
    to_float_portable(h + i, f + i, n - i);
}

__attribute__((target("avx,f16c"))) static void from_float_f16c(const float *f, uint16_t *h, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128(
            (__m128i *)(void *)(h + i),
            _mm256_cvtps_ph(_mm256_loadu_ps(f + i), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    from_float_portable(f + i, h + i, n - i);
}

int npr_half_in_hardware(void)
{
#ifdef __clang__ /* 14 does not know the name f16c; every CPU with AVX2 has it */
    return __builtin_cpu_supports("avx2");
#else
    return __builtin_cpu_supports("f16c");
#endif
}

void npr_half_to_float(const uint16_t *h, float *f, size_t n)
{
    (npr_half_in_hardware() ? to_float_f16c : to_float_portable)(h, f, n);
}

void npr_half_from_float(const float *f, uint16_t *h, size_t n)
{
    (npr_half_in_hardware() ? from_float_f16c : from_float_portable)(f, h, n);
}
#else
int npr_half_in_hardware(void)
{
    return 0;
}

void npr_half_to_float(const uint16_t *h, float *f, size_t n)
{
    to_float_portable(h, f, n);
}

void npr_half_from_float(const float *f, uint16_t *h, size_t n)
{
    from_float_portable(f, h, n);
}
#endif

/* x rounded to bfloat16 (8 significant bits, nearest even), for finite x. */
static inline float bf16_round(float x)
{
    uint32_t u = float_bits(x);
    return bits_float((u + 0x7fff + (u >> 16 & 1)) & 0xffff0000u);
}

/* Sums over a block of BLOCK values in LANES lanes, side by side: lane l takes the values l, l + LANES, ...
 */
enum { BLOCK = 64, LANES = 8 };

typedef struct lanes {
    double squares[LANES], moved[LANES];
} lanes;

static inline __attribute__((always_inline)) void add_block_inline(const float block[BLOCK], lanes *sum)
{
    double r[BLOCK];
    for (int i = 0; i < BLOCK; i++) r[i] = (double)block[i] - (double)bf16_round(block[i]);
    for (int i = 0; i < BLOCK; i += LANES) {
        for (int l = 0; l < LANES; l++) sum->squares[l] += (double)block[i + l] * (double)block[i + l];
        for (int l = 0; l < LANES; l++) sum->moved[l] += r[i + l] * r[i + l];
    }
}

static void add_block_portable(const float block[BLOCK], lanes *sum)
{
    add_block_inline(block, sum);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void add_block_avx2(const float block[BLOCK], lanes *sum)
{
    add_block_inline(block, sum); /* the same operations, four at a time */
}

static void add_block(const float block[BLOCK], lanes *sum)
{
    (__builtin_cpu_supports("avx2") ? add_block_avx2 : add_block_portable)(block, sum);
}
#else
static void add_block(const float block[BLOCK], lanes *sum)
{
    add_block_portable(block, sum);
}
#endif

static double add_lanes(const double v[LANES])
{
    return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}

npr_row_facts npr_half_row_facts(const uint16_t *row, int d)
{
    float block[BLOCK];
    lanes sum = {0};
    uint16_t worst = 0;
    for (int j = 0; j < d; j += BLOCK) {
        int m = d - j < BLOCK ? d - j : BLOCK;
        npr_half_to_float(row + j, block, (size_t)m);
        for (int i = m; i < BLOCK; i++) block[i] = 0;
        for (int i = 0; i < m; i++) {
            uint16_t magnitude = row[j + i] & 0x7fff;
            worst = magnitude > worst ? magnitude : worst;
        }
        add_block(block, &sum);
    }
    npr_row_facts facts = {sqrt(add_lanes(sum.squares)), sqrt(add_lanes(sum.moved)), worst < 0x7c00};
    if (!facts.finite) facts.norm = facts.residual = NAN;
    return facts;
}
