/* material_mpi.c - see material.h. */
#include "prime/material.h"

#include <stdlib.h>

#include "base/mem.h"

/* ---- ids of rows that are left out --------------------------------------------------------------------- */

typedef struct bytes {
    char *at;
    size_t used, cap;
} bytes;

static npr_status append(bytes *b, const void *from, size_t n)
{
    NPR_TRY(npr_grow(&b->at, &b->cap, b->used + n, 1, "ids"));
    for (size_t i = 0; i < n; i++) b->at[b->used + i] = ((const char *)from)[i];
    b->used += n;
    return NPR_OK;
}

static npr_status id_tile(void *to, npr_rows *r, int64_t row0)
{
    (void)row0;
    return append(to, r->id, (size_t)r->n * sizeof *r->id);
}

static int by_id(const void *va, const void *vb)
{
    int64_t a = *(const int64_t *)va, b = *(const int64_t *)vb;
    return (a > b) - (a < b);
}

npr_status npr_ids_read(const npr_comm *comm, const npr_log *log, const npr_set *set, int64_t tile_rows,
                        npr_ids *ids)
{
    bytes mine = {0};
    char *all = NULL;
    int64_t *offset = NULL;
    npr_walk walk = {.set = set, .what = "ids", .columns = NPR_COL(NPR_ID), .tile_rows = tile_rows};
    npr_status st = npr_walk_set(comm, log, &walk, id_tile, &mine);
    if (!st) st = npr_gather_bytes(comm, mine.at, mine.used, -1, &all, &offset);
    free(mine.at);
    free(offset);
    if (st) return st;
    *ids = (npr_ids){set->rows, (int64_t *)(void *)all};
    qsort(ids->id, (size_t)ids->n, sizeof *ids->id, by_id);
    return NPR_OK;
}

void npr_ids_free(npr_ids *ids)
{
    free(ids->id);
    *ids = (npr_ids){0};
}

/* ---- the deck ------------------------------------------------------------------------------------------ */

typedef struct deck_pass {
    bytes id, label;
} deck_pass;

static npr_status deck_tile(void *to, npr_rows *r, int64_t row0)
{
    deck_pass *p = to;
    (void)row0;
    NPR_TRY(append(&p->id, r->id, (size_t)r->n * sizeof *r->id));
    return append(&p->label, r->label, (size_t)r->n * sizeof *r->label);
}

/* Ranks in order have the rows in order (walk.h). */
npr_status npr_deck_read(const npr_comm *comm, const npr_log *log, const npr_set *set, int64_t tile_rows,
                         npr_deck *deck)
{
    deck_pass p = {0};
    char *id = NULL, *label = NULL;
    int64_t *offset = NULL;
    npr_walk walk = {
        .set = set, .what = "shots", .columns = NPR_COL(NPR_ID) | NPR_COL(NPR_LABEL), .tile_rows = tile_rows};
    npr_status st = npr_walk_set(comm, log, &walk, deck_tile, &p);
    if (!st) st = npr_gather_bytes(comm, p.id.at, p.id.used, -1, &id, &offset);
    free(offset);
    offset = NULL;
    if (!st) st = npr_gather_bytes(comm, p.label.at, p.label.used, -1, &label, &offset);
    free(offset);
    free(p.id.at);
    free(p.label.at);
    *deck = (npr_deck){set->rows, (int64_t *)(void *)id, (int32_t *)(void *)label};
    return st;
}

void npr_deck_free(npr_deck *deck)
{
    free(deck->id);
    free(deck->label);
    *deck = (npr_deck){0};
}

/* ---- the walk ------------------------------------------------------------------------------------------ */

typedef struct pass {
    const npr_material *m;
    int of_pool;
    npr_material_tile each;
    void *to;
    int64_t *number; /* [tile_rows] */
} pass;

int64_t npr_material_rows(const npr_material *m)
{
    int64_t n = m->pool ? m->pool->rows : 0;
    return m->shots ? n + (m->draw ? m->draw->rows : m->shots->rows) : n;
}

static int left_out(const npr_ids *without, int64_t id)
{
    return without && without->n && bsearch(&id, without->id, (size_t)without->n, sizeof id, by_id) != NULL;
}

static npr_status take_tile(void *to, npr_rows *r, int64_t row0)
{
    const pass *p = to;
    int64_t before = p->m->pool ? p->m->pool->rows : 0;
    for (int64_t i = 0; i < r->n; i++) {
        int64_t row = row0 + i;
        p->number[i] = p->of_pool ? row : before + (p->m->draw ? p->m->draw->number[row] : row);
        if (p->of_pool ? left_out(p->m->without, r->id[i]) : p->m->draw && p->m->draw->number[row] < 0)
            p->number[i] = r->label[i] = -1;
    }
    return p->each(p->to, r, p->number);
}

npr_status npr_material_walk(const npr_comm *comm, const npr_log *log, const npr_material *m,
                             const char *what, npr_material_tile each, void *to, npr_seconds *seconds)
{
    pass p = {.m = m, .each = each, .to = to};
    p.number = npr_alloc((size_t)m->tile_rows, sizeof *p.number, what);
    npr_status st = npr_agree(comm, p.number ? NPR_OK : npr_last(), what);
    for (int i = 0; i < 2 && !st; i++) {
        npr_walk walk = {.set = i ? m->shots : m->pool,
                         .what = what,
                         .columns = NPR_COL(NPR_EMB) | NPR_COL(NPR_LABEL) | NPR_COL(NPR_ID) |
                                    (i == 0 && m->counted ? NPR_COL(NPR_RECALLS) : 0),
                         .tile_rows = m->tile_rows};
        p.of_pool = i == 0;
        if (walk.set) st = npr_walk_set(comm, log, &walk, take_tile, &p);
        seconds->read += walk.read;
        seconds->work += walk.work;
    }
    free(p.number);
    return st;
}
