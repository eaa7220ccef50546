/* screen_fetch.h - for screens that take rows in blocks: the rows of the next block are fetched into the second
 * cache while this one is multiplied, some lines with every call of the kernel. Local. */
#ifndef NPR_SEARCH_SCREEN_FETCH_H
#define NPR_SEARCH_SCREEN_FETCH_H

#include <stddef.h>
#include <stdint.h>

typedef struct npr_fetch {
    const uint16_t *emb;
    const uint32_t *row;
    int n, i, dim, j;
    int lines; /* per step */
} npr_fetch;

/* Rows row[0 .. n) in `steps` steps. */
static inline npr_fetch npr_fetch_make(const uint16_t *emb, const uint32_t *row, int n, int dim, int steps)
{
    enum { LINE = 32 }; /* values of a cache line */
    int lines = (dim + LINE - 1) / LINE + 1;
    return (npr_fetch){.emb = emb, .row = row, .n = n, .dim = dim, .lines = (n * lines + steps - 1) / steps};
}

static inline void npr_fetch_step(npr_fetch *f)
{
    enum { LINE = 32, SECOND_CACHE = 2 };
    for (int lines = f->lines; lines > 0 && f->i < f->n; lines--) {
        __builtin_prefetch(f->emb + (size_t)f->row[f->i] * (size_t)f->dim + f->j, 0, SECOND_CACHE);
        f->j += LINE;
        if (f->j < f->dim) continue;
        f->j = 0;
        f->i++;
    }
}

#endif
