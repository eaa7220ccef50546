/* caption.c - the scanner of caption search: rows whose caption has a class name, or a synonym, in it as a
 * phrase.
 *
 * ImageNet's names match 0.34 billion captions of LAION-2B, so a class keeps at most k rows, chosen while
 * scanning by a key that depends on the row alone: a hash of its id (an unbiased sample, the same for any
 * number of ranks), its published similarity, or its score with the class's own row of the head. Limits are
 * asked of every row that matches, kept or not, so that the tally is the same too. See npr/search.h,
 * phrases.h. */
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/score.h"
#include "npr/search.h"
#include "search/filter.h"
#include "search/caption/phrases.h"
#include "search/tiles.h"

/* Key of a row of unknown similarity: behind all that are known, which are cosines or per cent. */
static const double UNKNOWN_KEY = -1e6;

typedef struct caption_scanner {
    npr_scanner base; /* first: a scanner of ours is one of theirs */
    npr_scan_options o;
    enum { BY_HASH, BY_SIMILARITY, BY_HEAD } by;
    const float **own_row; /* [classes] by head: the row of the head of each list */
    npr_phrases *phrases;
    npr_matches *matches; /* [threads] */
    npr_filter *filter;
    npr_tiles *tiles; /* made with the first part, when the columns of the index are known */
    npr_rows picked;  /* the matching rows of a tile, with what the filter and the key need */
    int64_t *row;     /* [tile_rows] their numbers in the part */
    int8_t *drop;     /* [tile_rows] */
    int32_t *own;     /* [tile_rows] */
} caption_scanner;

static npr_status open_index(caption_scanner *s, const npr_set *index)
{
    if (!(index->columns & NPR_COL(NPR_TOKENS)))
        return npr_fail(
            NPR_EENV,
            "%s: no column \"tokens\", so no captions to search; ingest the index with its captions",
            index->path);
    uint32_t wanted = npr_filter_columns(s->filter);
    if (s->by == BY_SIMILARITY) wanted |= NPR_COL(NPR_SIMILARITY);
    if (s->by == BY_HEAD) wanted |= NPR_COL(NPR_EMB);
    NPR_TRY(
        npr_rows_make(&s->picked, NPR_COL(NPR_ID) | (wanted & index->columns), index->dim, s->o.tile_rows));
    return npr_tiles_make(NPR_COL(NPR_TOKENS), index->dim, s->o.tile_rows, &s->tiles);
}

/* Find the phrases in a tile, threads side by side, each in its share of the rows. */
static npr_status match_tile(caption_scanner *s, const npr_rows *r)
{
    npr_status st = NPR_OK;
    int threads = s->o.threads;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++) {
        int64_t row0 = r->n * t / threads, row1 = r->n * (t + 1) / threads;
        npr_status mine = npr_phrases_scan(s->phrases, &r->tokens, row0, row1, &s->matches[t]);
        if (mine) {
#pragma omp atomic write
            st = mine;
        }
    }
    if (st) npr_fail(st, "out of memory for the matches of %lld captions", (long long)r->n);
    return st;
}

/* The rows with at least one match, ascending. */
static int64_t list_rows(caption_scanner *s, int64_t row0)
{
    int64_t n = 0;
    for (int t = 0; t < s->o.threads; t++)
        for (size_t i = 0; i < s->matches[t].count; i++) {
            int64_t row = row0 + s->matches[t].match[i].row;
            if (n == 0 || s->row[n - 1] != row) s->row[n++] = row;
        }
    return n;
}

static double key(const caption_scanner *s, int64_t i, int32_t list)
{
    if (s->by == BY_HEAD) {
        int dim = s->picked.dim;
        double score = npr_score_dot(s->picked.emb + (size_t)i * (size_t)dim, s->own_row[list], dim);
        return isfinite(score) ? score : UNKNOWN_KEY;
    }
    if (s->by == BY_HASH) return (double)(npr_mix64((uint64_t)s->picked.id[i] ^ s->o.seed) >> 11) * 0x1p-53;
    if (!(s->picked.columns & NPR_COL(NPR_SIMILARITY)) || !isfinite(s->picked.similarity[i]))
        return UNKNOWN_KEY;
    return s->picked.similarity[i];
}

/* Offer row i of the picked ones to a list. */
static npr_status offer(caption_scanner *s, int part, int64_t i, int32_t list, npr_topk *into,
                        npr_tally *tally)
{
    int64_t *count = tally->count + (size_t)list * NPR_TALLY_FIELDS;
    count[NPR_TALLY_MATCHED]++;
    int drop = s->drop[i];
    int32_t class = s->o.queries ? s->o.queries->label[list] : list;
    if (!drop && s->own[i] != NPR_GATE_ANY && s->own[i] != class) drop = NPR_TALLY_CLIP;
    if (drop) {
        count[drop]++;
        return NPR_OK;
    }
    npr_hit hit = {key(s, i, list), s->picked.id[i], npr_place(part, s->row[i])};
    return hit.score >= npr_topk_floor(into, list) ? npr_topk_push(into, list, hit) : NPR_OK;
}

static npr_status scan_tile(caption_scanner *s, int part, const npr_rows *r, int64_t row0, npr_topk *into,
                            npr_tally *tally)
{
    NPR_TRY(match_tile(s, r));
    int64_t n = list_rows(s, row0), i = 0;
    tally->rows += r->n;
    tally->bytes += npr_rows_bytes(r);
    if (n == 0) return NPR_OK;
    npr_rows_clear(&s->picked);
    NPR_TRY(npr_tiles_pick(s->tiles, s->row, n, &s->picked));
    tally->bytes += npr_rows_bytes(&s->picked);
    NPR_TRY(npr_filter_tile(s->filter, &s->picked, s->drop, s->own));
    for (int t = 0; t < s->o.threads; t++)
        for (size_t m = 0; m < s->matches[t].count; m++) {
            const npr_match *match = &s->matches[t].match[m];
            while (s->row[i] != row0 + match->row) i++;
            NPR_TRY(offer(s, part, i, match->label, into, tally));
        }
    return NPR_OK;
}

static npr_status scan_part(npr_scanner *self, const npr_set *index, int part, npr_topk *into,
                            npr_tally *tally)
{
    caption_scanner *s = (caption_scanner *)self;
    if (!s->tiles) NPR_TRY(open_index(s, index));
    NPR_TRY(npr_tiles_start(s->tiles, index, part));
    for (;;) {
        const npr_rows *r;
        int64_t row0;
        NPR_TRY(npr_tiles_next(s->tiles, &r, &row0));
        npr_tiles_seconds(s->tiles, &self->waited, &self->reading);
        if (!r) return NPR_OK;
        NPR_TRY(scan_tile(s, part, r, row0, into, tally));
    }
}

static void scanner_free(npr_scanner *self)
{
    caption_scanner *s = (caption_scanner *)self;
    for (int t = 0; s->matches && t < s->o.threads; t++) npr_matches_free(&s->matches[t]);
    free(s->matches);
    npr_phrases_free(s->phrases);
    npr_tiles_free(s->tiles);
    npr_filter_free(s->filter);
    npr_rows_free(&s->picked);
    free(s->own_row);
    free(s->row);
    free(s->drop);
    free(s->own);
    free(s);
}

/* The row of the head that stands for each list. */
static npr_status find_rows(caption_scanner *s)
{
    const npr_queries *h = s->o.head;
    s->own_row = npr_alloc((size_t)s->phrases->classes, sizeof *s->own_row, "rows of the head");
    if (!s->own_row) return npr_last();
    for (int list = 0; list < s->phrases->classes; list++) {
        int32_t class = s->o.queries ? s->o.queries->label[list] : list;
        for (int i = 0; h && i < h->nq && !s->own_row[list]; i++)
            if (h->label[i] == class) s->own_row[list] = h->vector + (size_t)i * (size_t)h->dim;
        if (!s->own_row[list])
            return npr_fail(NPR_EENV, "--cap-by=head: the head has no row of class %d (%.40s)", class,
                            s->phrases->name[list]);
    }
    return NPR_OK;
}

static npr_status make(caption_scanner *s)
{
    size_t n = (size_t)s->o.tile_rows, threads = (size_t)s->o.threads;
    NPR_TRY(npr_phrases_make(s->o.names, &s->phrases));
    s->base.lists = s->phrases->classes;
    if (s->by == BY_HEAD) NPR_TRY(find_rows(s));
    s->matches = npr_alloc(threads, sizeof *s->matches, "matches");
    s->row = npr_alloc(n, sizeof *s->row, "a tile's matches");
    s->drop = npr_alloc(n, sizeof *s->drop, "a tile's limits");
    s->own = npr_alloc(n, sizeof *s->own, "a tile's gates");
    if (!s->matches || !s->row || !s->drop || !s->own) return npr_last();
    for (size_t t = 0; t < threads; t++) NPR_TRY(npr_matches_make(s->phrases, &s->matches[t]));
    return npr_filter_make(&s->o, &s->filter);
}

npr_status npr_scanner_caption(const npr_scan_options *o, npr_scanner **out)
{
    static const char *const by[] = {"hash", "similarity", "head"};
    int i = 0;
    while (i < 3 && strcmp(o->cap_by, by[i]) != 0) i++;
    if (i == 3)
        return npr_fail(NPR_EUSAGE,
                        "a class is capped by \"hash\", \"similarity\" or \"head\", not by \"%s\"",
                        o->cap_by);
    caption_scanner *s = npr_alloc(1, sizeof *s, "the caption scanner");
    if (!s) return npr_last();
    s->base = (npr_scanner){.name = "caption", .lists = 0, .part = scan_part, .free = scanner_free};
    s->o = *o;
    s->by = i;
    npr_status st = make(s);
    if (st) {
        scanner_free(&s->base);
        return st;
    }
    *out = &s->base;
    return NPR_OK;
}
