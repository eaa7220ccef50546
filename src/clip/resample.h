/* resample.h - bicubic resampling of 8-bit pixels with the arithmetic of Pillow's ImagingResample (8 bits per
 * channel): each axis on its own, weights from a cubic with a = -0.5 widened to the scale when shrinking,
 * rounded to 22 bits behind the point, sums in 32-bit integers, results rounded and clamped to 0..255. Only
 * the outputs asked for are computed, with the same bits. Local. */
#ifndef NPR_CLIP_RESAMPLE_H
#define NPR_CLIP_RESAMPLE_H

#include <stddef.h>
#include <stdint.h>

#include "npr/status.h"

/* Weights of one axis: outputs first .. first + count - 1 of `out`, made from `in` inputs. */
typedef struct npr_taps {
    int in, out, first, count; /* 0, 0, 0, 0: none made yet */
    int most;                  /* weights kept per output: a multiple of 4, zeros behind the last */
    int32_t *begin;            /* [count] first input of an output */
    int32_t *n;                /* [count] inputs of an output, at least 1 */
    int32_t *weight;           /* [count][most] */
    int32_t *pair;             /* [count][most / 4][4]: the same as 16-bit halves, see resample.c */
    size_t n_cap, begin_cap, weight_cap, pair_cap;
} npr_taps;

/* Zero *t before the first use. Does nothing if *t holds just these already. */
npr_status npr_taps_make(npr_taps *t, int in, int out, int first, int count);
void npr_taps_free(npr_taps *t);

/* Rows of pixels in memory. */
typedef struct npr_raster {
    const uint8_t *data;
    size_t stride; /* bytes from a row to the next */
    size_t room; /* bytes from data on that may be read; NPR_PIXELS_SPARE behind the last row spare it a slow
                    way */
    int rows, channels;
} npr_raster;

/* Every row of in, resampled to t->count pixels, to out; rows of out are `stride` bytes apart, at least
 * t->count * channels. Input rows have t->in pixels. */
typedef void npr_horizontal(const npr_taps *t, const npr_raster *in, uint8_t *out, size_t stride);

/* Every output row of t from the rows of in, the first of which is row `row0` of the axis: `width` bytes
 * each. */
typedef void npr_vertical(const npr_taps *t, const npr_raster *in, int row0, int width, uint8_t *out,
                          size_t stride);

typedef struct npr_resampler {
    const char *name;
    npr_horizontal *horizontal;
    npr_vertical *vertical;
} npr_resampler;

/* The i-th that this machine can run, fastest first; the last is portable C. All give the same bits. NULL: no
 * more. */
const npr_resampler *npr_resampler_at(int i);

#endif
