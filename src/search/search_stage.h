/* search_stage.h - what the files of the collective search share (search_mpi.c and its helpers); not for
 * others.
 *
 *   inputs_mpi.c   open and check the sets, hand queries and names to all ranks
 *   needs.c        batches and memory; what --dry-run says
 *   scan_mpi.c     scan the parts, merge the lists
 *   scan_journal_mpi.c  what was found stays on the disk (scan_record.c), and is taken in again
 *   candidates.c   how many rows FAISS proposes
 *   recall.c       FAISS's answers measured against exact ones
 *   tune_mpi.c     the fewest probes that reach a target recall (tuned_mpi.c: once for all runs)
 *   plan.c         which rows make the pool, in which order
 *   keep_mpi.c     the rows' own classes; the best rows of each class
 *   pool_mpi.c     fetch these rows from where they lie and write the pool's parts
 *   summary.c      the table of classes and the record's results */
#ifndef NPR_SEARCH_SEARCH_STAGE_H
#define NPR_SEARCH_SEARCH_STAGE_H

#include <stdint.h>

#include "npr/plan.h"
#include "npr/search.h"
#include "search/caption/phrases.h"

/* ---- inputs -------------------------------------------------------------------------------------------- */

typedef struct npr_search_inputs {
    npr_set *index, *query_set, *head_set; /* NULL where the job names none */
    npr_queries queries, head;
    char *names;            /* caption: text of the class file */
    npr_phrases *phrases;   /* caption: the same, read */
    const npr_queries *by;  /* exact, faiss: the vectors searched with: queries, or the head itself */
    int lists;              /* queries, or classes of the class file */
    int32_t *label;         /* [lists] the class of a list; -1 = none */
    const char **name;      /* [lists] names for the table; NULL = none is known */
    npr_resident *resident; /* parts that stay in memory; NULL: none */
    char *identity;         /* of the pool: options that shape it and digests of the inputs */
} npr_search_inputs;

/* Open, read, check against one another; sizes and digests go into the record. Collective. */
npr_status npr_search_inputs_read(const npr_comm *comm, const npr_log *log, const npr_search_job *job,
                                  npr_search_inputs *in);
void npr_search_inputs_free(npr_search_inputs *in);

/* ---- what it takes ------------------------------------------------------------------------------------- */

/* The search as npr/plan.h wants to know it. Local. */
npr_plan_search_shape npr_search_shape(const npr_search_job *job, const npr_search_inputs *in);

/* --dry-run: what would be done on so many ranks, and what it takes, into the record. Local. */
void npr_search_needs_say(npr_record *rec, const npr_search_job *job, const npr_search_inputs *in, int ranks);

/* ---- scanning ------------------------------------------------------------------------------------------ */

/* One pass over all parts for the lists [list0, list1). */
typedef struct npr_search_pass {
    int kind;
    int list0, list1;
    const char *mode; /* the scanner; "faiss" proposes candidates */
    const npr_queries *by;
    int k;                  /* hits kept of each list */
    int nprobe, refine;     /* how candidates are proposed; 0 where there are none */
    npr_chosen *candidates; /* SEARCH_CANDIDATES: what is found; else the rows to score, NULL: all */
} npr_search_pass;

/* Kinds of passes: the search itself; the exact answers that recall is measured against; the rows that FAISS
 * proposes to the search, and, only in journals, those of parts that were asked again. */
enum { SEARCH_MAIN, SEARCH_TRUTH, SEARCH_CANDIDATES, SEARCH_MORE };

/* Candidates of a query at most: FAISS answers 64 queries at a time, and each may bring so many. */
enum { SEARCH_CANDIDATES_MAX = 1 << 19 };

/* Candidates of a query that k rows and this refine factor ask for, of all parts together. Local. */
int64_t npr_search_candidates(int64_t k, int64_t refine, int64_t rows);

/* Are they too many for an index of so many rows? With a target recall the tuner stays below what fits.
 * Local. */
npr_status npr_search_candidates_check(const npr_search_job *job, int64_t rows);

typedef struct npr_search_times {
    double scan;
    double merge, exposed; /* merging; that part of it in which this rank did not scan */
    int beside;            /* merges started beside the scan */
    double waited;         /* for the other ranks between rounds of parts; within scan */
    int64_t bytes;         /* scanned by this rank in this run */
    double rows_waited;    /* within scan, for rows (and indexes) that were not yet read */
    double reading;        /* of the thread that reads ahead; where none does, the same */
    double pairs;          /* rows scanned, times lists */
} npr_search_times;

typedef struct npr_scan_journal npr_scan_journal; /* scan_journal.h */

/* Where the hits of a pass are: those of SEARCH_CANDIDATES in candidates, any others in lists. */
typedef struct npr_scan_hits {
    npr_topk *lists;
    npr_proposals *candidates; /* or NULL */
    int64_t *asked; /* [parts] of candidates: rows of the part that a query was asked for; 0: all */
} npr_scan_hits;

/* Scan what no earlier run has scanned, journal it, merge: the pass's lists and tally, the same on all ranks;
 * or, of SEARCH_CANDIDATES, no lists (NULL), and in pass->candidates what this rank has found. Collective. */
npr_status npr_search_pass_run(const npr_comm *comm, const npr_log *log, const npr_search_job *job,
                               const npr_search_inputs *in, npr_scan_journal *journal,
                               const npr_search_pass *pass, npr_topk **lists, npr_tally *tally,
                               npr_search_times *times);

/* Queries q0 .. q1-1 of q; borrows its arrays. Local. */
npr_queries npr_search_queries_view(const npr_queries *q, int q0, int q1);

npr_status npr_search_tally_make(int lists, npr_tally *t);
void npr_search_tally_free(npr_tally *t);
void npr_search_tally_clear(npr_tally *t);
void npr_search_tally_add(npr_tally *to, const npr_tally *from);

/* ---- the plan of the pool ------------------------------------------------------------------------------ */

typedef struct npr_plan_row {
    npr_hit hit;
    int32_t label; /* of the list; the row's own is read with the row (pool "row") */
    int32_t list;
    int32_t recalls; /* lists (of the class) it stands in */
} npr_plan_row;

typedef struct npr_search_plan {
    npr_plan_row *row; /* [count] */
    size_t count, cap;
    int full; /* lists whose k-th hit is not below the least score: there may be more of that score */
} npr_search_plan;

/* Append the hits of merged lists, but those below min_score; list q stands for list list0 + q. Local. */
npr_status npr_search_plan_add(npr_search_plan *p, const npr_topk *lists, int list0, const int32_t *label,
                               double min_score);

/* Put the rows in the pool's order and drop what stands in it twice. by_class: a row once per class, order
 * (label, score down, id, place); else once, with its best score, order (id, place). Local. */
void npr_search_plan_order(npr_search_plan *p, int by_class);

/* Of each class only the `keep` rows of the highest scores, and none without a score (-INFINITY) or a class;
 * an ordered plan stays one. Adds the rows dropped to outranked [classes]. Local. */
void npr_search_plan_best(npr_search_plan *p, int64_t keep, int by_class, int64_t *outranked);

/* What became of the rows of each class after they were recalled. */
typedef struct npr_search_kept {
    int classes;                             /* largest class + 1; 0: not counted */
    int64_t *recalled, *recalls, *outranked; /* [classes] rows; lists they stood in; rows dropped by `keep` */
    int64_t unlabelled;                      /* rows without a class */
} npr_search_kept;

/* Give the rows of a "row" pool their own classes, and with job->keep drop all but the best of each class;
 * rows without a class are dropped then, too. An ordered plan stays one. Collective. */
npr_status npr_search_keep(const npr_comm *comm, const npr_search_job *job, const npr_search_inputs *in,
                           int by_class, npr_search_plan *plan, npr_search_kept *kept);
void npr_search_kept_free(npr_search_kept *k);

/* ---- writing ------------------------------------------------------------------------------------------- */

/* Write the parts of the pool that are not done yet. Collective. */
npr_status npr_search_pool_write(const npr_comm *comm, const npr_log *log, const npr_search_job *job,
                                 const npr_search_inputs *in, const npr_search_plan *plan, npr_set_writer *w,
                                 int parts);

/* Columns of the pool for this index; by_vector: searched by vectors. Local. */
uint32_t npr_search_pool_columns(const npr_set *index, int by_vector);

/* ---- recall -------------------------------------------------------------------------------------------- */

enum { SEARCH_RECALLS = 3 }; /* recall@1, @10, @100 */

typedef struct npr_search_recall {
    int queries; /* 0: not measured */
    double mean, least;
    double at[SEARCH_RECALLS]; /* mean share of the 1, 10, 100 best that were found */
    double scanned;            /* share of the index's rows whose codes were compared; -1: not known */
} npr_search_recall;

/* Some of the queries, spread evenly, to be answered exactly. */
typedef struct npr_search_sample {
    npr_queries queries;
    int *list; /* [nq] which list each was, ascending */
} npr_search_sample;

/* Both, one after the other, in memory of their own; names are left out. Local. */
npr_status npr_search_queries_join(const npr_queries *a, const npr_queries *b, npr_queries *out);

npr_status npr_search_sample_make(const npr_queries *from, int n, npr_search_sample *s);
void npr_search_sample_free(npr_search_sample *s); /* also of a half-made one */

/* The share of the exact hits that were found. The plan must not be ordered yet. Local. */
npr_status npr_search_recall_measure(const npr_search_plan *found, const npr_topk *truth,
                                     const npr_search_sample *s, npr_search_recall *recall);

/* What --target-recall has chosen. */
typedef struct npr_search_tuned {
    int queries,
        rows; /* tuned by so many queries, of which so many are disturbed rows; 0: was not asked for */
    int nprobe, refine;
    double recall, error; /* mean over these queries and its standard error */
    int reached;
    double cost; /* bytes a query touches */
} npr_search_tuned;

/* Queries to tune by: up to 64 of those at which recall is not measured (`measured` of them), spread evenly;
 * where fewer than 16 are left, rows of the index moved in a random direction fill them up (*rows of them).
 * The same on every rank; freed with npr_queries_free(). Collective. */
npr_status npr_search_tune_queries(const npr_comm *comm, const npr_log *log, const npr_search_inputs *in,
                                   int measured, npr_queries *q, int *rows);

/* The probes and the refine factor that reach job->target_recall and touch the fewest bytes. Exact answers of
 * by[i] are list `first` + i of truth. best->rows is kept. Collective. */
npr_status npr_search_tune(const npr_comm *comm, const npr_search_job *job, const npr_search_inputs *in,
                           const npr_queries *by, const npr_topk *truth, int first, npr_search_tuned *best);

/* The same, kept in the scratch folder of w, where the next run of the same search finds it: the parts of a
 * pool that several runs write are of one choice. NPR_EDATA: what is kept is damaged. Collective. */
npr_status npr_search_tune_once(const npr_comm *comm, const npr_log *log, const npr_search_job *job,
                                const npr_search_inputs *in, const npr_set_writer *w, const npr_queries *by,
                                const npr_topk *truth, int first, npr_search_tuned *best);

/* Share of the index's rows that so many probes compare for these queries; -1: not known. Collective. */
npr_status npr_search_scanned(const npr_comm *comm, const npr_set *index, const npr_queries *by, int nprobe,
                              double *share);

/* ---- results ------------------------------------------------------------------------------------------- */

/* Put the results into the record, and write the table of classes into the pool's folder.
 * Local: rank 0. */
npr_status npr_search_summary_write(npr_record *rec, const npr_search_inputs *in, const npr_search_plan *plan,
                                    const npr_tally *tally, const npr_search_kept *kept,
                                    const npr_search_recall *recall, const npr_search_tuned *tuned,
                                    int by_class, const char *folder);

/* The same results again, from the folder of a finished pool. Local. */
npr_status npr_search_summary_read(npr_record *rec, const char *folder);

#endif
