/* painted.h - the tables of a painted world (see npr/minilaion.h): painted.c makes them and draws rows,
 * painted_text.c has the words. Local. */
#ifndef NPR_WORLD_PAINTED_H
#define NPR_WORLD_PAINTED_H

#include "base/rng.h"
#include "world/scene.h"

enum {
    PAINTED_THINGS = SCENE_SHAPES * SCENE_TEXTURES * SCENE_COLOURS,
    PAINTED_NEAR = 4 /* near classes kept per class, taken for it in wrong captions */
};

/* A thing that can be painted, as one number. */
static inline int thing_texture(int thing)
{
    return thing % SCENE_TEXTURES;
}
static inline int thing_colour(int thing)
{
    return thing / SCENE_TEXTURES % SCENE_COLOURS;
}
static inline int thing_shape(int thing)
{
    return thing / SCENE_TEXTURES / SCENE_COLOURS;
}

struct npr_painted {
    uint64_t seed;
    int classes, phrases;           /* classes 0 .. phrases-1 are phrases, the others coined */
    int *thing;                     /* [PAINTED_THINGS]: those of the classes first, then the others */
    int *popular;                   /* [classes]: of each family, classes by popularity */
    double *share;                  /* [classes]: of each family, cumulative frequency by popularity */
    int (*near)[PAINTED_NEAR];      /* [classes]: -1 = there is none */
    char (*name)[NPR_PAINTED_NAME]; /* [classes], in each family in ascending order */
};

typedef enum painted_stream {
    PAINTED_ORDER = 64, /* shuffles; numbers apart from those of the world of vectors */
    PAINTED_COIN,
    PAINTED_ROW,
    PAINTED_CAPTION,
    PAINTED_PICTURE,
    PAINTED_PROMPT,
    PAINTED_SAMPLE /* plus npr_painted_set */
} painted_stream;

static inline npr_rng painted_rng(const npr_painted *w, int stream, int64_t number)
{
    return npr_rng_make(w->seed, (uint64_t)stream << 48 | (uint64_t)number);
}

/* "striped crimson hexagon"; the coined name number i of this world. */
void painted_phrase(int thing, char *out);
void painted_coin(const npr_painted *w, int i, char *out);

#endif
