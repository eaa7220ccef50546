/* topk.h - bounded lists of the best k hits of each query, and their merge.
 *
 * The order is total: score down, then id up, then place up. So the k best of a union are the same however
 * the union was cut: by rank, thread, batch or part. Local unless the first argument is a const npr_comm *. */
#ifndef NPR_TOPK_H
#define NPR_TOPK_H

#include <stddef.h>
#include <stdint.h>

#include "npr/comm.h"
#include "npr/status.h"

typedef struct npr_hit {
    double score;
    int64_t id;    /* the row's id column */
    int64_t place; /* npr_place(part, row): where it lies; unique in a set */
} npr_hit;

static inline int64_t npr_place(int part, int64_t row)
{
    return (int64_t)part << 32 | row;
}
static inline int npr_place_part(int64_t place)
{
    return (int)(place >> 32);
}
static inline int64_t npr_place_row(int64_t place)
{
    return place & 0xffffffff;
}

/* 1 if a stands before b. Scores are never NaN. */
static inline int npr_hit_before(const npr_hit *a, const npr_hit *b)
{
    if (a->score != b->score) return a->score > b->score;
    if (a->id != b->id) return a->id < b->id;
    return a->place < b->place;
}

typedef struct npr_topk npr_topk; /* nq lists of at most k hits */

npr_topk *npr_topk_make(int nq, int k); /* NULL: no memory. Lists grow as they fill: empty lists are small. */
void npr_topk_free(npr_topk *t);
int npr_topk_queries(const npr_topk *t);
int npr_topk_k(const npr_topk *t);

/* Offer a hit to list q; kept if among the k best so far. Amortised O(1). Fails only without memory. */
npr_status npr_topk_push(npr_topk *t, int q, npr_hit hit);

/* A score that a further hit of list q must reach (>=) to have a chance; -inf while the list is not full. It
 * may lag behind the true k-th score; npr_topk_sort() brings it up to date. */
double npr_topk_floor(const npr_topk *t, int q);

/* Cut all lists to their k best, in order. Then read them. */
void npr_topk_sort(npr_topk *t);
int npr_topk_count(const npr_topk *t, int q);           /* hits in list q (<= k after sort) */
const npr_hit *npr_topk_list(const npr_topk *t, int q); /* [count], in order after sort */

/* Offer all hits of `from` (same nq) to `into`. */
npr_status npr_topk_merge(npr_topk *into, const npr_topk *from);

/* The same lists on all ranks: the k best over all ranks' lists, sorted. Each rank sends and receives between
 * once and twice the size of the result, in 2 log2(ranks) messages: once where good hits are spread over
 * ranks. *seconds, if not NULL, gets the time spent here. Collective. */
npr_status npr_topk_allmerge(const npr_comm *comm, npr_topk *t, double *seconds);

#endif
