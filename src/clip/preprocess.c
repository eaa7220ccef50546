/* preprocess.c - the validation transform of open_clip: Resize, CenterCrop, RGB, ToTensor, Normalize. Only
 * what the crop shows is computed. See npr/image.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "clip/resample.h"
#include "npr/image.h"

struct npr_preprocess {
    int size;
    const npr_resampler *resampler;
    npr_taps across, down;
    uint8_t *middle; /* rows that went through the horizontal pass */
    uint8_t *square; /* [size][size][channels] */
    size_t middle_cap, square_cap;
    float value[3][256]; /* of a pixel of each channel, normalised */
    npr_preprocess_times times;
};

/* Adds what passed since `*since` to *spent, and goes on from now. */
static void lap(double *since, double *spent)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    double now = (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
    *spent += now - *since;
    *since = now;
}

npr_status npr_preprocess_make(int size, const float *mean, const float *std, npr_preprocess **out)
{
    if (size < 1 || size > NPR_PREPROCESS_SIZE)
        return npr_fail(NPR_EUSAGE, "images of %d x %d pixels: 1 to %d are possible", size, size,
                        NPR_PREPROCESS_SIZE);
    npr_preprocess *p = npr_alloc(1, sizeof *p, "preprocessing");
    if (!p) return npr_last();
    p->size = size;
    p->resampler = npr_resampler_at(0);
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < 256; i++) p->value[c][i] = ((float)i / 255 - mean[c]) / std[c];
    *out = p;
    return NPR_OK;
}

void npr_preprocess_free(npr_preprocess *p)
{
    if (!p) return;
    npr_taps_free(&p->across);
    npr_taps_free(&p->down);
    free(p->middle);
    free(p->square);
    free(p);
}

/* ---- geometry, as torchvision computes it ---- */

/* The long side when the short one becomes `size`. The product is exact; the quotient is rounded once, then
 * cut. */
static int64_t long_side(int size, int longer, int shorter)
{
    return (int64_t)((double)((int64_t)size * longer) / shorter);
}

/* First pixel of the middle `size` of `whole`: half of the rest, a half to even. */
static int64_t middle_of(int64_t whole, int size)
{
    int64_t rest = whole - size, half = rest / 2;
    return half + (rest % 2 && half % 2);
}

/* One axis of `in` pixels; `other` is the other side. Makes the weights, if it changes at all; *first is the
 * first pixel of the crop. */
static npr_status make_axis(npr_taps *t, int size, int in, int other, int *first, int *resample)
{
    int64_t out = in <= other ? size : long_side(size, in, other), at = middle_of(out, size);
    if (out > INT32_MAX) return npr_fail(NPR_EDATA, "an image of %d x %d pixels is too long", in, other);
    *first = (int)at;
    *resample = out != in;
    return *resample ? npr_taps_make(t, in, (int)out, *first, size) : NPR_OK;
}

/* ---- the two passes ---- */

static npr_status pass_across(npr_preprocess *p, npr_raster *r)
{
    size_t stride = (size_t)p->size * (size_t)r->channels, bytes = stride * (size_t)r->rows;
    NPR_TRY(npr_grow(&p->middle, &p->middle_cap, bytes, 1, "resampled rows"));
    p->resampler->horizontal(&p->across, r, p->middle, stride);
    *r = (npr_raster){p->middle, stride, p->middle_cap, r->rows, r->channels};
    return NPR_OK;
}

/* r: rows from row0 of the image on. */
static npr_status pass_down(npr_preprocess *p, npr_raster *r, int row0)
{
    size_t stride = (size_t)p->size * (size_t)r->channels;
    NPR_TRY(npr_grow(&p->square, &p->square_cap, stride * (size_t)p->size, 1, "resampled pixels"));
    p->resampler->vertical(&p->down, r, row0, (int)stride, p->square, stride);
    *r = (npr_raster){p->square, stride, p->square_cap, p->size, r->channels};
    return NPR_OK;
}

/* ---- colours ---- */

/* a b / 255, rounded as Pillow rounds it. */
static int share(int a, int b)
{
    int x = a * b + 128;
    return ((x >> 8) + x) >> 8;
}

static void row_to_rgb(const uint8_t *in, int channels, int n, uint8_t *rgb)
{
    if (channels == 3) {
        memcpy(rgb, in, (size_t)n * 3);
        return;
    }
    for (int i = 0; i < n; i++, in += channels, rgb += 3)
        for (int c = 0; c < 3; c++) {
            int light = channels == 1 ? 0 : 255 - in[3];
            rgb[c] = channels == 1 ? in[0] : (uint8_t)(light - share(in[c], light));
        }
}

npr_status npr_preprocess_crop(npr_preprocess *p, const npr_pixels *image, uint8_t *rgb)
{
    int x0, y0, across, down, channels = image->channels;
    double since = 0, unused = 0;
    lap(&since, &unused);
    NPR_TRY(make_axis(&p->across, p->size, image->width, image->height, &x0, &across));
    NPR_TRY(make_axis(&p->down, p->size, image->height, image->width, &y0, &down));
    lap(&since, &p->times.weights);
    const npr_taps *d = &p->down;
    int last = p->size - 1, row0 = down ? d->begin[0] : y0;
    int rows = down ? d->begin[last] + d->n[last] - row0 : p->size;
    size_t stride = (size_t)image->width * (size_t)channels, skip = (size_t)row0 * stride;
    size_t bytes = stride * (size_t)image->height, cap = image->cap > bytes ? image->cap : bytes;
    npr_raster r = {image->data + skip, stride, cap - skip, rows, channels};
    if (across)
        NPR_TRY(pass_across(p, &r));
    else
        r.data += x0 * channels;
    lap(&since, &p->times.across);
    if (down) NPR_TRY(pass_down(p, &r, row0));
    lap(&since, &p->times.down);
    for (int y = 0; y < p->size; y++)
        row_to_rgb(r.data + (size_t)y * r.stride, channels, p->size, rgb + (size_t)y * (size_t)p->size * 3);
    lap(&since, &p->times.colour);
    return NPR_OK;
}

void npr_preprocess_normalize(npr_preprocess *p, const uint8_t *rgb, float *chw)
{
    size_t n = (size_t)p->size * (size_t)p->size;
    double since = 0, unused = 0;
    lap(&since, &unused);
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < 3; c++) chw[c * n + i] = p->value[c][rgb[3 * i + c]];
    lap(&since, &p->times.normalize);
}

npr_preprocess_times npr_preprocess_times_of(const npr_preprocess *p)
{
    return p->times;
}
