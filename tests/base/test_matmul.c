/* Products with packed matrices: against plain chains of fmaf, bit for bit, for every kernel this CPU has,
 * all edges, bias, adding, activation in pieces; and rows that do not depend on their company. */
#include "test.h"

#include "base/matmul.h"
#include "base/mem.h"
#include "base/rng.h"

enum { IN_MOST = 700, OUT_MOST = 900, ROWS_MOST = 200 };

static float x[ROWS_MOST * IN_MOST], w[OUT_MOST * IN_MOST], bias[OUT_MOST], start[ROWS_MOST * OUT_MOST],
    y[ROWS_MOST * OUT_MOST];

static void negate(size_t n, float *v)
{
    for (size_t i = 0; i < n; i++) v[i] = -v[i];
}

static float chain(const float *a, const float *b, int n, int b_stride, float s)
{
    for (int k = 0; k < n; k++) s = fmaf(a[k], b[(size_t)k * (size_t)b_stride], s);
    return s;
}

/* Values that differ from those of plain loops. */
static int count_wrong(const npr_product *p, int in, int out, int transposed)
{
    int wrong = 0;
    for (int i = 0; i < p->rows; i++)
        for (int j = 0; j < out; j++) {
            float s = (p->add ? start[i * out + j] : 0) + (p->bias ? bias[j] : 0);
            s = transposed ? chain(x + i * in, w + j, in, out, s) : chain(x + i * in, w + j * in, in, 1, s);
            if (p->activate) s = -s;
            wrong += memcmp(&s, &y[i * out + j], sizeof s) != 0;
        }
    return wrong;
}

static void check_shape(int rows, int in, int out, int option)
{
    npr_matrix *m;
    int transposed = option & 1;
    CHECK_OK(npr_matrix_pack(out, in, transposed, w, &m));
    float *scratch = npr_alloc_aligned(npr_product_scratch(rows), sizeof *scratch, "scratch");
    npr_product p = {.w = m,
                     .bias = option & 2 ? bias : NULL,
                     .rows = rows,
                     .x = x,
                     .y = y,
                     .add = !!(option & 4),
                     .activate = option & 8 ? negate : NULL,
                     .scratch = scratch};
    memcpy(y, start, sizeof y);
    npr_product_run(&p);
    int wrong = count_wrong(&p, in, out, transposed);
    if (wrong) fprintf(stderr, "rows %d in %d out %d option %d\n", rows, in, out, option);
    CHECK_INT(wrong, 0);
    CHECK(!memcmp(y + rows * out, start + rows * out, 64 * sizeof *y)); /* nothing behind is touched */
    npr_matrix_free(m);
    free(scratch);
}

static void check_kernel(void)
{
    static const int shape[][3] = {{1, 1, 1},     {1, 3, 17},    {5, 48, 24},  {6, 256, 16},  {7, 257, 33},
                                   {14, 300, 64}, {15, 20, 850}, {8, 600, 31}, {171, 30, 40}, {170, 260, 40}};
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        for (int option = 0; option < 16; option += i < 5 ? 1 : 5)
            check_shape(shape[i][0], shape[i][1], shape[i][2], option);
}

/* A row alone, and at every place among others. */
static void check_company(void)
{
    enum { IN = 300, OUT = 70, ROWS = 40 };
    npr_matrix *m;
    float alone[OUT];
    CHECK_OK(npr_matrix_pack(OUT, IN, 0, w, &m));
    float *scratch = npr_alloc_aligned(npr_product_scratch(ROWS), sizeof *scratch, "scratch");
    npr_product_run(&(npr_product){.w = m, .bias = bias, .rows = 1, .x = x, .y = alone, .scratch = scratch});
    for (int at = 0; at < ROWS; at++) {
        float *row = x + IN * ROWS;
        memcpy(row, x + 2 * IN * ROWS, IN * ROWS * sizeof *x);
        memcpy(row + at * IN, x, IN * sizeof *x);
        npr_product_run(
            &(npr_product){.w = m, .bias = bias, .rows = at + 1, .x = row, .y = y, .scratch = scratch});
        CHECK(!memcmp(y + at * OUT, alone, sizeof alone));
    }
    npr_matrix_free(m);
    free(scratch);
}

int main(void)
{
    npr_rng r = npr_rng_make(11, 0);
    for (size_t i = 0; i < sizeof x / sizeof *x; i++) x[i] = (float)npr_rng_uniform(&r) - 0.5f;
    for (size_t i = 0; i < sizeof w / sizeof *w; i++) w[i] = (float)npr_rng_uniform(&r) - 0.5f;
    for (size_t i = 0; i < sizeof start / sizeof *start; i++) start[i] = (float)npr_rng_uniform(&r) - 0.5f;
    for (int i = 0; i < OUT_MOST; i++) bias[i] = (float)npr_rng_uniform(&r) - 0.5f;
    CHECK(npr_matmul_use(0) != NULL);
    int kernels = 0;
    for (int i = 1; i <= 3; i++) {
        const char *name = npr_matmul_use(i);
        if (!name) continue;
        fprintf(stderr, "kernel %s\n", name);
        check_kernel();
        kernels++;
    }
    CHECK(kernels >= 1);
    CHECK(npr_matmul_use(99) == NULL);
    npr_matmul_use(0);
    check_company();
    return TEST_END();
}
