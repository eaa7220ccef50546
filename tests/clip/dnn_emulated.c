/* dnn_emulated.c - dnn.h without oneDNN, for CPUs that have no bfloat16: what oneDNN multiplies there, by
 * npr's own products. A program that is linked with this file never sees src/clip/dnn.c, and so takes the way
 * of bfloat16 through all other code.
 *
 * Inputs and weights are rounded to bfloat16 (to nearest, ties to even), a hidden layer's output too; a
 * product of two such numbers is exact in fp32, and sums are fp32 in one order (oneDNN's order differs). As
 * oneDNN does, a layer computes all of its rows. Activations are double, from math.h. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/matmul.h"
#include "base/mem.h"
#include "clip/dnn.h"

struct npr_dnn {
    npr_dnn_layer layer;
    npr_matrix *w; /* rounded */
    float *bias;
};

const char *npr_dnn_version(void)
{
    return "bfloat16 emulated (a test)";
}

int npr_dnn_built(void)
{
    return 1;
}

int npr_dnn_has_bf16(void)
{
    return 1;
}

/* Unlike kernel.c's: no addition that carries, but a choice between the two neighbours. */
static uint16_t bfloat_of(float x)
{
    uint32_t bits, below;
    memcpy(&bits, &x, sizeof bits);
    below = bits >> 16;
    if ((bits & 0x7f800000) == 0x7f800000) return (uint16_t)(below | (bits << 16 ? 0x40 : 0));
    uint32_t rest = bits & 0xffff;
    return (uint16_t)(rest > 0x8000 || (rest == 0x8000 && below % 2) ? below + 1 : below);
}

static float float_of(uint16_t x)
{
    uint32_t bits = (uint32_t)x << 16;
    float out;
    memcpy(&out, &bits, sizeof out);
    return out;
}

static npr_status pack(npr_dnn *d)
{
    size_t n = (size_t)d->layer.in * (size_t)d->layer.out, out = (size_t)d->layer.out;
    float *w = npr_alloc(n, sizeof *w, "weights");
    if (!w) return npr_last();
    for (size_t i = 0; i < n; i++)
        w[i] = d->layer.type == NPR_DNN_BF16 ? float_of(bfloat_of(d->layer.w[i])) : d->layer.w[i];
    npr_status st = npr_matrix_pack(d->layer.out, d->layer.in, d->layer.transposed, w, &d->w);
    free(w);
    if (st || !d->layer.bias) return st;
    if (!(d->bias = npr_alloc(out, sizeof *d->bias, "a bias"))) return npr_last();
    memcpy(d->bias, d->layer.bias, out * sizeof *d->bias);
    return NPR_OK;
}

npr_status npr_dnn_make(const npr_dnn_layer *layer, npr_dnn **out)
{
    npr_dnn *d = *out = npr_alloc(1, sizeof *d, "a layer");
    if (!d) return npr_last();
    d->layer = *layer;
    npr_status st = pack(d);
    if (!st) return NPR_OK;
    npr_dnn_free(d);
    *out = NULL;
    return st;
}

void npr_dnn_free(npr_dnn *d)
{
    if (!d) return;
    npr_matrix_free(d->w);
    free(d->bias);
    free(d);
}

/* Floats of rows of n values, so that what follows is aligned as well. */
static size_t room(int rows, int n)
{
    return ((size_t)rows * (size_t)n + 15) / 16 * 16;
}

size_t npr_dnn_scratch(const npr_dnn *d)
{
    const npr_dnn_layer *l = &d->layer;
    return (room(l->rows, l->in) + room(l->rows, l->out) + npr_product_scratch(l->rows)) * sizeof(float);
}

static void gelu(size_t n, float *x)
{
    for (size_t i = 0; i < n; i++) x[i] = (float)(0.5 * (double)x[i] * erfc(-(double)x[i] / sqrt(2)));
}

static void quick_gelu(size_t n, float *x)
{
    for (size_t i = 0; i < n; i++) x[i] = (float)((double)x[i] / (1 + exp(-1.702 * (double)x[i])));
}

npr_status npr_dnn_run(const npr_dnn *d, const void *x, void *y, void *scratch)
{
    const npr_dnn_layer *l = &d->layer;
    size_t in = (size_t)l->rows * (size_t)l->in, out = (size_t)l->rows * (size_t)l->out;
    float *from = scratch, *to = from + room(l->rows, l->in), *rest = to + room(l->rows, l->out);
    for (size_t i = 0; i < in && l->type == NPR_DNN_BF16; i++) from[i] = float_of(((const uint16_t *)x)[i]);
    npr_product_run(&(npr_product){.w = d->w,
                                   .bias = d->bias,
                                   .rows = l->rows,
                                   .x = l->type == NPR_DNN_BF16 ? from : x,
                                   .y = l->result == NPR_DNN_BF16 ? to : y,
                                   .add = l->add,
                                   .activate = l->activation == NPR_DNN_GELU         ? gelu
                                               : l->activation == NPR_DNN_QUICK_GELU ? quick_gelu
                                                                                     : NULL,
                                   .scratch = rest});
    for (size_t i = 0; i < out && l->result == NPR_DNN_BF16; i++) ((uint16_t *)y)[i] = bfloat_of(to[i]);
    return NPR_OK;
}
