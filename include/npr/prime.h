/* prime.h - priming: class means of the pool, blended with the text head, and what that does to accuracy.
 * Method: Wallingford et al., Neural Priming for Sample-Efficient Adaptation, NeurIPS 2023, arXiv 2306.10191.
 * Local unless the first argument is a const npr_comm *. */
#ifndef NPR_PRIME_H
#define NPR_PRIME_H

#include <stdint.h>

#include "npr/log.h"
#include "npr/plan.h"
#include "npr/record.h"
#include "npr/set.h"
#include "npr/status.h"

/* ---- class means ------------------------------------------------------------------------------------- */

/* Sums of the rows of each class. Every binary16 value with |x| <= 1 is a multiple of 2^-24, so a double
 * holds the sum of up to 2^29 of them exactly, in any order: the sums, and all that follows, are the same
 * bits for any number of ranks, threads and parts. */
typedef struct npr_means {
    int classes, dim;
    double *sum;     /* [classes][dim] up to date when settled */
    int64_t *count;  /* [classes] rows */
    int64_t *weight; /* [classes] rows, each as often as its count says */
    /* of a sum in the making; all 0 when settled */
    int32_t *part;    /* [classes][stride] in sum's memory: sums of the last few rows, in units of 2^-24 */
    int16_t *high;    /* [classes][stride] what was carried from part, in units of 1 */
    uint8_t *held;    /* [classes] rows in part, each as often as its count says */
    uint8_t *carried; /* [classes] times part was carried */
    int stride;
} npr_means;

npr_status npr_means_make(int classes, int dim, npr_means *m);
void npr_means_free(npr_means *m);

/* Add n rows: emb [n][dim] binary16, label [n]; rows labelled < 0 are skipped. Refused, and then the sums are
 * spoiled: a label >= classes, a value outside [-1, 1], more than 2^29 rows of a class. */
npr_status npr_means_add(npr_means *m, const uint16_t *emb, const int32_t *label, int64_t n);

/* The same, with row i taken count[i] times (NULL: once), a product that is exact too: the sum of a class is
 * a multiple of 2^-24 of at most its weight, so the limit of 2^29 holds for weights. A count below 1 is
 * refused. */
npr_status npr_means_add_counted(npr_means *m, const uint16_t *emb, const int32_t *label,
                                 const int32_t *count, int64_t n);

/* Bring m->sum up to date after calls of npr_means_add(). npr_means_reduce() does it. Local. */
void npr_means_settle(npr_means *m);

/* Settle, and add all ranks' sums and counts, exactly. Refuses a class of a weight above 2^29. Collective. */
npr_status npr_means_reduce(const npr_comm *comm, npr_means *m);

/* Unit-norm mean of each class of sums that are settled, out [classes][dim]; zero for a class without rows
 * (or whose rows cancel). */
void npr_means_unit(const npr_means *m, float *out);

/* ---- heads ------------------------------------------------------------------------------------------- */

/* One vector per class. */
typedef struct npr_head {
    int classes, dim;
    float *w;    /* [classes][dim] */
    char **name; /* [classes] captions of the set, "" without */
} npr_head;

/* A head set: its weight column if it has one, else emb. The label column says which class a row is and must
 * hold each of 0 .. rows-1 once. Refuses non-finite vectors. */
npr_status npr_head_read(const npr_set *set, npr_head *h);
void npr_head_free(npr_head *h);

/* w = alpha * text + (1 - alpha) * image, [classes][dim], in double and rounded once; not renormalised, as in
 * the reference. A class with count 0 keeps its text row; count = NULL: every class is blended, as in the
 * reference. */
void npr_head_blend(const float *text, const float *image, const int64_t *count, int classes, int dim,
                    double alpha, float *w);

/* alpha = exp(-(pool/classes)^2 / sigma^2), pool = images in all: a rule of pool size that needs no labels.
 * Rounded to six decimals, so that it is the same on every machine's libm and can be given back as a number. */
double npr_alpha_rule(int64_t pool, int classes, double sigma);

/* Where alpha comes from. */
typedef enum npr_alpha_from {
    NPR_ALPHA_GIVEN,
    NPR_ALPHA_RULE,
    NPR_ALPHA_LOO,
    NPR_ALPHA_VALIDATION
} npr_alpha_from;

/* "rule", "loo", "val" or a number in [0, 1], which goes to *alpha. */
npr_status npr_alpha_parse(const char *text, npr_alpha_from *from, double *alpha);

/* Number of steps of a grid over [0, 1]: 1/step, which must be a whole number that divides 1000. *decimals:
 * digits that print alpha = i / steps exactly (2 or 3). */
npr_status npr_alpha_steps(double step, int *steps, int *decimals);

/* ---- alpha by leave-one-out: no test labels ----------------------------------------------------------- */

/* Each row of the pool is classified by the blended head with its own contribution taken out of its class sum
 * (exact, as sums are), for alpha = i / steps, i = 0 .. steps. A class without (other) rows has its text row
 * as image mean, or zero, as told. Scores are compared exactly; ties go to the lower class. */
typedef struct npr_loo {
    const float *text;      /* [classes][dim], the caller's */
    const npr_means *means; /* sums over all rows, the caller's */
    int text_if_empty, steps;
    float *image;     /* [classes][dim] */
    double head_norm; /* largest norm of a row of text or image */
    int64_t *right;   /* [steps + 1][classes] rows of a class classified right */
    int64_t *seen;    /* [classes] */
} npr_loo;

npr_status npr_loo_make(const float *text, const npr_means *means, int text_if_empty, int steps, npr_loo *l);
void npr_loo_free(npr_loo *l);
/* count as in npr_means_add_counted(): a row is left out as often as it was taken in, and judged once. */
npr_status npr_loo_add(npr_loo *l, const uint16_t *emb, const int32_t *label, const int32_t *count, int64_t n,
                       int threads);
void npr_loo_reduce(const npr_comm *comm, npr_loo *l); /* Collective */

/* Share right at alpha = i / steps, averaged over classes: a pool's class sizes are those of the web's
 * captions, and the common classes would decide for all. */
double npr_loo_accuracy(const npr_loo *l, int i);
int npr_loo_best(const npr_loo *l); /* i of the best alpha; ties go to the larger alpha */

/* ---- evaluation -------------------------------------------------------------------------------------- */

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

/* Counts of two heads on the same rows: the difference of their accuracies, paired. */
typedef struct npr_pairs {
    int64_t seen, gained, lost; /* rows; right only after; right only before */
} npr_pairs;

void npr_pairs_add(npr_pairs *p, const int32_t *label, const int32_t *before, const int32_t *after,
                   int64_t n);
void npr_pairs_reduce(const npr_comm *comm, npr_pairs *p); /* Collective */

typedef struct npr_difference {
    double value, low, high; /* (gained - lost) / seen; 95 % interval of Agresti and Min */
} npr_difference;

npr_difference npr_pairs_difference(const npr_pairs *p);

/* ---- trained heads ----------------------------------------------------------------------------------- */

typedef struct npr_training {
    double l2;                     /* probe: weight of |W|^2 / 2 against the mean loss; 0: 1 / rows */
    int iterations;                /* probe: of L-BFGS, at most */
    double tolerance;              /* probe: of the largest value of the gradient */
    int epochs, batch;             /* finetune: passes over the rows; rows of a step, about */
    double rate;                   /* finetune: learning rate at the start; a cosine brings it to 0 */
    double momentum, decay, scale; /* finetune: of SGD; factor of cosines to logits (CLIP's is 100) */
    double keep;                   /* seconds between two times the state is kept, for a run that goes on */
} npr_training;

/* ---- the collective stage ---------------------------------------------------------------------------- */

typedef struct npr_solve_job {
    /* sets. Of pool and shots one may be NULL, the others (but head and out) too */
    const char *head, *pool, *shots, *test, *validation, *out;
    const char *exclude;  /* a set whose ids name pool rows to leave out, such as copies of test images */
    const char *baseline; /* other heads of the same classes to compare with, commas between; or NULL */
    const char *identity; /* options that shape the head */
    const char *method;   /* "mean", "probe", "finetune", "wise" */
    const char *alpha;    /* a number in [0, 1], "rule", "loo", "val": never from the test set */
    const char *weight;   /* "rows": a pool row counts once; "count": as often as its column count says */
    const char *empty;  /* image mean of a class without rows: "text", its text row; "zero" (the reference) */
    double sigma, step; /* of the rule; of the grid of loo, val and sweep */
    int sweep;          /* 1: also evaluate every alpha of the grid, for the record; picks nothing */
    const char *shots_per_class; /* "0,1,5": draw so many shots of each class; NULL: all shots */
    int seeds;                   /* draws of each number */
    uint64_t seed;               /* of the first draw, the next ones count on; of the training's shuffles */
    npr_training training;
    const char *classes_subset; /* file of classes to evaluate among, too; or NULL */
    const char *predictions;    /* file for one line per test row: id, label, zero-shot, primed; or NULL */
    const char *per_class, *sweep_table; /* files for tables with commas; or NULL */
    int threads;
    npr_plan_dry_run *dry_run; /* plan only; NULL: work */
    int64_t tile_rows;         /* rows read at a time */
} npr_solve_job;

/* Prime, evaluate, write the primed head as a set. Collective. */
npr_status npr_solve_run(const npr_comm *comm, const npr_log *log, npr_record *rec, const npr_solve_job *job);

#endif
