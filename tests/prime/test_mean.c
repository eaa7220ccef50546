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
    npr_means_settle(&m);
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
    npr_means_settle(&whole);
    for (size_t k = 0; k < sizeof cuts / sizeof *cuts; k++) {
        CHECK_OK(npr_means_make(CLASSES, DIM, &cut));
        for (int64_t at = (ROWS - 1) / cuts[k] * cuts[k]; at >= 0;
             at -= cuts[k]) /* backwards: another order too */
            CHECK_OK(
                npr_means_add(&cut, emb + at * DIM, label + at, ROWS - at < cuts[k] ? ROWS - at : cuts[k]));
        npr_means_settle(&cut);
        CHECK(memcmp(whole.sum, cut.sum, (size_t)CLASSES * DIM * sizeof *cut.sum) == 0);
        CHECK(memcmp(whole.count, cut.count, CLASSES * sizeof *cut.count) == 0);
        npr_means_free(&cut);
    }
    npr_means_free(&whole);
}

/* Sums by one kernel from n rows of x, from sums that are j in column j. Returns the largest magnitude met.
 */
static unsigned sums_counted(npr_sum_kernel kernel, const uint16_t *x, const int32_t *l, const int32_t *count,
                             int n, int classes, int dim, double *sum)
{
    npr_means m;
    unsigned most = 0;
    CHECK_OK(npr_means_make(classes, dim, &m));
    for (int c = 0; c < classes; c++)
        for (int j = 0; j < dim; j++) m.sum[c * dim + j] = j;
    CHECK_OK(kernel(&m, x, l, count, n, &most));
    npr_means_settle(&m);
    memcpy(sum, m.sum, (size_t)classes * (size_t)dim * sizeof *sum);
    for (int c = 0; c < classes; c++) CHECK_INT(m.held[c], 0);
    npr_means_free(&m);
    return most;
}

static unsigned sums_by(npr_sum_kernel kernel, const uint16_t *x, const int32_t *l, int n, int classes,
                        int dim, double *sum)
{
    return sums_counted(kernel, x, l, NULL, n, classes, dim, sum);
}

/* Each kernel on each width around its slices and on odd and even numbers of rows: same sums, same largest
 * magnitude. Plain C, the last kernel, is the reference; test_sums_equal_integers() has the one for the
 * first. */
static void test_kernels_agree(void)
{
    enum { WIDEST = 300, K = 4 };
    static const int dims[] = {1, 7, 31, 32, 33, 63, 64, 65, 127, 128, 129, 160, 256, WIDEST};
    static const int32_t l[] = {3, 1, 1, -1, 0, 0, 1, 3, -1, 1, 1, 1, -1, -1, 3, 1, 0, 3, 3, 1, -1, 2, 2};
    static double want[K * WIDEST], sum[K * WIDEST];
    const char *here;
    for (int k = 0; npr_sum_kernel_at(k, &here); k++) fprintf(stderr, "kernel %s\n", here);
    for (size_t d = 0; d < sizeof dims / sizeof *dims; d++)
        for (int n = 1; n <= (int)(sizeof l / sizeof *l); n++) {
            const char *name;
            npr_sum_kernel kernel;
            unsigned most = sums_by(npr_sum_kernel_at(0, &name), emb, l, n, K, dims[d], want);
            CHECK(most <= 0x3c00);
            for (int k = 1; (kernel = npr_sum_kernel_at(k, &name)); k++) {
                CHECK_INT(sums_by(kernel, emb, l, n, K, dims[d], sum), most);
                int equal = memcmp(want, sum, (size_t)K * (size_t)dims[d] * sizeof *sum) == 0;
                if (!equal) fprintf(stderr, "kernel %s, dim %d, %d rows\n", name, dims[d], n);
                CHECK(equal);
            }
        }
}

/* Many rows of one class, all 1, all -1, or mixed: more than 32 bits hold of them, on both sides of that.
 * Beside them the least value there is, which a float would lose. */
static void test_long_runs(void)
{
    enum { N = 1000, D = 200 };
    static uint16_t x[N * D];
    /* the first 0, 1 and 3 rows have no label: pairs of rows begin at odd places too */
    static int32_t labels[3][N];
    static const int skips[] = {0, 1, 3},
                     sizes[] = {125, 126, 127, 128, 129, 251, 252, 253, 254, 255, 256, 257, 381, N};
    const char *name;
    npr_sum_kernel kernel;
    for (int s = 0; s < 3; s++)
        for (int i = 0; i < skips[s]; i++) labels[s][i] = -1;
    for (int turn = 0; turn < 9; turn += test_share()) {
        int skip = skips[turn / 3];
        for (int j = 0; j < N * D; j++)
            x[j] = turn % 3 == 0   ? 0x3c00
                   : turn % 3 == 1 ? 0xbc00
                   : j % 3         ? 0x3c00
                                   : 0xbc00; /* 200 columns: the pattern moves */
        for (int i = 0; i < N; i++) x[i * D] = i % 50 ? 0x0001 : 0x3c00;
        for (int k = 0; (kernel = npr_sum_kernel_at(k, &name)); k++)
            for (size_t z = 0; z < sizeof sizes / sizeof *sizes; z++) {
                double sum[D], units = 0;
                int n = sizes[z], wrong = 0;
                CHECK_INT(sums_by(kernel, x, labels[turn / 3], n, 1, D, sum), 0x3c00);
                for (int i = skip; i < n; i++) units += i % 50 ? 1 : 0x1p24;
                wrong += sum[0] * 0x1p24 != units;
                for (int j = 1; j < D; j++) {
                    int want = j;
                    for (int i = skip; i < n; i++) want += x[i * D + j] == 0x3c00 ? 1 : -1;
                    wrong += sum[j] != want;
                }
                if (wrong) fprintf(stderr, "kernel %s, %d rows, turn %d\n", name, n, turn);
                CHECK_INT(wrong, 0);
            }
    }
}

/* So many rows of one class that what is carried from 32 bits fills 16: to the last row before, and on. */
static void test_longest_runs(void)
{
    enum { N = 70000, D = 32 };
    static const int sizes[] = {32255, 32256, 32257, 32258, 32259, N};
    uint16_t *x = npr_alloc((size_t)N * D, sizeof *x, "rows");
    int32_t *l = npr_alloc(N, sizeof *l, "labels");
    const char *name;
    npr_sum_kernel kernel;
    for (size_t i = 0; i < (size_t)N * D; i++) x[i] = i % 2 ? 0xbc00 : 0x3c00;
    for (int k = 0; (kernel = npr_sum_kernel_at(k, &name)); k++)
        for (size_t z = 0; z < sizeof sizes / sizeof *sizes; z++) {
            double sum[D];
            int wrong = 0;
            sums_by(kernel, x, l, sizes[z], 1, D, sum);
            for (int j = 0; j < D; j++) wrong += sum[j] != j + (j % 2 ? -sizes[z] : sizes[z]);
            if (wrong) fprintf(stderr, "kernel %s, %d rows\n", name, sizes[z]);
            CHECK_INT(wrong, 0);
        }
    free(x);
    free(l);
}

/* Every value there is from -1 to 1, each kernel, in each place of a line. */
static void test_every_value(void)
{
    enum { ALL = 2 * 0x3c01, D = 96 };
    enum { TAKEN = ALL / D + 1 };
    static uint16_t x[(TAKEN + 1) * D]; /* the last row is room for the shift */
    static int32_t l[TAKEN];
    int rows = TAKEN;
    const char *name;
    npr_sum_kernel kernel;
    for (int i = 0; i < ALL; i++) x[i] = (uint16_t)(i / 2 | (i % 2) << 15);
    for (int i = 0; i < rows; i++) l[i] = i;
    double *sum = npr_alloc((size_t)rows * D, sizeof *sum, "sums");
    for (int k = 0; (kernel = npr_sum_kernel_at(k, &name)); k++)
        for (int shift = 0; shift < 3; shift++) { /* another row's line, another half of the rows */
            int wrong = 0;
            CHECK_INT(sums_by(kernel, x + 31 * shift, l, rows, rows, D, sum), 0x3c00);
            for (int i = 0; i < rows * D; i++)
                wrong += sum[i] - i % D != (double)npr_half_value(x[31 * shift + i]);
            CHECK_INT(wrong, 0);
        }
    free(sum);
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
    x[5 * D + 3] = 0x7e00; /* of a row that is left out */
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
    npr_means_settle(&counted);
    npr_means_settle(&once);
    npr_means_settle(&plain);
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

/* Rows of 1 and -1, each as often as no, one, or two of them fit into what is held, side by side in one class
 * and in two: each kernel, in its slices and in its rest, against integers. */
static void test_counts_fill_what_is_held(void)
{
    enum { N = 800, D = 168 };
    static const int32_t times[] = {1, 2, 31, 62, 63, 64, 65, 126, 127, 128, 100000};
    static uint16_t x[N * D];
    int32_t l[N], count[N];
    npr_rng r = npr_rng_make(4, 4);
    const char *name;
    npr_sum_kernel kernel;
    for (int turn = 0; turn < 40; turn++) {
        int64_t want[3 * D] = {0};
        for (int i = 0; i < N; i++) {
            int among = turn % 4 == 0 ? 5 : turn % 4 == 1 ? 8 : 11; /* few, around the limit, all */
            count[i] = times[npr_rng_below(&r, (uint64_t)among)];
            l[i] = (int32_t)npr_rng_below(&r, turn % 2 ? 2 : 4) - 1;
            for (int j = 0; j < D; j++) {
                int value = turn % 3 == 0 ? 1 : turn % 3 == 1 ? -1 : j % 2 ? 1 : -1;
                x[i * D + j] = value > 0 ? 0x3c00 : 0xbc00;
                if (l[i] >= 0) want[l[i] * D + j] += value * count[i];
            }
        }
        for (int k = 0; (kernel = npr_sum_kernel_at(k, &name)); k++) {
            double sum[3 * D];
            int wrong = 0;
            CHECK_INT(sums_counted(kernel, x, l, count, N, 3, D, sum), 0x3c00);
            for (int c = 0; c < 3; c++)
                for (int j = 0; j < D; j++) wrong += sum[c * D + j] - j != (double)want[c * D + j];
            if (wrong) fprintf(stderr, "kernel %s, turn %d\n", name, turn);
            CHECK_INT(wrong, 0);
        }
    }
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
    if (test_share() == 1) test_longest_runs(); /* long, and about AVX2 only */
    test_every_value();
    test_refusals();
    test_counted_rows_are_repeated_rows();
    test_counts_fill_what_is_held();
    test_limit();
    test_unit_means();
    free(emb);
    free(label);
    return TEST_END();
}
