/* test_part.c - parts: what is written is read, however it was batched; what does not fit is refused. */
#include "io/part.h"
#include "sample.h"

enum { DIM = 8, ROWS = 3000 };

static void check_rows(npr_part *p, uint32_t columns, int64_t row0, int64_t n)
{
    npr_rows r;
    CHECK_OK(npr_rows_make(&r, columns, DIM, n));
    CHECK_OK(npr_part_read(p, row0, n, &r));
    CHECK_INT(r.n, n);
    int64_t bad = 0;
    for (int64_t i = 0; i < r.n; i++) bad += !sample_is(&r, i, row0 + i);
    CHECK_INT(bad, 0);
    npr_rows_free(&r);
}

static void check_picks(npr_part *p)
{
    static const int64_t row[] = {0, 1, 2, 2, 500, 1023, 1024, 1025, 2047, 2048, 2049, 2998, 2999};
    enum { PICKS = sizeof row / sizeof *row };
    npr_rows r;
    CHECK_OK(npr_rows_make(&r, SAMPLE_ALL, DIM, PICKS));
    CHECK_OK(npr_part_pick(p, row, PICKS, &r));
    for (int i = 0; i < PICKS; i++) CHECK(sample_is(&r, i, row[i]));
    static const int64_t down[] = {5, 4}, beyond[] = {1, 3000}, negative[] = {-1};
    CHECK_FAILS(npr_part_pick(p, down, 2, &r), NPR_EINTERNAL, "not ascending");
    CHECK_FAILS(npr_part_pick(p, beyond, 2, &r), NPR_EDATA, "1 rows from row 3000 wanted of 3000");
    CHECK_FAILS(npr_part_pick(p, negative, 1, &r), NPR_EDATA, "wanted of 3000");
    npr_rows_free(&r);
}

/* Embeddings of a chunk where they were read, the last one too, whatever was read between. */
static void check_views(npr_part *p)
{
    npr_rows r;
    CHECK_OK(npr_rows_make(&r, SAMPLE_ALL, DIM, NPR_CHUNK_ROWS));
    for (int64_t row0 = 2048; row0 >= 0; row0 -= NPR_CHUNK_ROWS) {
        int64_t n = ROWS - row0 < NPR_CHUNK_ROWS ? ROWS - row0 : NPR_CHUNK_ROWS;
        const uint16_t *emb = NULL;
        CHECK_OK(npr_part_read(p, row0, n, &r));
        CHECK_OK(npr_part_view(p, row0 / NPR_CHUNK_ROWS, &emb));
        CHECK(!memcmp(emb, r.emb, (size_t)n * DIM * sizeof *emb));
    }
    const uint16_t *none;
    CHECK_FAILS(npr_part_view(p, 3, &none), NPR_EINTERNAL, "chunk 3 of 3");
    CHECK_FAILS(npr_part_view(p, -1, &none), NPR_EINTERNAL, "chunk -1 of 3");
    npr_rows_free(&r);
}

static void check_refusals(const npr_set *set, npr_part *p)
{
    npr_rows r;
    npr_part *none;
    CHECK_OK(npr_rows_make(&r, SAMPLE_ALL, DIM + 1, 10));
    CHECK_FAILS(npr_part_read(p, 0, 10, &r), NPR_EENV, "vectors of 8 dimensions, wanted 9");
    npr_rows_free(&r);
    CHECK_OK(npr_rows_make(&r, SAMPLE_ALL, DIM, 10));
    CHECK_FAILS(npr_part_read(p, 0, 11, &r), NPR_EINTERNAL, "room for 10");
    CHECK_FAILS(npr_part_read(p, 2995, 10, &r), NPR_EDATA, "wanted of 3000");
    CHECK_FAILS(npr_part_read(p, INT64_MAX, 10, &r), NPR_EDATA, "wanted of 3000");
    CHECK_OK(npr_part_read(p, 2990, 10, &r)); /* after failures as before */
    CHECK(sample_is(&r, 9, 2999));
    npr_rows_free(&r);
    char *bytes;
    size_t n;
    CHECK_FAILS(npr_part_read_index(p, &bytes, &n), NPR_EENV, "has no index");
    CHECK_FAILS(npr_part_open(set, 1, &none), NPR_EINTERNAL, "part 1 of 1");
}

static void test_round_trip(void)
{
    static const int64_t batch[] = {ROWS, 1, 7, 1000, 1024, 1025, 2048};
    char *first = NULL, path[256];
    size_t n_first = 0, n = 0;
    for (size_t i = 0; i < sizeof batch / sizeof *batch; i++) {
        npr_part_entry e;
        char *folder = sample_folder("trip");
        CHECK_OK(sample_part(folder, 0, SAMPLE_ALL, DIM, 0, ROWS, batch[i], &e));
        CHECK_INT(sample_files(folder), 1);
        snprintf(path, sizeof path, "%s/part-00000.h5", folder);
        char *bytes = sample_slurp(path, &n);
        if (!first) n_first = n;
        CHECK(n == n_first && (!first || !memcmp(bytes, first, n))); /* the batches do not show */
        CHECK_INT(e.bytes, n);
        if (first)
            free(bytes);
        else
            first = bytes;
        if (i) continue;
        npr_part *p;
        npr_set *set = sample_set(folder, SAMPLE_ALL, DIM, &e);
        CHECK_OK(npr_part_open(set, 0, &p));
        check_rows(p, SAMPLE_ALL, 0, ROWS);
        check_rows(p, SAMPLE_ALL, 1000, 100);
        check_rows(p, NPR_COL(NPR_URL) | NPR_COL(NPR_SOURCE), 1023, 1026);
        check_rows(p, NPR_COL(NPR_EMB), 2999, 1);
        check_rows(p, SAMPLE_ALL, 17, 0);
        check_picks(p);
        check_views(p);
        check_refusals(set, p);
        npr_part_close(p);
        npr_part_report report;
        CHECK_OK(npr_part_verify(set, 0, &report));
        CHECK_INT(report.rows, ROWS);
        CHECK_INT(report.non_finite, 0);
        CHECK_INT(report.non_unit, 0);
        CHECK_INT(report.labelled, 2571);  /* i % 7 != 0 */
        CHECK_INT(report.captioned, 2727); /* i % 11 != 3 */
        CHECK(report.id_min == 1000 && report.id_max == 1000 + 3 * 2999);
        CHECK(report.norm_min > 0.999 && report.norm_max < 1.001 && report.norm_min < report.norm_max);
        npr_set_free(set);
    }
    free(first);
}

/* A part of a set whose columns the manifest tells wrong. */
static void test_other_columns(void)
{
    npr_part_entry e;
    npr_part *p;
    npr_rows r;
    char *folder = sample_folder("few");
    uint32_t few = NPR_COL(NPR_EMB) | NPR_COL(NPR_ID) | NPR_COL(NPR_LABEL);
    CHECK_OK(sample_part(folder, 0, few, DIM, 0, 10, 10, &e));
    npr_set *set = sample_set(folder, few, DIM, &e);
    CHECK_OK(npr_part_open(set, 0, &p));
    CHECK_OK(npr_rows_make(&r, few | NPR_COL(NPR_CAPTION), DIM, 10));
    CHECK_FAILS(npr_part_read(p, 0, 1, &r), NPR_EENV, "no column caption, it has emb id label");
    npr_rows_free(&r);
    npr_part_close(p);
    set->columns = few | NPR_COL(NPR_SCORE);
    CHECK_FAILS(npr_part_open(set, 0, &p), NPR_EDATA, "has 3 datasets, a part with these columns has 4");
    set->columns = NPR_COL(NPR_EMB) | NPR_COL(NPR_ID) | NPR_COL(NPR_SCORE);
    CHECK_FAILS(npr_part_open(set, 0, &p), NPR_EDATA, "has no dataset \"score\"");
    set->columns = few;
    set->dim = DIM + 1;
    CHECK_FAILS(npr_part_open(set, 0, &p), NPR_EDATA, "has 2 dimensions and 8 columns, wanted 2 and 9");
    set->dim = DIM;
    set->part[0].rows = 11;
    CHECK_FAILS(npr_part_open(set, 0, &p), NPR_EDATA, "\"emb\" has 10 rows, wanted 11");
    npr_set_free(set);
}

static void test_empty_and_big_texts(void)
{
    enum { BIG = 3 << 20 };
    npr_part_entry e;
    npr_part *p;
    npr_part_writer *w;
    npr_part_report report;
    npr_rows r;
    char *folder = sample_folder("empty"), *big = malloc(BIG);
    CHECK_OK(sample_part(folder, 0, SAMPLE_ALL, DIM, 0, 0, 1, &e));
    npr_set *set = sample_set(folder, SAMPLE_ALL, DIM, &e);
    CHECK_OK(npr_part_verify(set, 0, &report));
    CHECK_INT(report.rows, 0);
    CHECK_OK(npr_part_open(set, 0, &p));
    check_rows(p, SAMPLE_ALL, 0, 0);
    npr_part_close(p);
    npr_set_free(set);

    CHECK_OK(npr_part_create(folder, 7, SAMPLE_ALL, DIM, &w)); /* texts longer than chunks */
    CHECK_OK(npr_rows_make(&r, SAMPLE_ALL, DIM, 4));
    for (int i = 0; i < BIG; i++) big[i] = (char)(i * 7 / 3);
    for (int64_t i = 0; i < 4; i++) {
        CHECK_OK(npr_rows_put_text(&r, NPR_CAPTION, big, (size_t)(BIG / 4 * i)));
        sample_put(&r, i);
    }
    CHECK_OK(npr_part_append(w, &r));
    CHECK_OK(npr_part_commit(w, &e));
    CHECK_TEXT(e.file, "part-00007.h5");
    npr_rows_clear(&r);
    snprintf(e.file, sizeof e.file, "part-00007.h5");
    set = sample_set(folder, SAMPLE_ALL, DIM, &e);
    CHECK_OK(npr_part_open(set, 0, &p));
    CHECK_OK(npr_part_read(p, 0, 4, &r));
    for (int64_t i = 0; i < 4; i++) {
        size_t n;
        const char *text = npr_text_at(&r.caption, i, &n);
        CHECK(n > (size_t)(BIG / 4 * i) - (i == 3) && !memcmp(text, big, (size_t)(BIG / 4 * i)));
    }
    npr_part_close(p);
    npr_set_free(set);
    npr_rows_free(&r);
    free(big);
}

static void test_cuts(void)
{
    static const struct {
        int64_t rows, each;
        int parts;
    } good[] = {
        {1, 1, 1}, {1000, 1000, 1}, {1001, 1000, 2}, {2300000000, 1 << 20, 2194}, {1 << 20, 1, 1 << 20}};
    int parts;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        CHECK_OK(npr_part_cut(good[i].rows, good[i].each, &parts));
        CHECK_INT(parts, good[i].parts);
        CHECK_INT(npr_part_begin(good[i].rows, good[i].each, 0), 0);
        CHECK_INT(npr_part_begin(good[i].rows, good[i].each, parts - 1), (parts - 1) * good[i].each);
        CHECK_INT(npr_part_begin(good[i].rows, good[i].each, parts), good[i].rows);
    }
    CHECK_FAILS(npr_part_cut((1 << 20) + 1, 1, &parts), NPR_EUSAGE,
                "--part-rows=1 makes 1048577 parts, at most 1048576");
    CHECK_FAILS(npr_part_cut(INT64_MAX, 1 << 20, &parts), NPR_EUSAGE, "8796093022208 parts");
}

int main(void)
{
    test_cuts();
    test_round_trip();
    test_other_columns();
    test_empty_and_big_texts();
    test_folder_remove();
    return TEST_END();
}
