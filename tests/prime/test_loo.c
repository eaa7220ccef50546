/* test_loo.c - leave-one-out counts against a plain version that makes every head anew, and against any cut.
 */
#include "npr/prime.h"

#include "base/half.h"
#include "base/mem.h"
#include "base/rng.h"
#include "test.h"

enum { ROWS = 700, CLASSES = 23, DIM = 48, STEPS = 10 };
enum {
    EMPTY = 4,
    SINGLE = 7,
    TWIN_A = 3,
    TWIN_B = 5
}; /* classes without, with one row; with the same text row */

static uint16_t emb[ROWS * DIM];
static int32_t label[ROWS];
static float text[CLASSES * DIM];

static void unit_row(npr_rng *r, const float *centre, double noise, float *out)
{
    double squares = 0;
    for (int j = 0; j < DIM; j++) {
        out[j] = (float)((centre ? (double)centre[j] : 0) + noise * npr_rng_normal(r));
        squares += (double)out[j] * (double)out[j];
    }
    for (int j = 0; j < DIM; j++) out[j] = (float)((double)out[j] / sqrt(squares));
}

static void make_world(void)
{
    npr_rng r = npr_rng_make(3, 4);
    float row[DIM];
    for (int c = 0; c < CLASSES; c++) unit_row(&r, NULL, 1, text + c * DIM);
    memcpy(text + TWIN_B * DIM, text + TWIN_A * DIM, DIM * sizeof *text);
    for (int i = 0; i < ROWS; i++) {
        do label[i] = (int32_t)npr_rng_below(&r, CLASSES);
        while (label[i] == EMPTY || label[i] == SINGLE);
        unit_row(&r, text + label[i] * DIM, 0.25, row);
        npr_half_from_float(row, emb + i * DIM, DIM);
        if (i % 9 == 0) label[i] = (int32_t)(i % 2 ? -1 : TWIN_B); /* without a label, or with a wrong one */
        if (i % 50 == 3) memcpy(emb + i * DIM, emb + (i - 1) * DIM, DIM * sizeof *emb); /* duplicates */
    }
    unit_row(&r, text + SINGLE * DIM, 0.1, row);
    npr_half_from_float(row, emb + 100 * DIM, DIM);
    label[100] = SINGLE;
}

/* Is row i classified right at this alpha, by a head made from all other rows? */
static int right_plainly(int i, double alpha, int text_if_empty)
{
    double best = -INFINITY;
    int winner = -1;
    for (int k = 0; k < CLASSES; k++) {
        double sum[DIM] = {0}, squares = 0, t = 0, m = 0;
        int64_t n = 0;
        for (int r = 0; r < ROWS; r++)
            for (int j = 0; j < DIM && r != i && label[r] == k; j++)
                sum[j] += (double)npr_half_value(emb[r * DIM + j]), n += j == 0;
        for (int j = 0; j < DIM; j++) squares += sum[j] * sum[j];
        for (int j = 0; j < DIM; j++) {
            double x = npr_half_value(emb[i * DIM + j]), mean = squares > 0 ? sum[j] / sqrt(squares) : 0;
            t += x * (double)text[k * DIM + j];
            m += x * (k == label[i] ? mean : (double)(float)mean); /* the head's own rows are float */
        }
        if (!n) m = text_if_empty ? t : 0;
        double score = alpha * t + (1 - alpha) * m;
        if (score > best) best = score, winner = k;
    }
    return winner == label[i];
}

static void test_equals_plain_version(int text_if_empty)
{
    npr_means m;
    npr_loo l;
    CHECK_OK(npr_means_make(CLASSES, DIM, &m));
    CHECK_OK(npr_means_add(&m, emb, label, ROWS));
    npr_means_settle(&m);
    CHECK_INT(m.count[EMPTY], 0);
    CHECK_INT(m.count[SINGLE], 1);
    CHECK_OK(npr_loo_make(text, &m, text_if_empty, STEPS, &l));
    CHECK_OK(npr_loo_add(&l, emb, label, NULL, ROWS, 2));
    for (int c = 0; c < CLASSES; c++) CHECK_INT(l.seen[c], m.count[c]);
    for (int a = 0; a <= STEPS; a++) {
        int64_t want[CLASSES] = {0};
        double shares = 0;
        for (int i = 0; i < ROWS; i++)
            if (label[i] >= 0) want[label[i]] += right_plainly(i, (double)a / STEPS, text_if_empty);
        for (int c = 0; c < CLASSES; c++) {
            CHECK_INT(l.right[a * CLASSES + c], want[c]);
            if (c != EMPTY) shares += (double)want[c] / (double)m.count[c];
        }
        CHECK_NEAR(npr_loo_accuracy(&l, a), shares / (CLASSES - 1), 1e-12);
    }
    CHECK(npr_loo_accuracy(&l, 0) != npr_loo_accuracy(&l, STEPS)); /* the grid matters in this world */
    npr_loo_free(&l);
    npr_means_free(&m);
}

static void test_any_cut_gives_the_same_counts(void)
{
    static const int cuts[] = {1, 7, 63, 65, ROWS};
    npr_means m;
    npr_loo whole, cut;
    CHECK_OK(npr_means_make(CLASSES, DIM, &m));
    CHECK_OK(npr_means_add(&m, emb, label, ROWS));
    npr_means_settle(&m);
    CHECK_OK(npr_loo_make(text, &m, 1, 100, &whole));
    CHECK_OK(npr_loo_add(&whole, emb, label, NULL, ROWS, 1));
    for (size_t k = 0; k < sizeof cuts / sizeof *cuts; k++) {
        CHECK_OK(npr_loo_make(text, &m, 1, 100, &cut));
        for (int at = 0; at < ROWS; at += cuts[k])
            CHECK_OK(npr_loo_add(&cut, emb + at * DIM, label + at, NULL,
                                 ROWS - at < cuts[k] ? ROWS - at : cuts[k], 1 + (int)k % 2));
        CHECK(memcmp(whole.right, cut.right, 101 * CLASSES * sizeof *cut.right) == 0);
        npr_loo_free(&cut);
    }
    npr_loo_free(&whole);
    npr_means_free(&m);
}

/* A row of count n is left out n times: as if the pool had it once, and every other row as often as it says.
 */
static void test_counted(void)
{
    enum { D = 4 };
    /* class 0: a row far from its text row, taken three times, and one near it; class 1: its text row */
    uint16_t rows[3 * D] = {0, 0x3c00, 0, 0, 0x3c00, 0, 0, 0, 0, 0, 0x3c00, 0};
    int32_t of[3] = {0, 0, 1}, count[3] = {3, 1, 2};
    float t[2 * D] = {1, 0, 0, 0, 0, 0.6f, 0.8f, 0};
    npr_means m;
    npr_loo l;
    CHECK_OK(npr_means_make(2, D, &m));
    CHECK_OK(npr_means_add_counted(&m, rows, of, count, 3));
    npr_means_settle(&m);
    CHECK_OK(npr_loo_make(t, &m, 1, 1, &l));
    CHECK_OK(npr_loo_add(&l, rows, of, count, 3, 1));
    CHECK_INT(l.seen[0], 2);
    CHECK_INT(l.seen[1], 1);
    /* alpha 0: the far row against its class without it scores 0, as against class 1 (0, 0, 1): the lower
       wins; the near row against three far ones scores 0 too. Left out once only, the far row would score
       high. */
    CHECK_INT(l.right[0], 2);
    CHECK_INT(l.right[2], 1); /* alpha 1: the far row is nearer to class 1's text */
    npr_loo_free(&l);
    int32_t swapped[3] = {1, 0, 1};
    npr_means_free(&m);
    CHECK_OK(npr_means_make(2, D, &m));
    CHECK_OK(npr_means_add_counted(&m, rows, swapped, count, 3)); /* class 1: three far rows and the third */
    npr_means_settle(&m);
    CHECK_OK(npr_loo_make(t, &m, 1, 1, &l));
    CHECK_OK(npr_loo_add(&l, rows, swapped, count, 3, 1));
    CHECK_INT(l.right[1], 0); /* alpha 0: the far row against (0, 0, 2) scores 0, as class 0 does, which is
                                 lower; so does the third against three far ones */
    npr_loo_free(&l);
    npr_means_free(&m);
}

/* With the same vector for text and image every class ties at every alpha: the lower class must win. */
static void test_ties_go_to_the_lower_class(void)
{
    enum { D = 4 };
    uint16_t rows[4 * D] = {0};
    int32_t of[4] = {0, 0, 1, 1};
    float t[2 * D] = {1, 0, 0, 0, 1, 0, 0, 0};
    for (int i = 0; i < 4; i++) rows[i * D] = 0x3c00; /* 1.0 */
    npr_means m;
    npr_loo l;
    CHECK_OK(npr_means_make(2, D, &m));
    CHECK_OK(npr_means_add(&m, rows, of, 4));
    npr_means_settle(&m);
    CHECK_OK(npr_loo_make(t, &m, 1, 4, &l));
    CHECK_OK(npr_loo_add(&l, rows, of, NULL, 4, 1));
    for (int i = 0; i <= 4; i++) { /* both of class 0, none of class 1 */
        CHECK_INT(l.right[2 * i], 2);
        CHECK_INT(l.right[2 * i + 1], 0);
    }
    CHECK_INT(npr_loo_best(&l), 4); /* all equal: the largest alpha */
    l.right[2 * 1 + 1] = l.right[2 * 2 + 1] = 1;
    CHECK_INT(npr_loo_best(&l), 2);
    npr_loo_free(&l);
    npr_means_free(&m);
}

int main(void)
{
    make_world();
    test_equals_plain_version(1);
    test_equals_plain_version(0);
    test_any_cut_gives_the_same_counts();
    test_counted();
    test_ties_go_to_the_lower_class();
    return TEST_END();
}
