/* calibrate_stages.h - the part of a calibration that runs the stages themselves, in a small made-up world.
 * Only for calibrate.c. Collective. */
#ifndef NPR_CALIBRATE_STAGES_H
#define NPR_CALIBRATE_STAGES_H

#include "calibrate.h"

enum { NPR_CALIBRATE_CLASSES = 1000 };

typedef struct npr_calibration_run {
    const npr_job *job;
    const npr_calibration *c;
    npr_plan_machine m;
    npr_log quiet;
    char *folder; /* of everything that is made */
    int world;    /* it is there, and `index` */
    int64_t rows; /* over all ranks */
} npr_calibration_run;

/* "folder/name"; leaks nothing: kept in a ring that outlives its use in one call. Local. */
const char *npr_calibrate_in(const npr_calibration_run *r, const char *name);

/* A number a stage has recorded; NaN without it. Local. */
double npr_calibrate_said(const npr_record *rec, const char *key);

/* The world with head and queries as sets; index: its set, too, which npr_calibrate_ingest() makes by itself.
 */
npr_status npr_calibrate_sets(npr_calibration_run *r, int index);

npr_status npr_calibrate_ingest(npr_calibration_run *r);   /* ingest_vectors, ingest_text, ingest_part */
npr_status npr_calibrate_captions(npr_calibration_run *r); /* caption to pool_start, url_row */
npr_status npr_calibrate_pictures(npr_calibration_run *r); /* picture */
npr_status npr_calibrate_clean(const npr_calibration_run *r);

#endif
