/* screen_few.h - what the screens for few queries share: queries follow each other as floats, each padded
 * with zeros to a multiple of 16 values. Local. */
#ifndef NPR_SEARCH_SCREEN_FEW_H
#define NPR_SEARCH_SCREEN_FEW_H

#include "search/exact/screen.h"

/* Values from query to query. */
static inline size_t npr_few_stride(const npr_packed *p)
{
    return ((size_t)p->dim + 15) / 16 * 16;
}

/* npr_screen.pack: p->values are the queries. */
npr_status npr_few_pack(npr_packed *p);

/* With AVX2: rows of a turn, each of another piece of a block. */
enum { NPR_FEW_ROWS = 8 };

typedef struct npr_few_turn {
    const uint16_t *row[NPR_FEW_ROWS];
    uint32_t number[NPR_FEW_ROWS];
    int rows; /* that are there: the others repeat one */
} npr_few_turn;

/* Row i of each of `pieces` pieces of row[0 .. n). */
static inline npr_few_turn npr_few_start(const npr_packed *p, const uint16_t *emb, const uint32_t *row, int i,
                                         int n, int pieces)
{
    int piece = (n + pieces - 1) / pieces;
    npr_few_turn t = {.rows = 0};
    for (int u = 0; u < pieces; u++) {
        int there = i + u * piece < n, at = there ? i + u * piece : i;
        t.rows += there;
        t.number[u] = row[at];
        t.row[u] = emb + (size_t)row[at] * (size_t)p->dim;
    }
    return t;
}

/* Offer row u of a turn to query q by its score in floats. p: queries packed by npr_few_pack(). */
void npr_few_offer(npr_sieve *v, const npr_packed *p, int q, const npr_few_turn *t, int u);

#endif
