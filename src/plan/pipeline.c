/* pipeline.c - the shapes of all stages from one description. See npr/plan.h. */
#include <math.h>
#include <string.h>

#include "plan/phase.h"

/* rows that ingest has in hand; bytes of the other columns of a row; classes of a part of a text head */
enum { BATCH = 4096, COLUMNS = 65, TEXT_PART = 64 };

static const double LEAST_SAMPLE = 1 << 16, POINTS_PER_LIST = 64; /* as npr-index chooses */

static npr_plan_needs ingest(const npr_plan_pipeline *p, const npr_plan_cluster *c, const npr_plan_machine *m)
{
    npr_plan_ingest_shape s = {.rows = p->rows,
                               .dim = p->dim,
                               .part_rows = p->part_rows,
                               .in = p->rows * p->dim * 2,
                               .text = p->rows * p->text,
                               .row_bytes = 2 * p->dim + (p->text > 0 ? COLUMNS : 32),
                               .batch = BATCH};
    return npr_plan_ingest(&s, c, m);
}

static npr_plan_index_shape index_shape(const npr_plan_pipeline *p)
{
    npr_plan_index_shape s = {.rows = p->rows,
                              .dim = p->dim,
                              .part_rows = p->part_rows,
                              .sample = p->sample,
                              .factory = npr_plan_factory_read(p->mode, (int)p->dim)};
    if (!(s.sample > 0)) s.sample = fmax(LEAST_SAMPLE, POINTS_PER_LIST * s.factory.lists);
    s.sample = fmin(s.sample, s.rows);
    return s;
}

static npr_plan_mode mode_of(const npr_plan_pipeline *p)
{
    return !strcmp(p->mode, "exact")     ? NPR_PLAN_EXACT
           : !strcmp(p->mode, "caption") ? NPR_PLAN_CAPTION
                                         : NPR_PLAN_FAISS;
}

static npr_plan_needs search(const npr_plan_pipeline *p, const npr_plan_cluster *c, const npr_plan_machine *m)
{
    npr_plan_search_shape s = {.mode = mode_of(p),
                               .rows = p->rows,
                               .dim = p->dim,
                               .part_rows = p->part_rows,
                               .lists = p->queries,
                               .k = p->k,
                               .batch = p->batch,
                               .resident = p->resident,
                               .urls = p->urls,
                               .tile_rows = p->tile_rows,
                               .filter = p->filter,
                               .classes = p->classes,
                               .tokens = p->tokens,
                               .matches = p->matches,
                               .pool_rows = p->pool_rows,
                               .pool_part_rows = p->pool_part_rows,
                               .row_bytes = 2 * p->dim + (p->text > 0 ? COLUMNS + 1.5 * p->text : 32),
                               .probes = p->probes,
                               .refine = p->refine};
    if (s.mode == NPR_PLAN_FAISS) {
        s.factory = npr_plan_factory_read(p->mode, (int)p->dim);
        s.recall_queries = p->recall_queries;
    }
    return npr_plan_search(&s, c, m);
}

static double pool_rows(const npr_plan_pipeline *p)
{
    return p->pool_rows > 0 ? p->pool_rows : p->queries * fmin(p->k, p->rows);
}

static npr_plan_needs solve(const npr_plan_pipeline *p, const npr_plan_cluster *c, const npr_plan_machine *m)
{
    npr_plan_solve_shape s = {.classes = p->classes,
                              .dim = p->dim,
                              .pool = pool_rows(p),
                              .test = p->test,
                              .tile_rows = p->tile_rows,
                              .passes = 1 + (p->training.trainings > 0) + p->loo,
                              .loo = p->loo,
                              .heads = 1,
                              .candidates = 3,
                              .training = p->training};
    return npr_plan_solve(&s, c, m);
}

static npr_plan_needs extract(const npr_plan_pipeline *p, const npr_plan_cluster *c,
                              const npr_plan_machine *m)
{
    npr_plan_extract_shape s = {.images = p->images,
                                .image_bytes = p->images * p->image_bytes,
                                .part_rows = p->image_part_rows,
                                .row_bytes = 2 * p->dim + COLUMNS,
                                .flop = p->flop,
                                .weights = p->weights,
                                .thread = p->thread,
                                .joined = p->join ? pool_rows(p) : 0};
    return npr_plan_extract(&s, c, m);
}

static npr_plan_needs text_head(const npr_plan_pipeline *p, const npr_plan_cluster *c,
                                const npr_plan_machine *m)
{
    npr_plan_text_shape s = {.classes = p->classes,
                             .prompts = p->classes * p->prompts,
                             .dim = p->dim,
                             .part_rows = TEXT_PART,
                             .flop = p->classes * p->prompts * p->text_flop,
                             .weights = p->text_weights,
                             .thread = p->text_thread};
    return npr_plan_text(&s, c, m);
}

/* What FAISS trains is one call, and a round over the lists is not kept before it is done. */
static double trained_whole(const npr_plan_index_shape *s, const npr_plan_needs *n)
{
    double seconds = 0;
    for (int i = 0; i < n->phases; i++) {
        double whole = n->phase[i].seconds;
        int trains = !strcmp(n->phase[i].name, "lists") || !strcmp(n->phase[i].name, "codes");
        if (trains && isnan(whole)) return NAN;
        if (!strcmp(n->phase[i].name, "lists"))
            seconds = fmax(seconds, s->factory.spread ? whole / NPR_PLAN_LIST_ROUNDS : whole);
        if (!strcmp(n->phase[i].name, "codes"))
            seconds = s->factory.spread ? fmax(seconds, whole) : seconds + whole;
    }
    return seconds;
}

int npr_plan_stages(const npr_plan_pipeline *p, const npr_plan_cluster *c, const npr_plan_machine *m,
                    npr_plan_stage stage[NPR_PLAN_STAGES])
{
    int n = 0;
    if (p->prompts > 0) stage[n++] = (npr_plan_stage){.name = "text", .needs = text_head(p, c, m)};
    if (p->images > 0 && !p->join)
        stage[n++] = (npr_plan_stage){.name = "extract", .needs = extract(p, c, m)};
    if (p->rows > 0) {
        stage[n++] = (npr_plan_stage){.name = "ingest", .needs = ingest(p, c, m)};
        if (mode_of(p) == NPR_PLAN_FAISS) {
            npr_plan_index_shape s = index_shape(p);
            npr_plan_stage index = {.name = "index", .needs = npr_plan_index(&s, c, m)};
            index.whole = trained_whole(&s, &index.needs);
            stage[n++] = index;
        }
        stage[n++] = (npr_plan_stage){.name = "search", .needs = search(p, c, m)};
        if (p->images > 0 && p->join)
            stage[n++] = (npr_plan_stage){.name = "extract", .needs = extract(p, c, m)};
        stage[n++] = (npr_plan_stage){.name = "solve", .needs = solve(p, c, m)};
    }
    return n;
}
