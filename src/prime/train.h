/* train.h - heads trained by gradients: rows in memory in a shuffled order, gradients that do not depend on
 * who computes them, and two ways downhill. Local unless the first argument is a const npr_comm *.
 *
 * The rows are shuffled once and cut into atoms of NPR_ATOM_ROWS, which belong to ranks in runs of
 * NPR_UNIT_ATOMS. The gradient of an atom or unit comes from two GEMMs of a shape that depends on the rows
 * alone; its values are rounded to multiples of a power of two, so large that no sum of all of them can round
 * in a double: all additions after that are exact, and the sum is the same bits in any order, over any
 * threads and ranks. */
#ifndef NPR_PRIME_TRAIN_H
#define NPR_PRIME_TRAIN_H

#include "prime/solve.h"

enum { NPR_ATOM_ROWS = 32, NPR_UNIT_ATOMS = 8, NPR_UNIT_ROWS = NPR_ATOM_ROWS * NPR_UNIT_ATOMS };

typedef struct npr_train {
    int dim;
    int64_t rows, atoms; /* of all ranks; rows that have a label */
    int64_t first, last; /* atoms of this rank: [first, last) */
    int64_t *start;      /* [last - first + 1] the rows of atom first + i are start[i] .. start[i + 1] - 1 */
    uint16_t *emb;       /* [start[last - first]][dim] */
    int32_t *label;      /* [start[last - first]] */
} npr_train;

/* Read the rows and send each to the rank its place in the shuffle belongs to. Collective. */
npr_status npr_train_load(const npr_comm *comm, const npr_log *log, const npr_material *m, uint64_t seed,
                          npr_train *t);
void npr_train_free(npr_train *t);

/* Sums of cross-entropy and its gradient over rows: logits are scale x cosines with the rows of a head. */
typedef struct npr_gradient {
    const npr_train *t;
    int classes, threads;
    float scale;
    double to_grid, to_loss_grid; /* added and taken away again, these round to the grids */
    float *work;                  /* per thread: a unit's rows, logits and gradient */
    size_t work_each;
    double *sum; /* per thread [classes * dim + 2]: gradient by the head / scale, loss, rows */
    size_t sum_each;
} npr_gradient;

npr_status npr_gradient_make(const npr_train *t, int classes, int threads, double scale, npr_gradient *g);
void npr_gradient_free(npr_gradient *g);

/* Clear the sums, then add units of `atoms` atoms: unit[i] counts from this rank's first atom. The totals of
 * this rank are in sum[0 .. sum_each). */
void npr_gradient_run(npr_gradient *g, const float *w, const int64_t *unit, int64_t n, int atoms);

/* Add the sums of all ranks. Collective. */
void npr_gradient_reduce(const npr_comm *comm, npr_gradient *g);

/* Logits [n][classes] become p - y; the sum of -log p[label] is returned. */
double npr_softmax_rows(float *logits, const int32_t *label, int n, int classes, double *work);

/* ---- going on ------------------------------------------------------------------------------------------ */

/* The state of a training, the same bytes on every rank; rank 0 keeps it. */
typedef struct npr_checkpoint {
    const npr_log *log;
    char *path;   /* NULL: nothing is kept */
    double every; /* seconds between two times it is kept */
    double saved; /* when it last was */
    void *state;  /* the caller's */
    size_t bytes;
} npr_checkpoint;

/* *found = 1: the state is what an earlier run kept. Collective. */
npr_status npr_checkpoint_read(const npr_comm *comm, npr_checkpoint *c, int *found);

/* Keep it if it is time. On rank 0, elsewhere nothing: the caller must agree on what it returns. */
npr_status npr_checkpoint_keep(npr_checkpoint *c);

/* Keep it now, for a run that was asked to stop: failing is said, and changes nothing. Local. */
void npr_checkpoint_leave(npr_checkpoint *c);

/* ---- downhill ------------------------------------------------------------------------------------------ */

/* Minimise a function of n variables by L-BFGS (Nocedal and Wright, Numerical Optimization, 7.2) with a line
 * search that brackets the weak Wolfe conditions (Lewis and Overton, Math. Program. 141, 2013). */
enum { NPR_LBFGS_KEPT = 10 }; /* steps remembered */

/* All that the next iteration depends on; behind it in memory x, the gradient there, steps and changes of the
 * gradient. */
typedef struct npr_lbfgs_state {
    int64_t done, held, newest; /* iterations made; steps held, the newest one */
    int64_t evaluations;        /* of the function */
    double f, rho[NPR_LBFGS_KEPT];
} npr_lbfgs_state;

typedef struct npr_lbfgs {
    size_t n;
    int iterations;   /* at most */
    double tolerance; /* ends when no value of the gradient is larger */
    npr_status (*value)(void *self, const double *x, double *f, double *gradient);
    npr_status (*step)(void *self); /* told after each iteration, the state being whole; NULL: nobody is */
    void *self;
    double largest;         /* out: largest value of the gradient */
    npr_lbfgs_state *state; /* of make, as are the others; release with npr_lbfgs_free() */
    size_t bytes;           /* of the state with all that is behind it */
    double *x, *work;       /* [n] the point, in the state: the start before run, the result after it */
} npr_lbfgs;

npr_status npr_lbfgs_make(npr_lbfgs *o); /* memory for n variables; x = 0 */
void npr_lbfgs_free(npr_lbfgs *o);

/* From the state as it is: new, or an earlier run's. */
npr_status npr_lbfgs_run(npr_lbfgs *o);

/* The methods behind --method=probe and finetune: out [classes][dim]. told: say in the record what was found,
 * and keep the state of the training in the solve's scratch folder. Collective. */
npr_status npr_train_head(const npr_comm *comm, const npr_solve *s, const npr_material *m, int told,
                          float *out);
npr_status npr_train_probe(const npr_comm *comm, const npr_solve *s, npr_gradient *g, int told,
                           npr_checkpoint *checkpoint, float *out);
npr_status npr_train_finetune(const npr_comm *comm, const npr_solve *s, npr_gradient *g, int told,
                              npr_checkpoint *checkpoint, float *out);

#endif
