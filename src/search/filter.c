/* filter.c - see filter.h. */
#include "search/filter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/score.h"

struct npr_filter {
    npr_filter_limits limits;
    const npr_queries *head;
    int labels_from_index, threads;
    /* rows that pass the cheap limits, packed for the CLIP filter */
    size_t cap;
    uint16_t *emb;  /* [cap][dim] */
    size_t emb_cap; /* values */
    int64_t *row;   /* [cap] where a packed row came from */
    int32_t *best;  /* [cap] */
    double *prob;   /* [cap] */
};

npr_status npr_filter_make(const npr_scan_options *o, npr_filter **out)
{
    if (o->limits.clip && !o->head) return npr_fail(NPR_EUSAGE, "the CLIP filter needs a head");
    npr_filter *f = npr_alloc(1, sizeof *f, "the row filter");
    if (!f) return npr_last();
    f->limits = o->limits;
    f->head = o->head;
    f->labels_from_index = o->labels_from_index;
    f->threads = o->threads;
    *out = f;
    return NPR_OK;
}

void npr_filter_free(npr_filter *f)
{
    if (!f) return;
    free(f->emb);
    free(f->row);
    free(f->best);
    free(f->prob);
    free(f);
}

uint32_t npr_filter_columns(const npr_filter *f)
{
    uint32_t c = 0;
    if (f->limits.min_similarity > -INFINITY) c |= NPR_COL(NPR_SIMILARITY);
    if (f->limits.max_nsfw < NPR_NSFW_LIKELY) c |= NPR_COL(NPR_NSFW);
    if (f->limits.min_side > 0) c |= NPR_COL(NPR_WIDTH) | NPR_COL(NPR_HEIGHT);
    if (f->limits.clip) c |= NPR_COL(NPR_EMB);
    if (f->limits.clip && f->labels_from_index) c |= NPR_COL(NPR_LABEL);
    return c;
}

/* The first limit that row i fails; unknown values pass (a NaN is below nothing, 0 pixels are unknown). */
static int8_t judge(const npr_filter_limits *l, const npr_rows *r, int64_t i)
{
    if (r->columns & NPR_COL(NPR_SIMILARITY) && r->similarity[i] < l->min_similarity)
        return NPR_TALLY_SIMILARITY;
    if (r->columns & NPR_COL(NPR_NSFW) && r->nsfw[i] > l->max_nsfw) return NPR_TALLY_NSFW;
    if (r->columns & NPR_COL(NPR_WIDTH) && r->width[i] > 0 && r->width[i] < l->min_side)
        return NPR_TALLY_SIZE;
    if (r->columns & NPR_COL(NPR_HEIGHT) && r->height[i] > 0 && r->height[i] < l->min_side)
        return NPR_TALLY_SIZE;
    return NPR_TALLY_MATCHED;
}

static npr_status reserve(npr_filter *f, size_t n, size_t dim)
{
    if (n > f->cap) {
        size_t cap_row = f->cap, cap_best = f->cap, cap_prob = f->cap;
        NPR_TRY(npr_grow(&f->row, &cap_row, n, sizeof *f->row, "the CLIP filter"));
        NPR_TRY(npr_grow(&f->best, &cap_best, n, sizeof *f->best, "the CLIP filter"));
        NPR_TRY(npr_grow(&f->prob, &cap_prob, n, sizeof *f->prob, "the CLIP filter"));
        f->cap = n;
    }
    return npr_grow(&f->emb, &f->emb_cap, n * dim, sizeof *f->emb, "the CLIP filter");
}

/* Ask the head what each row that is left shows. Only these rows are scored: in caption search they are few.
 */
static npr_status ask_head(npr_filter *f, const npr_rows *r, int8_t *drop, int32_t *own)
{
    size_t dim = (size_t)r->dim;
    int64_t left = 0, n = 0;
    for (int64_t i = 0; i < r->n; i++) left += !drop[i];
    const uint16_t *emb = r->emb;
    NPR_TRY(reserve(f, (size_t)left, left < r->n ? dim : 0));
    for (int64_t i = 0; i < r->n; i++) {
        if (drop[i]) continue;
        if (left < r->n) memcpy(f->emb + (size_t)n * dim, r->emb + (size_t)i * dim, dim * sizeof *f->emb);
        f->row[n++] = i;
    }
    if (left < r->n) emb = f->emb;
    /* Without a threshold, who is first is enough; that is cheaper by far than how sure the head is. */
    double *prob = f->limits.clip_threshold > 0 ? f->prob : NULL;
    NPR_TRY(npr_score_argmax(emb, n, r->dim, f->head->vector, f->head->nq, f->threads, f->best, NULL, prob));
    for (int64_t j = 0; j < n; j++) {
        int64_t i = f->row[j];
        int32_t label = NPR_GATE_NONE;
        if (f->best[j] >= 0 && (!prob || prob[j] >= f->limits.clip_threshold))
            label = f->head->label[f->best[j]];
        if (f->labels_from_index && label >= 0) {
            own[i] = label == r->label[i] ? NPR_GATE_ANY : NPR_GATE_NONE;
        } else {
            own[i] = label >= 0 ? label : NPR_GATE_NONE; /* a head row without a class allows none */
        }
        if (own[i] == NPR_GATE_NONE) drop[i] = NPR_TALLY_CLIP;
    }
    return NPR_OK;
}

npr_status npr_filter_tile(npr_filter *f, const npr_rows *r, int8_t *drop, int32_t *own)
{
    for (int64_t i = 0; i < r->n; i++) {
        drop[i] = judge(&f->limits, r, i);
        own[i] = drop[i] ? NPR_GATE_NONE : NPR_GATE_ANY;
    }
    return f->limits.clip && r->n ? ask_head(f, r, drop, own) : NPR_OK;
}
