/* Lists of the best hits against sorting everything. */
#include "test.h"

#include "base/rng.h"
#include "npr/topk.h"

static int compare(const void *a, const void *b)
{
    const npr_hit *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    if (x->id != y->id) return x->id < y->id ? -1 : 1;
    return x->place < y->place ? -1 : x->place > y->place;
}

static int same(const npr_hit *a, const npr_hit *b, int n)
{
    for (int i = 0; i < n; i++)
        if (memcmp(&a[i].score, &b[i].score, sizeof a->score) || a[i].id != b[i].id ||
            a[i].place != b[i].place)
            return 0;
    return 1;
}

/* How hits come: 0 any order, 1 ever better, 2 ever worse, 3 few scores, 4 all the same score and id,
 * 5 every hit twice */
static npr_hit make_hit(npr_rng *r, int i, int kind)
{
    npr_hit h = {npr_rng_normal(r), npr_rng_below(r, 1000), npr_place((int)npr_rng_below(r, 40), i)};
    if (kind == 1) h.score = i;
    if (kind == 2) h.score = -i;
    if (kind == 3) h.score = (double)npr_rng_below(r, 3) - 1;
    if (kind == 4) h = (npr_hit){0.25, 7, h.place};
    if (kind == 5) h = (npr_hit){i / 2, i / 2, i / 2};
    return h;
}

static void one_list(npr_rng *r, int n, int k, int kind)
{
    npr_hit *all = calloc((size_t)n + 1, sizeof *all);
    npr_topk *t = npr_topk_make(3, k), *half = npr_topk_make(3, k);
    int floors = 0;
    for (int i = 0; i < n; i++) {
        all[i] = make_hit(r, i, kind);
        double before = npr_topk_floor(t, 1);
        CHECK_OK(npr_topk_push(i % 2 ? t : half, 1, all[i]));
        floors += npr_topk_floor(t, 1) < before; /* a floor never sinks */
    }
    CHECK_OK(npr_topk_merge(t, half));
    qsort(all, (size_t)n, sizeof *all, compare);
    int want = n < k ? n : k;
    CHECK(npr_topk_floor(t, 1) <= (n < k ? -INFINITY : all[k - 1].score));
    npr_topk_sort(t);
    CHECK_INT(npr_topk_count(t, 1), want);
    CHECK(same(npr_topk_list(t, 1), all, want));
    CHECK(npr_topk_floor(t, 1) == (n < k ? -INFINITY : all[k - 1].score));
    CHECK_INT(npr_topk_count(t, 0) + npr_topk_count(t, 2), 0);
    /* offering all again changes nothing: each has been kept or pushed out, unless the list has room */
    for (int i = 0; n >= k && kind != 5 && i < n; i++)
        if (compare(&all[i], &all[k - 1]) >= 0) CHECK_OK(npr_topk_push(t, 1, all[i]));
    npr_topk_sort(t);
    CHECK(same(npr_topk_list(t, 1), all, want));
    CHECK_INT(floors, 0);
    npr_topk_free(t);
    npr_topk_free(half);
    free(all);
}

int main(void)
{
    npr_rng r = npr_rng_make(8, 0);
    static const int counts[] = {0, 1, 2, 9, 10, 11, 64, 65, 74, 75, 200, 1000, 20000};
    static const int keeps[] = {1, 2, 10, 100, 1000, 100000};
    for (size_t n = 0; n < sizeof counts / sizeof *counts; n++)
        for (size_t k = 0; k < sizeof keeps / sizeof *keeps; k++)
            for (int kind = 0; kind < 6; kind++) one_list(&r, counts[n], keeps[k], kind);
    npr_topk *t = npr_topk_make(0, 5);
    npr_topk_sort(t);
    CHECK_INT(npr_topk_queries(t), 0);
    CHECK_INT(npr_topk_k(t), 5);
    npr_topk_free(t);
    npr_topk_free(NULL);
    CHECK_INT(npr_place_part(npr_place(99999, 0xffffffff)), 99999);
    CHECK_INT(npr_place_row(npr_place(99999, 0xffffffff)), 0xffffffff);
    return TEST_END();
}
