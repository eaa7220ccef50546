/* scan_faiss.c - the scanner that asks the index inside a part for candidates. See npr/search.h.
 *
 * An index ranks rows by rounded vectors and knows no filters, so it only proposes: more rows than are
 * wanted, which scan_rescore.c then reads, filters and scores. Its scores of different parts can be compared,
 * as all parts have one trained index; so the candidates of all parts share one list per query, and what is
 * read in the end is bounded however many parts there are. Equal scores are ordered by the place of the row.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "npr/search.h"
#include "search/faiss/faiss.h"
#include "search/faiss/proposals.h"
#include "search/tiles.h"

enum {
    PAIRS_MAX = 1 << 22, /* candidates asked for at a time: bounds memory, changes no result */
    ASK_LEAST = 16,      /* rows of a part that are asked for more than are likely to be wanted */
    WIDER = 4            /* how many times as many are asked for where that was too few */
};

typedef struct faiss_scanner {
    npr_scanner base; /* first: a scanner of ours is one of theirs */
    npr_scan_options o;
    int64_t rows; /* of the parts asked so far */
    double share; /* of the last part: rows that a block of queries wanted, by those expected; 0: not known */
} faiss_scanner;

/* One part being searched. */
typedef struct faiss_scan {
    faiss_scanner *s;
    const npr_scan_options *o; /* its own */
    const npr_set *set;
    int part;
    npr_proposals *into;
    npr_faiss *index;
    int64_t rows; /* of the part */
    int64_t most; /* rows of the part that a list may take */
    int64_t ask;  /* rows asked for now; */
    int again;    /* not for the first time */
    int hasty;    /* what is missing is asked for when the lists are known */
    int64_t pairs;
    float *score;  /* [pairs] as FAISS answers, query by query, best first */
    int64_t *id;   /* [pairs] */
    char *open;    /* [blocks of queries] 1: its answers are not in the lists yet */
    int left;      /* of these */
    double needed; /* sum over blocks: rows that the list of a query took, at most */
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

/* The part's index, and how many of its rows a list may take. */
static npr_status open_index(faiss_scan *c, npr_tally *tally)
{
    npr_part *file;
    double start = npr_now();
    npr_status st = npr_part_open(c->set, c->part, &file);
    if (!st) {
        st = read_index(c, file, tally);
        npr_part_close(file);
    }
    double took = npr_now() - start;
    c->s->base.waited += took, c->s->base.reading += took;
    if (st) return st;
    int64_t held = npr_faiss_rows(c->index);
    c->most = c->o->k < held ? c->o->k : held;
    return NPR_OK;
}

/* What FAISS has found for one query; *taken: rows of it that reach the list's floor. */
static npr_status offer(const faiss_scan *c, int query, const float *score, const int64_t *id, int64_t *taken)
{
    NPR_TRY(npr_proposals_reserve(c->into, query, c->s->rows ? 0 : c->ask));
    for (int64_t i = 0; i < c->ask; i++) {
        if (id[i] < 0) continue; /* it has found fewer */
        if (id[i] >= c->rows)
            return npr_fail(NPR_EDATA, "%s/%s: the index names row %lld of %lld", c->set->path, file_of(c),
                            (long long)id[i], (long long)c->rows);
        float known = isnan(score[i]) ? -INFINITY : score[i];
        if (known < npr_proposals_floor(c->into, query)) return NPR_OK; /* as are all behind it */
        NPR_TRY(npr_proposals_push(c->into, query, known, npr_place(c->part, id[i])));
        ++*taken;
    }
    return NPR_OK;
}

/* May rows of the part that the answer of `ask` rows leaves out enter the query's list? */
static int is_cut(const faiss_scan *c, int query, const int64_t *id, const float *score)
{
    if (c->ask == c->most || id[c->ask - 1] < 0) return 0;
    return !(score[c->ask - 1] < npr_proposals_floor(c->into, query));
}

/* Offer the answers to one block of queries, unless one of them is cut: then the block stays open. */
static npr_status take_block(faiss_scan *c, int q0, int nq, const float *score, const int64_t *id)
{
    int64_t need = 0;
    for (int i = 0; i < nq && !c->hasty; i++)
        if (is_cut(c, q0 + i, id + i * c->ask, score + i * c->ask)) return NPR_OK;
    for (int i = 0; i < nq; i++) {
        int64_t taken = 0;
        NPR_TRY(offer(c, q0 + i, score + i * c->ask, id + i * c->ask, &taken));
        if (taken > need) need = taken;
    }
    c->open[q0 / c->o->block] = 0;
    c->left--;
    c->needed += (double)need;
    return NPR_OK;
}

/* Ask the index for queries q0 .. q0+nq-1, whole blocks. */
static npr_status search_blocks(faiss_scan *c, int q0, int nq)
{
    const npr_queries *q = c->o->queries;
    NPR_TRY(npr_part_stop(c->set, c->part));
    const float *vector = q->vector + (size_t)q0 * (size_t)q->dim;
    int64_t *scanned = c->o->threads == 1 && !c->again ? &c->s->base.scanned : NULL;
    npr_status st =
        npr_faiss_search(c->index, vector, nq, c->o->block, c->ask, c->o->threads, c->score, c->id, scanned);
    if (st) return npr_context(st, "%s/%s", c->set->path, file_of(c));
    for (int i = 0; i < nq; i += c->o->block)
        NPR_TRY(take_block(c, q0 + i, nq - i < c->o->block ? nq - i : c->o->block, c->score + i * c->ask,
                           c->id + i * c->ask));
    return NPR_OK;
}

/* Ask for all open blocks, as many neighbours together as there is room for. */
static npr_status search_open(faiss_scan *c)
{
    int nq = c->o->queries->nq, blocks = (nq + c->o->block - 1) / c->o->block;
    int64_t room = c->ask * nq > c->pairs ? c->pairs / (c->ask * c->o->block) : blocks;
    for (int b = 0, end; b < blocks; b = end) {
        for (end = b; end < blocks && c->open[end] && end - b < room;) end++;
        int q0 = b * c->o->block, q1 = end < blocks ? end * c->o->block : nq;
        if (end == b)
            end++;
        else
            NPR_TRY(search_blocks(c, q0, q1 - q0));
    }
    return NPR_OK;
}

/* How many rows of the part are asked for at first: as many as are likely to stand in the lists of a block of
 * queries when parts are alike, or as unlike as the last one; all where these are half of them, since rows
 * that are named cost little, and asking again takes as long as asking. */
static int64_t first_ask(const faiss_scan *c, double even)
{
    const faiss_scanner *s = c->s;
    if ((s->rows == 0 && !c->hasty) || !npr_faiss_nests(c->set->index)) return c->most;
    double likely = s->share > 0 ? even * s->share * 1.125 : even + 4 * sqrt(even);
    return 2 * (likely + ASK_LEAST) < (double)c->most ? (int64_t)likely + ASK_LEAST : c->most;
}

/* Room for the answers, and for which blocks are open. */
static npr_status make_room(faiss_scan *c)
{
    int nq = c->o->queries->nq, blocks = (nq + c->o->block - 1) / c->o->block;
    c->pairs = c->most * nq < PAIRS_MAX ? c->most * nq : PAIRS_MAX;
    int together = nq < c->o->block ? nq : c->o->block;
    if (c->pairs < c->most * together) c->pairs = c->most * together;
    c->score = npr_alloc_aligned((size_t)c->pairs, sizeof *c->score, "candidates");
    c->id = npr_alloc_aligned((size_t)c->pairs, sizeof *c->id, "candidates");
    c->open = npr_alloc((size_t)blocks, sizeof *c->open, "blocks of queries");
    return c->score && c->id && c->open ? NPR_OK : npr_last();
}

/* Ask until no block is open. */
static npr_status close_blocks(faiss_scan *c)
{
    while (c->left) {
        NPR_TRY(search_open(c));
        c->ask = c->ask < c->most / WIDER ? c->ask * WIDER : c->most;
        c->again = 1;
    }
    return NPR_OK;
}

/* Ask the index for all queries, then more rows for those to which it may have said too little. */
static npr_status search_part(faiss_scan *c)
{
    faiss_scanner *s = c->s;
    int nq = c->o->queries->nq, blocks = (nq + c->o->block - 1) / c->o->block;
    s->base.asked = 0;
    if (c->most == 0 || nq == 0) return NPR_OK;
    NPR_TRY(make_room(c));
    memset(c->open, 1, (size_t)blocks);
    c->left = blocks;
    c->hasty = c->o->rows > 0;
    for (int q = 0; q < nq && !c->hasty; q++) NPR_TRY(npr_proposals_settle(c->into, q));
    int64_t seen = c->hasty ? c->o->rows : s->rows + c->rows;
    double even = (double)c->o->k * (double)c->rows / (double)seen;
    c->ask = first_ask(c, even);
    if (c->hasty && c->ask < c->most) s->base.asked = c->ask;
    NPR_TRY(close_blocks(c));
    if (s->rows && !c->hasty) s->share = c->needed / blocks / even;
    s->rows += c->rows;
    return NPR_OK;
}

static void scan_free(faiss_scan *c)
{
    npr_faiss_free(c->index);
    free(c->score);
    free(c->id);
    free(c->open);
}

static npr_status propose(npr_scanner *self, const npr_set *set, int part, npr_proposals *into,
                          npr_tally *tally)
{
    faiss_scanner *s = (faiss_scanner *)self;
    faiss_scan c = {.s = s, .o = &s->o, .set = set, .part = part, .into = into};
    npr_status st = open_index(&c, tally);
    if (!st) st = search_part(&c);
    scan_free(&c);
    return st;
}

static npr_status complete_part(faiss_scan *c, int64_t asked, const char *open)
{
    int nq = c->o->queries->nq, blocks = (nq + c->o->block - 1) / c->o->block;
    NPR_TRY(make_room(c));
    memcpy(c->open, open, (size_t)blocks);
    for (int b = 0; b < blocks; b++) c->left += c->open[b];
    for (int q = 0; q < nq; q++)
        if (c->open[q / c->o->block]) npr_proposals_forget(c->into, q, c->part);
    c->ask = asked < c->most / WIDER ? asked * WIDER : c->most;
    c->again = 1;
    return close_blocks(c);
}

static npr_status complete(npr_scanner *self, const npr_set *set, int part, int64_t asked, const char *open,
                           npr_proposals *into, npr_tally *tally)
{
    faiss_scanner *s = (faiss_scanner *)self;
    faiss_scan c = {.s = s, .o = &s->o, .set = set, .part = part, .into = into};
    npr_status st = open_index(&c, tally);
    if (!st) st = complete_part(&c, asked, open);
    scan_free(&c);
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
    s->base = (npr_scanner){.name = "faiss",
                            .lists = o->queries->nq,
                            .propose = propose,
                            .complete = complete,
                            .free = scanner_free};
    s->o = *o;
    if (!s->o.block) s->o.block = NPR_FAISS_BLOCK;
    *out = &s->base;
    return NPR_OK;
}
