/* test_scan_faiss_share.c - parts that are asked for their share of the candidates alone, and for more when
 * the lists of all parts show that they may have more to say: against all that FAISS says. */
#include "npr/search.h"

#include "base/file.h"
#include "indexed.h"

enum { BLOCK = NPR_FAISS_BLOCK, QUERIES = 150, BLOCKS = 3, PROBES = 12 };

static npr_hit all[QUERIES][ALL];
static int all_n[QUERIES];

static void ask_everything(const npr_set *set)
{
    memset(all_n, 0, sizeof all_n);
    for (int p = 0; p < PARTS; p++) everything_of(set, p, PROBES, all, all_n);
    for (int q = 0; q < QUERIES; q++) qsort(all[q], (size_t)all_n[q], sizeof *all[q], by_score_and_place);
}

/* Hits of a list that are not among the best that FAISS names, or not in their order. Which of the rows that
 * tie for the last places are taken is FAISS's choice where a part is asked for all k of them. */
static int wrong_hits(const npr_topk *t, int q, int most)
{
    const npr_hit *list = npr_topk_list(t, q), *said = all[q];
    int want = all_n[q] < most ? all_n[q] : most, wrong = npr_topk_count(t, q) != want;
    for (int i = 0; i < npr_topk_count(t, q) && i < want; i++) {
        wrong += list[i].score != said[i].score;
        wrong += !bsearch(&list[i], said, (size_t)all_n[q], sizeof *said, by_score_and_place);
        wrong += i && by_score_and_place(&list[i - 1], &list[i]) >= 0;
    }
    return wrong;
}

/* How many of the blocks of parts that were not asked for all may lack rows by what FAISS has said. */
static int64_t lacking(const npr_proposals *p, const int64_t *asked, int most, const char *open)
{
    int64_t wrong = 0;
    for (int part = 0; part < PARTS; part++)
        for (int q = 0; q < QUERIES && asked[part]; q++) {
            int64_t reach = 0, here = 0;
            for (int i = 0; i < all_n[q] && i < most; i++) reach += npr_place_part(all[q][i].place) == part;
            for (int64_t i = 0; i < p->list[q].n; i++) here += npr_place_part(p->list[q].place[i]) == part;
            if (reach > here)
                wrong += !open[part * BLOCKS + q / BLOCK]; /* rows are missing: it must be open */
        }
    return wrong;
}

/* Candidates of all parts; *opened: blocks of parts that were asked again. */
static npr_topk *search(const npr_set *set, int most, int64_t rows, int backwards, int64_t *opened)
{
    npr_scan_options o = {.queries = &queries, .k = most, .threads = 2, .nprobe = PROBES, .rows = rows};
    npr_scanner *s = NULL;
    npr_tally tally = make_tally(QUERIES), again = {0};
    npr_proposals *t = npr_proposals_make(QUERIES, most);
    int64_t asked[PARTS];
    npr_bound bound[QUERIES];
    char open[PARTS * BLOCKS];
    CHECK_OK(npr_scanner_faiss(&o, &s));
    for (int i = 0; i < PARTS; i++) {
        int part = backwards ? PARTS - 1 - i : i;
        CHECK_OK(s->propose(s, set, part, t, &tally));
        asked[part] = s->asked;
        CHECK(s->asked < most && s->asked <= part_rows[part]);
    }
    CHECK_OK(npr_proposals_bounds_here(t, bound));
    *opened = npr_proposals_open(t, bound, PARTS, asked, BLOCK, open);
    CHECK_INT(lacking(t, asked, most, open), 0);
    npr_proposals_raise(t, bound);
    for (int p = 0; p < PARTS; p++)
        if (memchr(open + p * BLOCKS, 1, BLOCKS))
            CHECK_OK(s->complete(s, set, p, asked[p], open + p * BLOCKS, t, &again));
    CHECK_INT(again.bytes > 0, *opened > 0);
    CHECK_INT(tally.rows, ALL);
    s->free(s);
    free(tally.count);
    return sorted(t);
}

static void check(const char *factory)
{
    static const int mosts[] = {30, 300, 1200, 5000};
    npr_set set = make_set(factory);
    int64_t opened, few = 0, many = 0;
    index_all(&set, factory);
    ask_everything(&set);
    for (size_t i = 0; i < sizeof mosts / sizeof *mosts; i++)
        for (int times = 1; times <= 100; times *= 10) { /* a share that is too small */
            npr_topk *t = search(&set, mosts[i], (int64_t)ALL * times, 0, &opened);
            npr_topk *same = search(&set, mosts[i], (int64_t)ALL * times, 1, &opened);
            int wrong = differences(t, same);
            for (int q = 0; q < QUERIES; q++) wrong += wrong_hits(t, q, mosts[i]);
            CHECK_INT(wrong, 0);
            if (times == 1) few += opened;
            if (times == 100) many += opened;
            npr_topk_free(t);
            npr_topk_free(same);
        }
    CHECK(few < many && many > BLOCKS);
}

int main(void)
{
    snprintf(path, sizeof path, "%s/set", test_folder());
    CHECK_OK(npr_folder_make(path));
    for (int p = 0; p < PARTS; p++) make_part(p);
    make_queries(&queries, QUERIES, 9);
    check("IVF12,SQ8");
    check("IVF12,PQ12x4fs");
    for (int p = 0; p < PARTS; p++) npr_rows_free(&world[p]);
    npr_queries_free(&queries);
    test_folder_remove();
    return TEST_END();
}
