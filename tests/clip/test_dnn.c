/* Layers of oneDNN in fp32 against plain loops: bias, adding, both activations, both layouts of the weights,
 * on several threads at once. */
#include "test.h"

#include <omp.h>

#include "base/mem.h"
#include "clip/dnn.h"

enum { ROWS = 37, IN = 70, OUT = 45 };

static float x[ROWS * IN], w[IN * OUT], bias[OUT], start[ROWS * OUT];

static double want_of(const npr_dnn_layer *l, int i, int j)
{
    double s = l->bias ? (double)bias[j] : 0;
    for (int k = 0; k < IN; k++)
        s += (double)x[i * IN + k] * (double)(l->transposed ? w[k * OUT + j] : w[j * IN + k]);
    if (l->add) s += (double)start[i * OUT + j];
    if (l->activation == NPR_DNN_GELU) return 0.5 * s * erfc(-s / sqrt(2));
    return l->activation == NPR_DNN_QUICK_GELU ? s / (1 + exp(-1.702 * s)) : s;
}

static int count_wrong(const npr_dnn *d, const npr_dnn_layer *l)
{
    float y[ROWS * OUT];
    int wrong = 0;
    void *scratch = npr_alloc_aligned(npr_dnn_scratch(d) + 1, 1, "scratch");
    memcpy(y, start, sizeof y);
    wrong += npr_dnn_run(d, x, y, scratch) != NPR_OK;
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < OUT; j++) wrong += !(fabs((double)y[i * OUT + j] - want_of(l, i, j)) < 2e-5);
    free(scratch);
    return wrong;
}

static void check_layer(int option)
{
    npr_dnn *d = NULL;
    npr_dnn_layer l = {.rows = ROWS,
                       .in = IN,
                       .out = OUT,
                       .w = w,
                       .transposed = option & 1,
                       .bias = option & 2 ? bias : NULL,
                       .add = option / 4 == 1,
                       .activation = option / 4 == 2   ? NPR_DNN_GELU
                                     : option / 4 == 3 ? NPR_DNN_QUICK_GELU
                                                       : NPR_DNN_NONE};
    int wrong = 0, threads = omp_get_max_threads();
    CHECK_OK(npr_dnn_make(&l, &d));
    if (!d) return;
    CHECK_INT(count_wrong(d, &l), 0);
#pragma omp parallel for num_threads(3) reduction(+ : wrong)
    for (int i = 0; i < 6; i++) wrong += count_wrong(d, &l);
    CHECK_INT(wrong, 0);
    CHECK_INT(omp_get_max_threads(), threads);
    npr_dnn_free(d);
}

int main(void)
{
    if (!npr_dnn_built()) {
        npr_dnn *d;
        npr_dnn_layer l = {.rows = ROWS, .in = IN, .out = OUT, .w = w};
        CHECK_FAILS(npr_dnn_make(&l, &d), NPR_EENV, "no oneDNN");
        CHECK(d == NULL && !npr_dnn_has_bf16());
        if (test_failures) return 1;
        SKIP("this build has no oneDNN");
    }
    for (int i = 0; i < ROWS * IN; i++) x[i] = (float)sin(i * 1.3);
    for (int i = 0; i < IN * OUT; i++) w[i] = (float)sin(i * 0.7 + 1) / 4;
    for (int i = 0; i < OUT; i++) bias[i] = (float)cos(i);
    for (int i = 0; i < ROWS * OUT; i++) start[i] = (float)cos(i * 2.1);
    for (int option = 0; option < 16; option++) check_layer(option);
    npr_dnn_free(NULL);
    return TEST_END();
}
