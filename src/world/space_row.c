/* space_row.c - the rows of a made-up world: which concept, which style, and the vector. See npr/minilaion.h.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/mem.h"
#include "world/space.h"

static const double DUPLICATES = 0.03, IN_A_CLASS = 0.55, PHRASES_OF_OTHERS = 0.7;
static const float SCATTER = 0.92f,
                   STYLED_SCATTER = 1.1f; /* of pictures of one concept, in units of the concept */
static const float IMAGE_NOISE = 0.5f, TEXT_CONCEPT = 0.42f / 0.45f; /* basis is scaled for images */
static const float PROMPT_NOISE = 0.52f;
enum { PROMPTS = 12, DUPLICATE_REACH = 1 << 20 };

/* Cumulative shares of the styles: as crawled, and in the shifted test. */
static const double CRAWLED[WORLD_STYLES] = {0.82, 0.88, 0.94, 1}, SHIFTED[WORLD_STYLES] = {0.4, 0.6, 0.8, 1};

static int draw_style(npr_rng *r, const double *share)
{
    double u = npr_rng_uniform(r);
    int s = 0;
    while (s < WORLD_STYLES - 1 && u >= share[s]) s++;
    return s;
}

int world_popular_class(const npr_world *w, npr_rng *r)
{
    double u = npr_rng_uniform(r) * w->share[w->classes - 1];
    int low = 0, high = w->classes - 1; /* the first i with u < share[i] */
    while (low < high) {
        int mid = (low + high) / 2;
        if (u < w->share[mid])
            high = mid;
        else
            low = mid + 1;
    }
    return w->popular[low];
}

/* The row whose picture `row` is, and its random numbers. */
static int64_t find_picture(const npr_world *w, int64_t row, npr_rng *r)
{
    for (;;) {
        *r = world_rng(w, STREAM_ROW, row);
        if (npr_rng_uniform(r) >= DUPLICATES || row == 0) return row;
        row -= 1 + npr_rng_below(r, row < DUPLICATE_REACH ? row : DUPLICATE_REACH);
    }
}

static void draw_picture(const npr_world *w, int64_t row, npr_world_row *out)
{
    npr_rng r;
    out->picture = find_picture(w, row, &r);
    int others = w->concepts - w->classes - WORLD_SCENES, thing;
    if (npr_rng_uniform(&r) < IN_A_CLASS)
        thing = world_popular_class(w, &r);
    else if (npr_rng_uniform(&r) < PHRASES_OF_OTHERS)
        thing = w->classes + (int)npr_rng_below(&r, others);
    else
        thing = w->classes + others + (int)npr_rng_below(&r, WORLD_SCENES);
    out->concept = thing;
    out->style = draw_style(&r, CRAWLED);
}

/* Which name the caption holds: of its own concept, of a class it does not show, or none. */
static void draw_caption(const npr_world *w, int64_t row, npr_world_row *out)
{
    /* cumulative shares of npr_said; scenes and phrases that are no class have names of their own */
    static const double of_class[] = {0.55, 0.65, 0.78, 0.88}, of_other[] = {0.5, 0.5, 0.62, 0.74};
    npr_rng r = world_rng(w, STREAM_CAPTION, row);
    int in_class = out->concept < w->classes, said = 0;
    double u = npr_rng_uniform(&r);
    while (said < NPR_SAID_NOTHING && u >= (in_class ? of_class : of_other)[said]) said++;
    out->said = (npr_said)said;
    out->named = said == NPR_SAID_NOTHING ? -1 : out->concept;
    if (said != NPR_SAID_WRONG) return;
    int near = in_class && npr_rng_uniform(&r) < 0.5;
    out->named = near ? w->near[out->concept][npr_rng_below(&r, WORLD_NEAR)] : world_popular_class(w, &r);
    if (out->named == out->concept) out->named = w->near[out->concept][0];
}

void npr_world_row_of(const npr_world *w, int64_t row, npr_world_row *r)
{
    draw_picture(w, row, r);
    draw_caption(w, row, r);
}

/* What one picture shows, in the world's directions: the concept as the style leaves it, scattered. */
static void show(const npr_world *w, int concept, int style, npr_rng *r, float z[WORLD_RANK])
{
    const float *shown = w->shown + (size_t) concept * WORLD_RANK;
    float scatter = style ? STYLED_SCATTER : SCATTER;
    npr_rng_normals(r, z, WORLD_RANK);
    for (int k = 0; k < WORLD_RANK; k++)
        z[k] = shown[k] * w->keep[style][k] + scatter * w->spectrum[k] * z[k];
}

/* x = base + noise x + sum over directions of z[k] x basis[k], scaled to unit norm. In blocks of 32 columns
 * whose sums stay in registers; lanes and order are fixed, so the bits do not depend on the width of the
 * machine's vectors. */
static void place(const npr_world *w, const float *base, float noise, const float *z, float *x)
{
    enum { WIDTH = NPR_WORLD_DIM_STEP };
    float square[WIDTH] = {0};
    for (int b = 0; b < w->dim; b += WIDTH) {
        const float *basis = w->basis + (size_t)b * WORLD_RANK;
        float sum[WIDTH];
        for (int i = 0; i < WIDTH; i++) sum[i] = base[b + i] + noise * x[b + i];
        for (int k = 0; k < WORLD_RANK; k++)
            for (int i = 0; i < WIDTH; i++) sum[i] += z[k] * basis[k * WIDTH + i];
        for (int i = 0; i < WIDTH; i++) square[i] += sum[i] * sum[i];
        memcpy(x + b, sum, sizeof sum);
    }
    for (int n = WIDTH / 2; n; n /= 2)
        for (int i = 0; i < n; i++) square[i] += square[i + n];
    float scale = (float)(1 / sqrt((double)square[0]));
    for (int j = 0; j < w->dim; j++) x[j] *= scale;
}

static void make_vector(const npr_world *w, int concept, int style, npr_rng r, uint16_t *out)
{
    float z[WORLD_RANK], x[NPR_WORLD_DIM_MAX];
    show(w, concept, style, &r, z);
    npr_rng_normals(&r, x, (size_t)w->dim);
    place(w, w->base + (size_t)style * (size_t)w->dim, IMAGE_NOISE / sqrtf((float)w->dim), z, x);
    npr_half_from_float(x, out, (size_t)w->dim);
}

void npr_world_vectors(const npr_world *w, int64_t row0, int64_t n, uint16_t *out)
{
    for (int64_t i = 0; i < n; i++) {
        npr_world_row row;
        draw_picture(w, row0 + i, &row);
        make_vector(w, row.concept, row.style, world_rng(w, STREAM_PICTURE, row.picture), out + i * w->dim);
    }
}

int npr_world_test_label(const npr_world *w, int64_t i)
{
    return (int)(i % w->classes);
}

void npr_world_test_vectors(const npr_world *w, npr_world_test test, int64_t i0, int64_t n, uint16_t *out)
{
    for (int64_t i = i0; i < i0 + n; i++) {
        npr_rng r = world_rng(w, STREAM_TEST + (int)test, i);
        int style = draw_style(&r, test == NPR_WORLD_SHIFT ? SHIFTED : CRAWLED);
        make_vector(w, npr_world_test_label(w, i), style, r, out + (i - i0) * w->dim);
    }
}

double world_similarity(const npr_world *w, const npr_world_row *row, int named, npr_rng *r)
{
    double noise = 0.025 * npr_rng_normal(r);
    if (named < 0) return 0.2 + noise;
    float z[WORLD_RANK];
    npr_rng picture = world_rng(w, STREAM_PICTURE, row->picture);
    show(w, row->concept, row->style, &picture, z);
    const float *told = w->told + (size_t)named * WORLD_RANK;
    double dot = 0, zz = 0, tt = 0;
    for (int k = 0; k < WORLD_RANK; k++) {
        dot += (double)z[k] * told[k];
        zz += (double)z[k] * z[k];
        tt += (double)told[k] * told[k];
    }
    return 0.17 + 0.2 * dot / sqrt(zz * tt) + noise;
}

npr_status npr_world_head(const npr_world *w, float *out)
{
    size_t dim = (size_t)w->dim;
    float *x = npr_alloc(dim, sizeof *x, "a prompt");
    if (!x) return npr_last();
    for (int c = 0; c < w->classes; c++) {
        float z[WORLD_RANK], *row = out + (size_t)c * dim;
        for (int k = 0; k < WORLD_RANK; k++)
            z[k] = TEXT_CONCEPT * w->told[(size_t)c * WORLD_RANK + (size_t)k];
        memset(row, 0, dim * sizeof *row);
        for (int p = 0; p < PROMPTS; p++) {
            npr_rng r = world_rng(w, STREAM_PROMPT, (int64_t)c * PROMPTS + p);
            npr_rng_normals(&r, x, dim);
            place(w, w->text_base, PROMPT_NOISE / sqrtf((float)w->dim), z, x);
            for (size_t j = 0; j < dim; j++) row[j] += x[j];
        }
        double square = 0;
        for (size_t j = 0; j < dim; j++) square += (double)row[j] * row[j];
        float scale = (float)(1 / sqrt(square));
        for (size_t j = 0; j < dim; j++) row[j] *= scale;
    }
    free(x);
    return NPR_OK;
}
