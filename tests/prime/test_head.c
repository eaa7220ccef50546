/* test_head.c - the blend, and where alpha comes from. Reading and writing head sets: test_head_mpi.c. */
#include "npr/prime.h"

#include "test.h"

static void test_blend(void)
{
    float text[6] = {1, 2, 3, 4, 5, 6}, image[6] = {10, -20, 0, 0, 7, 8}, w[6];
    int64_t count[3] = {5, 0, 1};
    npr_head_blend(text, image, count, 3, 2, 0.25, w);
    float kept[6] = {7.75f, -14.5f, 3, 4, 6.5f, 7.5f}; /* class 1 keeps its text row */
    for (int j = 0; j < 6; j++) CHECK(w[j] == kept[j]);
    npr_head_blend(text, image, NULL, 3, 2, 0.25, w);
    float shrunk[6] = {7.75f, -14.5f, 0.75f, 1, 6.5f, 7.5f}; /* blended with its zero image mean */
    for (int j = 0; j < 6; j++) CHECK(w[j] == shrunk[j]);
    npr_head_blend(text, image, count, 3, 2, 1, w);
    CHECK(memcmp(w, text, sizeof w) == 0);
    npr_head_blend(text, image, NULL, 3, 2, 0, w);
    CHECK(memcmp(w, image, sizeof w) == 0);
}

/* Rounded once: the nearest float to the exact value, where float arithmetic would be off by a unit. */
static void test_blend_rounds_once(void)
{
    int worse = 0;
    for (int i = 1; i < 1000; i++) {
        float t = 0.1f + (float)i * 1e-4f, m = 0.7f - (float)i * 3e-4f, w;
        npr_head_blend(&t, &m, NULL, 1, 1, 0.9, &w);
        long double exact = 0.9L * (long double)t + (1 - 0.9L) * (long double)m;
        CHECK(w == (float)exact || fabsl(exact - (long double)w) < 0x1p-25L * 1.0001L);
        worse += w != 0.9f * t + (1 - 0.9f) * m;
    }
    CHECK(worse > 0);
}

static void test_rule(void)
{
    CHECK(npr_alpha_rule(0, 100, 1000) == 1);
    CHECK(npr_alpha_rule(100000, 100, 1000) == 0.367879);
    CHECK(npr_alpha_rule(50000, 100, 1000) == 0.778801);
    CHECK(npr_alpha_rule(INT64_C(1) << 40, 1, 1e-3) == 0);
}

static void test_parse(void)
{
    npr_alpha_from from;
    double a;
    CHECK_OK(npr_alpha_parse("0.9", &from, &a));
    CHECK(from == NPR_ALPHA_GIVEN && a == 0.9);
    CHECK_OK(npr_alpha_parse("0", &from, &a));
    CHECK(a == 0);
    CHECK_OK(npr_alpha_parse("1e0", &from, &a));
    CHECK(a == 1);
    CHECK_OK(npr_alpha_parse("rule", &from, &a));
    CHECK(from == NPR_ALPHA_RULE);
    CHECK_OK(npr_alpha_parse("loo", &from, &a));
    CHECK(from == NPR_ALPHA_LOO);
    static const char *const bad[] = {"", "1.01", "-0.1", "nan", "inf", "0.9x", "Rule", "best", "1e400"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_FAILS(npr_alpha_parse(bad[i], &from, &a), NPR_EUSAGE, "wanted a number from 0 to 1");
    CHECK_FAILS(npr_alpha_parse("sweep", &from, &a), NPR_EUSAGE, "picks nothing");
}

static void test_steps(void)
{
    int steps, decimals;
    static const struct {
        double step;
        int steps, decimals;
    } good[] = {{0.05, 20, 2},  {0.1, 10, 2},  {1, 1, 2},       {0.02, 50, 2},
                {0.01, 100, 2}, {0.125, 8, 3}, {0.001, 1000, 3}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        CHECK_OK(npr_alpha_steps(good[i].step, &steps, &decimals));
        CHECK_INT(steps, good[i].steps);
        CHECK_INT(decimals, good[i].decimals);
        for (int k = 0; k <= steps; k++) { /* what is printed is the very alpha */
            char text[16];
            snprintf(text, sizeof text, "%.*f", decimals, (double)k / steps);
            CHECK(strtod(text, NULL) == (double)k / steps);
        }
    }
    static const double bad[] = {0, -0.1, 0.3, 1.5, 1e-4, 1.0 / 3, NAN, INFINITY, 0.0500001};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_FAILS(npr_alpha_steps(bad[i], &steps, &decimals), NPR_EUSAGE, "grid step");
}

int main(void)
{
    test_blend();
    test_blend_rounds_once();
    test_rule();
    test_parse();
    test_steps();
    return TEST_END();
}
