/* search.h - recall: which rows of an index belong into the priming pool.
 *
 * Scanners stand behind one interface: each walks the rows of one part and offers hits to bounded lists, one
 * list per query. The collective search (search_mpi.c) gives parts to ranks, keeps a journal per finished
 * part, merges the lists and writes the pool set; it does not know which scanner it runs.
 *
 *     exact    inner product with query vectors: the exact k nearest rows (scan_exact.c)
 *     faiss    the rows that an index built by npr-index ranks highest (scan_faiss.c); those of all parts
 *              together are then scored exactly in a second pass (scan_rescore.c)
 *     caption  rows whose caption contains a class name as a phrase of tokens (caption.c)
 *
 * Local unless the first argument is a const npr_comm *. */
#ifndef NPR_SEARCH_H
#define NPR_SEARCH_H

#include <stdint.h>

#include "npr/log.h"
#include "npr/plan.h"
#include "npr/record.h"
#include "npr/set.h"
#include "npr/status.h"
#include "npr/topk.h"

/* ---- queries ------------------------------------------------------------------------------------------- */

/* Query vectors: a head (one per class) or test images. */
typedef struct npr_queries {
    int nq, dim;
    float *vector;  /* [nq][dim]: weight column if the set has one, else emb */
    int32_t *label; /* [nq]: class of a head row, or the image's label (-1 = none) */
    int64_t *id;    /* [nq] */
    char **name;    /* [nq] class names of a head (captions), NULL without captions */
    int classes;    /* largest label + 1 */
} npr_queries;

/* From a set of vectors. Non-finite vectors are refused (NPR_EDATA). */
npr_status npr_queries_read(const npr_set *set, npr_queries *q);
void npr_queries_free(npr_queries *q);

/* ---- filters, applied in the same pass ----------------------------------------------------------------- */

typedef struct npr_filter_limits {
    float min_similarity; /* rows below are dropped; -INFINITY: off. A row of unknown similarity is kept */
    int max_nsfw;         /* rows above are dropped (npr_nsfw); NPR_NSFW_LIKELY: off */
    int min_side;         /* pixels; the shorter side must reach it; 0: off. Unknown size is kept */
    int clip;             /* 1: keep a row only for the class that the head itself predicts, and only if
                             softmax(100 x scores)[class] >= clip_threshold */
    double clip_threshold;
} npr_filter_limits;

/* Why hits were dropped, per class (list); sums over ranks. A row counts at the first filter that drops it. */
enum {
    NPR_TALLY_MATCHED,
    NPR_TALLY_SIMILARITY,
    NPR_TALLY_NSFW,
    NPR_TALLY_SIZE,
    NPR_TALLY_CLIP,
    NPR_TALLY_FIELDS
};

typedef struct npr_tally {
    int lists;
    int64_t *count;      /* [lists][NPR_TALLY_FIELDS]; matched = before any filter */
    int64_t non_finite;  /* rows skipped because a value is NaN or Inf */
    int64_t rows, bytes; /* rows scanned, bytes of columns read */
} npr_tally;

/* ---- scanners ------------------------------------------------------------------------------------------ */

typedef struct npr_scanner npr_scanner;
typedef struct npr_resident npr_resident;   /* parts in memory; private */
typedef struct npr_proposals npr_proposals; /* rows that FAISS proposes to queries, */
typedef struct npr_chosen npr_chosen;       /* and those of them to be scored, by part; private */
struct npr_scanner {
    const char *name;
    int lists;              /* number of lists it fills */
    double waited, reading; /* seconds: for what is not yet read; of the thread that reads ahead (exact,
                               caption), or the same again (faiss, rescore: none does) */
    int64_t scanned;        /* faiss with one thread: rows whose codes were compared in inverted lists */
    int64_t asked; /* faiss: rows of the last part that a query was asked for; 0: all it may propose */
    /* Offer the hits of one part to `into` and add to `tally`. */
    npr_status (*part)(npr_scanner *self, const npr_set *index, int part, npr_topk *into, npr_tally *tally);
    /* faiss, instead: propose rows of one part. */
    npr_status (*propose)(npr_scanner *self, const npr_set *index, int part, npr_proposals *into,
                          npr_tally *tally);
    /* faiss: more rows of a part of which `asked` were proposed, for the blocks of queries b with open[b], as
     * many as reach the lists' floors. `tally` as of propose(). */
    npr_status (*complete)(npr_scanner *self, const npr_set *index, int part, int64_t asked, const char *open,
                           npr_proposals *into, npr_tally *tally);
    void (*free)(npr_scanner *self);
};

/* What every scanner is made from; the pointers stay owned by the caller and must outlive the scanner. */
typedef struct npr_scan_options {
    const npr_queries
        *queries;            /* exact, faiss: one list each; caption: labels of the lines, NULL = 0, 1, ... */
    const npr_queries *head; /* the classes of the CLIP filter and of cap_by "head"; else may be NULL */
    npr_filter_limits limits;
    int labels_from_index; /* 1: a row's own class is its label column (transductive); 0: the query's label */
    int k, threads;
    int64_t tile_rows;      /* rows read and scored at a time */
    npr_resident *resident; /* exact: parts stay there for other scanners; NULL: they do not */
    const char *names;      /* caption: text of the class file, one class a line, synonyms after tabs */
    const char *cap_by;     /* caption: which rows a full list keeps: by "hash" of the id, "similarity", or
                               "head": the score with the class's own row of the head */
    uint64_t seed;          /* caption: of that hash */
    int nprobe, block;      /* faiss; queries that it answers together, 0: 64 */
    int64_t rows; /* faiss: > 0: of all parts; a part is then asked for its share, and for more later
                     (complete); 0: it is asked until no more of it can reach the lists */
    const npr_chosen *candidates; /* rescore: the rows to score */
} npr_scan_options;

npr_status npr_scanner_exact(const npr_scan_options *o, npr_scanner **out);

/* Proposes rows and scores none: of a part the best by FAISS's own scores, all that may be among the k best
 * of all parts, or (rows > 0) its likely share of them, to be completed. Filters and labels are not looked
 * at. */
npr_status npr_scanner_faiss(const npr_scan_options *o, npr_scanner **out);

/* Filters and scores the candidates that lie in the part, exactly. */
npr_status npr_scanner_rescore(const npr_scan_options *o, npr_scanner **out);
npr_status npr_scanner_caption(const npr_scan_options *o, npr_scanner **out);

/* ---- exact scoring on rows in memory (what the scanners are built from; also for benchmarks) ----------- */

/* Rows in memory offered to a search. */
typedef struct npr_tile {
    int64_t n;
    const uint16_t *emb; /* [n][dim] binary16 */
    const int64_t *id;   /* [n] */
    int64_t place0;      /* place of row 0; row i lies at place0 + i */
    const int32_t
        *gate;       /* [n] or NULL: NPR_GATE_ANY, NPR_GATE_NONE, or the label whose queries may have it */
    double residual; /* an upper bound of ||x - bf16(x)|| over the rows */
} npr_tile;

enum { NPR_GATE_NONE = -2, NPR_GATE_ANY = -1 };

/* Queries prepared for scanning, with scratch memory for `threads` threads. */
typedef struct npr_exact npr_exact;

npr_status npr_exact_make(const npr_queries *q, int k, int threads, npr_exact **out);
npr_status npr_exact_tile(npr_exact *e, const npr_tile *tile, npr_topk *into); /* all queries x all rows */
void npr_exact_free(npr_exact *e);

/* ---- FAISS --------------------------------------------------------------------------------------------- */

/* Train an empty index of this factory string (inner product) on n rows; the serialised bytes are released
 * with free(). */
npr_status npr_faiss_train(const char *factory, int dim, const float *rows, int64_t n, int threads,
                           char **blob, size_t *bytes);

/* Add the rows of a part to a trained empty index, giving the blob for npr_part_add_index(). */
npr_status npr_faiss_build(const npr_set *set, int part, const char *trained, size_t trained_bytes,
                           int threads, char **blob, size_t *bytes);

/* FAISS's own exact search of float rows [n][dim] (IndexFlatIP) as benchmarks measure it: the whole batch of
 * queries at once on `threads` threads. score, id: [nq][k], best first; id is the row number, -1 where there
 * are fewer rows. */
typedef struct npr_faiss_flat npr_faiss_flat;

npr_status npr_faiss_flat_make(const float *rows, int64_t n, int dim, npr_faiss_flat **out);
npr_status npr_faiss_flat_search(npr_faiss_flat *f, const float *q, int nq, int k, int threads, float *score,
                                 int64_t *id);
void npr_faiss_flat_free(npr_faiss_flat *f);

/* ---- the collective stages ----------------------------------------------------------------------------- */

#define NPR_FACTORY_DEFAULT "IVF1024,SQ8"

typedef struct npr_index_job {
    const char *set;
    const char *factory; /* NULL: NPR_FACTORY_DEFAULT, unless there is a budget */
    const char *budget;  /* bytes per row of a part's index, all told, as a text ("24B"); NULL: none */
    int64_t sample; /* training rows, chosen by a seeded hash of the id over the whole set; 0: as many as the
                       index needs */
    uint64_t seed;
    int threads;
    npr_plan_dry_run *dry_run; /* plan only; NULL: work */
} npr_index_job;

/* Build an index inside every part of a set. Resumable. Collective. */
npr_status npr_index_run(const npr_comm *comm, const npr_log *log, npr_record *rec, const npr_index_job *job);

typedef struct npr_search_job {
    const char *index, *out; /* sets */
    const char *urls;        /* a file for the pool's URLs, as img2dataset reads them, or NULL */
    const char *mode;        /* "exact", "faiss", "caption" */
    const char *queries;     /* set of query vectors (exact, faiss) */
    const char *head;        /* text head: classes, and the CLIP filter */
    const char *names;       /* class file (caption); NULL: the head's names */
    const char *pool; /* "class": a hit has its query's label; "row": the index row's own (transductive) */
    const char *identity; /* options that shape the result (npr_opt_identity) */
    npr_filter_limits limits;
    int k, threads, nprobe, refine;
    npr_plan_dry_run *dry_run; /* plan only; NULL: work */
    double target_recall;      /* faiss: > 0: nprobe and refine are chosen to reach it */
    int strict;                /* ... and a target that is out of reach is a failure */
    int recall_queries;        /* faiss: queries whose recall@k is measured against exact; 0: none */
    int64_t keep;     /* > 0: of each class only so many rows, the most similar to the class's own row of the
                         head, after all other filters */
    double min_score; /* exact, faiss: hits below are left out; -INFINITY: off */
    const char *cap_by;
    uint64_t seed;
    int64_t tile_rows, query_batch, part_rows;
    double resident; /* exact: bytes of parts that a rank may keep in memory from batch to batch; 0: none */
} npr_search_job;

/* Recall the pool and write it as a set. Resumable. Collective. */
npr_status npr_search_run(const npr_comm *comm, const npr_log *log, npr_record *rec,
                          const npr_search_job *job);

#endif
