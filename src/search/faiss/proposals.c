/* proposals.c - see proposals.h. */
#include "search/faiss/proposals.h"

#include <stdlib.h>

#include "base/mem.h"
#include "search/select.h"

enum {
    ROOM = 64,  /* least room behind the k-th hit; */
    LEAST = 16, /* of a list that is not empty */
    RUNS = 256
};

static const char WHAT[] = "lists of candidates";

npr_proposals *npr_proposals_make(int nq, int64_t k)
{
    npr_proposals *p = npr_alloc(1, sizeof *p, WHAT);
    if (!p) return NULL;
    *p = (npr_proposals){.nq = nq, .k = k, .list = npr_alloc((size_t)nq, sizeof *p->list, WHAT)};
    if (p->list) return p;
    free(p);
    return NULL;
}

static void empty(npr_proposed *l)
{
    free(l->score);
    free(l->place);
    *l = (npr_proposed){0};
}

void npr_proposals_free(npr_proposals *p)
{
    if (!p) return;
    for (int q = 0; q < p->nq; q++) empty(&p->list[q]);
    free(p->list);
    free(p->scratch);
    free(p->tie);
    free(p);
}

/* Hits that a list holds at most, before it is cut. */
static int64_t most_of(const npr_proposals *p)
{
    return p->k + (p->k / 2 > ROOM ? p->k / 2 : ROOM);
}

static npr_status grow(npr_proposed *l, int64_t cap)
{
    float *score = realloc(l->score, (size_t)cap * sizeof *score);
    if (score) l->score = score;
    int64_t *place = realloc(l->place, (size_t)cap * sizeof *place);
    if (place) l->place = place;
    if (!score || !place || npr_fault("alloc"))
        return npr_fail(NPR_EINTERNAL, "out of memory: a list of %lld candidates", (long long)cap);
    l->cap = cap;
    return NPR_OK;
}

npr_status npr_proposals_reserve(npr_proposals *p, int q, int64_t n)
{
    npr_proposed *l = &p->list[q];
    int64_t most = most_of(p), want = l->n + n < most ? l->n + n : most;
    return want > l->cap ? grow(l, want) : NPR_OK;
}

/* Keep what scores more than `least`, or as much and lies at `last` or before. */
static void keep(npr_proposed *l, float least, int64_t last)
{
    int64_t n = 0;
    for (int64_t i = 0; i < l->n; i++) {
        float score = l->score[i];
        int64_t place = l->place[i];
        l->score[n] = score;
        l->place[n] = place;
        n += (score > least) | ((score == least) & (place <= last));
    }
    l->n = n;
    l->least = least;
    l->last = last;
    l->full = 1;
}

/* The n-th smallest of the places of so many ties, whose score is this. */
static npr_status nth_tie(npr_proposals *p, const npr_proposed *l, float score, size_t ties, size_t n,
                          int64_t *place)
{
    NPR_TRY(npr_grow(&p->tie, &p->cap_tie, 5 * ties, sizeof *p->tie, WHAT));
    int64_t *scratch = p->tie + ties, *to = p->tie;
    for (int64_t i = 0; i < l->n; i++)
        if (l->score[i] == score) *to++ = l->place[i];
    *place = npr_select_least(p->tie, ties, n, scratch);
    return NPR_OK;
}

/* Neighbours in a list of which none scores more than the one before it: what FAISS has said of one part. */
typedef struct run {
    int64_t from, to; /* the wanted score's place is among these */
    int64_t begin, middle;
} run;

/* 0: they are too many. */
static int find_runs(const npr_proposed *l, run *r)
{
    int n = 0;
    for (int64_t i = 1, begin = 0; i <= l->n; i++) {
        if (i < l->n && !(l->score[i] > l->score[i - 1])) continue;
        if (n == RUNS) return 0;
        r[n++] = (run){begin, i, begin, 0};
        begin = i;
    }
    return n;
}

/* How many hits of the runs score so much or more; each run's share ends at its middle. */
static int64_t reach(const npr_proposed *l, run *r, int runs, float score)
{
    int64_t n = 0;
    for (int i = 0; i < runs; i++) {
        int64_t from = r[i].from, to = r[i].to;
        while (from < to) {
            int64_t middle = from + (to - from) / 2;
            if (l->score[middle] >= score)
                from = middle + 1;
            else
                to = middle;
        }
        r[i].middle = from;
        n += from - r[i].begin;
    }
    return n;
}

/* The k-th score of sorted runs, by halving the keys of scores. */
static float kth_of_runs(const npr_proposed *l, run *r, int runs, int64_t k)
{
    uint32_t low = UINT32_MAX, high = 0;
    for (int i = 0; i < runs; i++) {
        uint32_t first = npr_score_key(l->score[r[i].from]), last = npr_score_key(l->score[r[i].to - 1]);
        low = first < low ? first : low;
        high = last > high ? last : high;
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int enough = reach(l, r, runs, npr_score_of_key(middle)) >= k;
        for (int i = 0; i < runs; i++) *(enough ? &r[i].to : &r[i].from) = r[i].middle;
        *(enough ? &high : &low) = enough ? middle : middle + 1;
    }
    return npr_score_of_key(low);
}

/* The score of the k-th best hit. */
static npr_status kth_score(npr_proposals *p, const npr_proposed *l, float *score)
{
    run r[RUNS];
    int runs = find_runs(l, r);
    if (runs) {
        *score = kth_of_runs(l, r, runs, p->k);
        return NPR_OK;
    }
    size_t n = (size_t)l->n;
    NPR_TRY(npr_grow(&p->scratch, &p->cap_scratch, 4 * n, sizeof *p->scratch, WHAT));
    *score = npr_select_largest(l->score, n, (size_t)p->k, p->scratch);
    return NPR_OK;
}

/* The k-th hit. *tied: hits behind it score as much. */
static npr_status find_bound(npr_proposals *p, const npr_proposed *l, npr_bound *bound, int *tied)
{
    int64_t above = 0, reaching = 0;
    NPR_TRY(kth_score(p, l, &bound->least));
    for (int64_t i = 0; i < l->n; i++) {
        above += l->score[i] > bound->least;
        reaching += l->score[i] >= bound->least;
    }
    *tied = reaching > p->k;
    return nth_tie(p, l, bound->least, (size_t)(reaching - above), (size_t)(p->k - above), &bound->last);
}

/* To the k best; the k-th becomes the hit to beat. */
static npr_status cut(npr_proposals *p, npr_proposed *l)
{
    if (l->n < p->k) return NPR_OK;
    npr_bound bound;
    int tied;
    NPR_TRY(find_bound(p, l, &bound, &tied));
    if (tied) npr_proposed_tie(l, bound.least);
    keep(l, bound.least, bound.last);
    return NPR_OK;
}

/* The same, but that hits which score as much as the k-th stay while there is room. */
static npr_status cut_loosely(npr_proposals *p, npr_proposed *l)
{
    if (l->n < p->k) return NPR_OK;
    float least;
    NPR_TRY(kth_score(p, l, &least));
    keep(l, least, INT64_MAX);
    return l->n - p->k > (most_of(p) - p->k) / 2 ? cut(p, l) : NPR_OK;
}

npr_status npr_proposals_room(npr_proposals *p, int q)
{
    npr_proposed *l = &p->list[q];
    int64_t most = most_of(p), want = l->cap + l->cap / 2 + LEAST;
    if (l->cap == most) return cut_loosely(p, l);
    return grow(l, want < most ? want : most);
}

npr_status npr_proposals_settle(npr_proposals *p, int q)
{
    npr_proposed *l = &p->list[q];
    int64_t more = l->n - p->k;
    return more >= 0 && (!l->full || more > p->k / 8) ? cut_loosely(p, l) : NPR_OK;
}

npr_status npr_proposals_cut(npr_proposals *p)
{
    for (int q = 0; q < p->nq; q++) NPR_TRY(cut(p, &p->list[q]));
    return NPR_OK;
}

void npr_proposals_raise(npr_proposals *p, const npr_bound *bound)
{
    for (int q = 0; q < p->nq; q++) {
        npr_proposed *l = &p->list[q];
        int known = l->full && l->least == bound[q].least && l->last == bound[q].last;
        if (!known && (bound[q].least > -INFINITY || bound[q].last < INT64_MAX))
            keep(l, bound[q].least, bound[q].last);
    }
}

void npr_proposals_forget(npr_proposals *p, int q, int part)
{
    npr_proposed *l = &p->list[q];
    int64_t n = 0;
    for (int64_t i = 0; i < l->n; i++) {
        if (npr_place_part(l->place[i]) == part) continue;
        l->score[n] = l->score[i];
        l->place[n++] = l->place[i];
    }
    l->n = n;
}

/* Parts stand in a list one after the other. */
static void open_parts(const npr_proposed *l, const npr_bound *bound, const int64_t *asked, size_t blocks,
                       char *open)
{
    for (int64_t i = 0, end; i < l->n; i = end) {
        int part = npr_place_part(l->place[i]);
        int64_t reach = 0;
        for (end = i; end < l->n && npr_place_part(l->place[end]) == part; end++)
            reach += l->score[end] >= bound->least;
        if (asked[part] && reach >= asked[part]) open[(size_t)part * blocks] = 1;
    }
}

int64_t npr_proposals_open(const npr_proposals *p, const npr_bound *bound, int parts, const int64_t *asked,
                           int block, char *open)
{
    size_t blocks = (size_t)((p->nq + block - 1) / block);
    int64_t n = 0;
    memset(open, 0, (size_t)parts * blocks);
    for (int q = 0; q < p->nq; q++) {
        const npr_proposed *l = &p->list[q];
        open_parts(l, &bound[q], asked, blocks, open + q / block);
        if (!l->tied || l->tie < bound[q].least)
            continue; /* else hits are missing by which a part is judged */
        for (int part = 0; part < parts; part++)
            if (asked[part]) open[(size_t)part * blocks + (size_t)(q / block)] = 1;
    }
    for (size_t i = 0; i < (size_t)parts * blocks; i++) n += open[i];
    return n;
}

/* The last hit of a list of k. Nothing of it lies behind, so it is the hit to beat; not where FAISS says NaN. */
static npr_bound last_of(npr_proposed *l)
{
    float least = INFINITY;
    int64_t last = 0;
    for (int64_t i = 0; i < l->n; i++) least = l->score[i] < least ? l->score[i] : least;
    for (int64_t i = 0; i < l->n; i++) last = l->score[i] == least && l->place[i] > last ? l->place[i] : last;
    if (least == -INFINITY) return (npr_bound){-INFINITY, INT64_MAX};
    l->least = least;
    l->last = last;
    l->full = 1;
    return (npr_bound){least, last};
}

npr_status npr_proposals_bounds_here(npr_proposals *p, npr_bound *bound)
{
    for (int q = 0; q < p->nq; q++) {
        npr_proposed *l = &p->list[q];
        int tied;
        bound[q] = l->n == p->k ? last_of(l) : (npr_bound){-INFINITY, INT64_MAX};
        if (l->n > p->k) NPR_TRY(find_bound(p, l, &bound[q], &tied));
    }
    return NPR_OK;
}

npr_topk *npr_proposals_hits(const npr_proposals *p)
{
    npr_topk *t = npr_topk_make(p->nq, (int)p->k);
    npr_status st = t ? NPR_OK : npr_last();
    for (int q = 0; q < p->nq && !st; q++) {
        const npr_proposed *l = &p->list[q];
        for (int64_t i = 0; i < l->n && !st; i++)
            st = npr_topk_push(t, q, (npr_hit){.score = l->score[i], .place = l->place[i]});
    }
    if (!st) return t;
    npr_topk_free(t);
    return NULL;
}

/* ---- rows to be scored --------------------------------------------------------------------------------- */

npr_status npr_chosen_make(npr_proposals *p, int parts, npr_chosen *out)
{
    *out = (npr_chosen){.parts = parts};
    out->first = npr_alloc((size_t)parts + 2, sizeof *out->first, WHAT);
    if (!out->first) return npr_last();
    int64_t *end = out->first + 1; /* grows from where a part begins to where it ends */
    for (int q = 0; q < p->nq; q++)
        for (int64_t i = 0; i < p->list[q].n; i++) end[npr_place_part(p->list[q].place[i]) + 1]++;
    for (int part = 0; part < parts; part++) end[part + 1] += end[part];
    out->pair = npr_alloc_aligned((size_t)end[parts], sizeof *out->pair, WHAT);
    if (!out->pair) return npr_last();
    for (int q = 0; q < p->nq; q++) {
        npr_proposed *l = &p->list[q];
        for (int64_t i = 0; i < l->n; i++)
            out->pair[end[npr_place_part(l->place[i])]++] =
                (npr_pair){(uint32_t)npr_place_row(l->place[i]), q};
        empty(l);
    }
    return NPR_OK;
}

void npr_chosen_free(npr_chosen *c)
{
    free(c->first);
    free(c->pair);
    *c = (npr_chosen){0};
}
