/* Drawing: angles, textures, styles, and how fast it is. */
#include "test.h"

#include <time.h>

#include "world/scene.h"

static void angles(void)
{
    for (double a = -3.99; a < 4; a += 0.01) {
        float turn[2];
        angle_turn(a, turn);
        CHECK_NEAR(turn[0], cos(a), 1e-6);
        CHECK_NEAR(turn[1], sin(a), 1e-6);
    }
}

/* The second tone's share of a texture, over all phases: what its rule says. */
static void textures(void)
{
    static const double share[SCENE_TEXTURES] = {0, 0.5, 0.314, 0.5, 0.5, 0.5, 0.467, 0.36};
    npr_rng r = npr_rng_make(3, 1);
    uint8_t specks[SPECKS * SPECKS];
    for (int i = 0; i < SPECKS * SPECKS; i++) specks[i] = (uint8_t)npr_rng_below(&r, 256);
    for (int t = 0; t < SCENE_TEXTURES; t++) {
        double second = 0, all = 0;
        for (int i = 0; i < 4000; i++) {
            scene s = {.texture = t,
                       .period = 4.5f + 3 * (float)npr_rng_uniform(&r),
                       .phase = (float)npr_rng_uniform(&r)};
            float x[8], y[8];
            int32_t in[8];
            for (int j = 0; j < 8; j++) {
                x[j] = (float)(60 * npr_rng_uniform(&r) - 30);
                y[j] = (float)(60 * npr_rng_uniform(&r) - 30);
                in[j] = j % 2;
            }
            texture_fill(&s, specks, x, y, 8, in);
            for (int j = 0; j < 8; j++) {
                CHECK(in[j] == 0 ? j % 2 == 0 : j % 2 && in[j] <= 2);
                second += in[j] == 2;
                all += j % 2;
            }
        }
        CHECK_NEAR(second / all, share[t], 0.02);
    }
}

typedef struct look {
    double mean[3], middle[3]; /* of all pixels, of the middle ones */
} look;

/* The average of many pictures: a plain emerald square, without noise or clutter, right in the middle. */
static look look_at(npr_style style)
{
    enum { PICTURES = 200, LOW = 22, HIGH = 26 };
    look l = {{0}, {0}};
    for (int i = 0; i < PICTURES; i++) {
        npr_rng r = npr_rng_make(4, (uint64_t)i);
        scene s;
        uint8_t rgb[NPR_PICTURE_BYTES];
        scene_draw(&r, 3, 0, 4, style, &s);
        s.x = s.y = SCENE_SIDE / 2.0f;
        s.noise = 0;
        scene_paint(&s, rgb);
        for (int p = 0; p < NPR_PICTURE_BYTES; p++) {
            int x = p / 3 % SCENE_SIDE, y = p / 3 / SCENE_SIDE;
            l.mean[p % 3] += rgb[p] / 255.0 / (SCENE_SIDE * SCENE_SIDE) / PICTURES;
            if (x >= LOW && x < HIGH && y >= LOW && y < HIGH)
                l.middle[p % 3] += rgb[p] / 255.0 / ((HIGH - LOW) * (HIGH - LOW)) / PICTURES;
        }
    }
    return l;
}

static void styles(void)
{
    look normal = look_at(NPR_STYLE_NORMAL), sketch = look_at(NPR_STYLE_SKETCH),
         dusk = look_at(NPR_STYLE_DUSK), smear = look_at(NPR_STYLE_SMEAR);
    /* emerald is hue 140, saturation 0.8, value 0.62 */
    CHECK_NEAR(normal.middle[0], 0.62 * 0.2, 0.03);
    CHECK_NEAR(normal.middle[1], 0.62, 0.03);
    CHECK_NEAR(normal.middle[2], 0.62 * (1 - 0.8 * 2 / 3), 0.04);
    for (int k = 0; k < 3; k++) {
        CHECK_NEAR(sketch.middle[k], 0.94, 0.02); /* paper: a plain shape has outlines only */
        CHECK(sketch.mean[k] > 0.8 && sketch.mean[k] < 0.935);
        CHECK_NEAR(smear.mean[k], normal.mean[k], 0.05);
    }
    CHECK_NEAR(dusk.middle[0], 0.45 * normal.middle[0] + 0.03, 0.01);
    CHECK_NEAR(dusk.middle[1], 0.5 * normal.middle[1] + 0.04, 0.01);
    CHECK_NEAR(dusk.middle[2], 0.6 * normal.middle[2] + 0.16, 0.01);
    CHECK(smear.middle[1] < normal.middle[1] - 0.02); /* bars */
}

/* Noise has the deviation asked for. */
static void noise(void)
{
    npr_rng r = npr_rng_make(5, 1);
    scene s;
    uint8_t with[NPR_PICTURE_BYTES], without[NPR_PICTURE_BYTES];
    scene_draw(&r, 0, 0, 0, NPR_STYLE_NORMAL, &s);
    s.back[0] = s.back[1] = s.tone[0] = (colour){{0.5f, 0.5f, 0.5f}};
    s.clutter = 0;
    s.noise = 0;
    scene_paint(&s, without);
    s.noise = 0.05f;
    scene_paint(&s, with);
    double square = 0;
    for (int i = 0; i < NPR_PICTURE_BYTES; i++) {
        CHECK(without[i] == 128);
        square += (with[i] - 127.5) * (with[i] - 127.5) / NPR_PICTURE_BYTES;
    }
    CHECK_NEAR(sqrt(square), 0.05 * 255, 0.4);
}

static void speed(void)
{
    enum { PICTURES = 2000 };
    uint8_t rgb[NPR_PICTURE_BYTES];
    scene s;
    clock_t start = clock();
    for (int i = 0; i < PICTURES; i++) {
        npr_rng r = npr_rng_make(6, (uint64_t)i);
        scene_draw(&r, i % SCENE_SHAPES, i % SCENE_TEXTURES, i % SCENE_COLOURS,
                   (npr_style)(i / 16 % NPR_STYLES), &s);
        scene_paint(&s, rgb);
    }
    fprintf(stderr, "%.3f ms a picture\n", 1e3 * (double)(clock() - start) / CLOCKS_PER_SEC / PICTURES);
}

int main(void)
{
    angles();
    textures();
    styles();
    noise();
    speed();
    return TEST_END();
}
