/* test_set.c - manifests: read back as written, every flipped byte found, what does not fit refused in words.
 */
#include <sys/stat.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/rng.h"
#include "io/manifest.h"
#include "io/part.h"
#include "sample.h"

enum { DIM = 8, PART = 50, ROWS = 120 };

static const uint32_t columns = SAMPLE_ALL & ~NPR_COL(NPR_WEIGHT);

/* A set of three parts, written without MPI. */
static void write_set(const char *path, const char *model)
{
    npr_part_entry part[3];
    mkdir(path, 0777);
    for (int i = 0; i < 3; i++)
        CHECK_OK(sample_part(path, i, columns, DIM, (int64_t)i * PART, i < 2 ? PART : ROWS - 2 * PART, 7,
                             &part[i]));
    npr_set *set = npr_set_new(path, "index", model, "k=100\npath=\xff\"\n");
    set->dim = DIM;
    set->columns = columns;
    set->part_rows = PART;
    CHECK_OK(npr_set_put_parts(set, part, 3));
    CHECK_OK(npr_manifest_write(set));
    npr_set_free(set);
}

static char *path_of(const char *name)
{
    static char path[160];
    snprintf(path, sizeof path, "%s/%s", test_folder(), name);
    return path;
}

static void test_open(void)
{
    npr_set *set, *again;
    write_set(path_of("a"), "ViT-B-32");
    CHECK_OK(npr_set_open(path_of("a"), &set));
    CHECK_TEXT(set->kind, "index");
    CHECK_TEXT(set->model, "ViT-B-32");
    CHECK_TEXT(set->job, "k=100\\x0apath=\\xff\"\\x0a"); /* not UTF-8: escaped */
    CHECK_TEXT(set->index, "");
    CHECK(set->dim == DIM && set->rows == ROWS && set->parts == 3 && set->part_rows == PART &&
          set->columns == columns);
    CHECK(set->residual > 0 && set->residual >= set->part[2].residual);
    CHECK_TEXT(set->part[1].file, "part-00001.h5");
    CHECK_INT(set->part[2].rows, 20);
    char hex[NPR_DIGEST_HEX];
    char file[200];
    snprintf(file, sizeof file, "%s/part-00001.h5", set->path);
    CHECK_OK(npr_digest_file(file, hex, NULL));
    CHECK_TEXT(set->part[1].digest, hex);
    write_set(path_of("b"), "ViT-B-32"); /* another place, another time: the same bytes */
    CHECK_OK(npr_set_open(path_of("b"), &again));
    CHECK_TEXT(again->digest, set->digest);
    npr_set_free(again);
    npr_set_free(set);
    npr_set_free(NULL);
}

static void test_read_all(void)
{
    npr_set *set;
    npr_rows r;
    CHECK_OK(npr_set_open(path_of("a"), &set));
    CHECK_OK(npr_set_read_all(set, columns, &r));
    CHECK_INT(r.n, ROWS);
    for (int64_t i = 0; i < r.n; i++) CHECK(sample_is(&r, i, i));
    CHECK_INT(r.n_container, 3);
    npr_rows_free(&r);
    CHECK_FAILS(npr_set_read_all(set, columns | NPR_COL(NPR_WEIGHT), &r), NPR_EENV, "no column weight");
    CHECK(!r.emb && !r.cap);
    for (int i = 0; i < 3; i++) {
        npr_part_report report;
        CHECK_OK(npr_part_verify(set, i, &report));
        CHECK_INT(report.id_min, 1000 + 150 * i);
    }
    npr_set_free(set);
}

static void test_refused_manifests(void)
{
    npr_set *set = NULL;
    size_t n = 0;
    char file[200];
    snprintf(file, sizeof file, "%s/manifest.json", path_of("a"));
    char *text = sample_slurp(file, &n);
    npr_rng rng = npr_rng_make(2, 3);
    for (size_t i = 0; i < n; i++) { /* one bit of every byte */
        text[i] ^= (char)(1 << npr_rng_below(&rng, 8));
        CHECK(npr_manifest_parse("x", text, n, &set) == NPR_EDATA);
        CHECK(strstr(npr_status_text(), "x/manifest.json: damaged") != NULL);
        text[i] = 0;
        free(text);
        text = sample_slurp(file, &n);
    }
    for (size_t length = 0; length < n; length++)
        CHECK(npr_manifest_parse("x", text, length, &set) == NPR_EDATA);
    text[n] = 0;
    CHECK_OK(npr_manifest_parse("x", text, n, &set));
    npr_set_free(set);
    free(text);
    CHECK_FAILS(npr_set_open(path_of("absent"), &set), NPR_ENOINPUT, "no such folder");
    mkdir(path_of("plain"), 0777);
    CHECK_FAILS(npr_set_open(path_of("plain"), &set), NPR_ENOINPUT, "not a set");
    mkdir(path_of("plain/.work"), 0777);
    CHECK_FAILS(npr_set_open(path_of("plain"), &set), NPR_ENOINPUT, "not finished");
}

/* A manifest with one text exchanged and a right digest: what the checks behind the digest say. */
static void check_edited(const char *from, const char *to, npr_status code, const char *words)
{
    npr_set *set = NULL;
    size_t n = 0;
    char file[200], hex[NPR_DIGEST_HEX];
    snprintf(file, sizeof file, "%s/manifest.json", path_of("a"));
    char *text = sample_slurp(file, &n), *edited = malloc(n + strlen(to) + 100);
    text[n] = 0;
    char *at = strstr(text, from);
    CHECK(at != NULL);
    if (at) {
        int length = sprintf(edited, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
        char *tail = strstr(edited, ",\n \"manifest_digest\"");
        npr_digest_block(edited, (size_t)(tail - edited), hex);
        memcpy(strstr(tail, ": \"") + 3, hex, 32);
        CHECK_FAILS(npr_manifest_parse("x", edited, (size_t)length, &set), code, words);
    }
    free(edited);
    free(text);
}

static void test_edited_manifests(void)
{
    check_edited("\"npr-set\"", "\"other\"", NPR_EENV, "format other version 1");
    check_edited("\"version\": 1", "\"version\": 2", NPR_EENV,
                 "version 2, this program reads npr-set version 1");
    check_edited("\"version\": 1", "\"version\": \"1\"", NPR_EDATA, "\"version\" should be an integer");
    check_edited("\"float16\"", "\"float32\"", NPR_EENV, "dtype float32");
    check_edited("\"normalised\": true", "\"normalised\": false", NPR_EENV, "normalised 0");
    check_edited("\"normalised\": true", "\"normalised\": 1", NPR_EDATA, "true or false");
    check_edited("\"dim\": 8", "\"dim\": 0", NPR_EDATA, "dim 0");
    check_edited("\"dim\": 8", "\"dim\": 4294967304", NPR_EDATA, "dim 4294967304");
    check_edited("\"part_rows\": 50", "\"part_rows\": 49", NPR_EDATA, "50 rows (at most 49)");
    check_edited("\"part_rows\": 50", "\"part_rows\": 1048577", NPR_EDATA, "1048577 rows a part");
    check_edited("\"rows\": 120", "\"rows\": 121", NPR_EDATA, "121 rows");
    check_edited("\"rows\": 20", "\"rows\": -20", NPR_EDATA, "-20 rows");
    check_edited("part-00001.h5", "../../etc/passwd", NPR_EDATA, "part 1 is called");
    check_edited("part-00001.h5", "part-00000.h5", NPR_EDATA, "part 1 is called \"part-00000.h5\"");
    check_edited("\"emb\",", "\"embedding\",", NPR_EDATA, "no column \"embedding\"");
    check_edited("\"emb\",", "", NPR_EDATA, "at least the columns emb and id");
    check_edited("\"emb\",", "7,", NPR_EDATA, "not a name");
    check_edited("\"columns\"", "\"Columns\"", NPR_EDATA, "\"columns\" should be an array");
    check_edited("\"residual\": 0.0", "\"residual\": 0.5", NPR_EDATA, "residual 0.5");
    check_edited("\"digest\": \"", "\"digest\": \"0", NPR_EDATA, "not 32 hexadecimal digits");
    check_edited("\"index\": \"\"", "\"index\": \"Flat\"", NPR_EDATA, "disagree on having an index");
    check_edited("\"kind\": \"index\",", "\"kind\": \"index\", \"kind\": \"pool\",", NPR_EDATA,
                 "not valid JSON");
    check_edited("\"job\"", "\"jobs\"", NPR_EDATA, "\"job\" should be a string, it is missing");
}

static void test_match(void)
{
    npr_set *a, *b;
    CHECK_OK(npr_set_open(path_of("a"), &a));
    CHECK_OK(npr_set_open(path_of("b"), &b));
    CHECK_OK(npr_set_match(a, b));
    strcpy(b->model, "RN50");
    CHECK_FAILS(npr_set_match(a, b), NPR_EENV, "by model ViT-B-32");
    strcpy(b->model, "unknown");
    CHECK_OK(npr_set_match(a, b));
    CHECK_OK(npr_set_match(b, a));
    b->dim = 9;
    CHECK_FAILS(npr_set_match(a, b), NPR_EENV, "of 9");
    npr_set_free(a);
    npr_set_free(b);
}

int main(void)
{
    test_open();
    test_read_all();
    test_refused_manifests();
    test_edited_manifests();
    test_match();
    test_folder_remove();
    return TEST_END();
}
