/* test_jpeg.c - what is written is read again; every limit; everything that is no JPEG, or a damaged one,
 * ends in its fault; a bomb costs nothing. Pixels are compared with Pillow's by jpeg_pillow.py, which calls
 * this program as
 *
 *   test_io_jpeg dump < LINES > BYTES
 *
 * a line "N PATH" (the first N bytes of the file; -1: all) gives int32 fault, width, height, channels, then
 * the pixels if the fault is 0. */
#include "npr/image.h"

#include <sys/resource.h>

#include "base/rng.h"
#include "test.h"

/* One decode with limits; what became of it. */
static const char *fate(const npr_jpeg_limits *limits, const void *bytes, size_t n, npr_pixels *p)
{
    npr_jpeg *j = NULL;
    npr_image_fault fault = NPR_IMAGE_FAULTS;
    CHECK_OK(npr_jpeg_make(limits, &j));
    CHECK_OK(npr_jpeg_decode(j, bytes, n, p, &fault));
    npr_jpeg_free(j);
    return npr_image_fault_name(fault);
}

/* ---- what is written is read again ---- */

/* A smooth picture: what the codec loses is little. */
static uint8_t *picture(int width, int height)
{
    uint8_t *rgb = malloc((size_t)(width * height * 3));
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < 3; c++)
                rgb[(y * width + x) * 3 + c] = (uint8_t)(127 + 120 * sin(0.05 * x + c) * cos(0.04 * y - c));
    return rgb;
}

static void round_trip(void)
{
    static const int sizes[][2] = {{1, 1}, {7, 9}, {48, 48}, {8, 200}, {333, 16}, {500, 375}, {1, 65500}};
    npr_pixels p = {0};
    uint8_t *bytes = NULL;
    size_t cap = 0, n, n_low;
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        int width = sizes[k][0], height = sizes[k][1];
        uint8_t *rgb = picture(width, height);
        CHECK_OK(npr_jpeg_encode(rgb, width, height, 20, &bytes, &cap, &n_low));
        CHECK_OK(npr_jpeg_encode(rgb, width, height, 95, &bytes, &cap, &n));
        CHECK(n >= n_low && n <= cap);
        CHECK_TEXT(fate(NULL, bytes, n, &p), "ok");
        CHECK(p.width == width && p.height == height && p.channels == 3);
        int worst = 0;
        for (int i = 0; i < width * height * 3; i++)
            worst = abs(p.data[i] - rgb[i]) > worst ? abs(p.data[i] - rgb[i]) : worst;
        CHECK(worst <= 12);
        free(rgb);
    }
    uint8_t pixel[3] = {0};
    CHECK_FAILS(npr_jpeg_encode(pixel, 0, 1, 90, &bytes, &cap, &n), NPR_EUSAGE, "not 0 x 1");
    CHECK_FAILS(npr_jpeg_encode(pixel, 1, 65501, 90, &bytes, &cap, &n), NPR_EUSAGE, "not 1 x 65501");
    free(bytes);
    npr_pixels_free(&p);
}

/* Reduced decoding never goes below the side asked for, and shows the same picture. */
static void fast(void)
{
    static const int want[][2] = {{224, 1}, {501, 1}, {375, 1}, {187, 2}, {188, 1}, {93, 4}, {46, 8}, {1, 8}};
    uint8_t *rgb = picture(500, 375), *bytes = NULL;
    size_t cap = 0, n;
    npr_pixels p = {0};
    CHECK_OK(npr_jpeg_encode(rgb, 500, 375, 95, &bytes, &cap, &n));
    for (size_t k = 0; k < sizeof want / sizeof *want; k++) {
        int by = want[k][1], far = 0;
        npr_jpeg_limits limits = {.fast_to = want[k][0]};
        CHECK_TEXT(fate(&limits, bytes, n, &p), "ok");
        CHECK(p.width == (500 + by - 1) / by && p.height == (375 + by - 1) / by);
        for (int y = 0; y < p.height - 1; y++)
            for (int x = 0; x < p.width - 1; x++)
                far += abs(p.data[(y * p.width + x) * 3] -
                           rgb[((y * by + by / 2) * 500 + x * by + by / 2) * 3]) > 25;
        CHECK_INT(far, 0);
    }
    free(rgb);
    free(bytes);
    npr_pixels_free(&p);
}

/* ---- damage ---- */

static size_t read_file(const char *path, uint8_t *bytes, size_t most)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        exit(1);
    }
    size_t n = fread(bytes, 1, most, f);
    fclose(f);
    return n;
}

static size_t read_seed(const char *name, uint8_t *bytes, size_t most)
{
    char path[4096];
    const char *source = getenv("NPR_SOURCE");
    snprintf(path, sizeof path, "%s/tests/data/fuzz/jpeg/%s.jpg", source ? source : ".", name);
    return read_file(path, bytes, most);
}

/* Where the marker's segment begins. */
static size_t find(const uint8_t *bytes, size_t n, int marker)
{
    size_t i = 2;
    while (i + 4 < n && bytes[i + 1] != marker) i += 2 + (size_t)(bytes[i + 2] << 8 | bytes[i + 3]);
    CHECK(i + 4 < n);
    return i;
}

static void set16(uint8_t *p, int value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

/* A byte of the frame header (0: the marker's own) is changed. */
static void header(const char *seed, size_t at, int value, const char *want)
{
    uint8_t bytes[4096];
    size_t n = read_seed(seed, bytes, sizeof bytes),
           frame = find(bytes, n, strstr(seed, "prog") ? 0xc2 : 0xc0);
    npr_pixels p = {0};
    bytes[frame + 1 + at] = (uint8_t)value;
    const char *got = fate(NULL, bytes, n, &p);
    if (strcmp(got, want) != 0) fprintf(stderr, "%s, byte %zu of the frame header = %d:\n", seed, at, value);
    CHECK_TEXT(got, want);
    npr_pixels_free(&p);
}

static void headers(void)
{
    header("rgb420", 0, 0xc0, "ok");
    header("rgb420", 0, 0xc3, "not_jpeg"); /* lossless */
    header("rgb420", 0, 0xc5, "not_jpeg"); /* differential */
    header("rgb420", 0, 0xc8, "not_jpeg"); /* reserved */
    header("rgb420", 3, 12, "not_jpeg");   /* 12 bits */
    header("rgb420", 3, 0, "not_jpeg");
    header("rgb420", 5, 0, "damaged");     /* 0 rows */
    header("rgb420", 7, 0, "damaged");     /* 0 columns */
    header("rgb420", 8, 2, "damaged");     /* components that do not fit the length */
    header("rgb420", 10, 0x51, "damaged"); /* sampling 5 x 1 */
    header("rgb420", 4, 0xff, "ok");       /* 65,298 rows: the end marker comes early, one warning */
    header("rgb420", 0, 0xd9, "not_jpeg"); /* tables only, and no other image behind */
    header("progressive", 0, 0xc2, "ok");
    header("progressive", 0, 0xc0, "damaged");
}

static void not_jpegs(void)
{
    static const uint8_t png[] = {0x89, 'P', 'N', 'G', '\r', '\n', 26, '\n'}, soi[] = {0xff, 0xd8, 0xff},
                         tables[] = {0xff, 0xd8, 0xff, 0xd9};
    npr_pixels p = {0};
    CHECK_TEXT(fate(NULL, NULL, 0, &p), "not_jpeg");
    CHECK_TEXT(fate(NULL, soi, 2, &p), "not_jpeg");
    CHECK_TEXT(fate(NULL, soi, 3, &p), "truncated");
    CHECK_TEXT(fate(NULL, png, sizeof png, &p), "not_jpeg");
    CHECK_TEXT(fate(NULL, tables, sizeof tables, &p), "truncated");
    npr_pixels_free(&p);
}

/* Two images in turn through one decoder: the second has no tables of its own and must not find the first's.
 */
static void no_memory_of_others(void)
{
    uint8_t a[4096], b[4096];
    size_t na = read_seed("rgb444", a, sizeof a), nb = read_seed("rgb444", b, sizeof b),
           at = find(b, nb, 0xdb);
    size_t cut = 2 + (size_t)(b[at + 2] << 8 | b[at + 3]);
    memmove(b + at, b + at + cut, nb - at - cut);
    nb -= cut;
    npr_jpeg *j = NULL;
    npr_pixels p = {0};
    npr_image_fault fault;
    CHECK_OK(npr_jpeg_make(NULL, &j));
    for (int turn = 0; turn < 3; turn++) {
        CHECK_OK(npr_jpeg_decode(j, a, na, &p, &fault));
        CHECK_TEXT(npr_image_fault_name(fault), "ok");
        CHECK_OK(npr_jpeg_decode(j, b, nb, &p, &fault));
        CHECK_TEXT(npr_image_fault_name(fault), "damaged");
    }
    npr_pixels_free(&p);
    npr_jpeg_free(j);
}

/* ---- limits ---- */

static void pixels_and_scans(void)
{
    uint8_t bytes[4096];
    size_t n = read_seed("progressive", bytes, sizeof bytes); /* 20 x 19, 10 scans */
    npr_pixels p = {0};
    CHECK_TEXT(fate(&(npr_jpeg_limits){.max_pixels = 380}, bytes, n, &p), "ok");
    CHECK_TEXT(fate(&(npr_jpeg_limits){.max_pixels = 379}, bytes, n, &p), "too_large");
    CHECK_TEXT(fate(&(npr_jpeg_limits){.max_scans = 10}, bytes, n, &p), "ok");
    CHECK_TEXT(fate(&(npr_jpeg_limits){.max_scans = 9}, bytes, n, &p), "too_large");
    npr_pixels_free(&p);
}

/* The last scan (a refinement) many times over: each repetition is worth many warnings. */
static void many_scans(void)
{
    enum { TIMES = 3000 };
    uint8_t bytes[4096];
    size_t n = read_seed("progressive_grey", bytes, sizeof bytes), last = n - 2;
    while (!(bytes[last] == 0xff && bytes[last + 1] == 0xda)) last--;
    size_t scan = n - 2 - last, all = n + TIMES * scan;
    uint8_t *many = malloc(all);
    memcpy(many, bytes, n - 2);
    for (size_t i = 0; i < TIMES; i++) memcpy(many + n - 2 + i * scan, bytes + last, scan);
    memcpy(many + all - 2, bytes + n - 2, 2);
    npr_pixels p = {0};
    CHECK_TEXT(fate(NULL, many, all, &p), "damaged");
    CHECK_TEXT(fate(&(npr_jpeg_limits){.max_warnings = 1 << 20}, many, all, &p), "too_large");
    CHECK_TEXT(fate(&(npr_jpeg_limits){.max_scans = 5000, .max_warnings = 1 << 20}, many, all, &p), "ok");
    free(many);
    npr_pixels_free(&p);
}

/* 400 megapixels in 2,857 bytes: refused by the header. */
static void bomb(void)
{
    uint8_t bytes[2857] = {0};
    size_t n = read_seed("progressive", bytes, sizeof bytes), frame = find(bytes, n, 0xc2);
    set16(bytes + frame + 5, 20000);
    set16(bytes + frame + 7, 20000);
    struct rusage before, after;
    npr_pixels p = {0};
    getrusage(RUSAGE_SELF, &before);
    CHECK_TEXT(fate(NULL, bytes, sizeof bytes, &p), "too_large");
    getrusage(RUSAGE_SELF, &after);
    CHECK(after.ru_maxrss - before.ru_maxrss < 1024); /* KiB */
    CHECK((after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000000 + after.ru_utime.tv_usec -
              before.ru_utime.tv_usec <
          100000);
    CHECK(p.cap == 0);
    set16(bytes + frame + 5, 65501); /* below the limit of pixels, above libjpeg's */
    set16(bytes + frame + 7, 1);
    CHECK_TEXT(fate(NULL, bytes, sizeof bytes, &p), "too_large");
    npr_pixels_free(&p);
}

static void out_of_memory(void)
{
    uint8_t bytes[4096], rgb[3 * 64] = {0}, *out = NULL;
    size_t n = read_seed("rgb444", bytes, sizeof bytes), cap = 0, made;
    npr_jpeg *j = NULL;
    npr_pixels p = {0};
    npr_image_fault fault;
    setenv("NPR_FAULT", "alloc@0:2", 1);
    CHECK_OK(npr_jpeg_make(NULL, &j));
    CHECK_FAILS(npr_jpeg_decode(j, bytes, n, &p, &fault), NPR_EINTERNAL, "decoded pixels");
    CHECK_OK(npr_jpeg_decode(j, bytes, n, &p, &fault));
    CHECK_INT(fault, NPR_IMAGE_OK);
    CHECK_OK(npr_jpeg_encode(rgb, 8, 8, 90, &out, &cap, &made));
    free(out);
    npr_pixels_free(&p);
    npr_jpeg_free(j);
}

static int dump(void)
{
    enum { MOST = 64 << 20 };
    char path[4096];
    long most;
    uint8_t *bytes = malloc(MOST);
    npr_jpeg *j = NULL;
    npr_pixels p = {0};
    CHECK_OK(npr_jpeg_make(NULL, &j));
    while (scanf("%ld %4095s", &most, path) == 2) {
        size_t n = read_file(path, bytes, MOST);
        if (most >= 0 && (size_t)most < n) n = (size_t)most;
        uint8_t *copy = malloc(n ? n : 1); /* of just this size, so that a sanitizer sees a step beyond */
        memcpy(copy, bytes, n);
        npr_image_fault fault;
        CHECK_OK(npr_jpeg_decode(j, copy, n, &p, &fault));
        int32_t head[4] = {fault, p.width, p.height, p.channels};
        fwrite(head, sizeof head, 1, stdout);
        if (!fault) fwrite(p.data, 1, (size_t)p.width * (size_t)p.height * (size_t)p.channels, stdout);
        free(copy);
    }
    free(bytes);
    npr_pixels_free(&p);
    npr_jpeg_free(j);
    return TEST_END();
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "dump") == 0) return dump();
    out_of_memory(); /* first: faults are read once */
    bomb();
    round_trip();
    fast();
    headers();
    not_jpegs();
    no_memory_of_others();
    pixels_and_scans();
    many_scans();
    return TEST_END();
}
