/* plan.h - what a stage needs, before it is queued: files, bytes, memory, messages, seconds. One place for
 * the formulas: --dry-run of the programs and npr-plan use the same. Local; src/plan depends on base alone.
 *
 * Bytes and memory follow from the shape of the work. Seconds need a machine: rates that
 * `npr-bench --what=calibrate` has measured. Work that ranks share takes as long as that of the rank with
 * most of it; what two threads do at once, or disk and processor, takes as long as the slower. A rate that is
 * not known makes the seconds it is needed for NaN. */
#ifndef NPR_PLAN_H
#define NPR_PLAN_H

#include <stddef.h>

#include "npr/status.h"

/* ---- the machine --------------------------------------------------------------------------------------- */

enum { NPR_PLAN_BATCHES = 5 }; /* numbers of queries at which screening is measured: 1, 4, 10, 100, 1000 */
extern const int npr_plan_batch[NPR_PLAN_BATCHES];

/* How vectors are kept in an index, as far as the time to compare with them depends on it. */
typedef enum npr_plan_code { NPR_CODE_FLAT, NPR_CODE_SQ, NPR_CODE_PQ, NPR_CODE_FS, NPR_CODES } npr_plan_code;

/* Rates of one rank with `threads` threads while all ranks of a node work, in seconds, bytes and operations;
 * NaN where not measured. Rates of two sizes are slopes, so that what does not grow with the work is apart. */
typedef struct npr_plan_machine {
    double threads, ranks, dim; /* of the calibration: threads of a rank, ranks at once, values of a row */
    double memory_read, sgemm;  /* bytes/s, flop/s: limits, to set the others beside */
    double file_write;          /* bytes/s of all ranks together, until they are on disk */
    double file_read;           /* bytes/s of all ranks together, not from the page cache */
    double file_read_cached;    /* the same from the page cache */
    double part_read;           /* bytes/s of a set's vectors from the page cache, checksums compared */
    double part_pick;           /* seconds per single row read out of a part, besides its chunk */
    double ingest_vectors;      /* bytes/s of .npy to set: checked, written, read back, synced */
    double ingest_text;         /* bytes/s of metadata to set: parsed, captions tokenized */
    double ingest_part;         /* seconds per part */
    double exact[NPR_PLAN_BATCHES]; /* seconds per row and value of a row, for all queries of the batch */
    double exact_hit;               /* seconds per hit that enters a list (npr_plan_hits) */
    double caption;                 /* bytes/s of tokens */
    double caption_match;           /* seconds per match; */
    double caption_filter;          /* the same with the CLIP filter, per value of its head */
    double pool_row, pool_start;    /* seconds per row of the pool; of any search */
    double train, train_pq;         /* flop/s of k-means: lists (a rank's), codes */
    double train_polysemous;        /* seconds per sub-quantizer of PQ without "np" */
    double add, encode_pq;          /* flop/s of assigning rows to lists, of coding them */
    double index_row;               /* seconds per row and value of filling and writing an index */
    double index_load;              /* bytes/s of an index out of its part into memory */
    double coarse;                  /* bytes/s of centroids compared with one query */
    double tables;                  /* flop/s of a query with all codes of a PQ, once a part */
    double code[NPR_CODES];         /* bytes/s of codes */
    double code_hit[NPR_CODES];     /* seconds per row that enters FAISS's list (npr_plan_hits) */
    double candidate;               /* seconds per candidate and value: exact score and list */
    double decode, tower;           /* images/s decoded and preprocessed; flop/s of CLIP's image tower */
    double text;                    /* flop/s of CLIP's text tower, tokens made too */
    double gradient,
        gradient_cell;         /* probe: flop/s of gradients; seconds per value of the head and iteration */
    double step, step_cell;    /* the same of fine-tuning and its steps */
    double picture;            /* seconds per downloaded picture that is found in its tar, for a join */
    double url_row;            /* seconds per row of the pool whose URL is written */
    double sums, argmax;       /* bytes/s of class sums; flop/s of predictions */
    double loo;                /* flop/s of leave-one-out: two heads, and the 21 alphas of the usual grid */
    double merge_hit;          /* seconds per hit merged */
    double latency, bandwidth; /* of messages between two ranks: seconds, bytes/s */
} npr_plan_machine;

/* The rates by name, for writing and reading records: calibration.NAME. */
typedef struct npr_plan_rate {
    const char *name;
    size_t offset; /* of a double in npr_plan_machine */
} npr_plan_rate;
extern const npr_plan_rate npr_plan_rates[];
extern const size_t npr_plan_rate_count;

npr_plan_machine npr_plan_machine_unknown(void); /* all NaN */

/* From a record of `npr-bench --what=calibrate`. NPR_EDATA if it is none. */
npr_status npr_plan_machine_read(const char *path, npr_plan_machine *m);

/* ---- the job ------------------------------------------------------------------------------------------- */

/* Nodes and their network. */
typedef struct npr_plan_cluster {
    double nodes, ranks, threads; /* ranks over all nodes; threads of each */
    double read, write;           /* bytes/s between a node and the file system; INFINITY: no limit */
    double latency, bandwidth;    /* seconds, bytes/s of the network, per rank */
} npr_plan_cluster;

enum { NPR_PLAN_PHASES = 16 };

/* A part of a stage, and what it waits for: "work / rate". */
typedef struct npr_plan_phase {
    const char *name, *model;
    double seconds;
} npr_plan_phase;

/* What a stage takes. */
typedef struct npr_plan_needs {
    double files, disk; /* written: parts, bytes */
    double read;        /* bytes, over all ranks, at most */
    double sent;        /* bytes a rank sends in collectives */
    double memory;      /* bytes of a rank at the worst moment */
    double busy;        /* ranks with work */
    npr_plan_phase phase[NPR_PLAN_PHASES];
    int phases;
    double seconds; /* sum of the phases */
} npr_plan_needs;

/* Rows of the rank with most of them, when parts are dealt out whole. */
double npr_plan_busiest(double rows, double part_rows, double ranks);

/* How often the best k of n rows in no order change: the hits that enter a list. */
double npr_plan_hits(double n, double k);

/* In all of these a machine of NULL leaves the phases out. */

typedef struct npr_plan_ingest_shape {
    double rows, dim, part_rows;
    double in, text;  /* bytes of the vectors' files, of metadata */
    double row_bytes; /* of a row in the set without its texts */
    double batch;     /* rows in hand */
} npr_plan_ingest_shape;
npr_plan_needs npr_plan_ingest(const npr_plan_ingest_shape *s, const npr_plan_cluster *c,
                               const npr_plan_machine *m);

/* A FAISS factory string, read as far as the plan needs it: a transform (OPQ, PCA), lists, how rows are kept
 * (Flat, SQn, SQfp16, PQm[xb], PQmx4fs, HNSWn). A part's index is whole by itself: it has its own copy of
 * what is trained. */
typedef struct npr_plan_factory {
    int known;         /* 0: it is none of these, and the rest is 0 */
    double lists;      /* inverted lists; 0: none */
    double inside;     /* columns after the transform */
    double code_bytes; /* of a row */
    double row,
        part;      /* bytes per row with its number and links, per part: centroids, their graph, transform */
    double sample; /* bytes per row of the sample while training, on rank 0 */
    int spread;    /* lists are trained on all ranks, which have the sample's rows */
    double links;  /* of a graph of rows */
    double coarse_links; /* of a graph of lists */
    double subs;         /* sub-quantizers of a PQ */
    double codes;        /* of one of them */
    int polysemous;      /* they are trained a second time */
    npr_plan_code code;
} npr_plan_factory;
npr_plan_factory npr_plan_factory_read(const char *text, int dim);

typedef struct npr_plan_index_shape {
    double rows, dim, part_rows;
    double sample; /* rows trained on */
    npr_plan_factory factory;
} npr_plan_index_shape;
npr_plan_needs npr_plan_index(const npr_plan_index_shape *s, const npr_plan_cluster *c,
                              const npr_plan_machine *m);
double npr_plan_index_bytes(const npr_plan_index_shape *s, double rows); /* of the index of so many rows */
double npr_plan_index_sample(const npr_plan_index_shape *s); /* rows of the sample that rank 0 gets */

typedef enum npr_plan_mode { NPR_PLAN_EXACT, NPR_PLAN_CAPTION, NPR_PLAN_FAISS } npr_plan_mode;

typedef struct npr_plan_search_shape {
    npr_plan_mode mode;
    double rows, dim, part_rows; /* of the index */
    double file;                 /* bytes of its parts; 0: not known */
    double lists, k;             /* queries or classes, rows kept of each */
    double batch;                /* lists per pass; 0: as many as keep their memory below 1 GiB */
    double tile_rows;            /* rows read at a time */
    double resident;          /* exact: bytes of parts that a rank may keep in memory from batch to batch */
    int urls;                 /* rank 0 writes the pool's URLs */
    int filter;               /* caption: the CLIP filter reads embeddings */
    double classes;           /* of the head that filters */
    double tokens;            /* caption: bytes of a row's tokens */
    double matches;           /* caption: rows with a class name, of all */
    double pool_rows;         /* rows that are kept in the end; 0: lists x k */
    double pool_part_rows;    /* of a part of the pool */
    double row_bytes;         /* of a row of the index, texts too; 0: from `file`, else dim alone */
    npr_plan_factory factory; /* FAISS: */
    double probes, refine, recall_queries;
} npr_plan_search_shape;

/* Memory of a search by purpose. */
typedef struct npr_plan_search_memory {
    double batch, batches; /* lists of a pass; passes */
    double tiles, lists, queries, plan, window, index;
    double resident; /* parts kept from batch to batch, at most */
} npr_plan_search_memory;

/* sizeof npr_plan_row, npr_hit: asserted in search */
enum { NPR_PLAN_POOL_ROW = 40, NPR_PLAN_HIT = 24 };

/* Queries that FAISS answers together, on one thread: the more, the fewer times a list is gone through. But
 * threads want blocks of their own: a sixteenth of all queries, 64 to 1,024, and so few that eight blocks'
 * candidates are asked for at a time. How many threads there are does not count: answers depend on blocks. */
enum { NPR_PLAN_FAISS_BLOCK = 64 }; /* the least */
int npr_plan_faiss_block(double queries, double candidates);
enum {
    NPR_PLAN_LIST = 3 * NPR_PLAN_HIT
}; /* of a list per hit: lists grow to twice their k, copied once for merging */
enum { NPR_PLAN_CANDIDATE = 26 };  /* of FAISS's: 12, half as many again, and 8 of the row to be scored */
enum { NPR_PLAN_WINDOW_MB = 256 }; /* rows of the pool a writer collects */

npr_plan_search_memory npr_plan_search_parts(const npr_plan_search_shape *s);
npr_plan_needs npr_plan_search(const npr_plan_search_shape *s, const npr_plan_cluster *c,
                               const npr_plan_machine *m);

typedef struct npr_plan_extract_shape {
    double images, image_bytes, part_rows; /* bytes of all images; images per part */
    double row_bytes;                      /* of a row in the set */
    double flop;                           /* of an image */
    double weights, thread;                /* memory: of the tower, of a thread's batch */
    double joined;                         /* rows of the pool that the images are joined to; 0: none */
} npr_plan_extract_shape;
npr_plan_needs npr_plan_extract(const npr_plan_extract_shape *s, const npr_plan_cluster *c,
                                const npr_plan_machine *m);

/* A text head: prompts of all classes through the text tower. */
typedef struct npr_plan_text_shape {
    double classes, prompts, dim, part_rows; /* prompts of all classes; classes per part */
    double flop;                             /* of all prompts */
    double weights, thread;                  /* memory: of the tower, of a thread's batch */
} npr_plan_text_shape;
npr_plan_needs npr_plan_text(const npr_plan_text_shape *s, const npr_plan_cluster *c,
                             const npr_plan_machine *m);

/* Heads that are trained: the probe evaluates loss and gradient over all rows, once or a little more per
 * iteration; fine-tuning makes a step per batch of rows. */
typedef struct npr_plan_training {
    double trainings; /* 0: class means, nothing is trained */
    int probe;
    double iterations, evaluations; /* probe: of each training, at most; of the gradient */
    double epochs, batch;           /* fine-tuning */
} npr_plan_training;

typedef struct npr_plan_solve_shape {
    double classes, dim, pool, test, tile_rows; /* rows of pool and shots, of the test set */
    double passes, heads;                       /* over the pool; over the test set */
    double candidates;                          /* heads evaluated side by side */
    double baselines;
    double loo;              /* --alpha=loo: of the passes, those that leave each row out */
    double validation, grid; /* --alpha=val: its rows, and heads that are tried on them */
    npr_plan_training training;
} npr_plan_solve_shape;
npr_plan_needs npr_plan_solve(const npr_plan_solve_shape *s, const npr_plan_cluster *c,
                              const npr_plan_machine *m);

/* ---- the whole pipeline -------------------------------------------------------------------------------- */

/* What is asked of npr-plan. */
typedef struct npr_plan_pipeline {
    double rows, dim, part_rows;
    double text;       /* bytes of metadata per row; 0: vectors alone */
    double tokens;     /* bytes of a caption as tokens */
    const char *mode;  /* "exact", "caption", or the factory string of an index */
    double queries, k; /* queries, or classes of a caption search; rows kept of each */
    double batch, tile_rows;
    double matches;                                /* caption: of all rows */
    int filter;                                    /* the CLIP filter */
    double pool_rows, pool_part_rows;              /* 0: queries x k; of a part of the pool */
    double sample, probes, refine, recall_queries; /* of an index; sample 0: 64 a list, 65,536 at least */
    double classes, test;                          /* of the head; rows of the test set */
    double images, image_bytes, image_part_rows;   /* 0: no extraction; bytes of an image */
    double flop, weights, thread;                  /* of the image tower */
    double prompts, text_flop;                     /* of a class; of a prompt. 0: no text head is made */
    double text_weights, text_thread;              /* of the text tower */
    int join;                                      /* the images are the pool's, downloaded */
    double resident;                               /* as of the search's shape */
    int urls;
    int loo;                    /* alpha is found by leave-one-out */
    npr_plan_training training; /* of one head */
} npr_plan_pipeline;

typedef struct npr_plan_stage {
    const char *name; /* "ingest", ... */
    npr_plan_needs needs;
    double whole; /* seconds that cannot be interrupted */
} npr_plan_stage;

enum { NPR_PLAN_STAGES = 6 };

/* The stages that this takes, in order; returns how many. */
int npr_plan_stages(const npr_plan_pipeline *p, const npr_plan_cluster *c, const npr_plan_machine *m,
                    npr_plan_stage stage[NPR_PLAN_STAGES]);

/* ---- --dry-run ----------------------------------------------------------------------------------------- */

/* What a stage is given that is to plan and not to work; it fills in the needs. */
typedef struct npr_plan_dry_run {
    const npr_plan_machine *machine; /* NULL: no seconds */
    npr_plan_cluster here;           /* the ranks of this job; threads are the stage's */
    npr_plan_needs needs;
} npr_plan_dry_run;

npr_plan_cluster npr_plan_here(const npr_plan_dry_run *d, double threads);

#endif
