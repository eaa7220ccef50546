/* faiss_build.c - the index of one part: a trained empty index, filled with the part's rows. See
 * npr/search.h. */
#include <stdlib.h>

#include "base/half.h"
#include "base/mem.h"
#include "npr/search.h"
#include "search/faiss/faiss.h"
#include "search/tiles.h"

enum {
    ADD_ROWS = 16 * NPR_CHUNK_ROWS
}; /* rows added at a time: part of what the index is, so not an option */

/* Rows of a batch that have a place in an index, as floats, with their numbers in the part. */
typedef struct finite_rows {
    float *row;  /* [ADD_ROWS][dim] */
    int64_t *id; /* [ADD_ROWS] */
    int64_t n;
} finite_rows;

static void pack(finite_rows *to, const npr_rows *from, int64_t row0)
{
    size_t dim = (size_t)from->dim;
    to->n = 0;
    for (int64_t i = 0; i < from->n; i++) {
        const uint16_t *emb = from->emb + (size_t)i * dim;
        if (!npr_half_row_facts(emb, from->dim).finite) continue;
        npr_half_to_float(emb, to->row + (size_t)to->n * dim, dim);
        to->id[to->n++] = row0 + i;
    }
}

static npr_status fill(npr_faiss *index, npr_tiles *tiles, finite_rows *batch, int threads)
{
    for (;;) {
        const npr_rows *r;
        int64_t row0;
        NPR_TRY(npr_tiles_next(tiles, &r, &row0));
        if (!r) return NPR_OK;
        pack(batch, r, row0);
        NPR_TRY(npr_faiss_add(index, batch->row, batch->id, batch->n, threads));
    }
}

npr_status npr_faiss_of_part(const npr_set *set, int part, npr_faiss **out)
{
    npr_part *file = NULL;
    char *blob = NULL;
    size_t bytes;
    NPR_TRY(npr_part_open(set, part, &file));
    npr_status st = npr_part_read_index(file, &blob, &bytes);
    npr_part_close(file);
    npr_faiss_name(set->path, set->part[part].file);
    if (!st) st = npr_faiss_load(blob, bytes, set->dim, "index", out);
    free(blob);
    return st;
}

npr_status npr_faiss_build(const npr_set *set, int part, const char *trained, size_t trained_bytes,
                           int threads, char **blob, size_t *bytes)
{
    npr_faiss *index = NULL;
    npr_tiles *tiles = NULL;
    finite_rows batch = {
        npr_alloc_aligned((size_t)ADD_ROWS * (size_t)set->dim, sizeof *batch.row, "rows to index"),
        npr_alloc(ADD_ROWS, sizeof *batch.id, "numbers of rows to index"), 0};
    npr_status st = batch.row && batch.id ? NPR_OK : npr_last();
    if (!st) st = npr_faiss_load(trained, trained_bytes, set->dim, "the trained index", &index);
    if (!st) st = npr_tiles_make(NPR_COL(NPR_EMB), set->dim, ADD_ROWS, &tiles);
    if (!st) st = npr_tiles_start(tiles, set, part);
    if (!st) st = fill(index, tiles, &batch, threads);
    npr_tiles_free(tiles);
    free(batch.row);
    free(batch.id);
    if (!st) st = npr_faiss_save(index, blob, bytes);
    npr_faiss_free(index);
    return st;
}
