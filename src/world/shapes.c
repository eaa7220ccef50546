/* shapes.c - which points lie inside a shape. See scene.h. The loops are written so that compilers turn them
 * into vector code: no branches, one test of the whole row. */
#include "world/scene.h"

#include <math.h>

/* Points on the inner side of `needed` or more of n lines, whose distance from the middle is d. */
static void fill_lines(const float (*normal)[2], int lines, int needed, float d, const float *x,
                       const float *y, int n, int32_t *in)
{
    for (int i = 0; i < n; i++) in[i] = 0;
    for (int k = 0; k < lines; k++) {
        float a = normal[k][0], b = normal[k][1];
        for (int i = 0; i < n; i++) in[i] += a * x[i] + b * y[i] < d;
    }
    for (int i = 0; i < n; i++) in[i] = in[i] >= needed;
}

static void fill_ring(float outer, float inner, const float *x, const float *y, int n, int32_t *in)
{
    for (int i = 0; i < n; i++) {
        float rr = x[i] * x[i] + y[i] * y[i];
        in[i] = (rr < outer * outer) & (rr >= inner * inner);
    }
}

/* Ellipse |x| < a, |y| < b around (x0, y0), added to what is there. */
static void add_oval(float x0, float y0, float a, float b, const float *x, const float *y, int n, int32_t *in)
{
    for (int i = 0; i < n; i++) {
        float u = (x[i] - x0) / a, v = (y[i] - y0) / b;
        in[i] |= u * u + v * v < 1;
    }
}

/* A bar of half length a and half width b along the direction (c, s), added to what is there. */
static void add_bar(float c, float s, float a, float b, const float *x, const float *y, int n, int32_t *in)
{
    for (int i = 0; i < n; i++) {
        float u = c * x[i] + s * y[i], v = c * y[i] - s * x[i];
        in[i] |= (fabsf(u) < a) & (fabsf(v) < b);
    }
}

static void fill_none(int n, int32_t *in)
{
    for (int i = 0; i < n; i++) in[i] = 0;
}

static void fill_triangle(const float *x, const float *y, int n, int32_t *in)
{
    static const float normal[3][2] = {{0, 1}, {0.8660254f, -0.5f}, {-0.8660254f, -0.5f}};
    fill_lines(normal, 3, 3, 0.525f, x, y, n, in);
}

static void fill_pentagon(const float *x, const float *y, int n, int32_t *in)
{
    static const float normal[5][2] = {{0.58778525f, -0.80901699f},
                                       {-0.58778525f, -0.80901699f},
                                       {0.95105652f, 0.30901699f},
                                       {-0.95105652f, 0.30901699f},
                                       {0, 1}};
    fill_lines(normal, 5, 5, 0.77f, x, y, n, in);
}

static void fill_hexagon(const float *x, const float *y, int n, int32_t *in)
{
    static const float normal[6][2] = {{1, 0},  {0.5f, 0.8660254f},   {-0.5f, 0.8660254f},
                                       {-1, 0}, {-0.5f, -0.8660254f}, {0.5f, -0.8660254f}};
    fill_lines(normal, 6, 6, 0.82f, x, y, n, in);
}

/* The five lines of a pentagram: inside its body a point is on the inner side of all, in a tip of four. */
static void fill_star(const float *x, const float *y, int n, int32_t *in)
{
    static const float normal[5][2] = {{0, -1},
                                       {0.95105652f, -0.30901699f},
                                       {-0.95105652f, -0.30901699f},
                                       {0.58778525f, 0.80901699f},
                                       {-0.58778525f, 0.80901699f}};
    fill_lines(normal, 5, 4, 0.33f, x, y, n, in);
}

static void fill_cross(const float *x, const float *y, int n, int32_t *in)
{
    fill_none(n, in);
    add_bar(1, 0, 0.95f, 0.3f, x, y, n, in);
    add_bar(0, 1, 0.95f, 0.3f, x, y, n, in);
}

/* The curve (x^2 + y^2 - 1)^3 = x^2 y^3. */
static void fill_heart(const float *x, const float *y, int n, int32_t *in)
{
    for (int i = 0; i < n; i++) {
        float u = x[i] * 1.15f, v = 0.1f - y[i] * 1.15f, q = u * u + v * v - 1;
        in[i] = q * q * q < u * u * v * v * v;
    }
}

static void fill_crescent(const float *x, const float *y, int n, int32_t *in)
{
    for (int i = 0; i < n; i++) {
        float u = x[i] - 0.42f, rr = x[i] * x[i] + y[i] * y[i];
        in[i] = (rr < 0.9f) & (u * u + y[i] * y[i] > 0.46f);
    }
}

static void fill_arrow(const float *x, const float *y, int n, int32_t *in)
{
    for (int i = 0; i < n; i++) {
        int shaft = (x[i] < 0.1f) & (x[i] > -0.95f) & (fabsf(y[i]) < 0.26f);
        int head = (x[i] >= 0.1f) & (fabsf(y[i]) < (0.95f - x[i]) * 0.85f);
        in[i] = shaft | head;
    }
}

static void fill_flower(const float *x, const float *y, int n, int32_t *in)
{
    static const float petal[6][2] = {{0.6f, 0},  {0.3f, 0.52f},   {-0.3f, 0.52f},
                                      {-0.6f, 0}, {-0.3f, -0.52f}, {0.3f, -0.52f}};
    fill_none(n, in);
    add_oval(0, 0, 0.42f, 0.42f, x, y, n, in);
    for (int k = 0; k < 6; k++) add_oval(petal[k][0], petal[k][1], 0.3f, 0.3f, x, y, n, in);
}

static void fill_gear(const float *x, const float *y, int n, int32_t *in)
{
    fill_none(n, in);
    add_oval(0, 0, 0.72f, 0.72f, x, y, n, in);
    add_bar(1, 0, 0.96f, 0.15f, x, y, n, in);
    add_bar(0, 1, 0.96f, 0.15f, x, y, n, in);
    add_bar(0.70710678f, 0.70710678f, 0.96f, 0.15f, x, y, n, in);
    add_bar(0.70710678f, -0.70710678f, 0.96f, 0.15f, x, y, n, in);
    for (int i = 0; i < n; i++) in[i] &= x[i] * x[i] + y[i] * y[i] > 0.1f;
}

static void fill_hourglass(const float *x, const float *y, int n, int32_t *in)
{
    for (int i = 0; i < n; i++) in[i] = (fabsf(x[i]) < fabsf(y[i]) * 0.95f + 0.06f) & (fabsf(y[i]) < 0.9f);
}

static void fill_diamond(const float *x, const float *y, int n, int32_t *in)
{
    for (int i = 0; i < n; i++) in[i] = fabsf(x[i]) / 0.6f + fabsf(y[i]) < 1.05f;
}

/* In the order of the words in painted_text.c. */
void shape_fill(int shape, const float *x, const float *y, int n, int32_t *in)
{
    switch (shape) {
    case 0:
        fill_ring(0.85f, 0, x, y, n, in);
        break;
    case 1:
        fill_ring(0.95f, 0.52f, x, y, n, in);
        break;
    case 2:
        fill_triangle(x, y, n, in);
        break;
    case 3:
        fill_none(n, in), add_bar(1, 0, 0.75f, 0.75f, x, y, n, in);
        break;
    case 4:
        fill_pentagon(x, y, n, in);
        break;
    case 5:
        fill_hexagon(x, y, n, in);
        break;
    case 6:
        fill_star(x, y, n, in);
        break;
    case 7:
        fill_cross(x, y, n, in);
        break;
    case 8:
        fill_heart(x, y, n, in);
        break;
    case 9:
        fill_crescent(x, y, n, in);
        break;
    case 10:
        fill_arrow(x, y, n, in);
        break;
    case 11:
        fill_none(n, in), add_oval(0, 0, 0.97f, 0.54f, x, y, n, in);
        break;
    case 12:
        fill_flower(x, y, n, in);
        break;
    case 13:
        fill_gear(x, y, n, in);
        break;
    case 14:
        fill_hourglass(x, y, n, in);
        break;
    case 15:
        fill_diamond(x, y, n, in);
        break;
    default:
        fill_none(n, in);
    }
}
