/* kmeans.h - the centroids of an index's lists, trained on all ranks. See kmeans_mpi.c. */
#ifndef NPR_SEARCH_KMEANS_H
#define NPR_SEARCH_KMEANS_H

#include <stdint.h>

#include "npr/log.h"
#include "npr/status.h"

enum { KMEANS_ROUNDS = 10 }; /* as many as FAISS does for lists */

/* One rank's rows: binary16, all finite. */
typedef struct kmeans_rows {
    int64_t n;
    int dim;
    const uint16_t *emb; /* [n][dim] */
} kmeans_rows;

/* What is to be trained. */
typedef struct kmeans_job {
    int lists, threads;
    int done, rounds; /* rounds of an earlier run, rounds in all */
    /* On rank 0, with the rounds that are done, once a minute and when asked to stop: for the next run. NULL:
     * nothing is kept. */
    npr_status (*keep)(void *self, int done, const float *centroid);
    void *self;
} kmeans_job;

/* Spherical k-means, for inner products: each round gives every row to the centroid of the greatest inner
 * product (of equal ones the first), and makes each centroid the mean of its rows, of unit length. A list
 * that is left without rows gets half of one of the largest. Some ranks may have no rows.
 * centroid[lists][dim] is the same on all ranks: where to begin, and in the end what was found.
 *
 * Scores are exact, and sums are of integers: the same bits for any number of ranks and threads, however rows
 * are dealt to them, on any CPU. NPR_ESTOP: it was asked to stop, after a round or in one, which is then done
 * again. Collective. */
npr_status kmeans_train(const npr_comm *comm, const npr_log *log, const kmeans_rows *rows,
                        const kmeans_job *job, float *centroid);

/* The list of each row, as in a round. Local. */
npr_status kmeans_assign(const kmeans_rows *rows, const float *centroid, int lists, int threads,
                         int32_t *list);

#endif
