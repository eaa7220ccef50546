/* topk.h - the inside of npr_topk, and its merge over ranks beside other work. See include/npr/topk.h. Local
 * unless the first argument is a const npr_comm *. */
#ifndef NPR_SEARCH_TOPK_H
#define NPR_SEARCH_TOPK_H

#include "npr/topk.h"

typedef struct npr_hits {
    npr_hit *hit; /* [cap], n in use, unsorted until npr_topk_sort_list() */
    int64_t n;
    size_t cap;
    npr_hit least; /* if full: the k-th best when the list was cut last; nothing behind it gets in */
    int full;
} npr_hits;

struct npr_topk {
    int nq, k;
    npr_hits *list; /* [nq] */
};

/* Room for n more hits of list q, as far as they can stay. */
npr_status npr_topk_reserve(npr_topk *t, int q, int64_t n);

/* npr_topk_sort() of one list. */
void npr_topk_sort_list(npr_topk *t, int q);

/* Bring the floor of one list nearly up to date; amortised O(1) per push. */
void npr_topk_settle(npr_topk *t, int q);

/* The score of the m-th best hit of list q, -INFINITY if it has fewer. Reorders the list. */
double npr_topk_nth(npr_topk *t, int q, int64_t m);

/* Drop the hits of list q that score less. */
void npr_topk_drop_below(npr_topk *t, int q, double score);

/* k better hits are known elsewhere, the last of them `least`: what does not stand before it is dropped and
 * gets in no more. */
void npr_topk_raise(npr_topk *t, int q, const npr_hit *least);

/* Take sorted lists into sorted lists: the k best of both. */
npr_status npr_topk_join(npr_topk *into, const npr_topk *from);

/* Where a merge in a thread of its own is: it calls MPI only between NPR_MERGE_ENTER and NPR_MERGE_LEAVE; in
 * between NPR_MERGE_WAIT is told as often as its messages are not there yet. Outside it sorts, packs and
 * merges. */
typedef enum npr_merge_step { NPR_MERGE_ENTER, NPR_MERGE_WAIT, NPR_MERGE_LEAVE } npr_merge_step;
typedef struct npr_merge_idle {
    void (*call)(void *self, npr_merge_step step);
    void *self;
} npr_merge_idle;

/* npr_topk_allmerge() for a thread beside the scan: it never blocks inside MPI and makes no marks. All ranks
 * or none give an `idle`; NULL: it waits inside MPI. 1: some rank has failed, and lists are not merged; *st
 * is this rank's own status, to be made collective with npr_agree(). Collective. */
int npr_topk_allmerge_beside(const npr_comm *comm, npr_topk *t, const npr_merge_idle *idle, npr_status *st);

#endif
