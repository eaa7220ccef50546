/* fletcher32.c - see fletcher32.h.
 *
 * For 16-bit words w[0..m): sum1 = sum of w[i], sum2 = sum of (m - i) w[i], both modulo 65535; the checksum
 * is sum2 in the high half and sum1 in the low. HDF5 adds word by word; here LANES sums run side by side,
 * which a compiler turns into vector code, and with AVX2 in instructions. HDF5 reads words big-endian: modulo
 * 65535 a swap of bytes is a multiplication by 256, so sums of little-endian words are swapped once at the
 * end. */
#include "io/fletcher32.h"

#include <string.h>

/* lane sums of sums stay below 2^32: STEPS (STEPS + 1) / 2 * 65535 < 2^32 */
enum { LANES = 32, STEPS = 256, MODULUS = 65535 };

/* The value HDF5 ends with: 0 only if every word is 0, else 1 .. 65535. */
static uint64_t reduce(uint64_t s)
{
    return s ? (s - 1) % MODULUS + 1 : 0;
}

/* a[l]: the words of lane l; b[l]: word s of them steps - s times. */
static void add_lanes(const unsigned char *p, size_t steps, uint32_t *a, uint32_t *b)
{
    for (size_t s = 0; s < steps; s++) {
        uint16_t w[LANES];
        memcpy(w, p + s * sizeof w, sizeof w);
        for (int l = 0; l < LANES; l++) {
            a[l] += w[l];
            b[l] += a[l];
        }
    }
}

#if defined(__x86_64__)
#include <immintrin.h>

/* The same: a mask and a shift take two neighbours apart, where a compiler shuffles words to widen them. */
__attribute__((target("avx2"))) static void add_lanes_avx2(const unsigned char *p, size_t steps, uint32_t *a,
                                                           uint32_t *b)
{
    enum { PARTS = 4 }; /* even and odd words of either half of a step */
    _Static_assert(LANES == 32, "a step is two registers of words");
    __m256i sum[PARTS], sums[PARTS], low = _mm256_set1_epi32(0xffff);
    for (int i = 0; i < PARTS; i++) sum[i] = sums[i] = _mm256_setzero_si256();
    for (size_t s = 0; s < steps; s++) {
        const __m256i *w = (const __m256i *)(const void *)(p + s * 2 * LANES);
        __m256i half[2] = {_mm256_loadu_si256(w), _mm256_loadu_si256(w + 1)};
#pragma GCC unroll 4
        for (int i = 0; i < PARTS; i++) {
            __m256i words = i % 2 ? _mm256_srli_epi32(half[i / 2], 16) : _mm256_and_si256(half[i / 2], low);
            sum[i] = _mm256_add_epi32(sum[i], words);
            sums[i] = _mm256_add_epi32(sums[i], sum[i]);
        }
    }
    uint32_t one[PARTS][LANES / PARTS], two[PARTS][LANES / PARTS];
    memcpy(one, sum, sizeof one);
    memcpy(two, sums, sizeof two);
    for (int l = 0; l < LANES; l++) {
        int i = l / (LANES / 2) * 2 + l % 2, j = l % (LANES / 2) / 2;
        a[l] = one[i][j];
        b[l] = two[i][j];
    }
}
#endif

typedef void (*kernel)(const unsigned char *p, size_t steps, uint32_t *a, uint32_t *b);

static void add_block(kernel add, const unsigned char *p, size_t steps, uint64_t *sum1, uint64_t *sum2)
{
    uint32_t a[LANES] = {0}, b[LANES] = {0};
    add(p, steps, a, b);
    *sum2 += steps * LANES * *sum1;
    for (uint64_t l = 0; l < LANES; l++) {
        *sum1 += a[l];
        *sum2 += LANES * (uint64_t)b[l] - l * a[l];
    }
    *sum1 = reduce(*sum1);
    *sum2 = reduce(*sum2);
}

static uint32_t checksum(kernel add, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    uint64_t sum1 = 0, sum2 = 0;
    size_t rows = n / (2 * LANES), rest = n % (2 * LANES) / 2;
    while (rows) {
        size_t steps = rows < STEPS ? rows : STEPS;
        add_block(add, p, steps, &sum1, &sum2);
        p += steps * 2 * LANES;
        rows -= steps;
    }
    for (; rest; rest--, p += 2) {
        uint16_t w;
        memcpy(&w, p, sizeof w);
        sum1 += w;
        sum2 += sum1;
    }
    sum1 = reduce(sum1);
    sum2 = reduce(sum2);
    return (uint32_t)__builtin_bswap16((uint16_t)sum2) << 16 | __builtin_bswap16((uint16_t)sum1);
}

uint32_t npr_fletcher32_portable(const void *bytes, size_t n)
{
    return checksum(add_lanes, bytes, n);
}

uint32_t npr_fletcher32(const void *bytes, size_t n)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) return checksum(add_lanes_avx2, bytes, n);
#endif
    return checksum(add_lanes, bytes, n);
}
