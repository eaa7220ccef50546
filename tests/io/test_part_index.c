/* test_part_index.c - an index in a part: whole, checked, and without a trace of what was there before. */
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

static void test_index(void)
{
    enum { BLOB = 2500000 };
    npr_part_entry e;
    npr_part_report report;
    npr_part *p;
    size_t n, n1, n2;
    char path[256], *blob = malloc(BLOB), *folder = sample_folder("index"), *back;
    for (int i = 0; i < BLOB; i++) blob[i] = (char)((int64_t)i * i / 5);
    CHECK_OK(sample_part(folder, 0, SAMPLE_ALL, DIM, 0, ROWS, 500, &e));
    npr_set *set = sample_set(folder, SAMPLE_ALL, DIM, &e);
    CHECK_OK(sample_index(set, blob, BLOB));
    CHECK_INT(sample_files(folder), 1);
    CHECK_OK(npr_part_verify(set, 0, &report));
    CHECK_OK(npr_part_open(set, 0, &p));
    CHECK_OK(npr_part_read_index(p, &back, &n));
    CHECK(n == BLOB && !memcmp(back, blob, n));
    free(back);
    check_rows(p, SAMPLE_ALL, 0, ROWS);
    npr_part_close(p);
    snprintf(path, sizeof path, "%s/part-00000.h5", folder);
    char *once = sample_slurp(path, &n1);
    CHECK_OK(sample_index(set, "another", 7)); /* replaced, and back again: its history does not show */
    CHECK(set->part[0].bytes < (int64_t)n1);
    CHECK_OK(sample_index(set, blob, BLOB));
    char *again = sample_slurp(path, &n2);
    CHECK(n1 == n2 && !memcmp(once, again, n1));
    again[n2 / 2] ^= 4;
    sample_spill(path, again, n2);
    CHECK_FAILS(sample_index(set, blob, BLOB), NPR_EDATA, "the manifest says"); /* never copies damage */
    CHECK_INT(sample_files(folder), 1);
    npr_set_free(set);
    free(once);
    free(again);
    free(blob);
}

int main(void)
{
    test_index();
    test_folder_remove();
    return TEST_END();
}
