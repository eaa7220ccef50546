/* kmeans.c - which centroid is nearest to each row. See kmeans.h. */
#include "search/faiss/kmeans.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/score.h"

/* Rows and centroids that are scored together: fewer centroids than all, so that many rows use what is packed
 * of them, and their scores stay in the cache. */
enum { ROWS = 1 << 16, SLICE = 4096 };

typedef struct nearest {
    int32_t *list; /* [ROWS] */
    double *score; /* [ROWS] */
} nearest;

static npr_status assign_some(const uint16_t *emb, int64_t n, int dim, const float *centroid, int lists,
                              int threads, nearest *found, nearest *best)
{
    for (int from = 0; from < lists; from += SLICE) {
        int m = lists - from < SLICE ? lists - from : SLICE;
        NPR_TRY(npr_score_argmax(emb, n, dim, centroid + (size_t)from * (size_t)dim, m, threads, found->list,
                                 found->score, NULL));
        for (int64_t i = 0; i < n; i++) {
            if (from && !(found->score[i] > best->score[i])) continue;
            best->list[i] = from + found->list[i];
            best->score[i] = found->score[i];
        }
    }
    return NPR_OK;
}

static npr_status assign_sliced(const kmeans_rows *rows, const float *centroid, int lists, int threads,
                                int32_t *list)
{
    nearest found = {npr_alloc(ROWS, sizeof *found.list, "rows to assign"),
                     npr_alloc(ROWS, sizeof *found.score, "rows to assign")};
    nearest best = {NULL, npr_alloc(ROWS, sizeof *best.score, "rows to assign")};
    npr_status st = found.list && found.score && best.score ? NPR_OK : npr_last();
    for (int64_t at = 0; !st && at < rows->n; at += ROWS) {
        int64_t n = rows->n - at < ROWS ? rows->n - at : ROWS;
        best.list = list + at;
        st = assign_some(rows->emb + (size_t)at * (size_t)rows->dim, n, rows->dim, centroid, lists, threads,
                         &found, &best);
    }
    free(found.list);
    free(found.score);
    free(best.score);
    return st;
}

npr_status kmeans_assign(const kmeans_rows *rows, const float *centroid, int lists, int threads,
                         int32_t *list)
{
    if (lists > SLICE) return assign_sliced(rows, centroid, lists, threads, list);
    return npr_score_argmax(rows->emb, rows->n, rows->dim, centroid, lists, threads, list, NULL, NULL);
}
