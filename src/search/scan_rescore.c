/* scan_rescore.c - the scanner that scores candidates exactly: the rows that FAISS proposed (scan_faiss.c),
 * each read once for all queries that it was proposed for, filtered and scored by npr_score_dot like in every
 * search. See npr/search.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/score.h"
#include "npr/search.h"
#include "search/filter.h"
#include "search/tiles.h"
#include "search/topk.h"

enum {
    BATCH = NPR_CHUNK_ROWS, /* rows read and scored at a time, at most: while they are still in a cache */
    AHEAD = 4,              /* pairs whose queries are fetched ahead: any of them comes next */
    LINE = 16               /* floats of a cache line */
};

/* A row of a part, proposed for a query. */
typedef struct pair {
    uint32_t row;
    int32_t query;
} pair;

typedef struct rescorer {
    npr_scanner base; /* first: a scanner of ours is one of theirs */
    npr_scan_options o;
    npr_filter *filter;
    npr_score_kernel dot;
    int64_t batch; /* rows */
    int parts;     /* that candidates lie in: none of them is in a later one */
    size_t *first; /* [parts + 1] the pairs of part p: from first[p] on */
    pair *all;     /* part by part, in each by query */
    npr_rows rows; /* candidates' rows as read; made with the first part */
    int8_t *drop;  /* [batch] */
    int32_t *gate; /* [batch] */
    double *floor; /* [queries] of their lists, or below it */
    int64_t *row;  /* [batch] their numbers in the part */
} rescorer;

/* One part. Its pairs stand by row: row r is proposed for query[start[r] .. start[r+1]). */
typedef struct rescoring {
    rescorer *s;
    const npr_set *set;
    int part;
    npr_topk *into;
    npr_tally *tally;
    npr_part *file;
    int64_t n_rows; /* of the part */
    size_t pairs;
    uint32_t *start; /* [rows + 1] */
    int32_t *query;  /* [pairs] */
    double *score;   /* [pairs] in the order of query[]; not set where a filter drops the row */
} rescoring;

/* ---- candidates by part and row ------------------------------------------------------------------- */

static int parts_of(const npr_topk *t)
{
    int parts = 0;
    for (int q = 0; q < npr_topk_queries(t); q++)
        for (int i = 0; i < npr_topk_count(t, q); i++) {
            int part = npr_place_part(npr_topk_list(t, q)[i].place);
            if (part >= parts) parts = part + 1;
        }
    return parts;
}

static npr_status sort_by_part(rescorer *s, const npr_topk *t)
{
    s->parts = parts_of(t);
    s->first = npr_alloc((size_t)s->parts + 2, sizeof *s->first, "candidates by part");
    if (!s->first) return npr_last();
    size_t *end = s->first + 1; /* grows from where a part begins to where it ends */
    for (int q = 0; q < npr_topk_queries(t); q++)
        for (int i = 0; i < npr_topk_count(t, q); i++)
            end[npr_place_part(npr_topk_list(t, q)[i].place) + 1]++;
    for (int p = 0; p < s->parts; p++) end[p + 1] += end[p];
    s->all = npr_alloc_aligned(end[s->parts], sizeof *s->all, "candidates by part");
    if (!s->all) return npr_last();
    for (int q = 0; q < npr_topk_queries(t); q++)
        for (int i = 0; i < npr_topk_count(t, q); i++) {
            int64_t place = npr_topk_list(t, q)[i].place;
            s->all[end[npr_place_part(place)]++] = (pair){(uint32_t)npr_place_row(place), q};
        }
    return NPR_OK;
}

static npr_status sort_by_row(rescoring *c)
{
    const pair *from = c->s->all + c->s->first[c->part];
    size_t n = c->pairs = c->s->first[c->part + 1] - c->s->first[c->part];
    c->n_rows = npr_part_rows(c->file);
    c->start = npr_alloc((size_t)c->n_rows + 1, sizeof *c->start, "candidates by row");
    c->query = npr_alloc_aligned(n, sizeof *c->query, "candidates by row");
    c->score = npr_alloc_aligned(n, sizeof *c->score, "candidates by row");
    if (!c->start || !c->query || !c->score) return npr_last();
    for (size_t i = 0; i < n; i++) {
        c->start[from[i].row]++;
        c->tally->count[(size_t)from[i].query * NPR_TALLY_FIELDS + NPR_TALLY_MATCHED]++;
    }
    uint32_t end = 0;
    for (int64_t r = 0; r <= c->n_rows; r++) c->start[r] = end += c->start[r];
    for (size_t i = n; i-- > 0;) /* backwards, so that start[] ends where rows begin */
        c->query[--c->start[from[i].row]] = from[i].query;
    return NPR_OK;
}

/* ---- their exact scores -------------------------------------------------------------------------- */

/* Why the row at i of the batch is not for this query: a field of the tally, NPR_TALLY_MATCHED if it is. */
static int reason(const rescorer *s, int64_t i, int32_t query)
{
    if (s->drop[i]) return s->drop[i];
    int open = s->gate[i] == NPR_GATE_ANY || s->gate[i] == s->o.queries->label[query];
    return open ? NPR_TALLY_MATCHED : NPR_TALLY_CLIP;
}

static void score_row(rescoring *c, int64_t i)
{
    const rescorer *s = c->s;
    size_t dim = (size_t)s->rows.dim;
    const uint16_t *emb = s->rows.emb + (size_t)i * dim;
    for (uint32_t j = c->start[s->row[i]]; j < c->start[s->row[i] + 1]; j++) {
        if (j + AHEAD < c->pairs) {
            const float *next = s->o.queries->vector + (size_t)c->query[j + AHEAD] * dim;
            for (size_t k = 0; k < dim; k += LINE) __builtin_prefetch(next + k);
        }
        if (reason(s, i, c->query[j])) continue;
        c->score[j] = s->dot(emb, s->o.queries->vector + (size_t)c->query[j] * dim, s->rows.dim);
    }
}

static void score_rows(rescoring *c)
{
#pragma omp parallel for num_threads(c->s->o.threads) schedule(dynamic, 16)
    for (int64_t i = 0; i < c->s->rows.n; i++) score_row(c, i);
}

/* Most candidates are worse than k others: they are known by floors that lie together, so that lists are not
 * sought all over memory. */
static npr_status offer(rescoring *c, int64_t i, uint32_t j)
{
    const rescorer *s = c->s;
    int32_t query = c->query[j];
    int why = reason(s, i, query);
    if (why) {
        c->tally->count[(size_t)query * NPR_TALLY_FIELDS + (size_t)why]++;
        return NPR_OK;
    }
    if (!isfinite(c->score[j]))
        return npr_fail(NPR_EDATA, "%s/%s: row %lld is in the index, but it is not finite", c->set->path,
                        c->set->part[c->part].file, (long long)s->row[i]);
    if (c->score[j] < s->floor[query]) return NPR_OK;
    npr_hit hit = {c->score[j], s->rows.id[i], npr_place(c->part, s->row[i])};
    NPR_TRY(npr_topk_push(c->into, query, hit));
    npr_topk_settle(c->into, query);
    s->floor[query] = npr_topk_floor(c->into, query);
    return NPR_OK;
}

/* All candidates, a batch of rows at a time. */
static npr_status rescore(rescoring *c)
{
    rescorer *s = c->s;
    for (int q = 0; q < s->base.lists; q++) s->floor[q] = npr_topk_floor(c->into, q);
    for (int64_t r = 0;;) {
        int64_t n = 0;
        for (; r < c->n_rows && n < s->batch; r++)
            if (c->start[r] < c->start[r + 1]) s->row[n++] = r;
        if (n == 0) return NPR_OK;
        npr_rows_clear(&s->rows);
        NPR_TRY(npr_part_pick(c->file, s->row, n, &s->rows));
        NPR_TRY(npr_filter_tile(s->filter, &s->rows, s->drop, s->gate));
        score_rows(c);
        c->tally->bytes += npr_rows_bytes(&s->rows);
        for (int64_t i = 0; i < n; i++)
            for (uint32_t j = c->start[s->row[i]]; j < c->start[s->row[i] + 1]; j++) NPR_TRY(offer(c, i, j));
    }
}

/* ---- a part -------------------------------------------------------------------------------------- */

static npr_status scan_part(npr_scanner *self, const npr_set *set, int part, npr_topk *into, npr_tally *tally)
{
    rescorer *s = (rescorer *)self;
    if (part >= s->parts || s->first[part] == s->first[part + 1]) return NPR_OK;
    if (!s->rows.cap) {
        uint32_t columns =
            NPR_COL(NPR_EMB) | NPR_COL(NPR_ID) | (npr_filter_columns(s->filter) & set->columns);
        NPR_TRY(npr_rows_make(&s->rows, columns, set->dim, s->batch));
    }
    rescoring c = {.s = s, .set = set, .part = part, .into = into, .tally = tally};
    npr_status st = npr_part_open(set, part, &c.file);
    if (!st) st = sort_by_row(&c);
    if (!st) st = rescore(&c);
    npr_part_close(c.file);
    free(c.start);
    free(c.query);
    free(c.score);
    return st;
}

static void scanner_free(npr_scanner *self)
{
    rescorer *s = (rescorer *)self;
    npr_filter_free(s->filter);
    npr_rows_free(&s->rows);
    free(s->first);
    free(s->all);
    free(s->drop);
    free(s->gate);
    free(s->row);
    free(s->floor);
    free(s);
}

npr_status npr_scanner_rescore(const npr_scan_options *o, npr_scanner **out)
{
    rescorer *s = npr_alloc(1, sizeof *s, "the scanner of candidates");
    if (!s) return npr_last();
    s->base =
        (npr_scanner){.name = "rescore", .lists = o->queries->nq, .part = scan_part, .free = scanner_free};
    s->o = *o;
    const char *name;
    s->dot = npr_score_kernel_at(0, &name);
    s->batch = o->tile_rows < BATCH ? o->tile_rows : BATCH;
    s->drop = npr_alloc((size_t)s->batch, sizeof *s->drop, "a batch's limits");
    s->gate = npr_alloc((size_t)s->batch, sizeof *s->gate, "a batch's gates");
    s->row = npr_alloc((size_t)s->batch, sizeof *s->row, "a batch's rows");
    s->floor = npr_alloc((size_t)o->queries->nq, sizeof *s->floor, "floors of lists");
    npr_status st = s->drop && s->gate && s->row && s->floor ? NPR_OK : npr_last();
    if (!st) st = npr_filter_make(o, &s->filter);
    if (!st) st = sort_by_part(s, o->candidates);
    if (st) {
        scanner_free(&s->base);
        return st;
    }
    *out = &s->base;
    return NPR_OK;
}
