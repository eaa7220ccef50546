/* minilaion.h - a made-up world of images and captions in LAION's shape and file formats, at any scale.
 *
 * It is SYNTHETIC: no image, no person and no model stands behind a row. It serves where LAION cannot be had:
 * a first minute, tests, scaling studies. What is modelled, and why:
 *   geometry   unit-norm binary16 vectors with the cosines of real CLIP embeddings: a mean of its own for
 * each modality (two images 0.54, two texts 0.77, an image and its own text 0.32, another text 0.17).
 *              Concepts differ, and pictures of one concept scatter, in the same 32 directions (CLIP's
 * effective rank is low), which is what makes classes hard to tell apart; the rest is noise. classes    half
 * are phrases ("striped crimson hexagon", near to others that share words), half are coined names in genera
 * of eight ("velmistor", "velmis's tor finch", "velmis-o'-rok"); sizes fall as rank^-3/4. no class   45 % of
 * the rows: phrases that are no class, many near to one, and scenes. 3 % of the rows repeat the very vector
 * of an earlier row. 18 % are in one of three styles: sketch, dusk, smear. captions   web-like: 55 % of a
 * class's rows carry its name, 10 % a synonym, 10 % another class's name (half of them a near one), the rest
 * a part of the name or boilerplate; 12 % of the other rows carry the name of a class. text head  the mean of
 * 12 noisy prompts per class. The text's idea of a concept is a little off: for phrases it errs on words, so
 * near classes share the error; for coined names, which must be known by heart, it errs twice as much, and
 * most on rare ones. tests      labelled vectors, styled as the rows are (test_id), or 60 % sketch, dusk and
 * smear (test). The error of the text is what priming repairs, by means of recalled images, as far as their
 * captions allow: without that error a primed head gains less than one point here (alpha 0.5), with it four
 * to five; measured over four seeds. Concepts have equal lengths and the means stand at right angles to them,
 * so that nothing else can be gained.
 *
 * Every row is a pure function of (seed, dim, classes, row number): any rank can make it, worlds of different
 * size agree on the rows they share, and all bits are the same on all machines (only + - * / sqrt, in a fixed
 * order). Local unless the first argument is a const npr_comm *. */
#ifndef NPR_MINILAION_H
#define NPR_MINILAION_H

#include <stddef.h>
#include <stdint.h>

#include "npr/log.h"
#include "npr/record.h"
#include "npr/status.h"

/* ---- the world ------------------------------------------------------------------------------------------
 */

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

/* What a caption says. */
typedef enum npr_said {
    NPR_SAID_NAME,    /* the concept's own name */
    NPR_SAID_SYNONYM, /* a synonym of it (listed for every other class only) */
    NPR_SAID_PART,    /* a part of its name */
    NPR_SAID_WRONG,   /* the name of a class that the picture does not show */
    NPR_SAID_NOTHING  /* boilerplate */
} npr_said;

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

/* ---- the collective stage --------------------------------------------------------------------------------
 */

typedef struct npr_minilaion_job {
    const char *out;         /* folder */
    const char *identity;    /* options that shape the result */
    int64_t rows, file_rows; /* file_rows 0: a million, in small worlds a sixteenth of the rows */
    int64_t seed;
    int dim, classes, tests; /* tests: labelled test vectors per class */
    int dry_run;
} npr_minilaion_job;

/* Write the world as clip-retrieval lays out its output: img_emb/img_emb_0000.npy and
 * metadata/metadata_0000.tsv per file of rows, text/{head.npy,head.tsv,classes.txt},
 * test/{test,test_id,shots}.npy with *_labels.txt (shots: 10 per class at most), world.txt. A file that is
 * there is finished: running again goes on. A folder with another world is refused. Collective. */
npr_status npr_minilaion_run(const npr_comm *comm, const npr_log *log, npr_record *rec,
                             const npr_minilaion_job *job);

#endif
