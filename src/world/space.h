/* space.h - the tables behind a made-up world (see npr/minilaion.h), shared by space_row.c (vectors) and
 * space_text.c (names, captions). Local. */
#ifndef NPR_WORLD_SPACE_H
#define NPR_WORLD_SPACE_H

#include "base/rng.h"
#include "npr/minilaion.h"

enum {
    WORLD_RANK = 32, /* directions in which concepts differ and pictures of one concept scatter */
    WORLD_STYLES = 4,
    WORLD_NEAR = 4, /* near classes kept per class, taken for it in wrong captions */
    WORLD_TEXTURES = 12,
    WORLD_COLOURS = 14,
    WORLD_SHAPES = 18,
    WORLD_PHRASES = WORLD_TEXTURES * WORLD_COLOURS * WORLD_SHAPES,
    WORLD_SCENES = 2048,
    WORLD_GENUS = 8 /* coined names per genus */
};

/* Concepts are numbered: classes that are phrases, classes that are coined, phrases that are no class,
 * scenes. */
struct npr_world {
    uint64_t seed;
    int dim, classes, phrases, concepts; /* phrases: classes that are phrases */
    float *basis;               /* [dim / 32][WORLD_RANK][32]: the directions, in blocks of columns */
    float *base;                /* [WORLD_STYLES][dim]: image mean plus style */
    float *text_base;           /* [dim]: text mean */
    float spectrum[WORLD_RANK]; /* how much each direction matters */
    float keep[WORLD_STYLES][WORLD_RANK]; /* how much of a concept a style leaves */
    float *shown;                         /* [concepts][WORLD_RANK]: what pictures show */
    float *told;                          /* [concepts][WORLD_RANK]: what the text knows of it */
    double *share;                        /* [classes]: cumulative frequency by popularity */
    int *popular;                         /* [classes]: classes by popularity */
    int (*near)[WORLD_NEAR];              /* [classes] */
    int *words; /* [WORLD_PHRASES]: texture, colour, shape of the i-th phrase, as one number */
    char (*name)[NPR_WORLD_NAME];    /* [classes] */
    char (*synonym)[NPR_WORLD_NAME]; /* [classes] */
};

/* Streams of random numbers: what they are for, and a number of up to 48 bits. */
typedef enum world_stream {
    STREAM_SPACE = 1, /* the directions, means and styles */
    STREAM_WORD,
    STREAM_CONCEPT,
    STREAM_ORDER, /* shuffles */
    STREAM_NAME,
    STREAM_ROW,
    STREAM_PICTURE, /* scatter and noise of a row's vector */
    STREAM_CAPTION, /* what a caption says */
    STREAM_LINE,    /* how it says it, and the other fields */
    STREAM_PROMPT,
    STREAM_TEST /* plus npr_world_test */
} world_stream;

static inline npr_rng world_rng(const npr_world *w, int stream, int64_t number)
{
    return npr_rng_make(w->seed, (uint64_t)stream << 48 | (uint64_t)number);
}

/* A class by its frequency. */
int world_popular_class(const npr_world *w, npr_rng *r);

/* How well a caption about `named` (-1: nothing) fits the picture of a row, as a similarity column has it. */
double world_similarity(const npr_world *w, const npr_world_row *row, int named, npr_rng *r);

/* Fill w->name and w->synonym. */
void world_names(npr_world *w);

#endif
