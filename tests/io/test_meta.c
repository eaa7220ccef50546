/* test_meta.c - metadata rows from TSV and JSON lines: fields, values, places, and what is refused. */
#include "test.h"

#include "base/file.h"
#include "base/rng.h"
#include "io/field.h"
#include "io/lines.h"
#include "npr/source.h"

enum {
    ALL = NPR_COL(NPR_URL) | NPR_COL(NPR_CAPTION) | NPR_COL(NPR_SIMILARITY) | NPR_COL(NPR_NSFW) |
          NPR_COL(NPR_WIDTH) | NPR_COL(NPR_HEIGHT) | NPR_COL(NPR_LABEL) | NPR_COL(NPR_ID)
};

static const char *put_file(const char *name, const void *bytes, size_t n)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", test_folder(), name);
    FILE *f = fopen(path, "wb"); /* not durable: there are thousands of them */
    CHECK(f && fwrite(bytes, 1, n, f) == n);
    CHECK(f && fclose(f) == 0);
    return path;
}

/* Read all rows of a file into r; the first failure. */
static npr_status read_all(const char *path, const char *columns, npr_rows *r)
{
    npr_meta *m;
    int64_t *mark, rows;
    CHECK_OK(npr_rows_make(r, ALL, 0, 64));
    NPR_TRY(npr_meta_open(path, columns, &m));
    npr_status st = npr_meta_count(m, 1, &mark, &rows);
    if (!st) free(mark);
    for (int64_t i = 0; i < rows && !st; i++) {
        st = npr_meta_next(m, r);
        if (!st) st = npr_rows_next(r);
    }
    if (!st) CHECK_FAILS(npr_meta_next(m, r), NPR_EDATA, "ends before row");
    npr_meta_close(m);
    return st;
}

static int text_is(const npr_text *t, int64_t i, const char *wanted, size_t n)
{
    size_t m;
    const char *s = npr_text_at(t, i, &m);
    return m == n && !memcmp(s, wanted, n);
}
#define CHECK_ROW_TEXT(t, i, wanted) CHECK(text_is(&(t), i, wanted, strlen(wanted)))

/* ---- TSV ---- */

static void test_tsv(void)
{
    static const char file[] =
        "\xef\xbb\xbfURL\tother\tTEXT\tNSFW\tsimilarity\tWIDTH\toriginal_width\theight\r\n"
        "http://a\tx\tA \"cat\" caf\xc3\xa9\tUNLIKELY\t0.25\t1\t640\t480.0\n"
        "\t\t\t\t\t\t\t\n"
        "http://b\t\tbroken \xff\xc3 utf-8\tnsfw\tNaN\t2\tnan\t0\r\n"
        "http://c\t\ttail\t0.3\t-1e-2\t3\t7\t2147483647";
    npr_rows r;
    CHECK_OK(read_all(put_file("a.tsv", file, sizeof file - 1), NULL, &r));
    CHECK_INT(r.n, 4);
    CHECK_ROW_TEXT(r.url, 0, "http://a");
    CHECK_ROW_TEXT(r.caption, 0, "A \"cat\" caf\xc3\xa9");
    CHECK_ROW_TEXT(r.caption, 1, "");
    CHECK_ROW_TEXT(r.caption, 2, "broken \xff\xc3 utf-8");
    CHECK_ROW_TEXT(r.caption, 3, "tail");
    static const int nsfw[] = {NPR_NSFW_UNLIKELY, NPR_NSFW_UNKNOWN, NPR_NSFW_LIKELY, NPR_NSFW_UNSURE},
                     width[] = {640, 0, 0, 7}, height[] = {480, 0, 0, INT32_MAX};
    for (int i = 0; i < 4; i++) {
        CHECK_INT(r.nsfw[i], nsfw[i]);
        CHECK_INT(r.width[i], width[i]);
        CHECK_INT(r.height[i], height[i]);
    }
    CHECK(r.similarity[0] == 0.25f && r.similarity[3] == -0.01f);
    CHECK(isnan(r.similarity[1]) && isnan(r.similarity[2]));
    npr_rows_free(&r);
}

static void test_tsv_without_header(void)
{
    static const char file[] = "http://a\tone\nhttp://b\ttwo\tand a tab\n";
    const char *path = put_file("b.tsv", file, 13);
    npr_rows r;
    CHECK_OK(read_all(path, "URL,caption", &r));
    CHECK_INT(r.n, 1);
    CHECK_ROW_TEXT(r.caption, 0, "one");
    npr_rows_free(&r);
    CHECK_OK(read_all(path, "-,text", &r));
    CHECK_ROW_TEXT(r.caption, 0, "one");
    CHECK_ROW_TEXT(r.url, 0, "");
    npr_rows_free(&r);
    CHECK_FAILS(read_all(path, NULL, &r), NPR_EDATA, "\"http://a\\x09one\" names no known field");
    npr_rows_free(&r);
    CHECK_FAILS(read_all(path, "a,b", &r), NPR_EUSAGE, "none of these fields is known");
    npr_rows_free(&r);
    CHECK_FAILS(read_all(path, "url,url", &r), NPR_EDATA, "two fields for url");
    npr_rows_free(&r);
    put_file("b.tsv", file, sizeof file - 1);
    CHECK_FAILS(read_all(path, "url,caption", &r), NPR_EDATA, "b.tsv:2: 3 fields between tabs, wanted 2");
    npr_rows_free(&r);
    put_file("b.tsv", "", 0);
    CHECK_OK(read_all(path, "url,caption", &r));
    CHECK_INT(r.n, 0);
    npr_rows_free(&r);
    CHECK_FAILS(read_all(path, NULL, &r), NPR_EDATA, "empty, wanted a header");
    npr_rows_free(&r);
}

/* Files that must be refused, and words of the reason. */
static void test_refused(void)
{
    static const struct {
        const char *name, *file, *words;
    } bad[] = {
        {"c.tsv", "caption\turl\nx\n", "c.tsv:2: 1 fields between tabs, wanted 2"},
        {"c.tsv", "caption\turl\nx\ty\n\n", "c.tsv:3: 1 fields between tabs, wanted 2"},
        {"c.tsv", "caption\tCaption\nx\ty\n", "two fields for caption: \"Caption\" is there twice"},
        {"c.tsv", "caption\tsimilarity\nx\t0.3.1\n",
         "c.tsv:2: similarity should be a number, found \"0.3.1\""},
        {"c.tsv", "caption\tsimilarity\nx\t0,3\n", "found \"0,3\""},
        {"c.tsv", "caption\tsimilarity\nx\t0x10\n", "found \"0x10\""},
        {"c.tsv", "caption\tsimilarity\nx\t 1\n", "found \" 1\""},
        {"c.tsv", "caption\tsimilarity\nx\tinf\n", "found \"inf\""},
        {"c.tsv", "caption\tsimilarity\nx\t1e999\n", "found \"1e999\""},
        {"c.tsv", "caption\tsimilarity\nx\t1e\n", "found \"1e\""},
        {"c.tsv", "caption\tsimilarity\nx\t.\n", "found \".\""},
        {"c.tsv", "caption\tNSFW\nx\tperhaps\n",
         "nsfw should be UNLIKELY, UNSURE, NSFW, LIKELY or a probability"},
        {"c.tsv", "caption\tpunsafe\nx\t1.5\n", "found \"1.5\""},
        {"c.tsv", "caption\twidth\nx\t-3\n", "width should be a number of pixels, found \"-3\""},
        {"c.tsv", "caption\theight\nx\t3000000000\n", "height should be"},
        {"c.tsv", "caption\tlabel\nx\t1.5\n", "label should be a class number or -1, found \"1.5\""},
        {"c.tsv", "caption\tlabel\nx\t-2\n", "label should be"},
        {"c.tsv", "caption\tid\nx\t1e300\n", "id should be"},
        {"c.tsv", "PAR1\x15\x04", "a Parquet file: convert it once with parquet2tsv.py"},
        {"c.tsv", "\x1f\x8b\x08", "compressed by gzip"},
        {"c.jsonl", "[1, 2]\n", "c.jsonl:1: wanted a JSON object with fields"},
        {"c.jsonl", "{}\n", "wanted a JSON object with fields"},
        {"c.jsonl", "{\"caption\": \"x\"}\n\n", "c.jsonl:2: not valid JSON"},
        {"c.jsonl", "{\"caption\": \"x\"}\n{\"caption\": \"y\"\n", "c.jsonl:2: not valid JSON"},
        {"c.jsonl", "{\"caption\": \"x\", \"caption\": \"y\"}\n", "c.jsonl:1: not valid JSON"},
        {"c.jsonl", "{\"caption\": \"x\", \"CAPTION\": \"y\"}\n", "c.jsonl:1: two fields for caption"},
        {"c.jsonl", "{\"caption\": 7}\n", "c.jsonl:1: caption should be a text, found 7"},
        {"c.jsonl", "{\"caption\": [\"x\"]}\n", "caption should be a text, found something else"},
        {"c.jsonl", "{\"similarity\": true}\n", "similarity should be a number"},
        {"c.jsonl", "{\"similarity\": 1e999}\n", "not valid JSON"},
        {"c.jsonl", "{\"caption\": \"\xff\"}\n", "not valid JSON"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        npr_rows r;
        const char *path = put_file(bad[i].name, bad[i].file, strlen(bad[i].file));
        CHECK_FAILS(read_all(path, NULL, &r), NPR_EDATA, bad[i].words);
        npr_rows_free(&r);
    }
    npr_meta *m;
    CHECK_FAILS(npr_meta_open("/nowhere/x.tsv", NULL, &m), NPR_ENOINPUT, "/nowhere/x.tsv: cannot open");
    CHECK_FAILS(npr_meta_open(test_folder(), NULL, &m), NPR_ENOINPUT, "not a regular file");
    const char *path = put_file("d.tsv", "caption\nx\n", 10);
    CHECK_FAILS(npr_meta_open(path, "caption", &m), NPR_EUSAGE, "its first line is a header");
    char deep[2000] = "{\"caption\": ";
    memset(deep + 12, '[', 1000);
    path = put_file("d.jsonl", deep, sizeof deep);
    CHECK_FAILS(npr_meta_open(path, NULL, &m), NPR_EDATA, "nested deeper");
}

/* ---- JSON lines ---- */

static void test_jsonl(void)
{
    static const char file[] =
        "{\"url\": \"http://a\", \"Caption\": \"l\\u00e9 \\\"x\\\"\\ttab\", \"text\": \"no\", "
        "\"similarity\": 0.25, "
        "\"NSFW\": \"UNSURE\", \"width\": 640, \"height\": \"480\", \"label\": 3, \"id\": 9007199254740992}\n"
        "{\"more\": {\"a\": [1]}, \"caption\": null, \"similarity\": null}\r\n"
        "{\"text\": \"used\", \"NSFW\": 0.05, \"similarity\": \"0.5\", \"label\": null}";
    npr_rows r;
    CHECK_OK(read_all(put_file("e.jsonl", file, sizeof file - 1), NULL, &r));
    CHECK_INT(r.n, 3);
    CHECK_ROW_TEXT(r.caption, 0, "l\xc3\xa9 \"x\"\ttab");
    CHECK_ROW_TEXT(r.caption, 1, "");
    CHECK_ROW_TEXT(r.caption, 2, "used");
    CHECK_ROW_TEXT(r.url, 0, "http://a");
    CHECK(r.similarity[0] == 0.25f && isnan(r.similarity[1]) && r.similarity[2] == 0.5f);
    CHECK_INT(r.nsfw[0], NPR_NSFW_UNSURE);
    CHECK_INT(r.nsfw[1], NPR_NSFW_UNKNOWN);
    CHECK_INT(r.nsfw[2], NPR_NSFW_UNLIKELY);
    CHECK_INT(r.width[0], 640);
    CHECK_INT(r.height[0], 480);
    CHECK_INT(r.label[0], 3);
    CHECK_INT(r.label[1], -1);
    CHECK_INT(r.label[2], -1);
    CHECK_INT(r.id[0], INT64_C(1) << 53);
    npr_rows_free(&r);
    static const char zero[] = "{\"caption\": \"a\\u0000b\"}\n";
    CHECK_OK(read_all(put_file("f.json", zero, sizeof zero - 1), NULL, &r));
    CHECK(text_is(&r.caption, 0, "a\0b", 3));
    npr_rows_free(&r);
}

/* ---- numbers ---- */

static void test_numbers(void)
{
    static const char *const good[] = {"0",
                                       "-0",
                                       "+1",
                                       "1.",
                                       ".5",
                                       "3.25e-2",
                                       "1E+5",
                                       "0.3364257514476776",
                                       "123456789012345678901234567890",
                                       "4.9e-324"},
                             *const bad[] = {"",    "-",   "+",     ".",   "e5",    "1e",
                                             "1e+", "1 ",  " 1",    "1a",  "0x1",   "nan",
                                             "inf", "1,5", "1e400", "--1", "1.2.3", "1_000"};
    double x;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        CHECK(npr_field_number(good[i], strlen(good[i]), &x));
        CHECK(x == strtod(good[i], NULL));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (npr_field_number(bad[i], strlen(bad[i]), &x)) CHECK_TEXT(bad[i], "refused");
    CHECK(!npr_field_number("1\0002", 3, &x));
    CHECK(npr_field_number("12", 1, &x) && x == 1);
    char many[100];
    memset(many, '1', sizeof many);
    CHECK(!npr_field_number(many, sizeof many, &x));
}

/* ---- places: counting, marks, seeking ---- */

/* Lines of made-up lengths, beyond the reader's window, read from every mark on. */
static void test_marks(void)
{
    enum { ROWS = 3000, EVERY = 7 };
    size_t n = 0, cap = (size_t)ROWS * 4096;
    char *file = malloc(cap);
    int64_t *end = malloc((ROWS + 1) * sizeof *end), *mark, rows;
    n += (size_t)sprintf(file, "caption\tlabel\n");
    end[0] = (int64_t)n;
    npr_rng rng = npr_rng_make(7, 7);
    for (int i = 0; i < ROWS; i++) {
        int64_t m = npr_rng_below(&rng, i % 50 ? 100 : 4000);
        memset(file + n, 'a' + i % 26, (size_t)m);
        n += (size_t)m;
        n += (size_t)sprintf(file + n, "\t%d%s\n", i, i % 3 ? "" : "\r");
        end[i + 1] = (int64_t)n;
    }
    for (int cut = 0; cut < 2; cut++) { /* with and without a line break at the end */
        npr_meta *m;
        npr_rows r;
        CHECK_OK(npr_meta_open(put_file("g.tsv", file, n - (size_t)cut), NULL, &m));
        CHECK_OK(npr_meta_count(m, EVERY, &mark, &rows));
        CHECK_INT(rows, ROWS);
        CHECK_OK(npr_rows_make(&r, NPR_COL(NPR_LABEL) | NPR_COL(NPR_CAPTION), 0, 1));
        for (int64_t i = 0; i < rows; i += i % 2 ? 5 : 8) {
            CHECK_INT(mark[i / EVERY], end[i / EVERY * EVERY]);
            npr_rows_clear(&r);
            CHECK_OK(npr_meta_seek(m, mark[i / EVERY], i / EVERY * EVERY));
            CHECK_OK(npr_meta_skip(m, i % EVERY));
            CHECK_OK(npr_meta_next(m, &r));
            CHECK_INT(r.label[0], i);
        }
        CHECK_OK(npr_meta_seek(m, mark[0], 0));
        CHECK_OK(npr_meta_skip(m, ROWS));
        CHECK_FAILS(npr_meta_skip(m, 1), NPR_EDATA, "ends before row");
        free(mark);
        npr_rows_free(&r);
        npr_meta_close(m);
    }
    free(file);
    free(end);
}

/* The longest line allowed, and one byte more, at any place of the window. */
static void test_long_lines(void)
{
    size_t cap = 3 * (size_t)NPR_LINE_MAX;
    char *file = malloc(cap);
    for (int more = 0; more < 2; more++) {
        for (size_t before = 0; before < 3; before++) {
            size_t n = (size_t)sprintf(file, "caption\n"), first;
            memset(file + n, 'b', before * 500000);
            if (before) file[n + before * 500000 - 1] = '\n';
            n += before * 500000;
            first = n;
            memset(file + n, 'a', NPR_LINE_MAX + 1);
            n += NPR_LINE_MAX + (size_t)more;
            memcpy(file + n, "\r\nx\n", 4);
            npr_meta *m;
            int64_t *mark = NULL, rows = 0;
            CHECK_OK(npr_meta_open(put_file("h.tsv", file, n + 4), NULL, &m));
            if (more) {
                char words[64];
                snprintf(words, sizeof words, "the line at byte %zu is longer than 1048576 bytes", first);
                CHECK_FAILS(npr_meta_count(m, 1, &mark, &rows), NPR_EDATA, words);
            } else {
                CHECK_OK(npr_meta_count(m, 1, &mark, &rows));
                CHECK_INT(rows, 2 + (before > 0));
            }
            free(mark);
            npr_meta_close(m);
        }
    }
    free(file);
}

/* Any bytes as a file: refused or read, never a crash; rows as line breaks say. */
static void test_any_bytes(void)
{
    static const char alphabet[] = "\t\t\n\n\r,{}[]\":\\cation0.5eE-\xff\0";
    for (int i = 0; i < 3000; i++) {
        npr_rng rng = npr_rng_make(11, (uint64_t)i);
        char file[256] = "caption\tlabel\n";
        size_t n = i % 2 ? 14 : 0, more = (size_t)npr_rng_below(&rng, 200);
        for (size_t j = 0; j < more; j++) file[n++] = alphabet[npr_rng_below(&rng, sizeof alphabet)];
        npr_rows r;
        (void)read_all(put_file(i % 3 ? "i.tsv" : "i.jsonl", file, n), i % 5 ? NULL : "caption,label", &r);
        npr_rows_free(&r);
    }
}

static void bench(void)
{
    const char *path = test_data("captions/web_10000.tsv");
    char *file, *all;
    size_t n;
    if (!path) {
        fprintf(stderr, "no real captions here\n");
        return;
    }
    enum { TIMES = 50 };
    CHECK_OK(npr_file_read(path, 1 << 26, &file, &n));
    all = malloc(n * TIMES);
    for (int i = 0; i < TIMES; i++) memcpy(all + (size_t)i * n, file, n);
    npr_meta *m;
    npr_rows r;
    int64_t *mark, rows;
    CHECK_OK(npr_meta_open(put_file("j.tsv", all, n * TIMES), "url,caption", &m));
    double start = npr_now();
    CHECK_OK(npr_meta_count(m, 4096, &mark, &rows));
    double counted = npr_now();
    CHECK_INT(rows, 10000 * TIMES);
    CHECK_OK(npr_rows_make(&r, NPR_COL(NPR_URL) | NPR_COL(NPR_CAPTION), 0, 4096));
    for (int64_t i = 0; i < rows; i++) {
        if (r.n == r.cap) npr_rows_clear(&r);
        if (npr_meta_next(m, &r) || npr_rows_next(&r)) CHECK_INT(i, -1);
    }
    double read = npr_now();
    printf("%.0f MB of TSV: counted at %.2f GB/s, read at %.2f GB/s\n", (double)(n * TIMES) / 1e6,
           (double)(n * TIMES) / (counted - start) / 1e9, (double)(n * TIMES) / (read - counted) / 1e9);
    free(mark);
    free(file);
    free(all);
    npr_rows_free(&r);
    npr_meta_close(m);
}

int main(void)
{
    test_tsv();
    test_tsv_without_header();
    test_refused();
    test_jsonl();
    test_numbers();
    test_marks();
    test_long_lines();
    test_any_bytes();
    bench();
    test_folder_remove();
    return TEST_END();
}
