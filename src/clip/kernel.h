/* kernel.h - what a tower computes between its matrix products, on rows of floats. Plain C loops, compiled
 * once for any CPU and once for AVX2, without contraction and with sums in fixed lanes: the same bits on
 * every CPU. Local.
 *
 * Accuracy, against the same operation in exact arithmetic (tests/clip/test_kernel.c holds it to this):
 * GELU and QuickGELU within 2^-22 |x|, exp within 2 units in the last place. */
#ifndef NPR_CLIP_KERNEL_H
#define NPR_CLIP_KERNEL_H

#include <stddef.h>
#include <stdint.h>

/* y [rows][width] = (x - mean) / sqrt(variance + 1e-5) * gain + shift, for each row. y may be x. */
void npr_kernel_norm(int rows, int width, const float *x, const float *gain, const float *shift, float *y);

/* In place: x Phi(x), Phi the normal distribution function; x / (1 + exp(-1.702 x)). */
void npr_kernel_gelu(size_t n, float *x);
void npr_kernel_quick_gelu(size_t n, float *x);

/* Each row of s [rows][stride] becomes exp(s - its maximum), over its first n values; the sum's reciprocal
 * goes to scale [rows]. With first >= 0 (causal), row i counts its first min(n, first + i + 1) values, and
 * the others up to n become 0. */
void npr_kernel_softmax(int rows, int n, int stride, int first, float *s, float *scale);

/* Row i of x [rows][width] (row stride `stride`) is multiplied by scale[i]. */
void npr_kernel_scale(int rows, int width, int stride, const float *scale, float *x);

/* Rounded to bfloat16, nearest even. */
void npr_kernel_bfloat(size_t n, const float *x, uint16_t *y);

#endif
