/* tiny.h - the tiny model of tests/data and what open_clip computes with it. */
#ifndef NPR_TESTS_TINY_H
#define NPR_TESTS_TINY_H

#include <math.h>

#include "test.h"

#include "clip/safetensors.h"
#include "npr/clip.h"

/* Path of a file of tests/data. The buffer is static. */
static inline const char *tiny_path(const char *name)
{
    static char path[4096];
    const char *root = getenv("NPR_SOURCE");
    snprintf(path, sizeof path, "%s/tests/data/%s", root ? root : ".", name);
    return path;
}

static inline npr_clip *tiny_open(const char *config, int towers, npr_precision precision)
{
    npr_clip_config c;
    npr_clip *m = NULL;
    CHECK_OK(npr_clip_config_read(tiny_path(config), &c));
    CHECK_OK(npr_clip_open(tiny_path("tiny_clip.safetensors"), &c, towers, precision, &m));
    if (!m) exit(1);
    return m;
}

static inline npr_tensors tiny_expected(void)
{
    npr_tensors t;
    CHECK_OK(npr_tensors_open(tiny_path("tiny_clip_expected.safetensors"), &t));
    return t;
}

/* Values of a tensor of floats, which must be there; *owned is to be freed. */
static inline const float *tiny_floats(const npr_tensors *t, const char *name, float **owned)
{
    const npr_tensor *x = npr_tensors_find(t, name);
    if (!x) {
        fprintf(stderr, "no tensor %s\n", name);
        exit(1);
    }
    CHECK_OK(npr_tensor_floats(t, x, owned));
    return *owned;
}

/* 1 - cosine of a [n] and b [n]. */
static inline double cosine_distance(const float *a, const float *b, int n)
{
    double ab = 0, aa = 0, bb = 0;
    for (int i = 0; i < n; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return 1 - ab / sqrt(aa * bb);
}

#endif
