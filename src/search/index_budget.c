/* index_budget.c - which kind of index a budget of bytes per row buys, and what a kind costs. See
 * index_stage.h.
 *
 * A part's index is whole by itself: codes and row numbers (8 bytes a row), and its own copy of the
 * centroids, of the transform and of the coarse graph. So lists are numbered by the rows of a part, not of
 * the set: sqrt(rows) for short codes, which are scanned faster than centroids are compared; four times as
 * many, found through a graph, for long ones, which are dear to scan. Residuals (fsr) because they find more
 * for the same bytes; no OPQ, which FAISS trains for longer than everything else takes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "search/faiss.h"
#include "search/index_stage.h"

enum {
    LINKS = 32,           /* of a centroid in the coarse graph, twice on the lowest level */
    ROWS_PER_LIST = 64,   /* of the sample; FAISS warns below 39 and takes no more than 256 */
    SAMPLE_LEAST = 65536, /* what OPQ and product quantisers are trained on, at most */
    CODES_LEAST = 8       /* quantisers of 4 bits */
};

/* ---- what a factory string says ------------------------------------------------------------------ */

static int64_t number_after(const char *factory, const char *word)
{
    const char *at = strstr(factory, word);
    return at ? strtoll(at + strlen(word), NULL, 10) : 0;
}

int64_t index_lists(const char *factory)
{
    return number_after(factory, "IVF");
}

int64_t index_sample_rows(const char *factory)
{
    int64_t n = ROWS_PER_LIST * index_lists(factory);
    return n > SAMPLE_LEAST ? n : SAMPLE_LEAST;
}

/* Bytes of a code; 0 if the factory string does not tell. */
static double code_bytes(const char *factory, int dim)
{
    const char *last = strrchr(factory, ',');
    int m, bits = 8;
    last = last ? last + 1 : factory;
    if (!strncmp(last, "HNSW", 4)) return 4.0 * dim;
    if (sscanf(last, "PQ%dx%d", &m, &bits) >= 1) return (double)m * bits / 8;
    if (!strncmp(last, "SQfp16", 6)) return 2.0 * dim;
    if (sscanf(last, "SQ%d", &bits) == 1) return (double)dim * bits / 8;
    return strncmp(last, "Flat", 4) ? 0 : 4.0 * dim;
}

/* Columns after the transform that the factory string begins with. */
static double turned_dim(const char *factory, int dim)
{
    int m, out = dim;
    if (sscanf(factory, "OPQ%d_%d", &m, &out) == 2 || sscanf(factory, "PCA%d", &out) == 1 ||
        sscanf(factory, "PCAR%d", &out) == 1)
        return out;
    return dim;
}

index_cost index_cost_of(const char *factory, int dim)
{
    index_cost c = {0};
    double inside = turned_dim(factory, dim), code = code_bytes(factory, (int)inside);
    if (!(code > 0)) return c;
    const char *comma = strchr(factory, ',');
    int transform = !strncmp(factory, "OPQ", 3) || !strncmp(factory, "PCA", 3);
    int64_t lists = index_lists(factory), links = number_after(factory, "HNSW");
    c.row = code + 8 + (lists ? 0 : 8.0 * (double)links);
    c.part = (double)lists * (inside * 4 + 8.0 * (double)links) + (transform && comma ? inside * dim * 4 : 0);
    if (strstr(factory, "x4fs")) /* 16 centroids of a quantiser; lists are padded to blocks of 32 codes */
        c.part += 16 * inside * 4 + (double)lists * 16 * code;
    /* floats of the sample, and once more after the transform */
    c.sample = 6.0 * dim + 16 + (transform ? 4 * inside : 0);
    return c;
}

double index_bytes(const index_cost *cost, int64_t rows)
{
    return cost->row * (double)rows + cost->part;
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
    index_cost c = index_cost_of(factory, dim);
    return index_bytes(&c, rows) <= bytes * (double)rows;
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
    index_cost c = index_cost_of(factory, dim);
    return npr_fail(
        NPR_EUSAGE,
        "--budget: the smallest index of parts of %lld rows, %s, takes %.1f bytes per row; %.1f are allowed",
        (long long)part_rows, factory, index_bytes(&c, part_rows) / (double)part_rows, bytes);
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
