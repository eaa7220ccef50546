/* screen_block_pack.c - queries for the screens of screen_block.h: panels of 32, a word of each query after
 * the other. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "search/exact/screen_block.h"

/* The upper half of a float rounded to nearest even. */
static uint32_t bf16_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return (u + 0x7fff + (u >> 16 & 1)) >> 16;
}

static float bf16_value(uint32_t bits)
{
    uint32_t u = bits << 16;
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* One query as words; returns how far rounding moves it. */
static double pack_words(const float *q, int dim, int values, uint32_t *word)
{
    double moved = 0;
    for (int i = 0; i < dim; i++) {
        if (values == 1) {
            memcpy(&word[i], &q[i], sizeof *word);
            continue;
        }
        uint32_t bits = bf16_bits(q[i]);
        double d = (double)q[i] - (double)bf16_value(bits);
        moved += d * d;
        word[i / 2] = i % 2 ? word[i / 2] | bits << 16 : bits;
    }
    return sqrt(moved) * (1 + 0x1p-40);
}

static void pack_query(npr_packed *p, const npr_block_form *f, int j, float *q, uint32_t *word)
{
    int steps = npr_block_steps(p, f), q0 = j / NPR_BLOCK_PANEL * NPR_BLOCK_PANEL;
    size_t width = (size_t)npr_block_width(p, q0);
    uint32_t *panel = p->values + (size_t)q0 * (size_t)steps;
    double norm = npr_packed_scale(p, j, q);
    npr_packed_bound(p, j, norm, pack_words(q, p->dim, f->values, word));
    for (int s = 0; s < steps; s++) panel[(size_t)s * width + (size_t)(j - q0)] = word[s];
}

npr_status npr_block_pack(npr_packed *p, const npr_block_form *f)
{
    size_t steps = (size_t)npr_block_steps(p, f), words = npr_block_stride(p, f);
    p->values = npr_alloc_aligned((size_t)p->padded * steps, sizeof *p->values, "queries");
    float *q = npr_alloc((size_t)p->dim, sizeof *q, "queries");
    uint32_t *word = npr_alloc(steps, sizeof *word, "queries"); /* zeros behind the last */
    npr_status st = p->values && q && word ? NPR_OK : npr_last();
    if (!st) memset(p->values, 0, (size_t)p->padded * steps * sizeof *p->values);
    for (int j = 0; !st && j < p->nq; j++) pack_query(p, f, j, q, word);
    free(q);
    free(word);
    size_t rows = (size_t)f->bytes / (words * sizeof(uint32_t));
    if (rows > (size_t)p->block_rows) rows = (size_t)p->block_rows;
    p->block_rows = rows < (size_t)f->rows ? f->rows : (int)rows / f->rows * f->rows;
    p->scratch = (size_t)f->blocks * (size_t)p->block_rows * (words * sizeof(uint32_t) + 2 * sizeof(float));
    return st;
}
