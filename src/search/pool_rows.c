/* pool_rows.c - which rows make the pool, in which order: from merged lists to one row after the other. See
 * search_stage.h. */
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "search/search_stage.h"

npr_status npr_search_plan_add(npr_search_plan *p, const npr_topk *lists, int list0, const int32_t *label,
                               double min_score)
{
    for (int q = 0; q < npr_topk_queries(lists); q++) {
        const npr_hit *hit = npr_topk_list(lists, q);
        size_t n = (size_t)npr_topk_count(lists, q);
        NPR_TRY(npr_grow(&p->row, &p->cap, p->count + n, sizeof *p->row, "the rows of the pool"));
        size_t i = 0;
        for (; i < n && hit[i].score >= min_score; i++)
            p->row[p->count++] = (npr_plan_row){hit[i], label[list0 + q], list0 + q, 1};
        p->full += i && i == n && (int)n == npr_topk_k(lists);
    }
    return NPR_OK;
}

static int hit_compare(const npr_hit *a, const npr_hit *b)
{
    return npr_hit_before(a, b) ? -1 : npr_hit_before(b, a);
}

/* What is the same row (of the same class) stands together, the best score first. */
static int by_class_and_place(const void *va, const void *vb)
{
    const npr_plan_row *a = va, *b = vb;
    if (a->label != b->label) return a->label < b->label ? -1 : 1;
    if (a->hit.place != b->hit.place) return a->hit.place < b->hit.place ? -1 : 1;
    return hit_compare(&a->hit, &b->hit);
}

static int by_place(const void *va, const void *vb)
{
    const npr_plan_row *a = va, *b = vb;
    if (a->hit.place != b->hit.place) return a->hit.place < b->hit.place ? -1 : 1;
    return hit_compare(&a->hit, &b->hit);
}

static int by_class_and_score(const void *va, const void *vb)
{
    const npr_plan_row *a = va, *b = vb;
    if (a->label != b->label) return a->label < b->label ? -1 : 1;
    return hit_compare(&a->hit, &b->hit);
}

static int by_id(const void *va, const void *vb)
{
    const npr_plan_row *a = va, *b = vb;
    if (a->hit.id != b->hit.id) return a->hit.id < b->hit.id ? -1 : 1;
    return (a->hit.place > b->hit.place) - (a->hit.place < b->hit.place);
}

void npr_search_plan_order(npr_search_plan *p, int by_class)
{
    if (p->count == 0) return;
    qsort(p->row, p->count, sizeof *p->row, by_class ? by_class_and_place : by_place);
    size_t kept = 0;
    for (size_t i = 0; i < p->count; i++) {
        npr_plan_row *last = kept ? &p->row[kept - 1] : NULL;
        const npr_plan_row *r = &p->row[i];
        if (last && last->hit.place == r->hit.place && (!by_class || last->label == r->label))
            last->recalls += r->recalls;
        else
            p->row[kept++] = *r;
    }
    p->count = kept;
    qsort(p->row, p->count, sizeof *p->row, by_class ? by_class_and_score : by_id);
}

void npr_search_plan_best(npr_search_plan *p, int64_t keep, int by_class, int64_t *outranked)
{
    size_t kept = 0;
    int64_t of_class = 0; /* rows of the class at hand kept so far */
    int32_t class = -1;
    if (p->count == 0) return;
    qsort(p->row, p->count, sizeof *p->row, by_class_and_score);
    for (size_t i = 0; i < p->count; i++) {
        npr_plan_row r = p->row[i];
        if (r.label != class) of_class = 0;
        class = r.label;
        if (class < 0) continue;
        if (of_class == keep || !(r.hit.score > -INFINITY)) {
            outranked[class]++;
        } else {
            p->row[kept++] = r;
            of_class++;
        }
    }
    p->count = kept;
    if (kept && !by_class) qsort(p->row, kept, sizeof *p->row, by_id);
}
