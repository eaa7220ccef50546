/* painted.c - the tables of a painted world, and its rows and pictures. See npr/minilaion.h. */
#include "world/painted.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static const double IN_A_CLASS = 0.55, SCENES_OF_OTHERS = 0.12, NEAR_OF_WRONG = 0.5;

/* Cumulative shares: styles in the world, and npr_said of classes, other things and scenes. */
static const double STYLE[NPR_STYLES] = {0.82, 0.88, 0.94, 1};
static const double SAID[3][NPR_SAID_NOTHING] = {
    {0.55, 0.65, 0.80, 0.90}, {0.48, 0.60, 0.78, 0.90}, {0, 0, 0, 0.12}};

static int draw_share(npr_rng *r, const double *share, int n)
{
    double u = npr_rng_uniform(r);
    int i = 0;
    while (i < n && u >= share[i]) i++;
    return i;
}

static void shuffle(npr_rng *r, int *v, int n)
{
    for (int i = n - 1; i > 0; i--) {
        int j = (int)npr_rng_below(r, i + 1), t = v[i];
        v[i] = v[j];
        v[j] = t;
    }
}

/* ---- tables -------------------------------------------------------------------------------------------- */

/* x^(1/5) for x >= 1 by Newton's method, which square roots cannot give. */
static double fifth_root(double x)
{
    double y = x;
    for (int i = 0; i < 200; i++) y = (4 * y + x / (y * y * y * y)) / 5;
    return y;
}

/* Cumulative frequencies of n classes by popularity: rank^-4/5. */
static void make_shares(double *share, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++) {
        double root = fifth_root(i + 1.0);
        share[i] = sum += 1 / (root * root * root * root);
    }
    for (int i = 0; i < n; i++) share[i] /= sum;
}

/* Sort the classes begin .. end-1 by name: class numbers are then what a reader of sorted folders gives. */
static void sort_names(npr_painted *w, int begin, int end)
{
    for (int i = begin + 1; i < end; i++)
        for (int j = i; j > begin && strcmp(w->name[j - 1], w->name[j]) > 0; j--) {
            char name[NPR_PAINTED_NAME];
            memcpy(name, w->name[j], sizeof name);
            memcpy(w->name[j], w->name[j - 1], sizeof name);
            memcpy(w->name[j - 1], name, sizeof name);
            int t = w->thing[j];
            w->thing[j] = w->thing[j - 1];
            w->thing[j - 1] = t;
        }
}

/* Is the name of class c that of a class before it? */
static int is_taken(const npr_painted *w, int c)
{
    for (int i = w->phrases; i < c; i++)
        if (!strcmp(w->name[i], w->name[c])) return 1;
    return 0;
}

static void make_names(npr_painted *w)
{
    for (int c = 0; c < w->phrases; c++) painted_phrase(w->thing[c], w->name[c]);
    int coins = 0;
    for (int c = w->phrases; c < w->classes; c++) {
        painted_coin(w, coins++, w->name[c]);
        while (is_taken(w, c)) painted_coin(w, coins++, w->name[c]);
    }
    sort_names(w, 0, w->phrases);
    sort_names(w, w->phrases, w->classes);
}

static int alike(int a, int b)
{
    return (thing_texture(a) == thing_texture(b)) + (thing_colour(a) == thing_colour(b)) +
           (thing_shape(a) == thing_shape(b));
}

/* Some classes that share two of three properties, from a place of its own for every class. */
static void make_near(npr_painted *w)
{
    for (int c = 0; c < w->classes; c++) {
        int n = 0;
        for (int i = 1; i < w->classes && n < PAINTED_NEAR; i++) {
            int other = (c + i) % w->classes;
            if (alike(w->thing[c], w->thing[other]) == 2) w->near[c][n++] = other;
        }
        for (int i = n; i < PAINTED_NEAR; i++) w->near[c][i] = n ? w->near[c][i % n] : -1;
    }
}

static npr_status make_tables(npr_painted *w)
{
    size_t classes = (size_t)w->classes;
    if (!(w->thing = npr_alloc(PAINTED_THINGS, sizeof *w->thing, "a painted world")) ||
        !(w->popular = npr_alloc(classes, sizeof *w->popular, "a painted world")) ||
        !(w->share = npr_alloc(classes, sizeof *w->share, "a painted world")) ||
        !(w->near = npr_alloc(classes, sizeof *w->near, "a painted world")) ||
        !(w->name = npr_alloc(classes, sizeof *w->name, "a painted world")))
        return npr_last();
    npr_rng r = painted_rng(w, PAINTED_ORDER, 0);
    for (int i = 0; i < PAINTED_THINGS; i++) w->thing[i] = i;
    shuffle(&r, w->thing, PAINTED_THINGS);
    make_names(w);
    for (int c = 0; c < w->classes; c++) w->popular[c] = c;
    shuffle(&r, w->popular, w->phrases);
    shuffle(&r, w->popular + w->phrases, w->classes - w->phrases);
    make_shares(w->share, w->phrases);
    make_shares(w->share + w->phrases, w->classes - w->phrases);
    make_near(w);
    return NPR_OK;
}

npr_status npr_painted_make(uint64_t seed, int classes, npr_painted **out)
{
    *out = NULL;
    if (classes < 2 || classes > NPR_PAINTED_CLASSES_MAX)
        return npr_fail(NPR_EUSAGE, "a painted world of %d classes: wanted 2 to %d", classes,
                        NPR_PAINTED_CLASSES_MAX);
    npr_painted *w = npr_alloc(1, sizeof *w, "a painted world");
    if (!w) return npr_last();
    w->seed = seed;
    w->classes = classes;
    w->phrases = classes / 2;
    npr_status st = make_tables(w);
    if (st)
        npr_painted_free(w);
    else
        *out = w;
    return st;
}

void npr_painted_free(npr_painted *w)
{
    if (!w) return;
    free(w->thing);
    free(w->popular);
    free(w->share);
    free(w->near);
    free(w->name);
    free(w);
}

int npr_painted_classes(const npr_painted *w)
{
    return w->classes;
}

int npr_painted_phrases(const npr_painted *w)
{
    return w->phrases;
}

const char *npr_painted_name(const npr_painted *w, int class)
{
    return w->name[class];
}

/* ---- rows ---------------------------------------------------------------------------------------------- */

/* 0 to 1, evenly over the rows: multiples of the golden ratio leave no gaps and no heaps, so that in any run
 * of rows every class has its share to a few rows, and the rarest are never missed by chance. */
static double even(const npr_painted *w, int64_t row)
{
    uint64_t at = npr_mix64(w->seed + 1) + (uint64_t)row * 0x9e3779b97f4a7c15u;
    return (double)(at >> 11) * 0x1p-53;
}

/* The class at u, 0 to 1, of one family after the other. */
static int class_at(const npr_painted *w, double u)
{
    int coined = u >= 0.5, low = coined ? w->phrases : 0, high = coined ? w->classes : w->phrases;
    u = u * 2 - coined;
    while (high - low > 1) { /* the first whose share lies above u is among low .. high-1 */
        int middle = (low + high) / 2;
        if (u < w->share[middle - 1])
            high = middle;
        else
            low = middle;
    }
    return w->popular[low];
}

static void draw_thing(const npr_painted *w, int64_t row, npr_rng *r, npr_painted_row *out)
{
    double u = even(w, row);
    out->class = u < IN_A_CLASS ? class_at(w, u / IN_A_CLASS) : -1;
    int64_t other = w->classes + npr_rng_below(r, PAINTED_THINGS - w->classes);
    int empty = npr_rng_uniform(r) < SCENES_OF_OTHERS;
    out->thing = out->class >= 0 ? w->thing[out->class] : empty ? -1 : w->thing[other];
    out->style = (npr_style)draw_share(r, STYLE, NPR_STYLES - 1);
}

static int draw_wrong_class(const npr_painted *w, npr_rng *r, int class)
{
    int near = class >= 0 && npr_rng_uniform(r) < NEAR_OF_WRONG
                   ? w->near[class][npr_rng_below(r, PAINTED_NEAR)]
                   : -1;
    if (near >= 0) return near;
    int64_t other = npr_rng_below(r, class < 0 ? w->classes : w->classes - 1);
    return (int)(class >= 0 && other >= class ? other + 1 : other);
}

void npr_painted_row_of(const npr_painted *w, int64_t row, npr_painted_row *out)
{
    npr_rng r = painted_rng(w, PAINTED_ROW, row);
    draw_thing(w, row, &r, out);
    const double *said = SAID[out->class >= 0 ? 0 : out->thing >= 0 ? 1 : 2];
    out->said = (npr_said)draw_share(&r, said, NPR_SAID_NOTHING);
    out->named = out->said == NPR_SAID_NAME ? out->class : -1;
    if (out->said == NPR_SAID_WRONG) out->named = draw_wrong_class(w, &r, out->class);
}

/* ---- pictures ------------------------------------------------------------------------------------------ */

static void paint(npr_rng *r, int thing, npr_style style, uint8_t *rgb, int *quality)
{
    scene s;
    *quality = 60 + (int)npr_rng_below(r, 31);
    if (thing < 0)
        scene_draw(r, -1, 0, 0, style, &s);
    else
        scene_draw(r, thing_shape(thing), thing_texture(thing), thing_colour(thing), style, &s);
    scene_paint(&s, rgb);
}

void npr_painted_picture(const npr_painted *w, int64_t row, uint8_t rgb[NPR_PICTURE_BYTES], int *quality)
{
    npr_painted_row truth;
    npr_rng r = painted_rng(w, PAINTED_ROW, row);
    draw_thing(w, row, &r, &truth);
    r = painted_rng(w, PAINTED_PICTURE, row);
    paint(&r, truth.thing, truth.style, rgb, quality);
}

const char *npr_painted_set_name(npr_painted_set set)
{
    static const char *const name[NPR_PAINTED_SETS] = {"shots", "val", "test", "sketch", "dusk", "smear"};
    return name[set];
}

void npr_painted_sample(const npr_painted *w, npr_painted_set set, int class, int64_t i,
                        uint8_t rgb[NPR_PICTURE_BYTES], int *quality)
{
    npr_rng r = painted_rng(w, PAINTED_SAMPLE + (int)set, (int64_t) class << 32 | i);
    npr_style style = (npr_style)draw_share(&r, STYLE, NPR_STYLES - 1);
    if (set >= NPR_PAINTED_TEST) style = (npr_style)(set - NPR_PAINTED_TEST);
    paint(&r, w->thing[class], style, rgb, quality);
}
