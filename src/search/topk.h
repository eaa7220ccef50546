/* topk.h - the inside of npr_topk, for its merge over ranks. See include/npr/topk.h. Local. */
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

/* npr_topk_sort() of one list. */
void npr_topk_sort_list(npr_topk *t, int q);

/* Bring the floor of one list nearly up to date; amortised O(1) per push. */
void npr_topk_settle(npr_topk *t, int q);

#endif
