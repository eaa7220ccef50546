/* test_lbfgs.c - L-BFGS finds the minimum of functions whose minimum is known, and ends as it is told to. */
#include "prime/train.h"

#include "test.h"

static int calls;

/* Rosenbrock's valley, twice: the minimum is 0 at (1, 1, 1, 1). */
static npr_status valley(void *self, const double *x, double *f, double *g)
{
    (void)self;
    *f = 0;
    calls++;
    for (int i = 0; i < 4; i += 2) {
        double a = 1 - x[i], b = x[i + 1] - x[i] * x[i];
        *f += a * a + 100 * b * b;
        g[i] = -2 * a - 400 * x[i] * b;
        g[i + 1] = 200 * b;
    }
    return NPR_OK;
}

/* Sum of (i + 1) (x_i - i)^2. */
static npr_status bowl(void *self, const double *x, double *f, double *g)
{
    const npr_lbfgs *o = self;
    *f = 0;
    for (size_t i = 0; i < o->n; i++) {
        double off = x[i] - (double)i;
        *f += (double)(i + 1) * off * off;
        g[i] = 2 * (double)(i + 1) * off;
    }
    return NPR_OK;
}

static npr_status failing(void *self, const double *x, double *f, double *g)
{
    if (++calls == 3) return npr_fail(NPR_ESTOP, "enough");
    return bowl(self, x, f, g);
}

static void test_minima(void)
{
    npr_lbfgs o = {.n = 4, .iterations = 200, .tolerance = 1e-9, .value = valley};
    double x[4] = {-1.2, 1, 3, -2};
    CHECK_OK(npr_lbfgs_make(&o));
    CHECK_OK(npr_lbfgs_run(&o, x));
    for (int i = 0; i < 4; i++) CHECK_NEAR(x[i], 1, 1e-8);
    CHECK(o.largest <= 1e-9 && o.f < 1e-15 && o.done < 200);
    free(o.work);
    npr_lbfgs b = {.n = 300, .iterations = 500, .tolerance = 1e-7, .value = bowl};
    double y[300] = {0};
    b.self = &b;
    CHECK_OK(npr_lbfgs_make(&b));
    CHECK_OK(npr_lbfgs_run(&b, y));
    for (int i = 0; i < 300; i++) CHECK_NEAR(y[i], i, 1e-6);
    int done = b.done;
    CHECK_OK(npr_lbfgs_run(&b, y)); /* from the minimum: nothing left to do */
    CHECK_INT(b.done, 0);
    CHECK(done > 5);
    free(b.work);
}

static void test_ends(void)
{
    npr_lbfgs o = {.n = 4, .iterations = 3, .tolerance = 1e-9, .value = valley};
    double x[4] = {-1.2, 1, 3, -2};
    CHECK_OK(npr_lbfgs_make(&o));
    CHECK_OK(npr_lbfgs_run(&o, x));
    CHECK_INT(o.done, 3);
    CHECK(o.largest > 1e-9);
    free(o.work);
    npr_lbfgs b = {.n = 5, .iterations = 100, .tolerance = 1e-9, .value = failing};
    double y[5] = {0};
    b.self = &b;
    calls = 0;
    CHECK_OK(npr_lbfgs_make(&b));
    CHECK_FAILS(npr_lbfgs_run(&b, y), NPR_ESTOP, "enough");
    free(b.work);
}

int main(void)
{
    test_minima();
    test_ends();
    return TEST_END();
}
