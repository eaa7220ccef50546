/* test_fletcher32.c - against the sum word by word, as the definition has it. */
#include "io/fletcher32.h"

#include "base/rng.h"
#include "test.h"

/* Big-endian words, sums folded as soon as they pass 16 bits: a value that is not 0 never becomes 0. */
static uint32_t plain(const unsigned char *p, size_t n)
{
    uint32_t a = 0, b = 0;
    for (size_t i = 0; i < n; i += 2) {
        a += (uint32_t)p[i] << 8 | p[i + 1];
        a = (a & 0xffff) + (a >> 16);
        b += a;
        b = (b & 0xffff) + (b >> 16);
    }
    return b << 16 | a;
}

int main(void)
{
    enum { MOST = 70000 };
    unsigned char *p = malloc(MOST);
    npr_rng rng = npr_rng_make(1, 2);
    static const size_t sizes[] = {0, 2, 4, 62, 64, 66, 126, 128, 16382, 16384, 16386, 32768, 32834, MOST};
    for (int fill = 0; fill < 4; fill++) {
        for (size_t i = 0; i < MOST; i++)
            p[i] = fill == 0 ? 0 : fill == 1 ? 0xff : (unsigned char)npr_rng_next(&rng);
        if (fill == 3) memset(p, 0, MOST / 2); /* zeros, then data */
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
            CHECK_INT(npr_fletcher32(p, sizes[k]), plain(p, sizes[k]));
            CHECK_INT(npr_fletcher32_portable(p, sizes[k]), plain(p, sizes[k]));
        }
    }
    for (int trial = 0; trial < 2000; trial++) { /* any length, any start; and a flipped bit shows */
        size_t n = 2 * (size_t)npr_rng_below(&rng, 600), at = (size_t)npr_rng_below(&rng, MOST - 1300);
        CHECK_INT(npr_fletcher32(p + at, n), plain(p + at, n));
        if (!n) continue;
        uint32_t before = npr_fletcher32(p + at, n);
        p[at + (size_t)npr_rng_below(&rng, (int64_t)n)] ^= (unsigned char)(1 << npr_rng_below(&rng, 8));
        CHECK(npr_fletcher32(p + at, n) != before);
    }
    free(p);
    return TEST_END();
}
