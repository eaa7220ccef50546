/* plan.c - which rows make the pool, in which order: from merged lists to one row after the other. See
 * search_stage.h. */
#include <stdlib.h>

#include "base/mem.h"
#include "search/search_stage.h"

npr_status npr_search_plan_add(npr_search_plan *p, const npr_topk *lists, int list0, const int32_t *label)
{
    for (int q = 0; q < npr_topk_queries(lists); q++) {
        const npr_hit *hit = npr_topk_list(lists, q);
        size_t n = (size_t)npr_topk_count(lists, q);
        NPR_TRY(npr_grow(&p->row, &p->cap, p->count + n, sizeof *p->row, "the rows of the pool"));
        for (size_t i = 0; i < n; i++)
            p->row[p->count++] = (npr_plan_row){hit[i], label[list0 + q], list0 + q};
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
        const npr_plan_row *last = kept ? &p->row[kept - 1] : NULL, *r = &p->row[i];
        if (last && last->hit.place == r->hit.place && (!by_class || last->label == r->label)) continue;
        p->row[kept++] = *r;
    }
    p->count = kept;
    qsort(p->row, p->count, sizeof *p->row, by_class ? by_class_and_score : by_id);
}
