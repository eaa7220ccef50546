/* topk.c - bounded lists of the best hits. See include/npr/topk.h.
 *
 * A long list takes hits unsorted until it holds half as many again as it may keep, then is cut to its k best
 * by selection: every hit costs a few comparisons, however large k is. A short one is always in order: then
 * its k-th hit is known after every push, and what is worse costs one comparison. Lists of different queries
 * share nothing, so threads may push to different lists at the same time. */
#include "search/topk.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"

enum {
    ORDERED = 64, /* the longest list that is always in order */
    ROOM = 64,    /* least room behind the k-th hit of any other */
    SHORT = 16,   /* hits that are sorted by insertion */
    MOVES = 4     /* a list is as good as sorted if insertion moves a hit so far in the mean */
};

/* Divide hit[from .. to] in two: what stands before some hit or equals it, and what it stands before or
 * equals. The first end at *end, the second begin at *begin; a hit between the two is in its place. */
static void divide(npr_hit *hit, int64_t from, int64_t to, int64_t *end, int64_t *begin)
{
    /* any element will do as pivot; a scattered choice leaves no order of input that is slow */
    npr_hit pivot = hit[from + (int64_t)(npr_mix64((uint64_t)(from ^ to)) % (uint64_t)(to - from + 1))];
    int64_t i = from, j = to;
    while (i <= j) {
        while (npr_hit_before(&hit[i], &pivot)) i++;
        while (npr_hit_before(&pivot, &hit[j])) j--;
        if (i > j) break;
        npr_hit swap = hit[i];
        hit[i++] = hit[j];
        hit[j--] = swap;
    }
    *end = j;
    *begin = i;
}

/* Put the k best of n hits first, in any order, the k-th itself at hit[k - 1]. */
static void select_best(npr_hit *hit, int64_t n, int64_t k)
{
    int64_t from = 0, to = n - 1, at = k - 1, i, j;
    while (from < to) {
        divide(hit, from, to, &j, &i);
        if (at <= j)
            to = j;
        else if (at >= i)
            from = i;
        else
            return; /* between the two halves: equal to the pivot, and in place */
    }
}

/* Sort by insertion, unless that takes more than so many moves. 1: sorted. */
static int insert(npr_hit *hit, int64_t n, int64_t moves)
{
    for (int64_t i = 1; i < n; i++) {
        int64_t j = i;
        npr_hit h = hit[i];
        for (; j > 0 && npr_hit_before(&h, &hit[j - 1]); j--) hit[j] = hit[j - 1];
        hit[j] = h;
        if ((moves -= i - j) < 0) return 0;
    }
    return 1;
}

static void sort_hits(npr_hit *hit, int64_t n)
{
    int64_t i, j;
    while (n > SHORT) {
        divide(hit, 0, n - 1, &j, &i);
        if (j + 1 < n - i) { /* the longer one in this loop: so it never goes deep */
            sort_hits(hit, j + 1);
            hit += i;
            n -= i;
        } else {
            sort_hits(hit + i, n - i);
            n = j + 1;
        }
    }
    insert(hit, n, (int64_t)SHORT * SHORT);
}

/* Cut the list to its k best; the k-th becomes the hit to beat. */
static void cut(npr_hits *l, int64_t k)
{
    if (l->n < k) return;
    select_best(l->hit, l->n, k);
    l->n = k;
    l->least = l->hit[k - 1];
    l->full = 1;
}

static int is_ordered(const npr_topk *t)
{
    return t->k <= ORDERED;
}

/* Put a hit where it stands in a list in order; the last one leaves if there were k. */
static npr_status push_ordered(const npr_topk *t, npr_hits *l, const npr_hit *hit)
{
    if (l->n == t->k && !npr_hit_before(hit, &l->hit[l->n - 1])) return NPR_OK;
    if (l->n < t->k) {
        NPR_TRY(npr_grow(&l->hit, &l->cap, (size_t)l->n + 1, sizeof *l->hit, "a list of hits"));
        l->n++;
    }
    int64_t i = l->n - 1;
    for (; i > 0 && npr_hit_before(hit, &l->hit[i - 1]); i--) l->hit[i] = l->hit[i - 1];
    l->hit[i] = *hit;
    if (l->n < t->k) return NPR_OK;
    l->least = l->hit[l->n - 1];
    l->full = 1;
    return NPR_OK;
}

npr_topk *npr_topk_make(int nq, int k)
{
    assert(nq >= 0 && k >= 1);
    npr_topk *t = npr_alloc(1, sizeof *t, "hit lists");
    if (!t) return NULL;
    t->nq = nq;
    t->k = k;
    t->list = npr_alloc((size_t)nq, sizeof *t->list, "hit lists");
    if (!t->list) {
        free(t);
        return NULL;
    }
    return t;
}

void npr_topk_free(npr_topk *t)
{
    if (!t) return;
    for (int q = 0; q < t->nq; q++) free(t->list[q].hit);
    free(t->list);
    free(t);
}

int npr_topk_queries(const npr_topk *t)
{
    return t->nq;
}

int npr_topk_k(const npr_topk *t)
{
    return t->k;
}

/* Hits that a list holds at most, before it is cut. */
static int64_t most_of(const npr_topk *t)
{
    if (is_ordered(t)) return t->k;
    return t->k + (t->k / 2 > ROOM ? t->k / 2 : ROOM);
}

npr_status npr_topk_reserve(npr_topk *t, int q, int64_t n)
{
    npr_hits *l = &t->list[q];
    int64_t most = most_of(t), want = l->n + n < most ? l->n + n : most;
    return npr_grow(&l->hit, &l->cap, (size_t)want, sizeof *l->hit, "a list of hits");
}

npr_status npr_topk_push(npr_topk *t, int q, npr_hit hit)
{
    npr_hits *l = &t->list[q];
    assert(!isnan(hit.score));
    if (l->full && !npr_hit_before(&hit, &l->least)) return NPR_OK;
    if (is_ordered(t)) return push_ordered(t, l, &hit);
    if (l->n == most_of(t)) cut(l, t->k);
    if (l->full && !npr_hit_before(&hit, &l->least)) return NPR_OK;
    NPR_TRY(npr_grow(&l->hit, &l->cap, (size_t)l->n + 1, sizeof *l->hit, "a list of hits"));
    l->hit[l->n++] = hit;
    return NPR_OK;
}

void npr_topk_settle(npr_topk *t, int q)
{
    npr_hits *l = &t->list[q];
    int64_t more = l->n - t->k;
    if (is_ordered(t)) return;
    if (more >= 0 && (!l->full || more > t->k / 8)) cut(l, t->k);
}

double npr_topk_floor(const npr_topk *t, int q)
{
    const npr_hits *l = &t->list[q];
    return l->full ? l->least.score : -INFINITY;
}

double npr_topk_nth(npr_topk *t, int q, int64_t m)
{
    npr_hits *l = &t->list[q];
    if (m < 1 || l->n < m) return -INFINITY;
    if (!is_ordered(t)) select_best(l->hit, l->n, m);
    return l->hit[m - 1].score;
}

void npr_topk_drop_below(npr_topk *t, int q, double score)
{
    npr_hits *l = &t->list[q];
    int64_t n = 0;
    for (int64_t i = 0; i < l->n; i++)
        if (l->hit[i].score >= score) l->hit[n++] = l->hit[i];
    l->n = n;
}

void npr_topk_raise(npr_topk *t, int q, const npr_hit *least)
{
    npr_hits *l = &t->list[q];
    if (l->full && !npr_hit_before(least, &l->least)) return;
    int64_t n = 0;
    for (int64_t i = 0; i < l->n; i++)
        if (npr_hit_before(&l->hit[i], least)) l->hit[n++] = l->hit[i];
    l->n = n;
    l->least = *least;
    l->full = 1;
}

void npr_topk_sort_list(npr_topk *t, int q)
{
    npr_hits *l = &t->list[q];
    if (is_ordered(t)) return;
    cut(l, t->k);
    /* what FAISS finds in one part is sorted but for equal scores */
    if (!insert(l->hit, l->n, MOVES * l->n)) sort_hits(l->hit, l->n);
}

void npr_topk_sort(npr_topk *t)
{
    for (int q = 0; q < t->nq; q++) npr_topk_sort_list(t, q);
}

int npr_topk_count(const npr_topk *t, int q)
{
    return (int)t->list[q].n;
}

const npr_hit *npr_topk_list(const npr_topk *t, int q)
{
    return t->list[q].hit;
}

npr_status npr_topk_merge(npr_topk *into, const npr_topk *from)
{
    assert(into->nq == from->nq);
    for (int q = 0; q < from->nq; q++)
        for (int64_t i = 0; i < from->list[q].n; i++) NPR_TRY(npr_topk_push(into, q, from->list[q].hit[i]));
    return NPR_OK;
}
