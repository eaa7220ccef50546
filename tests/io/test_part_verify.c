/* test_part_verify.c - damage is found, by verification and without it; bad rows are counted. */
#include "base/rng.h"
#include "io/part.h"
#include "sample.h"

enum { DIM = 8 };

/* HDF5 loses some of its own memory when a file is damaged or a write fails. Asked by the leak sanitizer. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libhdf5";
}

static void test_bad_rows(void)
{
    npr_part_entry e;
    npr_part_writer *w;
    npr_part_report report;
    npr_rows r;
    uint32_t columns = NPR_COL(NPR_EMB) | NPR_COL(NPR_ID);
    char *folder = sample_folder("bad");
    CHECK_OK(npr_rows_make(&r, columns, DIM, 10));
    for (int64_t i = 0; i < 10; i++) sample_put(&r, i);
    r.emb[3 * DIM + 2] = 0x7e00;                               /* NaN */
    r.emb[5 * DIM + 1] = 0xfc00;                               /* -Inf */
    memset(r.emb + 6 * DIM, 0, DIM * sizeof *r.emb);           /* zero */
    for (int j = 0; j < DIM; j++) r.emb[7 * DIM + j] = 0x7bff; /* 65504 */
    CHECK_OK(npr_part_create(folder, 0, columns, DIM, &w));
    CHECK_OK(npr_part_append(w, &r));
    CHECK_OK(npr_part_commit(w, &e));
    npr_set *set = sample_set(folder, columns, DIM, &e);
    CHECK_OK(npr_part_verify(set, 0, &report));
    CHECK_INT(report.non_finite, 2);
    CHECK_INT(report.non_unit, 2);
    CHECK(report.norm_min == 0 && report.norm_max > 65504);
    CHECK(e.residual > 32 && e.residual >= report.residual); /* 65504 is 65536 in bfloat16 */
    set->part[0].residual /= 2;
    CHECK_FAILS(npr_part_verify(set, 0, &report), NPR_EDATA, "rounding residual");
    npr_set_free(set);
    npr_rows_free(&r);

    CHECK_OK(npr_rows_make(&r, columns, DIM + 1, 1));
    CHECK_OK(npr_part_create(folder, 0, columns, DIM, &w));
    CHECK_FAILS(npr_part_append(w, &r), NPR_EINTERNAL,
                "rows of dim 9 with columns emb id into a part of dim 8");
    npr_part_abandon(w);
    npr_rows_free(&r);
    CHECK_INT(sample_files(folder), 1);
    CHECK_FAILS(npr_part_create(folder, 0, NPR_COL(NPR_EMB), DIM, &w), NPR_EINTERNAL, "columns 0x1");
    CHECK_FAILS(npr_part_create("/nonexistent/x", 0, columns, DIM, &w), NPR_ECREATE,
                "/nonexistent/x/part-00000.h5");
    npr_part_abandon(NULL);
}

/* 1 if all rows of part 0 are read and right, 0 if a failure was reported, -1 if wrong rows were read without
 * one. */
static int read_quietly(const npr_set *set, int64_t rows)
{
    npr_part *p;
    npr_rows r;
    int result = 0;
    if (npr_part_open(set, 0, &p)) return 0;
    CHECK_OK(npr_rows_make(&r, set->columns, set->dim, rows));
    if (!npr_part_read(p, 0, rows, &r)) {
        result = 1;
        for (int64_t i = 0; i < rows; i++)
            if (!sample_is(&r, i, i)) result = -1;
    }
    npr_rows_free(&r);
    npr_part_close(p);
    return result;
}

static void test_flips_and_cuts(void)
{
    enum { FEW = 1500, FLIPS = 300, CUTS = 200, EARLY = 4096 };
    npr_part_entry e;
    npr_part_report report;
    npr_rng rng = npr_rng_make(5, 6);
    size_t n;
    char path[256], *folder = sample_folder("flips");
    uint32_t columns = NPR_COL(NPR_EMB) | NPR_COL(NPR_ID) | NPR_COL(NPR_LABEL) | NPR_COL(NPR_SOURCE);
    CHECK_OK(sample_part(folder, 0, columns, DIM, 0, FEW, FEW, &e));
    npr_set *set = sample_set(folder, columns, DIM, &e);
    snprintf(path, sizeof path, "%s/part-00000.h5", folder);
    char *bytes = sample_slurp(path, &n);
    int noticed = 0, silent = 0;
    for (int i = 0; i < FLIPS; i++) { /* a third of them where the metadata of the first datasets is */
        int64_t at = npr_rng_below(&rng, i % 3 ? (int64_t)n : EARLY), bit = npr_rng_below(&rng, 8);
        bytes[at] ^= (char)(1 << bit);
        sample_spill(path, bytes, n);
        bytes[at] ^= (char)(1 << bit);
        CHECK_FAILS(npr_part_verify(set, 0, &report), NPR_EDATA, "the manifest says");
        int got =
            read_quietly(set, FEW); /* without the digest: the checksums inside, or the byte is not used */
        noticed += got == 0;
        silent += got < 0;
    }
    CHECK(noticed > FLIPS / 2);
    CHECK_INT(silent, 0);
    for (int i = 0; i <= CUTS; i++) {
        size_t length = i < 100 ? (size_t)i : (size_t)npr_rng_below(&rng, (int64_t)n);
        sample_spill(path, bytes, length);
        CHECK_FAILS(npr_part_verify(set, 0, &report), NPR_EDATA, "the manifest says");
        set->part[0].bytes = (int64_t)length; /* as if the manifest agreed */
        CHECK_INT(read_quietly(set, FEW), 0);
        set->part[0].bytes = e.bytes;
    }
    unlink(path);
    CHECK_FAILS(npr_part_verify(set, 0, &report), NPR_ENOINPUT, "part-00000.h5");
    npr_set_free(set);
    free(bytes);
}

int main(void)
{
    test_bad_rows();
    test_flips_and_cuts();
    test_folder_remove();
    return TEST_END();
}
