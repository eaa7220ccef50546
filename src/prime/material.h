/* material.h - what a head is learnt from: the rows of a pool, labelled shots, or both, walked by all ranks
 * together as one list. */
#ifndef NPR_PRIME_MATERIAL_H
#define NPR_PRIME_MATERIAL_H

#include "prime/walk.h"

/* Ids in ascending order, the same on all ranks. */
typedef struct npr_ids {
    int64_t n, *id;
} npr_ids;

/* The ids of a set. Collective. */
npr_status npr_ids_read(const npr_comm *comm, const npr_log *log, const npr_set *set, int64_t tile_rows,
                        npr_ids *ids);
void npr_ids_free(npr_ids *ids);

/* Shots drawn from a set of labelled rows, the same on all ranks. */
typedef struct npr_draw {
    int64_t rows;    /* drawn */
    int32_t *number; /* [rows of the set] the number of a row among those drawn, -1 = not drawn */
} npr_draw;

/* What a draw is made from: id and label of each row of a set, in row order, on all ranks. */
typedef struct npr_deck {
    int64_t rows, *id;
    int32_t *label;
} npr_deck;

npr_status npr_deck_read(const npr_comm *comm, const npr_log *log, const npr_set *set, int64_t tile_rows,
                         npr_deck *deck);
void npr_deck_free(npr_deck *deck);

/* Of each class the `per_class` rows whose ids have the smallest hashes for this seed, or all where there are
 * fewer: so three shots are among the five of the same seed. Local. */
npr_status npr_draw_make(const npr_deck *deck, int classes, int per_class, uint64_t seed, npr_draw *draw);
void npr_draw_free(npr_draw *draw);

/* The list: rows of the pool, then shots. A row without a label, or left out, has the label -1. */
typedef struct npr_material {
    const npr_set *pool, *shots; /* NULL: none */
    const npr_draw *draw;        /* NULL: all shots */
    const npr_ids *without;      /* ids of pool rows that are left out; NULL: none */
    int counted;                 /* 1: pool rows come with their counts (rows->recalls), else once each */
    int64_t tile_rows;
} npr_material;

/* Numbers of the list: the longest a row can have is npr_material_rows() - 1. Local. */
int64_t npr_material_rows(const npr_material *m);

/* rows: emb, label, and counts of pool rows if wanted; row i is number[i] of the list (-1: label is -1, too).
 */
typedef npr_status (*npr_material_tile)(void *to, const npr_rows *rows, const int64_t *number);

typedef struct npr_seconds {
    double read, work;
} npr_seconds;

npr_status npr_material_walk(const npr_comm *comm, const npr_log *log, const npr_material *m,
                             const char *what, npr_material_tile each, void *to, npr_seconds *seconds);

#endif
