/* measure.h - what this machine can do at most, to be put beside what a kernel does. Local. */
#ifndef NPR_BASE_MEASURE_H
#define NPR_BASE_MEASURE_H

#include <stddef.h>
#include <stdint.h>

#include "npr/status.h"

/* Bytes per second read from memory once, by this many threads, four streams each: one stream alone does not
 * reach what the memory can deliver. n: bytes, at least 64. */
double npr_measure_read(const void *bytes, size_t n, int threads);

/* Floating-point operations per second of sgemm in blocks of 128 rows against 1000 vectors, on all threads at
 * once. 0 without memory. */
double npr_measure_gemm(int dim, int threads);

/* Bytes per second of a file of `bytes` bytes, which is made at `path` and removed: written until it is on
 * disk; read back with the page cache emptied of it; read once more. `resident` is the share of it that the
 * page cache held in spite of being asked to let go (a file system in memory: all): then `cold` is not the
 * disk's. */
typedef struct npr_measure_disk {
    double write, cold, cached, resident;
} npr_measure_disk;
npr_status npr_measure_file(const char *path, size_t bytes, npr_measure_disk *d);

/* The middle one of n values, which are sorted. */
double npr_measure_median(double *v, int n);

/* The most memory this process has held so far, in bytes. */
int64_t npr_measure_memory(void);

#endif
