/* scaling.h - a scaling study inside one allocation. */
#ifndef NPR_SCALING_H
#define NPR_SCALING_H

#include "job.h"

typedef struct npr_scaling {
    const char *scratch; /* a folder that all ranks see; files are made in it and removed */
    const char *kind;    /* "strong": the same rows for all numbers of ranks; "weak": so many for each rank */
    int64_t rows;        /* of each rank (weak), of each of all ranks together (strong) */
    int dim, queries, k, threads;
} npr_scaling;

/* Search a made-up world on the first 1, 2, 4, ... and on all ranks, as sub-communicators, while the others
 * wait; every point's times, work and digests are recorded as scaling.KIND.RANKS.*. The digests of a strong
 * study must agree: NPR_EINTERNAL if they do not. Collective. */
npr_status npr_scale(const npr_job *job, const npr_scaling *s);

#endif
