/* stages.c - ingest, extract and the text head. See npr/plan.h; search.c, index.c and solve.c are the others.
 */
#include <math.h>

#include "plan/phase.h"

/* ---- shared -------------------------------------------------------------------------------------------- */

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

/* ---- ingest -------------------------------------------------------------------------------------------- */

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

/* ---- extract ------------------------------------------------------------------------------------------- */

npr_plan_needs npr_plan_extract(const npr_plan_extract_shape *s, const npr_plan_cluster *c,
                                const npr_plan_machine *m)
{
    enum {
        BLOCK = 4096,
        TEXT = 300,
        PICTURE = 64
    }; /* rows in hand, twice; of text beside one; a picture to be joined */
    npr_plan_needs n = {.files = ceil(s->images / s->part_rows), .read = s->image_bytes};
    n.disk = s->images * s->row_bytes;
    n.busy = fmin(n.files, c->ranks);
    n.memory = s->weights + c->threads * s->thread + 2.0 * BLOCK * (s->row_bytes + TEXT) + 1.5 * LIBRARIES;
    if (s->joined > 0) n.memory += 2 * PICTURE * s->images; /* known on every rank, while they are sorted */
    if (!m) return n;
    /* parts are drawn from a counter: even, but for the last part of a rank */
    double busiest = fmin(s->images, fmax(s->images / n.busy, ceil(n.files / n.busy) * s->part_rows));
    if (n.files > 4 * n.busy) busiest = s->images / n.busy + s->part_rows / 2;
    double decode = busiest / (m->decode * npr_plan_team(c, m)),
           tower = busiest * s->flop / (m->tower * npr_plan_team(c, m));
    double read = npr_plan_ranks_per_node(c) * busiest * s->image_bytes / fmax(s->images, 1) / c->read;
    if (s->joined > 0)
        npr_plan_add(&n, "join",
                     s->images / c->ranks * m->picture +
                         s->joined * (s->row_bytes + TEXT) / c->ranks / m->part_read,
                     "pictures of a rank x picture + bytes of its share of the pool / part_read");
    npr_plan_add(&n, "decode", npr_plan_slower(decode, read),
                 "images of a rank / decode, or bytes / file system");
    npr_plan_add(&n, "tower", tower, "images of a rank x flop / tower");
    return n;
}

/* ---- text head ----------------------------------------------------------------------------------------- */

npr_plan_needs npr_plan_text(const npr_plan_text_shape *s, const npr_plan_cluster *c,
                             const npr_plan_machine *m)
{
    npr_plan_needs n = {.files = ceil(s->classes / s->part_rows)};
    n.disk = s->classes * (6 * s->dim + 32);
    n.busy = fmin(n.files, c->ranks);
    n.memory = s->weights + c->threads * s->thread + s->part_rows * 6 * s->dim + 1.5 * LIBRARIES;
    if (!m) return n;
    /* parts are drawn from a counter; a thread takes a class at a time */
    double busiest = npr_plan_busiest(s->classes, s->part_rows, n.busy) / s->classes;
    npr_plan_add(&n, "start", m->pool_start, "model and vocabulary opened, a head written: as any search");
    npr_plan_add(&n, "tower", busiest * s->flop / (m->text * npr_plan_team(c, m)),
                 "flop of the prompts of a rank / text");
    return n;
}
