/* fletcher32.c - see fletcher32.h.
 *
 * For 16-bit words w[0..m): sum1 = sum of w[i], sum2 = sum of (m - i) w[i], both modulo 65535; the checksum
 * is sum2 in the high half and sum1 in the low. HDF5 adds word by word; here LANES sums run side by side,
 * which a compiler turns into vector code. HDF5 reads words big-endian: modulo 65535 a swap of bytes is a
 * multiplication by 256, so sums of little-endian words are swapped once at the end. */
#include "io/fletcher32.h"

#include <string.h>

/* lane sums of sums stay below 2^32: STEPS (STEPS + 1) / 2 * 65535 < 2^32 */
enum { LANES = 32, STEPS = 256, MODULUS = 65535 };

/* The value HDF5 ends with: 0 only if every word is 0, else 1 .. 65535. */
static uint64_t reduce(uint64_t s)
{
    return s ? (s - 1) % MODULUS + 1 : 0;
}

static void add_block(const unsigned char *p, size_t steps, uint64_t *sum1, uint64_t *sum2)
{
    uint32_t a[LANES] = {0}, b[LANES] = {0};
    for (size_t s = 0; s < steps; s++) {
        uint16_t w[LANES];
        memcpy(w, p + s * sizeof w, sizeof w);
        for (int l = 0; l < LANES; l++) {
            a[l] += w[l];
            b[l] += a[l]; /* word s of this lane counts steps - s times */
        }
    }
    *sum2 += steps * LANES * *sum1;
    for (uint64_t l = 0; l < LANES; l++) {
        *sum1 += a[l];
        *sum2 += LANES * (uint64_t)b[l] - l * a[l];
    }
    *sum1 = reduce(*sum1);
    *sum2 = reduce(*sum2);
}

uint32_t npr_fletcher32(const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    uint64_t sum1 = 0, sum2 = 0;
    size_t rows = n / (2 * LANES), rest = n % (2 * LANES) / 2;
    while (rows) {
        size_t steps = rows < STEPS ? rows : STEPS;
        add_block(p, steps, &sum1, &sum2);
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
