/* test_ingest_rows.c - the local half of ingest: pairs of files, scaling of rows, batches that start
 * anywhere. */
#include "test.h"

#include "base/half.h"
#include "base/mem.h"
#include "base/rng.h"
#include "io/ingest.h"

/* ---- pairs ---- */

static void test_pairs(void)
{
    static const struct {
        const char *emb[4], *meta[4], *words; /* words NULL: fine */
    } cases[] = {
        {{"a/x_0.npy", "a/x_1.npy"}, {"b/m_0.tsv", "b/m_1.tsv"}, NULL},
        {{"x_0000.npy", "x_0001.npy"}, {"m_1.tsv", "m_2.tsv"}, NULL}, /* one list counts from 1 */
        {{"x_1.npy", "x_10.npy", "x_2.npy"}, {"m_1.tsv", "m_10.tsv", "m_2.tsv"}, NULL},
        {{"x_1.npy", "x_10.npy", "x_2.npy"},
         {"m_01.tsv", "m_02.tsv", "m_10.tsv"},
         "x_10.npy would be paired with m_02.tsv"},
        {{"x_0.npy", "x_1.npy", "x_2.npy"},
         {"m_0.tsv", "m_1.tsv", "m_3.tsv"},
         "x_2.npy would be paired with m_3.tsv"},
        {{"x_0.npy", "x_1.npy"}, {"a-c000.tsv", "b-c000.tsv"}, NULL}, /* these numbers tell nothing */
        {{"x.npy", "y.npy"}, {"m_1.tsv", "m_5.tsv"}, NULL},
        {{"x_7.npy"}, {"m_99999999999999999999999.tsv"}, NULL},
        {{"7/x.npy", "9/x.npy"}, {"m_1.tsv", "m_5.tsv"}, NULL}, /* folders do not count */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        npr_paths emb = {0}, meta = {0};
        for (int j = 0; j < 4 && cases[i].emb[j]; j++) {
            CHECK_OK(npr_paths_add(&emb, cases[i].emb[j]));
            CHECK_OK(npr_paths_add(&meta, cases[i].meta[j]));
        }
        if (cases[i].words)
            CHECK_FAILS(npr_ingest_check_pairs(&emb, &meta), NPR_EDATA, cases[i].words);
        else
            CHECK_OK(npr_ingest_check_pairs(&emb, &meta));
        npr_paths_free(&emb);
        npr_paths_free(&meta);
    }
}

/* ---- rows ---- */

/* A plan of files in the test's folder: "NAME.npy" with, if meta, "NAME.tsv". */
static void make_plan(npr_ingest_plan *plan, const char *const *name, int files, int meta, uint32_t columns)
{
    *plan = (npr_ingest_plan){.columns = columns};
    plan->file = npr_alloc((size_t)files + 1, sizeof *plan->file, "files");
    for (int i = 0; i < files; i++) {
        char *emb = npr_path("%s/%s.npy", test_folder(), name[i]),
             *tsv = npr_path("%s/%s.tsv", test_folder(), name[i]);
        CHECK_OK(npr_paths_add(&plan->emb, emb));
        CHECK_OK(npr_ingest_scan_array(emb, &plan->file[i]));
        if (meta) {
            CHECK_OK(npr_paths_add(&plan->meta, tsv));
            CHECK_OK(npr_ingest_scan_meta(tsv, NULL, &plan->file[i].meta));
        }
        plan->file[i].row0 = plan->rows;
        plan->rows += plan->file[i].rows;
        free(emb);
        free(tsv);
    }
    plan->dim = plan->file[0].dim;
}

static void free_plan(npr_ingest_plan *plan)
{
    for (size_t i = 0; i <= plan->emb.count; i++) free(plan->file[i].meta.mark);
    free(plan->file);
    npr_paths_free(&plan->emb);
    npr_paths_free(&plan->meta);
}

static char *file_path(const char *name, const char *suffix)
{
    return npr_path("%s/%s.%s", test_folder(), name, suffix);
}

static void put_vectors(const char *name, const uint16_t *v, int64_t rows, int dim)
{
    char *path = file_path(name, "npy");
    npr_npy_writer *w;
    CHECK_OK(npr_npy_create(path, rows, dim, &w));
    CHECK_OK(npr_npy_append(w, v, rows));
    CHECK_OK(npr_npy_finish(w));
    free(path);
}

enum { LONG = 2 * NPR_META_MARK + 5000, SHORT = 700, DIM = 3 };

/* Captions "NUMBER FIRST-BYTE-REPEATED", numbered through both files. */
static void put_captions(const char *name, int64_t first, int64_t rows)
{
    char *path = file_path(name, "tsv");
    FILE *f = fopen(path, "w");
    fprintf(f, "label\tcaption\n");
    for (int64_t i = first; i < first + rows; i++)
        fprintf(f, "%lld\tRow %lld, no more\n", (long long)i, (long long)i);
    CHECK(fclose(f) == 0);
    free(path);
}

/* Parts that begin before, at and behind the marks of the metadata, and straddle the files. */
static void test_any_part(void)
{
    static const char *const name[] = {"long", "short"};
    static uint16_t v[(LONG + SHORT) * DIM];
    for (int i = 0; i < LONG + SHORT; i++) v[i * DIM + i % DIM] = 0x3c00; /* unit vectors */
    v[5 * DIM + 2] = 0x7c00;                                              /* and one that is not */
    put_vectors(name[0], v, LONG, DIM);
    put_vectors(name[1], v + LONG * DIM, SHORT, DIM);
    put_captions(name[0], 0, LONG);
    put_captions(name[1], LONG, SHORT);
    npr_ingest_plan plan;
    make_plan(&plan, name, 2, 1,
              NPR_COL(NPR_EMB) | NPR_COL(NPR_ID) | NPR_COL(NPR_SOURCE) | NPR_COL(NPR_LABEL) |
                  NPR_COL(NPR_CAPTION) | NPR_COL(NPR_TOKENS));
    npr_ingest_job job = {.id_base = 1000000};
    npr_ingest_rows *s;
    CHECK_OK(npr_ingest_rows_make(&job, &plan, &s));
    static const int64_t begin[] = {LONG - 3, 0, NPR_META_MARK - 1, NPR_META_MARK, 2 * NPR_META_MARK + 1,
                                    LONG,     3, LONG - 9000};
    for (size_t k = 0; k < sizeof begin / sizeof *begin; k++) {
        int64_t row = begin[k], end = row + 9500 < LONG + SHORT ? row + 9500 : LONG + SHORT, read;
        const npr_rows *r;
        size_t n;
        npr_ingest_rows_begin(s, row, end);
        for (;;) {
            CHECK_OK(npr_ingest_rows_next(s, &r, &read));
            if (!read) break;
            for (int64_t i = 0; i < r->n; i++, row++) {
                char want[64], tokens[64];
                if (row == 5) row++; /* left out */
                snprintf(want, sizeof want, "Row %lld, no more", (long long)row);
                snprintf(tokens, sizeof tokens, " row %lld no more ", (long long)row);
                const char *text = npr_text_at(&r->caption, i, &n);
                int good = n == strlen(want) && !memcmp(text, want, n);
                text = npr_text_at(&r->tokens, i, &n);
                good &= n == strlen(tokens) && !memcmp(text, tokens, n);
                good &= r->label[i] == row && r->id[i] == row + 1000000 &&
                        !memcmp(r->emb + i * DIM, v + row * DIM, 2 * DIM);
                good &= !strcmp(r->container[r->source[3 * i]], row < LONG ? "long.npy" : "short.npy");
                good &= r->source[3 * i + 1] == 128 + 2 * DIM * (row - (row < LONG ? 0 : LONG)) &&
                        r->source[3 * i + 2] == 2 * DIM;
                if (!good) CHECK_INT(row, -1);
            }
        }
        CHECK_INT(row, end);
        const npr_skipped *rejected = npr_ingest_rows_rejected(s);
        CHECK_INT(rejected->used, begin[k] <= 5 ? 19 : 0);
        CHECK(!rejected->used || !memcmp(rejected->text, "1000005\tnon_finite\n", rejected->used));
    }
    CHECK_INT(npr_ingest_rows_rejected(s)->count[NPR_BAD_NON_FINITE], 2);
    npr_ingest_rows_free(s);
    npr_ingest_rows_free(NULL);
    free_plan(&plan);
}

/* Long texts end a batch early; nothing is lost. */
static void test_long_texts(void)
{
    enum { ROWS = 300, BYTES = 900000 };
    static const char *const name[] = {"texts"};
    static uint16_t v[ROWS];
    char *path = file_path(name[0], "tsv"), *text = malloc(BYTES);
    memset(text, 'x', BYTES);
    FILE *f = fopen(path, "w");
    fprintf(f, "caption\n");
    for (int i = 0; i < ROWS; i++) {
        v[i] = 0x3c00;
        fwrite(text, 1, BYTES, f);
        fprintf(f, "%d\n", i);
    }
    CHECK(fclose(f) == 0);
    put_vectors(name[0], v, ROWS, 1);
    npr_ingest_plan plan;
    make_plan(&plan, name, 1, 1,
              NPR_COL(NPR_EMB) | NPR_COL(NPR_ID) | NPR_COL(NPR_SOURCE) | NPR_COL(NPR_CAPTION));
    npr_ingest_job job = {0};
    npr_ingest_rows *s;
    const npr_rows *r;
    int64_t read, row = 0;
    CHECK_OK(npr_ingest_rows_make(&job, &plan, &s));
    npr_ingest_rows_begin(s, 0, ROWS);
    for (;;) {
        CHECK_OK(npr_ingest_rows_next(s, &r, &read));
        if (!read) break;
        CHECK_INT(read, r->n);
        CHECK(r->n <= 75); /* 64 MiB and one text */
        for (int64_t i = 0; i < r->n; i++, row++) {
            size_t n;
            const char *got = npr_text_at(&r->caption, i, &n);
            CHECK(n > BYTES && atoi(got + BYTES) == row && r->id[i] == row);
        }
    }
    CHECK_INT(row, ROWS);
    npr_ingest_rows_free(s);
    free_plan(&plan);
    free(text);
    free(path);
}

/* Every scaled value is the binary16 nearest to the exact quotient, subnormal ones too; weights are the
 * nearest floats. */
static void test_scaling(void)
{
    enum { ROWS = 400, WIDE = 67 };
    static const char *const name[] = {"scaled"};
    static uint16_t v[ROWS * WIDE];
    static float x[ROWS * WIDE];
    for (int i = 0; i < ROWS; i++) {
        npr_rng rng = npr_rng_make(5, (uint64_t)i);
        for (int j = 0; j < WIDE; j++) {
            double spread = i % 4 ? 1 : pow(2, -(double)npr_rng_below(&rng, 24));
            v[i * WIDE + j] = npr_half_round((float)(npr_rng_normal(&rng) * spread * (i % 3 ? 0.01 : 700)));
        }
    }
    memset(v + 7 * WIDE, 0, WIDE * sizeof *v); /* cannot be scaled */
    v[9 * WIDE + 1] = 0x7e01;
    put_vectors(name[0], v, ROWS, WIDE);
    npr_ingest_plan plan;
    make_plan(&plan, name, 1, 0,
              NPR_COL(NPR_EMB) | NPR_COL(NPR_ID) | NPR_COL(NPR_SOURCE) | NPR_COL(NPR_WEIGHT) |
                  NPR_COL(NPR_LABEL));
    npr_ingest_job job = {.normalize = 1, .head = 1};
    npr_ingest_rows *s;
    const npr_rows *r;
    int64_t read;
    CHECK_OK(npr_ingest_rows_make(&job, &plan, &s));
    npr_ingest_rows_begin(s, 0, ROWS);
    CHECK_OK(npr_ingest_rows_next(s, &r, &read));
    CHECK_INT(read, ROWS);
    CHECK_INT(r->n, ROWS - 2);
    CHECK_INT(npr_ingest_rows_rejected(s)->count[NPR_BAD_ZERO], 1);
    CHECK_INT(npr_ingest_rows_rejected(s)->count[NPR_BAD_NON_FINITE], 1);
    npr_half_to_float(v, x, ROWS * WIDE);
    for (int64_t k = 0; k < r->n; k++) {
        int64_t i = r->id[k];
        double squares = 0;
        for (int j = 0; j < WIDE; j++) squares += (double)x[i * WIDE + j] * (double)x[i * WIDE + j];
        for (int j = 0; j < WIDE; j++) {
            double y = (double)x[i * WIDE + j] / sqrt(squares);
            uint16_t got = r->emb[k * WIDE + j], down = (uint16_t)(got - ((got & 0x7fff) > 0)),
                     up = (uint16_t)(got + 1);
            double off = fabs((double)npr_half_value(got) - y);
            if (off > fabs((double)npr_half_value(down) - y) || off > fabs((double)npr_half_value(up) - y))
                CHECK_INT(i, -1);
            if (fabs((double)r->weight[k * WIDE + j] - y) > fabs(y) * 0x1.0001p-24) CHECK_INT(i, -2);
        }
        CHECK_INT(r->label[k], i);
    }
    npr_ingest_rows_free(s);
    free_plan(&plan);
}

int main(void)
{
    test_pairs();
    test_any_part();
    test_long_texts();
    test_scaling();
    test_folder_remove();
    return TEST_END();
}
