/* binary16: every value, every rounding boundary, and the F16C path against the portable one. */
#include "test.h"

#include "base/half.h"

static float bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* The definition: sign, exponent, fraction. */
static double value_by_definition(uint16_t h)
{
    int e = h >> 10 & 31, f = h & 1023;
    double v = e == 31 ? (f ? NAN : INFINITY) : e ? ldexp(1024 + f, e - 25) : ldexp(f, -24);
    return h & 0x8000 ? -v : v;
}

static void all_values(void)
{
    static uint16_t h[65536];
    static float f[65536];
    for (int i = 0; i < 65536; i++) h[i] = (uint16_t)i;
    npr_half_to_float(h, f, 65536);
    int wrong = 0;
    for (int i = 0; i < 65536; i++) {
        double want = value_by_definition((uint16_t)i);
        if (isnan(want))
            wrong += !isnan(f[i]) || !isnan(npr_half_value((uint16_t)i));
        else
            wrong += (double)f[i] != want || (double)npr_half_value((uint16_t)i) != want;
        if (!isnan(want)) wrong += npr_half_round(f[i]) != i; /* the way back is the identity */
    }
    CHECK_INT(wrong, 0);
}

static void all_roundings(void)
{
    /* below, at and above the middle between neighbours, for every pair of finite neighbours */
    int wrong = 0;
    for (int i = 0; i < 0x7bff; i++) {
        float a = npr_half_value((uint16_t)i), b = npr_half_value((uint16_t)(i + 1)), m = (a + b) / 2;
        float v[6] = {nextafterf(m, a), m, nextafterf(m, b), -nextafterf(m, a), -m, -nextafterf(m, b)};
        uint16_t even = (uint16_t)(i & 1 ? i + 1 : i), got[6];
        uint16_t want[6] = {(uint16_t)i,
                            even,
                            (uint16_t)(i + 1),
                            (uint16_t)(i | 0x8000),
                            (uint16_t)(even | 0x8000),
                            (uint16_t)((i + 1) | 0x8000)};
        npr_half_from_float(v, got, 6);
        for (int k = 0; k < 6; k++) wrong += got[k] != want[k] || npr_half_round(v[k]) != want[k];
    }
    CHECK_INT(wrong, 0);
    CHECK_INT(npr_half_round(65519.996f), 0x7bff);
    CHECK_INT(npr_half_round(65520.0f), 0x7c00);
    CHECK_INT(npr_half_round(INFINITY), 0x7c00);
    CHECK_INT(npr_half_round(-1e30f), 0xfc00);
    CHECK((npr_half_round(NAN) & 0x7fff) > 0x7c00);
    CHECK_INT(npr_half_round(bits(1)), 0);
}

static void wide_equals_narrow(void)
{
    float f[1000];
    uint16_t wide[1000];
    uint32_t u = 12345;
    int wrong = 0;
    for (int round = 0; round < 200; round++) {
        for (int i = 0; i < 1000; i++) {
            u = u * 1664525 + 1013904223;
            f[i] = bits((u & 0x8fffffff) | 0x30000000); /* exponents around those of binary16 */
        }
        npr_half_from_float(f, wide, 1000);
        for (int i = 0; i < 1000; i++) wrong += wide[i] != npr_half_round(f[i]);
    }
    CHECK_INT(wrong, 0);
}

static void row_facts(void)
{
    uint16_t row[100];
    double squares = 0, moved = 0;
    for (int i = 0; i < 100; i++) {
        row[i] = npr_half_round((float)(i - 50) / 123.0f);
        double x = npr_half_value(row[i]);
        /* nearest bfloat16: 8 significant bits; scale so that the last bit is a unit, round, scale back */
        int e;
        frexp(x, &e);
        double r = x == 0 ? 0 : ldexp(nearbyint(ldexp(x, 8 - e)), e - 8);
        squares += x * x;
        moved += (x - r) * (x - r);
    }
    npr_row_facts facts = npr_half_row_facts(row, 100);
    CHECK(facts.finite);
    CHECK_NEAR(facts.norm, sqrt(squares), 1e-15);
    CHECK_NEAR(facts.residual, sqrt(moved), 1e-15);
    CHECK(facts.residual > 0);
    row[99] = 0x7c00;
    CHECK(!npr_half_row_facts(row, 100).finite && isnan(npr_half_row_facts(row, 100).norm));
    row[99] = 0xfe00;
    CHECK(!npr_half_row_facts(row, 100).finite);
    CHECK_NEAR(npr_half_row_facts(row, 0).norm, 0, 0);
}

/* The order of the sums is part of the result: value j goes to lane j mod 8, lanes are added by a fixed tree.
 */
static void row_facts_order(void)
{
    uint16_t row[200];
    for (int d = 0; d <= 200; d++) {
        double v[8] = {0};
        for (int j = 0; j < d; j++) {
            row[j] = npr_half_round((float)((j * 7919 + d) % 1009) / 517.0f - 1);
            double x = npr_half_value(row[j]);
            v[j % 8] += x * x;
        }
        double sum = ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
        CHECK(npr_half_row_facts(row, d).norm == sqrt(sum));
    }
}

int main(void)
{
    all_values();
    all_roundings();
    wide_equals_narrow();
    row_facts();
    row_facts_order();
    return TEST_END();
}
