/* scene.c - how a picture of the painted world is composed. See scene.h. */
#include "world/scene.h"

#include <math.h>

/* Hue in degrees, saturation and value of the colours, in the order of the words in painted_text.c. */
static const float HSV[SCENE_COLOURS][3] = {{350, 0.90f, 0.80f}, {24, 0.95f, 0.95f},  {47, 0.85f, 0.95f},
                                            {70, 0.75f, 0.52f},  {140, 0.80f, 0.62f}, {178, 0.85f, 0.55f},
                                            {205, 0.70f, 0.95f}, {228, 0.85f, 0.42f}, {268, 0.65f, 0.75f},
                                            {312, 0.75f, 0.85f}, {22, 0.70f, 0.42f},  {210, 0.06f, 0.70f}};

static const double PI = 3.14159265358979323846;

static double between(npr_rng *r, double low, double high)
{
    return low + (high - low) * npr_rng_uniform(r);
}

static double clamp(double v)
{
    return v < 0 ? 0 : v > 1 ? 1 : v;
}

/* Taylor's series around 0 after halving the angle three times; + - * only, good to a float's last bits. */
void angle_turn(double angle, float turn[2])
{
    double a = angle / 8, aa = a * a;
    double c = 1 - aa / 2 * (1 - aa / 12 * (1 - aa / 30 * (1 - aa / 56)));
    double s = a * (1 - aa / 6 * (1 - aa / 20 * (1 - aa / 42 * (1 - aa / 72))));
    for (int i = 0; i < 3; i++) {
        double cc = c * c - s * s;
        s = 2 * s * c;
        c = cc;
    }
    turn[0] = (float)c;
    turn[1] = (float)s;
}

/* Hue in turns, 0 to 1. */
static colour colour_from_hsv(double h, double s, double v)
{
    double six = h * 6;
    int sector = (int)six;
    double f = six - sector, p = v * (1 - s), q = v * (1 - s * f), t = v * (1 - s * (1 - f));
    double rgb[6][3] = {{v, t, p}, {q, v, p}, {p, v, t}, {p, q, v}, {t, p, v}, {v, p, q}};
    const double *c = rgb[sector % 6];
    return (colour){{(float)c[0], (float)c[1], (float)c[2]}};
}

static colour draw_colour(npr_rng *r, int name)
{
    const float *hsv = HSV[name];
    double h = (double)hsv[0] + 4 * npr_rng_normal(r);
    double s = (double)hsv[1] + 0.05 * npr_rng_normal(r), v = (double)hsv[2] + 0.05 * npr_rng_normal(r);
    return colour_from_hsv(h < 0 ? h / 360 + 1 : h >= 360 ? h / 360 - 1 : h / 360, clamp(s), clamp(v));
}

static colour draw_back(npr_rng *r)
{
    double h = npr_rng_uniform(r), s = between(r, 0, 0.45), v = between(r, 0.15, 1);
    return colour_from_hsv(h, s, v);
}

/* w of b in a. */
static colour blend(colour a, colour b, double w)
{
    colour c;
    for (int k = 0; k < 3; k++) c.rgb[k] = (float)((double)a.rgb[k] * (1 - w) + (double)b.rgb[k] * w);
    return c;
}

/* Mostly nearly upright, sometimes any angle. */
static void draw_turn(npr_rng *r, double upright, float turn[2])
{
    double reach = npr_rng_uniform(r) < 0.7 ? upright : PI;
    angle_turn(between(r, -reach, reach), turn);
}

void scene_draw(npr_rng *r, int shape, int texture, int colour_name, npr_style style, scene *s)
{
    static const int few[5] = {0, 0, 1, 2, 3};
    static const colour white = {{1, 1, 1}}, black = {{0, 0, 0}};
    *s = (scene){.shape = shape, .texture = texture, .style = style};
    s->tone[0] = draw_colour(r, colour_name);
    double w = between(r, 0.5, 0.8);
    s->tone[1] = blend(s->tone[0], npr_rng_uniform(r) < 0.7 ? white : black, w);
    s->x = (float)(SCENE_SIDE * between(r, 0.38, 0.62));
    s->y = (float)(SCENE_SIDE * between(r, 0.38, 0.62));
    s->radius = (float)(SCENE_SIDE * between(r, 0.26, 0.44));
    draw_turn(r, 0.45, s->turn);
    draw_turn(r, 0.5, s->weave);
    s->period = (float)between(r, 4.5, 7.5);
    s->phase = (float)npr_rng_uniform(r);
    s->backdrop = (int)npr_rng_below(r, SCENE_BACKDROPS);
    s->back[0] = draw_back(r);
    s->back[1] = blend(s->back[0], draw_back(r), 0.5);
    s->clutter = shape < 0 ? 3 + (int)npr_rng_below(r, 4) : few[npr_rng_below(r, 5)];
    s->noise = (float)fabs(0.03 * npr_rng_normal(r));
    s->rest = *r;
}
