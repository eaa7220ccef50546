/* minilaion.h - a made-up world of images and captions in LAION's file formats, at any scale, and two ways to
 * have it: painted (JPEGs in tars, as img2dataset writes them) and as vectors only (clip-retrieval's layout).
 *
 * It is SYNTHETIC: no photograph, no person and no foreign model stands behind a row. It serves where LAION
 * cannot be had: a first minute, tests, scaling studies. In both worlds a row is a pure function of (seed,
 * classes, row number): any rank can make it, worlds of different size agree on the rows they share, and all
 * bits are the same on all machines (only + - * / sqrt, in a fixed order; the bytes of a JPEG are those of
 * libjpeg-turbo's version). Local unless the first argument is a const npr_comm *. */
#ifndef NPR_MINILAION_H
#define NPR_MINILAION_H

#include <stddef.h>
#include <stdint.h>

#include "npr/log.h"
#include "npr/record.h"
#include "npr/status.h"

/* What a caption says. */
typedef enum npr_said {
    NPR_SAID_NAME,    /* the concept's own name */
    NPR_SAID_SYNONYM, /* a synonym of it */
    NPR_SAID_PART,    /* a part of its name */
    NPR_SAID_WRONG,   /* the name of a class that the picture does not show */
    NPR_SAID_NOTHING  /* boilerplate */
} npr_said;

/* ---- the painted world -----------------------------------------------------------------------------------
 *
 * Pictures of 48 x 48 pixels show one of 16 shapes in one of 8 textures and 12 colours, turned, shifted, in
 * any size and shade, over one of 6 backgrounds, with clutter and noise.
 *
 * Classes: half are phrases that say what is seen ("striped crimson hexagon"); half are coined names
 * ("velmistor"), each bound to one of the other things as the names of species are: what they mean must be
 * learnt by heart. In both families sizes fall as rank^-0.8.
 *
 * No class: 45 % of the rows, things that are no class and scenes without a shape.
 *
 * Styles: 82 % normal, 6 % each sketch (outlines on white), dusk (dark, blue) and smear (bars, blurred).
 *
 * Captions, as the web has them: of a class's rows 55 % carry its name (a coined one sometimes with the
 * description), 15 % a part of the description, 10 % synonyms, 10 % another class's name (half of them a near
 * one), 10 % boilerplate. 12 % of the other rows carry the name of a class. */

enum {
    NPR_PICTURE_SIDE = 48,
    NPR_PICTURE_BYTES = NPR_PICTURE_SIDE * NPR_PICTURE_SIDE * 3,
    NPR_PAINTED_CLASSES_MAX = 1000, /* classes: 2 to this */
    NPR_PAINTED_NAME = 48,          /* room for a class name, with its final zero */
    NPR_PAINTED_CAPTION = 192,      /* and for a caption */
    NPR_PAINTED_TEMPLATES = 20
};

typedef enum npr_style {
    NPR_STYLE_NORMAL,
    NPR_STYLE_SKETCH,
    NPR_STYLE_DUSK,
    NPR_STYLE_SMEAR,
    NPR_STYLES
} npr_style;

/* Labelled pictures, all from streams of their own: no test picture is a row of the world. */
typedef enum npr_painted_set {
    NPR_PAINTED_SHOTS,      /* to learn from; styles as in the world */
    NPR_PAINTED_VALIDATION, /* to choose by; styles as in the world */
    NPR_PAINTED_TEST,       /* normal */
    NPR_PAINTED_SKETCH,
    NPR_PAINTED_DUSK,
    NPR_PAINTED_SMEAR,
    NPR_PAINTED_SETS
} npr_painted_set;

const char *npr_painted_set_name(npr_painted_set set); /* "shots", "val", "test", "sketch", "dusk", "smear" */

typedef struct npr_painted npr_painted;

npr_status npr_painted_make(uint64_t seed, int classes, npr_painted **out);
void npr_painted_free(npr_painted *w);
int npr_painted_classes(const npr_painted *w);
int npr_painted_phrases(const npr_painted *w); /* classes below are phrases, the others coined */
const char *npr_painted_name(const npr_painted *w, int class);
const char *npr_painted_template(int i); /* with {} where the name stands */

/* The truth about a row, which the files do not tell. */
typedef struct npr_painted_row {
    int class; /* the class shown; -1: none */
    int thing; /* what is shown, (shape * 12 + colour) * 8 + texture; -1: a scene without a shape */
    npr_style style;
    npr_said said;
    int named; /* the class whose name the caption holds, -1: none */
} npr_painted_row;

void npr_painted_row_of(const npr_painted *w, int64_t row, npr_painted_row *r);

/* The caption of a row; returns its length (a zero follows). */
size_t npr_painted_caption(const npr_painted *w, int64_t row, char out[NPR_PAINTED_CAPTION]);

/* The picture of a row and the JPEG quality it is stored with; the i-th picture of a class in a set. */
void npr_painted_picture(const npr_painted *w, int64_t row, uint8_t rgb[NPR_PICTURE_BYTES], int *quality);
void npr_painted_sample(const npr_painted *w, npr_painted_set set, int class, int64_t i,
                        uint8_t rgb[NPR_PICTURE_BYTES], int *quality);

/* Prompts as a language model might describe a class (CuPL's, Pratt et al. 2023): of a phrase with its
 * synonyms, of a coined name with what it looks like. */
enum { NPR_PAINTED_PROMPTS = 9 };
void npr_painted_prompt(const npr_painted *w, int class, int i, char out[NPR_PAINTED_CAPTION]);

/* ---- the world of vectors --------------------------------------------------------------------------------
 *
 * Embeddings and captions without pictures, for scaling studies of 10^6 to 10^9 rows. What is modelled, and
 * why:
 *
 * Geometry: unit-norm binary16 vectors with the cosines of real CLIP embeddings: a mean of its own for each
 * modality (two images 0.54, two texts 0.77, an image and its own text 0.32, another text 0.17). Concepts
 * differ, and pictures of one concept scatter, in the same 32 directions (CLIP's effective rank is low),
 * which is what makes classes hard to tell apart; the rest is noise.
 *
 * Classes: half are phrases ("striped crimson hexagon", near to others that share words), half are coined
 * names in genera of eight ("velmistor", "velmis's tor finch", "velmis-o'-rok"); sizes fall as rank^-3/4.
 *
 * No class: 45 % of the rows, phrases that are no class, many near to one, and scenes. 3 % of the rows repeat
 * the very vector of an earlier row. 18 % are in one of three styles: sketch, dusk, smear.
 *
 * Captions, as the web has them: 55 % of a class's rows carry its name, 10 % a synonym, 10 % another class's
 * name (half of them a near one), the rest a part of the name or boilerplate; 12 % of the other rows carry
 * the name of a class.
 *
 * Text head: the mean of 12 noisy prompts per class. The text's idea of a concept is a little off: for
 * phrases it errs on words, so near classes share the error; for coined names, which must be known by heart,
 * it errs twice as much, and most on rare ones.
 *
 * Tests: labelled vectors, styled as the rows are (test_id), or 60 % sketch, dusk and smear (test).
 *
 * The error of the text is what priming repairs, by means of recalled images, as far as their captions allow:
 * without that error a primed head gains less than one point here (alpha 0.5), with it four to five; measured
 * over four seeds. Concepts have equal lengths and the means stand at right angles to them, so that nothing
 * else can be gained. */

enum {
    NPR_WORLD_DIM_STEP = 32, /* dim is a multiple of this */
    NPR_WORLD_DIM_MIN = 64,
    NPR_WORLD_DIM_MAX = 4096,
    NPR_WORLD_CLASSES_MAX = 4000, /* classes: 2 to this */
    NPR_WORLD_NAME = 48,          /* room for a class name, with its final zero */
    NPR_WORLD_LINE = 1024         /* room for a line of metadata */
};

typedef struct npr_world npr_world;

npr_status npr_world_make(uint64_t seed, int dim, int classes, npr_world **out);
void npr_world_free(npr_world *w);
int npr_world_dim(const npr_world *w);
int npr_world_classes(const npr_world *w);

/* Class names as the class file lists them: name, and after a tab a synonym if the class has one. */
const char *npr_world_name(const npr_world *w, int class);
const char *npr_world_synonym(const npr_world *w, int class); /* NULL: none listed */

/* The truth about a row, which the files do not tell. */
typedef struct npr_world_row {
    int64_t picture; /* the row whose vector this is: itself, or an earlier one (an exact duplicate) */
    int concept;     /* below `classes`: the class shown; else one of the concepts that are no class */
    int style;       /* 0 plain, 1 sketch, 2 dusk, 3 smear */
    npr_said said;
    int named; /* the concept whose name the caption holds, wholly or in part; -1 = none */
} npr_world_row;

void npr_world_row_of(const npr_world *w, int64_t row, npr_world_row *r);

/* The vectors of rows row0 .. row0+n-1, out [n][dim] binary16. */
void npr_world_vectors(const npr_world *w, int64_t row0, int64_t n, uint16_t *out);

/* The metadata line of a row: url, caption, similarity, NSFW, width, height with tabs between, a line break
 * at the end. Returns its length (no final zero). */
size_t npr_world_line(const npr_world *w, int64_t row, char line[NPR_WORLD_LINE]);

/* The text head, out [classes][dim] float, unit norm. */
npr_status npr_world_head(const npr_world *w, float *out);

/* Labelled vectors. */
typedef enum npr_world_test {
    NPR_WORLD_SHIFT,
    NPR_WORLD_ID,
    NPR_WORLD_SHOTS,
    NPR_WORLD_TESTS
} npr_world_test;
void npr_world_test_vectors(const npr_world *w, npr_world_test test, int64_t i0, int64_t n, uint16_t *out);

int npr_world_test_label(const npr_world *w, int64_t i); /* i % classes */

/* ---- the collective stages ----------------------------------------------------------------------------- */

typedef struct npr_minilaion_job {
    const char *out;      /* folder */
    const char *identity; /* options that shape the result */
    int64_t rows,
        file_rows; /* file_rows 0: a sixteenth of the rows, at most 10,000 pictures or 10^6 vectors */
    int64_t seed;
    int classes, tests; /* tests: labelled pictures or vectors per class in each test set */
    int val, shots;     /* pictures only: per class, to choose by and to learn from */
    int dim;            /* vectors only */
    int dry_run;
} npr_minilaion_job;

/* Write the painted world: pictures/00000.tar ... as img2dataset's webdataset output (KEY.jpg, KEY.txt,
 * KEY.json), templates.txt and world.txt; and for each family, `phrases` and `coined`, classes.txt,
 * prompts.json and the labelled sets as folders of pictures, test/CLASS/0000.jpg ... (a class's folder is its
 * name with _ for blanks, and folders sort as classes.txt does). A tar or a class's folder that is there is
 * finished: running again goes on. A folder with another world is refused. Collective. */
npr_status npr_minilaion_paint(const npr_comm *comm, const npr_log *log, npr_record *rec,
                               const npr_minilaion_job *job);

/* Write the world of vectors as clip-retrieval lays out its output: img_emb/img_emb_0000.npy and
 * metadata/metadata_0000.tsv per file of rows, text/{head.npy,head.tsv,classes.txt},
 * test/{test,test_id,shots}.npy with *_labels.txt (shots: 10 per class at most), world.txt. Resumes and
 * refuses likewise. Collective. */
npr_status npr_minilaion_embed(const npr_comm *comm, const npr_log *log, npr_record *rec,
                               const npr_minilaion_job *job);

#endif
