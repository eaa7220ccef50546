/* test_gradient.c - cross-entropy and its gradient against a plain version in long double, and the same bits
 * for any threads and any order of the units. */
#include "prime/train.h"

#include "base/half.h"
#include "base/rng.h"
#include "test.h"

enum { ROWS = 700, CLASSES = 13, DIM = 21, ATOMS = (ROWS + NPR_ATOM_ROWS - 1) / NPR_ATOM_ROWS };
enum { UNITS = (ATOMS + NPR_UNIT_ATOMS - 1) / NPR_UNIT_ATOMS, CELLS = CLASSES * DIM };

static uint16_t emb[ROWS * DIM];
static int32_t label[ROWS];
static int64_t start[ATOMS + 1];
static float head[CELLS];
static npr_train train = {
    .dim = DIM, .rows = ROWS, .atoms = ATOMS, .last = ATOMS, .start = start, .emb = emb, .label = label};

static void make_world(void)
{
    npr_rng r = npr_rng_make(8, 1);
    for (int i = 0; i < ROWS * DIM; i++) emb[i] = npr_half_round((float)(npr_rng_uniform(&r) * 2 - 1));
    for (int i = 0; i < ROWS; i++) label[i] = (int32_t)npr_rng_below(&r, CLASSES);
    for (int i = 0; i < CELLS; i++) head[i] = (float)npr_rng_normal(&r);
    for (int a = 0; a < ATOMS; a++) /* atom 3 is empty: its rows had no labels, and stand in atom 4 */
        start[a + 1] = a == 3 ? start[a] : (a + 1) * NPR_ATOM_ROWS < ROWS ? (a + 1) * NPR_ATOM_ROWS : ROWS;
}

static void plainly(double scale, double *sum)
{
    memset(sum, 0, (CELLS + 2) * sizeof *sum);
    for (int i = 0; i < ROWS; i++) {
        long double z[CLASSES], most = -INFINITY, total = 0;
        for (int c = 0; c < CLASSES; c++) {
            z[c] = 0;
            for (int j = 0; j < DIM; j++)
                z[c] += (long double)npr_half_value(emb[i * DIM + j]) * (long double)head[c * DIM + j];
            z[c] *= (long double)scale;
            most = z[c] > most ? z[c] : most;
        }
        for (int c = 0; c < CLASSES; c++) total += expl(z[c] - most);
        sum[CELLS] += (double)(most - z[label[i]] + logl(total));
        for (int c = 0; c < CLASSES; c++)
            for (int j = 0; j < DIM; j++)
                sum[c * DIM + j] += (double)((expl(z[c] - most) / total - (c == label[i])) *
                                             (long double)npr_half_value(emb[i * DIM + j]));
    }
    sum[CELLS + 1] = ROWS;
}

static void run(double scale, int threads, const int64_t *unit, int64_t n, int atoms, double *sum)
{
    npr_gradient g;
    CHECK_OK(npr_gradient_make(&train, CLASSES, threads, scale, &g));
    npr_gradient_run(&g, head, unit, n, atoms);
    memcpy(sum, g.sum, g.sum_each * sizeof *sum);
    npr_gradient_free(&g);
}

static void test_values(void)
{
    static const double scale[] = {1, 10, 100};
    int64_t unit[UNITS] = {0, 1, 2};
    for (int k = 0; k < 3; k++) {
        double want[CELLS + 2], got[CELLS + 2];
        plainly(scale[k], want);
        run(scale[k], 1, unit, UNITS, NPR_UNIT_ATOMS, got);
        for (int i = 0; i < CELLS; i++) CHECK_NEAR(got[i], want[i], 2e-6 * scale[k] * sqrt(ROWS));
        CHECK_NEAR(got[CELLS], want[CELLS], 1e-6 * want[CELLS]);
        CHECK(got[CELLS + 1] == ROWS);
    }
}

/* Sums of rounded values are exact: threads and order do not show. */
static void test_bits(void)
{
    int64_t unit[UNITS] = {0, 1, 2}, back[UNITS] = {2, 0, 1}, atom[ATOMS];
    double first[CELLS + 2], again[CELLS + 2], atoms[CELLS + 2], part[CELLS + 2], sum[CELLS + 2] = {0};
    run(100, 1, unit, UNITS, NPR_UNIT_ATOMS, first);
    run(100, 3, back, UNITS, NPR_UNIT_ATOMS, again);
    CHECK(memcmp(first, again, sizeof first) == 0);
    for (int i = 0; i < UNITS; i++) {
        run(100, 2, &back[i], 1, NPR_UNIT_ATOMS, part);
        for (int j = 0; j < CELLS + 2; j++) sum[j] += part[j];
    }
    CHECK(memcmp(first, sum, sizeof first) == 0);
    for (int i = 0; i < ATOMS; i++) atom[i] = ATOMS - 1 - i;
    run(100, 2, atom, ATOMS, 1, atoms); /* other units: other roundings, the same sums but for those */
    for (int j = 0; j < CELLS + 2; j++) CHECK_NEAR(atoms[j], first[j], 1e-3);
}

static void test_extremes(void)
{
    double e[3];
    float far[3] = {-4000, 4000, 0}, same[3] = {7, 7, 7};
    int32_t own = 0;
    CHECK_NEAR(npr_softmax_rows(far, &own, 1, 3, e), 8000, 1e-9);
    CHECK(far[0] == -1 && far[1] == 1 && far[2] == 0);
    CHECK_NEAR(npr_softmax_rows(same, &own, 1, 3, e), log(3), 1e-15);
    CHECK_NEAR(same[0], -2.0 / 3, 1e-7);
    CHECK_NEAR(same[1], 1.0 / 3, 1e-7);
    for (double x = 0; x < 40; x += 0.37) { /* the exponential inside */
        float z[3] = {0, (float)-x, -9000};
        npr_softmax_rows(z, &own, 1, 3, e);
        CHECK_NEAR(e[1], exp((double)(float)-x), 4e-16 * exp(-x) + 1e-300);
    }
}

int main(void)
{
    make_world();
    test_values();
    test_bits();
    test_extremes();
    return TEST_END();
}
