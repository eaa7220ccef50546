/* space.c - the tables of a made-up world: directions, concepts, what the text believes of them, frequencies.
 * What is modelled is told in npr/minilaion.h; the rows are made from these tables in space_row.c. */
#include "world/space.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* Cosines as CLIP's are, and a text head that scores what CLIP does on fine-grained classes (about 60 % of
 * 200). */
static const float IMAGE_MEAN = 0.85f, STYLE = 0.3f, IMAGE_CONCEPT = 0.45f;
static const float TEXT_MEAN = 0.78f, TEXT_TOWARDS_IMAGES = 0.26f;
static const float PHRASE_OWN = 0.3f, COINED_OWN = 0.5f; /* share of a concept's variance that is its own */
static const float PHRASE_ERROR = 0.2f, COINED_ERROR = 0.4f; /* of the text's idea, relative to the concept */
static const double RARE_ERROR =
    0.6; /* the rarest class errs by 1 + this / 2, the commonest by 1 - this / 2 */

static double dot(const float *a, const float *b, int n)
{
    double s = 0;
    for (int i = 0; i < n; i++) s += (double)a[i] * b[i];
    return s;
}

/* The next random direction, of unit length, at right angles to the first `n` rows of `others` [n][dim]. */
static void draw_direction(npr_rng *r, const float *others, int n, int dim, float *v)
{
    npr_rng_normals(r, v, (size_t)dim);
    for (int k = 0; k < n; k++) {
        const float *o = others + (size_t)k * (size_t)dim;
        float along = (float)dot(v, o, dim);
        for (int j = 0; j < dim; j++) v[j] -= along * o[j];
    }
    float scale = (float)(1 / sqrt(dot(v, v, dim)));
    for (int j = 0; j < dim; j++) v[j] *= scale;
}

/* Means, styles and directions. The two means and the directions stand at right angles, and every concept has
 * the same length (make_concept): a text head without errors would then be as good as image means without
 * noise, so that what priming gains is what it repairs, and not an artefact of lengths and angles. */
static npr_status make_space(npr_world *w)
{
    enum { IMAGE, TEXT, FIRST, AXES = FIRST + WORLD_RANK };
    size_t dim = (size_t)w->dim;
    npr_rng r = world_rng(w, STREAM_SPACE, 0);
    float *axis = npr_alloc(AXES, dim * sizeof *axis, "the axes of a world");
    if (!axis) return npr_last();
    for (int k = 0; k < AXES; k++) draw_direction(&r, axis, k, w->dim, axis + (size_t)k * dim);
    for (size_t j = 0; j < dim; j++)
        w->text_base[j] = TEXT_MEAN * (TEXT_TOWARDS_IMAGES * axis[IMAGE * dim + j] + axis[TEXT * dim + j]);
    for (int s = 0; s < WORLD_STYLES; s++) {
        float *base = w->base + (size_t)s * dim;
        draw_direction(&r, axis, 0, w->dim, base);
        for (size_t j = 0; j < dim; j++)
            base[j] = IMAGE_MEAN * axis[IMAGE * dim + j] + (s ? STYLE * base[j] : 0);
        for (int k = 0; k < WORLD_RANK; k++) w->keep[s][k] = s ? 1 - 0.7f * (float)npr_rng_uniform(&r) : 1;
    }
    float scale = IMAGE_CONCEPT / (float)sqrt(WORLD_RANK);
    for (int k = 0; k < WORLD_RANK; k++)
        for (size_t j = 0; j < dim; j++)
            w->basis[(j / 32 * WORLD_RANK + (size_t)k) * 32 + j % 32] =
                scale * axis[(size_t)(FIRST + k) * dim + j];
    free(axis);
    double total = 0;
    for (int k = 0; k < WORLD_RANK; k++) total += 1 / (1 + k / 8.0);
    for (int k = 0; k < WORLD_RANK; k++) w->spectrum[k] = (float)sqrt(WORLD_RANK / total / (1 + k / 8.0));
    return NPR_OK;
}

/* Add weight x the random vector of this stream and number, and for `told` weight x its error. */
static void add_part(const npr_world *w, int stream, int64_t number, float weight, float *shown, float *error)
{
    float v[2 * WORLD_RANK];
    npr_rng r = world_rng(w, stream, number);
    npr_rng_normals(&r, v, 2 * WORLD_RANK);
    for (int k = 0; k < WORLD_RANK; k++) {
        shown[k] += weight * v[k];
        error[k] += weight * v[WORLD_RANK + k];
    }
}

/* A phrase shows its words, which phrases share, and something of its own; the text errs on the words
 * likewise. */
static void add_phrase(const npr_world *w, int phrase, float *shown, float *error)
{
    int word = w->words[phrase];
    int at[3] = {word % WORLD_TEXTURES, WORLD_TEXTURES + word / WORLD_TEXTURES % WORLD_COLOURS,
                 WORLD_TEXTURES + WORLD_COLOURS + word / WORLD_TEXTURES / WORLD_COLOURS};
    float weight = (float)sqrt((1 - (double)PHRASE_OWN) / 3);
    for (int i = 0; i < 3; i++) add_part(w, STREAM_WORD, at[i], weight, shown, error);
}

/* Scale to the length all concepts have. */
static void make_long(float v[WORLD_RANK])
{
    float scale = (float)sqrt(WORLD_RANK / dot(v, v, WORLD_RANK));
    for (int k = 0; k < WORLD_RANK; k++) v[k] *= scale;
}

static void make_concept(npr_world *w, int c, double rarity)
{
    float *shown = w->shown + (size_t)c * WORLD_RANK, *told = w->told + (size_t)c * WORLD_RANK;
    float error[WORLD_RANK] = {0}, own = 1, scale = PHRASE_ERROR;
    int coined = c >= w->phrases && c < w->classes;
    int scene = c >= w->concepts - WORLD_SCENES;
    memset(shown, 0, WORLD_RANK * sizeof *shown);
    if (coined) {
        float ignored[WORLD_RANK]; /* the text errs on each species anew: a coined name must be learnt by
                                      heart */
        memset(ignored, 0, sizeof ignored);
        int64_t genus = WORLD_PHRASES + (c - w->phrases) / WORLD_GENUS;
        add_part(w, STREAM_WORD, genus, (float)sqrt(1 - (double)COINED_OWN), shown, ignored);
        own = COINED_OWN;
        scale = COINED_ERROR / (float)sqrt((double)COINED_OWN);
    } else if (!scene) {
        add_phrase(w, c < w->phrases ? c : c - w->classes + w->phrases, shown, error);
        own = PHRASE_OWN;
    }
    add_part(w, STREAM_CONCEPT, c, (float)sqrt((double)own), shown, error);
    double e = (double)scale * (1 + RARE_ERROR * (rarity - 0.5));
    for (int k = 0; k < WORLD_RANK; k++) {
        shown[k] *= w->spectrum[k];
        told[k] = shown[k] + (float)e * w->spectrum[k] * error[k];
    }
    make_long(shown);
    make_long(told);
}

static void shuffle(npr_rng *r, int *v, int n)
{
    for (int i = n - 1; i > 0; i--) {
        int j = (int)npr_rng_below(r, i + 1), t = v[i];
        v[i] = v[j];
        v[j] = t;
    }
}

/* Frequencies fall as rank^-3/4, which square roots give exactly alike everywhere. */
static void make_frequencies(npr_world *w)
{
    npr_rng r = world_rng(w, STREAM_ORDER, 0);
    for (int i = 0; i < WORLD_PHRASES; i++) w->words[i] = i;
    shuffle(&r, w->words, WORLD_PHRASES);
    for (int c = 0; c < w->classes; c++) w->popular[c] = c;
    shuffle(&r, w->popular, w->classes);
    double sum = 0;
    for (int i = 0; i < w->classes; i++) w->share[i] = sum += 1 / (sqrt(i + 1.0) * sqrt(sqrt(i + 1.0)));
}

/* The classes most like each class, best first. */
static void make_near(npr_world *w)
{
    for (int a = 0; a < w->classes; a++) {
        double best[WORLD_NEAR];
        int *near = w->near[a], n = 0;
        for (int b = 0; b < w->classes; b++) {
            if (b == a) continue;
            double like =
                dot(w->shown + (size_t)a * WORLD_RANK, w->shown + (size_t)b * WORLD_RANK, WORLD_RANK);
            int at = n < WORLD_NEAR ? n++ : WORLD_NEAR;
            for (; at > 0 && best[at - 1] < like; at--) {
                if (at == WORLD_NEAR) continue;
                best[at] = best[at - 1];
                near[at] = near[at - 1];
            }
            if (at == WORLD_NEAR) continue;
            best[at] = like;
            near[at] = b;
        }
        for (int i = n; i < WORLD_NEAR; i++) near[i] = near[i % n];
    }
}

static npr_status make_tables(npr_world *w)
{
    size_t dim = (size_t)w->dim, classes = (size_t)w->classes, concepts = (size_t)w->concepts;
    if (!(w->basis = npr_alloc_aligned(dim * WORLD_RANK, sizeof *w->basis, "a world")) ||
        !(w->base = npr_alloc(WORLD_STYLES * dim, sizeof *w->base, "a world")) ||
        !(w->text_base = npr_alloc(dim, sizeof *w->text_base, "a world")) ||
        !(w->shown = npr_alloc(concepts * WORLD_RANK, sizeof *w->shown, "a world")) ||
        !(w->told = npr_alloc(concepts * WORLD_RANK, sizeof *w->told, "a world")) ||
        !(w->share = npr_alloc(classes, sizeof *w->share, "a world")) ||
        !(w->popular = npr_alloc(classes, sizeof *w->popular, "a world")) ||
        !(w->near = npr_alloc(classes, sizeof *w->near, "a world")) ||
        !(w->words = npr_alloc(WORLD_PHRASES, sizeof *w->words, "a world")) ||
        !(w->name = npr_alloc(classes, sizeof *w->name, "a world")) ||
        !(w->synonym = npr_alloc(classes, sizeof *w->synonym, "a world")))
        return npr_last();
    NPR_TRY(make_space(w));
    make_frequencies(w);
    for (int i = 0; i < w->classes; i++) make_concept(w, w->popular[i], (i + 0.5) / w->classes);
    for (int c = w->classes; c < w->concepts; c++) make_concept(w, c, 0.5);
    make_near(w);
    world_names(w);
    return NPR_OK;
}

npr_status npr_world_make(uint64_t seed, int dim, int classes, npr_world **out)
{
    *out = NULL;
    if (dim < NPR_WORLD_DIM_MIN || dim > NPR_WORLD_DIM_MAX || dim % NPR_WORLD_DIM_STEP)
        return npr_fail(NPR_EUSAGE, "a world of dim %d: wanted a multiple of %d from %d to %d", dim,
                        NPR_WORLD_DIM_STEP, NPR_WORLD_DIM_MIN, NPR_WORLD_DIM_MAX);
    if (classes < 2 || classes > NPR_WORLD_CLASSES_MAX)
        return npr_fail(NPR_EUSAGE, "a world of %d classes: wanted 2 to %d", classes, NPR_WORLD_CLASSES_MAX);
    npr_world *w = npr_alloc(1, sizeof *w, "a world");
    if (!w) return npr_last();
    w->seed = seed;
    w->dim = dim;
    w->classes = classes;
    w->phrases = classes / 2;
    w->concepts = classes + (WORLD_PHRASES - w->phrases) + WORLD_SCENES;
    npr_status st = make_tables(w);
    if (st) {
        npr_world_free(w);
        return st;
    }
    *out = w;
    return NPR_OK;
}

void npr_world_free(npr_world *w)
{
    if (!w) return;
    free(w->basis);
    free(w->base);
    free(w->text_base);
    free(w->shown);
    free(w->told);
    free(w->share);
    free(w->popular);
    free(w->near);
    free(w->words);
    free(w->name);
    free(w->synonym);
    free(w);
}

int npr_world_dim(const npr_world *w)
{
    return w->dim;
}

int npr_world_classes(const npr_world *w)
{
    return w->classes;
}
