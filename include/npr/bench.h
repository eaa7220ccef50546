/* bench.h - measurements beside the limits of the machine, in one run. Collective. */
#ifndef NPR_BENCH_H
#define NPR_BENCH_H

#include <stdint.h>

#include "npr/log.h"
#include "npr/record.h"
#include "npr/status.h"

typedef struct npr_bench_search_job {
    int64_t rows;
    int dim, k, threads, repeats;
    const char *queries; /* numbers of queries per batch: "1,10,100" */
} npr_bench_search_job;

/* Exact search of made-up rows in memory against FAISS's IndexFlatIP, alternating, medians; read bandwidth
 * and GEMM speed of this machine beside them; ids compared. Runs on rank 0; the other ranks wait. Adds
 * bench.* lines. Collective. */
npr_status npr_bench_search(const npr_comm *comm, const npr_log *log, npr_record *rec,
                            const npr_bench_search_job *job);

#endif
