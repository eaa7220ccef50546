/* test_eval.c - intervals against published and hand-made values, and the counts behind them. */
#include "npr/prime.h"

#include "test.h"

static npr_accuracy accuracy_of(int classes, const int64_t *right, const int64_t *seen)
{
    npr_eval e;
    CHECK_OK(npr_eval_make(classes, &e));
    for (int c = 0; c < classes; c++) {
        e.right[c] = right[c];
        e.seen[c] = seen[c];
    }
    npr_accuracy a = npr_eval_accuracy(&e);
    npr_eval_free(&e);
    return a;
}

/* Newcombe, Two-sided confidence intervals for the single proportion, Statistics in Medicine 17 (1998), table
 * I, method 3: the Wilson score interval of 81/263, 15/148, 0/20 and 1/29. */
static void test_wilson_published(void)
{
    static const struct {
        int64_t right, seen;
        double low, high;
    } known[] = {
        {81, 263, 0.2553, 0.3662}, {15, 148, 0.0624, 0.1605}, {0, 20, 0, 0.1611}, {1, 29, 0.0061, 0.1718}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        npr_accuracy a = accuracy_of(1, &known[i].right, &known[i].seen);
        CHECK_NEAR(a.top1, (double)known[i].right / (double)known[i].seen, 1e-15);
        CHECK_NEAR(a.top1_low, known[i].low, 5e-5);
        CHECK_NEAR(a.top1_high, known[i].high, 5e-5);
    }
}

/* The definition: the ends of the interval are the shares p with |share - p| = z sqrt(p (1 - p) / n). */
static void test_wilson_definition(void)
{
    for (int64_t seen = 1; seen < 60000; seen = seen * 3 + 1)
        for (int64_t right = 0; right <= seen; right += seen / 5 + 1) {
            npr_accuracy a = accuracy_of(1, &right, &seen);
            double ends[2] = {a.top1_low, a.top1_high};
            for (int k = 0; k < 2; k++) {
                double p = ends[k], off = a.top1 - p;
                CHECK_NEAR(off * off, 1.959963984540054 * 1.959963984540054 * p * (1 - p) / (double)seen,
                           1e-12);
            }
            CHECK(a.top1_low <= a.top1 && a.top1 <= a.top1_high);
        }
}

static void test_per_class_mean(void)
{
    /* shares 1, 0.5, 0.25 of the classes seen; class 2 was not seen. mean 7/12, sd sqrt(7/48) */
    int64_t right[4] = {3, 2, 0, 25}, seen[4] = {3, 4, 0, 100};
    npr_accuracy a = accuracy_of(4, right, seen);
    CHECK_INT(a.seen, 107);
    CHECK_INT(a.classes_seen, 3);
    CHECK_NEAR(a.top1, 30.0 / 107, 1e-15);
    CHECK_NEAR(a.mean, 7.0 / 12, 1e-15);
    CHECK_NEAR(a.mean_low, 7.0 / 12 - 1.959963984540054 * sqrt(7.0 / 48 / 3), 1e-12);
    CHECK_NEAR(a.mean_high, 1, 0);       /* 7/12 + 0.432 is cut */
    int64_t one_right = 1, one_seen = 2; /* a single class has no spread to see */
    a = accuracy_of(1, &one_right, &one_seen);
    CHECK(a.mean == 0.5 && a.mean_low == 0.5 && a.mean_high == 0.5);
    int64_t none = 0;
    a = accuracy_of(1, &none, &none);
    CHECK_INT(a.seen, 0);
    CHECK(a.top1 == 0 && a.mean == 0);
}

static void test_counts(void)
{
    static const int32_t label[8] = {0, 0, 1, 1, 2, 2, 2, 0}, before[8] = {0, 1, 1, 0, 2, 2, 0, 0},
                         after[8] = {0, 0, 1, 1, 2, 0, 0, 0};
    npr_eval e;
    npr_pairs p = {0};
    CHECK_OK(npr_eval_make(3, &e));
    npr_eval_add(&e, label, after, 5);
    npr_eval_add(&e, label + 5, after + 5, 3);
    npr_pairs_add(&p, label, before, after, 5);
    npr_pairs_add(&p, label + 5, before + 5, after + 5, 3);
    CHECK_INT(e.seen[0], 3);
    CHECK_INT(e.right[0], 3);
    CHECK_INT(e.seen[2], 3);
    CHECK_INT(e.right[2], 1);
    CHECK_INT(p.seen, 8);
    CHECK_INT(p.gained, 2);
    CHECK_INT(p.lost, 1);
    CHECK_NEAR(npr_pairs_difference(&p).value, 1.0 / 8, 1e-15);
    npr_eval_free(&e);
}

/* The interval by its definition on the table with half a row added to each cell. */
static void test_paired_interval(void)
{
    npr_pairs p = {.seen = 1600, .gained = 150, .lost = 86};
    npr_difference d = npr_pairs_difference(&p);
    double n = 1602, b = 150.5, c = 86.5, centre = (b - c) / n;
    double sd = sqrt(((b + c) / n - centre * centre) / n);
    CHECK_NEAR(d.value, 64.0 / 1600, 1e-15);
    CHECK_NEAR(d.low, centre - 1.959963984540054 * sd, 1e-14);
    CHECK_NEAR(d.high, centre + 1.959963984540054 * sd, 1e-14);
    CHECK(d.low > 0);
    p = (npr_pairs){.seen = 50}; /* never different: still a width */
    d = npr_pairs_difference(&p);
    CHECK(d.value == 0 && d.low < 0 && d.high == -d.low);
    p = (npr_pairs){.seen = 1, .gained = 1};
    d = npr_pairs_difference(&p);
    CHECK(d.value == 1 && d.high <= 1);
    p = (npr_pairs){0};
    CHECK(npr_pairs_difference(&p).value == 0);
}

int main(void)
{
    test_wilson_published();
    test_wilson_definition();
    test_per_class_mean();
    test_counts();
    test_paired_interval();
    return TEST_END();
}
