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

static const double start[4] = {-1.2, 1, 3, -2};

static void test_minima(void)
{
    npr_lbfgs o = {.n = 4, .iterations = 200, .tolerance = 1e-9, .value = valley};
    CHECK_OK(npr_lbfgs_make(&o));
    memcpy(o.x, start, sizeof start);
    CHECK_OK(npr_lbfgs_run(&o));
    for (int i = 0; i < 4; i++) CHECK_NEAR(o.x[i], 1, 1e-8);
    CHECK(o.largest <= 1e-9 && o.state->f < 1e-15 && o.state->done < 200);
    npr_lbfgs_free(&o);
    npr_lbfgs b = {.n = 300, .iterations = 500, .tolerance = 1e-7, .value = bowl};
    b.self = &b;
    CHECK_OK(npr_lbfgs_make(&b));
    CHECK_OK(npr_lbfgs_run(&b));
    for (int i = 0; i < 300; i++) CHECK_NEAR(b.x[i], i, 1e-6);
    int64_t done = b.state->done;
    CHECK_OK(npr_lbfgs_run(&b)); /* from the minimum: nothing left to do */
    CHECK_INT(b.state->done, done);
    CHECK(done > 5);
    npr_lbfgs_free(&b);
}

static void test_ends(void)
{
    npr_lbfgs o = {.n = 4, .iterations = 3, .tolerance = 1e-9, .value = valley};
    CHECK_OK(npr_lbfgs_make(&o));
    memcpy(o.x, start, sizeof start);
    CHECK_OK(npr_lbfgs_run(&o));
    CHECK_INT(o.state->done, 3);
    CHECK(o.largest > 1e-9);
    npr_lbfgs_free(&o);
    npr_lbfgs b = {.n = 5, .iterations = 100, .tolerance = 1e-9, .value = failing};
    b.self = &b;
    calls = 0;
    CHECK_OK(npr_lbfgs_make(&b));
    CHECK_FAILS(npr_lbfgs_run(&b), NPR_ESTOP, "enough");
    npr_lbfgs_free(&b);
}

static npr_status count(void *self)
{
    (void)self;
    calls++;
    return NPR_OK;
}

/* Ended after any iteration and gone on with from its state alone, a run comes to the same bits. */
static void test_goes_on(void)
{
    npr_lbfgs whole = {.n = 4, .iterations = 25, .tolerance = 1e-9, .value = valley, .step = count};
    CHECK_OK(npr_lbfgs_make(&whole));
    memcpy(whole.x, start, sizeof start);
    calls = 0;
    CHECK_OK(npr_lbfgs_run(&whole));
    CHECK_INT(calls, whole.state->evaluations + 25);
    for (int n = 0; n < 25; n++) {
        npr_lbfgs first = {.n = 4, .iterations = n, .tolerance = 1e-9, .value = valley};
        npr_lbfgs second = {.n = 4, .iterations = 25, .tolerance = 1e-9, .value = valley};
        CHECK_OK(npr_lbfgs_make(&first));
        CHECK_OK(npr_lbfgs_make(&second));
        memcpy(first.x, start, sizeof start);
        CHECK_OK(npr_lbfgs_run(&first));
        CHECK_INT(first.bytes, second.bytes);
        memcpy(second.state, first.state, first.bytes);
        CHECK_OK(npr_lbfgs_run(&second));
        CHECK(!memcmp(second.state, whole.state, whole.bytes));
        npr_lbfgs_free(&first);
        npr_lbfgs_free(&second);
    }
    npr_lbfgs_free(&whole);
}

int main(void)
{
    test_minima();
    test_ends();
    test_goes_on();
    return TEST_END();
}
