/* index.c - npr-index. See npr/plan.h. FAISS trains and adds in products of its own on one BLAS thread
 * (search/faiss.c), so these rates do not grow with threads; coding does. */
#include <math.h>

#include "plan/phase.h"

/* FAISS 1.7: rounds of k-means over lists and over codes; points used of each, at most. */
enum { LIST_ROUNDS = 10, CODE_ROUNDS = 25, POINTS = 256 };

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

static void train_seconds(const npr_plan_index_shape *s, const npr_plan_cluster *c, const npr_plan_machine *m,
                          npr_plan_needs *n)
{
    const npr_plan_factory *f = &s->factory;
    double used = fmin(s->sample, POINTS * f->lists);
    double coded = fmin(s->sample, POINTS * f->codes);
    double row = 2 * s->dim + 8;
    /* ids are read by all, the rows of the sample picked out of their chunks */
    double share = npr_plan_busiest(s->rows, s->part_rows, c->ranks) / s->rows;
    double chunks = s->rows / 1024, touched = chunks * (1 - exp(-s->sample / fmax(chunks, 1)));
    double read = share * (8 * s->rows + touched * 1024 * 2 * s->dim) / m->part_read +
                  share * s->sample * m->part_pick + (c->ranks > 1 ? s->sample * row / c->bandwidth : 0);
    npr_plan_add(n, "sample", read, "ids and touched chunks / part_read + rows x part_pick");
    if (f->lists > 0)
        npr_plan_add(n, "lists", 2.0 * LIST_ROUNDS * used * f->lists * s->dim / m->train,
                     "10 rounds x 2 x sample x lists x dim / train, on rank 0");
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
     * so too. On rank 0 the sample before, as it arrives and as floats. */
    double fill = 4 * npr_plan_index_bytes(s, part), sample = s->sample * f->sample;
    n.memory = f->known ? fmax(fill, sample) : NAN;
    if (!m) return n;
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
