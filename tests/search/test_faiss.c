/* test_faiss.c - FAISS behind plain C types, against brute force in double: answers, recall, threads,
 * refusals. */
#include "search/faiss/faiss.h"

#include "base/mem.h"
#include "base/rng.h"
#include "npr/search.h"
#include "test.h"

#include <sys/wait.h>

/* Asked by LeakSanitizer: FAISS 1.7.3 leaks what it had read when it refuses bytes that are cut off. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:faiss::read_index\n";
}

enum { DIM = 32, ROWS = 4000, NQ = 150, K = 10, GROUPS = 25 };

static float *rows, *queries;
static int64_t ids[ROWS];

/* Unit vectors around GROUPS centres, so that an index with lists has something to find. */
static float *make_vectors(int64_t n, uint64_t stream, double noise)
{
    float *v = npr_alloc((size_t)n * DIM, sizeof *v, "vectors");
    npr_rng r = npr_rng_make(7, stream);
    for (int64_t i = 0; i < n; i++) {
        npr_rng centre = npr_rng_make(8, (uint64_t)npr_rng_below(&r, GROUPS));
        double norm = 0, x[DIM];
        for (int j = 0; j < DIM; j++) {
            x[j] = npr_rng_normal(&centre) + noise * npr_rng_normal(&r);
            norm += x[j] * x[j];
        }
        for (int j = 0; j < DIM; j++) v[i * DIM + j] = (float)(x[j] / sqrt(norm));
    }
    return v;
}

static double dot(const float *a, const float *b)
{
    double s = 0;
    for (int j = 0; j < DIM; j++) s += (double)a[j] * b[j];
    return s;
}

typedef struct scored {
    double score;
    int64_t id;
} scored;

static int best_first(const void *va, const void *vb)
{
    const scored *a = va, *b = vb;
    if (a->score != b->score) return a->score > b->score ? -1 : 1;
    return (a->id > b->id) - (a->id < b->id);
}

/* want: [NQ][K] */
static void brute_force(int64_t *want)
{
    static scored all[ROWS];
    for (int q = 0; q < NQ; q++) {
        for (int64_t i = 0; i < ROWS; i++) all[i] = (scored){dot(queries + q * DIM, rows + i * DIM), ids[i]};
        qsort(all, ROWS, sizeof *all, best_first);
        for (int k = 0; k < K; k++) want[q * K + k] = all[k].id;
    }
}

/* Share of the K nearest rows that are among `per_query` answers. */
static double recall(const int64_t *want, const int64_t *got, int64_t per_query)
{
    int found = 0;
    for (int q = 0; q < NQ; q++)
        for (int k = 0; k < K; k++)
            for (int64_t i = 0; i < per_query; i++) found += got[q * per_query + i] == want[q * K + k];
    return (double)found / (NQ * K);
}

/* Train, fill and read back an index. */
static npr_faiss *build(const char *factory, int threads, char **blob, size_t *bytes)
{
    npr_faiss *f = NULL;
    CHECK_OK(npr_faiss_train(factory, DIM, rows, ROWS, npr_faiss_threads(factory, threads), blob, bytes));
    CHECK_OK(npr_faiss_load(*blob, *bytes, DIM, "trained", &f));
    free(*blob);
    CHECK_INT(npr_faiss_rows(f), 0);
    CHECK_OK(npr_faiss_add(f, rows, ids, ROWS / 2, npr_faiss_threads(factory, threads)));
    CHECK_OK(npr_faiss_add(f, rows + ROWS / 2 * DIM, ids + ROWS / 2, ROWS - ROWS / 2,
                           npr_faiss_threads(factory, threads)));
    CHECK_OK(npr_faiss_save(f, blob, bytes));
    npr_faiss_free(f);
    f = NULL;
    CHECK_OK(npr_faiss_load(*blob, *bytes, DIM, "filled", &f));
    CHECK_INT(npr_faiss_rows(f), ROWS);
    return f;
}

static void test_recall_of_kinds(void)
{
    static const struct {
        const char *factory;
        int nprobe, per_query;
        double least;
    } kind[] = {{"Flat", 1, K, 1},
                {"IVF25,Flat", 25, K, 1},  /* all lists: everything is seen */
                {"IVF25,Flat", 400, K, 1}, /* more than there are */
                {"IVF25,Flat", 5, K, 0.97},
                {"SQfp16", 1, K, 0.98},
                {"IVF25,SQ8", 25, 2 * K, 0.99},
                {"IVF25,PQ16x4", 25, 100, 0.9},
                {"IVF25,PQ16x4fs", 25, 100, 0.9},
                {"PCA16,IVF25,SQ8", 25, 200, 0.7},
                {"IVF25_HNSW8,SQ8", 10, 2 * K, 0.97},
                {"HNSW16", 1, 100, 0.95},
                {"IVF5,PQ8x4,RFlat", 5, 100, 0.7}};
    int64_t *want = npr_alloc(NQ * K, sizeof *want, "answers"),
            *got = npr_alloc(NQ * 200, sizeof *got, "answers");
    float *score = npr_alloc(NQ * 200, sizeof *score, "answers");
    brute_force(want);
    for (size_t i = 0; i < sizeof kind / sizeof *kind; i++) {
        char *blob = NULL;
        size_t bytes = 0;
        npr_faiss *f = build(kind[i].factory, 2, &blob, &bytes);
        CHECK_OK(npr_faiss_set_probes(f, kind[i].nprobe));
        CHECK_OK(npr_faiss_search(f, queries, NQ, NPR_FAISS_BLOCK, kind[i].per_query, 2, score, got, NULL));
        double r = recall(want, got, kind[i].per_query);
        if (r < kind[i].least) fprintf(stderr, "%s: recall %.3f\n", kind[i].factory, r);
        CHECK(r >= kind[i].least);
        npr_faiss_free(f);
        free(blob);
    }
    free(want);
    free(got);
    free(score);
}

/* The bytes of an index and its answers, whatever the threads and whichever queries are asked together. */
static void test_threads_and_batches_change_nothing(void)
{
    static const char *const factory[] = {"Flat", "IVF25,SQ8", "IVF25,PQ16x4fs", "PCA16,IVF25,PQ8x4",
                                          "HNSW8"};
    int64_t *a = npr_alloc(NQ * 2 * K, sizeof *a, "answers"),
            *b = npr_alloc(NQ * 2 * K, sizeof *b, "answers");
    float *score = npr_alloc(NQ * 2 * K, sizeof *score, "scores");
    for (size_t i = 0; i < sizeof factory / sizeof *factory; i++) {
        char *blob1 = NULL, *blob3 = NULL;
        size_t n1 = 0, n3 = 0;
        npr_faiss *f1 = build(factory[i], 1, &blob1, &n1), *f3 = build(factory[i], 3, &blob3, &n3);
        CHECK(n1 == n3 && !memcmp(blob1, blob3, n1));
        CHECK_OK(npr_faiss_set_probes(f1, 3));
        CHECK_OK(npr_faiss_search(f1, queries, NQ, NPR_FAISS_BLOCK, 2 * K, 1, score, a, NULL));
        CHECK_OK(npr_faiss_set_probes(f3, 3));
        for (int q = 0; q < NQ; q += NPR_FAISS_BLOCK) { /* batches are cut between blocks */
            int n = NQ - q < NPR_FAISS_BLOCK ? NQ - q : NPR_FAISS_BLOCK;
            CHECK_OK(npr_faiss_search(f3, queries + q * DIM, n, NPR_FAISS_BLOCK, 2 * K, 3, score + q * 2 * K,
                                      b + q * 2 * K, NULL));
        }
        CHECK(!memcmp(a, b, NQ * 2 * K * sizeof *a));
        npr_faiss_free(f1);
        npr_faiss_free(f3);
        free(blob1);
        free(blob3);
    }
    free(a);
    free(b);
    free(score);
}

static void test_missing_answers(void)
{
    char *blob = NULL;
    size_t bytes = 0;
    npr_faiss *f = NULL;
    int64_t id[8], number = 41;
    float score[8];
    CHECK_OK(npr_faiss_train("Flat", DIM, NULL, 0, 1, &blob, &bytes));
    CHECK_OK(npr_faiss_load(blob, bytes, DIM, "empty", &f));
    CHECK_OK(npr_faiss_search(f, queries, 2, NPR_FAISS_BLOCK, 4, 2, score, id, NULL));
    for (int i = 0; i < 8; i++) CHECK_INT(id[i], -1);
    CHECK_OK(npr_faiss_add(f, rows, &number, 0, 1));
    CHECK_OK(npr_faiss_add(f, rows, &number, 1, 1));
    CHECK_OK(npr_faiss_search(f, queries, 2, NPR_FAISS_BLOCK, 4, 2, score, id, NULL));
    CHECK_INT(id[0], 41);
    CHECK_INT(id[1], -1);
    CHECK_INT(id[4], 41);
    npr_faiss_free(f);
    free(blob);
}

static void test_factory_refused(void)
{
    static const struct {
        const char *factory, *words;
    } bad[] = {{"", "1 to 200 characters"},
               {"Foo", "could not parse index string Foo"},
               {"IVF25", "could not parse"},
               {"IVF25,(", "unbalanced parentheses"},
               {"IVF0,Flat", "number outside 1 to"},
               {"PQ8x0", "number outside 1 to"},
               {"HNSW0", "number outside 1 to"},
               {"PQ99999999999999999999999", "number outside 1 to"},
               {"PQ7", "multiple of the number of subquantizers"},
               {"IVF4001,Flat", "4001 lists, which cannot be trained on a sample of 4000 rows"},
               {"PQ4x14", "cannot train"},
               {"PCA33,Flat", "cannot train"},
               {"LSH", "METRIC_L2"},
               {"NSG16", "use HNSW"},
               {"MinMax,SQ8", "cannot hold rows"},
               {"IDMap,IDMap,Flat", "cannot hold rows"}};
    char *blob = NULL, longest[300];
    size_t bytes = 0;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_FAILS(npr_faiss_train(bad[i].factory, DIM, rows, ROWS, 1, &blob, &bytes), NPR_EUSAGE,
                    bad[i].words);
        CHECK(!blob);
    }
    memset(longest, '(', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    CHECK_FAILS(npr_faiss_train(longest, DIM, rows, ROWS, 1, &blob, &bytes), NPR_EUSAGE,
                "1 to 200 characters");
    CHECK_FAILS(npr_faiss_train("IVF1,Flat", DIM, rows, 0, 1, &blob, &bytes), NPR_EUSAGE, "sample of 0 rows");
}

static void test_bytes_refused(void)
{
    char *blob = NULL, *longer;
    size_t bytes = 0;
    npr_faiss *f = NULL;
    CHECK_OK(npr_faiss_train("IVF25,SQ8", DIM, rows, ROWS, 1, &blob, &bytes));
    CHECK_FAILS(npr_faiss_load(blob, bytes, DIM + 1, "part", &f), NPR_EDATA,
                "part: the index has 32 columns, emb has 33");
    CHECK_FAILS(npr_faiss_load(blob, 0, DIM, "part", &f), NPR_EDATA, "0 bytes");
    for (size_t n = 1; n < bytes; n += 97)
        CHECK_FAILS(npr_faiss_load(blob, n, DIM, "part", &f), NPR_EDATA, "part: ");
    longer = npr_alloc(bytes + 1, 1, "bytes");
    memcpy(longer, blob, bytes);
    CHECK_FAILS(npr_faiss_load(longer, bytes + 1, DIM, "part", &f), NPR_EDATA, "the index ends after");
    memcpy(longer, "What", 4);
    CHECK_FAILS(npr_faiss_load(longer, bytes, DIM, "part", &f), NPR_EDATA, "FAISS cannot read the index");
    CHECK(!f);
    free(longer);
    free(blob);
    /* not trained: as npr_faiss_make leaves it */
    CHECK_OK(npr_faiss_make("IVF25,SQ8", DIM, &f));
    CHECK_OK(npr_faiss_save(f, &blob, &bytes));
    npr_faiss_free(f);
    f = NULL;
    CHECK_FAILS(npr_faiss_load(blob, bytes, DIM, "part", &f), NPR_EDATA, "not a trained inner-product index");
    free(blob);
}

/* Read and search damaged bytes in another process: how it ends, and what it says. */
static int ends(const char *blob, size_t bytes, char *said, size_t size)
{
    int pipes[2], status = 0;
    CHECK(pipe(pipes) == 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(pipes[1], STDERR_FILENO);
        npr_faiss *f = NULL;
        static float score[NPR_FAISS_BLOCK * K];
        static int64_t id[NPR_FAISS_BLOCK * K];
        npr_faiss_name("set", "part-00003.h5");
        npr_status st = npr_faiss_load(blob, bytes, DIM, "index", &f);
        if (!st) st = npr_faiss_set_probes(f, 25);
        if (!st) st = npr_faiss_search(f, queries, NPR_FAISS_BLOCK, NPR_FAISS_BLOCK, K, 1, score, id, NULL);
        _exit(st ? 1 : 0);
    }
    close(pipes[1]);
    ssize_t n = read(pipes[0], said, size - 1);
    said[n > 0 ? n : 0] = 0;
    close(pipes[0]);
    CHECK(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* Bytes that no digest has kept away: refused, answered, or one sentence that names the part; never a signal.
 */
static void test_crash_names_the_part(void)
{
    static const char *const factory[] = {"HNSW16", "IVF25,SQ8"};
    char said[2000];
    int crashes = 0;
    for (size_t i = 0; i < sizeof factory / sizeof *factory; i++) {
        char *blob = NULL;
        size_t bytes = 0;
        npr_faiss_free(build(factory[i], 1, &blob, &bytes));
        CHECK_INT(ends(blob, bytes, said, sizeof said), 0);
        for (size_t at = 64; at + 4 < bytes; at += bytes / 40) {
            char kept[4];
            memcpy(kept, blob + at, 4);
            memset(blob + at, 0x5f, 4);
            int end = ends(blob, bytes, said, sizeof said);
            CHECK(end == 0 || end == 1 || end == NPR_EDATA);
            crashes += end == NPR_EDATA;
            if (end == NPR_EDATA)
                CHECK(strstr(said, "set/part-00003.h5: FAISS crashed in the index of this part") != NULL);
            memcpy(blob + at, kept, 4);
        }
        free(blob);
    }
    CHECK(crashes > 0); /* else nothing was tried */
}

static void test_flat(void)
{
    npr_faiss_flat *f = NULL;
    int64_t want[NQ * K], got[NQ * K], few[2 * 5];
    float score[NQ * K];
    brute_force(want);
    CHECK_OK(npr_faiss_flat_make(rows, ROWS, DIM, &f));
    for (int threads = 1; threads <= 2; threads++) {
        CHECK_OK(npr_faiss_flat_search(f, queries, NQ, K, threads, score, got));
        CHECK(!memcmp(want, got, sizeof want)); /* no ties in this data */
        CHECK_NEAR(score[0], dot(queries, rows + got[0] * DIM), 1e-6);
    }
    npr_faiss_flat_free(f);
    CHECK_OK(npr_faiss_flat_make(rows, 3, DIM, &f));
    CHECK_OK(npr_faiss_flat_search(f, queries, 2, 5, 1, score, few));
    CHECK_INT(few[3], -1);
    npr_faiss_flat_free(f);
    npr_faiss_flat_free(NULL);
}

int main(void)
{
    rows = make_vectors(ROWS, 1, 0.5);
    queries = make_vectors(NQ, 2, 0.5);
    for (int i = 0; i < ROWS; i++) ids[i] = i;
    test_recall_of_kinds();
    test_threads_and_batches_change_nothing();
    test_missing_answers();
    test_factory_refused();
    test_bytes_refused();
    test_crash_names_the_part();
    test_flat();
    free(rows);
    free(queries);
    return TEST_END();
}
