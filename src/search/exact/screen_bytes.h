/* screen_bytes.h - what the parts of the screen in bytes share: screen_bytes_pack.c makes queries into bytes,
 * screen_bytes_rows.c rows, and screen_bytes.c multiplies them. See screen.h.
 *
 * Bytes are coarse, so both sides are first moved to the middle. mu: about the mean of the rows at hand; nu:
 * that of the queries; y = x - mu, w = q - nu. Any mu and nu are right, good ones leave short vectors:
 *
 *     x.q = y.w + y.nu + mu.q
 *
 * Only y.w is computed in bytes: y' = s i, w' = u k, with integers |i| <= 63 and |k| <= 127 and a scale of
 * each row and of each query. The other two are a number of the row and a number of the query. With r = ||y -
 * y'|| and m = ||w - w'||, both measured, N = ||y||, W = ||w|| and g as in sieve.c:
 *
 *     |y.w - y'.w'| <= r W + (N + r) m
 *     |y.nu - computed| <= g N ||nu||
 *
 * mu.q is computed exactly, as a score is. For the roundings of y and r and of the sums of floats stand 2^-20
 * of N W, N ||nu|| and ||mu|| ||q||, and 2^-22 N of r.
 *
 * vpmaddubsw multiplies unsigned with signed bytes and adds neighbours: i + 64 with k gives at most 2 x 127 x
 * 127, which fits 16 bits. Such sums of up to 16 steps (a segment: 64 columns, of which a sum has 32) are
 * added in 16 bits, modulo 2^16, to a start of -64 times the sum of its k. The result is the sum of i k
 * modulo 2^16; and as the norm of a sum's i is below 128 and that of its k at most 255, the sum is below 2^15
 * (Cauchy-Schwarz), hence what comes out. Segments are added in 32 bits. So all integers are exact, with two
 * instructions for 32 products, where 16 bits take four. */
#ifndef NPR_SEARCH_SCREEN_BYTES_H
#define NPR_SEARCH_SCREEN_BYTES_H

#include "search/exact/screen.h"

enum {
    NPR_BYTES_ROWS = 6,     /* of a kernel call */
    NPR_BYTES_PANEL = 16,   /* queries of a panel */
    NPR_BYTES_STEP = 4,     /* columns multiplied at once */
    NPR_BYTES_SEGMENT = 16, /* steps */
    NPR_BYTES_COLUMNS = NPR_BYTES_SEGMENT * NPR_BYTES_STEP,
    NPR_BYTES_MIDDLE = 64, /* added to a row's integers */
};

static inline int npr_bytes_steps(const npr_packed *p)
{
    return (p->dim + NPR_BYTES_STEP - 1) / NPR_BYTES_STEP;
}

/* Columns of a row, and of mu and nu: whole segments, zeros behind the end. */
static inline size_t npr_bytes_width(const npr_packed *p)
{
    return ((size_t)p->dim + NPR_BYTES_COLUMNS - 1) / NPR_BYTES_COLUMNS * NPR_BYTES_COLUMNS;
}

/* Words of a panel: a start for each segment, and the steps. */
static inline size_t npr_bytes_panel(const npr_packed *p)
{
    return (size_t)NPR_BYTES_PANEL * ((size_t)npr_bytes_steps(p) + npr_bytes_width(p) / NPR_BYTES_COLUMNS);
}

/* Behind the panels: scales of queries [padded], bounds by ||mu|| [padded], nu [width]. */
static inline float *npr_bytes_units(const npr_packed *p)
{
    return (float *)(p->values + (size_t)(p->padded / NPR_BYTES_PANEL) * npr_bytes_panel(p));
}

static inline float *npr_bytes_by_mean(const npr_packed *p)
{
    return npr_bytes_units(p) + p->padded;
}

static inline float *npr_bytes_nu(const npr_packed *p)
{
    return npr_bytes_units(p) + 2 * p->padded;
}

/* A block of rows, converted, in a thread's scratch. Arrays of rows have room for p->block_rows, and those
 * behind the n-th up to a whole group of NPR_BYTES_ROWS are there for the kernel: nothing of them passes. */
typedef struct npr_bytes_block {
    const uint32_t *row; /* [n] numbers */
    int n;
    float *mu, *y[2];                 /* [width] */
    float *mean;                      /* [1] a bound of ||mu|| */
    float *norm, *residual;           /* [rows] N, r */
    float *unit, *along;              /* [rows] s (NaN for a row that is not finite), y.nu */
    float *most_norm, *most_residual; /* [rows / NPR_BYTES_ROWS] the largest of a group */
    float *middle;                    /* [padded] mu.q, and the bound of what follows from it */
    uint16_t *half;                   /* [width] mu */
    uint8_t *x;                       /* [rows][width] i + 64 */
} npr_bytes_block;

/* Bytes of a thread's block, without what the screen of 16 bits wants behind it. */
size_t npr_bytes_scratch(const npr_packed *p);

/* Find b's arrays in the scratch. */
void npr_bytes_lay_out(const npr_packed *p, void *scratch, npr_bytes_block *b);

/* mu, and what follows from it: of some of the block's rows. It stays in the scratch. */
void npr_bytes_find_mean(const npr_packed *p, const uint16_t *emb, npr_bytes_block *b);

/* The block's rows. */
void npr_bytes_convert(const npr_packed *p, const uint16_t *emb, npr_bytes_block *b);

/* npr_screen.pack */
npr_status npr_bytes_pack(npr_packed *p);

#endif
