/* solve.h - what the steps of npr_solve_run() share. Collective where the first argument is a const npr_comm
 * *. */
#ifndef NPR_PRIME_SOLVE_H
#define NPR_PRIME_SOLVE_H

#include "npr/prime.h"

typedef struct npr_solve {
    const npr_log *log;
    npr_record *rec;
    const npr_solve_job *job;
    npr_set *head, *pool, *shots, *test; /* shots, test may be NULL */
    npr_head text;                       /* the class names on rank 0 only */
    npr_means means;                     /* pool and shots */
    int64_t *pool_count;                 /* [classes] rows of the pool alone */
    const int64_t *keep;                 /* [classes] a class with 0 keeps its text row; NULL: none does */
    float *image, *primed;               /* [classes][dim] unit means (zero: none), the blend */
    npr_alpha_from from;
    double alpha;
    int steps, decimals; /* the grid of alphas */
} npr_solve;

/* Read a head on rank 0 for all; the names stay on rank 0. */
npr_status npr_head_read_all(const npr_comm *comm, const npr_set *set, npr_head *h);

/* Zero-shot, image means only and primed on the test set: result.* and check.predictions, the predictions
 * file, the sweep. *sweep is the text of sweep.tsv (rank 0; NULL without --sweep), released with free(). */
npr_status npr_solve_evaluate(const npr_comm *comm, npr_solve *s, char **sweep);

/* The job text that names this very head: options and digests of inputs. NULL: no memory. Release with
 * free(). Local. */
char *npr_solve_identity(const npr_solve *s);

/* Write the primed head and classes.tsv into a set begun after this plan, and finish it. */
npr_status npr_solve_write(const npr_comm *comm, const npr_solve *s, const npr_set_plan *plan,
                           npr_set_writer *writer);

#endif
