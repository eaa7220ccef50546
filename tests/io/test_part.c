/* test_part.c - parts: what is written is read, however it was batched; damage is found; failures leave
 * nothing. */
#include <dirent.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/rng.h"
#include "io/manifest.h"
#include "io/part.h"
#include "sample.h"

enum { DIM = 8, ROWS = 3000 };

/* HDF5 loses some of its own memory when a file is damaged or a write fails. Asked by the leak sanitizer. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libhdf5";
}

/* A set in memory over part 0 of a folder. */
static npr_set *one_part(const char *folder, uint32_t columns, int dim, const npr_part_entry *e)
{
    npr_set *set = npr_set_new(folder, "test", "unknown", "job");
    set->columns = columns;
    set->dim = dim;
    set->part_rows = NPR_PART_ROWS;
    CHECK_OK(npr_set_put_parts(set, e, 1));
    return set;
}

static char *folder_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", test_folder(), name);
    mkdir(path, 0777);
    return path;
}

static int files_in(const char *folder)
{
    int n = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

/* ---- what is written is read ---- */

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
        char *folder = folder_of("trip");
        CHECK_OK(sample_part(folder, 0, SAMPLE_ALL, DIM, 0, ROWS, batch[i], &e));
        CHECK_INT(files_in(folder), 1);
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
        npr_set *set = one_part(folder, SAMPLE_ALL, DIM, &e);
        CHECK_OK(npr_part_open(set, 0, &p));
        check_rows(p, SAMPLE_ALL, 0, ROWS);
        check_rows(p, SAMPLE_ALL, 1000, 100);
        check_rows(p, NPR_COL(NPR_URL) | NPR_COL(NPR_SOURCE), 1023, 1026);
        check_rows(p, NPR_COL(NPR_EMB), 2999, 1);
        check_rows(p, SAMPLE_ALL, 17, 0);
        check_picks(p);
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
    char *folder = folder_of("few");
    uint32_t few = NPR_COL(NPR_EMB) | NPR_COL(NPR_ID) | NPR_COL(NPR_LABEL);
    CHECK_OK(sample_part(folder, 0, few, DIM, 0, 10, 10, &e));
    npr_set *set = one_part(folder, few, DIM, &e);
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
    char *folder = folder_of("empty"), *big = malloc(BIG);
    CHECK_OK(sample_part(folder, 0, SAMPLE_ALL, DIM, 0, 0, 1, &e));
    npr_set *set = one_part(folder, SAMPLE_ALL, DIM, &e);
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
    set = one_part(folder, SAMPLE_ALL, DIM, &e);
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

static void test_bad_rows(void)
{
    npr_part_entry e;
    npr_part_writer *w;
    npr_part_report report;
    npr_rows r;
    uint32_t columns = NPR_COL(NPR_EMB) | NPR_COL(NPR_ID);
    char *folder = folder_of("bad");
    CHECK_OK(npr_rows_make(&r, columns, DIM, 10));
    for (int64_t i = 0; i < 10; i++) sample_put(&r, i);
    r.emb[3 * DIM + 2] = 0x7e00;                               /* NaN */
    r.emb[5 * DIM + 1] = 0xfc00;                               /* -Inf */
    memset(r.emb + 6 * DIM, 0, DIM * sizeof *r.emb);           /* zero */
    for (int j = 0; j < DIM; j++) r.emb[7 * DIM + j] = 0x7bff; /* 65504 */
    CHECK_OK(npr_part_create(folder, 0, columns, DIM, &w));
    CHECK_OK(npr_part_append(w, &r));
    CHECK_OK(npr_part_commit(w, &e));
    npr_set *set = one_part(folder, columns, DIM, &e);
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
    CHECK_INT(files_in(folder), 1);
    CHECK_FAILS(npr_part_create(folder, 0, NPR_COL(NPR_EMB), DIM, &w), NPR_EINTERNAL, "columns 0x1");
    CHECK_FAILS(npr_part_create("/nonexistent/x", 0, columns, DIM, &w), NPR_ECREATE,
                "/nonexistent/x/part-00000.h5");
    npr_part_abandon(NULL);
}

/* ---- damage ---- */

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
    char path[256], *folder = folder_of("flips");
    uint32_t columns = NPR_COL(NPR_EMB) | NPR_COL(NPR_ID) | NPR_COL(NPR_LABEL) | NPR_COL(NPR_SOURCE);
    CHECK_OK(sample_part(folder, 0, columns, DIM, 0, FEW, FEW, &e));
    npr_set *set = one_part(folder, columns, DIM, &e);
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

/* ---- indexes ---- */

static npr_status put_index(npr_set *set, const char *blob, size_t n)
{
    char *temp;
    npr_part_entry e;
    NPR_TRY(npr_part_with_index(set, 0, blob, n, &temp, &e));
    npr_status st = npr_part_publish(set->path, temp, &e);
    free(temp);
    if (!st) set->part[0] = e;
    return st;
}

static void test_index(void)
{
    enum { BLOB = 2500000 };
    npr_part_entry e;
    npr_part_report report;
    npr_part *p;
    size_t n, n1, n2;
    char path[256], *blob = malloc(BLOB), *folder = folder_of("index"), *back;
    for (int i = 0; i < BLOB; i++) blob[i] = (char)((int64_t)i * i / 5);
    CHECK_OK(sample_part(folder, 0, SAMPLE_ALL, DIM, 0, ROWS, 500, &e));
    npr_set *set = one_part(folder, SAMPLE_ALL, DIM, &e);
    CHECK_OK(put_index(set, blob, BLOB));
    CHECK_INT(files_in(folder), 1);
    CHECK_OK(npr_part_verify(set, 0, &report));
    CHECK_OK(npr_part_open(set, 0, &p));
    CHECK_OK(npr_part_read_index(p, &back, &n));
    CHECK(n == BLOB && !memcmp(back, blob, n));
    free(back);
    check_rows(p, SAMPLE_ALL, 0, ROWS);
    npr_part_close(p);
    snprintf(path, sizeof path, "%s/part-00000.h5", folder);
    char *once = sample_slurp(path, &n1);
    CHECK_OK(put_index(set, "another", 7)); /* replaced, and back again: its history does not show */
    CHECK(set->part[0].bytes < (int64_t)n1);
    CHECK_OK(put_index(set, blob, BLOB));
    char *again = sample_slurp(path, &n2);
    CHECK(n1 == n2 && !memcmp(once, again, n1));
    again[n2 / 2] ^= 4;
    sample_spill(path, again, n2);
    CHECK_FAILS(put_index(set, blob, BLOB), NPR_EDATA, "the manifest says"); /* never copies damage */
    CHECK_INT(files_in(folder), 1);
    npr_set_free(set);
    free(once);
    free(again);
    free(blob);
}

/* ---- failures ---- */

/* Run this program again as a job with a fault injected; its exit status as wait() gives it. */
static int in_child(const char *fault, const char *job, const char *folder)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        setenv("NPR_FAULT", fault, 1);
        execl("/proc/self/exe", "test_part", job, folder, (char *)NULL);
        _exit(99);
    }
    waitpid(child, &status, 0);
    return status;
}

static int write_part(const char *folder)
{
    npr_part_entry e;
    return (int)sample_part(folder, 0, SAMPLE_ALL, DIM, 0, ROWS, 700, &e);
}

static int write_and_read_part(const char *folder)
{
    npr_part_entry e;
    npr_part_report report;
    npr_status st = sample_part(folder, 0, SAMPLE_ALL, DIM, 0, 40, 40, &e);
    if (st) return (int)st;
    npr_set *set = npr_set_new(folder, "test", "unknown", "job");
    if (!set) return NPR_EINTERNAL;
    set->columns = SAMPLE_ALL;
    set->dim = DIM;
    st = npr_set_put_parts(set, &e, 1);
    if (!st) st = npr_part_verify(set, 0, &report);
    if (!st) st = put_index(set, "blob", 4);
    return (int)st;
}

static void test_faults(void)
{
    static const struct {
        const char *fault;
        npr_status code;
    } cases[] = {{"part.create@0", NPR_ECREATE}, {"part.write@0", NPR_EIO},    {"part.write@0:2", NPR_EIO},
                 {"part.write@0:13", NPR_EIO},   {"part.write@0:25", NPR_EIO}, {"part.close@0", NPR_EIO},
                 {"part.verify@0", NPR_EIO},     {"part.verify@0:5", NPR_EIO}, {"part.rename@0", NPR_EIO},
                 {"file.sync@0", NPR_EIO},       {"file.rename@0", NPR_EIO}};
    char *folder = folder_of("faults");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int status = in_child(cases[i].fault, "write", folder);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != (int)cases[i].code) {
            fprintf(stderr, "%s: status %#x, wanted exit %d\n", cases[i].fault, status, cases[i].code);
            test_failures++;
        }
        CHECK_INT(files_in(folder), 0);
    }
    static const char *const kills[] = {"part.write@0:7=kill", "part.close@0=kill", "part.verify@0=kill",
                                        "file.sync@0=kill"};
    for (size_t i = 0; i < sizeof kills / sizeof *kills; i++) {
        int status = in_child(kills[i], "write", folder);
        char path[256];
        snprintf(path, sizeof path, "%s/part-00000.h5", folder);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        CHECK(access(path, F_OK) != 0); /* only a temporary file is left */
    }
}

/* Memory fails at the first, second, ... allocation, until there are no more: always a status, never a crash.
 */
static void test_out_of_memory(void)
{
    char *folder = folder_of("memory");
    int n = 1, status;
    do {
        char fault[64];
        snprintf(fault, sizeof fault, "alloc@0:%d", n++);
        status = in_child(fault, "write-and-read", folder);
        if (!WIFEXITED(status) || (WEXITSTATUS(status) && WEXITSTATUS(status) != NPR_EINTERNAL)) {
            fprintf(stderr, "%s: status %#x\n", fault, status);
            test_failures++;
            break;
        }
    } while (WEXITSTATUS(status) && n < 1000);
    CHECK(n > 100 && n < 1000);
}

/* A file system too small: every size of it, so that every write meets its end once. */
static void test_disk_full(void)
{
    char *folder = folder_of("full"), options[32];
    for (int kib = 64; kib <= 8192; kib += kib / 4) {
        snprintf(options, sizeof options, "size=%dk", kib);
        if (mount("tmpfs", folder, "tmpfs", 0, options)) {
            fprintf(stderr, "no small file system here (needs root): writing to a full disk is not tested\n");
            return;
        }
        int status = in_child("none@0", "write", folder), left = files_in(folder);
        CHECK(WIFEXITED(status));
        int code = WEXITSTATUS(status);
        CHECK(code == NPR_OK || code == NPR_EIO || code == NPR_ECREATE);
        CHECK_INT(left, code == NPR_OK);
        if (kib < 2000) CHECK(code != NPR_OK);
        if (umount2(folder, MNT_DETACH)) perror(folder);
        if (code == NPR_OK) break;
        CHECK(kib + kib / 4 <= 8192); /* it must fit some day */
    }
}

int main(int argc, char **argv)
{
    if (argc == 3) _exit(!strcmp(argv[1], "write") ? write_part(argv[2]) : write_and_read_part(argv[2]));
    test_round_trip();
    test_other_columns();
    test_empty_and_big_texts();
    test_bad_rows();
    test_flips_and_cuts();
    test_index();
    test_faults();
    test_out_of_memory();
    test_disk_full();
    test_folder_remove();
    return TEST_END();
}
