/* extract.h - what the collective stages (extract_mpi.c, text_mpi.c) share with their plans and their
 * threads. All Local but those that take an npr_comm. */
#ifndef NPR_CLIP_EXTRACT_H
#define NPR_CLIP_EXTRACT_H

#include "io/images.h"
#include "io/skipped.h"
#include "npr/clip.h"

/* ---- the model (extract_model_mpi.c) ---- */

typedef struct npr_extract_tower {
    npr_clip *clip;
    npr_precision precision;
    char *name;                   /* of the set's model */
    char weights[33], config[33]; /* digests */
} npr_extract_tower;

/* Open a model on all ranks, the same on each to the byte; warnings are said once. Collective. */
npr_status npr_extract_open(const npr_comm *comm, const npr_log *log, const npr_extract_model *model,
                            int towers, npr_extract_tower *t);
void npr_extract_close(npr_extract_tower *t);
const char *npr_precision_name(npr_precision precision); /* "fp32", "bf16" */

/* Put name, precision and digests into the record; print them for the identity. */
void npr_extract_record_model(npr_record *rec, const npr_extract_tower *t);
void npr_extract_print_model(void *file, const npr_extract_tower *t);

/* ---- images to features, on the threads of this rank (extract_batch.c) ---- */

typedef struct npr_extract_settings {
    int threads;
    npr_jpeg_limits limits;
} npr_extract_settings;

typedef struct npr_encoder npr_encoder;

npr_status npr_encoder_make(const npr_clip *clip, const npr_extract_settings *settings, npr_encoder **out);
void npr_encoder_free(npr_encoder *e); /* NULL is fine */

/* Read, decode and encode the images of b: half [b->rows.n][embed_dim], unit rows; b->at[i].skip says why one
 * has none; sizes of files become known in the column source. */
npr_status npr_encoder_run(npr_encoder *e, npr_images_rows *b, uint16_t *half,
                           npr_status (*between)(void *context, int64_t done), void *context);

/* ---- the stage (extract_mpi.c, extract_parts_mpi.c) ---- */

typedef struct npr_extract {
    const npr_comm *comm;
    const npr_log *log;
    const npr_extract_job *job;
    npr_images_plan images;
    npr_extract_tower tower;
    int dim, parts;
    uint32_t columns; /* of the set */
    npr_set_writer *writer;
    npr_skipped skipped;
} npr_extract;

/* The row a part begins with; of part `parts`: the number of rows. */
int64_t npr_extract_part_begin(const npr_extract *x, int part);

/* NPR_EDATA if more images were left out than the job allows. */
npr_status npr_extract_refuse(const npr_extract *x, const int64_t *bad, const char *at_least);

npr_extract_settings npr_extract_settings_of(const npr_extract *x);

/* Cosines between features in the set's precision and in fp32, of a sample of images. */
typedef struct npr_extract_cosines {
    int64_t images;
    double lowest, sum;
} npr_extract_cosines;
npr_status npr_extract_compare(const npr_extract *x, npr_extract_cosines *c);

/* Write the parts that no earlier run has written. Collective. */
npr_status npr_extract_parts(npr_extract *x);

#endif
