/* index_budget.c - which kind of index a budget of bytes per row buys. See
 * index_stage.h.
 *
 * A part's index is whole by itself: codes and row numbers (8 bytes a row), and its own copy of the
 * centroids, of the transform and of the coarse graph. So lists are numbered by the rows of a part, not of
 * the set: sqrt(rows) for short codes, which are scanned faster than centroids are compared; four times as
 * many, found through a graph, for long ones, which are dear to scan. Residuals (fsr) because they find more
 * for the same bytes; no OPQ, whose training is long (how long was not
 * measured here). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "npr/plan.h"
#include "search/faiss/faiss.h"
#include "search/faiss/index_stage.h"

enum {
    LINKS = 32,           /* of a centroid in the coarse graph, twice on the lowest level */
    ROWS_PER_LIST = 64,   /* of the sample; FAISS warns below 39 and takes no more than 256 */
    SAMPLE_LEAST = 65536, /* what OPQ and product quantisers are trained on, at most */
    CODES_LEAST = 8       /* quantisers of 4 bits */
};

int64_t index_sample_rows(const char *factory, int dim)
{
    int64_t n = ROWS_PER_LIST * (int64_t)npr_plan_factory_read(factory, dim).lists;
    return n > SAMPLE_LEAST ? n : SAMPLE_LEAST;
}

/* Bytes of an index of this factory string for a part of so many rows. */
static double bytes_of(const char *factory, int dim, int64_t rows)
{
    npr_plan_factory f = npr_plan_factory_read(factory, dim);
    return f.row * (double)rows + f.part;
}

/* ---- presets ------------------------------------------------------------------------------------- */

static int64_t power_of_two_upto(double x)
{
    int64_t n = 1;
    while (2.0 * (double)n <= x) n *= 2;
    return n;
}

/* Does it cost no more than `bytes` for each row of a part? */
static int fits(const char *factory, int dim, int64_t rows, double bytes)
{
    return bytes_of(factory, dim, rows) <= bytes * (double)rows;
}

npr_status index_budget(double bytes, int dim, int64_t part_rows, char factory[NPR_FACTORY_MAX + 1])
{
    static const char *const scalar[] = {"SQfp16", "SQ8"};
    double root = sqrt((double)part_rows);
    size_t size = NPR_FACTORY_MAX + 1;
    for (size_t i = 0; i < sizeof scalar / sizeof *scalar; i++) {
        snprintf(factory, size, "IVF%lld_HNSW%d,%s", (long long)power_of_two_upto(4 * root), LINKS,
                 scalar[i]);
        if (fits(factory, dim, part_rows, bytes)) return NPR_OK;
    }
    int least = 0; /* quantisers, which must divide the columns */
    for (int m = dim / 4; m >= CODES_LEAST; m--) {
        if (dim % m || m % 2) continue;
        snprintf(factory, size, "IVF%lld,PQ%dx4fsr", (long long)power_of_two_upto(root), m);
        if (fits(factory, dim, part_rows, bytes)) return NPR_OK;
        least = m;
    }
    if (!least)
        return npr_fail(NPR_EUSAGE, "--budget: there is no preset for vectors of %d columns; use --factory",
                        dim);
    return npr_fail(
        NPR_EUSAGE,
        "--budget: the smallest index of parts of %lld rows, %s, takes %.1f bytes per row; %.1f are allowed",
        (long long)part_rows, factory, bytes_of(factory, dim, part_rows) / (double)part_rows, bytes);
}

npr_status index_budget_parse(const char *text, double *bytes)
{
    char *end;
    *bytes = strtod(text, &end);
    if (end != text && *end == 'B') end++;
    if (end == text || *end || !(*bytes > 0) || !(*bytes <= 1e6))
        return npr_fail(NPR_EUSAGE, "--budget=%.40s: wanted bytes per row, such as 24B", text);
    return NPR_OK;
}
