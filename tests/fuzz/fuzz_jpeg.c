/* fuzz_jpeg.c - bytes, decoded, exactly and at reduced size, and cropped. */
#include <stdlib.h>

#include "npr/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void decode_and_crop(npr_jpeg *j, npr_preprocess *p, npr_pixels *pixels, const uint8_t *bytes,
                            size_t n)
{
    uint8_t rgb[24 * 24 * 3];
    npr_image_fault fault;
    if (npr_jpeg_decode(j, bytes, n, pixels, &fault)) abort();
    if (!fault && npr_preprocess_crop(p, pixels, rgb)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const float mean[3] = {0.5f, 0.5f, 0.5f}, std[3] = {0.5f, 0.5f, 0.5f};
    static const npr_jpeg_limits exact = {.max_pixels = 1 << 12},
                                 fast = {.max_pixels = 1 << 12, .fast_to = 24};
    static npr_jpeg *j, *k; /* kept: an image must not depend on those before it */
    static npr_preprocess *p;
    if (!p &&
        (npr_jpeg_make(&exact, &j) || npr_jpeg_make(&fast, &k) || npr_preprocess_make(24, mean, std, &p)))
        abort();
    npr_pixels pixels = {0};
    decode_and_crop(j, p, &pixels, bytes, n);
    decode_and_crop(k, p, &pixels, bytes, n);
    npr_pixels_free(&pixels);
    return 0;
}
