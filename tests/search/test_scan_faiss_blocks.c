/* test_scan_faiss_blocks.c - candidates of several blocks of queries, of which some have enough in the
 * index's first answer and others are asked for again: against all that FAISS says of every part, and by what
 * the scanner asks, which the linker lets us see (--wrap, tests/CMakeLists.txt). And how large a block is. */
#include "npr/plan.h"
#include "npr/search.h"

#include "base/file.h"
#include "indexed.h"

enum { BLOCK = NPR_FAISS_BLOCK, QUERIES = 200, BLOCKS = 4, MOST = 200, PROBES = 12 }; /* the last block: 8 */

/* ---- what the scanner asks --------------------------------------------------------------------------- */

static int64_t asked[BLOCKS][3];           /* how many rows, each time */
static int watched, times[BLOCKS], astray; /* queries asked for that are no whole blocks, or too often */

npr_status __real_npr_faiss_search(const npr_faiss *f, const float *q, int nq, int block, int64_t k,
                                   int threads, float *score, int64_t *id, int64_t *scanned);
npr_status __wrap_npr_faiss_search(const npr_faiss *f, const float *q, int nq, int block, int64_t k,
                                   int threads, float *score, int64_t *id, int64_t *scanned);

npr_status __wrap_npr_faiss_search(const npr_faiss *f, const float *q, int nq, int block, int64_t k,
                                   int threads, float *score, int64_t *id, int64_t *scanned)
{
    int64_t q0 = (q - queries.vector) / DIM, q1 = q0 + nq;
    astray += watched && (nq < 1 || block != BLOCK || q0 % BLOCK || (q1 % BLOCK && q1 != QUERIES));
    for (int64_t b = q0 / BLOCK; watched && b * BLOCK < q1; b++) {
        if (b < BLOCKS && times[b] < 3)
            asked[b][times[b]++] = k;
        else
            astray++;
    }
    if (astray) return npr_fail(NPR_EINTERNAL, "the scanner asks for what it should not"); /* else for ever */
    return __real_npr_faiss_search(f, q, nq, block, k, threads, score, id, scanned);
}

/* ---- all that FAISS says ----------------------------------------------------------------------------- */

static npr_hit all[QUERIES][ALL], rest[QUERIES][ALL]; /* of all parts; of all but the first; best first */
static int all_n[QUERIES], rest_n[QUERIES];
static int64_t codes[PARTS]; /* compared */

static void ask_everything(const npr_set *set)
{
    memset(all_n, 0, sizeof all_n);
    for (int p = PARTS - 1; p >= 0; p--) {
        if (p == 0) memcpy(rest, all, sizeof rest), memcpy(rest_n, all_n, sizeof rest_n);
        codes[p] = everything_of(set, p, PROBES, all, all_n);
    }
    for (int q = 0; q < QUERIES; q++) {
        qsort(all[q], (size_t)all_n[q], sizeof *all[q], by_score_and_place);
        qsort(rest[q], (size_t)rest_n[q], sizeof *rest[q], by_score_and_place);
    }
}

/* Hits of a list that are not among the best that FAISS names, or not in their order, or there twice. Which
 * of the rows that tie for the last places are taken is FAISS's choice. */
static int wrong_hits(const npr_topk *t, int q, const npr_hit *said, int n)
{
    const npr_hit *list = npr_topk_list(t, q);
    int wrong = 0;
    CHECK_INT(npr_topk_count(t, q), MOST);
    for (int i = 0; i < npr_topk_count(t, q); i++)
        wrong += list[i].score != said[i].score ||
                 !bsearch(&list[i], said, (size_t)n, sizeof *said, by_score_and_place) ||
                 (i && by_score_and_place(&list[i - 1], &list[i]) >= 0);
    return wrong;
}

/* ---- tests ------------------------------------------------------------------------------------------- */

/* One part into the lists; with one thread its codes count once, however often it is asked. */
static void scan_counted(npr_scanner *s, const npr_set *set, int part, npr_proposals *t, npr_tally *tally,
                         int threads)
{
    int64_t scanned = s->scanned;
    memset(times, 0, sizeof times);
    watched = 1;
    CHECK_OK(s->propose(s, set, part, t, tally));
    watched = 0;
    CHECK_INT(s->scanned - scanned, threads == 1 ? codes[part] : 0);
}

/* Bit b of `filled`: all lists of block b are handed over full. LAST_ALONE: of any other block all but the
 * last query's; otherwise these are empty. */
enum { LAST_ALONE = 1 << BLOCKS };

static int is_filled(int filled, int q)
{
    int is_last = q % BLOCK == BLOCK - 1 || q == QUERIES - 1;
    return filled >> q / BLOCK & 1 || (filled & LAST_ALONE && !is_last);
}

/* Blocks whose lists were full have enough in the first answer, and are left alone; all others need more. */
static void check_asked(int filled)
{
    for (int b = 0; b < BLOCKS; b++) {
        CHECK_INT(times[b], filled >> b & 1 ? 1 : 2);
        CHECK(asked[b][0] < MOST);
        if (times[b] > 1) CHECK_INT(asked[b][1], MOST);
    }
}

/* The candidates of a scanner that knows the first part, in lists of which some hold that part's hits `first`
 * and the others none. */
static npr_topk *scan_filled(const npr_set *set, const npr_topk *first, int filled, int threads)
{
    npr_scan_options o = {.queries = &queries, .k = MOST, .threads = threads, .nprobe = PROBES};
    npr_scanner *s = NULL;
    npr_tally tally = make_tally(QUERIES);
    npr_proposals *own = npr_proposals_make(QUERIES, MOST), *t = npr_proposals_make(QUERIES, MOST);
    CHECK_OK(npr_scanner_faiss(&o, &s));
    scan_counted(s, set, 0, own, &tally, threads);
    npr_proposals_free(own);
    for (int q = 0; q < QUERIES; q++)
        for (int i = 0; is_filled(filled, q) && i < MOST; i++) {
            npr_hit hit = npr_topk_list(first, q)[i];
            CHECK_OK(npr_proposals_push(t, q, (float)hit.score, hit.place));
        }
    scan_counted(s, set, 3, t, &tally, threads);
    check_asked(filled);
    scan_counted(s, set, 2, t, &tally, threads);
    scan_counted(s, set, 1, t, &tally, threads);
    s->free(s);
    free(tally.count);
    return sorted(t);
}

/* A part that is likely to be wanted for half of a list is asked for all of it, and not twice. */
static void test_asked_once(const npr_set *set)
{
    enum { FEW = MOST / 2 };
    npr_scan_options o = {.queries = &queries, .k = FEW, .threads = 1, .nprobe = PROBES};
    npr_scanner *s = NULL;
    npr_tally tally = make_tally(QUERIES);
    npr_proposals *first = npr_proposals_make(QUERIES, FEW), *empty = npr_proposals_make(QUERIES, FEW);
    CHECK_OK(npr_scanner_faiss(&o, &s));
    scan_counted(s, set, 0, first, &tally, 1);
    scan_counted(s, set, 3, empty, &tally, 1);
    for (int b = 0; b < BLOCKS; b++) {
        CHECK_INT(times[b], 1);
        CHECK_INT(asked[b][0], FEW);
    }
    npr_proposals_free(first);
    npr_proposals_free(empty);
    s->free(s);
    free(tally.count);
}

/* Any blocks closed, all others open: 2 is the second block alone, which others stand around. */
static void test_blocks(const char *factory)
{
    npr_set set = make_set(factory);
    npr_scan_options o = {.queries = &queries, .k = MOST, .threads = 1, .nprobe = PROBES};
    npr_proposals *own = npr_proposals_make(QUERIES, MOST);
    npr_tally tally = make_tally(QUERIES);
    npr_scanner *s = NULL;
    index_all(&set, factory);
    CHECK_OK(npr_scanner_faiss(&o, &s));
    CHECK_OK(s->propose(s, &set, 0, own, &tally));
    npr_topk *first = sorted(own);
    s->free(s);
    free(tally.count);
    ask_everything(&set);
    test_asked_once(&set);
    for (int filled = 0; filled < 2 * LAST_ALONE; filled++) {
        npr_topk *got = scan_filled(&set, first, filled, 1), *same = scan_filled(&set, first, filled, 3);
        int wrong = 0;
        for (int q = 0; q < QUERIES; q++)
            wrong += is_filled(filled, q) ? wrong_hits(got, q, all[q], all_n[q])
                                          : wrong_hits(got, q, rest[q], rest_n[q]);
        CHECK_INT(wrong, 0);
        CHECK_INT(differences(got, same), 0);
        npr_topk_free(got);
        npr_topk_free(same);
    }
    CHECK_INT(astray, 0);
    npr_topk_free(first);
}

/* 64 for every 1,024 queries, 64 to 1,024; no more than have 2^19 candidates. */
static void test_block_size(void)
{
    static const struct {
        double queries, candidates;
        int block;
    } c[] = {{0, 1, 64},       {1, 512, 64},     {2047, 512, 64},   {2048, 512, 128},   {3071, 512, 128},
             {3072, 512, 192}, {4000, 512, 192}, {16383, 512, 960}, {16384, 512, 1024}, {1e9, 1, 1024},
             {1e9, 513, 960},  {1e9, 4096, 128}, {1e9, 4097, 64},   {1e9, 8192, 64},    {1e9, 1 << 19, 64}};
    for (size_t i = 0; i < sizeof c / sizeof *c; i++)
        CHECK_INT(npr_plan_faiss_block(c[i].queries, c[i].candidates), c[i].block);
}

/* A search has k x refine candidates of a query, or all rows: a pass of 300 is whole blocks of that size. */
static void test_block_of_a_search(void)
{
    static const struct {
        double lists, k, refine, rows, batch;
    } c[] = {{5000, 512, 4, 1e6, 512},  {5000, 2048, 1, 1e6, 512},  {5000, 4097, 1, 1e6, 320},
             {5000, 1025, 4, 1e6, 320}, {5000, 1025, 4, 2048, 512}, {5000, 1025, 4, 4097, 320},
             {3072, 512, 4, 1e6, 384},  {2047, 512, 4, 1e6, 320}};
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        npr_plan_search_shape s = {.mode = NPR_PLAN_FAISS,
                                   .rows = c[i].rows,
                                   .dim = DIM,
                                   .lists = c[i].lists,
                                   .k = c[i].k,
                                   .refine = c[i].refine,
                                   .batch = 300};
        CHECK_INT(npr_plan_search_parts(&s).batch, c[i].batch);
    }
}

int main(void)
{
    snprintf(path, sizeof path, "%s/set", test_folder());
    CHECK_OK(npr_folder_make(path));
    for (int p = 0; p < PARTS; p++) make_part(p);
    make_queries(&queries, QUERIES, 9);
    test_blocks("IVF12,SQ8");
    test_blocks("IVF12,PQ12x4fs");
    test_block_size();
    test_block_of_a_search();
    for (int p = 0; p < PARTS; p++) npr_rows_free(&world[p]);
    npr_queries_free(&queries);
    test_folder_remove();
    return TEST_END();
}
