/* solve.h - what the files of the collective solve share; not for others. Collective where the first argument
 * is a const npr_comm *.
 *
 *   solve_mpi.c        the stage from end to end
 *   inputs_mpi.c       options and sets, opened and checked against one another
 *   names.c            the classes of a set's folders beside the head's
 *   learn_mpi.c        a head from rows: means or a trained head, alpha, the blend
 *   fewshot_mpi.c      the same for several numbers of shots and several draws
 *   eval_mpi.c         heads side by side on labelled rows
 *   train.h            heads trained by gradients, and its files
 *   predictions_mpi.c  predictions of all ranks in row order
 *   report.c           accuracies into the record and into tables
 *   head_mpi.c         the head written as a set */
#ifndef NPR_PRIME_SOLVE_H
#define NPR_PRIME_SOLVE_H

#include "npr/prime.h"
#include "prime/material.h"

typedef enum npr_method {
    NPR_METHOD_MEAN,     /* class means, blended with the text head */
    NPR_METHOD_PROBE,    /* a linear probe, alone */
    NPR_METHOD_FINETUNE, /* the text head, fine-tuned */
    NPR_METHOD_WISE      /* the fine-tuned head, blended with the text head */
} npr_method;

enum { NPR_SHOT_NUMBERS = 64 }; /* that --shots-per-class may list */

/* Some of the classes, to choose among. */
typedef struct npr_subset {
    int n;
    int32_t *class;  /* [n] */
    int32_t *number; /* [classes of the head] place in `class`, -1 = not in it */
} npr_subset;

/* Lines of a file: a class by name or number. Names and numbers that mean no class, two, or one already named
 * are refused with the line's number. Local. */
npr_status npr_subset_read(const char *path, const npr_head *head, npr_subset *subset);
void npr_subset_free(npr_subset *subset);

/* A head learnt from rows. */
typedef struct npr_learned {
    npr_means means;       /* of all its rows */
    int64_t *pool_count;   /* [classes] rows of the pool alone */
    const int64_t *keep;   /* [classes] a class with 0 keeps its text row; NULL: none does */
    float *image, *primed; /* [classes][dim] what was learnt (unit means; zero: none), and its blend */
    double alpha;
} npr_learned;

void npr_learned_free(npr_learned *l);

typedef struct npr_solve {
    const npr_log *log;
    npr_record *rec;
    const npr_solve_job *job;
    const char *scratch; /* folder of unfinished work; NULL: the head is complete */
    npr_set *head, *pool, *shots, *test, *validation, *exclude; /* NULL where there is none */
    int baselines;
    npr_set **baseline; /* [baselines] */
    npr_head *other;    /* [baselines] */
    npr_head text;      /* the class names on rank 0 only */
    npr_method method;
    npr_alpha_from from;
    double given;        /* alpha, if given */
    int steps, decimals; /* the grid of alphas */
    npr_ids without;     /* of pool rows that are left out */
    npr_deck deck;
    int numbers, number[NPR_SHOT_NUMBERS]; /* shots per class to try, from the list of the job */
    npr_subset subset;                     /* n = 0: none */
    npr_learned main;                      /* the head that is written */
    float *with; /* [classes][dim] the same with the rows left out; NULL: none were */
} npr_solve;

/* ---- steps --------------------------------------------------------------------------------------------- */

/* Options and sets. npr_solve_inputs_free() also frees half of them. */
npr_status npr_solve_inputs_read(const npr_comm *comm, npr_solve *s);
void npr_solve_inputs_free(npr_solve *s);
void npr_solve_plan(const npr_solve *s); /* plan.* of --dry-run. Local. */

/* Are the classes that a set's labels count (classes.txt, if it has one) the head's? One of them at another
 * place is NPR_EDATA; as many others may be other names for the same. On rank 0, who knows the head's names.
 * Local. */
npr_status npr_solve_check_names(const npr_solve *s, const npr_set *set);

/* The list of rows for this number of shots of each class, all of them if draw is NULL. Local. */
npr_material npr_solve_material(const npr_solve *s, const npr_draw *draw);

/* Learn a head. told: say in the record what was found. */
npr_status npr_learn(const npr_comm *comm, const npr_solve *s, const npr_material *m, int told,
                     npr_learned *l);

/* Several numbers of shots and draws, with and without the pool: result.fewshot.* and the text of fewshot.tsv
 * (rank 0), released with free(). */
npr_status npr_fewshot(const npr_comm *comm, const npr_solve *s, char **table);

/* ---- heads side by side -------------------------------------------------------------------------------- */

typedef struct npr_candidate {
    char name[32];
    const float *w; /* [classes][dim]; NULL: text and image blended at alpha */
    const float *image;
    const int64_t *keep; /* of that blend */
    double alpha;
    int rival;               /* the candidate it is compared with, -1 = none */
    npr_eval eval, subset;   /* found: over all classes; over the subset's rows, chosen among its classes */
    npr_pairs pairs, within; /* found: from the rival to this one; the same over the subset */
} npr_candidate;

typedef struct npr_trial {
    const npr_set *set;
    const char *what;
    npr_candidate *candidate;
    int n;
    const npr_subset *subset; /* NULL: none */
    int before, after;        /* candidates whose predictions are kept in `lines`, -1 = none */
    char *lines;              /* predictions of this rank's rows */
    size_t used, cap;
    npr_seconds seconds;
} npr_trial;

/* Fill in what the candidates find, the same on all ranks. */
npr_status npr_trial_run(const npr_comm *comm, const npr_solve *s, npr_trial *t);
void npr_trial_free(npr_trial *t); /* what run made; not the candidates themselves */

/* A candidate for each alpha of the grid, and their number; NULL: no memory. Release with free(). Local. */
npr_candidate *npr_trial_grid(const npr_solve *s, const npr_learned *l);

/* The digest of the predictions, and the file if one is wanted. */
npr_status npr_predictions_write(const npr_comm *comm, const npr_solve *s, const npr_trial *t);

/* ---- saying what was found. Local: rank 0 -------------------------------------------------------------- */

void npr_report_trial(const npr_solve *s, const npr_trial *t);
npr_status npr_report_classes(const npr_solve *s, const npr_trial *t); /* the file of --per-class */

/* result.sweep.*; the table with tabs (*tsv), and with commas into the file of --sweep-table. */
npr_status npr_report_sweep(const npr_solve *s, const npr_trial *t, char **tsv);

/* ---- heads --------------------------------------------------------------------------------------------- */

/* Read a head on rank 0 for all; the names stay on rank 0. */
npr_status npr_head_read_all(const npr_comm *comm, const npr_set *set, npr_head *h);

/* The job text that names this very head: options and digests of inputs. NULL: no memory. Release with
 * free(). Local. */
char *npr_solve_identity(const npr_solve *s);

/* Write the primed head and classes.tsv into a set begun after this plan, and finish it. */
npr_status npr_solve_write(const npr_comm *comm, const npr_solve *s, const npr_set_plan *plan,
                           npr_set_writer *writer);

#endif
