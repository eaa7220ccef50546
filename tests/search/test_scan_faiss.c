/* test_scan_faiss.c - search through the index inside a part, against brute force with the same exact score:
 * lists, tallies, filters, parts of any size, and indexes that are missing, damaged or another part's. */
#include "npr/search.h"

#include <signal.h>

#include "base/file.h"
#include "base/score.h"
#include "indexed.h"

enum { NQ = 40, K = 7 };

static npr_queries head;

/* ---- the search and its reference ------------------------------------------------------------------ */

static npr_scan_options options(const npr_queries *q, int nprobe)
{
    return (npr_scan_options){.queries = q,
                              .k = K,
                              .threads = 2,
                              .tile_rows = 256,
                              .nprobe = nprobe,
                              .limits = {.min_similarity = -INFINITY, .max_nsfw = NPR_NSFW_LIKELY}};
}

/* What the scanner proposes in all parts, the last one first, or from the first on. */
static npr_proposals *propose(const npr_set *set, const npr_scan_options *o, int most, int backwards,
                              npr_tally *tally)
{
    npr_scan_options first = *o;
    npr_scanner *s = NULL;
    first.k = most;
    CHECK_OK(npr_scanner_faiss(&first, &s));
    CHECK_TEXT(s->name, "faiss");
    CHECK_INT(s->lists, o->queries->nq);
    *tally = make_tally(s->lists);
    npr_proposals *t = npr_proposals_make(s->lists, most);
    for (int i = 0; i < set->parts; i++)
        CHECK_OK(s->propose(s, set, backwards ? set->parts - 1 - i : i, t, tally));
    s->free(s);
    CHECK_OK(npr_proposals_cut(t));
    return t;
}

/* The k best of the `most` rows that the indexes of all parts rank highest. */
static npr_topk *search(const npr_set *set, const npr_scan_options *o, int most, npr_tally *tally)
{
    npr_scan_options second = *o;
    npr_scanner *s = NULL;
    npr_chosen candidates;
    npr_proposals *proposals = propose(set, o, most, 1, tally);
    npr_topk *t = npr_topk_make(o->queries->nq, o->k);
    for (int q = 0; q < tally->lists; q++) CHECK_INT(tally->count[q * NPR_TALLY_FIELDS], 0);
    CHECK_OK(npr_chosen_make(proposals, set->parts, &candidates));
    npr_proposals_free(proposals);
    second.candidates = &candidates;
    CHECK_OK(npr_scanner_rescore(&second, &s));
    for (int p = set->parts - 1; p >= 0; p--) CHECK_OK(s->part(s, set, p, t, tally));
    s->free(s);
    npr_chosen_free(&candidates);
    npr_topk_sort(t);
    return t;
}

/* Is this the class that the head sees in a row, with a probability above the threshold? */
static int is_seen(const uint16_t *emb, int32_t class, double threshold)
{
    double s[GROUPS], sum = 0;
    int best = 0;
    for (int c = 0; c < GROUPS; c++) {
        s[c] = npr_score_dot(emb, head.vector + c * DIM, DIM);
        if (s[c] > s[best]) best = c;
    }
    for (int c = 0; c < GROUPS; c++) sum += exp(100 * (s[c] - s[best]));
    return class == head.label[best] && 1 / sum >= threshold;
}

/* Why a row is not for this query; a field of the tally, 0 if it is. */
static int judge(const npr_scan_options *o, int part, int64_t i, int query)
{
    const npr_rows *w = &world[part];
    if (w->similarity[i] < o->limits.min_similarity) return NPR_TALLY_SIMILARITY;
    if (!o->limits.clip) return 0;
    int32_t class = o->labels_from_index ? w->label[i] : o->queries->label[query];
    return is_seen(w->emb + i * DIM, class, o->limits.clip_threshold) ? 0 : NPR_TALLY_CLIP;
}

static npr_topk *brute_force(const npr_scan_options *o, npr_tally *tally)
{
    npr_topk *t = npr_topk_make(o->queries->nq, o->k);
    *tally = make_tally(o->queries->nq);
    for (int p = 0; p < PARTS; p++)
        for (int64_t i = 0; i < part_rows[p]; i++) {
            tally->non_finite += !is_finite(p, i);
            for (int q = 0; is_finite(p, i) && q < o->queries->nq; q++) {
                int why = judge(o, p, i, q);
                double score = npr_score_dot(world[p].emb + i * DIM, o->queries->vector + q * DIM, DIM);
                tally->count[q * NPR_TALLY_FIELDS]++;
                if (why)
                    tally->count[q * NPR_TALLY_FIELDS + why]++;
                else
                    CHECK_OK(npr_topk_push(t, q, (npr_hit){score, world[p].id[i], npr_place(p, i)}));
            }
        }
    npr_topk_sort(t);
    return t;
}

static double recall(const npr_topk *want, const npr_topk *got)
{
    int found = 0, all = 0;
    for (int q = 0; q < npr_topk_queries(want); q++)
        for (int i = 0; i < npr_topk_count(want, q); i++, all++)
            for (int j = 0; j < npr_topk_count(got, q); j++)
                found += npr_topk_list(want, q)[i].place == npr_topk_list(got, q)[j].place;
    return (double)found / all;
}

/* With everything asked for, an index finds exactly what brute force finds, and counts the same. */
static void check_exact(const npr_set *set, const npr_scan_options *o)
{
    npr_tally want_tally, got_tally;
    npr_topk *want = brute_force(o, &want_tally), *got = search(set, o, ALL, &got_tally);
    CHECK_INT(differences(want, got), 0);
    CHECK(!memcmp(want_tally.count, got_tally.count,
                  (size_t)want_tally.lists * NPR_TALLY_FIELDS * sizeof *want_tally.count));
    CHECK_INT(got_tally.non_finite, want_tally.non_finite);
    CHECK_INT(got_tally.rows, 3705);
    CHECK(got_tally.bytes > 3705 * DIM * 2);
    npr_topk_free(want), free(want_tally.count);
    npr_topk_free(got), free(got_tally.count);
}

/* ---- tests ----------------------------------------------------------------------------------------- */

static void test_everything_asked_for(void)
{
    npr_set set = make_set("Flat");
    index_all(&set, "Flat");
    npr_scan_options o = options(&queries, 1);
    check_exact(&set, &o);
    o.threads = 1;
    o.tile_rows = 3;
    o.limits.min_similarity = 0.6f;
    check_exact(&set, &o);
    o.tile_rows = 5000;
    o.head = &head;
    o.limits.clip = 1;
    o.limits.clip_threshold = 0.4;
    check_exact(&set, &o);
    o.labels_from_index = 1;
    check_exact(&set, &o);
}

/* More candidates than fit into memory at once: 2,000 queries ask for 3,000 rows each. */
static void test_blocks_of_queries(void)
{
    npr_queries many;
    make_queries(&many, 2000, 9);
    npr_set set = make_set("Flat");
    npr_scan_options o = options(&many, 1);
    check_exact(&set, &o);
    npr_queries_free(&many);
}

static void test_lists_and_candidates_cost_recall(void)
{
    npr_set set = make_set("IVF12,SQ8");
    index_all(&set, "IVF12,SQ8");
    npr_scan_options o = options(&queries, 12);
    check_exact(&set, &o);
    npr_tally tally;
    npr_topk *want = brute_force(&o, &tally);
    free(tally.count);
    double last = 0;
    for (int nprobe = 1; nprobe <= 4; nprobe *= 2) {
        o = options(&queries, nprobe);
        npr_topk *got = search(&set, &o, 2 * K, &tally);
        double r = recall(want, got);
        CHECK(r >= last);
        last = r;
        for (int q = 0; q < NQ; q++) CHECK_INT(tally.count[q * NPR_TALLY_FIELDS], 2 * K); /* of all parts */
        npr_topk_free(got);
        free(tally.count);
    }
    CHECK(last > 0.97);
    npr_topk_free(want);
}

/* The candidates are the best of all parts together, in whatever order parts are asked. */
static void test_one_cut_for_all_parts(void)
{
    enum { MOST = 50, PROBES = 3 };
    npr_set set = make_set("IVF12,SQ8");
    index_all(&set, "IVF12,SQ8");
    npr_scan_options o = options(&queries, PROBES);
    npr_tally tally;
    npr_topk *forwards = sorted(propose(&set, &o, MOST, 0, &tally));
    free(tally.count);
    npr_topk *backwards = sorted(propose(&set, &o, MOST, 1, &tally));
    CHECK_INT(tally.rows, ALL);
    free(tally.count);
    CHECK_INT(differences(forwards, backwards), 0);
    static npr_hit said[NQ][ALL];
    int n[NQ] = {0}, parts_seen = 0;
    for (int p = 0; p < PARTS; p++) everything_of(&set, p, PROBES, said, n);
    for (int q = 0; q < NQ; q++) {
        npr_hit *all = said[q];
        int wrong = 0;
        CHECK(n[q] > MOST);
        qsort(all, (size_t)n[q], sizeof *all, by_score_and_place);
        CHECK_INT(npr_topk_count(forwards, q), MOST);
        for (int i = 0; i < npr_topk_count(forwards, q); i++) {
            wrong += by_score_and_place(npr_topk_list(forwards, q) + i, &all[i]) != 0;
            parts_seen |= 1 << npr_place_part(all[i].place);
        }
        CHECK_INT(wrong, 0);
    }
    CHECK_INT(parts_seen & 9, 9); /* both large parts */
    npr_topk_free(forwards);
    npr_topk_free(backwards);
}

/* After one part the scanner asks the next for fewer rows than lists hold. Where that was too few, as for
 * lists that are empty again, it asks for more, until none is missing. */
static void test_asked_again(void)
{
    enum { MOST = 200, PROBES = 12, PART = 3 };
    npr_set set = make_set("IVF12,SQ8");
    index_all(&set, "IVF12,SQ8");
    npr_scan_options o = options(&queries, PROBES);
    npr_scanner *s = NULL;
    npr_tally tally = make_tally(NQ);
    npr_proposals *first = npr_proposals_make(NQ, MOST), *second = npr_proposals_make(NQ, MOST);
    o.k = MOST;
    o.threads = 1;
    CHECK_OK(npr_scanner_faiss(&o, &s));
    CHECK_OK(s->propose(s, &set, 0, first, &tally));
    int64_t scanned = s->scanned;
    CHECK_OK(s->propose(s, &set, PART, second, &tally));
    CHECK_INT(s->scanned - scanned,
              NQ * (int64_t)(part_rows[PART] - 7)); /* codes count once; 7 rows are no numbers */
    npr_topk *t = sorted(second);
    static npr_hit said[NQ][ALL];
    int n[NQ] = {0};
    everything_of(&set, PART, PROBES, said, n);
    for (int q = 0; q < NQ; q++) {
        int wrong = 0;
        qsort(said[q], (size_t)n[q], sizeof *said[q], by_score_and_place);
        CHECK_INT(npr_topk_count(t, q), MOST);
        for (int i = 0; i < npr_topk_count(t, q); i++)
            wrong += npr_topk_list(t, q)[i].score != said[q][i].score;
        CHECK_INT(wrong, 0);
    }
    s->free(s);
    npr_proposals_free(first);
    npr_topk_free(t);
    free(tally.count);
}

/* Propose rows of a part, then score them. */
static npr_status scan_one(const npr_set *set, int part)
{
    npr_scan_options o = options(&queries, 1);
    npr_scanner *s = NULL, *second = NULL;
    npr_proposals *proposals = npr_proposals_make(NQ, 2 * K);
    npr_topk *t = npr_topk_make(NQ, K);
    npr_chosen candidates;
    npr_tally tally = make_tally(NQ);
    o.k = 2 * K;
    CHECK_OK(npr_scanner_faiss(&o, &s));
    npr_status st = s->propose(s, set, part, proposals, &tally);
    s->free(s);
    CHECK_OK(npr_proposals_cut(proposals));
    CHECK_OK(npr_chosen_make(proposals, set->parts, &candidates));
    o.candidates = &candidates;
    CHECK_OK(npr_scanner_rescore(&o, &second));
    if (!st) st = second->part(second, set, part, t, &tally);
    second->free(second);
    npr_proposals_free(proposals);
    npr_chosen_free(&candidates);
    npr_topk_free(t);
    free(tally.count);
    return st;
}

static void test_index_of_another_part(void)
{
    npr_set set = make_set("Flat");
    char *trained = NULL, *blob = NULL, *few = NULL;
    size_t trained_bytes, bytes, few_bytes;
    CHECK_OK(npr_faiss_train("Flat", DIM, NULL, 0, 1, &trained, &trained_bytes));
    CHECK_OK(npr_faiss_build(&set, 0, trained, trained_bytes, 1, &blob, &bytes));
    CHECK_OK(npr_faiss_build(&set, 2, trained, trained_bytes, 1, &few, &few_bytes));
    put(&set, 2, blob, bytes);
    CHECK_FAILS(scan_one(&set, 2), NPR_EDATA, "/part-00002.h5: the index holds 2970 rows of 5");
    put(&set, 2, few, few_bytes);
    CHECK_OK(scan_one(&set, 2));
    /* FAISS's bytes end with the numbers of the rows: 0 1 2 3 4 */
    int64_t number = 5;
    memcpy(few + few_bytes - sizeof number, &number, sizeof number);
    put(&set, 2, few, few_bytes);
    CHECK_FAILS(scan_one(&set, 2), NPR_EDATA, "/part-00002.h5: the index names row 5 of 5");
    /* row 33 of part 3 is NaN, and in no index of ours */
    free(few);
    CHECK_OK(npr_faiss_build(&set, 3, trained, trained_bytes, 1, &few, &few_bytes));
    number = 33;
    for (int i = 1; i <= 600; i++)
        memcpy(few + few_bytes - (size_t)i * sizeof number, &number, sizeof number);
    put(&set, 3, few, few_bytes);
    CHECK_FAILS(scan_one(&set, 3), NPR_EDATA, "row 33 is in the index, but it is not finite");
    put(&set, 3, "not an index", 12);
    CHECK_FAILS(scan_one(&set, 3), NPR_EDATA, "/part-00003.h5: index: ");
    free(trained), free(blob), free(few);
}

static void test_damaged_index(void)
{
    npr_set set = make_set("Flat");
    index_all(&set, "Flat");
    char *file = npr_path("%s/%s", path, entry[0].file), *bytes = NULL;
    size_t n;
    CHECK_OK(npr_file_read(file, 1 << 24, &bytes, &n));
    char *magic = memmem(bytes, n, "IxMp", 4);
    CHECK(magic != NULL);
    if (magic) {
        magic[2000] ^= 1;
        CHECK_OK(npr_file_replace(file, bytes, n));
        CHECK(scan_one(&set, 0) == NPR_EDATA);
        CHECK(strstr(npr_status_text(), "part-00000.h5") != NULL);
    }
    free(bytes);
    free(file);
}

static void test_without_index(void)
{
    npr_set set = make_set("");
    memset(entry, 0, sizeof entry);
    for (int p = 0; p < PARTS; p++) {
        npr_rows_free(&world[p]);
        make_part(p);
    }
    CHECK_FAILS(scan_one(&set, 0), NPR_EENV, "npr-index");
}

static void test_stop(void)
{
    npr_set set = make_set("Flat");
    index_all(&set, "Flat");
    npr_stop_install();
    raise(SIGUSR1);
    CHECK_FAILS(scan_one(&set, 0), NPR_ESTOP, "run the same command again");
    char *blob = NULL, *trained = NULL;
    size_t bytes;
    CHECK_OK(npr_faiss_train("Flat", DIM, NULL, 0, 1, &trained, &bytes));
    CHECK_FAILS(npr_faiss_build(&set, 0, trained, bytes, 1, &blob, &bytes), NPR_ESTOP,
                "run the same command again");
    free(trained);
}

int main(void)
{
    snprintf(path, sizeof path, "%s/set", test_folder());
    CHECK_OK(npr_folder_make(path));
    for (int p = 0; p < PARTS; p++) make_part(p);
    make_queries(&queries, NQ, 1);
    make_queries(&head, GROUPS, 2);
    test_everything_asked_for();
    test_blocks_of_queries();
    test_lists_and_candidates_cost_recall();
    test_one_cut_for_all_parts();
    test_asked_again();
    test_index_of_another_part();
    test_damaged_index();
    test_without_index();
    test_stop();
    for (int p = 0; p < PARTS; p++) npr_rows_free(&world[p]);
    npr_queries_free(&queries);
    npr_queries_free(&head);
    test_folder_remove();
    return TEST_END();
}
