/* screen_few_bytes.h - what the two halves of the screen of few queries in bytes share: screen_few_rows.c
 * makes rows into bytes, screen_bytes_pack.c queries, and screen_few_bytes.c multiplies. See screen.h.
 *
 * With a scale s, whole numbers c of columns (s c: about the mean of the rows at hand), a query's scale u and
 * integers |k| <= 63:
 *
 *     x = s (i + c) + s h,   |i| <= 126, |h| <= 1/2 + 2^-9 in each column
 *     q = u k + (q - u k),   m = ||q - u k||
 *     x.q = s u i.k + s c.q + s i.(q - u k) + s h.q
 *
 * The first term is computed in integers, the second once for all rows; the third is at most s ||i|| m, with
 * ||i|| from the integers, and the last at most s (1/2 + 2^-9) times the sum of the query's magnitudes,
 * whatever the row. So rows are read once, and nothing of them is computed in floats but x / s - c, fused: it
 * is below 128, hence rounded by less than 2^-17; 1 / s is rounded by 2^-24 of x / s, which is below 128 +
 * |c|, and |c| is at most 2^12: together less than 2^-9. For the roundings of sums stand 2^-20 of all terms.
 *
 * Products are those of screen_bytes.h with another share of the eight bits: vpmaddubsw takes i + 128 and k,
 * so neighbours add up to at most 2 x 254 x 63, which fits 16 bits. A register has a line of 32 columns; sums
 * of up to 16 lines (a segment) are added modulo 2^16 to a start of -128 times the sum of its k. Each of its
 * 16 sums has 32 columns; the norm of their i is below 256 and that of their k at most 128, so the sum is
 * below 2^15. A row that does not fit, in a value or in a norm, is scored in floats. */
#ifndef NPR_SEARCH_SCREEN_FEW_BYTES_H
#define NPR_SEARCH_SCREEN_FEW_BYTES_H

#include "search/exact/screen_few.h"

enum {
    NPR_FEW_TURN = 6,     /* rows converted together, as many streams of memory */
    NPR_FEW_LINE = 32,    /* columns of a register */
    NPR_FEW_SEGMENT = 16, /* lines */
    NPR_FEW_MIDDLE = 128, /* added to a row's integers */
};

/* Lines of a row; values from row to row, with zeros behind the end. */
static inline size_t npr_few_lines(const npr_packed *p)
{
    return ((size_t)p->dim + NPR_FEW_LINE - 1) / NPR_FEW_LINE;
}

static inline size_t npr_few_width(const npr_packed *p)
{
    return npr_few_lines(p) * NPR_FEW_LINE;
}

/* Bytes of a query in p->values: before the lines of a segment 16 starts of 16 bits. */
static inline size_t npr_few_query(const npr_packed *p)
{
    return (npr_few_lines(p) + (npr_few_lines(p) + NPR_FEW_SEGMENT - 1) / NPR_FEW_SEGMENT) * NPR_FEW_LINE;
}

/* Behind the queries: u [padded]. by_norm and by_residual are what s ||i|| and s are multiplied with. */
static inline float *npr_few_units(const npr_packed *p)
{
    return (float *)(void *)((char *)p->values + (size_t)p->padded * npr_few_query(p));
}

/* Rows of a thread, in its scratch. */
typedef struct npr_few_rows {
    float s;
    float *unit, *middle, *fixed, *by_length; /* [padded] s u, s c.q; bounds: of any row, by ||i|| */
    float *c, *x;                             /* [width] x: room for a row */
    uint8_t *i;                               /* [NPR_FEW_TURN][width] i + 128, in npr_few_column()'s order */
    float length[NPR_FEW_TURN];               /* a bound of ||i||; NaN for a row that does not fit */
} npr_few_rows;

/* Bytes of the scratch; the rows in it, of which s and what follows from it stay as they were. */
size_t npr_few_scratch(const npr_packed *p);
npr_few_rows *npr_few_lay_out(const npr_packed *p, void *scratch);

/* s, c and what follows from them: of some of row[0 .. n). */
void npr_few_find_scale(const npr_packed *p, const uint16_t *emb, const uint32_t *row, int n,
                        npr_few_rows *r);

/* NPR_FEW_TURN rows become bytes. */
void npr_few_convert(const npr_packed *p, const uint16_t *const *row, npr_few_rows *r);

/* npr_screen.pack */
npr_status npr_few_bytes_pack(npr_packed *p);

/* The column at a place of a register's 32 bytes. */
static inline size_t npr_few_column(size_t place)
{
    return place % 16 / 4 * 8 + place / 16 * 4 + place % 4;
}

#endif
