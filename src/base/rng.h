/* rng.h - counter-based random numbers: the value depends on (seed, stream, counter) only, so any rank can
 * make any row. SplitMix64's finaliser (Steele, Lea, Flood 2014) over a mixed key. Local. */
#ifndef NPR_BASE_RNG_H
#define NPR_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

typedef struct npr_rng {
    uint64_t key, counter;
} npr_rng;

npr_rng npr_rng_make(uint64_t seed, uint64_t stream); /* independent for different (seed, stream) */
uint64_t npr_rng_next(npr_rng *r);                    /* 64 uniform bits */
double npr_rng_uniform(npr_rng *r);                   /* [0, 1), 53 bits */
int64_t npr_rng_below(npr_rng *r, int64_t n);         /* 0 .. n-1 */
double npr_rng_normal(npr_rng *r); /* mean 0, variance 1 (sum of uniforms, +-6): no libm, so the
                                      same bits on every machine */
/* n values for noise vectors, two a word: sums of four bytes, mean 0, variance 1, bounded by 3.46. Four times
 * as fast as npr_rng_normal, and as identical everywhere. */
void npr_rng_normals(npr_rng *r, float *out, size_t n);
/* Where a shuffle of 0 .. n-1 puts i: a bijection for every (seed, n), found without a table. */
int64_t npr_rng_shuffled(uint64_t seed, int64_t n, int64_t i);

uint64_t npr_mix64(uint64_t x); /* a bijection that scatters; also the order of caps */

#endif
