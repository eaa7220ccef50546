/* scene.h - one picture of the painted world: what it shows, and how it is drawn. Everything is + - * / and
 * square roots of float or double in a fixed order, so that the pixels are the same bits on all machines.
 * Local. */
#ifndef NPR_WORLD_SCENE_H
#define NPR_WORLD_SCENE_H

#include <stdint.h>

#include "base/rng.h"
#include "npr/minilaion.h"

enum {
    SCENE_SIDE = NPR_PICTURE_SIDE,
    SCENE_FINE = 3 * SCENE_SIDE, /* samples per side: 3 x 3 for each pixel */
    SCENE_CLUTTER = 6,           /* discs at most */
    SCENE_SHAPES = 16,
    SCENE_TEXTURES = 8,
    SCENE_COLOURS = 12,
    SCENE_BACKDROPS = 6
};

typedef struct colour {
    float rgb[3]; /* 0 to 1 */
} colour;

typedef struct scene {
    int shape, texture; /* shape -1: nothing but clutter */
    npr_style style;
    colour tone[2];        /* of the shape: its colour, and the texture's lighter or darker one */
    float x, y, radius;    /* of the shape, in pixels */
    float turn[2];         /* cosine and sine of its rotation */
    float weave[2];        /* and of the texture's */
    float period, phase;   /* of the texture: pixels, 0 to 1 */
    int backdrop, clutter; /* kind; number of discs */
    colour back[2];
    float noise;  /* standard deviation of a pixel */
    npr_rng rest; /* what is left to draw: clutter, specks, bars, noise */
} scene;

/* A picture of this shape, texture and colour: place, size, rotation, shades and the rest are drawn from r.
 */
void scene_draw(npr_rng *r, int shape, int texture, int colour, npr_style style, scene *s);

/* Draw it, rgb [side][side][3]. */
void scene_paint(const scene *s, uint8_t *rgb);

/* in[i] = 1 where the point (x[i], y[i]) is inside the shape, else 0; the shape's radius is 1, y points down.
 */
void shape_fill(int shape, const float *x, const float *y, int n, int32_t *in);

/* in[i] = 2 where it is 1 and the texture has its second tone at (x[i], y[i]), pixels from the shape's
 * middle. specks: [64][64] random bytes, read by the texture that is made of them. */
enum { SPECKS = 64 };
void texture_fill(const scene *s, const uint8_t *specks, const float *x, const float *y, int n, int32_t *in);

/* Fill im [side][side][3] with what lies behind the shape. */
void backdrop_paint(const scene *s, npr_rng *r, float *im);

/* Cosine and sine of an angle between -4 and 4. */
void angle_turn(double angle, float turn[2]);

#endif
