/* Shapes have the areas and symmetries that geometry gives them. */
#include "test.h"

#include "world/scene.h"

enum { N = 400 };

static double area(int shape)
{
    static float x[N], y[N];
    static int32_t in[N];
    int64_t inside = 0;
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < N; j++) {
            x[j] = (float)((j + 0.5) / N * 3 - 1.5);
            y[j] = (float)((i + 0.5) / N * 3 - 1.5);
        }
        shape_fill(shape, x, y, N, in);
        for (int j = 0; j < N; j++) {
            CHECK(in[j] == 0 || in[j] == 1);
            inside += in[j];
            if (in[j]) CHECK(x[j] * x[j] + y[j] * y[j] < 1.69f); /* what paint.c looks at */
        }
    }
    return (double)inside * 9 / N / N;
}

/* Is the shape its own mirror image, left to right (0) or top to bottom (1)? */
static int is_mirrored(int shape, int axis)
{
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            float x = (float)((j + 0.5) / N * 3 - 1.5), y = (float)((i + 0.5) / N * 3 - 1.5);
            float u[2] = {x, axis ? x : -x}, v[2] = {y, axis ? -y : y};
            int32_t in[2];
            shape_fill(shape, u, v, 2, in);
            if (in[0] != in[1]) return 0;
        }
    return 1;
}

int main(void)
{
    static const double pi = 3.14159265358979323846;
    double star =
        5 * 0.33 * 0.33 / cos(pi / 5) / cos(pi / 5) * sin(pi / 5) * cos(pi / 5); /* inner pentagon */
    star += 5 * 0.33 * tan(pi / 5) * (0.33 * tan(pi / 5) * tan(2 * pi / 5));     /* and the tips */
    static const struct {
        int shape;
        double area;
    } known[] = {{0, 0.85 * 0.85}, {1, 0.95 * 0.95 - 0.52 * 0.52}, {11, 0.97 * 0.54}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        CHECK_NEAR(area(known[i].shape), known[i].area * pi, 0.01);
    CHECK_NEAR(area(2), 3 * sqrt(3) * 0.525 * 0.525, 0.01);
    CHECK_NEAR(area(3), 1.5 * 1.5, 0.02);
    CHECK_NEAR(area(4), 5 * 0.77 * 0.77 * tan(pi / 5), 0.01);
    CHECK_NEAR(area(5), 6 * 0.82 * 0.82 * tan(pi / 6), 0.01);
    CHECK_NEAR(area(6), star, 0.01);
    CHECK_NEAR(area(7), 4 * 0.95 * 0.3 * 2 - 0.6 * 0.6, 0.02);
    CHECK_NEAR(area(15), 2 * 0.6 * 1.05 * 1.05, 0.01);
    double sum = 0;
    for (int s = 0; s < SCENE_SHAPES; s++) {
        double a = area(s);
        CHECK(a > 0.5 && a < 2.8);
        sum += a;
        int upright = s == 9 || s == 10; /* crescent and arrow point to a side */
        CHECK(is_mirrored(s, upright));
        int both = s == 0 || s == 1 || s == 3 || s == 5 || s == 7 || s >= 11;
        CHECK(is_mirrored(s, !upright) == both);
    }
    CHECK(area(-1) == 0 && sum > 16);
    return TEST_END();
}
