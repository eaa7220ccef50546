/* forecast.c - see npr/plan.h. The model: a pass reads at the file system's rate and screens at the rate
 * npr-bench has measured, whichever is slower; the merge sends the lists twice over a link and waits 2
 * log2(ranks) latencies (topk_mpi.c). */
#include "npr/plan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "search/search_stage.h"

static const double LISTS_BYTES = 1 << 30; /* of the lists of one batch, when the batch is ours to choose */

/* Lists grow to twice their k and are copied once for merging. */
enum { HIT_BYTES = 3 * sizeof(npr_hit), ROW_COLUMNS = 24, TEXT_ROW = 256 };

static const size_t RECORD_MAX = 1 << 20;

npr_plan_needs npr_plan_search(const npr_plan_shape *s)
{
    npr_plan_needs n = {0};
    double room = fmin(s->k, s->rows), emb = s->rows * s->dim * 2;
    n.batch = s->batch > 0 ? s->batch : floor(LISTS_BYTES / (HIT_BYTES * fmax(room, 1)));
    n.batch = fmax(fmin(n.batch, s->lists), 1);
    n.batches = ceil(s->lists / n.batch);
    /* A pass reads the embeddings, or of the rest at most everything: captions are not counted apart. */
    double rest = fmax(s->file - emb, 0);
    double pass = s->caption ? rest + (s->vectors ? emb : 0) : emb + s->rows * ROW_COLUMNS;
    n.read = pass * n.batches;
    double row = s->caption ? TEXT_ROW : s->dim * 2 + ROW_COLUMNS, scores = s->caption ? 0 : 4 * n.batch;
    n.tiles = 2 * s->tile_rows * row + s->tile_rows * scores / 8;
    n.lists = n.batch * room * HIT_BYTES;
    n.queries = s->vectors ? 3 * s->lists * s->dim * 4 : 0;
    n.plan = s->lists * room * sizeof(npr_plan_row);
    n.window = SEARCH_WINDOW_MB * 1048576.0;
    n.merged = s->lists * room * sizeof(npr_hit);
    /* The lists of a batch are gone when the pool is written. */
    n.memory = fmax(n.tiles + n.lists, n.window) + n.queries + n.plan;
    return n;
}

/* ---- calibration --------------------------------------------------------------------------------------- */

static double find(const char *text, const char *key)
{
    size_t n = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (!strncmp(line, key, n) && line[n] == '=') return strtod(line + n + 1, NULL);
    return NAN;
}

npr_status npr_plan_calibrate(const char *path, npr_plan_machine *m)
{
    char *text = NULL;
    size_t bytes;
    NPR_TRY(npr_file_read(path, RECORD_MAX, &text, &bytes));
    double rows = find(text, "option.rows"), dim = find(text, "option.dim"),
           threads = find(text, "option.threads");
    static const int tried[] = {1, 4, 10, 16, 32, 64, 100, 128, 256, 512, 1000, 4096, 10000};
    m->points = 0;
    for (size_t i = 0; i < sizeof tried / sizeof *tried; i++) {
        char key[64];
        snprintf(key, sizeof key, "bench.nq%d.ours_ms_per_query", tried[i]);
        double cost = find(text, key) * tried[i] * 1e-3 * threads / (rows * dim);
        if (!(cost > 0)) continue;
        m->queries[m->points] = tried[i];
        m->cost[m->points++] = cost;
    }
    free(text);
    if (!m->points)
        return npr_fail(NPR_EDATA,
                        "%s: no record of npr-bench --what=search: wanted option.rows, .dim, .threads and "
                        "bench.nqN.ours_ms_per_query",
                        path);
    return NPR_OK;
}

/* Core-seconds per row and value for q queries at once: between measured points on a line, beyond them in
 * proportion. */
static double cost_of(const npr_plan_machine *m, double q)
{
    int i = 0;
    while (i < m->points && m->queries[i] < q) i++;
    if (i == m->points) return m->cost[i - 1] * q / m->queries[i - 1];
    if (i == 0) return m->cost[0];
    double part = (q - m->queries[i - 1]) / (m->queries[i] - m->queries[i - 1]);
    return m->cost[i - 1] + part * (m->cost[i] - m->cost[i - 1]);
}

npr_plan_times npr_plan_time(const npr_plan_shape *s, const npr_plan_machine *m, double nodes, double ranks,
                             double cores)
{
    npr_plan_needs n = npr_plan_search(s);
    npr_plan_times t = {0};
    double last = s->lists - (n.batches - 1) * n.batch; /* lists of the last batch */
    double work = (n.batches - 1) * cost_of(m, n.batch) + cost_of(m, last);
    t.read = n.read / (nodes * m->read);
    t.screen = s->caption && !s->vectors ? 0 : work * s->rows * s->dim / (ranks * cores);
    t.scan = fmax(t.read, t.screen);
    t.merge =
        2 * (ranks - 1) / ranks * n.merged / m->bandwidth + 2 * ceil(log2(ranks)) * m->latency * n.batches;
    return t;
}
