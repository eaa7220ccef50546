/* screen_amx.h - the loop of the screen for AMX (screen_amx.c), over operations that the file which includes
 * it has defined: the instructions, or a model of them in plain C with which tests run the loop on any CPU
 * (tests/search/amx_model.c). Local.
 *
 *   TILES                            what stands before a function that uses any of them
 *   TILES_BEGIN(), TILES_END()       make eight tiles of 16 rows of 64 bytes; give them back
 *   TILE_ZERO(c)                     c = 0
 *   TILE_LOAD(t, at, bytes)          t = 16 rows of 64 bytes, so many bytes from row to row
 *   TILE_STREAM(t, at, bytes)        the same, of what will not be wanted again soon
 *   TILE_DOT(c, a, b)                c [16][16] += a [16][16 pairs] x b [16 pairs][16], as TDPBF16PS does it
 *   TILE_STORE(c, at, bytes)
 *   amx_sums, amx_round(), amx_bounds(), amx_reach()     of single rows, see below
 *
 * Rows lie in tiles of their own, [16 rows][16 pairs of bfloat16]; 16 words of a panel of queries are a tile
 * as they lie there. A call multiplies 32 rows with a panel of 32 queries in four tiles: 2 + 2 tiles are
 * loaded for 4 products, and the scores leave as 4 KiB that stay in the first cache. Panels stay there too
 * while rows stream past. Products keep the tiles' unit busy for 16 cycles each, so everything else is done
 * between them, a bit with each step: the scores of the call before are compared with what their queries
 * want, and rows of the next block are fetched, rounded and put into tiles. So there are two blocks of rows,
 * which change places. */
#ifndef NPR_SEARCH_SCREEN_AMX_H
#define NPR_SEARCH_SCREEN_AMX_H

#include <limits.h>

#include "search/exact/screen_block.h"

enum {
    AMX_TILE = 16, /* rows of a tile, and words of such a row */
    AMX_WORDS = AMX_TILE * AMX_TILE,
    AMX_ROWS = 2 * AMX_TILE, /* of a kernel call */
    AMX_LINE = 2 * AMX_TILE, /* values of a row of a tile: a cache line */
    AMX_AHEAD = 2048,        /* values by which rows are fetched ahead */
    AMX_BYTES = 192 << 10,   /* of a converted block; both stay in the second cache */
    AMX_LINE_BYTES = 64,
    AMX_PANEL_BYTES = 2 * AMX_LINE_BYTES, /* from step to step of a panel, of scores from row to row */
};

static const npr_block_form amx_form = {2, AMX_TILE, AMX_ROWS, 2, AMX_BYTES};

/* Rows in tiles: [rows / 16][steps][16 rows][16 words]. */
typedef struct amx_block {
    uint32_t *x;
    float *norm, *residual; /* [rows] */
} amx_block;

/* Rows on their way into a block, a line at a time. */
typedef struct amx_intake {
    const uint16_t *emb;
    const uint32_t *row; /* numbers: n to be converted, `known` that can be fetched ahead */
    int n, known, dim, steps, ahead;
    amx_block to;
    int i, step; /* the next line */
    amx_sums sums;
} amx_intake;

/* Scores of a call, t [rows][registers][16], the first `looked` rows of which have been looked at. */
typedef struct amx_scores {
    const float *t;
    int i0, q0, rows, registers, looked;
    uint32_t any; /* of all hits */
    uint16_t hits[AMX_ROWS][2];
} amx_scores;

/* What is done between products. */
typedef struct amx_aside {
    npr_sieve *v;
    const uint32_t *row; /* of the block being multiplied */
    amx_block now;
    amx_scores late;
    amx_intake in;
    int looks, lines; /* with each step */
} amx_aside;

/* One of the two blocks in a thread's scratch. */
static inline amx_block amx_block_of(const npr_sieve *v, int which)
{
    size_t rows = (size_t)v->p->block_rows, words = rows * npr_block_stride(v->p, &amx_form);
    uint32_t *x = v->scratch;
    float *facts = (float *)(x + 2 * words) + (size_t)which * 2 * rows;
    return (amx_block){x + (size_t)which * words, facts, facts + rows};
}

TILES static inline void amx_take_in(amx_intake *in, int lines)
{
    for (; lines > 0 && in->i < in->n; lines--) {
        int i = in->i, j = in->step * AMX_LINE, next = i + in->ahead < in->known ? i + in->ahead : i;
        size_t dim = (size_t)in->dim, tile = (size_t)(i / AMX_TILE * in->steps + in->step);
        __builtin_prefetch(in->emb + in->row[next] * dim + j, 0, 2);
        amx_round(in->emb + in->row[i] * dim + j, in->dim - j,
                  in->to.x + tile * AMX_WORDS + (size_t)(i % AMX_TILE * AMX_TILE), &in->sums);
        if (++in->step < in->steps) continue;
        amx_bounds(&in->sums, in->dim, &in->to.norm[i], &in->to.residual[i]);
        in->sums = (amx_sums){0};
        in->step = 0;
        in->i++;
    }
}

TILES static inline void amx_look(amx_aside *a, int rows)
{
    amx_scores *s = &a->late;
    for (; rows > 0 && s->looked < s->rows; rows--, s->looked++) {
        int i = s->i0 + s->looked;
        for (int r = 0; r < s->registers; r++) {
            const float *t = s->t + (s->looked * s->registers + r) * NPR_BLOCK_LANES;
            uint32_t hits =
                amx_reach(a->v, t, a->now.norm[i], a->now.residual[i], s->q0 + r * NPR_BLOCK_LANES);
            s->hits[s->looked][r] = (uint16_t)hits;
            s->any |= hits;
        }
    }
}

/* Look at the other scores of the call before, and offer those that may reach what is wanted. */
TILES static void amx_settle(amx_aside *a)
{
    const amx_scores *s = &a->late;
    amx_look(a, AMX_ROWS);
    for (int u = 0; s->any && u < s->rows; u++)
        for (int r = 0; r < s->registers; r++) {
            const float *t = s->t + (u * s->registers + r) * NPR_BLOCK_LANES;
            int i = s->i0 + u, q0 = s->q0 + r * NPR_BLOCK_LANES;
            npr_block_offer(a->v, a->row[i], a->now.norm[i], a->now.residual[i], q0, s->hits[u][r], t);
        }
}

TILES static inline void amx_step(amx_aside *a)
{
    amx_look(a, a->looks);
    amx_take_in(&a->in, a->lines);
}

/* t [32][32] = scores of the 32 rows from x on with a panel of 32 queries. */
TILES static void amx_wide(const uint32_t *x, const uint32_t *panel, int steps, float *t, amx_aside *a)
{
    const uint32_t *y = x + (size_t)steps * AMX_WORDS;
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
    for (int s = 0; s < steps; s++) {
        TILE_STREAM(4, x, AMX_LINE_BYTES);
        TILE_LOAD(6, panel, AMX_PANEL_BYTES);
        TILE_DOT(0, 4, 6);
        TILE_LOAD(7, panel + AMX_TILE, AMX_PANEL_BYTES);
        TILE_DOT(1, 4, 7);
        TILE_STREAM(5, y, AMX_LINE_BYTES);
        TILE_DOT(2, 5, 6);
        TILE_DOT(3, 5, 7);
        x += AMX_WORDS;
        y += AMX_WORDS;
        panel += 2 * AMX_WORDS;
        amx_step(a);
    }
    TILE_STORE(0, t, AMX_PANEL_BYTES);
    TILE_STORE(1, t + AMX_TILE, AMX_PANEL_BYTES);
    TILE_STORE(2, t + 2 * AMX_WORDS, AMX_PANEL_BYTES);
    TILE_STORE(3, t + 2 * AMX_WORDS + AMX_TILE, AMX_PANEL_BYTES);
}

/* t [32][16], with a panel of 16. */
TILES static void amx_half(const uint32_t *x, const uint32_t *panel, int steps, float *t, amx_aside *a)
{
    const uint32_t *y = x + (size_t)steps * AMX_WORDS;
    TILE_ZERO(0);
    TILE_ZERO(2);
    for (int s = 0; s < steps; s++) {
        TILE_LOAD(6, panel, AMX_LINE_BYTES);
        TILE_STREAM(4, x, AMX_LINE_BYTES);
        TILE_DOT(0, 4, 6);
        TILE_STREAM(5, y, AMX_LINE_BYTES);
        TILE_DOT(2, 5, 6);
        x += AMX_WORDS;
        y += AMX_WORDS;
        panel += AMX_WORDS;
        amx_step(a);
    }
    TILE_STORE(0, t, AMX_LINE_BYTES);
    TILE_STORE(2, t + AMX_WORDS, AMX_LINE_BYTES);
}

static inline amx_intake amx_intake_of(const npr_packed *p, const uint16_t *emb, const uint32_t *row, int n,
                                       int known)
{
    return (amx_intake){.emb = emb,
                        .row = row,
                        .n = n,
                        .known = known,
                        .dim = p->dim,
                        .steps = npr_block_steps(p, &amx_form) / AMX_TILE,
                        .ahead = p->dim < AMX_AHEAD ? AMX_AHEAD / p->dim : 1};
}

/* npr_screen.scan: as many rows of the next block as are known are converted meanwhile. Tiles of the last
 * rows may hold anything behind them: rows do not touch one another, and those are not looked at. */
TILES static void amx_scan(const npr_packed *p, npr_sieve *v, const uint16_t *emb, const uint32_t *row, int n,
                           int ahead)
{
    _Alignas(64) float t[2][AMX_ROWS * NPR_BLOCK_PANEL];
    int next = ahead < p->block_rows ? ahead : p->block_rows, words = npr_block_steps(p, &amx_form);
    int steps = words / AMX_TILE, panels = (p->padded + NPR_BLOCK_PANEL - 1) / NPR_BLOCK_PANEL;
    int calls = (n + AMX_ROWS - 1) / AMX_ROWS * panels, turn = 0;
    amx_intake rest = amx_intake_of(p, emb, row, n, n + ahead);
    amx_aside a = {.v = v, .row = row, .now = amx_block_of(v, v->turn)};
    rest.to = a.now;
    rest.i = v->ready;
    amx_take_in(&rest, INT_MAX);
    v->turn = !v->turn;
    v->ready = next;
    a.in = amx_intake_of(p, emb, row + n, next, ahead);
    a.in.to = amx_block_of(v, v->turn);
    a.lines = (next + calls - 1) / calls;
    a.looks = (AMX_ROWS + steps - 1) / steps;
    TILES_BEGIN();
    for (int q0 = 0; q0 < p->padded; q0 += NPR_BLOCK_PANEL) {
        int width = npr_block_width(p, q0);
        const uint32_t *panel = p->values + (size_t)q0 * (size_t)words;
        for (int i = 0; i < n; i += AMX_ROWS, turn = !turn) {
            const uint32_t *x = a.now.x + (size_t)i * (size_t)words;
            (width == NPR_BLOCK_PANEL ? amx_wide : amx_half)(x, panel, steps, t[turn], &a);
            amx_settle(&a);
            a.late = (amx_scores){.t = t[turn], .i0 = i, .q0 = q0, .registers = width / NPR_BLOCK_LANES};
            a.late.rows = n - i < AMX_ROWS ? n - i : AMX_ROWS;
        }
    }
    TILES_END();
    amx_settle(&a);
    amx_take_in(&a.in, INT_MAX);
}

static npr_status amx_pack(npr_packed *p)
{
    return npr_block_pack(p, &amx_form);
}

#endif
