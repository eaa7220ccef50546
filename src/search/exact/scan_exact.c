/* scan_exact.c - the scanner of exact search: tile after tile of a part is filtered, then scored against all
 * queries. See npr/search.h; the scoring is exact.c. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "npr/search.h"
#include "search/filter.h"
#include "search/tiles.h"

typedef struct exact_scanner {
    npr_scanner base; /* first: a scanner of ours is one of theirs */
    npr_scan_options o;
    npr_filter *filter;
    npr_exact *exact;
    npr_tiles *tiles; /* made with the first part, when the columns of the index are known */
    int8_t *drop;     /* [tile_rows] */
    int32_t *gate;    /* [tile_rows] */
    int64_t *open;    /* [classes] rows of a tile that the CLIP filter leaves to a class */
} exact_scanner;

/* A row with a NaN or an infinity, whose exponent has all bits set, has no score. */
static int is_finite(const uint16_t *row, int dim)
{
    unsigned bad = 0;
    for (int j = 0; j < dim; j++) bad |= (row[j] & 0x7c00u) == 0x7c00u;
    return !bad;
}

/* Rows that cannot be scored are taken out and counted apart, whatever the filters say of them. */
static void gate_non_finite(exact_scanner *s, const npr_rows *r, npr_tally *tally)
{
    int64_t bad = 0;
#pragma omp parallel for num_threads(s->o.threads) reduction(+ : bad)
    for (int64_t i = 0; i < r->n; i++) {
        if (is_finite(r->emb + (size_t)i * (size_t)r->dim, r->dim)) continue;
        s->gate[i] = NPR_GATE_NONE;
        s->drop[i] = NPR_TALLY_FIELDS;
        bad++;
    }
    tally->non_finite += bad;
}

/* Every row matches every query, so what a limit drops it drops from all lists; only the CLIP filter tells
 * them apart. */
static void count_tile(exact_scanner *s, const npr_rows *r, npr_tally *tally)
{
    int64_t dropped[NPR_TALLY_FIELDS + 1] = {0}, any = 0;
    int classes = s->o.queries->classes;
    memset(s->open, 0, (size_t)classes * sizeof *s->open);
    for (int64_t i = 0; i < r->n; i++) {
        dropped[s->drop[i]]++;
        if (s->drop[i]) continue;
        if (s->gate[i] == NPR_GATE_ANY)
            any++;
        else if (s->gate[i] < classes)
            s->open[s->gate[i]]++;
    }
    int64_t matched = r->n - dropped[NPR_TALLY_FIELDS];
    int64_t reached =
        dropped[NPR_TALLY_MATCHED] + dropped[NPR_TALLY_CLIP]; /* rows the CLIP filter was asked about */
    for (int q = 0; q < s->base.lists; q++) {
        int64_t *count = tally->count + (size_t)q * NPR_TALLY_FIELDS;
        int32_t label = s->o.queries->label[q];
        count[NPR_TALLY_MATCHED] += matched;
        for (int f = NPR_TALLY_MATCHED + 1; f < NPR_TALLY_CLIP; f++) count[f] += dropped[f];
        count[NPR_TALLY_CLIP] += reached - any - (label >= 0 ? s->open[label] : 0);
    }
}

static npr_status scan_tile(exact_scanner *s, const npr_set *index, int part, const npr_rows *r, int64_t row0,
                            npr_topk *into, npr_tally *tally)
{
    NPR_TRY(npr_filter_tile(s->filter, r, s->drop, s->gate));
    gate_non_finite(s, r, tally);
    count_tile(s, r, tally);
    tally->rows += r->n;
    tally->bytes += npr_rows_bytes(r);
    npr_tile tile = {.n = r->n,
                     .emb = r->emb,
                     .id = r->id,
                     .place0 = npr_place(part, row0),
                     .gate = s->gate,
                     .residual = index->part[part].residual};
    return npr_exact_tile(s->exact, &tile, into);
}

static npr_status scan_part(npr_scanner *self, const npr_set *index, int part, npr_topk *into,
                            npr_tally *tally)
{
    exact_scanner *s = (exact_scanner *)self;
    if (!s->tiles) {
        uint32_t columns =
            NPR_COL(NPR_EMB) | NPR_COL(NPR_ID) | (npr_filter_columns(s->filter) & index->columns);
        NPR_TRY(npr_tiles_make(columns, index->dim, s->o.tile_rows, &s->tiles));
        npr_tiles_keep(s->tiles, s->o.resident);
    }
    NPR_TRY(npr_tiles_start(s->tiles, index, part));
    for (;;) {
        const npr_rows *r;
        int64_t row0;
        NPR_TRY(npr_tiles_next(s->tiles, &r, &row0));
        npr_tiles_seconds(s->tiles, &self->waited, &self->reading);
        if (!r) return NPR_OK;
        NPR_TRY(scan_tile(s, index, part, r, row0, into, tally));
    }
}

static void scanner_free(npr_scanner *self)
{
    exact_scanner *s = (exact_scanner *)self;
    npr_tiles_free(s->tiles);
    npr_exact_free(s->exact);
    npr_filter_free(s->filter);
    free(s->drop);
    free(s->gate);
    free(s->open);
    free(s);
}

npr_status npr_scanner_exact(const npr_scan_options *o, npr_scanner **out)
{
    exact_scanner *s = npr_alloc(1, sizeof *s, "the exact scanner");
    if (!s) return npr_last();
    s->base =
        (npr_scanner){.name = "exact", .lists = o->queries->nq, .part = scan_part, .free = scanner_free};
    s->o = *o;
    s->drop = npr_alloc((size_t)o->tile_rows, sizeof *s->drop, "a tile's limits");
    s->gate = npr_alloc((size_t)o->tile_rows, sizeof *s->gate, "a tile's gates");
    s->open = npr_alloc((size_t)o->queries->classes, sizeof *s->open, "a tile's classes");
    npr_status st = s->drop && s->gate && s->open ? NPR_OK : npr_last();
    if (!st) st = npr_filter_make(o, &s->filter);
    if (!st) st = npr_exact_make(o->queries, o->k, o->threads, &s->exact);
    if (st) {
        scanner_free(&s->base);
        return st;
    }
    *out = &s->base;
    return NPR_OK;
}
