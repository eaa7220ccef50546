/* exact.c - exact search of rows in memory. See npr/search.h and screen.h.
 *
 * Threads take blocks of rows in turn, screen them against all queries, and keep candidates of their own.
 * When the rows or a thread's room for candidates are at an end, queries are dealt to threads instead, and
 * their candidates scored exactly. The order in which anything happens does not matter, since the lists keep
 * the k best in a total order. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "search/exact/screen.h"

struct npr_exact {
    npr_packed *p;
    int threads;
    npr_sieve *sieve; /* [threads] */
    /* queries by label, for rows that only one label may have */
    const int32_t *label; /* [nq] the caller's */
    int *by_label;        /* [nq] numbers of queries, ascending by label */
};

/* A tile being scanned. */
typedef struct scan {
    npr_exact *e;
    const npr_tile *tile;
    npr_topk *into;
    int64_t next; /* first row not yet taken by a thread */
    int failed;
} scan;

const npr_screen *npr_screen_at(int i)
{
    static const npr_screen *all[] = {
#if defined(__x86_64__)
        &npr_screen_block_amx,
        &npr_screen_few_avx512,
        &npr_screen_block_bf16,
        &npr_screen_block_f32,
        &npr_screen_few_avx2,
        &npr_screen_few_bytes,
        &npr_screen_block_bytes,
        &npr_screen_block_avx2,
#endif
        &npr_screen_gemm,
        NULL
    };
    return all[i];
}

const npr_screen *npr_screen_choose(int nq)
{
    int i = 0;
    for (const npr_screen *s; s = npr_screen_at(i), nq < s->least || nq > s->most || !s->usable();) i++;
    return npr_screen_at(i); /* the last takes any number, anywhere */
}

npr_status npr_screen_named(const char *name, const npr_screen **out)
{
    char known[256] = "";
    for (int i = 0; (*out = npr_screen_at(i)); i++) {
        if (!strcmp((*out)->name, name)) break;
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "", (*out)->name);
    }
    if (!*out) return npr_fail(NPR_EUSAGE, "there is no screen \"%s\"; there are %s", name, known);
    return (*out)->usable() ? NPR_OK : npr_fail(NPR_EENV, "this CPU cannot run the screen %s", name);
}

/* ---- making ------------------------------------------------------------------------------------------- */

static int compare_labels(const void *a, const void *b, void *label)
{
    int x = *(const int *)a, y = *(const int *)b;
    const int32_t *l = label;
    if (l[x] != l[y]) return l[x] < l[y] ? -1 : 1;
    return x < y ? -1 : x > y;
}

npr_status npr_exact_make_with(const npr_screen *screen, const npr_queries *q, int k, int threads,
                               npr_exact **out)
{
    if (q->dim < 1 || q->dim > 1 << 16 || k < 1)
        return npr_fail(NPR_EUSAGE, "exact search takes 1 to 65536 columns and k >= 1, not %d and %d", q->dim,
                        k);
    npr_exact *e = npr_alloc(1, sizeof *e, "exact search");
    if (!e) return npr_last();
    *e = (npr_exact){.threads = threads, .label = q->label};
    npr_status st = npr_packed_make(screen, q, &e->p);
    e->sieve = npr_alloc((size_t)threads, sizeof *e->sieve, "exact search");
    e->by_label = npr_alloc((size_t)q->nq, sizeof *e->by_label, "exact search");
    if (!e->sieve || !e->by_label) st = npr_last();
    for (int t = 0; !st && t < threads; t++) st = npr_sieve_make(e->p, k, &e->sieve[t]);
    if (st) {
        npr_exact_free(e);
        return st;
    }
    for (int j = 0; j < q->nq; j++) e->by_label[j] = j;
    if (q->label) qsort_r(e->by_label, (size_t)q->nq, sizeof *e->by_label, compare_labels, q->label);
    *out = e;
    return NPR_OK;
}

npr_status npr_exact_make(const npr_queries *q, int k, int threads, npr_exact **out)
{
    return npr_exact_make_with(npr_screen_choose(q->nq), q, k, threads, out);
}

void npr_exact_free(npr_exact *e)
{
    if (!e) return;
    for (int t = 0; e->sieve && t < e->threads; t++) npr_sieve_free(&e->sieve[t]);
    free(e->sieve);
    free(e->by_label);
    npr_packed_free(e->p);
    free(e);
}

/* ---- scanning ----------------------------------------------------------------------------------------- */

/* First of by_label[] whose label is not below. */
static int first_of_label(const npr_exact *e, int32_t label)
{
    int from = 0, to = e->p->nq;
    while (from < to) {
        int middle = from + (to - from) / 2;
        if (e->label[e->by_label[middle]] < label)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

/* A row that only the queries of one label may have is scored with those directly: they are few. */
static void offer_gated(const scan *s, npr_sieve *v, uint32_t row, int32_t label)
{
    const npr_packed *p = s->e->p;
    for (int i = first_of_label(s->e, label); i < p->nq; i++) {
        int q = s->e->by_label[i];
        if (s->e->label[q] != label) return;
        npr_sieve_offer_exact(v, q, s->tile->emb, row);
    }
}

/* Rows from..to-1: those open to all queries are collected for the screen. */
static void collect(const scan *s, npr_sieve *v, int64_t from, int64_t to)
{
    const int32_t *gate = s->tile->gate;
    for (int64_t i = from; i < to; i++) {
        if (!gate || gate[i] == NPR_GATE_ANY)
            v->open[v->opened++] = (uint32_t)i;
        else if (gate[i] >= 0)
            offer_gated(s, v, (uint32_t)i, gate[i]);
    }
}

/* Screen a block of the rows collected, and move up the others. */
static void screen_block(const scan *s, npr_sieve *v)
{
    const npr_packed *p = v->p;
    int n = v->opened < p->block_rows ? v->opened : p->block_rows, ahead = v->opened - n;
    p->screen->scan(p, v, s->tile->emb, v->open, n, ahead);
    memmove(v->open, v->open + n, (size_t)ahead * sizeof *v->open);
    v->opened = ahead;
}

/* One thread: blocks of rows until there are no more, or too many candidates. Rows are collected one block
 * ahead, so that the screen can fetch the next ones while it computes; and until a block is full, however
 * many rows are closed to it. */
static void scan_rows(scan *s, npr_sieve *v)
{
    int block = v->p->block_rows;
    while (!v->st && v->held < NPR_SIEVE_HELD) {
        int64_t from;
#pragma omp atomic capture
        {
            from = s->next;
            s->next += block;
        }
        if (from >= s->tile->n) break;
        collect(s, v, from, from + block < s->tile->n ? from + block : s->tile->n);
        if (v->opened >= 2 * block) screen_block(s, v);
    }
    while (v->opened) screen_block(s, v);
}

/* Scan until a thread's room is used up, then score what was found. */
static void scan_and_rescore(scan *s)
{
    npr_exact *e = s->e;
#pragma omp parallel num_threads(e->threads)
    {
        npr_sieve *own = &e->sieve[omp_get_thread_num()];
        scan_rows(s, own);
#pragma omp barrier
#pragma omp for schedule(dynamic, 4)
        for (int q = 0; q < e->p->nq; q++)
            if (!own->st) own->st = npr_rescore(e->sieve, e->threads, own, s->tile, q, s->into);
        npr_sieve_clear(own);
        if (own->st) {
#pragma omp atomic write
            s->failed = 1;
        }
        own->st = NPR_OK;
    }
}

npr_status npr_exact_tile(npr_exact *e, const npr_tile *tile, npr_topk *into)
{
    const npr_packed *p = e->p;
    scan s = {.e = e, .tile = tile, .into = into};
    if (tile->n > UINT32_MAX || npr_topk_queries(into) != p->nq || npr_topk_k(into) != e->sieve->k)
        return npr_fail(NPR_EINTERNAL, "exact search made for %d lists of %d hits got %d lists of %d", p->nq,
                        e->sieve->k, npr_topk_queries(into), npr_topk_k(into));
    if (p->nq == 0) return NPR_OK;
    for (int t = 0; t < e->threads; t++)
        for (int q = 0; q < p->nq; q++)
            e->sieve[t].least[q] = npr_float_below(ldexp(npr_topk_floor(into, q), p->shift[q]));
    while (s.next < tile->n && !s.failed) scan_and_rescore(&s);
    return s.failed ? npr_fail(NPR_EINTERNAL, "out of memory for the candidates of %d queries", p->nq)
                    : NPR_OK;
}
