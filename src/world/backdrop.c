/* backdrop.c - what lies behind a shape: six kinds of ground, and discs of clutter. See scene.h. */
#include "world/scene.h"

enum { SIDE = SCENE_SIDE, CLOUD = 9, LATTICE = SIDE / CLOUD + 2, CHECK = 12 };

static inline float uniform(npr_rng *r)
{
    return (float)npr_rng_uniform(r);
}

static float ease(float t)
{
    return t * t * (3 - 2 * t);
}

/* Random values on a lattice of nine pixels, smoothly joined. */
static void clouds(npr_rng *r, float *f)
{
    float at[LATTICE][LATTICE];
    for (int i = 0; i < LATTICE; i++)
        for (int j = 0; j < LATTICE; j++) at[i][j] = uniform(r);
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            int i = y / CLOUD, j = x / CLOUD;
            float v = ease((float)(y % CLOUD) / CLOUD), u = ease((float)(x % CLOUD) / CLOUD);
            float top = at[i][j] * (1 - u) + at[i][j + 1] * u,
                  bottom = at[i + 1][j] * (1 - u) + at[i + 1][j + 1] * u;
            f[y * SIDE + x] = top * (1 - v) + bottom * v;
        }
}

/* How much of the second colour each pixel has. */
static void mix(const scene *s, npr_rng *r, float *f)
{
    float edge = SIDE * (0.4f + 0.6f * uniform(r));
    if (s->backdrop == 2) {
        clouds(r, f);
        return;
    }
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++, f++) switch (s->backdrop) {
            case 1:
                *f = (float)y / SIDE;
                break; /* gradient */
            case 3:
                *f = (float)x + 0.5f * (float)y > edge;
                break; /* two halves */
            case 4:
                *f = 0.6f * uniform(r);
                break; /* grain */
            case 5:
                *f = (float)((x / CHECK + y / CHECK) % 2);
                break; /* tiles */
            default:
                *f = 0; /* flat */
            }
}

static void add_disc(npr_rng *r, float *im)
{
    float x0 = uniform(r) * SIDE, y0 = uniform(r) * SIDE, radius = 1.5f + uniform(r) * SIDE * 0.07f;
    float rgb[3];
    for (int k = 0; k < 3; k++) rgb[k] = uniform(r);
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            float dx = (float)x - x0, dy = (float)y - y0;
            if (dx * dx + dy * dy >= radius * radius) continue;
            for (int k = 0; k < 3; k++) im[(y * SIDE + x) * 3 + k] = rgb[k];
        }
}

void backdrop_paint(const scene *s, npr_rng *r, float *im)
{
    float f[SIDE * SIDE];
    mix(s, r, f);
    for (int i = 0; i < SIDE * SIDE; i++)
        for (int k = 0; k < 3; k++) im[i * 3 + k] = s->back[0].rgb[k] * (1 - f[i]) + s->back[1].rgb[k] * f[i];
    for (int i = 0; i < s->clutter; i++) add_disc(r, im);
}
