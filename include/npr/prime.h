/* prime.h - priming: class means of the pool, blended with the text head, and what that does to accuracy.
 * Method: Wallingford et al., Neural Priming for Sample-Efficient Adaptation, NeurIPS 2023, arXiv 2306.10191.
 * Local unless the first argument is a const npr_comm *. */
#ifndef NPR_PRIME_H
#define NPR_PRIME_H

#include <stdint.h>

#include "npr/log.h"
#include "npr/record.h"
#include "npr/status.h"

/* ---- class means -----------------------------------------------------------------------------------------
 */

/* Sums of the rows of each class. Every binary16 value with |x| <= 1 is a multiple of 2^-24, so a double
 * holds the sum of up to 2^29 of them exactly, in any order: the sums, and all that follows, are the same
 * bits for any number of ranks, threads and parts. */
typedef struct npr_means {
    int classes, dim;
    double *sum;    /* [classes][dim] */
    int64_t *count; /* [classes] */
} npr_means;

npr_status npr_means_make(int classes, int dim, npr_means *m);
void npr_means_free(npr_means *m);

/* Add n rows: emb [n][dim] binary16, label [n]; rows labelled < 0 are skipped, labels >= classes refused. */
npr_status npr_means_add(npr_means *m, const uint16_t *emb, const int32_t *label, int64_t n);

/* Add all ranks' sums and counts. Collective. */
void npr_means_reduce(const npr_comm *comm, npr_means *m);

/* Unit-norm mean of each class, out [classes][dim]; zero for a class without rows. */
void npr_means_unit(const npr_means *m, float *out);

/* ---- the primed head -------------------------------------------------------------------------------------
 */

/* w = alpha * text + (1 - alpha) * image, [classes][dim], not renormalised (as the reference does); a class
 * with count 0 keeps its text row. */
void npr_head_blend(const float *text, const float *image, const int64_t *count, int classes, int dim,
                    double alpha, float *w);

/* alpha = exp(-(pool/classes)^2 / sigma^2), pool = images in all: a rule of pool size that needs no test
 * labels. */
double npr_alpha_rule(int64_t pool, int classes, double sigma);

/* ---- evaluation ------------------------------------------------------------------------------------------
 */

/* Counts of one head on a labelled test set. */
typedef struct npr_eval {
    int classes;
    int64_t *right, *seen; /* [classes] */
} npr_eval;

npr_status npr_eval_make(int classes, npr_eval *e);
void npr_eval_free(npr_eval *e);
void npr_eval_add(npr_eval *e, const int32_t *label, const int32_t *predicted, int64_t n);
void npr_eval_reduce(const npr_comm *comm, npr_eval *e); /* Collective */

typedef struct npr_accuracy {
    double top1, top1_low, top1_high; /* share right; 95 % Wilson interval */
    double mean, mean_low, mean_high; /* mean of per-class shares over classes seen; 95 % normal interval */
    int64_t seen;
    int classes_seen;
} npr_accuracy;

npr_accuracy npr_eval_accuracy(const npr_eval *e);

/* ---- the collective stage --------------------------------------------------------------------------------
 */

typedef struct npr_solve_job {
    const char *head, *pool, *shots, *test, *out; /* sets; shots, test may be NULL */
    const char *identity;
    const char *alpha;        /* "0.9", "sweep", "rule" */
    double sigma, sweep_step; /* of the rule; of the sweep 0..1 */
    const char *predictions;  /* file for one line per test row: id, label, zero-shot, primed; or NULL */
    int threads, dry_run;
    int64_t tile_rows;
} npr_solve_job;

/* Prime, evaluate, write the primed head as a set. Collective. */
npr_status npr_solve_run(const npr_comm *comm, const npr_log *log, npr_record *rec, const npr_solve_job *job);

#endif
