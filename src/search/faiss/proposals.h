/* proposals.h - the rows that FAISS proposes to queries, by its own scores: bounded lists of the k best of
 * each query, and what becomes of them, rows to be scored by part. Local unless the first argument is a const
 * npr_comm *.
 *
 * The order is total: score down, place up. So the k best are the same however the rows are cut into parts
 * and dealt to ranks. A proposal takes 12 bytes, a list half as many again as it may keep: it takes hits
 * unsorted, then is cut to its k best by selection. Nobody wants them sorted. */
#ifndef NPR_SEARCH_PROPOSALS_H
#define NPR_SEARCH_PROPOSALS_H

#include <math.h>
#include <string.h>

#include "npr/search.h"
#include "npr/topk.h"

/* Of a score, which is not NaN: the larger one has the smaller key. */
static inline uint32_t npr_score_key(float score)
{
    uint32_t bits;
    memcpy(&bits, &score, sizeof bits);
    return bits >> 31 ? bits : ~bits & 0x7fffffff;
}

static inline float npr_score_of_key(uint32_t key)
{
    const uint32_t lowest = 0xff800000; /* of -INFINITY; keys behind it are no scores */
    float score;
    if (key > lowest) key = lowest;
    if (!(key >> 31)) key = ~key & 0x7fffffff;
    memcpy(&score, &key, sizeof score);
    return score;
}

/* One list. Hits stay in the order in which they were pushed: those of the part that came last stand last. */
typedef struct npr_proposed {
    float *score;   /* [cap], n in use */
    int64_t *place; /* [cap] */
    int64_t n, cap;
    float least;  /* if full: what scores less does not get in, */
    int64_t last; /* and of equal scores what lies behind this place */
    int full;
    int tied;  /* hits of the score `tie` were dropped, */
    float tie; /* though others of it stayed; the highest score of which this is true */
} npr_proposed;

struct npr_proposals {
    int nq;
    int64_t k;
    npr_proposed *list; /* [nq] */
    float *scratch;     /* of the selection */
    int64_t *tie;       /* places of equal scores, and their selection */
    size_t cap_scratch, cap_tie;
};

npr_proposals *npr_proposals_make(int nq, int64_t k); /* NULL: no memory. Empty lists are small. */
void npr_proposals_free(npr_proposals *p);            /* NULL is fine */

/* Room for n more hits of list q, as far as they can stay. */
npr_status npr_proposals_reserve(npr_proposals *p, int q, int64_t n);

/* Make room where there is none: the list grows, or is cut. */
npr_status npr_proposals_room(npr_proposals *p, int q);

/* Offer a row to list q, which it does not hold; the score is not NaN. Amortised O(1). Fails only without
 * memory. */
static inline npr_status npr_proposals_push(npr_proposals *p, int q, float score, int64_t place)
{
    npr_proposed *l = &p->list[q];
    if (l->full && !(score > l->least || (score == l->least && place <= l->last))) return NPR_OK;
    if (l->n == l->cap) NPR_TRY(npr_proposals_room(p, q));
    l->score[l->n] = score + 0.0f; /* there is no -0 */
    l->place[l->n++] = place;
    return NPR_OK;
}

/* A score that a further row must reach (>=) to have a chance; -inf while the list is not full. */
static inline float npr_proposals_floor(const npr_proposals *p, int q)
{
    return p->list[q].full ? p->list[q].least : -INFINITY;
}

/* The list has dropped hits of this score though others of it stayed, or is made of hits of one that had. */
static inline void npr_proposed_tie(npr_proposed *l, float tie)
{
    if (!l->tied || l->tie < tie) l->tie = tie;
    l->tied = 1;
}

/* Bring the floor of one list nearly up to date; amortised O(1) per push. */
npr_status npr_proposals_settle(npr_proposals *p, int q);

/* Cut every list to its k best. */
npr_status npr_proposals_cut(npr_proposals *p);

/* The same lists of hits {score, 0, place}; NULL: no memory. */
npr_topk *npr_proposals_hits(const npr_proposals *p);

/* The last hit of a list that all ranks keep. */
typedef struct npr_bound {
    float least; /* -INFINITY, and any place, where there are fewer than k hits */
    int64_t last;
} npr_bound;

/* Drop what stands behind its bound from every list; nothing behind it gets in any more. */
void npr_proposals_raise(npr_proposals *p, const npr_bound *bound);

/* Take hits of this part out of list q. */
void npr_proposals_forget(npr_proposals *p, int q, int part);

/* Of a part that was asked for asked[part] rows of every query (0: for all), may more rows reach the bound of
 * a query of block b? Then set open[part * blocks + b]. Before lists are raised to the bounds. Returns how
 * many are set. */
int64_t npr_proposals_open(const npr_proposals *p, const npr_bound *bound, int parts, const int64_t *asked,
                           int block, char *open);

/* The bounds of the k best of these lists [nq]. A list of k takes its own as its floor. */
npr_status npr_proposals_bounds_here(npr_proposals *p, npr_bound *bound);

/* The bounds of the k best of all ranks' lists [nq]. `roughly`: what is behind by a 2^15th of its score may
 * stay, too, which is found sooner. Collective. */
npr_status npr_proposals_bounds(const npr_comm *comm, npr_proposals *p, int roughly, npr_bound *bound);

/* Each list to the k best of all ranks' lists: every rank keeps those of them that it has. Collective. */
npr_status npr_proposals_cut_all(const npr_comm *comm, npr_proposals *p, int roughly);

/* ---- rows to be scored --------------------------------------------------------------------------------- */

/* A row of a part, proposed for a query. */
typedef struct npr_pair {
    uint32_t row;
    int32_t query;
} npr_pair;

struct npr_chosen {
    int parts;
    int64_t *first; /* [parts + 1] the pairs of part p: from first[p] on */
    npr_pair *pair; /* part by part, in each by query */
};

/* All rows of cut lists, which are emptied on the way. */
npr_status npr_chosen_make(npr_proposals *p, int parts, npr_chosen *out);
void npr_chosen_free(npr_chosen *c); /* and clear it */

enum { NPR_CHOSEN_PIECE = 1 << 20 }; /* pairs of a message: MPI counts its bytes in an int */

/* Give the rows of part p to rank reader[p], which is the same on all ranks; -1: to none. The rows of a part
 * must be on one rank. piece: pairs of a message at most, NPR_CHOSEN_PIECE but for tests. Collective. */
npr_status npr_chosen_deal(const npr_comm *comm, npr_chosen *c, const int *reader, int64_t piece);

#endif
