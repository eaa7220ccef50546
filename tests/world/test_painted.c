/* The painted world: pinned bits, rows independent of how they are asked for, and the statistics it promises.
 */
#include "test.h"

#include <ctype.h>

#include "base/digest.h"
#include "npr/minilaion.h"

enum { CLASSES = 200, PHRASES = 100, ROWS = 40000 };

/* These digests are the same on every machine, at any optimisation, and the weights in jobs/minilaion were
 * trained on this very world: if they change, train anew. */
static void pinned(const npr_painted *w)
{
    static const struct {
        npr_style style;
        const char *digest;
    } set[] = {{NPR_STYLE_NORMAL, "8a7852f60b6fb7e2fb83d12673b8497b"},
               {NPR_STYLE_SKETCH, "6659243585dc38a6b41e88f5fc3584b8"},
               {NPR_STYLE_DUSK, "d345ed0388a651d089f300db55418a80"},
               {NPR_STYLE_SMEAR, "8e08d24e34a4f3f8ce047116c5c2035f"}};
    char hex[NPR_DIGEST_HEX], caption[NPR_PAINTED_CAPTION];
    uint8_t rgb[NPR_PICTURE_BYTES];
    int quality;
    npr_digest *pictures = npr_digest_new(), *captions = npr_digest_new();
    for (int64_t i = 0; i < 500; i++) {
        npr_painted_picture(w, i * 1000000000039, rgb, &quality);
        npr_digest_add(pictures, rgb, sizeof rgb);
        npr_digest_add(pictures, &quality, 1);
        npr_digest_add(captions, caption, npr_painted_caption(w, i * 1000000000039, caption));
    }
    npr_digest_hex(pictures, hex);
    CHECK_TEXT(hex, "4645cb53b3e337e1ad316d7c22af4d66");
    npr_digest_hex(captions, hex);
    CHECK_TEXT(hex, "dff1be1dd5fdeaccad689fdd18593858");
    npr_digest_free(pictures);
    npr_digest_free(captions);
    for (size_t s = 0; s < sizeof set / sizeof *set; s++) {
        npr_digest *g = npr_digest_new();
        for (int c = 0; c < CLASSES; c++) {
            npr_painted_sample(w, (npr_painted_set)(NPR_PAINTED_TEST + (int)set[s].style), c, 7, rgb,
                               &quality);
            npr_digest_add(g, rgb, sizeof rgb);
        }
        npr_digest_hex(g, hex);
        CHECK_TEXT(hex, set[s].digest);
        npr_digest_free(g);
    }
    npr_digest *names = npr_digest_new();
    for (int c = 0; c < CLASSES; c++) {
        npr_digest_add(names, npr_painted_name(w, c), strlen(npr_painted_name(w, c)));
        npr_painted_prompt(w, c, c % NPR_PAINTED_PROMPTS, caption);
        npr_digest_add(names, caption, strlen(caption));
    }
    npr_digest_hex(names, hex);
    CHECK_TEXT(hex, "a9086eee15079f973f8fbcad77e6f41c");
    npr_digest_free(names);
}

static void refusals(void)
{
    npr_painted *w;
    CHECK_FAILS(npr_painted_make(1, 1, &w), NPR_EUSAGE, "1 classes");
    CHECK_FAILS(npr_painted_make(1, 1001, &w), NPR_EUSAGE, "1001 classes");
    CHECK(w == NULL);
    npr_painted_free(NULL);
    for (int classes = 2; classes <= NPR_PAINTED_CLASSES_MAX;
         classes += 998) { /* the smallest, and the largest */
        CHECK_OK(npr_painted_make(1, classes, &w));
        npr_painted_row r;
        for (int64_t row = 0; row < 3000; row++) {
            npr_painted_row_of(w, row, &r);
            CHECK(r.class >= -1 && r.class < classes && r.named >= -1 && r.named < classes);
        }
        npr_painted_free(w);
    }
}

/* Names ascend within a family, differ, and are words that the search's tokens keep apart. */
static void names(const npr_painted *w)
{
    CHECK(npr_painted_classes(w) == CLASSES && npr_painted_phrases(w) == PHRASES);
    for (int c = 0; c < CLASSES; c++) {
        const char *name = npr_painted_name(w, c);
        int blanks = 0;
        for (const char *s = name; *s; s++) {
            CHECK(islower((unsigned char)*s) || *s == ' ');
            blanks += *s == ' ';
        }
        CHECK(blanks == (c < PHRASES ? 2 : 0) && (c < PHRASES || strlen(name) == 9));
        if (c && c != PHRASES) CHECK(strcmp(npr_painted_name(w, c - 1), name) < 0);
    }
}

/* A row is the same whatever was asked for before; worlds of other seeds differ. */
static void pure(const npr_painted *w)
{
    uint8_t a[NPR_PICTURE_BYTES], b[NPR_PICTURE_BYTES];
    char first[NPR_PAINTED_CAPTION], second[NPR_PAINTED_CAPTION];
    int qa, qb;
    npr_painted *again, *other;
    CHECK_OK(npr_painted_make(1, CLASSES, &again));
    CHECK_OK(npr_painted_make(2, CLASSES, &other));
    int differ = 0;
    for (int64_t row = 299; row >= 0; row--) {
        npr_painted_picture(w, row, a, &qa);
        npr_painted_picture(again, row, b, &qb);
        CHECK(!memcmp(a, b, sizeof a) && qa == qb && qa >= 60 && qa <= 90);
        CHECK(npr_painted_caption(w, row, first) == npr_painted_caption(again, row, second));
        CHECK_TEXT(first, second);
        npr_painted_picture(other, row, b, &qb);
        differ += memcmp(a, b, sizeof a) != 0;
    }
    CHECK(differ == 300);
    npr_painted_free(again);
    npr_painted_free(other);
}

/* Does the caption name this class, as tokens? Names are of letters and blanks. */
static int says(const char *caption, const char *name)
{
    char lower[NPR_PAINTED_CAPTION];
    size_t n = 0, length = strlen(name);
    for (; caption[n]; n++) lower[n] = (char)tolower((unsigned char)caption[n]);
    lower[n] = 0;
    for (const char *at = lower; (at = strstr(at, name)); at++)
        if ((at == lower || !isalpha((unsigned char)at[-1])) && !isalpha((unsigned char)at[length])) return 1;
    return 0;
}

/* A caption names the class that the truth says, and no other. */
static void captions(const npr_painted *w)
{
    int explained = 0, capitals = 0, most = 0;
    for (int64_t row = 0; row < 4000; row++) {
        npr_painted_row truth;
        char caption[NPR_PAINTED_CAPTION];
        npr_painted_row_of(w, row, &truth);
        int n = (int)npr_painted_caption(w, row, caption), named = -1;
        for (int c = 0; c < CLASSES; c++)
            if (says(caption, npr_painted_name(w, c))) {
                CHECK(named == -1);
                named = c;
            }
        CHECK(named == truth.named);
        CHECK(truth.said != NPR_SAID_WRONG || (truth.named >= 0 && truth.named != truth.class));
        if (n > most) most = n;
        explained += strchr(caption, ',') && truth.class >= PHRASES && truth.said == NPR_SAID_NAME;
        capitals += isupper((unsigned char)caption[0]) != 0;
        CHECK(!strpbrk(caption, "\"\\\t\n"));
    }
    CHECK(most < NPR_PAINTED_CAPTION - 32);
    CHECK_NEAR(explained / 4000.0, 0.55 / 2 * 0.55 * 0.15, 0.006);
    CHECK_NEAR(capitals / 4000.0, 0.35, 0.03);
}

static int descending(const void *a, const void *b)
{
    return *(const int *)b - *(const int *)a;
}

/* Shares of classes, captions and styles over a world of the usual size. */
static void statistics(const npr_painted *w)
{
    static int of_class[CLASSES], recalled[CLASSES];
    double said[3][5] = {{0}}, rows[3] = {0}, style[NPR_STYLES] = {0}, right = 0, all = 0;
    for (int64_t row = 0; row < ROWS; row++) {
        npr_painted_row r;
        npr_painted_row_of(w, row, &r);
        int kind = r.class >= 0 ? 0 : r.thing >= 0 ? 1 : 2;
        said[kind][r.said]++;
        rows[kind]++;
        style[r.style]++;
        if (r.class >= 0) of_class[r.class]++;
        if (r.named < 0) continue;
        recalled[r.named]++;
        all++;
        right += r.named == r.class;
    }
    static const double wanted[3][5] = {
        {0.55, 0.10, 0.15, 0.10, 0.10}, {0.48, 0.12, 0.18, 0.12, 0.10}, {0, 0, 0, 0.12, 0.88}};
    for (int k = 0; k < 3; k++)
        for (int s = 0; s < 5; s++) CHECK_NEAR(said[k][s] / rows[k], wanted[k][s], k == 2 ? 0.02 : 0.01);
    CHECK_NEAR(rows[0] / ROWS, 0.55, 0.0005);
    CHECK_NEAR(rows[2] / (rows[1] + rows[2]), 0.12, 0.006);
    CHECK_NEAR(style[NPR_STYLE_NORMAL] / ROWS, 0.82, 0.006);
    for (int s = 1; s < NPR_STYLES; s++) CHECK_NEAR(style[s] / ROWS, 0.06, 0.004);
    double sum = 0;
    for (int i = 0; i < PHRASES; i++) sum += pow(i + 1, -0.8);
    for (int f = 0; f < 2; f++) {
        qsort(of_class + f * PHRASES, PHRASES, sizeof(int), descending);
        for (int i = 0; i < PHRASES; i++) /* even, not random: within three rows of the law */
            CHECK_NEAR(of_class[f * PHRASES + i], 0.55 / 2 * ROWS * pow(i + 1, -0.8) / sum, 3);
    }
    CHECK_NEAR(right / all, 0.73, 0.01);
    for (int c = 0; c < CLASSES; c++) CHECK(recalled[c] >= 25);
}

int main(void)
{
    npr_painted *w;
    CHECK_OK(npr_painted_make(1, CLASSES, &w));
    pinned(w);
    refusals();
    names(w);
    pure(w);
    captions(w);
    statistics(w);
    npr_painted_free(w);
    return TEST_END();
}
