/* Kernels against the same operations in double; the accuracy the header states; edges of every length. */
#include "test.h"

#include "clip/kernel.h"

static double gelu(double x)
{
    return 0.5 * x * erfc(-x / sqrt(2));
}

static double quick_gelu(double x)
{
    return x / (1 + exp(-1.702 * x));
}

/* Largest |error| / |x| of an activation, over floats of all magnitudes; in pieces of odd lengths. */
static double worst_of(void (*kernel)(size_t, float *), double (*exact)(double))
{
    enum { N = 1 << 16 };
    static float in[N], out[N];
    double worst = 0;
    for (int round = 0; round < 24; round++) {
        double scale = ldexp(1, round - 16);
        for (int i = 0; i < N; i++) in[i] = out[i] = (float)(scale * ((double)(2 * i + 1) / N - 1));
        for (size_t i = 0, n = 1; i < N; i += n, n = n % 37 + 1) kernel(N - i < n ? N - i : n, out + i);
        for (int i = 0; i < N; i++)
            worst = fmax(worst, fabs((double)out[i] - exact((double)in[i])) / fabs((double)in[i]));
    }
    return worst;
}

static void activations(void)
{
    double g = worst_of(npr_kernel_gelu, gelu), q = worst_of(npr_kernel_quick_gelu, quick_gelu);
    fprintf(stderr, "GELU within %.3g |x|, QuickGELU within %.3g |x|\n", g, q);
    CHECK(g < 0x1p-22 && g > 0);
    CHECK(q < 0x1p-22 && q > 0);
    float special[] = {0.0f, -0.0f, 1e30f, -1e30f, INFINITY, NAN, -100.0f, 1e-40f};
    float copy[8];
    memcpy(copy, special, sizeof copy);
    npr_kernel_gelu(8, copy);
    CHECK(copy[0] == 0 && copy[1] == 0 && copy[2] == 1e30f && fabsf(copy[3]) < 1e-5f && copy[4] == INFINITY);
    CHECK(isnan(copy[5]) && fabsf(copy[6]) < 1e-30f && copy[7] >= 0 && copy[7] < 1e-40f);
    memcpy(copy, special, sizeof copy);
    npr_kernel_quick_gelu(8, copy);
    CHECK(copy[0] == 0 && copy[2] == 1e30f && fabsf(copy[3]) < 1e-5f && copy[4] == INFINITY &&
          isnan(copy[5]));
}

static void norms(void)
{
    enum { MOST = 97, ROWS = 3 };
    float x[ROWS * MOST], y[ROWS * MOST], gain[MOST], shift[MOST];
    for (int width = 1; width <= MOST; width++) {
        for (int i = 0; i < ROWS * width; i++) x[i] = (float)sin(i * 1.7 + width) * 5 + 40;
        for (int i = 0; i < width; i++) {
            gain[i] = (float)cos(i) + 1.5f;
            shift[i] = (float)sin(3 * i);
        }
        npr_kernel_norm(ROWS, width, x, gain, shift, y);
        for (int r = 0; r < ROWS; r++) {
            double mean = 0, variance = 0;
            for (int i = 0; i < width; i++) mean += (double)x[r * width + i] / width;
            for (int i = 0; i < width; i++) variance += pow((double)x[r * width + i] - mean, 2) / width;
            for (int i = 0; i < width; i++)
                CHECK_NEAR((double)y[r * width + i],
                           ((double)x[r * width + i] - mean) / sqrt(variance + 1e-5) * (double)gain[i] +
                               (double)shift[i],
                           width > 1 ? 2e-5 : 1e-6);
        }
        npr_kernel_norm(ROWS, width, x, gain, shift, x); /* in place */
        CHECK(!memcmp(x, y, (size_t)(ROWS * width) * sizeof *x));
    }
}

static void softmaxes(void)
{
    enum { MOST = 70, ROWS = 4 };
    float s[ROWS * MOST], was[ROWS * MOST], scale[ROWS];
    for (int n = 1; n <= MOST; n++)
        for (int first = -1; first < 3; first++) {
            for (int i = 0; i < ROWS * n; i++)
                was[i] = s[i] = (float)sin(i * 2.3 + n) * 30 - (i % 5 ? 0 : 200);
            npr_kernel_softmax(ROWS, n, n, first, s, scale);
            for (int r = 0; r < ROWS; r++) {
                int m = first < 0 || first + r + 1 > n ? n : first + r + 1;
                double sum = 0;
                float most = -INFINITY;
                for (int j = 0; j < m; j++) most = fmaxf(most, was[r * n + j]);
                for (int j = 0; j < m; j++) sum += exp((double)(was[r * n + j] - most));
                for (int j = 0; j < n; j++) {
                    double want = j < m ? exp((double)(was[r * n + j] - most)) : 0;
                    CHECK_NEAR((double)s[r * n + j], want, 3e-7 * want + 2e-38);
                }
                CHECK_NEAR((double)scale[r] * sum, 1, 1e-6);
            }
        }
    float x[] = {1, 2, 9, 3, 4, 9}, by[] = {2, 10};
    npr_kernel_scale(2, 2, 3, by, x);
    CHECK(x[0] == 2 && x[1] == 4 && x[2] == 9 && x[3] == 30 && x[4] == 40 && x[5] == 9);
}

int main(void)
{
    activations();
    norms();
    softmaxes();
    return TEST_END();
}
