/* test_scan_faiss_widen.c - how often a part is asked for more rows. The linker puts answers of ours in
 * FAISS's place
 * (--wrap, tests/CMakeLists.txt), which reach the floor of a list as far as a case says: above it, or just as
 * high. The lists are held against all that was said, sorted. */
#include "npr/search.h"

#include "base/file.h"
#include "indexed.h"

enum {
    BLOCK = NPR_FAISS_BLOCK,
    BLOCKS = 4,
    QUERIES = BLOCK * (BLOCKS - 1) + 8,
    MOST = 700, /* hits of a list; of a part, too */
    SEEN = 100, /* how often the scanner has seen the first part before: it expects little of it */
    ASKS = 4,   /* once, and three times more */
    HIGH = 30000,
    MIDDLE = 20000,
    FLOOR = 0
};

/* ---- answers of ours --------------------------------------------------------------------------------- */

static int above[QUERIES], level[QUERIES]; /* rows of the part that stand above the floor, and on it */
static int64_t asked[BLOCKS][ASKS];        /* how many rows, each time */
static int watched, times[BLOCKS], astray;

static float score_of(int64_t q, int64_t row)
{
    if (row < above[q]) return (float)(MIDDLE - row);
    return row < above[q] + level[q] ? FLOOR : (float)(FLOOR - 1 - row);
}

npr_status __wrap_npr_faiss_search(const npr_faiss *f, const float *q, int nq, int block, int64_t k,
                                   int threads, float *score, int64_t *id, int64_t *scanned);

npr_status __wrap_npr_faiss_search(const npr_faiss *f, const float *q, int nq, int block, int64_t k,
                                   int threads, float *score, int64_t *id, int64_t *scanned)
{
    int64_t q0 = (q - queries.vector) / DIM, held = npr_faiss_rows(f);
    CHECK(threads > 0 && block == BLOCK && q0 % BLOCK == 0);
    if (scanned) *scanned += held;
    for (int64_t i = 0; i < nq; i++) {
        for (int64_t row = 0; row < k; row++) {
            score[i * k + row] = row < held ? score_of(q0 + i, row) : -INFINITY;
            id[i * k + row] = row < held ? row : -1;
        }
        if (!watched || i % BLOCK) continue;
        int64_t b = (q0 + i) / BLOCK;
        if (times[b] == ASKS) return npr_fail(NPR_EINTERNAL, "asked too often"), astray++, npr_last();
        asked[b][times[b]++] = k;
    }
    return NPR_OK;
}

/* ---- lists ------------------------------------------------------------------------------------------- */

/* What a later part has left in every list: half of it high, the others on the floor. */
static npr_hit earlier(int i)
{
    return (npr_hit){.score = i < MOST / 2 ? HIGH - i : FLOOR, .place = npr_place(3, i)};
}

static npr_proposals *make_lists(void)
{
    npr_proposals *t = npr_proposals_make(QUERIES, MOST);
    for (int q = 0; q < QUERIES; q++)
        for (int i = 0; i < MOST; i++)
            CHECK_OK(npr_proposals_push(t, q, (float)earlier(i).score, earlier(i).place));
    return t;
}

/* Hits of the lists that are not the best of all that was said, in their order. */
static int wrong_hits(const npr_set *set, const npr_topk *t)
{
    static npr_hit all[QUERIES][ALL];
    npr_topk *want = npr_topk_make(QUERIES, MOST);
    int n[QUERIES] = {0};
    for (int q = 0; q < QUERIES; q++)
        for (; n[q] < MOST; n[q]++) all[q][n[q]] = earlier(n[q]);
    everything_of(set, 0, 1, all, n);
    for (int q = 0; q < QUERIES; q++) {
        qsort(all[q], (size_t)n[q], sizeof *all[q], by_score_and_place);
        for (int i = 0; i < MOST; i++) CHECK_OK(npr_topk_push(want, q, all[q][i]));
    }
    int wrong = differences(want, t);
    npr_topk_free(want);
    return wrong;
}

/* A scanner that has seen much of which nothing reached a list. */
static npr_scanner *make_scanner(const npr_set *set, int threads, npr_tally *tally)
{
    npr_scan_options o = {.queries = &queries, .k = MOST, .threads = threads, .nprobe = 1};
    npr_scanner *s = NULL;
    CHECK_OK(npr_scanner_faiss(&o, &s));
    memset(above, 0, sizeof above);
    memset(level, 0, sizeof level);
    npr_proposals *t = make_lists();
    for (int i = 0; i < SEEN; i++) CHECK_OK(s->propose(s, set, 0, t, tally));
    for (int q = 0; q < QUERIES; q++) CHECK_INT(npr_place_part(t->list[q].place[0]), 3);
    npr_proposals_free(t);
    return s;
}

static npr_topk *scan(npr_scanner *s, const npr_set *set, npr_tally *tally)
{
    npr_proposals *t = make_lists();
    memset(times, 0, sizeof times);
    watched = 1;
    CHECK_OK(s->propose(s, set, 0, t, tally));
    watched = 0;
    return sorted(t);
}

/* ---- tests ------------------------------------------------------------------------------------------- */

/* Block b asks once, and again while the last row of the answer is not below the floor. */
static void check_asked(int b, int reaching)
{
    int64_t want = asked[0][0];
    for (int i = 0; i < times[b]; i++) {
        CHECK_INT(asked[b][i], want);
        CHECK_INT(reaching >= want && want < MOST, i < times[b] - 1);
        want = i == ASKS - 2 ? MOST : 4 * want;
    }
}

/* One query of each block finds rows on the floor or above it; `first` rows are asked for at first. */
static void test_cases(const npr_set *set, int first, int threads)
{
    const int cases[][2] = {
        {5, 3},         {first - 1, 0},     {first - 2, 1}, /* one row below the floor */
        {first, 0},     {first - 1, 1},     {5, first + 9}, /* the last one is not below it */
        {4 * first, 0}, {2, 4 * first - 2}, {0, 16 * first - 1}, {16 * first, 0}, {1, 16 * first},
        {0, MOST},      {MOST, 0},          {MOST - 1, 9},       {9, 0},          {4 * first - 1, 0}};
    enum { CASES = sizeof cases / sizeof *cases };
    npr_tally tally = make_tally(QUERIES);
    for (int c = 0; c < CASES; c += BLOCKS) {
        npr_scanner *s = make_scanner(set, threads, &tally);
        for (int b = 0; b < BLOCKS; b++) {
            int q = b * BLOCK + (c + b) % 8;
            above[q] = cases[(c + b) % CASES][0];
            level[q] = cases[(c + b) % CASES][1];
        }
        npr_topk *t = scan(s, set, &tally);
        CHECK_INT(asked[0][0], first);
        for (int b = 0; b < BLOCKS; b++)
            check_asked(b, cases[(c + b) % CASES][0] + cases[(c + b) % CASES][1]);
        CHECK_INT(wrong_hits(set, t), 0);
        npr_topk_free(t);
        s->free(s);
    }
    free(tally.count);
}

/* The rows that such a scanner asks for at first. */
static int first_ask(const npr_set *set)
{
    npr_tally tally = make_tally(QUERIES);
    npr_scanner *s = make_scanner(set, 1, &tally);
    npr_topk_free(scan(s, set, &tally));
    s->free(s);
    free(tally.count);
    for (int b = 0; b < BLOCKS; b++) CHECK_INT(times[b], 1);
    return (int)asked[0][0];
}

int main(void)
{
    const char *factory = "IVF12,SQ8";
    snprintf(path, sizeof path, "%s/set", test_folder());
    CHECK_OK(npr_folder_make(path));
    for (int p = 0; p < PARTS; p++) make_part(p);
    make_queries(&queries, QUERIES, 9);
    npr_set set = make_set(factory);
    index_all(&set, factory);
    int first = first_ask(&set);
    CHECK(first > 9 && 16 * first < MOST); /* room for a third time more */
    test_cases(&set, first, 1);
    test_cases(&set, first, 3);
    CHECK_INT(astray, 0);
    for (int p = 0; p < PARTS; p++) npr_rows_free(&world[p]);
    npr_queries_free(&queries);
    test_folder_remove();
    return TEST_END();
}
