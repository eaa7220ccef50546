/* stages.c - ingest, extract and solve. See npr/plan.h; search.c and index.c are the others. */
#include <math.h>

#include "plan/phase.h"

/* ---- shared ----------------------------------------------------------------------------------------------
 */

enum { LIBRARIES = 64 << 20, CHUNK = 1024 }; /* bytes of HDF5 and MPI themselves; rows of a chunk */

void npr_plan_add(npr_plan_needs *n, const char *name, double seconds, const char *model)
{
    if (n->phases < NPR_PLAN_PHASES) n->phase[n->phases++] = (npr_plan_phase){name, model, seconds};
    n->seconds += seconds;
}

double npr_plan_slower(double a, double b)
{
    return isnan(a) || isnan(b) ? NAN : fmax(a, b);
}

double npr_plan_team(const npr_plan_cluster *c, const npr_plan_machine *m)
{
    return c->threads / m->threads;
}

double npr_plan_blob(double bytes, double parts)
{
    static const double CHUNK_BYTES = 1 << 20;
    return bytes > 0 ? parts * ceil(bytes / parts / CHUNK_BYTES) * CHUNK_BYTES : 0;
}

double npr_plan_ranks_per_node(const npr_plan_cluster *c)
{
    return c->ranks / c->nodes;
}

double npr_plan_message(const npr_plan_cluster *c, double bytes)
{
    return c->ranks < 2 ? 0 : 2 * ceil(log2(c->ranks)) * c->latency + bytes / c->bandwidth;
}

double npr_plan_busiest(double rows, double part_rows, double ranks)
{
    return fmin(rows, ceil(ceil(rows / part_rows) / ranks) * part_rows);
}

double npr_plan_hits(double n, double k)
{
    return n > k ? k * (1 + log(n / k)) : n;
}

/* ---- ingest ----------------------------------------------------------------------------------------------
 */

npr_plan_needs npr_plan_ingest(const npr_plan_ingest_shape *s, const npr_plan_cluster *c,
                               const npr_plan_machine *m)
{
    npr_plan_needs n = {.files = ceil(s->rows / s->part_rows), .read = s->in + s->text};
    /* captions and addresses, and captions once more as tokens; names of files */
    n.disk =
        s->rows * s->row_bytes + 3 * npr_plan_blob(s->text / 2, n.files) + npr_plan_blob(n.files, n.files);
    n.busy = fmin(n.files, c->ranks);
    double row_text = s->rows > 0 ? s->text / s->rows : 0;
    /* a batch as read and as rows, the writer's chunks, texts */
    n.memory = s->batch * (2 * s->row_bytes + 6 * s->dim + 2 * row_text) + CHUNK * s->row_bytes + LIBRARIES;
    if (!m) return n;
    double share = npr_plan_busiest(s->rows, s->part_rows, c->ranks) / s->rows;
    double work = share * (s->in / m->ingest_vectors + (s->text > 0 ? s->text / m->ingest_text : 0));
    double node = share * npr_plan_ranks_per_node(c); /* of all bytes, at most */
    double disk = fmin(node, 1) * (n.read / c->read + n.disk / c->write);
    npr_plan_add(
        &n, "rows", npr_plan_slower(work, disk),
        "the slower of bytes in / (ingest_vectors, ingest_text) of the busiest rank, and bytes in and out / "
        "file system of a node");
    npr_plan_add(&n, "parts", ceil(n.files / c->ranks) * m->ingest_part, "parts of a rank x ingest_part");
    return n;
}

/* ---- extract ---------------------------------------------------------------------------------------------
 */

npr_plan_needs npr_plan_extract(const npr_plan_extract_shape *s, const npr_plan_cluster *c,
                                const npr_plan_machine *m)
{
    enum { BLOCK = 4096, TEXT = 300 }; /* rows in hand, twice; of text beside one */
    npr_plan_needs n = {.files = ceil(s->images / s->part_rows), .read = s->image_bytes};
    n.disk = s->images * s->row_bytes;
    n.busy = fmin(n.files, c->ranks);
    n.memory = s->weights + c->threads * s->thread + 2.0 * BLOCK * (s->row_bytes + TEXT) + 1.5 * LIBRARIES;
    if (!m) return n;
    /* parts are drawn from a counter: even, but for the last part of a rank */
    double busiest = fmin(s->images, fmax(s->images / n.busy, ceil(n.files / n.busy) * s->part_rows));
    if (n.files > 4 * n.busy) busiest = s->images / n.busy + s->part_rows / 2;
    double decode = busiest / (m->decode * npr_plan_team(c, m)),
           tower = busiest * s->flop / (m->tower * npr_plan_team(c, m));
    double read = npr_plan_ranks_per_node(c) * busiest * s->image_bytes / fmax(s->images, 1) / c->read;
    npr_plan_add(&n, "decode", npr_plan_slower(decode, read),
                 "images of a rank / decode, or bytes / file system");
    npr_plan_add(&n, "tower", tower, "images of a rank x flop / tower");
    return n;
}

/* ---- solve -----------------------------------------------------------------------------------------------
 */

static void solve_seconds(const npr_plan_solve_shape *s, const npr_plan_cluster *c, const npr_plan_machine *m,
                          npr_plan_needs *n)
{
    double row = 2 * s->dim + 12, tile = s->tile_rows;
    double pool = npr_plan_busiest(s->pool, tile, c->ranks), test = npr_plan_busiest(s->test, tile, c->ranks);
    double team = npr_plan_team(c, m);
    npr_plan_add(n, "start", m->pool_start, "sets opened, journals, a head written: as any search");
    npr_plan_add(n, "read", (pool * s->passes + test * s->heads) * row / m->part_read,
                 "bytes of a rank's tiles / part_read");
    npr_plan_add(n, "sums", s->passes * pool * 2 * s->dim / m->sums, "bytes of the pool / sums");
    npr_plan_add(n, "evaluate",
                 s->heads * s->candidates * 2 * test * s->classes * s->dim / (m->argmax * team),
                 "2 x test rows x classes x dim x heads side by side / argmax");
    npr_plan_add(n, "reduce", npr_plan_message(c, n->sent), "alpha log2(ranks) + bytes / bandwidth");
    if (s->trained) npr_plan_add(n, "training", NAN, "not planned: iterations depend on the data");
}

npr_plan_needs npr_plan_solve(const npr_plan_solve_shape *s, const npr_plan_cluster *c,
                              const npr_plan_machine *m)
{
    npr_plan_needs n = {.files = 1};
    double row = 2 * s->dim + 12, cells = s->classes * s->dim;
    double longest = fmax(s->pool, s->test), tile = fmin(s->tile_rows, longest);
    double block = 64 * (2 * s->classes + s->dim) * 4; /* scores of a block of rows, per thread */
    /* gradients of a thread; L-BFGS's history or the momentum */
    double vectors = s->trained ? 8 * cells * (c->threads + (s->probe ? 26 : 4)) : 0;
    n.read = row * (s->pool * s->passes + s->test * s->heads);
    n.disk = cells * 6;
    n.sent = 2 * 8 * cells;
    n.busy = fmin(ceil(longest / fmax(s->tile_rows, 1)), c->ranks);
    n.memory = cells * (8 + 2 + 4 * (5 + s->baselines)) + vectors + tile * (row + 12) + block * c->threads +
               64 * s->test;
    /* trained on: rows in memory, twice while they change hands */
    if (s->trained) n.memory += 2 * s->pool * row / c->ranks;
    if (m) solve_seconds(s, c, m, &n);
    return n;
}
