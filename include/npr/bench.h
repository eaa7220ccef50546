/* bench.h - measurements beside the limits of the machine, in one run. Collective. */
#ifndef NPR_BENCH_H
#define NPR_BENCH_H

#include <stdint.h>

#include "npr/log.h"
#include "npr/plan.h"
#include "npr/record.h"
#include "npr/status.h"

typedef struct npr_bench_search_job {
    int64_t rows;
    int dim, k, threads, repeats;
    const char *queries; /* numbers of queries per batch: "1,10,100" */
    const char *screen;  /* the name of one (src/search/exact/screen.h); NULL: as npr-search chooses */
} npr_bench_search_job;

/* Exact search of made-up rows in memory against FAISS's IndexFlatIP, alternating, medians; read bandwidth
 * and GEMM speed of this machine beside them; ids compared. Runs on rank 0; the other ranks wait. Adds
 * bench.* lines. Collective. */
npr_status npr_bench_search(const npr_comm *comm, const npr_log *log, npr_record *rec,
                            const npr_bench_search_job *job);

/* The transductive filter: the k nearest of made-up rows in memory for each of many queries, as exact search
 * does it. Seconds, share of this machine's sgemm measured in the same run, memory. On rank 0. Adds
 * bench.transductive.*. Collective. */
typedef struct npr_bench_transductive_job {
    int64_t rows;
    int dim, k, threads, queries;
} npr_bench_transductive_job;

npr_status npr_bench_transductive(const npr_comm *comm, const npr_log *log, npr_record *rec,
                                  const npr_bench_transductive_job *job);

/* Class sums of made-up rows in memory, labels at random and in order, each thread its own as a rank has
 * them, alternating with reading the same bytes; medians. On rank 0. Adds bench.means.*. Collective. */
typedef struct npr_bench_means_job {
    int64_t rows;
    int dim, classes, threads, repeats;
} npr_bench_means_job;

npr_status npr_bench_means(const npr_comm *comm, const npr_log *log, npr_record *rec,
                           const npr_bench_means_job *job);

/* The linear probe of made-up rows in memory, to a gradient of 1e-6 at most: seconds (median) and top-1 on
 * 5,000 others. With a peer, its seconds in both precisions in turn with ours, and of all heads loss and
 * accuracy as the peer finds them. On rank 0. Adds bench.probe.* and result.training.*. Collective. */
typedef struct npr_bench_probe_job {
    int64_t rows;
    int dim, classes, threads, repeats;
    double l2;        /* as npr_training has it */
    const char *peer; /* a command that does the same, see jobs/sklearn_peer.py; NULL: none */
} npr_bench_probe_job;

npr_status npr_bench_probe(const npr_comm *comm, const npr_log *log, npr_record *rec,
                           const npr_bench_probe_job *job);

/* Captions made into tokens, and class names found in them, in memory, on threads side by side; medians. The
 * captions of a file (as npr-ingest --meta takes it) are taken over and over until there are `rows` of them.
 * On rank 0. Adds bench.captions.*. Collective. */
typedef struct npr_bench_captions_job {
    const char *captions, *names; /* files; NULL is refused */
    int64_t rows;
    int threads, repeats;
} npr_bench_captions_job;

npr_status npr_bench_captions(const npr_comm *comm, const npr_log *log, npr_record *rec,
                              const npr_bench_captions_job *job);

typedef struct npr_bench_extract_job {
    const char *config; /* open_clip's JSON; the weights are made up */
    const char *images; /* JPEG files: a pattern, a folder, @LIST; NULL: made up, 640 x 480 */
    const char *peer;   /* a command that does the same, see jobs/openclip_peer.py; NULL: none */
    int bf16;           /* 1: bf16, 0: fp32 */
    int threads, repeats;
} npr_bench_extract_job;

/* Images per second of decoding with preprocessing and of the image tower, GFLOP/s of the tower, and its
 * share of the GFLOP/s that OpenBLAS's sgemm reaches in the same run on the product of its hidden layer; in
 * bf16 also its share of what oneDNN reaches on that product in bfloat16; all alternating, median and best.
 * With a peer, its figures and the ratios of ours to them, too. Runs on rank 0; the other ranks wait. Adds
 * bench.* lines. Collective. */
npr_status npr_bench_extract(const npr_comm *comm, const npr_log *log, npr_record *rec,
                             const npr_bench_extract_job *job);

/* Operations per second of CLIP's text tower on texts of 12 tokens, by npr_clip_text_flops(); weights are
 * made up. Every rank by itself, all at once. Collective. */
typedef struct npr_bench_text_job {
    const char *config;
    int threads, repeats;
} npr_bench_text_job;
npr_status npr_bench_text(const npr_comm *comm, const npr_bench_text_job *job, double *flop_per_s);

/* ---- for the calibration (npr-bench --what=calibrate): all ranks at once; rates are of one rank ---- */

/* Latency and bandwidth (seconds, bytes/s) of messages between the first and the last rank; untouched on one
 * rank. Collective. */
npr_status npr_bench_messages(const npr_comm *comm, double *latency, double *bandwidth);

/* Reading a set out of the page cache: bytes/s of whole tiles of vectors and ids; seconds per single row,
 * besides reading its chunk. NaN on a rank without parts. Collective. */
typedef struct npr_bench_reading {
    double bytes_per_s, seconds_per_row;
} npr_bench_reading;
npr_status npr_bench_reading_of(const npr_comm *comm, const char *set, npr_bench_reading *out);

/* Seconds per picture of looking for downloaded pictures in tars and reading their JSON, as --join of
 * npr-extract does. tars as of npr_paths_find(); dealt to ranks in turn. NaN on a rank without any.
 * Collective. */
npr_status npr_bench_pictures(const npr_comm *comm, const char *tars, double *seconds);

typedef struct npr_bench_rates_job {
    const char *index, *queries; /* sets; the rows of this rank's parts are taken into memory */
    int k, threads, repeats;
} npr_bench_rates_job;

/* Exact search at the batches of npr/plan.h, in two sizes; predictions; the merge, on two ranks or more.
 * Fills exact, exact_hit, argmax, merge_hit. Collective. */
npr_status npr_bench_exact_rates(const npr_comm *comm, const npr_bench_rates_job *job, npr_plan_machine *m);

/* The linear probe and fine-tuning on made-up rows in memory, in small steps and large. Fills
 * gradient to step_cell. `comm` is one rank's own; job->rows is not used. Collective. */
npr_status npr_bench_training(const npr_comm *comm, const npr_log *log, const npr_bench_means_job *job,
                              npr_plan_machine *m);

/* FAISS in small: training, filling and searching an index of each kind of code over the rows of one part.
 * Fills train to candidate. Collective. */
npr_status npr_bench_faiss_rates(const npr_comm *comm, const npr_bench_rates_job *job, npr_plan_machine *m);

#endif
