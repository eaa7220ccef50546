/* extract_compare.c - what a precision costs: features of a sample of images in fp32 too. See extract.h. */
#include <math.h>
#include <stdlib.h>

#include "base/half.h"
#include "base/mem.h"
#include "clip/extract.h"

enum { PLACES = 4, STRETCH = 8 }; /* so many stretches of so many images, evenly spaced */

static double dot(const uint16_t *a, const uint16_t *b, int dim)
{
    double sum = 0;
    for (int j = 0; j < dim; j++) sum += (double)npr_half_value(a[j]) * (double)npr_half_value(b[j]);
    return sum;
}

/* Cosines of one stretch of images, added to the sums. */
static npr_status compare(npr_encoder *const e[2], npr_images_rows *b, int dim, npr_extract_cosines *c)
{
    size_t n = (size_t)b->rows.n * (size_t)dim;
    uint16_t *x = npr_alloc(2 * n, sizeof *x, "features");
    if (!x) return npr_last();
    npr_status st = npr_encoder_run(e[0], b, x, NULL, NULL);
    if (!st) st = npr_encoder_run(e[1], b, x + n, NULL, NULL);
    for (int64_t i = 0; i < b->rows.n && !st; i++) {
        if (b->at[i].skip) continue;
        const uint16_t *p = x + i * dim, *q = p + n;
        double cosine = dot(p, q, dim) / sqrt(dot(p, p, dim) * dot(q, q, dim));
        if (c->images == 0 || cosine < c->lowest) c->lowest = cosine;
        c->sum += cosine;
        c->images++;
    }
    free(x);
    return st;
}

static npr_status compare_all(const npr_extract *x, npr_encoder *const e[2], npr_extract_cosines *c)
{
    npr_images *reader;
    npr_images_rows b = {0};
    int64_t rows = x->images.rows, n = rows < STRETCH ? rows : STRETCH;
    NPR_TRY(npr_images_open(&x->images, &reader));
    npr_status st = NPR_OK;
    for (int64_t k = 0; k < PLACES && !st; k++) {
        st = npr_images_read(reader, (rows - n) / PLACES * k, n, &b);
        if (!st) st = compare(e, &b, x->dim, c);
    }
    npr_images_rows_free(&b);
    npr_images_close(reader);
    return st;
}

npr_status npr_extract_compare(const npr_extract *x, npr_extract_cosines *c)
{
    npr_extract_settings settings = npr_extract_settings_of(x);
    npr_encoder *e[2] = {NULL, NULL};
    npr_clip *single = NULL;
    *c = (npr_extract_cosines){0};
    npr_status st = npr_clip_open(x->job->model.weights, npr_clip_config_of(x->tower.clip), NPR_TOWER_IMAGE,
                                  NPR_FP32, &single);
    if (!st) st = npr_encoder_make(x->tower.clip, &settings, &e[0]);
    if (!st) st = npr_encoder_make(single, &settings, &e[1]);
    if (!st) st = compare_all(x, e, c);
    npr_encoder_free(e[0]);
    npr_encoder_free(e[1]);
    npr_clip_close(single);
    return st;
}
