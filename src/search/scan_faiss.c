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

/* The candidates of a block of queries in one part, by row: row r is proposed for query[start[r] ..
 * start[r+1]). */
typedef struct candidates {
    int64_t rows;    /* of the part */
    float *rough;    /* [pairs] FAISS's scores: not used, but it insists on telling */
    int64_t *id;     /* [pairs] as FAISS answers, query by query */
    uint32_t *start; /* [rows + 1] */
    int32_t *query;  /* [pairs] */
    double *score;   /* [pairs] exact, in the order of query[]; NaN: filtered out */
} candidates;

static void candidates_free(candidates *c)
{
    free(c->rough);
    free(c->id);
    free(c->start);
    free(c->query);
    free(c->score);
}

static npr_status candidates_make(candidates *c, int64_t rows, int64_t pairs)
{
    *c = (candidates){.rows = rows};
    c->rough = npr_alloc_aligned((size_t)pairs, sizeof *c->rough, "candidates");
    c->id = npr_alloc_aligned((size_t)pairs, sizeof *c->id, "candidates");
    c->query = npr_alloc_aligned((size_t)pairs, sizeof *c->query, "candidates");
    c->score = npr_alloc_aligned((size_t)pairs, sizeof *c->score, "candidates");
    c->start = npr_alloc((size_t)rows + 1, sizeof *c->start, "candidates by row");
    if (c->rough && c->id && c->query && c->score && c->start) return NPR_OK;
    candidates_free(c);
    return NPR_EINTERNAL;
}

/* Turn the answers for queries q0 .. q0+nq-1 around, so that each row is read once for all of them. */
static npr_status sort_by_row(candidates *c, int q0, int nq, int64_t per_query)
{
    for (int64_t r = 0; r <= c->rows; r++) c->start[r] = 0;
    for (int64_t p = 0; p < nq * per_query; p++) {
        if (c->id[p] >= c->rows)
            return npr_fail(NPR_EDATA, "the index names row %lld of %lld", (long long)c->id[p],
                            (long long)c->rows);
        if (c->id[p] >= 0) c->start[c->id[p]]++;
    }
    uint32_t end = 0;
    for (int64_t r = 0; r <= c->rows; r++) c->start[r] = end += c->start[r];
    for (int64_t p = nq * per_query - 1; p >= 0; p--) /* backwards, so that start[] ends where rows begin */
        if (c->id[p] >= 0) c->query[--c->start[c->id[p]]] = q0 + (int32_t)(p / per_query);
    return NPR_OK;
}

/* Why the row at i of the batch is not for this query: a field of the tally, NPR_TALLY_MATCHED if it is. */
static int reason(const faiss_scanner *s, int64_t i, int32_t query)
{
    if (s->drop[i]) return s->drop[i];
    return s->gate[i] == NPR_GATE_ANY || s->gate[i] == s->o.queries->label[query] ? NPR_TALLY_MATCHED
                                                                                  : NPR_TALLY_CLIP;
}

static void score_rows(const faiss_scanner *s, candidates *c)
{
    size_t dim = (size_t)s->rows.dim;
#pragma omp parallel for num_threads(s->o.threads) schedule(dynamic, 16)
    for (int64_t i = 0; i < s->rows.n; i++) {
        const uint16_t *emb = s->rows.emb + (size_t)i * dim;
        for (uint32_t j = c->start[s->row[i]]; j < c->start[s->row[i] + 1]; j++) {
            const float *q = s->o.queries->vector + (size_t)c->query[j] * dim;
            c->score[j] = reason(s, i, c->query[j]) ? NAN : npr_score_dot(emb, q, s->rows.dim);
        }
    }
}

/* The batch of rows s->row[0 .. s->rows.n) has been read. */
static npr_status offer_rows(faiss_scanner *s, candidates *c, int part, npr_topk *into, npr_tally *tally)
{
    NPR_TRY(npr_filter_tile(s->filter, &s->rows, s->drop, s->gate));
    score_rows(s, c);
    tally->bytes += npr_rows_bytes(&s->rows);
    for (int64_t i = 0; i < s->rows.n; i++) {
        for (uint32_t j = c->start[s->row[i]]; j < c->start[s->row[i] + 1]; j++) {
            int64_t *count = tally->count + (size_t)c->query[j] * NPR_TALLY_FIELDS;
            int why = reason(s, i, c->query[j]);
            count[NPR_TALLY_MATCHED]++;
            if (why) {
                count[why]++;
                continue;
            }
            if (!isfinite(c->score[j]))
                return npr_fail(NPR_EDATA, "row %lld is in the index, but it or a query is not finite",
                                (long long)s->row[i]);
            npr_hit hit = {c->score[j], s->rows.id[i], npr_place(part, s->row[i])};
            NPR_TRY(npr_topk_push(into, c->query[j], hit));
        }
    }
    return NPR_OK;
}

static npr_status rescore(faiss_scanner *s, npr_part *p, candidates *c, int part, npr_topk *into,
                          npr_tally *tally)
{
    for (int64_t r = 0; r < c->rows;) {
        int64_t n = 0;
        for (; r < c->rows && n < s->o.tile_rows; r++)
            if (c->start[r] < c->start[r + 1]) s->row[n++] = r;
        if (n == 0) break;
        npr_rows_clear(&s->rows);
        NPR_TRY(npr_part_pick(p, s->row, n, &s->rows));
        NPR_TRY(offer_rows(s, c, part, into, tally));
    }
    return NPR_OK;
}

static npr_status read_index(faiss_scanner *s, const npr_set *set, npr_part *p, npr_faiss **index,
                             npr_tally *tally)
{
    char *blob = NULL;
    size_t bytes;
    NPR_TRY(npr_part_read_index(p, &blob, &bytes));
    npr_status st = npr_faiss_load(blob, bytes, set->dim, "FAISS index", index);
    free(blob);
    if (!st) st = npr_faiss_set_probes(*index, s->o.nprobe);
    tally->bytes += (int64_t)bytes;
    tally->rows += npr_part_rows(p);
    return st;
}

/* Ask the index for all queries, a block of them at a time. */
static npr_status search_part(faiss_scanner *s, npr_part *p, const npr_faiss *index, int part, npr_topk *into,
                              npr_tally *tally)
{
    const npr_queries *q = s->o.queries;
    int64_t rows = npr_part_rows(p), held = npr_faiss_rows(index), per_query = (int64_t)s->o.k * s->o.refine;
    if (held > rows)
        return npr_fail(NPR_EDATA, "the index holds %lld rows, the part %lld", (long long)held,
                        (long long)rows);
    tally->non_finite += rows - held;
    if (per_query > held) per_query = held;
    if (per_query == 0) return NPR_OK;
    int block = per_query < PAIRS_MAX ? (int)(PAIRS_MAX / per_query) : 1;
    if (block > q->nq) block = q->nq;
    candidates c;
    NPR_TRY(candidates_make(&c, rows, block * per_query));
    npr_status st = NPR_OK;
    for (int q0 = 0; !st && q0 < q->nq; q0 += block) {
        int nq = q->nq - q0 < block ? q->nq - q0 : block;
        const float *vector = q->vector + (size_t)q0 * (size_t)q->dim;
        if (npr_stop_requested())
            st = npr_fail(NPR_ESTOP,
                          "stopped on request; finished parts are kept, run the same command again");
        if (!st) st = npr_faiss_search(index, vector, nq, per_query, s->o.threads, c.rough, c.id);
        if (!st) st = sort_by_row(&c, q0, nq, per_query);
        if (!st) st = rescore(s, p, &c, part, into, tally);
    }
    candidates_free(&c);
    return st;
}

static npr_status scan_part(npr_scanner *self, const npr_set *set, int part, npr_topk *into, npr_tally *tally)
{
    faiss_scanner *s = (faiss_scanner *)self;
    if (!set->index[0])
        return npr_fail(NPR_EENV, "%s: no FAISS index in it; build one with npr-index", set->path);
    if (!s->rows.cap) {
        uint32_t columns =
            NPR_COL(NPR_EMB) | NPR_COL(NPR_ID) | (npr_filter_columns(s->filter) & set->columns);
        NPR_TRY(npr_rows_make(&s->rows, columns, set->dim, s->o.tile_rows));
    }
    npr_part *p = NULL;
    npr_faiss *index = NULL;
    NPR_TRY(npr_part_open(set, part, &p));
    npr_status st = read_index(s, set, p, &index, tally);
    if (!st) st = search_part(s, p, index, part, into, tally);
    npr_faiss_free(index);
    npr_part_close(p);
    return npr_context(st, "%s/%s", set->path, set->part[part].file);
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
    s->base = (npr_scanner){"faiss", o->queries->nq, scan_part, scanner_free};
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
