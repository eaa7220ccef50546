/* test_filter.c - the row filter against a plain version of each limit: one row at a time, softmax in the
 * open. */
#include <math.h>

#include "base/score.h"
#include "search/filter.h"
#include "small.h"

enum { ROWS = 400, DIM = 48, CLASSES = 13 };

static void make_head(npr_queries *head)
{
    uint64_t seed = 5;
    *head = (npr_queries){.nq = CLASSES, .dim = DIM, .classes = 40};
    head->vector = calloc((size_t)CLASSES * DIM, sizeof(float));
    head->label = calloc(CLASSES, sizeof(int32_t));
    head->id = calloc(CLASSES, sizeof(int64_t));
    for (int c = 0; c < CLASSES; c++) {
        uint16_t h[DIM];
        small_vector(&seed, NULL, 1, DIM, h);
        npr_half_to_float(h, head->vector + (size_t)c * DIM, DIM);
        head->label[c] = 39 - 3 * c; /* classes are not row numbers */
    }
}

static void make_rows(npr_rows *r, const npr_queries *head)
{
    uint64_t seed = 6;
    uint32_t columns = NPR_COL(NPR_EMB) | NPR_COL(NPR_ID) | NPR_COL(NPR_LABEL) | NPR_COL(NPR_SIMILARITY) |
                       NPR_COL(NPR_NSFW) | NPR_COL(NPR_WIDTH) | NPR_COL(NPR_HEIGHT);
    CHECK_OK(npr_rows_make(r, columns, DIM, ROWS));
    for (int i = 0; i < ROWS; i++) {
        int c = i % CLASSES;
        small_vector(&seed, head->vector + (size_t)c * DIM, 0.05 + small_uniform(&seed), DIM,
                     r->emb + (size_t)i * DIM);
        r->id[i] = i;
        r->label[i] = i % 5 ? head->label[c] : -1;
        r->similarity[i] = i % 11 ? (float)small_uniform(&seed) : NAN;
        r->nsfw[i] = (uint8_t)(i % 4);
        r->width[i] = (int32_t)(small_random(&seed) % 400);
        r->height[i] = i % 7 ? (int32_t)(small_random(&seed) % 400) : 0;
        CHECK_OK(npr_rows_next(r));
    }
    r->emb[7 * DIM + 3] = 0x7e00; /* a NaN in row 7 */
}

/* What the head says of a row: its class and how sure it is; -1 for a row that is not finite. */
static int32_t ask(const npr_queries *head, const uint16_t *row, double *prob)
{
    double score[CLASSES], sum = 0;
    int best = 0;
    for (int c = 0; c < CLASSES; c++) {
        score[c] = npr_score_dot(row, head->vector + (size_t)c * DIM, DIM);
        if (score[c] != score[c]) return -1;
        if (score[c] > score[best]) best = c;
    }
    for (int c = 0; c < CLASSES; c++) sum += exp(100 * (score[c] - score[best]));
    *prob = 1 / sum;
    return head->label[best];
}

static void plain(const npr_filter_limits *l, const npr_queries *head, int own_labels, const npr_rows *r,
                  int64_t i, int *drop, int *own)
{
    *drop = 0;
    *own = NPR_GATE_ANY;
    double prob = 0;
    int32_t label = ask(head, r->emb + (size_t)i * DIM, &prob);
    if (!isnan(r->similarity[i]) && r->similarity[i] < l->min_similarity)
        *drop = NPR_TALLY_SIMILARITY;
    else if (r->nsfw[i] > l->max_nsfw)
        *drop = NPR_TALLY_NSFW;
    else if ((r->width[i] && r->width[i] < l->min_side) || (r->height[i] && r->height[i] < l->min_side))
        *drop = NPR_TALLY_SIZE;
    else if (l->clip && (label < 0 || prob < l->clip_threshold || (own_labels && label != r->label[i])))
        *drop = NPR_TALLY_CLIP;
    else if (l->clip && !own_labels)
        *own = label;
    if (*drop) *own = NPR_GATE_NONE;
}

static void compare(const npr_filter_limits *l, const npr_queries *head, int own_labels, int threads,
                    const npr_rows *r, int *counts)
{
    npr_scan_options o = {.limits = *l, .head = head, .labels_from_index = own_labels, .threads = threads};
    npr_filter *f;
    int8_t drop[ROWS];
    int32_t own[ROWS];
    CHECK_OK(npr_filter_make(&o, &f));
    for (int again = 0; again < 2; again++)
        CHECK_OK(npr_filter_tile(f, r, drop, own)); /* scratch is used again */
    for (int64_t i = 0; i < r->n; i++) {
        int want_drop, want_own;
        plain(l, head, own_labels, r, i, &want_drop, &want_own);
        CHECK_INT(drop[i], want_drop);
        CHECK_INT(own[i], want_own);
        counts[want_drop]++;
    }
    npr_filter_free(f);
}

static void test_all_limits(const npr_queries *head, const npr_rows *r)
{
    int counts[NPR_TALLY_FIELDS] = {0};
    for (int bits = 0; bits < 64; bits++) {
        npr_filter_limits l = {.min_similarity = bits & 1 ? 0.3f : -INFINITY,
                               .max_nsfw = bits & 2 ? NPR_NSFW_UNLIKELY : NPR_NSFW_LIKELY,
                               .min_side = bits & 4 ? 60 : 0,
                               .clip = (bits & 8) != 0,
                               .clip_threshold = bits & 4 ? 0.9 : 0};
        compare(&l, head, (bits & 16) != 0, bits & 32 ? 2 : 1, r, counts);
    }
    for (int f = 0; f < NPR_TALLY_FIELDS; f++) CHECK(counts[f] > 100); /* every way out was taken */
}

static void test_columns(const npr_queries *head)
{
    npr_scan_options o = {.limits = {.min_similarity = -INFINITY, .max_nsfw = NPR_NSFW_LIKELY}, .threads = 1};
    npr_filter *f;
    CHECK_OK(npr_filter_make(&o, &f));
    CHECK_INT(npr_filter_columns(f), 0);
    npr_filter_free(f);
    o.limits = (npr_filter_limits){.min_similarity = 0, .min_side = 1, .clip = 1};
    CHECK_FAILS(npr_filter_make(&o, &f), NPR_EUSAGE, "needs a head");
    o.head = head;
    o.labels_from_index = 1;
    CHECK_OK(npr_filter_make(&o, &f));
    CHECK_INT(npr_filter_columns(f), NPR_COL(NPR_SIMILARITY) | NPR_COL(NPR_NSFW) | NPR_COL(NPR_WIDTH) |
                                         NPR_COL(NPR_HEIGHT) | NPR_COL(NPR_EMB) | NPR_COL(NPR_LABEL));
    npr_filter_free(f);
}

/* Columns that a batch lacks are unknown, and unknown passes; so does a batch without rows. */
static void test_unknown(void)
{
    npr_rows r = {0};
    npr_scan_options o = {.limits = {.min_similarity = 0.9f, .min_side = 1000}, .threads = 1};
    npr_filter *f;
    int8_t drop[2] = {9, 9};
    int32_t own[2] = {9, 9};
    CHECK_OK(npr_rows_make(&r, NPR_COL(NPR_ID), 4, 2));
    CHECK_OK(npr_filter_make(&o, &f));
    CHECK_OK(npr_filter_tile(f, &r, drop, own));
    CHECK_INT(drop[0], 9);
    for (int i = 0; i < 2; i++) CHECK_OK(npr_rows_next(&r));
    CHECK_OK(npr_filter_tile(f, &r, drop, own));
    CHECK_INT(drop[1], NPR_TALLY_MATCHED);
    CHECK_INT(own[1], NPR_GATE_ANY);
    npr_filter_free(f);
    npr_rows_free(&r);
}

int main(void)
{
    npr_queries head;
    npr_rows rows = {0};
    make_head(&head);
    make_rows(&rows, &head);
    test_all_limits(&head, &rows);
    test_columns(&head);
    test_unknown();
    npr_rows_free(&rows);
    npr_queries_free(&head);
    return TEST_END();
}
