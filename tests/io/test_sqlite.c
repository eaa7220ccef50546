/* test_sqlite.c - caption databases as the reference implementation publishes them, made here with SQLite:
 * plain and full-text tables, gaps in rowids, odd types, and what is refused. */
#include "test.h"

#include <sqlite3.h>

#include "base/file.h"
#include "npr/source.h"

enum { ROWS = 500 };

static const uint32_t ALL = NPR_COL(NPR_URL) | NPR_COL(NPR_CAPTION) | NPR_COL(NPR_SIMILARITY) |
                            NPR_COL(NPR_NSFW) | NPR_COL(NPR_WIDTH) | NPR_COL(NPR_HEIGHT) | NPR_COL(NPR_ID);

static char path[160];

/* Not durable: there are thousands of them. */
static void put_file(const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(bytes, 1, n, f) == n);
    CHECK(f && fclose(f) == 0);
}

/* A fresh database made by these statements; `insert`, if any, is run ROWS times with ?1 = 0, 1, ... */
static void make(const char *sql, const char *insert)
{
    sqlite3 *db;
    sqlite3_stmt *q = NULL;
    unlink(path);
    CHECK_INT(sqlite3_open(path, &db), SQLITE_OK);
    CHECK_INT(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    if (insert) {
        CHECK_INT(sqlite3_exec(db, "BEGIN", NULL, NULL, NULL), SQLITE_OK);
        CHECK_INT(sqlite3_prepare_v2(db, insert, -1, &q, NULL), SQLITE_OK);
        for (int i = 0; i < ROWS; i++) {
            sqlite3_bind_int(q, 1, i);
            CHECK_INT(sqlite3_step(q), SQLITE_DONE);
            sqlite3_reset(q);
        }
        sqlite3_finalize(q);
        CHECK_INT(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    }
    sqlite3_close(db);
}

/* The reference's columns, all as texts, with sizes as pandas prints them; every third size unknown. */
static const char
    reference[] = "CREATE VIRTUAL TABLE samples USING fts5"
                  "(SAMPLE_ID, URL, TEXT, HEIGHT, WIDTH, LICENSE, NSFW, similarity)",
    fill[] = "INSERT INTO samples VALUES (?1 || '.0', 'http://' || ?1, 'caption caf' || char(233) || ' ' || "
             "?1, iif(?1 % 3, (100 + ?1) || '.0', NULL), 200 + ?1, '?', "
             "iif(?1 % 2, 'UNLIKELY', 'NSFW'), '0.' || (1000 + ?1))";

static void check_row(const npr_rows *r, int64_t k, int i)
{
    char wanted[64];
    size_t n;
    snprintf(wanted, sizeof wanted, "caption caf\xc3\xa9 %d", i);
    const char *text = npr_text_at(&r->caption, k, &n);
    if (n != strlen(wanted) || memcmp(text, wanted, n)) CHECK_INT(i, -1);
    snprintf(wanted, sizeof wanted, "http://%d", i);
    text = npr_text_at(&r->url, k, &n);
    if (n != strlen(wanted) || memcmp(text, wanted, n)) CHECK_INT(i, -1);
    CHECK_INT(r->id[k], i);
    CHECK_INT(r->height[k], i % 3 ? 100 + i : 0);
    CHECK_INT(r->width[k], 200 + i);
    CHECK_INT(r->nsfw[k], i % 2 ? NPR_NSFW_UNLIKELY : NPR_NSFW_LIKELY);
    snprintf(wanted, sizeof wanted, "0.%d", 1000 + i);
    CHECK(r->similarity[k] == (float)strtod(wanted, NULL));
}

/* Read the whole database; row k must be the one made as number k * step. From the middle too. */
static void check_all(int64_t rows, int step)
{
    npr_sqlite *s;
    npr_rows r;
    int64_t counted, *mark;
    CHECK_OK(npr_sqlite_open(path, &s));
    CHECK_INT(npr_sqlite_columns(s), ALL);
    CHECK_OK(npr_sqlite_count(s, 7, &mark, &counted));
    CHECK_INT(counted, rows);
    CHECK_OK(npr_rows_make(&r, ALL, 0, rows));
    for (int64_t k = 0; k < rows; k++) {
        CHECK_OK(npr_sqlite_next(s, &r));
        CHECK_OK(npr_rows_next(&r));
        check_row(&r, k, (int)k * step);
    }
    CHECK_FAILS(npr_sqlite_next(s, &r), NPR_EDATA, "ends before row");
    for (int64_t k = rows - 1; k > 0; k /= 2) {
        npr_rows_clear(&r);
        CHECK_OK(npr_sqlite_seek(s, mark[k / 7], k / 7 * 7));
        CHECK_OK(npr_sqlite_skip(s, k % 7));
        CHECK_OK(npr_sqlite_next(s, &r));
        check_row(&r, 0, (int)k * step);
    }
    CHECK_OK(npr_sqlite_seek(s, mark[0], 0));
    CHECK_FAILS(npr_sqlite_skip(s, rows + 1), NPR_EDATA, "ends before row");
    free(mark);
    npr_rows_free(&r);
    npr_sqlite_close(s);
}

static void test_reference(void)
{
    char sql[512];
    make(reference, fill);
    check_all(ROWS, 1);
    make("CREATE VIRTUAL TABLE samples USING fts4(SAMPLE_ID, URL, TEXT, HEIGHT, WIDTH, LICENSE, NSFW, "
         "similarity)",
         fill);
    check_all(ROWS, 1);
    make("CREATE TABLE samples(Sample_Id INTEGER, url TEXT, Text TEXT, height REAL, WIDTH INTEGER, License, "
         "nsfw, "
         "SIMILARITY REAL)",
         fill);
    check_all(ROWS, 1);
    /* UTF-16, and gaps in the rowids: rows are numbered by order */
    snprintf(sql, sizeof sql, "PRAGMA encoding = 'UTF-16'; %s", reference);
    make(sql, fill);
    check_all(ROWS, 1);
    sqlite3 *db;
    CHECK_INT(sqlite3_open(path, &db), SQLITE_OK);
    CHECK_INT(sqlite3_exec(db, "DELETE FROM samples WHERE rowid % 2 = 0", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    check_all(ROWS / 2, 2);
}

/* Texts of any bytes and numbers where texts are wanted come as they are. */
static void test_values(void)
{
    make("CREATE TABLE samples(text, nsfw); INSERT INTO samples VALUES (cast(x'61ff00c362' AS TEXT), 0.2), "
         "(x'6200', NULL), (2017, ''), (NULL, 'unsure'), (x'', 1)",
         NULL);
    static const struct {
        const char *text;
        size_t n;
        int nsfw;
    } wanted[] = {{"a\xff\0\xc3"
                   "b",
                   5, NPR_NSFW_UNSURE},
                  {"b\0", 2, NPR_NSFW_UNKNOWN},
                  {"2017", 4, NPR_NSFW_UNKNOWN},
                  {"", 0, NPR_NSFW_UNSURE},
                  {"", 0, NPR_NSFW_LIKELY}};
    npr_sqlite *s;
    npr_rows r;
    size_t n;
    CHECK_OK(npr_sqlite_open(path, &s));
    CHECK_OK(npr_rows_make(&r, NPR_COL(NPR_CAPTION) | NPR_COL(NPR_NSFW), 0, 8));
    for (int i = 0; i < 5; i++) {
        CHECK_OK(npr_sqlite_next(s, &r));
        CHECK_OK(npr_rows_next(&r));
        const char *text = npr_text_at(&r.caption, i, &n);
        CHECK(n == wanted[i].n && !memcmp(text, wanted[i].text, n));
        CHECK_INT(r.nsfw[i], wanted[i].nsfw);
    }
    npr_rows_free(&r);
    npr_sqlite_close(s);
}

/* Names that mean something in a URI. */
static void test_names(void)
{
    char odd[200];
    make(reference, fill);
    snprintf(odd, sizeof odd, "%s/a ?mode=rw&x#%%41.sqlite", test_folder());
    CHECK(rename(path, odd) == 0);
    npr_sqlite *s;
    CHECK_OK(npr_sqlite_open(odd, &s));
    npr_sqlite_close(s);
    unlink(odd);
}

static void test_refused(void)
{
    static const struct {
        const char *sql, *words;
    } bad[] = {
        {"CREATE TABLE other(a); CREATE TABLE third(b)", "no table \"samples\", found: other, third"},
        {"VACUUM", "no table \"samples\", found: no table at all"},
        {"CREATE TABLE t(text); CREATE VIEW samples AS SELECT * FROM t",
         "no table \"samples\", found: t, samples"},
        {"CREATE TABLE samples(a, b)", "table samples has no column URL, TEXT"},
        {"CREATE TABLE samples(text, caption, \"CAPTION \")", NULL},
        {"CREATE TABLE samples(width, Original_Width, url)", NULL},
        {"CREATE TABLE samples(url TEXT PRIMARY KEY) WITHOUT ROWID", "no such column: rowid"},
        {"CREATE VIRTUAL TABLE samples USING fts5(text, content=''); INSERT INTO samples(rowid, text) VALUES "
         "(1, 'x')",
         "is an index only"},
        {"CREATE VIRTUAL TABLE samples USING fts5(text, tokenize=\"ascii\"); PRAGMA writable_schema=ON; "
         "UPDATE "
         "sqlite_master SET sql = replace(sql, 'ascii', 'other') WHERE name = 'samples'",
         "SQLite fails"},
    };
    npr_sqlite *s;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        make(bad[i].sql, NULL);
        if (bad[i].words) {
            CHECK_FAILS(npr_sqlite_open(path, &s), NPR_EDATA, bad[i].words);
        } else {
            CHECK_OK(npr_sqlite_open(path, &s));
            npr_sqlite_close(s);
        }
    }
    CHECK_FAILS(npr_sqlite_open("/nowhere/x.sqlite", &s), NPR_ENOINPUT, "/nowhere/x.sqlite");
    put_file("url\tcaption\nthis is not a database at all\n", 42);
    CHECK_FAILS(npr_sqlite_open(path, &s), NPR_EDATA, "not an SQLite database");
    npr_rows r;
    make("CREATE TABLE samples(text, width); INSERT INTO samples VALUES ('x', 'wide')", NULL);
    CHECK_OK(npr_sqlite_open(path, &s));
    CHECK_OK(npr_rows_make(&r, NPR_COL(NPR_WIDTH), 0, 1));
    CHECK_FAILS(npr_sqlite_next(s, &r), NPR_EDATA, "row 0 of samples: ");
    CHECK(strstr(npr_status_text(), "width should be a number of pixels, found \"wide\"") != NULL);
    npr_rows_free(&r);
    npr_sqlite_close(s);
}

/* Changes that wait in a log beside the database would not be seen. */
static void test_pending(void)
{
    sqlite3 *db;
    npr_sqlite *s;
    unlink(path);
    CHECK_INT(sqlite3_open(path, &db), SQLITE_OK);
    CHECK_INT(sqlite3_exec(db, "PRAGMA journal_mode=WAL; CREATE TABLE samples(text)", NULL, NULL, NULL),
              SQLITE_OK);
    CHECK_FAILS(npr_sqlite_open(path, &s), NPR_EDATA, "changes are pending");
    sqlite3_close(db);
    CHECK_OK(npr_sqlite_open(path, &s));
    npr_sqlite_close(s);
}

/* Read everything; the first failure. */
static npr_status read_through(int64_t *rows)
{
    npr_sqlite *s;
    npr_rows r;
    NPR_TRY(npr_sqlite_open(path, &s));
    CHECK_OK(npr_rows_make(&r, ALL, 0, 1));
    int64_t *mark;
    npr_status st = npr_sqlite_count(s, 100, &mark, rows);
    if (!st) free(mark);
    for (int64_t i = 0; i < *rows && !st; i++) {
        npr_rows_clear(&r);
        st = npr_sqlite_next(s, &r);
    }
    npr_rows_free(&r);
    npr_sqlite_close(s);
    return st;
}

/* A database cut anywhere is refused. */
static void test_truncated(void)
{
    char *file;
    size_t n;
    make(reference, fill);
    CHECK_OK(npr_file_read(path, 1 << 26, &file, &n));
    for (size_t length = 0; length < n; length += length < 1024 ? 7 : 509) {
        int64_t rows = 0;
        put_file(file, length);
        CHECK_FAILS(read_through(&rows), NPR_EDATA, path);
    }
    put_file(file, n - 1);
    int64_t rows;
    char sizes[64];
    snprintf(sizes, sizeof sizes, "truncated: it has %zu bytes, its pages make %zu", n - 1, n);
    CHECK_FAILS(read_through(&rows), NPR_EDATA, sizes);
    free(file);
}

/* Bytes changed anywhere: refused or read, never a crash. */
static void test_damaged(void)
{
    char *file;
    size_t n;
    make(reference, fill);
    CHECK_OK(npr_file_read(path, 1 << 26, &file, &n));
    for (size_t at = 0; at < n; at += at < 4096 ? 13 : 397) {
        int64_t rows = 0;
        char was = file[at];
        file[at] = (char)(was ^ 0x5a);
        put_file(file, n);
        (void)read_through(&rows);
        file[at] = was;
    }
    free(file);
}

int main(void)
{
    snprintf(path, sizeof path, "%s/samples.sqlite", test_folder());
    test_reference();
    test_values();
    test_names();
    test_refused();
    test_pending();
    test_truncated();
    test_damaged();
    test_folder_remove();
    return TEST_END();
}
