/* test_journal.c - journals: every cut and every flipped byte leaves exactly the records before it. */
#include "io/journal.h"

#include <sys/stat.h>
#include <sys/wait.h>

#include "base/rng.h"
#include "sample.h"

enum { RECORDS = 7 };

static char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", test_folder(), name);
    return path;
}

/* The payload of record i: none, text, bytes that look like records, binary. */
static size_t payload(int64_t i, char *bytes)
{
    switch (i % 5) {
    case 0:
        return 0;
    case 1:
        return (size_t)sprintf(bytes, "{\"part\": %d}", (int)i);
    case 2:
        return (size_t)sprintf(bytes, "npr-journal part 3 0123456789abcdef\nabc\n");
    default:
        for (int k = 0; k < 300; k++) bytes[k] = (char)(k * 37 + i);
        return 300;
    }
}

typedef struct visited {
    int64_t n, wrong, stop_at, at[RECORDS + 1];
} visited;

static npr_status visit(void *context, const char *type, int64_t at, const char *bytes, size_t n)
{
    visited *v = context;
    char want[512];
    size_t length = payload(v->n, want);
    if (n != length || memcmp(bytes, want, n) != 0 || bytes[n] != 0) v->wrong++;
    if (strcmp(type, v->n % 2 ? "scan-row" : "part") != 0) v->wrong++;
    if (v->n == v->stop_at) return npr_fail(NPR_EUSAGE, "enough");
    v->at[v->n++] = at;
    return NPR_OK;
}

static void append_records(const char *path, int64_t first, int64_t n)
{
    npr_journal *j;
    char bytes[512];
    CHECK_OK(npr_journal_open(path, &j));
    for (int64_t i = first; i < first + n; i++) {
        size_t length = payload(i, bytes);
        CHECK_OK(npr_journal_append(j, i % 2 ? "scan-row" : "part", bytes, length));
    }
    npr_journal_close(j);
}

/* Records that can be read, all as they were written. */
static int64_t count(const char *path, int *damaged)
{
    visited v = {.stop_at = -1};
    int64_t good = -1;
    CHECK_OK(npr_journal_read(path, visit, &v, &good, damaged));
    CHECK_INT(v.wrong, 0);
    CHECK_INT(v.n, good);
    return good;
}

static void test_append_and_read(void)
{
    int damaged;
    char *path = path_of("log");
    append_records(path, 0, 4);
    append_records(path, 4, 0);
    append_records(path, 4, RECORDS - 4); /* opened again */
    CHECK_INT(count(path, &damaged), RECORDS);
    CHECK_INT(damaged, 0);
    visited v = {.stop_at = 3};
    CHECK_FAILS(npr_journal_read(path, visit, &v, NULL, NULL), NPR_EUSAGE, "enough");
    int64_t good;
    CHECK_OK(npr_journal_read(path, NULL, NULL, &good, NULL));
    CHECK_INT(good, RECORDS);
    CHECK_FAILS(npr_journal_read(path_of("none"), visit, &v, NULL, NULL), NPR_ENOINPUT, "none");
    /* what cannot be read is not a journal's end */
    CHECK_FAILS(npr_journal_read("/proc/self/mem", visit, &v, NULL, NULL), NPR_EIO, "cannot read: ");
    npr_journal *j;
    CHECK_FAILS(npr_journal_open("/nonexistent/log", &j), NPR_ECREATE, "/nonexistent/log");
    CHECK_OK(npr_journal_open(path_of("types"), &j));
    static const char *const bad[] = {"", "two words", "Upper", "line\n", "abcdefghijklmnopqrstuvwx"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_FAILS(npr_journal_append(j, bad[i], "", 0), NPR_EINTERNAL, "no type of record");
    npr_journal_close(j);
    npr_journal_close(NULL);
}

/* The payloads that are met, in a row. */
static npr_status copy(void *context, const char *type, int64_t at, const char *bytes, size_t n)
{
    char **to = context;
    (void)type, (void)at;
    memcpy(*to, bytes, n);
    *to += n;
    return NPR_OK;
}

/* Some of the records, in any order and more than once, by the places they were met at. */
static void test_pick(void)
{
    static const int wanted[] = {2, 3, 6, 6, 0, 5, 1};
    enum { N = sizeof wanted / sizeof *wanted };
    visited v = {.stop_at = -1};
    CHECK_OK(npr_journal_read(path_of("log"), visit, &v, NULL, NULL));
    char want[N * 512], have[N * 512], *to = want;
    int64_t at[N];
    for (int i = 0; i < N; i++) {
        at[i] = v.at[wanted[i]];
        to += payload(wanted[i], to);
    }
    size_t n = (size_t)(to - want);
    to = have;
    CHECK_OK(npr_journal_pick(path_of("log"), at, N, copy, &to));
    CHECK((size_t)(to - have) == n && memcmp(want, have, n) == 0);
    CHECK_OK(npr_journal_pick(path_of("log"), at, 0, copy, &to));
    /* a record whose bytes have changed since, a place at which none begins, one behind the end */
    size_t size = 0;
    char *bytes = sample_slurp(path_of("log"), &size);
    bytes[v.at[4] - 2] ^= 1;
    sample_spill(path_of("changed"), bytes, size);
    CHECK_OK(npr_journal_pick(path_of("changed"), &v.at[4], 1, copy, &to)); /* as no other one is looked at */
    CHECK_FAILS(npr_journal_pick(path_of("changed"), &v.at[3], 1, copy, &to), NPR_EDATA, "was good before");
    for (int64_t bad = v.at[2] + 1; bad <= (int64_t)size + 9; bad += (int64_t)size / 3)
        CHECK_FAILS(npr_journal_pick(path_of("log"), &bad, 1, copy, &to), NPR_EDATA, "was good before");
    CHECK_FAILS(npr_journal_pick(path_of("none"), at, 1, copy, &to), NPR_ENOINPUT, "none");
    free(bytes);
}

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
static int synced; /* how often */

int __wrap_fdatasync(int fd)
{
    synced++;
    return __real_fdatasync(fd);
}

/* What is added is read at once, and synced when that is asked for. */
static void test_added(void)
{
    char *path = path_of("added"), bytes[512];
    npr_journal *j;
    CHECK_OK(npr_journal_open(path, &j));
    synced = 0;
    for (int64_t i = 0; i < RECORDS; i++) {
        size_t n = payload(i, bytes);
        const char *type = i % 2 ? "scan-row" : "part";
        CHECK_OK(i == 3 ? npr_journal_append(j, type, bytes, n) : npr_journal_add(j, type, bytes, n));
        CHECK_INT(synced, i >= 3);
        CHECK_INT(count(path, NULL), i + 1);
    }
    CHECK_OK(npr_journal_sync(j));
    CHECK_INT(synced, 2);
    npr_journal_close(j);
    CHECK_INT(synced, 2);
}

/* Ends of the records in the file, found by cutting. */
static void test_every_cut(void)
{
    size_t n = 0;
    int damaged;
    int64_t before = 0;
    char *bytes = sample_slurp(path_of("log"), &n);
    for (size_t length = 0; length <= n; length++) {
        sample_spill(path_of("cut"), bytes, length);
        int64_t good = count(path_of("cut"), &damaged);
        CHECK(good == before || good == before + 1);
        if (length && good == before + 1) CHECK(!damaged); /* a cut right behind a record */
        before = good;
        if (length % 17) continue;
        append_records(path_of("cut"), good, RECORDS - good); /* the torn record is gone, the others follow */
        CHECK_INT(count(path_of("cut"), &damaged), RECORDS);
        CHECK_INT(damaged, 0);
        size_t m = 0;
        char *whole = sample_slurp(path_of("cut"), &m);
        CHECK(m == n && !memcmp(whole, bytes, n));
        free(whole);
    }
    CHECK_INT(before, RECORDS);
    free(bytes);
}

static void test_every_flip(void)
{
    size_t n = 0;
    int damaged;
    char *bytes = sample_slurp(path_of("log"), &n);
    int64_t at_most = 0;
    for (size_t i = 0; i < n; i++) { /* record k ends where the whole file up to there has k + 1 records */
        sample_spill(path_of("flip"), bytes, i);
        at_most = count(path_of("flip"), &damaged);
        for (int bit = 0; bit < 8; bit += 3) {
            bytes[i] ^= (char)(1 << bit);
            sample_spill(path_of("flip"), bytes, n);
            bytes[i] ^= (char)(1 << bit);
            CHECK_INT(count(path_of("flip"), &damaged), at_most);
            CHECK(damaged);
        }
    }
    free(bytes);
}

/* Lengths beyond the file, beyond memory, beyond numbers: refused without allocating. */
static void test_hostile(void)
{
    static const char *const heads[] = {"npr-journal part 18446744073709551615 0000000000000000\n",
                                        "npr-journal part 99999999999999999999999 0000000000000000\n",
                                        "npr-journal part -1 0000000000000000\n",
                                        "npr-journal part 4611686018427387904 0000000000000000\n\n",
                                        "npr-journal  part 0 0000000000000000\n\n",
                                        "npr-journal part 00 0000000000000000\n\n",
                                        "npr-journal part 0\n",
                                        "\n",
                                        "npr-journal"};
    int damaged;
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        sample_spill(path_of("hostile"), heads[i], strlen(heads[i]));
        CHECK_INT(count(path_of("hostile"), &damaged), 0);
        CHECK_INT(damaged, 1);
    }
    npr_rng rng = npr_rng_make(1, 1);
    for (int trial = 0; trial < 200; trial++) {
        char noise[400];
        for (size_t k = 0; k < sizeof noise; k++) noise[k] = (char)npr_rng_next(&rng);
        sample_spill(path_of("hostile"), noise, sizeof noise);
        CHECK_INT(count(path_of("hostile"), &damaged), 0);
    }
}

static npr_status collect(void *context, const char *type, int64_t at, const char *bytes, size_t n)
{
    (void)type, (void)at;
    char *text = context;
    strncat(text, bytes, n);
    return NPR_OK;
}

static void test_all_journals(void)
{
    static const char *const names[] = {"parts-1-0.log",     "parts-10-2.log", "parts-2-11.log",
                                        "parts-2-3.log",     "scan-12-0.log",  "parts-3.log",
                                        "parts-4-1.log.old", "other.log"};
    char folder[160], path[256], text[64] = "", payload_text[2] = "a";
    int run;
    snprintf(folder, sizeof folder, "%s/all", test_folder());
    CHECK_FAILS(npr_journal_read_all(folder, "parts", collect, text, &run), NPR_ENOINPUT, folder);
    snprintf(path, sizeof path, "mkdir %s", folder);
    CHECK_INT(system(path), 0);
    CHECK_OK(npr_journal_read_all(folder, "parts", collect, text, &run));
    CHECK_INT(run, 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++, payload_text[0]++) {
        npr_journal *j;
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        CHECK_OK(npr_journal_open(path, &j));
        CHECK_OK(npr_journal_append(j, "part", payload_text, 1));
        npr_journal_close(j);
    }
    CHECK_OK(npr_journal_read_all(folder, "parts", collect, text, &run));
    CHECK_TEXT(text, "adcb");
    CHECK_INT(run, 12);
}

/* A write that fails leaves the journal as it was, and it can go on. */
static int append_with_fault(const char *path)
{
    npr_journal *j;
    int damaged;
    CHECK_OK(npr_journal_open(path, &j));
    CHECK_OK(npr_journal_append(j, "part", "", 0));
    CHECK_FAILS(npr_journal_append(j, "scan-row", "lost", 4), NPR_EIO, "journal");
    char bytes[512];
    size_t n = payload(1, bytes);
    CHECK_OK(npr_journal_append(j, "scan-row", bytes, n));
    npr_journal_close(j);
    CHECK_INT(count(path, &damaged), 2);
    CHECK_INT(damaged, 0);
    return test_failures;
}

static void test_faults(void)
{
    static const char *const faults[] = {"journal.append@0:2", "file.write@0:3", "file.write@0:4",
                                         "file.write@0:5"};
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        int status;
        unlink(path_of("journal"));
        if (fork() == 0) {
            setenv("NPR_FAULT", faults[i], 1);
            execl("/proc/self/exe", "test_journal", path_of("journal"), (char *)NULL);
            _exit(99);
        }
        wait(&status);
        CHECK_INT(status, 0);
    }
}

/* It is refused; nobody waits for its other end. */
static void test_pipe(void)
{
    npr_journal *j;
    CHECK_INT(mkfifo(path_of("pipe"), 0666), 0);
    CHECK_FAILS(npr_journal_read(path_of("pipe"), NULL, NULL, NULL, NULL), NPR_ENOINPUT,
                "not a regular file");
    CHECK_FAILS(npr_journal_open(path_of("pipe"), &j), NPR_ECREATE, "cannot open for writing");
    unlink(path_of("pipe"));
}

int main(int argc, char **argv)
{
    if (argc == 2) return append_with_fault(argv[1]);
    test_append_and_read();
    test_pick();
    test_added();
    test_every_cut();
    test_every_flip();
    test_hostile();
    test_all_journals();
    test_faults();
    test_pipe();
    test_folder_remove();
    return TEST_END();
}
