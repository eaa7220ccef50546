/* test_head_mpi.c - heads written and read as sets, on all ranks; and heads that are refused. */
#include "test.h"

#include "base/half.h"
#include "prime/solve.h"

enum { CLASSES = 5, DIM = 6 };

/* A set of `n` rows with these labels; weights if `weight`. Rank 0 writes. */
static void write_set(const npr_comm *c, const char *path, int n, const int32_t *label, const float *weight,
                      int named)
{
    npr_set_plan plan = {
        .path = path, .kind = "head", .model = "m", .job = "test\n", .dim = DIM, .part_rows = NPR_PART_ROWS};
    plan.columns = NPR_COL(NPR_EMB) | NPR_COL(NPR_ID) | (label ? NPR_COL(NPR_LABEL) : 0) |
                   (weight ? NPR_COL(NPR_WEIGHT) : 0) | (named ? NPR_COL(NPR_CAPTION) : 0);
    npr_set_writer *w = NULL;
    int complete = 0;
    CHECK_OK(npr_set_begin(c, &plan, &w, &complete));
    if (c->rank == 0) {
        npr_rows r;
        npr_part_writer *part;
        npr_part_entry entry;
        CHECK_OK(npr_rows_make(&r, plan.columns, DIM, n));
        for (int i = 0; i < n; i++) {
            for (int j = 0; j < DIM; j++) r.emb[i * DIM + j] = npr_half_round(j == i ? 1 : 0);
            r.id[i] = i;
            if (label) r.label[i] = label[i];
            if (weight) memcpy(r.weight + i * DIM, weight + i * DIM, DIM * sizeof *weight);
            char name[8];
            if (named)
                CHECK_OK(
                    npr_rows_put_text(&r, NPR_CAPTION, name, (size_t)snprintf(name, sizeof name, "n%d", i)));
            CHECK_OK(npr_rows_next(&r));
        }
        CHECK_OK(npr_part_create(npr_set_folder(w), 0, plan.columns, DIM, &part));
        CHECK_OK(npr_part_append(part, &r));
        CHECK_OK(npr_part_commit(part, &entry));
        CHECK_OK(npr_set_commit_part(w, 0, &entry));
        npr_rows_free(&r);
    }
    CHECK_OK(npr_set_finish(c, w, 1));
    npr_set_end(w);
}

static npr_status read_head(const npr_comm *c, const char *path, npr_head *h)
{
    npr_set *set = NULL;
    NPR_TRY(npr_set_open_all(c, path, &set));
    npr_status st = npr_head_read_all(c, set, h);
    npr_set_free(set);
    return st;
}

static void test_read(const npr_comm *c, const char *folder)
{
    char path[128];
    npr_head h;
    static const int32_t order[CLASSES] = {3, 0, 4, 1, 2};
    float weight[CLASSES * DIM];
    for (int i = 0; i < CLASSES * DIM; i++) weight[i] = 0.1f + (float)i * 1e-7f;
    snprintf(path, sizeof path, "%s/plain", folder);
    write_set(c, path, CLASSES, order, NULL, 1);
    CHECK_OK(read_head(c, path, &h));
    CHECK_INT(h.classes, CLASSES);
    CHECK_INT(h.dim, DIM);
    for (int i = 0; i < CLASSES; i++)
        for (int j = 0; j < DIM; j++)
            CHECK(h.w[order[i] * DIM + j] == (float)(i == j)); /* row i is class order[i] */
    if (c->rank == 0) CHECK_TEXT(h.name[3], "n0");
    if (c->rank == 0) CHECK_TEXT(h.name[2], "n4");
    npr_head_free(&h);
    snprintf(path, sizeof path, "%s/weighted", folder);
    write_set(c, path, CLASSES, order, weight, 0);
    CHECK_OK(read_head(c, path, &h));
    for (int i = 0; i < CLASSES; i++)
        CHECK(!memcmp(h.w + order[i] * DIM, weight + i * DIM, DIM * sizeof *weight));
    if (c->rank == 0) CHECK_TEXT(h.name[0], "");
    npr_head_free(&h);
}

static void test_refused(const npr_comm *c, const char *folder)
{
    char path[128];
    npr_head h;
    static const struct {
        const char *name, *words;
        int32_t label[CLASSES];
    } bad[] = {{"twice", "row 4 is a second row of class 1", {0, 1, 2, 3, 1}},
               {"beyond", "row 2 has label 5; a head of 5 rows has the labels 0 to 4", {0, 1, 5, 3, 4}},
               {"none", "row 0 has label -1", {-1, 0, 1, 2, 3}}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, bad[i].name);
        write_set(c, path, CLASSES, bad[i].label, NULL, 1);
        CHECK_FAILS(read_head(c, path, &h), NPR_EDATA, bad[i].words);
    }
    snprintf(path, sizeof path, "%s/unlabelled", folder);
    write_set(c, path, CLASSES, NULL, NULL, 1);
    CHECK_FAILS(read_head(c, path, &h), NPR_EDATA, "needs the column label");
    float weight[CLASSES * DIM] = {[7] = INFINITY};
    static const int32_t order[CLASSES] = {0, 1, 2, 3, 4};
    snprintf(path, sizeof path, "%s/infinite", folder);
    write_set(c, path, CLASSES, order, weight, 0);
    CHECK_FAILS(read_head(c, path, &h), NPR_EDATA, "class 1 has the value inf in column 1");
}

int main(void)
{
    MPI_Init(NULL, NULL);
    npr_comm c = npr_comm_make(MPI_COMM_WORLD);
    char folder[64];
    if (c.rank == 0) snprintf(folder, sizeof folder, "%s", test_folder());
    npr_bcast(&c, folder, sizeof folder, 0);
    test_read(&c, folder);
    test_refused(&c, folder);
    MPI_Barrier(c.mpi);
    if (c.rank == 0) test_folder_remove();
    npr_comm_free(&c);
    MPI_Finalize();
    return TEST_END();
}
