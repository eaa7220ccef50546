/* test_preprocess.c - the kernels against each other bit for bit, and against sums in double; what is
 * constant stays so; shapes at the limits. preprocess_pillow.py compares with Pillow and torch: it calls this
 * program as
 *
 *   test_clip_preprocess dump < LINES > BYTES
 *
 * a line "SIZE PATH" gives the fault as an int32, then rgb [size][size][3] and chw [3][size][size] if it is
 * 0. */
#include "npr/image.h"

#include "base/rng.h"
#include "clip/resample.h"
#include "test.h"

#include <time.h>

static const float MEAN[3] = {0.48145466f, 0.4578275f, 0.40821073f};
static const float STD[3] = {0.26862954f, 0.26130258f, 0.27577711f};

/* ---- the resamplers ---- */

static uint8_t *noise(npr_rng *r, size_t n, int kind)
{
    uint8_t *p = malloc(n);
    for (size_t i = 0; i < n; i++)
        p[i] = kind == 0   ? (uint8_t)npr_rng_next(r)
               : kind == 1 ? 255
                           : (uint8_t)(npr_rng_next(r) & 1 ? 255 : 0);
    return p;
}

static double cubic(double x)
{
    x = fabs(x);
    return x < 1 ? 1.5 * x * x * x - 2.5 * x * x + 1 : x < 2 ? -0.5 * x * x * x + 2.5 * x * x - 4 * x + 2 : 0;
}

/* Output i of `out` from `in` values that are `step` bytes apart, in double. */
static double plain(const uint8_t *p, size_t step, int in, int out, int i)
{
    double ratio = (double)in / out, scale = ratio > 1 ? ratio : 1, centre = (i + 0.5) * ratio, sum = 0,
           all = 0;
    for (int j = 0; j < in; j++) {
        if (j + 0.5 < centre - 2 * scale || j + 0.5 > centre + 2 * scale) continue;
        double w = cubic((j + 0.5 - centre) / scale);
        sum += w * p[(size_t)j * step];
        all += w;
    }
    sum /= all;
    return sum < 0 ? 0 : sum > 255 ? 255 : sum;
}

/* One geometry through all kernels: rows of `in` pixels across, or columns of `in` rows down. */
static void check_pass(npr_rng *r, int in, int out, int first, int count, int channels, int other, int kind)
{
    npr_taps t = {0};
    CHECK_OK(npr_taps_make(&t, in, out, first, count));
    size_t row = (size_t)(in * channels), made = (size_t)(count * channels),
           line = (size_t)(other * channels);
    /* memory of exactly the size of the pixels, so that a sanitizer sees any step beyond */
    uint8_t *pixels = noise(r, row * (size_t)other, kind);
    uint8_t *want = malloc(made * (size_t)other), *got = malloc(made * (size_t)other);
    const npr_resampler *k = NULL, *last = NULL;
    for (int i = 0; (k = npr_resampler_at(i)); i++) last = k;
    CHECK_TEXT(last->name, "portable");
    int wrong = 0, far = 0;
    npr_raster across = {pixels, row, row * (size_t)other, other, channels};
    last->horizontal(&t, &across, want, made);
    for (int i = 0; (k = npr_resampler_at(i)); i++) {
        memset(got, 77, made * (size_t)other);
        k->horizontal(&t, &across, got, made);
        wrong += memcmp(got, want, made * (size_t)other) != 0;
    }
    for (int y = 0; y < other; y++)
        for (int x = 0; x < count; x++) {
            double d = plain(pixels + (size_t)y * row, (size_t)channels, in, out, first + x);
            far += fabs(d - want[(size_t)y * made + (size_t)(x * channels)]) > 0.501;
        }
    int row0 = t.begin[0];
    npr_raster down = {pixels + (size_t)row0 * line, line, 0, in - row0, channels};
    last->vertical(&t, &down, row0, (int)line, want, line);
    for (int i = 0; (k = npr_resampler_at(i)); i++) {
        memset(got, 77, made * (size_t)other);
        k->vertical(&t, &down, row0, (int)line, got, line);
        wrong += memcmp(got, want, made * (size_t)other) != 0;
    }
    for (int y = 0; y < count; y++)
        far += fabs(plain(pixels + line - 1, line, in, out, first + y) - want[(size_t)(y + 1) * line - 1]) >
               0.501;
    if (wrong || far)
        fprintf(stderr, "%d -> %d from %d, %d channels x %d\n", in, out, first, channels, other);
    CHECK_INT(wrong, 0);
    CHECK_INT(far, 0);
    npr_taps_free(&t);
    free(pixels);
    free(want);
    free(got);
}

static void kernels(void)
{
    static const int channels[] = {1, 3, 4};
    npr_rng r = npr_rng_make(5, 1);
    for (int i = 0; i < 400; i++) {
        int in = 1 + (int)npr_rng_below(&r, i % 3 ? 60 : 700),
            out = 1 + (int)npr_rng_below(&r, i % 5 ? 60 : 400);
        int count = 1 + (int)npr_rng_below(&r, out), first = (int)npr_rng_below(&r, out - count + 1);
        check_pass(&r, in, out, first, count, channels[i % 3], 1 + (int)npr_rng_below(&r, 23), i / 3 % 3);
    }
    check_pass(&r, 1, 300, 38, 224, 3, 9, 0);
    check_pass(&r, 9000, 1, 0, 1, 3, 9, 0);
    check_pass(&r, 9000, 1, 0, 1, 1, 9, 1);
}

/* ---- crops ---- */

static npr_pixels one_colour(int width, int height, int channels, const uint8_t *value)
{
    npr_pixels p = {width, height, channels, malloc((size_t)width * (size_t)height * (size_t)channels), 0};
    p.cap = (size_t)width * (size_t)height * (size_t)channels;
    for (size_t i = 0; i < p.cap; i++) p.data[i] = value[i % (size_t)channels];
    return p;
}

static void crops(void)
{
    static const int shapes[][2] = {{1, 1},     {1, 65500}, {65500, 1}, {2, 3},
                                    {224, 224}, {224, 225}, {225, 224}, {500, 375}};
    static const int sizes[] = {1, 48, 224};
    static const uint8_t colour[4] = {10, 200, 77, 100}, rgb_of_cmyk[3] = {149, 33, 108};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        npr_preprocess *p = NULL;
        int n = sizes[s] * sizes[s];
        uint8_t *rgb = malloc((size_t)n * 3);
        float *chw = malloc((size_t)n * 3 * sizeof *chw);
        CHECK_OK(npr_preprocess_make(sizes[s], MEAN, STD, &p));
        for (size_t k = 0; k < 3 * sizeof shapes / sizeof *shapes; k++) {
            int channels = k % 3 == 0 ? 1 : k % 3 == 1 ? 3 : 4, wrong = 0;
            npr_pixels image = one_colour(shapes[k / 3][0], shapes[k / 3][1], channels, colour);
            CHECK_OK(npr_preprocess_crop(p, &image, rgb));
            npr_preprocess_normalize(p, rgb, chw);
            for (int i = 0; i < n * 3; i++) {
                int want = channels == 1 ? colour[0] : channels == 3 ? colour[i % 3] : rgb_of_cmyk[i % 3];
                wrong += rgb[i] != want;
                float value = ((float)rgb[i] / 255 - MEAN[i % 3]) / STD[i % 3];
                wrong += memcmp(&value, chw + i % 3 * n + i / 3, sizeof value) != 0;
            }
            CHECK_INT(wrong, 0);
            npr_pixels_free(&image);
        }
        npr_preprocess_free(p);
        free(rgb);
        free(chw);
    }
}

static void refused(void)
{
    npr_preprocess *p = NULL;
    CHECK_FAILS(npr_preprocess_make(0, MEAN, STD, &p), NPR_EUSAGE, "1 to 4096");
    CHECK_FAILS(npr_preprocess_make(4097, MEAN, STD, &p), NPR_EUSAGE, "1 to 4096");
    npr_preprocess_free(NULL);
}

static void out_of_memory(void)
{
    static const uint8_t colour[3] = {1, 2, 3};
    npr_preprocess *p = NULL;
    npr_pixels image = one_colour(9, 7, 3, colour);
    uint8_t rgb[4 * 4 * 3] = {0};
    setenv("NPR_FAULT", "alloc@0:9", 1); /* make, four of each axis: the horizontal pass's rows */
    CHECK_OK(npr_preprocess_make(4, MEAN, STD, &p));
    CHECK_INT(npr_preprocess_crop(p, &image, rgb), NPR_EINTERNAL);
    CHECK_OK(npr_preprocess_crop(p, &image, rgb)); /* nothing half-made stays */
    CHECK(rgb[0] == 1 && rgb[47] == 3);
    npr_preprocess_free(p);
    npr_pixels_free(&image);
}

/* ---- dump ---- */

static char *read_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    if (!f) exit(66);
    char *bytes = malloc(64 << 20);
    *n = fread(bytes, 1, 64 << 20, f);
    fclose(f);
    return bytes;
}

static int dump(void)
{
    char path[4096];
    int size, made = 0;
    npr_jpeg *j = NULL;
    npr_preprocess *p = NULL;
    npr_pixels pixels = {0};
    uint8_t *rgb = malloc(3 * NPR_PREPROCESS_SIZE * NPR_PREPROCESS_SIZE);
    float *chw = malloc(sizeof(float) * 3 * NPR_PREPROCESS_SIZE * NPR_PREPROCESS_SIZE);
    CHECK_OK(npr_jpeg_make(NULL, &j));
    while (scanf("%d %4095s", &size, path) == 2) {
        size_t n, values = (size_t)(3 * size * size);
        char *bytes = read_file(path, &n);
        npr_image_fault fault;
        CHECK_OK(npr_jpeg_decode(j, bytes, n, &pixels, &fault));
        int32_t code = fault;
        fwrite(&code, sizeof code, 1, stdout);
        if (size != made) {
            npr_preprocess_free(p);
            CHECK_OK(npr_preprocess_make(made = size, MEAN, STD, &p));
        }
        if (!fault) {
            CHECK_OK(npr_preprocess_crop(p, &pixels, rgb));
            npr_preprocess_normalize(p, rgb, chw);
            fwrite(rgb, 1, values, stdout);
            fwrite(chw, sizeof *chw, values, stdout);
        }
        free(bytes);
    }
    npr_pixels_free(&pixels);
    npr_preprocess_free(p);
    npr_jpeg_free(j);
    free(rgb);
    free(chw);
    return TEST_END();
}

/* Of each line "SIZE PATH": the seconds of decoding and of each step, as text. preprocess_speed.py asks. */
static int measure(void)
{
    char path[4096];
    int size;
    npr_jpeg *j = NULL;
    npr_pixels pixels = {0};
    CHECK_OK(npr_jpeg_make(NULL, &j));
    npr_preprocess *p = NULL;
    for (int made = 0; scanf("%d %4095s", &size, path) == 2;) {
        size_t n;
        char *bytes = read_file(path, &n);
        if (size != made) {
            npr_preprocess_free(p);
            CHECK_OK(npr_preprocess_make(made = size, MEAN, STD, &p));
        }
        uint8_t *rgb = malloc((size_t)(size * size * 3));
        float *chw = malloc((size_t)(size * size * 3) * sizeof *chw);
        struct timespec a, b;
        npr_image_fault fault;
        npr_preprocess_times t = npr_preprocess_times_of(p), u;
        clock_gettime(CLOCK_MONOTONIC, &a);
        CHECK_OK(npr_jpeg_decode(j, bytes, n, &pixels, &fault));
        clock_gettime(CLOCK_MONOTONIC, &b);
        if (fault) return 65;
        CHECK_OK(npr_preprocess_crop(p, &pixels, rgb));
        npr_preprocess_normalize(p, rgb, chw);
        u = npr_preprocess_times_of(p);
        printf("%.9f %.9f %.9f %.9f %.9f %.9f\n",
               (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec), u.weights - t.weights,
               u.across - t.across, u.down - t.down, u.colour - t.colour, u.normalize - t.normalize);
        fflush(stdout);
        free(bytes);
        free(rgb);
        free(chw);
    }
    npr_pixels_free(&pixels);
    npr_preprocess_free(p);
    npr_jpeg_free(j);
    return TEST_END();
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "dump") == 0) return dump();
    if (argc == 2 && strcmp(argv[1], "measure") == 0) return measure();
    out_of_memory(); /* first: faults are read once */
    kernels();
    crops();
    refused();
    return TEST_END();
}
