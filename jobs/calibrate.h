/* calibrate.h - the rates that npr-plan needs, measured on the ranks of one node. */
#ifndef NPR_CALIBRATE_H
#define NPR_CALIBRATE_H

#include "job.h"
#include "npr/plan.h"

typedef struct npr_calibration {
    const char *scratch; /* a folder on the file system that counts; files are made in it and removed */
    const char *config;  /* of the model that extracts; NULL: decode and tower stay unknown */
    const char *jpegs;   /* files that are decoded, as of npr_bench_extract_job; NULL: made up, 640 x 480 */
    const char *only;    /* some groups of rates, commas between (see npr-bench --help); NULL: all */
    int64_t rows;        /* of each rank, in memory and on disk */
    int dim, threads, repeats;
} npr_calibration;

/* Make a small world, run the stages on it in two sizes and the kernels alone, and record calibration.*: what
 * grows with the work, and what does not. All ranks work at once. Collective. */
npr_status npr_calibrate(const npr_job *job, const npr_calibration *c);

#endif
