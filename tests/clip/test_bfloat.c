/* The way of bfloat16 where the CPU has none: linked with dnn_emulated.c instead of src/clip/dnn.c. How far
 * its features are from open_clip's in fp32; rows that are not in use, company and threads do not matter.
 * With NPR_ORACLES=1 also a ViT-B/16 and its text tower, of made-up weights, on photos. */
#include "tiny.h"

#include <omp.h>

#include "clip/work.h"

enum { IMAGES = 2, TEXTS = 5, SIDE = 36, EMBED = 24, TINY_CONTEXT = 12 };

/* Largest and mean distance of rows; it must not be nothing. */
static void compare(const char *what, const float *a, const float *b, int rows, int n, double allowed)
{
    double worst = 0, sum = 0;
    for (int i = 0; i < rows; i++) {
        double d = cosine_distance(a + (size_t)i * (size_t)n, b + (size_t)i * (size_t)n, n);
        worst = fmax(worst, d);
        sum += d;
    }
    fprintf(stderr,
            "%s: bfloat16 (emulated) against fp32: cosine 1 - %.2g on average, 1 - %.2g at worst, of %d\n",
            what, sum / rows, worst, rows);
    CHECK_NEAR(worst, 0, allowed);
    CHECK(worst > 1e-8);
}

static void against_open_clip(const char *activation)
{
    char name[64];
    float features[TEXTS * EMBED], *owned, *owned_images;
    int32_t tokens[TEXTS * TINY_CONTEXT];
    npr_clip_work *w;
    npr_tensors t = tiny_expected();
    snprintf(name, sizeof name, "tiny_clip_%s.json", activation);
    npr_clip *m = tiny_open(name, NPR_TOWER_IMAGE | NPR_TOWER_TEXT, NPR_BF16);
    CHECK_OK(npr_clip_work_make(m, &w));
    CHECK_OK(npr_clip_image(m, w, tiny_floats(&t, "images", &owned_images), IMAGES, features));
    snprintf(name, sizeof name, "%s.image.features", activation);
    compare(name, features, tiny_floats(&t, name, &owned), IMAGES, EMBED, 1e-4);
    free(owned);
    CHECK_INT(npr_tensors_find(&t, "tokens")->bytes, sizeof tokens);
    CHECK_OK(npr_tensors_read(&t, npr_tensors_find(&t, "tokens")->at, tokens, sizeof tokens));
    CHECK_OK(npr_clip_text(m, w, tokens, TEXTS, features));
    snprintf(name, sizeof name, "%s.text.features", activation);
    compare(name, features, tiny_floats(&t, name, &owned), TEXTS, EMBED, 1e-4);
    free(owned);
    free(owned_images);
    npr_clip_work_free(w);
    npr_clip_close(m);
    npr_tensors_close(&t);
}

/* ---- rows that are not in use -------------------------------------------------------------------------- */

/* Everything a layer may find in them: bits that are NaN as floats and as bfloat16. */
static void poison(npr_clip_work *w)
{
    const npr_tower *t = &w->m->image;
    size_t width = (size_t)t->shape.width, rows = (size_t)w->rows, sequences = (size_t)w->sequences;
    memset(w->x, 0xff, rows * width * sizeof *w->x);
    memset(w->y, 0xff, rows * width * sizeof *w->y);
    memset(w->wide, 0xff, rows * 3 * width * sizeof *w->wide);
    memset(w->half, 0xff, rows * width * sizeof *w->half);
    memset(w->scratch, 0xff, npr_layers_scratch(w->m, w->rows));
    memset(w->pooled, 0xff, sequences * width * sizeof *w->pooled);
    memset(w->pooled_y, 0xff, sequences * width * sizeof *w->pooled_y);
    memset(w->pooled_q, 0xff, sequences * width * sizeof *w->pooled_q);
}

enum { VALUES = 3 * SIDE * SIDE, MANY = 7 };

static void images_alone(const npr_clip *m, npr_clip_work *w, const float *chw, const float *want)
{
    float one[EMBED];
    for (int i = 0; i < 2 * MANY; i++) {
        int k = i * 3 % MANY;
        if (i >= MANY) poison(w);
        CHECK_OK(npr_clip_image(m, w, chw + k * VALUES, 1, one));
        CHECK(!memcmp(one, want + k * EMBED, sizeof one));
    }
}

/* In the emulation the bits of a row do not depend on its place. (oneDNN's may.) */
static void unused_rows(void)
{
    static float chw[MANY * VALUES], want[MANY * EMBED];
    int differ = 0;
    npr_clip_work *w;
    npr_clip *m = tiny_open("tiny_clip_gelu.json", NPR_TOWER_IMAGE, NPR_BF16);
    CHECK_OK(npr_clip_work_make(m, &w));
    for (int i = 0; i < MANY * VALUES; i++) chw[i] = (float)((i * 7919 + i / 13) % 1001) / 500 - 1;
    CHECK(npr_clip_image_batch(m) > MANY);
    CHECK_OK(npr_clip_image(m, w, chw, MANY, want));
    CHECK(memcmp(want, want + EMBED, EMBED * sizeof *want) != 0);
    images_alone(m, w, chw, want);
    npr_clip_work_free(w);
#pragma omp parallel for num_threads(3) schedule(static, 1) reduction(+ : differ)
    for (int i = 0; i < 3; i++) {
        float out[MANY * EMBED];
        npr_clip_work *mine;
        differ += npr_clip_work_make(m, &mine) != NPR_OK;
        differ += npr_clip_image(m, mine, chw, MANY, out) != NPR_OK || memcmp(out, want, sizeof out) != 0;
        npr_clip_work_free(mine);
    }
    CHECK_INT(differ, 0);
    npr_clip_close(m);
}

/* ---- full size ----------------------------------------------------------------------------------------- */

enum { PHOTOS = 7, PHOTO = 3 * 224 * 224, PROMPTS = 4, CONTEXT = 77 };

/* Floats of a .npy file behind its header. */
static float *photos(void)
{
    char path[4096];
    uint8_t head[10];
    float *x = malloc((size_t)PHOTOS * PHOTO * sizeof *x);
    const char *data = getenv("NPR_TEST_DATA");
    snprintf(path, sizeof path, "%s/clip/vitb32-reference/preprocessed_f32.npy", data ? data : ".");
    FILE *f = fopen(path, "rb");
    int ok = x && f && fread(head, 1, 10, f) == 10 && !fseek(f, 10 + head[8] + 256 * head[9], SEEK_SET) &&
             fread(x, PHOTO * sizeof *x, PHOTOS, f) == PHOTOS;
    if (f) fclose(f);
    if (!ok) fprintf(stderr, "no %s: noise instead of photos\n", path);
    for (int i = 0; x && !ok && i < PHOTOS * PHOTO; i++) x[i] = (float)((i * 7919 + i / 13) % 1001) / 500 - 1;
    return x;
}

static void full_size(void)
{
    npr_clip_config c = {.embed_dim = 512,
                         .image_size = 224,
                         .patch_size = 16,
                         .vision = {768, 12, 12, 3072},
                         .context = CONTEXT,
                         .vocab = 49408,
                         .text = {512, 12, 8, 2048}};
    static float images[2][PHOTOS * 512], texts[2][PROMPTS * 512];
    int32_t tokens[PROMPTS * CONTEXT] = {0};
    float *chw = photos();
    for (int i = 0; i < PROMPTS; i++) {
        for (int j = 0; j < 8 + i; j++) tokens[i * CONTEXT + j] = (i * 3001 + j * 4801) % 49000;
        tokens[i * CONTEXT + 8 + i] = 49407;
    }
    for (int k = 0; k < 2; k++) {
        npr_clip *m = NULL;
        npr_clip_work *w;
        CHECK_OK(npr_clip_make_up(&c, 3, NPR_TOWER_IMAGE | NPR_TOWER_TEXT, k ? NPR_BF16 : NPR_FP32, &m));
        CHECK_OK(npr_clip_work_make(m, &w));
        CHECK_OK(npr_clip_image(m, w, chw, PHOTOS, images[k]));
        CHECK_OK(npr_clip_text(m, w, tokens, PROMPTS, texts[k]));
        npr_clip_work_free(w);
        npr_clip_close(m);
    }
    compare("ViT-B/16, made-up weights, photos", images[0], images[1], PHOTOS, 512, 1e-3);
    compare("its text tower", texts[0], texts[1], PROMPTS, 512, 1e-3);
    free(chw);
}

int main(void)
{
    const char *oracles = getenv("NPR_ORACLES");
    CHECK(npr_precision_available(NPR_BF16));
    against_open_clip("gelu");
    against_open_clip("quickgelu");
    unused_rows();
    if (oracles && !strcmp(oracles, "1")) full_size();
    return TEST_END();
}
