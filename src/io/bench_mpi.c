/* bench_mpi.c - what reading a set costs when its files are in the page cache. See npr/bench.h. */
#include "io/join.h"
#include "npr/bench.h"

#include <math.h>
#include <stdlib.h>

#include "base/measure.h"
#include "base/mem.h"
#include "npr/log.h"
#include "npr/set.h"

enum { TILE = 16 * NPR_CHUNK_ROWS, REPEATS = 3 };

/* Every row of a part in tiles. */
static npr_status read_tiles(npr_part *part, npr_rows *r, double *bytes)
{
    int64_t rows = npr_part_rows(part);
    for (int64_t row = 0; row < rows; row += TILE)
        NPR_TRY(npr_part_read(part, row, rows - row < TILE ? rows - row : TILE, r));
    *bytes += (double)rows * (2.0 * r->dim + 8);
    return NPR_OK;
}

/* Every other row of the first tiles, so that each chunk is touched. */
static npr_status pick_rows(npr_part *part, npr_rows *r, int64_t *row, int64_t *picked)
{
    int64_t rows = npr_part_rows(part) < TILE ? npr_part_rows(part) : TILE;
    *picked = 0;
    for (int64_t i = 0; i < rows; i += 2) row[(*picked)++] = i;
    return npr_part_pick(part, row, *picked, r);
}

/* One turn over the parts of this rank: seconds of reading and of picking. */
static npr_status turn(const npr_comm *comm, const npr_set *set, npr_rows *r, int64_t *row, double *read,
                       double *pick, double *bytes, double *picked)
{
    *read = *pick = *bytes = *picked = 0;
    for (int p = 0; p < set->parts; p++) {
        npr_part *part;
        int64_t n = 0;
        if (!npr_owns(comm, p)) continue;
        NPR_TRY(npr_part_open(set, p, &part));
        double start = npr_now();
        npr_status st = read_tiles(part, r, bytes);
        double between = npr_now();
        npr_part_close(part);
        if (!st) st = npr_part_open(set, p, &part); /* with no chunk in hand */
        if (st) return st;
        double again = npr_now();
        st = pick_rows(part, r, row, &n);
        *pick += npr_now() - again;
        npr_part_close(part);
        NPR_TRY(st);
        *read += between - start;
        *picked += (double)n;
    }
    return NPR_OK;
}

static npr_status measure(const npr_comm *comm, const npr_set *set, npr_bench_reading *out)
{
    npr_rows r = {0};
    int64_t *row = npr_alloc(TILE, sizeof *row, "rows to pick");
    double read[REPEATS], pick[REPEATS], bytes = 0, picked = 0;
    npr_status st = row ? npr_rows_make(&r, NPR_COL(NPR_EMB) | NPR_COL(NPR_ID), set->dim, TILE) : npr_last();
    for (int i = 0; i < REPEATS && !st; i++)
        st = turn(comm, set, &r, row, &read[i], &pick[i], &bytes, &picked);
    npr_rows_free(&r);
    free(row);
    if (st || picked == 0) return st;
    out->bytes_per_s = bytes / npr_measure_median(read, REPEATS);
    double chunks = 2 * picked * (2.0 * set->dim + 8) / out->bytes_per_s;
    out->seconds_per_row = fmax(npr_measure_median(pick, REPEATS) - chunks, 0) / picked;
    return NPR_OK;
}

npr_status npr_bench_reading_of(const npr_comm *comm, const char *path, npr_bench_reading *out)
{
    npr_set *set = NULL;
    *out = (npr_bench_reading){NAN, NAN};
    NPR_TRY(npr_set_open_all(comm, path, &set));
    npr_status st = npr_agree(comm, measure(comm, set, out), "reading");
    npr_set_free(set);
    return st;
}

npr_status npr_bench_pictures(const npr_comm *comm, const char *tars, double *seconds)
{
    npr_join j = {.options = {.id_field = "id"}};
    npr_status st = npr_agree(comm, npr_paths_find(tars, ".tar", &j.tar), "pictures");
    double start = npr_now();
    for (size_t i = (size_t)comm->rank; !st && i < j.tar.count; i += (size_t)comm->size)
        st = npr_join_scan_tar(&j, (int)i);
    *seconds = j.pictures ? (npr_now() - start) / (double)j.pictures : NAN;
    npr_join_free(&j);
    return npr_agree(comm, st, "pictures");
}
