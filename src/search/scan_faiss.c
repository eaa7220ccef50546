/* scan_faiss.c - the scanner that asks the index inside a part for candidates and scores them exactly. See
 * npr/search.h.
 *
 * The index only proposes rows: `refine` times as many as are wanted, since it ranks them by rounded vectors
 * and knows no filters. Their own vectors are then read from the part, filtered and scored by npr_score_dot
 * like in every search. */
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/score.h"
#include "npr/search.h"
#include "search/faiss.h"
#include "search/filter.h"
#include "search/tiles.h"

enum { PAIRS_MAX = 1 << 22 }; /* candidates of a block of queries: bounds memory, changes no result */

typedef struct faiss_scanner {
    npr_scanner base; /* first: a scanner of ours is one of theirs */
    npr_scan_options o;
    npr_filter *filter;
    npr_rows rows; /* candidates' rows as read; made with the first part */
    int8_t *drop;  /* [tile_rows] */
    int32_t *gate; /* [tile_rows] */
    int64_t *row;  /* [tile_rows] their numbers in the part */
} faiss_scanner;

/* One part being searched. The candidates of a block of queries stand by row: row r of the part is proposed
 * for query[start[r] .. start[r+1]). */
typedef struct faiss_scan {
    faiss_scanner *s;
    const npr_set *set;
    int part;
    npr_topk *into;
    npr_tally *tally;
    npr_part *file;
    npr_faiss *index;
    int64_t rows;    /* of the part */
    float *rough;    /* [pairs] FAISS's scores: not used, but it insists on telling */
    int64_t *id;     /* [pairs] as FAISS answers, query by query */
    uint32_t *start; /* [rows + 1] */
    int32_t *query;  /* [pairs] */
    double *score;   /* [pairs] exact, in the order of query[]; not set where a filter drops the row */
} faiss_scan;

static const char *file_of(const faiss_scan *c)
{
    return c->set->part[c->part].file;
}

/* ---- candidates ---------------------------------------------------------------------------------- */

static npr_status open_index(faiss_scan *c)
{
    char *blob = NULL;
    size_t bytes;
    NPR_TRY(npr_part_open(c->set, c->part, &c->file));
    NPR_TRY(npr_part_read_index(c->file, &blob, &bytes));
    npr_faiss_name(c->set->path, file_of(c));
    npr_status st = npr_faiss_load(blob, bytes, c->set->dim, "index", &c->index);
    free(blob);
    if (!st) st = npr_faiss_set_probes(c->index, c->s->o.nprobe);
    if (st) return npr_context(st, "%s/%s", c->set->path, file_of(c));
    c->rows = npr_part_rows(c->file);
    int64_t held = npr_faiss_rows(c->index);
    if (held > c->rows)
        return npr_fail(NPR_EDATA, "%s/%s: the index holds %lld rows of %lld", c->set->path, file_of(c),
                        (long long)held, (long long)c->rows);
    c->tally->bytes += (int64_t)bytes;
    c->tally->rows += c->rows;
    c->tally->non_finite += c->rows - held; /* an index holds all others */
    return NPR_OK;
}

static npr_status make_room(faiss_scan *c, int64_t pairs)
{
    c->rough = npr_alloc_aligned((size_t)pairs, sizeof *c->rough, "candidates");
    c->id = npr_alloc_aligned((size_t)pairs, sizeof *c->id, "candidates");
    c->query = npr_alloc_aligned((size_t)pairs, sizeof *c->query, "candidates");
    c->score = npr_alloc_aligned((size_t)pairs, sizeof *c->score, "candidates");
    c->start = npr_alloc((size_t)c->rows + 1, sizeof *c->start, "candidates by row");
    return c->rough && c->id && c->query && c->score && c->start ? NPR_OK : npr_last();
}

/* Turn the answers for queries q0 .. q0+nq-1 around, so that each row is read once for all of them. */
static npr_status sort_by_row(faiss_scan *c, int q0, int nq, int64_t per_query)
{
    for (int64_t r = 0; r <= c->rows; r++) c->start[r] = 0;
    for (int64_t p = 0; p < nq * per_query; p++) {
        if (c->id[p] >= c->rows)
            return npr_fail(NPR_EDATA, "%s/%s: the index names row %lld of %lld", c->set->path, file_of(c),
                            (long long)c->id[p], (long long)c->rows);
        if (c->id[p] >= 0) c->start[c->id[p]]++;
    }
    uint32_t end = 0;
    for (int64_t r = 0; r <= c->rows; r++) c->start[r] = end += c->start[r];
    for (int64_t p = nq * per_query - 1; p >= 0; p--) /* backwards, so that start[] ends where rows begin */
        if (c->id[p] >= 0) c->query[--c->start[c->id[p]]] = q0 + (int32_t)(p / per_query);
    return NPR_OK;
}

/* ---- their exact scores -------------------------------------------------------------------------- */

/* Why the row at i of the batch is not for this query: a field of the tally, NPR_TALLY_MATCHED if it is. */
static int reason(const faiss_scanner *s, int64_t i, int32_t query)
{
    if (s->drop[i]) return s->drop[i];
    int open = s->gate[i] == NPR_GATE_ANY || s->gate[i] == s->o.queries->label[query];
    return open ? NPR_TALLY_MATCHED : NPR_TALLY_CLIP;
}

static void score_rows(faiss_scan *c)
{
    const faiss_scanner *s = c->s;
    size_t dim = (size_t)s->rows.dim;
#pragma omp parallel for num_threads(s->o.threads) schedule(dynamic, 16)
    for (int64_t i = 0; i < s->rows.n; i++) {
        const uint16_t *emb = s->rows.emb + (size_t)i * dim;
        for (uint32_t j = c->start[s->row[i]]; j < c->start[s->row[i] + 1]; j++) {
            if (reason(s, i, c->query[j])) continue;
            c->score[j] = npr_score_dot(emb, s->o.queries->vector + (size_t)c->query[j] * dim, s->rows.dim);
        }
    }
}

static npr_status offer(faiss_scan *c, int64_t i, uint32_t j)
{
    const faiss_scanner *s = c->s;
    int64_t *count = c->tally->count + (size_t)c->query[j] * NPR_TALLY_FIELDS;
    int why = reason(s, i, c->query[j]);
    count[NPR_TALLY_MATCHED]++;
    if (why) {
        count[why]++;
        return NPR_OK;
    }
    if (!isfinite(c->score[j]))
        return npr_fail(NPR_EDATA, "%s/%s: row %lld is in the index, but it is not finite", c->set->path,
                        file_of(c), (long long)s->row[i]);
    npr_hit hit = {c->score[j], s->rows.id[i], npr_place(c->part, s->row[i])};
    return npr_topk_push(c->into, c->query[j], hit);
}

/* All candidates, a tile of rows at a time. */
static npr_status rescore(faiss_scan *c)
{
    faiss_scanner *s = c->s;
    for (int64_t r = 0;;) {
        int64_t n = 0;
        for (; r < c->rows && n < s->o.tile_rows; r++)
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

static npr_status search_block(faiss_scan *c, int q0, int nq, int64_t per_query)
{
    const npr_queries *q = c->s->o.queries;
    if (npr_stop_requested())
        return npr_fail(NPR_ESTOP,
                        "%s/%s: stopped on request; finished parts are kept, run the same command again",
                        c->set->path, file_of(c));
    const float *vector = q->vector + (size_t)q0 * (size_t)q->dim;
    npr_status st = npr_faiss_search(c->index, vector, nq, per_query, c->s->o.threads, c->rough, c->id, NULL);
    if (st) return npr_context(st, "%s/%s", c->set->path, file_of(c));
    NPR_TRY(sort_by_row(c, q0, nq, per_query));
    return rescore(c);
}

/* Ask the index for all queries, a block of them at a time. */
static npr_status search_part(faiss_scan *c)
{
    NPR_TRY(open_index(c));
    int64_t held = npr_faiss_rows(c->index), per_query = (int64_t)c->s->o.k * c->s->o.refine;
    if (per_query > held) per_query = held;
    if (per_query == 0) return NPR_OK;
    int nq = c->s->o.queries->nq, block = (int)(PAIRS_MAX / per_query);
    block = block > NPR_FAISS_BLOCK ? block / NPR_FAISS_BLOCK * NPR_FAISS_BLOCK : NPR_FAISS_BLOCK;
    if (block > nq) block = nq;
    NPR_TRY(make_room(c, block * per_query));
    for (int q0 = 0; q0 < nq; q0 += block)
        NPR_TRY(search_block(c, q0, nq - q0 < block ? nq - q0 : block, per_query));
    return NPR_OK;
}

static npr_status scan_part(npr_scanner *self, const npr_set *set, int part, npr_topk *into, npr_tally *tally)
{
    faiss_scanner *s = (faiss_scanner *)self;
    if (!s->rows.cap) {
        uint32_t columns =
            NPR_COL(NPR_EMB) | NPR_COL(NPR_ID) | (npr_filter_columns(s->filter) & set->columns);
        NPR_TRY(npr_rows_make(&s->rows, columns, set->dim, s->o.tile_rows));
    }
    faiss_scan c = {.s = s, .set = set, .part = part, .into = into, .tally = tally};
    npr_status st = search_part(&c);
    npr_faiss_free(c.index);
    npr_part_close(c.file);
    free(c.rough);
    free(c.id);
    free(c.query);
    free(c.score);
    free(c.start);
    return st;
}

static void scanner_free(npr_scanner *self)
{
    faiss_scanner *s = (faiss_scanner *)self;
    npr_filter_free(s->filter);
    npr_rows_free(&s->rows);
    free(s->drop);
    free(s->gate);
    free(s->row);
    free(s);
}

npr_status npr_scanner_faiss(const npr_scan_options *o, npr_scanner **out)
{
    faiss_scanner *s = npr_alloc(1, sizeof *s, "the FAISS scanner");
    if (!s) return npr_last();
    s->base = (npr_scanner){.name = "faiss", .lists = o->queries->nq, .part = scan_part, .free = scanner_free};
    s->o = *o;
    s->drop = npr_alloc((size_t)o->tile_rows, sizeof *s->drop, "a tile's limits");
    s->gate = npr_alloc((size_t)o->tile_rows, sizeof *s->gate, "a tile's gates");
    s->row = npr_alloc((size_t)o->tile_rows, sizeof *s->row, "a tile's rows");
    npr_status st = s->drop && s->gate && s->row ? NPR_OK : npr_last();
    if (!st) st = npr_filter_make(o, &s->filter);
    if (st) {
        scanner_free(&s->base);
        return st;
    }
    *out = &s->base;
    return NPR_OK;
}
