/* extract_batch.c - images to features on the threads of one rank. Each thread takes a few images at a time,
 * reads, decodes and preprocesses them and runs the tower on them: while one thread waits for a disk or
 * decodes, others multiply. What an image becomes does not depend on who takes it, nor with which others. See
 * extract.h. */
#include <stdlib.h>

#include "base/mem.h"
#include "clip/extract.h"
#include "clip/team.h"
#include "io/unit.h"

/* What one thread works with. */
typedef struct worker {
    npr_fetch fetch;
    npr_jpeg *jpeg;
    npr_pixels pixels;
    npr_preprocess *preprocess;
    npr_clip_work *work;
    uint8_t *rgb;    /* [size][size][3] */
    float *chw;      /* [batch][3][size][size] */
    float *features; /* [batch][dim] */
    int64_t *row;    /* [batch]: whose they are */
} worker;

struct npr_encoder {
    const npr_clip *clip;
    npr_extract_settings settings;
    int batch, size, dim;
    worker *worker; /* [threads] */
};

/* What is asked of the threads. */
typedef struct errand {
    npr_encoder *e;
    npr_images_rows *b;
    uint16_t *half;
} errand;

static npr_status make_worker(const npr_encoder *e, worker *w)
{
    const npr_clip_config *c = npr_clip_config_of(e->clip);
    size_t pixels = 3 * (size_t)e->size * (size_t)e->size, batch = (size_t)e->batch;
    NPR_TRY(npr_jpeg_make(&e->settings.limits, &w->jpeg));
    NPR_TRY(npr_preprocess_make(e->size, c->mean, c->std, &w->preprocess));
    NPR_TRY(npr_clip_work_make(e->clip, &w->work));
    w->rgb = npr_alloc_aligned(pixels, 1, "an image");
    w->chw = npr_alloc_aligned(batch * pixels, sizeof *w->chw, "images");
    w->features = npr_alloc_aligned(batch * (size_t)e->dim, sizeof *w->features, "features");
    w->row = npr_alloc(batch, sizeof *w->row, "images");
    return w->rgb && w->chw && w->features && w->row ? NPR_OK : npr_last();
}

npr_status npr_encoder_make(const npr_clip *clip, const npr_extract_settings *settings, npr_encoder **out)
{
    const npr_clip_config *c = npr_clip_config_of(clip);
    npr_encoder *e = npr_alloc(1, sizeof *e, "an encoder");
    if (!e) return npr_last();
    *e = (npr_encoder){.clip = clip,
                       .settings = *settings,
                       .batch = npr_clip_image_batch(clip),
                       .size = c->image_size,
                       .dim = c->embed_dim};
    e->worker = npr_alloc((size_t)settings->threads, sizeof *e->worker, "threads");
    npr_status st = e->worker ? NPR_OK : npr_last();
    for (int i = 0; i < settings->threads && !st; i++) st = make_worker(e, &e->worker[i]);
    if (st)
        npr_encoder_free(e);
    else
        *out = e;
    return st;
}

void npr_encoder_free(npr_encoder *e)
{
    if (!e) return;
    for (int i = 0; e->worker && i < e->settings.threads; i++) {
        worker *w = &e->worker[i];
        npr_fetch_free(&w->fetch);
        npr_jpeg_free(w->jpeg);
        npr_pixels_free(&w->pixels);
        npr_preprocess_free(w->preprocess);
        npr_clip_work_free(w->work);
        free(w->rgb);
        free(w->chw);
        free(w->features);
        free(w->row);
    }
    free(e->worker);
    free(e);
}

/* ---- images ---- */

/* One image to the pixels the tower reads; *fault says why it has none. */
static npr_status prepare(worker *w, const npr_image_at *at, float *chw, npr_image_fault *fault)
{
    NPR_TRY(npr_fetch_image(&w->fetch, at, fault));
    if (*fault) return NPR_OK;
    NPR_TRY(npr_jpeg_decode(w->jpeg, w->fetch.bytes, w->fetch.n, &w->pixels, fault));
    if (*fault) return NPR_OK;
    NPR_TRY(npr_preprocess_crop(w->preprocess, &w->pixels, w->rgb));
    npr_preprocess_normalize(w->preprocess, w->rgb, chw);
    return NPR_OK;
}

/* Images first .. first + n - 1: those that are good follow one another in w->chw; returns how many in *good.
 */
static npr_status prepare_all(const npr_encoder *e, worker *w, npr_images_rows *b, int64_t first, int n,
                              int *good)
{
    size_t pixels = 3 * (size_t)e->size * (size_t)e->size;
    *good = 0;
    for (int64_t i = first; i < first + n; i++) {
        npr_image_at *at = &b->at[i];
        npr_image_fault fault = NPR_IMAGE_OK;
        if (!at->skip) NPR_TRY(prepare(w, at, w->chw + (size_t)*good * pixels, &fault));
        if (at->skip || fault) {
            at->skip = at->skip ? at->skip : (int)fault;
            continue;
        }
        if (at->bytes < 0) b->rows.source[3 * i + 2] = (int64_t)w->fetch.n;
        w->row[(*good)++] = i;
    }
    return NPR_OK;
}

static npr_status encode(void *context, int thread, int64_t first, int n)
{
    const errand *q = context;
    const npr_encoder *e = q->e;
    worker *w = &e->worker[thread];
    int good;
    NPR_TRY(prepare_all(e, w, q->b, first, n, &good));
    if (good) NPR_TRY(npr_clip_image(e->clip, w->work, w->chw, good, w->features));
    for (int k = 0; k < good; k++) {
        uint16_t *half = q->half + w->row[k] * e->dim;
        npr_unit_scale(w->features + (size_t)k * (size_t)e->dim, half, e->dim);
        if (npr_unit_judge(half, e->dim) != NPR_BAD_REASONS) q->b->at[w->row[k]].skip = NPR_SKIP_FEATURES;
    }
    return NPR_OK;
}

npr_status npr_encoder_run(npr_encoder *e, npr_images_rows *b, uint16_t *half,
                           npr_status (*between)(void *context, int64_t done), void *context)
{
    errand q = {e, b, half};
    const npr_team team = {.threads = e->settings.threads,
                           .items = b->rows.n,
                           .batch = e->batch,
                           .work = encode,
                           .between = between,
                           .work_context = &q,
                           .between_context = context};
    return npr_team_run(&team);
}
