/* scan_rescore.c - the scanner that scores candidates exactly: the rows that FAISS proposed (scan_faiss.c),
 * each read once for all queries that it was proposed for, filtered and scored by npr_score_dot like in every
 * search. See npr/search.h.
 *
 * Rows are scored in their order in the part, where their chunk was read; lists are filled query by query. So
 * rows, queries and lists come into the caches once, and only scores lie between the two. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/score.h"
#include "npr/search.h"
#include "search/filter.h"
#include "search/faiss/proposals.h"
#include "search/select.h"
#include "search/tiles.h"
#include "search/topk.h"

enum {
    BATCH = NPR_CHUNK_ROWS, /* rows read and scored at a time, at most: while they are still in a cache */
    AHEAD = 4,              /* pairs whose queries are fetched ahead: any of them comes next */
    FAR = 64,               /* pairs whose rows and scores are */
    LINE = 16               /* floats of a cache line */
};

typedef struct rescorer {
    npr_scanner base; /* first: a scanner of ours is one of theirs */
    npr_scan_options o;
    npr_filter *filter;
    npr_score_kernel dot;
    int64_t batch; /* rows */
    npr_rows rows; /* candidates' rows: what filters want, and ids; made with the first part */
    int8_t *drop;  /* [batch] */
    int32_t *gate; /* [batch] */
    int64_t *row;  /* [batch] their numbers in the part */
    double *score; /* of a query's pairs; behind them room to select among them */
    size_t cap_score;
} rescorer;

/* One part. Its pairs stand by query, and once more by row: row r is proposed for query[start[r] ..
 * start[r+1]). */
typedef struct rescoring {
    rescorer *s;
    const npr_set *set;
    int part;
    npr_topk *into;
    npr_tally *tally;
    npr_part *file;
    int64_t n_rows;       /* of the part */
    const npr_pair *pair; /* [pairs] by query */
    size_t pairs;
    uint32_t *start;       /* [rows + 1] */
    int32_t *query;        /* [pairs] by row */
    double *score;         /* [pairs] by row; -INFINITY: a filter drops the row, NAN: it has no score */
    uint32_t *at;          /* [pairs] by query: where it stands by row */
    int64_t *id;           /* [rows] of those that are proposed */
    const uint16_t *chunk; /* [NPR_CHUNK_ROWS][dim] the one in which the batch's rows lie */
} rescoring;

/* ---- candidates by row ----------------------------------------------------------------------------- */

static npr_status make_room(rescoring *c)
{
    c->n_rows = npr_part_rows(c->file);
    c->start = npr_alloc((size_t)c->n_rows + 1, sizeof *c->start, "candidates by row");
    c->id = npr_alloc_aligned((size_t)c->n_rows, sizeof *c->id, "ids of candidates");
    c->query = npr_alloc_aligned(c->pairs, sizeof *c->query, "candidates by row");
    c->at = npr_alloc_aligned(c->pairs, sizeof *c->at, "candidates by row");
    c->score = npr_alloc_aligned(c->pairs, sizeof *c->score, "candidates by row");
    return c->start && c->id && c->query && c->at && c->score ? NPR_OK : npr_last();
}

/* Rows come in any order: those of the next pairs are on their way. */
static void fetch_row(const rescoring *c, size_t i)
{
    if (i < c->pairs) __builtin_prefetch(&c->start[c->pair[i].row], 1);
}

static npr_status sort_by_row(rescoring *c)
{
    const npr_chosen *chosen = c->s->o.candidates;
    c->pair = chosen->pair + chosen->first[c->part];
    c->pairs = (size_t)(chosen->first[c->part + 1] - chosen->first[c->part]);
    if (c->pairs > UINT32_MAX)
        return npr_fail(NPR_EINTERNAL, "%s/%s: %zu candidates are too many", c->set->path,
                        c->set->part[c->part].file, c->pairs);
    NPR_TRY(make_room(c));
    for (size_t i = 0; i < c->pairs; i++) {
        fetch_row(c, i + FAR);
        c->start[c->pair[i].row]++;
        c->tally->count[(size_t)c->pair[i].query * NPR_TALLY_FIELDS + NPR_TALLY_MATCHED]++;
    }
    uint32_t end = 0;
    for (int64_t r = 0; r <= c->n_rows; r++) c->start[r] = end += c->start[r];
    for (size_t i = c->pairs; i-- > 0;) { /* backwards, so that start[] ends where rows begin */
        fetch_row(c, i - FAR);
        c->at[i] = --c->start[c->pair[i].row];
        c->query[c->at[i]] = c->pair[i].query;
    }
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

/* Does a filter want embeddings? Then they are copied with the rest of the rows, which may be of many chunks;
 * else they are scored in the chunk of which all rows of a batch are. */
static int are_copied(const rescorer *s)
{
    return (s->rows.columns & NPR_COL(NPR_EMB)) != 0;
}

static const uint16_t *vector_of(const rescoring *c, int64_t i)
{
    const rescorer *s = c->s;
    size_t dim = (size_t)s->rows.dim;
    return are_copied(s) ? s->rows.emb + (size_t)i * dim
                         : c->chunk + (size_t)(s->row[i] % NPR_CHUNK_ROWS) * dim;
}

static void score_row(const rescoring *c, int64_t i)
{
    const rescorer *s = c->s;
    size_t dim = (size_t)s->rows.dim;
    const uint16_t *emb = vector_of(c, i);
    for (uint32_t j = c->start[s->row[i]]; j < c->start[s->row[i] + 1]; j++) {
        if (j + AHEAD < c->pairs) {
            const float *next = s->o.queries->vector + (size_t)c->query[j + AHEAD] * dim;
            for (size_t k = 0; k < dim; k += LINE) __builtin_prefetch(next + k);
        }
        double score = -INFINITY;
        if (reason(s, i, c->query[j]) == NPR_TALLY_MATCHED) {
            score = s->dot(emb, s->o.queries->vector + (size_t)c->query[j] * dim, s->rows.dim);
            if (!isfinite(score)) score = NAN;
        }
        c->score[j] = score;
    }
}

static void score_rows(const rescoring *c)
{
    /* rows of one chunk may be few */
#pragma omp parallel for num_threads(c->s->o.threads) schedule(dynamic, 1)
    for (int64_t i = 0; i < c->s->rows.n; i++) score_row(c, i);
}

/* Rows that a filter drops, query by query. */
static void count_dropped(const rescoring *c)
{
    const rescorer *s = c->s;
    for (int64_t i = 0; i < s->rows.n; i++) {
        if (!s->drop[i] && s->gate[i] == NPR_GATE_ANY) continue;
        for (uint32_t j = c->start[s->row[i]]; j < c->start[s->row[i] + 1]; j++) {
            int why = reason(s, i, c->query[j]);
            if (why != NPR_TALLY_MATCHED)
                c->tally->count[(size_t)c->query[j] * NPR_TALLY_FIELDS + (size_t)why]++;
        }
    }
}

/* The next rows that are proposed, from row *r on, and how many. */
static int64_t choose_rows(const rescoring *c, int64_t *r)
{
    const rescorer *s = c->s;
    int64_t n = 0, end = c->n_rows;
    for (; *r < end && n < s->batch; ++*r) {
        if (c->start[*r] == c->start[*r + 1]) continue;
        int64_t chunk_end = (*r / NPR_CHUNK_ROWS + 1) * NPR_CHUNK_ROWS;
        if (!are_copied(s) && chunk_end < end) end = chunk_end;
        s->row[n++] = *r;
    }
    return n;
}

static npr_status read_rows(rescoring *c, int64_t n)
{
    rescorer *s = c->s;
    double start = npr_now();
    npr_rows_clear(&s->rows);
    NPR_TRY(npr_part_pick(c->file, s->row, n, &s->rows));
    if (!are_copied(s)) NPR_TRY(npr_part_view(c->file, s->row[0] / NPR_CHUNK_ROWS, &c->chunk));
    double took = npr_now() - start;
    s->base.waited += took, s->base.reading += took;
    c->tally->bytes += npr_rows_bytes(&s->rows);
    if (!are_copied(s)) c->tally->bytes += n * s->rows.dim * (int64_t)sizeof *c->chunk;
    return NPR_OK;
}

/* The scores of all candidates, a batch of rows at a time. */
static npr_status score_all(rescoring *c)
{
    rescorer *s = c->s;
    for (int64_t r = 0, n; (n = choose_rows(c, &r));) {
        NPR_TRY(npr_part_stop(c->set, c->part));
        NPR_TRY(read_rows(c, n));
        NPR_TRY(npr_filter_tile(s->filter, &s->rows, s->drop, s->gate));
        for (int64_t i = 0; i < n; i++) c->id[s->row[i]] = s->rows.id[i];
        score_rows(c);
        count_dropped(c);
    }
    return NPR_OK;
}

/* ---- into the lists ------------------------------------------------------------------------------ */

/* Scores of the pairs i .. i+n-1, to s->score. */
static npr_status gather(const rescoring *c, size_t i, size_t n)
{
    rescorer *s = c->s;
    NPR_TRY(npr_grow(&s->score, &s->cap_score, 5 * n, sizeof *s->score, "scores of candidates"));
    for (size_t j = 0; j < n; j++) {
        if (i + j + FAR < c->pairs) __builtin_prefetch(&c->score[c->at[i + j + FAR]]);
        double score = c->score[c->at[i + j]];
        if (isnan(score))
            return npr_fail(NPR_EDATA, "%s/%s: row %lld is in the index, but it is not finite", c->set->path,
                            c->set->part[c->part].file, (long long)c->pair[i + j].row);
        s->score[j] = score;
    }
    return NPR_OK;
}

/* The pairs i .. i+n-1 are those of a query: those of them that may stay go into its list. Most are worse
 * than k others of them, and their ids are not looked at. */
static npr_status offer(const rescoring *c, size_t i, size_t n)
{
    rescorer *s = c->s;
    const npr_pair *pair = c->pair + i;
    size_t k = (size_t)npr_topk_k(c->into);
    int query = pair->query;
    NPR_TRY(gather(c, i, n));
    double least = npr_topk_floor(c->into, query);
    double kth = n > k ? npr_select_largest_double(s->score, n, k, s->score + n) : -INFINITY;
    if (kth > least) least = kth;
    for (size_t j = 0; j < n; j++)
        if (s->score[j] >= least) __builtin_prefetch(&c->id[pair[j].row]);
    for (size_t j = 0; j < n; j++) {
        if (!(s->score[j] >= least) || s->score[j] == -INFINITY) continue;
        npr_hit hit = {s->score[j], c->id[pair[j].row], npr_place(c->part, (int64_t)pair[j].row)};
        NPR_TRY(npr_topk_push(c->into, query, hit));
    }
    npr_topk_settle(c->into, query);
    return NPR_OK;
}

static npr_status offer_all(const rescoring *c)
{
    for (size_t i = 0, n; i < c->pairs; i += n) {
        for (n = 1; i + n < c->pairs && c->pair[i + n].query == c->pair[i].query; n++) {
        }
        NPR_TRY(offer(c, i, n));
    }
    return NPR_OK;
}

/* ---- a part -------------------------------------------------------------------------------------- */

static npr_status scan_part(npr_scanner *self, const npr_set *set, int part, npr_topk *into, npr_tally *tally)
{
    rescorer *s = (rescorer *)self;
    const npr_chosen *chosen = s->o.candidates;
    if (chosen->first[part] == chosen->first[part + 1]) return NPR_OK;
    if (!s->rows.cap) {
        uint32_t columns = NPR_COL(NPR_ID) | (npr_filter_columns(s->filter) & set->columns);
        NPR_TRY(npr_rows_make(&s->rows, columns, set->dim, s->batch));
    }
    rescoring c = {.s = s, .set = set, .part = part, .into = into, .tally = tally};
    npr_status st = npr_part_open(set, part, &c.file);
    if (!st) st = sort_by_row(&c);
    if (!st) st = score_all(&c);
    if (!st) st = offer_all(&c);
    npr_part_close(c.file);
    free(c.start);
    free(c.query);
    free(c.at);
    free(c.id);
    free(c.score);
    return st;
}

static void scanner_free(npr_scanner *self)
{
    rescorer *s = (rescorer *)self;
    npr_filter_free(s->filter);
    npr_rows_free(&s->rows);
    free(s->drop);
    free(s->gate);
    free(s->row);
    free(s->score);
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
    npr_status st = s->drop && s->gate && s->row ? NPR_OK : npr_last();
    if (!st) st = npr_filter_make(o, &s->filter);
    if (st) {
        scanner_free(&s->base);
        return st;
    }
    *out = &s->base;
    return NPR_OK;
}
