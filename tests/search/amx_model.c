/* amx_model.c - see amx_model.h. The loop, the layout of tiles and the packing are those of
 * src/search/exact/screen_amx.h; here are the eight tiles, and what is done to single rows. Tiles that were not
 * made hold NaN, and go back to it. */
#include "search/amx_model.h"

#include <string.h>

#include "base/half.h"

#define TILES

typedef union model_tile {
    float f[16][16];
    uint16_t bf16[16][32]; /* pairs: the even columns of a word are its lower half */
} model_tile;

static _Thread_local model_tile tiles[8];

static void all_tiles(int byte)
{
    memset(tiles, byte, sizeof tiles);
}

static void load(int t, const void *at, size_t bytes)
{
    for (size_t i = 0; i < 16; i++) memcpy(tiles[t].f[i], (const char *)at + i * bytes, sizeof tiles[t].f[i]);
}

static void store(int t, void *at, size_t bytes)
{
    for (size_t i = 0; i < 16; i++) memcpy((char *)at + i * bytes, tiles[t].f[i], sizeof tiles[t].f[i]);
}

/* Zeros for what is below the least normal float. */
static void flush(float x[16])
{
    uint32_t u[16];
    memcpy(u, x, sizeof u);
    for (int j = 0; j < 16; j++) u[j] = u[j] & 0x7f800000 ? u[j] : 0;
    memcpy(x, u, sizeof u);
}

/* The even (half 0) or odd values of a row of a tile. */
static void widen(const uint16_t pair[32], int half, float x[16])
{
    uint32_t u[16];
    for (int j = 0; j < 16; j++) u[j] = (uint32_t)pair[2 * j + half] << 16;
    memcpy(x, u, sizeof u);
    flush(x);
}

/* sum += x y, one of the chains of TDPBF16PS for 16 queries. In doubles, rounded each time, it is fused but
 * for cases where a double lies halfway between floats. */
static void add_products(float sum[16], float x, const float y[16])
{
    for (int j = 0; j < 16; j++) sum[j] = (float)((double)sum[j] + (double)x * (double)y[j]);
    flush(sum);
}

/* TDPBF16PS: for each score two chains of fused additions, their sum, and the sum with the score. */
static void multiply(int c, int a, int b)
{
    float x[2][16], y[16][2][16];
    for (int k = 0; k < 16; k++)
        for (int half = 0; half < 2; half++) widen(tiles[b].bf16[k], half, y[k][half]);
    for (int i = 0; i < 16; i++) {
        float sum[2][16] = {{0}};
        for (int half = 0; half < 2; half++) {
            widen(tiles[a].bf16[i], half, x[half]);
            for (int k = 0; k < 16; k++) add_products(sum[half], x[half][k], y[k][half]);
        }
        for (int j = 0; j < 16; j++) sum[0][j] += sum[1][j];
        flush(sum[0]);
        for (int j = 0; j < 16; j++) tiles[c].f[i][j] += sum[0][j];
        flush(tiles[c].f[i]);
    }
}

#define TILES_BEGIN()             all_tiles(0)
#define TILES_END()               all_tiles(0xff)
#define TILE_ZERO(c)              memset(&tiles[c], 0, sizeof tiles[c])
#define TILE_LOAD(t, at, bytes)   load(t, at, bytes)
#define TILE_STREAM(t, at, bytes) load(t, at, bytes)
#define TILE_DOT(c, a, b)         multiply(c, a, b)
#define TILE_STORE(c, at, bytes)  store(c, at, bytes)

typedef struct amx_sums {
    double square, moved;
} amx_sums;

static void amx_round(const uint16_t *row, int left, uint32_t *out, amx_sums *s)
{
    uint16_t pair[32] = {0};
    for (int j = 0; j < 32 && j < left; j++) {
        float x = npr_half_value(row[j]), rounded;
        uint32_t u;
        memcpy(&u, &x, sizeof u);
        if (fabsf(x) <= FLT_MAX) u += 0x7fff + (u >> 16 & 1);
        pair[j] = (uint16_t)(u >> 16);
        u &= 0xffff0000;
        memcpy(&rounded, &u, sizeof rounded);
        s->square += (double)x * (double)x;
        s->moved += ((double)x - (double)rounded) * ((double)x - (double)rounded);
    }
    memcpy(out, pair, sizeof pair);
}

static void amx_bounds(const amx_sums *s, int dim, float *norm, float *residual)
{
    *norm = npr_norm_above((float)s->square, dim);
    *residual = npr_norm_above((float)s->moved, dim);
}

static uint32_t amx_reach(const npr_sieve *v, const float *t, float norm, float residual, int q)
{
    uint32_t hits = 0;
    for (int u = 0; u < 16; u++) {
        float high = t[u] + norm * v->p->by_norm[q + u] + residual * v->p->by_residual[q + u];
        hits |= (uint32_t)(high >= v->least[q + u]) << u;
    }
    return hits;
}

#include "search/exact/screen_amx.h"

static int usable(void)
{
    return 1;
}

const npr_screen amx_model = {"amx-model", usable, 0, INT_MAX, NPR_BLOCK_LANES, amx_pack, amx_scan, NULL};
