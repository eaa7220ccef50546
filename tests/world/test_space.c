/* The made-up world: pinned bits, rows independent of how they are asked for, and the statistics it promises.
 */
#include "test.h"

#include <ctype.h>

#include "base/digest.h"
#include "base/half.h"
#include "npr/minilaion.h"

enum { DIM = 64, CLASSES = 40, ROWS = 40000 };

/* These digests are the same on every machine, at any optimisation. If the world is changed on purpose, pin
 * anew. */
static void pinned(void)
{
    npr_world *w;
    CHECK_OK(npr_world_make(7, 96, 30, &w));
    static uint16_t x[500 * 96];
    static float head[30 * 96];
    static char lines[500 * NPR_WORLD_LINE];
    size_t n = 0;
    npr_world_vectors(w, 1000000000000, 500, x);
    for (int i = 0; i < 500; i++) n += npr_world_line(w, 1000000000000 + i, lines + n);
    CHECK_OK(npr_world_head(w, head));
    char hex[NPR_DIGEST_HEX];
    npr_digest_block(x, sizeof x, hex);
    CHECK_TEXT(hex, "7d073d29e61af5e7e0915a3769fbd27c");
    npr_digest_block(lines, n, hex);
    CHECK_TEXT(hex, "008e1a164ea6f0f405ac4fcf11e04929");
    npr_digest_block(head, sizeof head, hex);
    CHECK_TEXT(hex, "d25b67ab2fd45c39c53530e29d02285f");
    npr_world_test_vectors(w, NPR_WORLD_SHIFT, 0, 500, x);
    npr_digest_block(x, sizeof x, hex);
    CHECK_TEXT(hex, "9a9560da397713d773ccea1311911282");
    npr_world_free(w);
}

static void refusals(void)
{
    npr_world *w;
    CHECK_FAILS(npr_world_make(1, 100, 10, &w), NPR_EUSAGE, "dim 100");
    CHECK_FAILS(npr_world_make(1, 32, 10, &w), NPR_EUSAGE, "dim 32");
    CHECK_FAILS(npr_world_make(1, 64, 1, &w), NPR_EUSAGE, "1 classes");
    CHECK_FAILS(npr_world_make(1, 64, 5000, &w), NPR_EUSAGE, "5000 classes");
    CHECK(w == NULL);
    npr_world_free(NULL);
    CHECK_OK(npr_world_make(1, 64, 2, &w)); /* the smallest, and the largest */
    npr_world_free(w);
    CHECK_OK(npr_world_make(1, 64, NPR_WORLD_CLASSES_MAX, &w));
    npr_world_free(w);
}

/* Names differ from one another and fit; some have apostrophes and hyphens. */
static void names(void)
{
    npr_world *w;
    CHECK_OK(npr_world_make(3, 64, 1000, &w));
    int apostrophes = 0, hyphens = 0;
    for (int a = 0; a < 1000; a++) {
        const char *name = npr_world_name(w, a);
        apostrophes += strchr(name, '\'') != NULL;
        hyphens += strstr(name, "-o'-") != NULL;
        CHECK(strlen(name) > 5 && strlen(name) < NPR_WORLD_NAME - 1);
        for (int b = 0; b < a; b++) {
            CHECK(strcmp(name, npr_world_name(w, b)) != 0);
            const char *synonym = npr_world_synonym(w, b);
            CHECK(!synonym || strcmp(name, synonym) != 0);
        }
    }
    CHECK(apostrophes > 50 && hyphens > 30);
    npr_world_free(w);
}

/* One by one or in a block, whoever asks: the same row. */
static void pure(const npr_world *w)
{
    static uint16_t block[300 * DIM], one[DIM];
    npr_world_vectors(w, 5000, 300, block);
    for (int i = 299; i >= 0; i--) {
        npr_world_vectors(w, 5000 + i, 1, one);
        CHECK(!memcmp(one, block + i * DIM, sizeof one));
    }
    npr_world *other;
    CHECK_OK(npr_world_make(2, DIM, CLASSES, &other));
    npr_world_vectors(other, 5000, 1, one);
    CHECK(memcmp(one, block, sizeof one) != 0);
    npr_world_free(other);
}

static int contains(const char *line, const char *name)
{
    char low[NPR_WORLD_LINE];
    size_t i = 0;
    for (; line[i]; i++) low[i] = (char)tolower((unsigned char)line[i]);
    low[i] = 0;
    return strstr(low, name) != NULL;
}

/* A line has six fields of clean text; its caption says what the truth says that it says. Returns the
 * similarity. */
static double check_line(const npr_world *w, int64_t i, const npr_world_row *row)
{
    char line[NPR_WORLD_LINE + 1], *field[6];
    size_t n = npr_world_line(w, i, line);
    CHECK(n > 40 && n < 400 && line[n - 1] == '\n');
    line[n - 1] = 0;
    int fields = 0;
    for (char *p = line; p && fields < 6; fields++) {
        field[fields] = p;
        p = strchr(p, '\t');
        if (p) *p++ = 0;
    }
    CHECK_INT(fields, 6);
    CHECK(!strncmp(field[0], "http", 4) && atoi(field[4]) > 0 && atoi(field[5]) > 0);
    for (const unsigned char *p = (unsigned char *)field[1]; *p; p++) CHECK(*p >= 0x20 && *p != 0x7f);
    const char *name = row->named >= 0 && row->named < CLASSES ? npr_world_name(w, row->named) : NULL;
    int named = row->said == NPR_SAID_NAME || row->said == NPR_SAID_WRONG;
    if (named && name && !strchr(name, '\'')) CHECK(contains(field[1], name));
    for (int c = 0; !named && c < CLASSES; c++) CHECK(!contains(field[1], npr_world_name(w, c)));
    return atof(field[2]);
}

static void statistics(const npr_world *w)
{
    static uint16_t x[ROWS * DIM];
    npr_world_vectors(w, 0, ROWS, x);
    double in_class = 0, styled = 0, again = 0, said[2][NPR_SAID_NOTHING + 1] = {{0}}, fit = 0, misfit = 0;
    int64_t of_class[CLASSES] = {0};
    for (int64_t i = 0; i < ROWS; i++) {
        npr_world_row row;
        npr_world_row_of(w, i, &row);
        int is_class = row.concept < CLASSES;
        in_class += is_class;
        styled += row.style != 0;
        said[is_class][row.said]++;
        if (is_class) of_class[row.concept]++;
        if (row.picture != i) {
            again++;
            CHECK(row.picture < i && !memcmp(x + i * DIM, x + row.picture * DIM, DIM * sizeof *x));
        }
        npr_row_facts facts = npr_half_row_facts(x + i * DIM, DIM);
        CHECK(facts.finite && fabs(facts.norm - 1) < 1e-3);
        double similarity = check_line(w, i, &row);
        if (row.said == NPR_SAID_NAME) fit += similarity;
        if (row.said == NPR_SAID_WRONG) misfit += similarity;
    }
    double others = ROWS - in_class;
    CHECK_NEAR(in_class / ROWS, 0.55, 0.01);
    CHECK_NEAR(styled / ROWS, 0.18, 0.01);
    CHECK_NEAR(again / ROWS, 0.03, 0.005);
    CHECK_NEAR(said[1][NPR_SAID_NAME] / in_class, 0.55, 0.012);
    CHECK_NEAR(said[1][NPR_SAID_SYNONYM] / in_class, 0.10, 0.01);
    CHECK_NEAR(said[1][NPR_SAID_WRONG] / in_class, 0.10, 0.01);
    CHECK_NEAR(said[0][NPR_SAID_WRONG] / others, 0.12, 0.01);
    CHECK(fit / (said[0][NPR_SAID_NAME] + said[1][NPR_SAID_NAME]) >
          misfit / (said[0][NPR_SAID_WRONG] + said[1][NPR_SAID_WRONG]) + 0.05);
    int64_t most = 0, least = ROWS;
    for (int c = 0; c < CLASSES; c++) {
        if (of_class[c] > most) most = of_class[c];
        if (of_class[c] < least) least = of_class[c];
    }
    CHECK_NEAR((double)most / (double)least, 15.9, 4); /* 40^(3/4) */
}

static double accuracy(const npr_world *w, const float *head, npr_world_test test)
{
    enum { TESTS = 4000 };
    static uint16_t x[TESTS * DIM];
    float row[DIM];
    npr_world_test_vectors(w, test, 0, TESTS, x);
    int right = 0;
    for (int i = 0; i < TESTS; i++) {
        npr_half_to_float(x + i * DIM, row, DIM);
        int best = 0;
        double best_score = -2;
        for (int c = 0; c < CLASSES; c++) {
            double score = 0;
            for (int j = 0; j < DIM; j++) score += (double)row[j] * head[c * DIM + j];
            if (score > best_score) best = c;
            if (score > best_score) best_score = score;
        }
        right += best == npr_world_test_label(w, i);
    }
    return right / (double)TESTS;
}

/* The mechanism: the text's ideas are good, not perfect; image means of the classes are better; the shifted
 * test is harder than the other. */
static void headroom(const npr_world *w)
{
    static float head[CLASSES * DIM], means[CLASSES * DIM];
    static double sum[CLASSES * DIM];
    uint16_t x[DIM];
    float row[DIM];
    CHECK_OK(npr_world_head(w, head));
    for (int64_t i = 0; i < ROWS; i++) {
        npr_world_row truth;
        npr_world_row_of(w, i, &truth);
        if (truth.concept >= CLASSES) continue;
        npr_world_vectors(w, i, 1, x);
        npr_half_to_float(x, row, DIM);
        for (int j = 0; j < DIM; j++) sum[truth.concept * DIM + j] += (double)row[j];
    }
    for (int c = 0; c < CLASSES; c++) {
        double square = 0;
        for (int j = 0; j < DIM; j++) square += sum[c * DIM + j] * sum[c * DIM + j];
        for (int j = 0; j < DIM; j++) means[c * DIM + j] = (float)(sum[c * DIM + j] / sqrt(square));
    }
    double text = accuracy(w, head, NPR_WORLD_SHIFT), images = accuracy(w, means, NPR_WORLD_SHIFT);
    CHECK(text > 0.4 && text < 0.85);
    CHECK(images > text + 0.01 && images < 0.95);
    CHECK(accuracy(w, head, NPR_WORLD_ID) > text + 0.05);
}

int main(void)
{
    npr_world *w;
    CHECK_OK(npr_world_make(1, DIM, CLASSES, &w));
    pinned();
    refusals();
    names();
    pure(w);
    statistics(w);
    headroom(w);
    npr_world_free(w);
    return TEST_END();
}
