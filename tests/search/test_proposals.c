/* test_proposals.c - bounded lists of FAISS's candidates against npr_topk: in any order, in sorted runs, with
 * equal scores, cut now and then; and their rows by part. */
#include "search/faiss/proposals.h"

#include "base/rng.h"
#include "test.h"

enum { PARTS = 7 };

/* How hits come. */
enum { ANY, RUNS, MANY_RUNS, EQUAL, FEW_VALUES, INFINITE, ZEROS, KINDS };

typedef struct hit {
    float score;
    int64_t place;
} hit;

static int by_score(const void *va, const void *vb)
{
    const hit *a = va, *b = vb;
    return (a->score < b->score) - (a->score > b->score);
}

/* n hits of a list, all in different places, part by part. */
static void make_hits(hit *h, int n, int kind, uint64_t seed)
{
    npr_rng r = npr_rng_make(seed, (uint64_t)kind);
    int run = kind == MANY_RUNS ? 3 : n / 5 + 1;
    for (int i = 0; i < n; i++) {
        float any = (float)npr_rng_normal(&r);
        int row = (int)((int64_t)i * 7919 % 100003); /* a prime: no row twice */
        h[i] = (hit){any, npr_place(i / run % PARTS, row)};
        if (kind == EQUAL) h[i].score = 0.5f;
        if (kind == FEW_VALUES) h[i].score = (float)npr_rng_below(&r, 9) / 8;
        if (kind == INFINITE && i % 3) h[i].score = i % 3 == 1 ? -INFINITY : INFINITY;
        if (kind == ZEROS) h[i].score = i % 3 == 0 ? 0.0f : i % 3 == 1 ? -0.0f : any / 4;
    }
    for (int i = 0; kind != ANY && i < n; i += run)
        qsort(h + i, (size_t)(n - i < run ? n - i : run), sizeof *h, by_score);
}

/* Hits of the two that differ, both sorted. */
static int differences(npr_topk *want, npr_topk *got)
{
    int wrong = 0;
    npr_topk_sort(want);
    npr_topk_sort(got);
    for (int q = 0; q < npr_topk_queries(want); q++) {
        int n = npr_topk_count(want, q);
        wrong += npr_topk_count(got, q) != n;
        for (int i = 0; i < n && i < npr_topk_count(got, q); i++) {
            npr_hit a = npr_topk_list(want, q)[i], b = npr_topk_list(got, q)[i];
            wrong += a.score != b.score || a.place != b.place || b.id != 0;
        }
    }
    return wrong;
}

static int in_order(const npr_proposed *l, const hit *h, int n)
{
    int at = 0;
    for (int64_t i = 0; i < l->n; i++) {
        while (at < n && h[at].place != l->place[i]) at++;
        if (at == n) return 0;
    }
    return 1;
}

/* n hits into a list of k, the floor now and then brought up to date. */
static void check(int kind, int n, int k, int settles)
{
    hit *h = calloc((size_t)n + 1, sizeof *h);
    npr_proposals *p = npr_proposals_make(3, k);
    npr_topk *want = npr_topk_make(3, k);
    int high = 0;
    make_hits(h, n, kind, (uint64_t)k);
    for (int i = 0; i < n; i++)
        for (int q = 0; q < 3; q += 2) { /* nothing into the second list */
            if (q == 2 && i % 4) continue;
            CHECK_OK(npr_topk_push(want, q, (npr_hit){.score = h[i].score, .place = h[i].place}));
            CHECK_OK(npr_proposals_push(p, q, h[i].score, h[i].place));
            if (settles && i % 50 == 0) CHECK_OK(npr_proposals_settle(p, q));
            high += p->list[q].n > k + (k / 2 > 64 ? k / 2 : 64);
        }
    CHECK_INT(high, 0);
    for (int q = 0; q < 3; q++) {
        CHECK(npr_proposals_floor(p, q) == -INFINITY || p->list[q].n >= k);
        CHECK(in_order(&p->list[q], h, n));
    }
    npr_topk *early = npr_proposals_hits(p);
    CHECK_OK(npr_proposals_cut(p));
    npr_topk *got = npr_proposals_hits(p);
    CHECK_INT(differences(want, early), 0);
    CHECK_INT(differences(want, got), 0);
    for (int q = 0; q < 3; q++) {
        CHECK(in_order(&p->list[q], h, n));
        CHECK_INT(p->list[q].n, npr_topk_count(want, q));
        if (npr_topk_count(want, q) == k)
            CHECK(npr_proposals_floor(p, q) == (float)npr_topk_list(want, q)[k - 1].score);
    }
    npr_topk_free(early);
    npr_topk_free(got);
    npr_topk_free(want);
    npr_proposals_free(p);
    free(h);
}

/* Which parts may have more to say: those whose whole answer reaches the bound. */
static void test_open(void)
{
    enum { K = 10, NQ = 5, BLOCK = 2, BLOCKS = 3, ASKED = 4 };
    npr_proposals *p = npr_proposals_make(NQ, K);
    npr_bound bound[NQ];
    int64_t asked[PARTS] = {ASKED, ASKED, ASKED, 0, ASKED, ASKED, ASKED};
    char open[PARTS * BLOCKS];
    for (int q = 0; q < NQ; q++)
        for (int part = 0; part < 5; part++)
            for (int i = 0; i < ASKED;
                 i++) { /* 3 and 4 low; in list 1 the last of part 2 is level with the bound */
                float score = part >= 3 ? (float)-i : (float)(10 - (q == 1 ? i : part == 2 ? 3 * i : i));
                if (q == 4 && part != 1) continue; /* fewer than K */
                CHECK_OK(npr_proposals_push(p, q, score, npr_place(part, i)));
            }
    CHECK_OK(npr_proposals_bounds_here(p, bound));
    CHECK(bound[0].least == 7 && bound[1].least == 7 && bound[4].least == -INFINITY);
    CHECK_INT(npr_proposals_open(p, bound, PARTS, asked, BLOCK, open), 6);
    static const char want[PARTS * BLOCKS] = {1, 1, 0, 1, 1, 1, 1};
    CHECK(!memcmp(open, want, sizeof want));
    npr_proposals_raise(p, bound);
    CHECK_INT(p->list[1].n, K);
    npr_proposals_forget(p, 1, 1);
    CHECK_INT(p->list[1].n, K - 3);
    for (int64_t i = 0; i < p->list[1].n; i++) CHECK(npr_place_part(p->list[1].place[i]) != 1);
    npr_proposals_free(p);
}

/* A list of exactly k: its last hit is the bound, and the one to beat until a wider one is raised. */
static void test_exactly(void)
{
    enum { K = 6 };
    static const float score[K] = {2, 5, 2, 3, 2, 4};
    static const int64_t place[K] = {30, 1, 70, 2, 50, 3};
    npr_proposals *p = npr_proposals_make(1, K);
    npr_bound bound;
    for (int i = 0; i < K; i++) CHECK_OK(npr_proposals_push(p, 0, score[i], place[i]));
    CHECK_OK(npr_proposals_bounds_here(p, &bound));
    CHECK(bound.least == 2);
    CHECK_INT(bound.last, 70);
    npr_proposals_raise(p, &bound);
    CHECK_INT(p->list[0].n, K);
    CHECK_OK(npr_proposals_push(p, 0, 2, 71));
    CHECK_OK(npr_proposals_push(p, 0, 1, 0));
    CHECK_INT(p->list[0].n, K);
    bound.last = INT64_MAX;
    npr_proposals_raise(p, &bound);
    CHECK_OK(npr_proposals_push(p, 0, 2, 71));
    CHECK_INT(p->list[0].n, K + 1);
    CHECK_OK(npr_proposals_bounds_here(p, &bound));
    CHECK(bound.least == 2);
    CHECK_INT(bound.last, 70);
    npr_proposals_raise(p, &bound);
    CHECK_INT(p->list[0].n, K);
    for (int i = 0; i < K; i++) CHECK_INT(p->list[0].place[i], place[i]);
    npr_proposals_free(p);
}

/* Where hits that tie for the last places had to go, no part is known to have said enough. */
static void test_tied(void)
{
    enum { K = 8, NQ = 2 };
    npr_proposals *p = npr_proposals_make(NQ, K);
    npr_bound bound[NQ];
    int64_t asked[PARTS] = {50, 0, 500, 500};
    char open[PARTS];
    for (int i = 0; i < 500; i++) CHECK_OK(npr_proposals_push(p, 1, 1, npr_place(i % 4, i)));
    CHECK_OK(npr_proposals_bounds_here(p, bound));
    CHECK_INT(npr_proposals_open(p, bound, PARTS, asked, NQ, open), 3);
    CHECK(open[0] && !open[1] && open[2] && open[3]);
    for (int i = 0; i < K; i++) CHECK_OK(npr_proposals_push(p, 1, 2, npr_place(5, i)));
    CHECK_OK(npr_proposals_bounds_here(p, bound));
    CHECK_INT(npr_proposals_open(p, bound, PARTS, asked, NQ, open), 0);
    npr_proposals_free(p);
}

/* All hits of the lists, by part, then query, then as they stand. */
static void test_chosen(void)
{
    enum { N = 500, NQ = 4 };
    hit h[N];
    npr_proposals *p = npr_proposals_make(NQ, N);
    make_hits(h, N, RUNS, 1);
    for (int i = 0; i < N; i++)
        for (int q = 0; q < NQ; q++)
            if ((i + q) % 3 && npr_place_part(h[i].place) != 2)
                CHECK_OK(npr_proposals_push(p, q, h[i].score, h[i].place));
    npr_chosen c;
    CHECK_OK(npr_chosen_make(p, PARTS + 2, &c));
    int64_t at = 0;
    for (int part = 0; part < PARTS + 2; part++) {
        CHECK_INT(c.first[part], at);
        for (int q = 0; q < NQ; q++)
            for (int i = 0; i < N; i++) {
                if (npr_place_part(h[i].place) != part || part == 2 || !((i + q) % 3)) continue;
                CHECK_INT(c.pair[at].row, npr_place_row(h[i].place));
                CHECK_INT(c.pair[at++].query, q);
            }
    }
    CHECK_INT(c.first[PARTS + 2], at);
    for (int q = 0; q < NQ; q++) CHECK_INT(p->list[q].n, 0);
    npr_chosen_free(&c);
    npr_proposals_free(p);
}

/* The keys of scores are their order, and lead back to them. */
static void test_keys(void)
{
    const float s[] = {INFINITY, 3e38f,   2,  1.0000001f,  1,      1e-38f,   1e-45f,
                       0,        -1e-45f, -1, -1.0000001f, -3e38f, -INFINITY};
    for (size_t i = 0; i < sizeof s / sizeof *s; i++) {
        if (i) CHECK(npr_score_key(s[i - 1]) < npr_score_key(s[i]));
        CHECK(npr_score_of_key(npr_score_key(s[i])) == s[i]);
    }
    CHECK(npr_score_of_key(UINT32_MAX) == -INFINITY);
}

int main(void)
{
    static const int sizes[][2] = {{0, 5}, {3, 5}, {5, 5}, {300, 1}, {400, 70}, {3000, 200}, {9000, 2000}};
    for (int kind = 0; kind < KINDS; kind++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            check(kind, sizes[i][0], sizes[i][1], 0);
            check(kind, sizes[i][0], sizes[i][1], 1);
        }
    test_open();
    test_exactly();
    test_tied();
    test_chosen();
    test_keys();
    return TEST_END();
}
