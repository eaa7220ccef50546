/* paint.c - a picture from its scene: shape and texture at nine samples a pixel, background, style, noise.
 * See scene.h. */
#include "world/scene.h"

#include <math.h>
#include <string.h>

enum { SIDE = SCENE_SIDE, FINE = SCENE_FINE, VALUES = SIDE * SIDE * 3 };

/* What each sample shows: 0 background, 1 and 2 the tones of the shape. Two more rows and columns repeat the
 * last ones, for outlines. */
typedef struct samples {
    uint8_t at[FINE + 2][FINE + 2];
} samples;

/* Samples of a row or column that the shape can reach. No shape reaches further than 1.3 radii. */
static void reach(float middle, float radius, int *begin, int *end)
{
    float low = (middle - 1.3f * radius) * 3, high = (middle + 1.3f * radius) * 3 + 1;
    *begin = low < 0 ? 0 : (int)low;
    *end = high > FINE ? FINE : (int)high;
}

/* Random bytes for the texture that is made of them; the others need none. */
static void draw_specks(const scene *s, npr_rng *r, uint8_t specks[SPECKS * SPECKS])
{
    if (s->texture != SCENE_TEXTURES - 1) return;
    for (int i = 0; i < SPECKS * SPECKS; i += 8) {
        uint64_t u = npr_rng_next(r);
        for (int k = 0; k < 8; k++) specks[i + k] = (uint8_t)(u >> 8 * k);
    }
}

/* n samples of a line, from the first that the shape can reach. */
static void sample_line(const scene *s, const uint8_t *specks, int line, int first, int n, uint8_t *out)
{
    float c = s->turn[0] / s->radius, t = s->turn[1] / s->radius, wc = s->weave[0], ws = s->weave[1];
    float x[FINE], y[FINE], a[FINE], b[FINE], dy = ((float)line + 0.5f) / 3 - s->y;
    int32_t in[FINE];
    for (int j = 0; j < n; j++) {
        float dx = ((float)(first + j) + 0.5f) / 3 - s->x;
        x[j] = c * dx + t * dy;
        y[j] = c * dy - t * dx;
        a[j] = wc * dx + ws * dy;
        b[j] = wc * dy - ws * dx;
    }
    shape_fill(s->shape, x, y, n, in);
    texture_fill(s, specks, a, b, n, in);
    for (int j = 0; j < n; j++) out[j] = (uint8_t)in[j];
}

static void take_samples(const scene *s, npr_rng *r, samples *out)
{
    memset(out, 0, sizeof *out);
    if (s->shape < 0) return;
    uint8_t specks[SPECKS * SPECKS];
    draw_specks(s, r, specks);
    int x0, x1, y0, y1;
    reach(s->x, s->radius, &x0, &x1);
    reach(s->y, s->radius, &y0, &y1);
    for (int i = y0; i < y1; i++) sample_line(s, specks, i, x0, x1 - x0, out->at[i] + x0);
    for (int i = 0; i < FINE; i++) out->at[i][FINE] = out->at[i][FINE + 1] = out->at[i][FINE - 1];
    memcpy(out->at[FINE], out->at[FINE - 1], sizeof out->at[0]);
    memcpy(out->at[FINE + 1], out->at[FINE - 1], sizeof out->at[0]);
}

/* The shape over the background in im. */
static void lay_shape(const scene *s, const samples *p, float *im)
{
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++, im += 3) {
            int count[3] = {0, 0, 0};
            for (int i = 0; i < 3; i++)
                for (int j = 0; j < 3; j++) count[p->at[y * 3 + i][x * 3 + j]]++;
            if (count[0] == 9) continue;
            for (int k = 0; k < 3; k++)
                im[k] = ((float)count[0] * im[k] + (float)count[1] * s->tone[0].rgb[k] +
                         (float)count[2] * s->tone[1].rgb[k]) /
                        9;
        }
}

/* Outlines in the shape's colour on white: where a sample differs from that two to the right or below. */
static void lay_outlines(const scene *s, const samples *p, float *im)
{
    const float paper = 0.94f, ink = 0.75f;
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++, im += 3) {
            int edges = 0;
            for (int i = y * 3; i < y * 3 + 3; i++)
                for (int j = x * 3; j < x * 3 + 3; j++)
                    edges += (p->at[i][j] != p->at[i + 2][j]) | (p->at[i][j] != p->at[i][j + 2]);
            for (int k = 0; k < 3; k++)
                im[k] = ((float)edges * ink * s->tone[0].rgb[k] + (float)(9 - edges) * paper) / 9;
        }
}

static void darken(float *im)
{
    static const float keep[3] = {0.45f, 0.5f, 0.6f}, cast[3] = {0.03f, 0.04f, 0.16f};
    for (int i = 0; i < VALUES; i++) im[i] = im[i] * keep[i % 3] + cast[i % 3];
}

/* A grey bar across the picture. */
static void add_bar(const scene *s, npr_rng *r, float *im)
{
    float turn[2];
    angle_turn(3.14159265 * npr_rng_uniform(r), turn);
    float d = ((float)npr_rng_uniform(r) - 0.5f) * SIDE * 0.6f;
    float width = 1.5f + (float)npr_rng_uniform(r) * SIDE * 0.04f,
          grey = 0.2f + 0.6f * (float)npr_rng_uniform(r);
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            float t = ((float)x - s->x) * turn[0] + ((float)y - s->y) * turn[1] - d;
            if (fabsf(t) >= width) continue;
            for (int k = 0; k < 3; k++) im[(y * SIDE + x) * 3 + k] = grey;
        }
}

/* One direction of a blur with weights 0.7, 1, 0.7, fewer at the edges. step: values from a pixel to the
 * next, line: from a line of pixels to the next. */
static void blur_lines(int step, int line, float *im)
{
    for (int l = 0; l < SIDE; l++)
        for (int k = 0; k < 3; k++) {
            float *v = im + l * line + k, before = 0;
            for (int i = 0; i < SIDE; i++) {
                float now = v[i * step], after = i + 1 < SIDE ? v[(i + 1) * step] : 0;
                float weight = 1 + (i > 0 ? 0.7f : 0) + (i + 1 < SIDE ? 0.7f : 0);
                v[i * step] = (0.7f * before + now + 0.7f * after) / weight;
                before = now;
            }
        }
}

static void smear(const scene *s, npr_rng *r, float *im)
{
    add_bar(s, r, im);
    add_bar(s, r, im);
    blur_lines(3, SIDE * 3, im);
    blur_lines(SIDE * 3, 3, im);
}

static void add_noise(float sd, npr_rng *r, const float *im, uint8_t *rgb)
{
    float noise[VALUES];
    npr_rng_normals(r, noise, VALUES);
    for (int i = 0; i < VALUES; i++) {
        float v = (im[i] + sd * noise[i]) * 255 + 0.5f;
        rgb[i] = (uint8_t)(int32_t)(v < 0 ? 0 : v > 255 ? 255 : v);
    }
}

void scene_paint(const scene *s, uint8_t *rgb)
{
    npr_rng r = s->rest;
    samples p;
    float im[VALUES];
    take_samples(s, &r, &p);
    backdrop_paint(s, &r, im);
    if (s->style == NPR_STYLE_SKETCH)
        lay_outlines(s, &p, im);
    else
        lay_shape(s, &p, im);
    if (s->style == NPR_STYLE_DUSK) darken(im);
    if (s->style == NPR_STYLE_SMEAR) smear(s, &r, im);
    add_noise(s->noise, &r, im, rgb);
}
