/* index.c - npr-index. See npr/plan.h. Lists are trained on all ranks and threads (search/faiss/kmeans_mpi.c),
 * where FAISS lets us; FAISS adds in products of its own on one BLAS thread (search/faiss/faiss.c), so that rate
 * does not grow with threads; coding does. */
#include <math.h>

#include "plan/phase.h"

/* Rounds of k-means over lists and, in FAISS 1.7, over codes; points that FAISS uses of each, at most.
 * CODE_ROWS: what rank 0 gets to train codes. */
enum { CODE_ROUNDS = 25, POINTS = 256, CODE_ROWS = 1 << 17, SUMS_BYTES = 64 << 20 };

double npr_plan_compared(const npr_plan_factory *f)
{
    return f->coarse_links > 0 ? fmin(f->lists, 2 * f->coarse_links * log2(fmax(f->lists, 2))) : f->lists;
}

double npr_plan_index_bytes(const npr_plan_index_shape *s, double rows)
{
    const npr_plan_factory *f = &s->factory;
    if (!f->known) return NAN;
    double parts = ceil(rows / s->part_rows);
    return rows * f->row + parts * f->part;
}

double npr_plan_index_sample(const npr_plan_index_shape *s)
{
    return s->factory.spread ? fmin(s->sample, fmax(2 * s->factory.lists, CODE_ROWS)) : s->sample;
}

/* Memory for training, on rank 0. */
static double train_bytes(const npr_plan_index_shape *s, const npr_plan_cluster *c)
{
    const npr_plan_factory *f = &s->factory;
    double first = npr_plan_index_sample(s) * f->sample;
    if (!f->spread || s->rows <= 0) return first;
    /* its rows with their numbers, in which list they are; all centroids and sums of some */
    double here =
        npr_plan_busiest(s->rows, s->part_rows, c->ranks) / s->rows * s->sample * (2 * s->dim + 16 + 12);
    return first + here + f->lists * (4 * s->dim + 28) + SUMS_BYTES;
}

static void list_seconds(const npr_plan_index_shape *s, const npr_plan_cluster *c, const npr_plan_machine *m,
                         npr_plan_needs *n)
{
    const npr_plan_factory *f = &s->factory;
    if (!f->spread) {
        double used = fmin(s->sample, POINTS * f->lists);
        npr_plan_add(n, "lists",
                     2.0 * NPR_PLAN_LIST_ROUNDS * used * f->lists * s->dim * m->threads / m->train,
                     "10 rounds x 2 x sample x lists x dim / train of one thread, on rank 0");
        return;
    }
    double here = npr_plan_busiest(s->rows, s->part_rows, c->ranks) / s->rows * s->sample;
    double sums = 2 * (c->ranks - 1) / c->ranks * f->lists * s->dim * 8;
    npr_plan_add(
        n, "lists",
        NPR_PLAN_LIST_ROUNDS * (2 * here * f->lists * s->dim / (m->train * npr_plan_team(c, m)) +
                                (c->ranks > 1 ? npr_plan_message(c, sums) : 0)),
        "10 rounds x (2 x sample of a rank x lists x dim / train + sums of the lists twice / bandwidth)");
}

static void train_seconds(const npr_plan_index_shape *s, const npr_plan_cluster *c, const npr_plan_machine *m,
                          npr_plan_needs *n)
{
    const npr_plan_factory *f = &s->factory;
    double coded = fmin(npr_plan_index_sample(s), POINTS * f->codes);
    double row = 2 * s->dim + 16;
    /* ids are read by all, the rows of the sample picked out of their chunks */
    double share = npr_plan_busiest(s->rows, s->part_rows, c->ranks) / s->rows;
    double chunks = s->rows / 1024, touched = chunks * (1 - exp(-s->sample / fmax(chunks, 1)));
    double read = share * (8 * s->rows + touched * 1024 * 2 * s->dim) / m->part_read +
                  share * s->sample * m->part_pick +
                  (c->ranks > 1 ? npr_plan_index_sample(s) * row / c->bandwidth : 0);
    npr_plan_add(n, "sample", read, "ids and touched chunks / part_read + rows x part_pick");
    if (f->lists > 0) list_seconds(s, c, m, n);
    if (f->subs > 0)
        npr_plan_add(n, "codes",
                     2.0 * CODE_ROUNDS * coded * f->codes * s->dim / (m->train_pq * npr_plan_team(c, m)) +
                         (f->polysemous ? f->subs * m->train_polysemous : 0),
                     "25 rounds x 2 x sample x codes x dim / train_pq + sub-quantizers x train_polysemous");
}

npr_plan_needs npr_plan_index(const npr_plan_index_shape *s, const npr_plan_cluster *c,
                              const npr_plan_machine *m)
{
    const npr_plan_factory *f = &s->factory;
    npr_plan_needs n = {.files = ceil(s->rows / s->part_rows)};
    double part = fmin(s->part_rows, s->rows);
    n.busy = fmin(n.files, c->ranks);
    n.disk = npr_plan_blob(npr_plan_index_bytes(s, s->rows), n.files);
    n.read = s->rows * (2 * s->dim + 8) + s->sample * 2 * s->dim;
    n.sent = f->part;
    /* The longest part's index in FAISS's lists, which grow by doubling, and as bytes to be written, which do
     * so too. On rank 0 the sample before, its own rows and those that arrive, as they arrive and as floats.
     */
    double fill = 4 * npr_plan_index_bytes(s, part);
    n.memory = f->known ? fmax(fill, train_bytes(s, c)) : NAN;
    if (!m || s->rows <= 0) return n;
    train_seconds(s, c, m, &n);
    double busiest = npr_plan_busiest(s->rows, s->part_rows, c->ranks);
    if (f->lists > 0)
        npr_plan_add(&n, "assign", 2 * busiest * npr_plan_compared(f) * s->dim / m->add,
                     "2 x rows x lists x dim / add");
    if (f->subs > 0)
        npr_plan_add(&n, "encode", 2 * busiest * f->codes * s->dim / (m->encode_pq * npr_plan_team(c, m)),
                     "2 x rows x codes x dim / encode_pq");
    double parts = ceil(n.files / c->ranks);
    npr_plan_add(&n, "fill", busiest * s->dim * m->index_row + parts * f->part / m->index_load,
                 "rows x dim x index_row + centroids / index_load");
    if (!f->known || f->links > 0) npr_plan_add(&n, "graph", NAN, "not planned: this kind of index");
    return n;
}
