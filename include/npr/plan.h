/* plan.h - what a search needs, before it is queued: bytes, memory, seconds. One place for the formulas:
 * --dry-run of npr-search and npr-plan use the same. Local. */
#ifndef NPR_PLAN_H
#define NPR_PLAN_H

#include "npr/status.h"

/* What is asked for. */
typedef struct npr_plan_shape {
    double rows, dim;     /* of the index */
    double file;          /* bytes of its parts; 0: not known */
    double lists, k;      /* queries or classes, rows kept of each */
    double batch;         /* lists per pass; 0: as many as keep their memory below 1 GiB */
    double tile_rows;     /* rows read at a time */
    int caption, vectors; /* tokens are read; embeddings are read */
} npr_plan_shape;

/* What that takes. Memory is of a rank, in bytes. */
typedef struct npr_plan_needs {
    double batch, batches;
    double read;                                /* bytes of a whole search, over all ranks, at most */
    double tiles, lists, queries, plan, window; /* memory */
    double memory;                              /* at the worst moment */
    double merged;                              /* bytes of the lists that are merged */
} npr_plan_needs;

npr_plan_needs npr_plan_search(const npr_plan_shape *shape);

/* A node and a network. */
typedef struct npr_plan_machine {
    int points; /* measured: core-seconds per row and value of a row for so many queries at once */
    double queries[16], cost[16];
    double read;               /* bytes/s that a node reads from the file system */
    double latency, bandwidth; /* seconds, bytes/s, of the network, per rank */
} npr_plan_machine;

/* Take the cost of screening from a record of `npr-bench --what=search`. */
npr_status npr_plan_calibrate(const char *path, npr_plan_machine *m);

/* Seconds on so many ranks with so many cores each; every pass both reads and screens, and the slower counts.
 */
typedef struct npr_plan_times {
    double read, screen; /* if it were alone */
    double scan, merge;
} npr_plan_times;

npr_plan_times npr_plan_time(const npr_plan_shape *shape, const npr_plan_machine *m, double nodes,
                             double ranks, double cores);

#endif
