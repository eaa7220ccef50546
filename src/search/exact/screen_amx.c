/* screen_amx.c - the screen for many queries on CPUs with AMX: in bfloat16, by tiles, at four times the speed
 * of AVX512-BF16. See screen.h; the loop is in screen_amx.h, queries and rows are those of screen_block.c.
 *
 * The bound is that of bfloat16 there, proven in sieve.c, where x' and q' are the rounded row and query,
 * measured as they are rounded. It must cover what TDPBF16PS does (Intel's Software Developer's Manual): of
 * 32 columns it adds the products of the even ones one after the other, fused, the odd ones likewise, then
 * these two sums, and that to the score, each rounded to nearest even, whatever MXCSR says. Products of two
 * bfloat16 are exact, and adding zeros is, so of the additions a product passes through, 17 + dim / 32, no
 * more than dim - 1 round: an order like any other, of which g holds. It takes what is below the least normal
 * float for zero, and makes it zero. Of a row nothing is: the least binary16 is 2^-24. Values of a query lose
 * less than 2^-126 each, times 2^16 at most; each product and each addition of two that are not zero lose
 * less than 2^-126. That is below dim 2^-109 together, which the bound has. A row with an infinity or a NaN:
 * its product with any value, also with a zero, is none or infinite, so the score is not finite, and the row
 * is dropped as with other screens. */
#include "base/cpu.h"
#include "search/exact/screen_block.h"

#if defined(__x86_64__)

#define TILES __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx512bf16,f16c,amx-tile,amx-bf16")))

/* LDTILECFG's operand: palette 1, all tiles of 16 rows of 64 bytes. */
typedef struct amx_config {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} amx_config;

static const _Alignas(64) amx_config eight_tiles = {
    .palette = 1, .bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}};

/* The compiler does not know that loads of tiles read memory: what they read must have been written. */
#define TILES_BEGIN()                                                                                        \
    do {                                                                                                     \
        __asm__ volatile("" ::: "memory");                                                                   \
        _tile_loadconfig(&eight_tiles);                                                                      \
    } while (0)
#define TILES_END()               _tile_release()
#define TILE_ZERO(c)              _tile_zero(c)
#define TILE_LOAD(t, at, bytes)   _tile_loadd(t, at, bytes)
#define TILE_STREAM(t, at, bytes) _tile_stream_loadd(t, at, bytes)
#define TILE_DOT(c, a, b)         _tile_dpbf16ps(c, a, b)
#define TILE_STORE(c, at, bytes)  _tile_stored(c, at, bytes)

typedef npr_block_sums amx_sums;
#define amx_round  npr_block_round
#define amx_bounds npr_block_bounds

/* Which of the queries q .. q+15 a row with the scores t [16] may reach. */
NPR_AVX512 static inline uint32_t amx_reach(const npr_sieve *v, const float *t, float norm, float residual,
                                            int q)
{
    return npr_block_reach(_mm512_load_ps(t), norm, residual, _mm512_load_ps(v->p->by_norm + q),
                           _mm512_load_ps(v->p->by_residual + q), _mm512_load_ps(v->least + q));
}

#include "search/exact/screen_amx.h"

/* Up to 4 queries take the time of reading the rows anyway (screen_few.c); from 5 on tiles were faster where
 * they were tried (an earlier prototype: 7.3 ms a query for 10 of them and 10^6 x 512 rows, 10.1 in
 * registers). */
enum { LEAST = 5 };

static int usable(void)
{
    return npr_block_bf16_usable() && npr_cpu_amx_bf16();
}

const npr_screen npr_screen_block_amx = {"block-amx",     usable,   LEAST,    INT_MAX,
                                         NPR_BLOCK_LANES, amx_pack, amx_scan, NULL};
#endif
