/* test_rows.c - batches of rows: fill, grow, copy, pack and unpack; also from bytes that are wrong. */
#include "io/rows.h"

#include "base/rng.h"
#include "sample.h"

static void test_fill(void)
{
    npr_rows r;
    CHECK_OK(npr_rows_make(&r, SAMPLE_ALL, 8, 20));
    for (int64_t i = 0; i < 20; i++) sample_put(&r, i);
    for (int64_t i = 0; i < 20; i++) CHECK(sample_is(&r, i, i));
    CHECK_INT(r.n_container, 3);
    CHECK_FAILS(npr_rows_next(&r), NPR_EINTERNAL, "full");
    CHECK_FAILS(npr_rows_put_text(&r, NPR_CAPTION, "x", 1), NPR_EINTERNAL, "no room");
    CHECK_OK(npr_rows_reserve(&r, 1000));
    for (int64_t i = 20; i < 1000; i++) sample_put(&r, i);
    for (int64_t i = 0; i < 1000; i++) CHECK(sample_is(&r, i, i));
    npr_rows_clear(&r);
    CHECK_INT(r.n, 0);
    CHECK_INT(r.n_container, 0);
    sample_put(&r, 77);
    CHECK(sample_is(&r, 0, 77));
    npr_rows_free(&r);
    npr_rows_free(&r); /* a zeroed batch */
}

static void test_empty(void)
{
    npr_rows r;
    CHECK_OK(npr_rows_make(&r, NPR_COL(NPR_CAPTION) | NPR_COL(NPR_ID), 0, 0));
    CHECK_FAILS(npr_rows_next(&r), NPR_EINTERNAL, "full");
    CHECK_OK(npr_rows_reserve(&r, 1));
    CHECK_OK(npr_rows_put_text(&r, NPR_CAPTION, "two ", 4)); /* puts to one row add up */
    CHECK_OK(npr_rows_put_text(&r, NPR_CAPTION, "parts", 5));
    CHECK_OK(npr_rows_put_text(&r, NPR_CAPTION, NULL, 0));
    CHECK_OK(npr_rows_next(&r));
    CHECK_OK(npr_rows_next(&r)); /* no text put: empty */
    size_t n;
    CHECK(!memcmp(npr_text_at(&r.caption, 0, &n), "two parts", 9) && n == 9);
    CHECK_TEXT(npr_text_at(&r.caption, 1, &n), "");
    CHECK_INT(n, 0);
    npr_rows_free(&r);
    CHECK_FAILS(npr_rows_make(&r, 1u << NPR_COLUMNS, 8, 1), NPR_EINTERNAL, "batch");
    CHECK_FAILS(npr_rows_make(&r, NPR_COL(NPR_EMB), NPR_DIM_MAX + 1, 1), NPR_EINTERNAL, "batch");
    CHECK_FAILS(npr_rows_make(&r, NPR_COL(NPR_EMB), 1 << 16, INT64_MAX / 2), NPR_EINTERNAL, "out of memory");
}

/* A tile as searches have them starts where a large page does; its texts start at 0. */
static void test_large(void)
{
    enum { HUGE_PAGE = 2 << 20 };
    npr_rows r;
    CHECK_OK(npr_rows_make(&r, NPR_COL(NPR_EMB) | NPR_COL(NPR_TOKENS), 512, 16384));
    CHECK_INT((uintptr_t)r.emb % HUGE_PAGE, 0);
    CHECK_INT(r.tokens.offset[0], 0);
    npr_rows_free(&r);
}

static void test_names(void)
{
    for (int c = 0; c < NPR_COLUMNS; c++) {
        npr_column found;
        CHECK_OK(npr_column_find(npr_column_name((npr_column)c), "x", &found));
        CHECK_INT(found, c);
    }
    npr_column found;
    char text[NPR_COLUMNS_TEXT];
    CHECK_FAILS(npr_column_find("container", "m.json", &found), NPR_EDATA,
                "m.json: this version knows no column");
    CHECK_TEXT(npr_columns_print(NPR_COL(NPR_EMB) | NPR_COL(NPR_ID) | NPR_COL(NPR_WEIGHT), text),
               "emb id weight");
    CHECK(strlen(npr_columns_print(SAMPLE_ALL, text)) < NPR_COLUMNS_TEXT);
}

static void test_many_containers(void)
{
    enum { MANY = 5000 };
    npr_rows r = {0};
    char name[5001];
    int64_t number;
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < MANY; i++) {
            sprintf(name, "dir/shard-%05d.tar", i);
            CHECK_OK(npr_rows_container(&r, name, &number));
            CHECK_INT(number, i);
        }
    CHECK_INT(r.n_container, MANY);
    memset(name, 'x', 5000);
    name[5000] = 0;
    CHECK_FAILS(npr_rows_container(&r, name, &number), NPR_EDATA, "5000 bytes");
    npr_rows_free(&r);
}

static void test_copy(void)
{
    npr_rows from, to, few;
    CHECK_OK(npr_rows_make(&from, SAMPLE_ALL, 8, 100));
    CHECK_OK(npr_rows_make(&to, SAMPLE_ALL, 8, 0));
    CHECK_OK(npr_rows_make(&few, NPR_COL(NPR_ID) | NPR_COL(NPR_URL), 8, 1));
    for (int64_t i = 0; i < 100; i++) sample_put(&from, i);
    for (int64_t i = 99; i >= 0; i--) CHECK_OK(npr_rows_copy(&to, &from, i));
    for (int64_t i = 0; i < 100; i++) CHECK(sample_is(&to, i, 99 - i));
    CHECK_OK(npr_rows_copy(&few, &from, 42));
    CHECK(sample_is(&few, 0, 42));
    npr_rows_clear(&to);
    CHECK_OK(npr_rows_copy(&to, &few, 0)); /* what is not known */
    CHECK_INT(to.id[0], from.id[42]);
    CHECK(!isfinite(npr_half_value(to.emb[0])) && isnan(to.score[0]) && isnan(to.weight[7]) &&
          isnan(to.similarity[0]));
    CHECK(to.label[0] == -1 && to.source[0] == -1 && to.source[2] == -1 && !to.nsfw[0] && !to.width[0] &&
          !to.height[0]);
    CHECK_INT(to.caption.offset[1], 0);
    npr_rows other;
    CHECK_OK(npr_rows_make(&other, NPR_COL(NPR_EMB), 9, 1));
    CHECK_FAILS(npr_rows_copy(&other, &from, 0), NPR_EINTERNAL, "8 dimensions into a batch of 9");
    npr_rows_free(&other);
    npr_rows_free(&from);
    npr_rows_free(&to);
    npr_rows_free(&few);
}

static void test_pack(void)
{
    npr_rows from, to, few;
    char *bytes = NULL;
    size_t used = 0, cap = 0, eaten;
    CHECK_OK(npr_rows_make(&from, SAMPLE_ALL, 8, 60));
    CHECK_OK(npr_rows_make(&to, SAMPLE_ALL, 8, 0));
    CHECK_OK(npr_rows_make(&few, NPR_COL(NPR_TOKENS) | NPR_COL(NPR_SOURCE) | NPR_COL(NPR_LABEL), 8, 0));
    for (int64_t i = 0; i < 60; i++) {
        sample_put(&from, i);
        CHECK_OK(npr_rows_pack(&from, i, &bytes, &used, &cap));
    }
    for (size_t at = 0; at < used; at += eaten) CHECK_OK(npr_rows_unpack(&to, bytes + at, used - at, &eaten));
    for (size_t at = 0; at < used; at += eaten)
        CHECK_OK(npr_rows_unpack(&few, bytes + at, used - at, &eaten));
    CHECK_INT(to.n, 60);
    CHECK_INT(few.n, 60);
    for (int64_t i = 0; i < 60; i++) CHECK(sample_is(&to, i, i) && sample_is(&few, i, i));
    used = 0;
    CHECK_OK(npr_rows_pack(&few, 7, &bytes, &used, &cap)); /* fewer columns into more */
    npr_rows_clear(&to);
    CHECK_OK(npr_rows_unpack(&to, bytes, used, &eaten));
    CHECK(to.id[0] == -1 && to.label[0] == few.label[7] && !to.caption.offset[1]);
    npr_rows wrong;
    used = 0;
    CHECK_OK(npr_rows_pack(&from, 7, &bytes, &used, &cap));
    CHECK_OK(npr_rows_make(&wrong, NPR_COL(NPR_EMB), 9, 1));
    CHECK_FAILS(npr_rows_unpack(&wrong, bytes, used, &eaten), NPR_EDATA, "8 dimensions, wanted 9");
    npr_rows_free(&wrong);
    free(bytes);
    npr_rows_free(&from);
    npr_rows_free(&to);
    npr_rows_free(&few);
}

/* Every shorter length is refused; flipped bytes never crash, and a refused row leaves the batch as it was.
 */
static void test_hostile_pack(void)
{
    npr_rows from, to;
    char *bytes = NULL;
    size_t used = 0, cap = 0, eaten;
    npr_rng rng = npr_rng_make(3, 4);
    CHECK_OK(npr_rows_make(&from, SAMPLE_ALL, 8, 6));
    for (int64_t i = 0; i < 6; i++) sample_put(&from, i);
    CHECK_OK(npr_rows_pack(&from, 5, &bytes, &used, &cap));
    CHECK_OK(npr_rows_make(&to, SAMPLE_ALL, 8, 1));
    for (size_t n = 0; n < used; n++) {
        char *exact = malloc(n ? n : 1); /* so that the sanitizer sees a read beyond the end */
        memcpy(exact, bytes, n);
        CHECK_FAILS(npr_rows_unpack(&to, exact, n, &eaten), NPR_EDATA, "packed row");
        uint64_t claim = n; /* as if it were the whole */
        if (n >= sizeof claim) memcpy(exact, &claim, sizeof claim);
        if (n >= sizeof claim) CHECK_FAILS(npr_rows_unpack(&to, exact, n, &eaten), NPR_EDATA, "packed row");
        free(exact);
        CHECK_INT(to.n, 0);
    }
    char *exact = malloc(used);
    for (int trial = 0; trial < 20000; trial++) {
        memcpy(exact, bytes, used);
        for (int flips = 0; flips < 3; flips++)
            exact[npr_rng_below(&rng, (int64_t)used)] ^= (char)(1 << npr_rng_below(&rng, 8));
        (void)npr_rows_unpack(&to, exact, used, &eaten);
        npr_rows_clear(&to);
    }
    CHECK_OK(npr_rows_unpack(&to, bytes, used, &eaten));
    CHECK(sample_is(&to, 0, 5));
    free(exact);
    free(bytes);
    npr_rows_free(&from);
    npr_rows_free(&to);
}

int main(void)
{
    test_fill();
    test_empty();
    test_large();
    test_names();
    test_many_containers();
    test_copy();
    test_pack();
    test_hostile_pack();
    return TEST_END();
}
