/* rng.c - see rng.h. */
#include "base/rng.h"

static const uint64_t GOLDEN = 0x9e3779b97f4a7c15u;

uint64_t npr_mix64(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

npr_rng npr_rng_make(uint64_t seed, uint64_t stream)
{
    return (npr_rng){npr_mix64(npr_mix64(seed + GOLDEN) ^ (stream * 0xd1342543de82ef95u + 1)), 0};
}

uint64_t npr_rng_next(npr_rng *r)
{
    return npr_mix64(r->key + ++r->counter * GOLDEN);
}

double npr_rng_uniform(npr_rng *r)
{
    return (double)(npr_rng_next(r) >> 11) * 0x1p-53;
}

int64_t npr_rng_below(npr_rng *r, int64_t n)
{
    return (int64_t)((unsigned __int128)npr_rng_next(r) * (uint64_t)n >> 64);
}

/* Irwin-Hall: twelve 16-bit uniforms out of three words; close to normal within 3 sigma, bounded by 6. Speed
 * and identical bits everywhere matter more here than the far tail. */
double npr_rng_normal(npr_rng *r)
{
    int64_t sum = 0;
    for (int w = 0; w < 3; w++) {
        uint64_t u = npr_rng_next(r);
        for (int i = 0; i < 4; i++, u >>= 16) sum += (int64_t)(u & 0xffff);
    }
    return ((double)sum + 6.0) * 0x1p-16 - 6.0;
}

/* Four bytes add up to 510 on average, with variance 4 (256^2 - 1) / 12 = 21845. */
static float four_bytes(uint32_t u)
{
    uint32_t pairs = (u & 0x00ff00ff) + (u >> 8 & 0x00ff00ff);
    return (float)((int32_t)((pairs & 0xffff) + (pairs >> 16)) - 510) * (1 / 147.80054f);
}

void npr_rng_normals(npr_rng *r, float *out, size_t n)
{
    for (size_t i = 0; i + 2 <= n; i += 2) {
        uint64_t u = npr_rng_next(r);
        out[i] = four_bytes((uint32_t)u);
        out[i + 1] = four_bytes((uint32_t)(u >> 32));
    }
    if (n % 2) out[n - 1] = four_bytes((uint32_t)npr_rng_next(r));
}

/* A Feistel network of four rounds over the least power of four >= n, walked until it falls below n again: on
 * a cycle of a bijection that begins below n. */
int64_t npr_rng_shuffled(uint64_t seed, int64_t n, int64_t i)
{
    int half = 1;
    while (half < 31 && ((int64_t)1 << 2 * half) < n) half++;
    uint64_t mask = (UINT64_C(1) << half) - 1, x = (uint64_t)i;
    do {
        uint64_t left = x >> half, right = x & mask;
        for (uint64_t round = 1; round <= 4; round++) {
            uint64_t mixed = left ^ (npr_mix64(right ^ npr_mix64(seed + round * GOLDEN)) & mask);
            left = right;
            right = mixed;
        }
        x = left << half | right;
    } while (x >= (uint64_t)n);
    return (int64_t)x;
}
