/* image.h - from JPEG bytes to the pixels CLIP's image tower reads, bit for bit as open_clip's validation
 * transform makes them with Pillow: Resize(bicubic, short side), CenterCrop, convert to RGB, ToTensor,
 * Normalize, in that order; EXIF orientation is not applied. Local. */
#ifndef NPR_IMAGE_H
#define NPR_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "npr/status.h"

/* ---- decoding ---------------------------------------------------------------------------------------- */

/* What became of an image. All but NPR_IMAGE_OK are skipped, counted by these names and listed; none is a
 * failure of the job below its budget. */
typedef enum npr_image_fault {
    NPR_IMAGE_OK,
    NPR_IMAGE_UNREADABLE, /* the file or the bytes in its container cannot be read */
    NPR_IMAGE_NOT_JPEG,   /* does not begin as a JPEG, or is of a kind that is not supported */
    NPR_IMAGE_TRUNCATED,  /* ends before its last row; a missing end marker alone is nothing, as in Pillow */
    NPR_IMAGE_TOO_LARGE,  /* more pixels or scans than the limits allow: refused before memory is taken */
    NPR_IMAGE_DAMAGED,    /* the decoder gives up, or warns more often than the limits allow */
    NPR_IMAGE_FAULTS
} npr_image_fault;

const char *npr_image_fault_name(npr_image_fault fault); /* "ok", "unreadable", "not_jpeg", ... */

/* Memory of one decode is at most 12 bytes per pixel: 4 of pixels, and 8 of coefficients if the file is
 * progressive (RGB: 3 + 6, or 3 + 3 with halved colour, which is the usual). Time is bounded by max_scans and
 * by pixels x scans <= NPR_JPEG_WORK. */
typedef struct npr_jpeg_limits {
    int64_t max_pixels; /* width x height; 0: NPR_JPEG_PIXELS */
    int max_scans;      /* of a progressive file; 0: NPR_JPEG_SCANS */
    int max_warnings;   /* of the decoder, per image; negative: none allowed; 0: NPR_JPEG_WARNINGS */
    int fast_to; /* > 0: decode at 1/2, 1/4 or 1/8 as long as the short side stays >= this many pixels; the
                    pixels then differ from the reference's (after resizing to 224: six photos by 0.7 to 3
                    of 255 on average, single pixels by up to 79); 0: exact */
} npr_jpeg_limits;

enum {
    NPR_JPEG_PIXELS = 89478485, /* Pillow warns above */
    NPR_JPEG_SCANS = 100,
    NPR_JPEG_WARNINGS = 100,
    NPR_JPEG_WORK = 2048 /* 2^20 pixels x scans: 24 scans of the largest image, 100 scans of 20 megapixels */
};

/* Decoded pixels, 8 bits, rows without gaps, channels as Pillow's modes hold them: 1 L, 3 RGB, 4 CMYK. */
typedef struct npr_pixels {
    int width, height, channels;
    uint8_t *data; /* [height][width][channels] */
    size_t cap; /* bytes of data; grows, is kept between images. With NPR_PIXELS_SPARE bytes behind the last
                   pixel (the decoder leaves them) preprocessing is faster for the last rows */
} npr_pixels;

enum { NPR_PIXELS_SPARE = 64 };

void npr_pixels_free(npr_pixels *p);

typedef struct npr_jpeg npr_jpeg; /* a decoder, for one thread */

npr_status npr_jpeg_make(const npr_jpeg_limits *limits, npr_jpeg **out); /* limits NULL: all 0 */
void npr_jpeg_free(npr_jpeg *j);                                         /* NULL is fine */

/* Decode n bytes. The status is a failure of memory only; *fault tells what became of the image: *out holds
 * it if that is NPR_IMAGE_OK. What an image becomes does not depend on the images before it. */
npr_status npr_jpeg_decode(npr_jpeg *j, const void *bytes, size_t n, npr_pixels *out, npr_image_fault *fault);

/* Encode rgb [height][width][3] as a baseline JPEG with halved colour (4:2:0) and libjpeg's tables for this
 * quality, 1 to 100: *n bytes in *bytes, which is grown as needed (*cap is its capacity; NULL and 0 at first;
 * kept between images; release with free()). Sides are 1 to 65500. */
npr_status npr_jpeg_encode(const uint8_t *rgb, int width, int height, int quality, uint8_t **bytes,
                           size_t *cap, size_t *n);

const char *npr_jpeg_version(void); /* library name and version, for --version */

/* ---- preprocessing ----------------------------------------------------------------------------------- */

enum { NPR_PREPROCESS_SIZE = 4096 }; /* pixels of a side at most */

typedef struct npr_preprocess npr_preprocess; /* tables and scratch memory, for one thread */

/* size: pixels of a side; mean, std: [3], of the red, green and blue channel. */
npr_status npr_preprocess_make(int size, const float *mean, const float *std, npr_preprocess **out);
void npr_preprocess_free(npr_preprocess *p); /* NULL is fine */

/* Resized and cropped: rgb [size][size][3]. */
npr_status npr_preprocess_crop(npr_preprocess *p, const npr_pixels *image, uint8_t *rgb);

/* And normalised: chw [3][size][size] = (rgb / 255 - mean) / std, in float. */
void npr_preprocess_normalize(npr_preprocess *p, const uint8_t *rgb, float *chw);

/* Seconds spent since p was made. */
typedef struct npr_preprocess_times {
    double weights, across, down, colour, normalize;
} npr_preprocess_times;

npr_preprocess_times npr_preprocess_times_of(const npr_preprocess *p);

#endif
