/* textures.c - where a texture has its second tone. See scene.h. As in shapes.c, the loops have no branches.
 */
#include "world/scene.h"

#include <math.h>

enum { SHIFT = 64 }; /* makes every coordinate positive, so that cutting off is rounding down */

static inline float fraction(float v)
{
    return v - (float)(int32_t)v;
}

/* Where a tone begins and ends in its period. */
static inline int lower_half(float v)
{
    return fraction(v + SHIFT) < 0.5f;
}

static void stripes(float f, float phase, const float *x, int n, int32_t *in)
{
    for (int i = 0; i < n; i++) in[i] += in[i] & lower_half(x[i] * f + phase);
}

static void dots(float f, float phase, const float *x, const float *y, int n, int32_t *in)
{
    for (int i = 0; i < n; i++) {
        float u = fraction(x[i] * f + phase + SHIFT) - 0.5f, v = fraction(y[i] * f + phase + SHIFT) - 0.5f;
        in[i] += in[i] & (u * u + v * v < 0.1f);
    }
}

static void checks(float f, float phase, const float *x, const float *y, int n, int32_t *in)
{
    for (int i = 0; i < n; i++) {
        int32_t u = (int32_t)(x[i] * f + phase + SHIFT), v = (int32_t)(y[i] * f + phase + SHIFT);
        in[i] += in[i] & (u + v);
    }
}

static void rings(float f, float phase, const float *x, const float *y, int n, int32_t *in)
{
    for (int i = 0; i < n; i++) in[i] += in[i] & lower_half(sqrtf(x[i] * x[i] + y[i] * y[i]) * f + phase);
}

static void zigzag(float f, float phase, const float *x, const float *y, int n, int32_t *in)
{
    for (int i = 0; i < n; i++) {
        float z = fabsf(fraction(y[i] * f + SHIFT) - 0.5f) * 2;
        in[i] += in[i] & lower_half(x[i] * f + phase + z * 0.8f);
    }
}

static void crosshatch(float f, float phase, const float *x, const float *y, int n, int32_t *in)
{
    for (int i = 0; i < n; i++) {
        float u = fraction(x[i] * f + phase + SHIFT), v = fraction(y[i] * f + phase + SHIFT);
        in[i] += in[i] & ((u < 0.27f) | (v < 0.27f));
    }
}

static void specks_of(const uint8_t *specks, const float *x, const float *y, int n, int32_t *in)
{
    for (int i = 0; i < n; i++) {
        int32_t u = (int32_t)(x[i] / 1.6f + SHIFT) % SPECKS, v = (int32_t)(y[i] / 1.6f + SHIFT) % SPECKS;
        in[i] += in[i] & (specks[v * SPECKS + u] < 92); /* 36 % of 256 */
    }
}

/* In the order of the words in painted_text.c; 0 is plain. */
void texture_fill(const scene *s, const uint8_t *specks, const float *x, const float *y, int n, int32_t *in)
{
    float f = 1 / s->period;
    switch (s->texture) {
    case 1:
        stripes(f, s->phase, x, n, in);
        break;
    case 2:
        dots(f, s->phase, x, y, n, in);
        break;
    case 3:
        checks(f * 1.4f, s->phase, x, y, n, in);
        break;
    case 4:
        rings(f, s->phase, x, y, n, in);
        break;
    case 5:
        zigzag(f, s->phase, x, y, n, in);
        break;
    case 6:
        crosshatch(f, s->phase, x, y, n, in);
        break;
    case 7:
        specks_of(specks, x, y, n, in);
        break;
    default:
        break;
    }
}
