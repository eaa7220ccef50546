/* keep_mpi.c - a last look at the rows of the pool before they are written: which class each belongs to, and
 * which are the best of their class. See search_stage.h.
 *
 * Every rank has the whole plan. It reads the rows that lie in its parts of the index, scores each with its
 * class's own row of the head, and all ranks take in what the others found: two numbers a row. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/score.h"
#include "search/search_stage.h"

enum { ROUND_ROWS = 8192 }; /* rows read at a time */

/* A row of the plan that this rank reads. */
typedef struct want {
    int64_t place;
    size_t row;
} want;

typedef struct keeper {
    const npr_search_inputs *in;
    const npr_search_plan *plan;
    int by_class, score_rows;
    const float **head; /* [classes] a class's own row of the head, NULL = it has none */
    int classes;
    want *wants; /* [n_wants] in order of place */
    size_t n_wants;
    int64_t *label; /* [count] classes, INT64_MIN where another rank knows */
    double *score;  /* [count] -INFINITY where another rank knows, or the row has none */
    int64_t *row;   /* [ROUND_ROWS] */
    npr_rows picked;
} keeper;

static int want_compare(const void *va, const void *vb)
{
    const want *a = va, *b = vb;
    if (a->place != b->place) return a->place < b->place ? -1 : 1;
    return (a->row > b->row) - (a->row < b->row);
}

static npr_status index_head(keeper *k)
{
    const npr_queries *h = &k->in->head;
    k->classes = h->classes;
    k->head = npr_alloc((size_t)h->classes, sizeof *k->head, "classes");
    if (!k->head) return npr_last();
    for (int i = 0; i < h->nq; i++)
        if (h->label[i] >= 0) k->head[h->label[i]] = h->vector + (size_t)i * (size_t)h->dim;
    return NPR_OK;
}

static npr_status prepare(const npr_comm *comm, keeper *k)
{
    size_t n = k->plan->count;
    uint32_t columns =
        NPR_COL(NPR_ID) | (k->by_class ? 0 : NPR_COL(NPR_LABEL)) | (k->score_rows ? NPR_COL(NPR_EMB) : 0);
    k->wants = npr_alloc(n, sizeof *k->wants, "rows of the pool");
    k->label = npr_alloc(n, sizeof *k->label, "classes of the pool");
    k->score = npr_alloc(n, sizeof *k->score, "scores of the pool");
    k->row = npr_alloc(ROUND_ROWS, sizeof *k->row, "rows to fetch");
    if (!k->wants || !k->label || !k->score || !k->row) return npr_last();
    for (size_t i = 0; i < n; i++) {
        k->label[i] = k->by_class ? k->plan->row[i].label : INT64_MIN;
        k->score[i] = -INFINITY;
        int64_t place = k->plan->row[i].hit.place;
        if (npr_owns(comm, npr_place_part(place))) k->wants[k->n_wants++] = (want){place, i};
    }
    qsort(k->wants, k->n_wants, sizeof *k->wants, want_compare);
    if (k->score_rows) NPR_TRY(index_head(k));
    return npr_rows_make(&k->picked, columns, k->in->index->dim, ROUND_ROWS);
}

/* Row j of those read is row i of the plan. */
static npr_status look(keeper *k, int64_t j, size_t i)
{
    if (!k->by_class) k->label[i] = k->picked.label[j];
    int64_t class = k->label[i];
    if (!k->score_rows || class < 0) return NPR_OK;
    if (class >= k->classes || !k->head[class])
        return npr_fail(NPR_EENV, "%s: row %lld is of class %lld, which the head has no row of",
                        k->in->index->path, (long long)npr_place_row(k->plan->row[i].hit.place),
                        (long long)class);
    int dim = k->in->index->dim;
    double s = npr_score_dot(k->picked.emb + (size_t)j * (size_t)dim, k->head[class], dim);
    if (isfinite(s)) k->score[i] = s;
    return NPR_OK;
}

/* Read rows from `*next` on that lie in one part, as many as fit. */
static npr_status read_some(keeper *k, size_t *next)
{
    size_t first = *next, end = first;
    int part = npr_place_part(k->wants[first].place);
    int64_t n = 0;
    for (; end < k->n_wants && npr_place_part(k->wants[end].place) == part && end - first < ROUND_ROWS; end++)
        if (n == 0 || k->row[n - 1] != npr_place_row(k->wants[end].place))
            k->row[n++] = npr_place_row(k->wants[end].place);
    npr_part *in;
    NPR_TRY(npr_part_open(k->in->index, part, &in));
    npr_status st = npr_part_pick(in, k->row, n, &k->picked);
    npr_part_close(in);
    int64_t j = 0;
    for (size_t i = first; !st && i < end; i++) {
        while (k->row[j] != npr_place_row(k->wants[i].place)) j++;
        st = look(k, j, k->wants[i].row);
    }
    *next = end;
    return st;
}

static npr_status look_at_rows(const npr_comm *comm, keeper *k)
{
    npr_status st = prepare(comm, k);
    for (size_t next = 0; !st && next < k->n_wants;) {
        if (npr_stop_requested()) return npr_fail(NPR_ESTOP, "stopped on request while ranking the pool");
        st = read_some(k, &next);
        if (!st && npr_fault("keep.rows")) st = npr_fail(NPR_EIO, "injected fault keep.rows");
    }
    return st;
}

/* How many rows each class has, and what they were recalled by. */
static npr_status count(const npr_search_plan *plan, npr_search_kept *kept)
{
    int32_t most = -1;
    for (size_t i = 0; i < plan->count; i++)
        if (plan->row[i].label > most) most = plan->row[i].label;
    if (most >= NPR_PART_ROWS)
        return npr_fail(NPR_EDATA, "a row of the index is of class %d; a head has at most %d", most,
                        NPR_PART_ROWS);
    kept->classes = most + 1;
    kept->recalled = npr_alloc((size_t)kept->classes, sizeof *kept->recalled, "the table of classes");
    kept->recalls = npr_alloc((size_t)kept->classes, sizeof *kept->recalls, "the table of classes");
    kept->outranked = npr_alloc((size_t)kept->classes, sizeof *kept->outranked, "the table of classes");
    if (!kept->recalled || !kept->recalls || !kept->outranked) return npr_last();
    for (size_t i = 0; i < plan->count; i++) {
        int32_t class = plan->row[i].label;
        if (class < 0) {
            kept->unlabelled++;
            continue;
        }
        kept->recalled[class]++;
        kept->recalls[class] += plan->row[i].recalls;
    }
    return NPR_OK;
}

npr_status npr_search_keep(const npr_comm *comm, const npr_search_job *job, const npr_search_inputs *in,
                           int by_class, npr_search_plan *plan, npr_search_kept *kept)
{
    keeper k = {.in = in, .plan = plan, .by_class = by_class, .score_rows = job->keep > 0};
    int labelled = by_class || (in->index->columns & NPR_COL(NPR_LABEL));
    npr_status st = NPR_OK;
    for (size_t i = 0; !labelled && i < plan->count; i++) plan->row[i].label = -1;
    if ((!by_class && labelled) || job->keep) {
        st = npr_agree(comm, look_at_rows(comm, &k), "ranking the pool");
        if (!st && !by_class) npr_max_i64(comm, k.label, plan->count);
        if (!st && job->keep) npr_max_f64(comm, k.score, plan->count);
        for (size_t i = 0; !st && i < plan->count; i++) {
            plan->row[i].label = (int32_t)k.label[i];
            if (job->keep) plan->row[i].hit.score = k.score[i];
        }
    }
    if (!st) st = npr_agree(comm, count(plan, kept), "ranking the pool");
    if (!st && job->keep) npr_search_plan_best(plan, job->keep, by_class, kept->outranked);
    npr_rows_free(&k.picked);
    free(k.head);
    free(k.wants);
    free(k.label);
    free(k.score);
    free(k.row);
    return st;
}

void npr_search_kept_free(npr_search_kept *k)
{
    free(k->recalled);
    free(k->recalls);
    free(k->outranked);
    *k = (npr_search_kept){0};
}
