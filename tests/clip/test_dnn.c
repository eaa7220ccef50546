/* Layers of oneDNN against plain loops: bias, adding, both activations, both layouts of the weights, on
 * several threads at once; in fp32, and in bfloat16 where the CPU has it or oneDNN makes it up from AVX-512.
 * Where it can do neither it must say so. The same checks of dnn_emulated.c are clip_dnn_emulated. */
#include "test.h"

#include <omp.h>

#include "base/mem.h"
#include "clip/dnn.h"

enum { ROWS = 37, IN = 70, OUT = 45 };

static float x[ROWS * IN], w[IN * OUT], bias[OUT], start[ROWS * OUT];
static uint16_t half[ROWS * IN]; /* x in bfloat16 */

static double bfloat_value(uint16_t v)
{
    uint32_t bits = (uint32_t)v << 16;
    float out;
    memcpy(&out, &bits, sizeof out);
    return (double)out;
}

/* Of the neighbours in bfloat16 the nearest, or of two that are as near the even one. v is positive or not,
 * and ordinary. */
static uint16_t bfloat_near(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    uint16_t low = (uint16_t)(bits >> 16), high = (uint16_t)(low + 1);
    double below = fabs((double)v - bfloat_value(low)), above = fabs((double)v - bfloat_value(high));
    return below < above || (below == above && low % 2 == 0) ? low : high;
}

static double rounded(const npr_dnn_layer *l, float v)
{
    return l->type == NPR_DNN_BF16 ? bfloat_value(bfloat_near(v)) : (double)v;
}

static double want_of(const npr_dnn_layer *l, int i, int j)
{
    double s = l->bias ? (double)bias[j] : 0;
    for (int k = 0; k < IN; k++)
        s += rounded(l, x[i * IN + k]) * rounded(l, l->transposed ? w[k * OUT + j] : w[j * IN + k]);
    if (l->add) s += (double)start[i * OUT + j];
    if (l->activation == NPR_DNN_GELU) return 0.5 * s * erfc(-s / sqrt(2));
    return l->activation == NPR_DNN_QUICK_GELU ? s / (1 + exp(-1.702 * s)) : s;
}

/* A result in bfloat16 may be the other neighbour: half a step off at most, and what sums differ by. */
static int is_near(const npr_dnn_layer *l, const void *y, int at, double want)
{
    if (l->result == NPR_DNN_F32) return fabs((double)((const float *)y)[at] - want) < 2e-5;
    return fabs(bfloat_value(((const uint16_t *)y)[at]) - want) < fabs(want) / 256 + 2e-5;
}

static int count_wrong(const npr_dnn *d, const npr_dnn_layer *l)
{
    float y[ROWS * OUT];
    int wrong = 0;
    void *scratch = npr_alloc_aligned(npr_dnn_scratch(d) + 1, 1, "scratch");
    memcpy(y, start, sizeof y);
    wrong += npr_dnn_run(d, l->type == NPR_DNN_BF16 ? (const void *)half : x, y, scratch) != NPR_OK;
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < OUT; j++) wrong += !is_near(l, y, i * OUT + j, want_of(l, i, j));
    free(scratch);
    return wrong;
}

static void check_layer(int option, npr_dnn_type type, npr_dnn_type result)
{
    npr_dnn *d = NULL;
    npr_dnn_layer l = {.rows = ROWS,
                       .in = IN,
                       .out = OUT,
                       .w = w,
                       .transposed = option & 1,
                       .bias = option & 2 ? bias : NULL,
                       .type = type,
                       .result = result,
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

/* Layers with a result in bfloat16 add to nothing. */
static void bfloat16(void)
{
    npr_dnn *d;
    npr_dnn_layer l = {.rows = ROWS, .in = IN, .out = OUT, .w = w, .type = NPR_DNN_BF16};
    int own = npr_dnn_has_bf16(), refused = !own && npr_dnn_make(&l, &d) != NPR_OK;
    fprintf(stderr, "kernel bfloat16: %s\n", own ? "of the CPU" : refused ? "refused" : "of AVX-512");
    if (refused) {
        CHECK_FAILS(npr_dnn_make(&l, &d), NPR_EENV, "oneDNN");
        CHECK(d == NULL);
        return;
    }
    if (!own) npr_dnn_free(d);
    for (int option = 0; option < 16; option++) {
        check_layer(option, NPR_DNN_BF16, NPR_DNN_F32);
        if (option / 4 != 1) check_layer(option, NPR_DNN_BF16, NPR_DNN_BF16);
    }
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
    for (int i = 0; i < ROWS * IN; i++) half[i] = bfloat_near(x[i]);
    for (int option = 0; option < 16; option++) check_layer(option, NPR_DNN_F32, NPR_DNN_F32);
    bfloat16();
    npr_dnn_free(NULL);
    return TEST_END();
}
