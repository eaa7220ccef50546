/* test_mean.c - class sums against integers: every kernel, any order, any cut, and what is refused. */
#include "prime/mean.h"

#include "base/half.h"
#include "base/mem.h"
#include "base/rng.h"
#include "test.h"

enum { ROWS = 40000, CLASSES = 37, DIM = 203 }; /* more than two batches; a dimension no kernel divides */

static uint16_t *emb;
static int32_t *label;

/* Rows of any values in [-1, 1]: normal, subnormal, +-0, +-1. One class is empty, one has one row, some rows
 * have none. */
static void make_rows(void)
{
    npr_rng r = npr_rng_make(1, 2);
    emb = npr_alloc((size_t)ROWS * DIM, sizeof *emb, "rows");
    label = npr_alloc(ROWS, sizeof *label, "labels");
    for (int64_t i = 0; i < (int64_t)ROWS * DIM; i++) {
        uint64_t bits = npr_rng_next(&r);
        unsigned magnitude = (unsigned)(bits >> 8) % 0x3c01;
        if ((bits & 15) == 0) magnitude &= 0x3ff;
        emb[i] = (uint16_t)(magnitude | ((bits >> 4 & 1) << 15));
    }
    for (int i = 0; i < ROWS; i++) {
        label[i] = (int32_t)npr_rng_below(&r, CLASSES - 2) + 2; /* classes 0 and 1 are left out */
        if (i % 11 == 0) label[i] = -1;
    }
    label[777] = 1;
}

/* The sums as integers in units of 2^-24. */
static __int128 *reference(int64_t count[CLASSES])
{
    __int128 *sum = npr_alloc((size_t)CLASSES * DIM, sizeof *sum, "reference");
    memset(count, 0, CLASSES * sizeof *count);
    for (int i = 0; i < ROWS; i++) {
        if (label[i] < 0) continue;
        count[label[i]]++;
        for (int j = 0; j < DIM; j++)
            sum[label[i] * DIM + j] += (int64_t)((double)npr_half_value(emb[i * DIM + j]) * 0x1p24);
    }
    return sum;
}

static void test_sums_equal_integers(void)
{
    int64_t count[CLASSES];
    __int128 *want = reference(count);
    npr_means m;
    CHECK_OK(npr_means_make(CLASSES, DIM, &m));
    CHECK_OK(npr_means_add(&m, emb, label, ROWS));
    int wrong = 0;
    for (int i = 0; i < CLASSES * DIM; i++) wrong += (__int128)(m.sum[i] * 0x1p24) != want[i];
    CHECK_INT(wrong, 0);
    for (int c = 0; c < CLASSES; c++) CHECK_INT(m.count[c], count[c]);
    CHECK_INT(m.count[0], 0);
    CHECK_INT(m.count[1], 1);
    npr_means_free(&m);
    free(want);
}

static void test_any_cut_gives_the_same_bits(void)
{
    static const int64_t cuts[] = {1, 7, 1000, 16384, 16385};
    npr_means whole, cut;
    CHECK_OK(npr_means_make(CLASSES, DIM, &whole));
    CHECK_OK(npr_means_add(&whole, emb, label, ROWS));
    for (size_t k = 0; k < sizeof cuts / sizeof *cuts; k++) {
        CHECK_OK(npr_means_make(CLASSES, DIM, &cut));
        for (int64_t at = (ROWS - 1) / cuts[k] * cuts[k]; at >= 0;
             at -= cuts[k]) /* backwards: another order too */
            CHECK_OK(
                npr_means_add(&cut, emb + at * DIM, label + at, ROWS - at < cuts[k] ? ROWS - at : cuts[k]));
        CHECK(memcmp(whole.sum, cut.sum, (size_t)CLASSES * DIM * sizeof *cut.sum) == 0);
        CHECK(memcmp(whole.count, cut.count, CLASSES * sizeof *cut.count) == 0);
        npr_means_free(&cut);
    }
    npr_means_free(&whole);
}

/* Each kernel on each width around its slices: same sums, same largest magnitude. */
static void test_kernels_agree(void)
{
    enum { WIDEST = 300, N = 23 };
    static const int dims[] = {1, 7, 31, 32, 33, 127, 128, 129, 160, 256, WIDEST};
    int32_t order[N];
    for (int i = 0; i < N; i++) order[i] = (i * 17) % 50;
    for (size_t d = 0; d < sizeof dims / sizeof *dims; d++) {
        npr_batch b = {emb, dims[d], N, order};
        double first[WIDEST], sum[WIDEST];
        unsigned first_most = 0;
        const char *name;
        npr_sum_kernel kernel;
        for (int k = 0; (kernel = npr_sum_kernel_at(k, &name)); k++) {
            for (int j = 0; j < dims[d]; j++) sum[j] = j;
            unsigned most = kernel(&b, 3, N - 1, sum);
            if (k == 0) {
                memcpy(first, sum, sizeof sum);
                first_most = most;
            }
            if (memcmp(first, sum, (size_t)dims[d] * sizeof *sum))
                fprintf(stderr, "kernel %s, dim %d\n", name, dims[d]);
            CHECK(memcmp(first, sum, (size_t)dims[d] * sizeof *sum) == 0);
            CHECK_INT(most, first_most);
        }
        CHECK(first_most <= 0x3c00);
    }
}

/* Many rows of one class, all values 1 or -1. */
static void test_long_runs(void)
{
    enum { N = 1000, D = 200 };
    static uint16_t x[N * D];
    static int32_t order[N];
    for (int i = 0; i < N; i++) order[i] = i;
    for (int j = 0; j < N * D; j++)
        x[j] = j % 3 ? 0x3c00 : 0xbc00; /* 200 columns: the pattern moves from row to row */
    npr_batch b = {x, D, N, order};
    const char *name;
    npr_sum_kernel kernel;
    for (int k = 0; (kernel = npr_sum_kernel_at(k, &name)); k++)
        for (int n = 126; n <= N; n += n == 128 ? 872 : 1) {
            double sum[D] = {0};
            CHECK_INT(kernel(&b, 0, n, sum), 0x3c00);
            for (int j = 0; j < D; j++) {
                int want = 0;
                for (int i = 0; i < n; i++) want += (i * D + j) % 3 ? 1 : -1;
                CHECK(sum[j] == want);
            }
        }
    for (int j = 0; j < N * D; j++) x[j] = 0x3c00;
    for (int k = 0; (kernel = npr_sum_kernel_at(k, &name)); k++) {
        double sum[D] = {0};
        kernel(&b, 0, N, sum);
        for (int j = 0; j < D; j++) CHECK(sum[j] == N);
    }
}

static void test_refusals(void)
{
    static const struct {
        uint16_t value;
        const char *words;
    } bad[] = {{0x3c01, "row 5 has the value 1.00098 in column 130"},
               {0xbc01, "-1.00098"},
               {0x7c00, "inf"},
               {0x7e00, "nan"},
               {0xfc00, "-inf"},
               {0x4400, "value 4"}};
    enum { D = 140 };
    uint16_t x[10 * D];
    int32_t l[10] = {0, 1, 2, 0, 1, 2, 0, 1, 2, 0};
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++)
        for (int column = 130; column > 0; column -= 127) { /* in a kernel's rest, and in its slice */
            npr_means m;
            CHECK_OK(npr_means_make(3, D, &m));
            memset(x, 0, sizeof x);
            x[5 * D + column] = bad[k].value;
            CHECK_FAILS(npr_means_add(&m, x, l, 10), NPR_EDATA, column == 130 ? bad[k].words : "in column 3");
            npr_means_free(&m);
        }
    npr_means m;
    CHECK_OK(npr_means_make(2, D, &m));
    memset(x, 0, sizeof x);
    CHECK_FAILS(npr_means_add(&m, x, l, 10), NPR_EDATA, "row 2 has label 2; the head has classes 0 to 1");
    l[2] = l[5] = l[8] = -1;
    m.weight[1] = (1 << 29) - 3;
    CHECK_OK(npr_means_add(&m, x, l, 10)); /* the last that fit */
    CHECK_INT(m.weight[1], 1 << 29);
    CHECK_INT(m.count[1], 3);
    CHECK_FAILS(npr_means_add(&m, x, l, 10), NPR_EDATA, "class 1 has 536870915 rows");
    npr_means_free(&m);
}

/* A row of count n is the row n times over, to the bit, and leaves the same means. */
static void test_counted_rows_are_repeated_rows(void)
{
    enum { N = 3000 };
    npr_rng r = npr_rng_make(9, 9);
    int32_t *count = npr_alloc(N, sizeof *count, "counts");
    npr_means counted, plain, once;
    CHECK_OK(npr_means_make(CLASSES, DIM, &counted));
    CHECK_OK(npr_means_make(CLASSES, DIM, &plain));
    CHECK_OK(npr_means_make(CLASSES, DIM, &once));
    for (int i = 0; i < N; i++) count[i] = 1 + (int32_t)npr_rng_below(&r, 7);
    CHECK_OK(npr_means_add_counted(&counted, emb, label, count, N));
    CHECK_OK(npr_means_add(&once, emb, label, N));
    for (int i = 0; i < N; i++)
        for (int k = 0; k < count[i]; k++)
            CHECK_OK(npr_means_add(&plain, emb + (size_t)i * DIM, label + i, 1));
    CHECK(memcmp(counted.sum, plain.sum, CLASSES * DIM * sizeof *plain.sum) == 0);
    CHECK(memcmp(counted.sum, once.sum, CLASSES * DIM * sizeof *plain.sum) != 0);
    CHECK(memcmp(counted.weight, plain.weight, CLASSES * sizeof *plain.weight) == 0);
    CHECK(memcmp(counted.count, once.count, CLASSES * sizeof *plain.count) == 0);
    npr_means_free(&plain);
    npr_means_free(&once);
    label[3] = 5;
    count[3] = 0;
    CHECK_FAILS(npr_means_add_counted(&counted, emb, label, count, N), NPR_EDATA, "row 3 has the count 0");
    count[3] = 1 << 29;
    CHECK_FAILS(npr_means_add_counted(&counted, emb, label, count, N), NPR_EDATA, "class 5 has");
    npr_means_free(&counted);
    free(count);
}

/* Where the proof ends: below 2^29 every multiple of 2^-24 is a double, above it is not. */
static void test_limit(void)
{
    double limit = 1 << 29, unit = 0x1p-24;
    CHECK(limit - unit != limit && limit - unit + unit == limit);
    CHECK(limit + unit == limit);
}

static void test_unit_means(void)
{
    npr_means m;
    float unit[3 * 4];
    CHECK_OK(npr_means_make(3, 4, &m));
    double sums[12] = {3, 0, -4, 0, 0, 0, 0, 0, 0x1p-24, 0, 0, 0}; /* class 1: no rows, or rows that cancel */
    memcpy(m.sum, sums, sizeof sums);
    npr_means_unit(&m, unit);
    CHECK_NEAR(unit[0], 0.6, 1e-7);
    CHECK_NEAR(unit[2], -0.8, 1e-7);
    for (int j = 4; j < 8; j++) CHECK(unit[j] == 0);
    CHECK(unit[8] == 1);
    npr_means_free(&m);
}

int main(void)
{
    make_rows();
    test_sums_equal_integers();
    test_any_cut_gives_the_same_bits();
    test_kernels_agree();
    test_long_runs();
    test_refusals();
    test_counted_rows_are_repeated_rows();
    test_limit();
    test_unit_means();
    free(emb);
    free(label);
    return TEST_END();
}
