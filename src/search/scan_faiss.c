/* scan_faiss.c - the scanner that asks the index inside a part for candidates. See npr/search.h.
 *
 * An index ranks rows by rounded vectors and knows no filters, so it only proposes: more rows than are
 * wanted, which scan_rescore.c then reads, filters and scores. Its scores of different parts can be compared,
 * as all parts have one trained index; so the candidates of all parts share one list per query, and what is
 * read in the end is bounded however many parts there are. Equal scores are ordered by the place of the row.
 */
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "npr/search.h"
#include "search/faiss.h"

enum { PAIRS_MAX = 1 << 22 }; /* candidates of a block of queries: bounds memory, changes no result */

typedef struct faiss_scanner {
    npr_scanner base; /* first: a scanner of ours is one of theirs */
    npr_scan_options o;
} faiss_scanner;

/* One part being searched. */
typedef struct faiss_scan {
    faiss_scanner *s;
    const npr_scan_options *o; /* its own */
    const npr_set *set;
    int part;
    npr_topk *into;
    npr_faiss *index;
    int64_t rows; /* of the part */
    float *score; /* [pairs] as FAISS answers, query by query, best first */
    int64_t *id;  /* [pairs] */
} faiss_scan;

static const char *file_of(const faiss_scan *c)
{
    return c->set->part[c->part].file;
}

static npr_status read_index(faiss_scan *c, npr_part *file, npr_tally *tally)
{
    char *blob = NULL;
    size_t bytes;
    NPR_TRY(npr_part_read_index(file, &blob, &bytes));
    npr_faiss_name(c->set->path, file_of(c));
    npr_status st = npr_faiss_load(blob, bytes, c->set->dim, "index", &c->index);
    free(blob);
    if (!st) st = npr_faiss_set_probes(c->index, c->o->nprobe);
    if (st) return npr_context(st, "%s/%s", c->set->path, file_of(c));
    c->rows = npr_part_rows(file);
    int64_t held = npr_faiss_rows(c->index);
    if (held > c->rows)
        return npr_fail(NPR_EDATA, "%s/%s: the index holds %lld rows of %lld", c->set->path, file_of(c),
                        (long long)held, (long long)c->rows);
    tally->bytes += (int64_t)bytes;
    tally->rows += c->rows;
    tally->non_finite += c->rows - held; /* an index holds all others */
    return NPR_OK;
}

static npr_status open_index(faiss_scan *c, npr_tally *tally)
{
    npr_part *file;
    NPR_TRY(npr_part_open(c->set, c->part, &file));
    npr_status st = read_index(c, file, tally);
    npr_part_close(file);
    return st;
}

/* What FAISS has found for one query. */
static npr_status offer(const faiss_scan *c, int query, const float *score, const int64_t *id, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (id[i] < 0) continue; /* it has found fewer */
        if (id[i] >= c->rows)
            return npr_fail(NPR_EDATA, "%s/%s: the index names row %lld of %lld", c->set->path, file_of(c),
                            (long long)id[i], (long long)c->rows);
        npr_hit hit = {.score = isnan(score[i]) ? -INFINITY : score[i], .place = npr_place(c->part, id[i])};
        if (hit.score < npr_topk_floor(c->into, query)) return NPR_OK; /* as are all behind it */
        NPR_TRY(npr_topk_push(c->into, query, hit));
    }
    return NPR_OK;
}

static npr_status search_block(faiss_scan *c, int q0, int nq, int64_t per_query)
{
    const npr_queries *q = c->o->queries;
    if (npr_stop_requested())
        return npr_fail(NPR_ESTOP,
                        "%s/%s: stopped on request; finished parts are kept, run the same command again",
                        c->set->path, file_of(c));
    const float *vector = q->vector + (size_t)q0 * (size_t)q->dim;
    npr_status st = npr_faiss_search(c->index, vector, nq, per_query, c->o->threads, c->score, c->id,
                                     c->o->threads == 1 ? &c->s->base.scanned : NULL);
    if (st) return npr_context(st, "%s/%s", c->set->path, file_of(c));
    for (int i = 0; i < nq; i++)
        NPR_TRY(offer(c, q0 + i, c->score + i * per_query, c->id + i * per_query, per_query));
    return NPR_OK;
}

/* Ask the index for all queries, a block of them at a time. */
static npr_status search_part(faiss_scan *c)
{
    int64_t held = npr_faiss_rows(c->index), per_query = c->o->k < held ? c->o->k : held;
    if (per_query == 0) return NPR_OK;
    int nq = c->o->queries->nq, block = (int)(PAIRS_MAX / per_query);
    block = block > NPR_FAISS_BLOCK ? block / NPR_FAISS_BLOCK * NPR_FAISS_BLOCK : NPR_FAISS_BLOCK;
    if (block > nq) block = nq;
    c->score = npr_alloc_aligned((size_t)(block * per_query), sizeof *c->score, "candidates");
    c->id = npr_alloc_aligned((size_t)(block * per_query), sizeof *c->id, "candidates");
    if (!c->score || !c->id) return npr_last();
    for (int q0 = 0; q0 < nq; q0 += block)
        NPR_TRY(search_block(c, q0, nq - q0 < block ? nq - q0 : block, per_query));
    return NPR_OK;
}

static npr_status scan_part(npr_scanner *self, const npr_set *set, int part, npr_topk *into, npr_tally *tally)
{
    faiss_scanner *s = (faiss_scanner *)self;
    faiss_scan c = {.s = s, .o = &s->o, .set = set, .part = part, .into = into};
    npr_status st = open_index(&c, tally);
    if (!st) st = search_part(&c);
    npr_faiss_free(c.index);
    free(c.score);
    free(c.id);
    return st;
}

static void scanner_free(npr_scanner *self)
{
    free(self);
}

npr_status npr_scanner_faiss(const npr_scan_options *o, npr_scanner **out)
{
    faiss_scanner *s = npr_alloc(1, sizeof *s, "the FAISS scanner");
    if (!s) return npr_last();
    s->base =
        (npr_scanner){.name = "faiss", .lists = o->queries->nq, .part = scan_part, .free = scanner_free};
    s->o = *o;
    *out = &s->base;
    return NPR_OK;
}
