/* draw.c - few shots of each class, drawn by a hash of the id. See material.h. */
#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "prime/material.h"

typedef struct card {
    int32_t label;
    uint64_t hash;
    int64_t id, row;
} card;

static int card_compare(const void *va, const void *vb)
{
    const card *a = va, *b = vb;
    if (a->label != b->label) return a->label < b->label ? -1 : 1;
    if (a->hash != b->hash) return a->hash < b->hash ? -1 : 1;
    if (a->id != b->id) return a->id < b->id ? -1 : 1;
    return (a->row > b->row) - (a->row < b->row);
}

npr_status npr_draw_make(const npr_deck *deck, int classes, int per_class, uint64_t seed, npr_draw *draw)
{
    size_t n = 0, rows = (size_t)deck->rows;
    *draw = (npr_draw){0};
    card *c = npr_alloc(rows, sizeof *c, "shots");
    draw->number = npr_alloc(rows, sizeof *draw->number, "shots");
    if (!c || !draw->number) {
        free(c);
        npr_draw_free(draw);
        return npr_last();
    }
    for (int64_t i = 0; i < deck->rows; i++) {
        draw->number[i] = -1;
        if (deck->label[i] < 0 || deck->label[i] >= classes) continue;
        uint64_t hash = npr_mix64((uint64_t)deck->id[i] ^ npr_mix64(seed + 1));
        c[n++] = (card){deck->label[i], hash, deck->id[i], i};
    }
    if (n) qsort(c, n, sizeof *c, card_compare);
    int64_t of_class = 0;
    for (size_t i = 0; i < n; i++) {
        of_class = i && c[i].label == c[i - 1].label ? of_class + 1 : 1;
        if (of_class <= per_class) draw->number[c[i].row] = 0;
    }
    for (int64_t i = 0; i < deck->rows; i++)
        if (draw->number[i] == 0) draw->number[i] = (int32_t)draw->rows++;
    free(c);
    return NPR_OK;
}

void npr_draw_free(npr_draw *draw)
{
    free(draw->number);
    *draw = (npr_draw){0};
}
