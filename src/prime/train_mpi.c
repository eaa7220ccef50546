/* train_mpi.c - the rows a head is trained on, dealt to ranks in a shuffled order. See train.h. */
#include "prime/train.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"

/* A row on its way: this head, then its values. */
typedef struct parcel {
    int64_t place; /* in the shuffled order */
    int64_t label;
} parcel;

typedef struct dealer {
    const npr_comm *comm;
    npr_train *t;
    int64_t all; /* places */
    uint64_t seed;
    size_t bytes; /* of a parcel with its row */
    char *mine;   /* parcels read by this rank, `n` of them */
    size_t n, cap;
    char *got; /* parcels that belong to this rank */
    int64_t n_got;
} dealer;

static int64_t units(const dealer *d)
{
    return (d->t->atoms + NPR_UNIT_ATOMS - 1) / NPR_UNIT_ATOMS;
}

/* First atom of a rank: units are cut evenly. */
static int64_t first_atom(const dealer *d, int rank)
{
    int64_t atom = units(d) * rank / d->comm->size * NPR_UNIT_ATOMS;
    return atom < d->t->atoms ? atom : d->t->atoms;
}

static int owner(const dealer *d, int64_t place)
{
    int low = 0, high = d->comm->size; /* the last rank whose first atom is not behind */
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (first_atom(d, middle) <= place / NPR_ATOM_ROWS)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static npr_status read_tile(void *to, const npr_rows *r, const int64_t *number)
{
    dealer *d = to;
    size_t row = (size_t)r->dim * sizeof *r->emb;
    for (int64_t i = 0; i < r->n; i++) {
        if (r->label[i] < 0) continue;
        NPR_TRY(npr_grow(&d->mine, &d->cap, (d->n + 1) * d->bytes, 1, "training rows"));
        parcel p = {npr_rng_shuffled(d->seed, d->all, number[i]), r->label[i]};
        char *at = d->mine + d->n++ * d->bytes;
        memcpy(at, &p, sizeof p);
        memcpy(at + sizeof p, r->emb + (size_t)i * (size_t)r->dim, row);
    }
    return NPR_OK;
}

static int64_t place_of(const char *at)
{
    int64_t place;
    memcpy(&place, at, sizeof place);
    return place;
}

/* ---- to their ranks ------------------------------------------------------------------------------------ */

typedef struct counts {
    int *to, *from, *to_at, *from_at; /* [size] parcels, and where they begin */
} counts;

static void counts_free(counts *c)
{
    free(c->to);
    free(c->from);
    free(c->to_at);
    free(c->from_at);
}

static npr_status counts_make(const npr_comm *comm, counts *c)
{
    size_t n = (size_t)comm->size;
    c->to = npr_alloc(n, sizeof *c->to, "training rows");
    c->from = npr_alloc(n, sizeof *c->from, "training rows");
    c->to_at = npr_alloc(n, sizeof *c->to_at, "training rows");
    c->from_at = npr_alloc(n, sizeof *c->from_at, "training rows");
    return c->to && c->from && c->to_at && c->from_at ? NPR_OK : npr_last();
}

/* This rank's parcels in order of their ranks, in *sorted. */
static npr_status sort_by_rank(dealer *d, counts *c, char **sorted)
{
    *sorted = npr_alloc_aligned(d->n * d->bytes + 1, 1, "training rows");
    if (!*sorted) return npr_last();
    for (size_t i = 0; i < d->n; i++) c->to[owner(d, place_of(d->mine + i * d->bytes))]++;
    for (int r = 1; r < d->comm->size; r++) c->to_at[r] = c->to_at[r - 1] + c->to[r - 1];
    for (size_t i = 0; i < d->n; i++) {
        const char *from = d->mine + i * d->bytes;
        memcpy(*sorted + (size_t)c->to_at[owner(d, place_of(from))]++ * d->bytes, from, d->bytes);
    }
    for (int r = 0; r < d->comm->size; r++) c->to_at[r] -= c->to[r];
    return NPR_OK;
}

/* Collective. */
static npr_status exchange(dealer *d)
{
    counts c = {0};
    char *sorted = NULL;
    npr_status st = d->n > INT32_MAX
                        ? npr_fail(NPR_EINTERNAL, "more than 2^31 training rows on a rank: use more ranks")
                        : counts_make(d->comm, &c);
    if (!st) st = sort_by_rank(d, &c, &sorted);
    free(d->mine);
    d->mine = NULL;
    st = npr_agree(d->comm, st, "training rows");
    if (!st) {
        MPI_Alltoall(c.to, 1, MPI_INT, c.from, 1, MPI_INT, d->comm->mpi);
        for (int r = 0; r < d->comm->size; r++) {
            c.from_at[r] = (int)d->n_got;
            d->n_got += c.from[r];
        }
        d->got = npr_alloc_aligned((size_t)d->n_got * d->bytes + 1, 1, "training rows");
        st = npr_agree(d->comm, d->got ? NPR_OK : npr_last(), "training rows");
    }
    if (!st) {
        MPI_Datatype type;
        MPI_Type_contiguous(npr_mpi_count(d->bytes), MPI_BYTE, &type);
        MPI_Type_commit(&type);
        MPI_Alltoallv(sorted, c.to, c.to_at, type, d->got, c.from, c.from_at, type, d->comm->mpi);
        MPI_Type_free(&type);
    }
    free(sorted);
    counts_free(&c);
    return st;
}

/* ---- in their places ----------------------------------------------------------------------------------- */

typedef struct arrived {
    int64_t place, at;
} arrived;

static int by_place(const void *va, const void *vb)
{
    const arrived *a = va, *b = vb;
    return (a->place > b->place) - (a->place < b->place);
}

static npr_status settle(dealer *d)
{
    npr_train *t = d->t;
    size_t n = (size_t)d->n_got, dim = (size_t)t->dim, atoms = (size_t)(t->last - t->first);
    arrived *order = npr_alloc(n, sizeof *order, "training rows");
    t->emb = npr_alloc_aligned(n * dim, sizeof *t->emb, "training rows");
    t->label = npr_alloc(n, sizeof *t->label, "training rows");
    t->start = npr_alloc(atoms + 1, sizeof *t->start, "training rows");
    if (!order || !t->emb || !t->label || !t->start) {
        free(order);
        return npr_last();
    }
    for (size_t i = 0; i < n; i++) order[i] = (arrived){place_of(d->got + i * d->bytes), (int64_t)i};
    if (n) qsort(order, n, sizeof *order, by_place);
    for (size_t i = 0; i < n; i++) {
        parcel p;
        const char *from = d->got + (size_t)order[i].at * d->bytes;
        memcpy(&p, from, sizeof p);
        t->label[i] = (int32_t)p.label;
        memcpy(t->emb + i * dim, from + sizeof p, dim * sizeof *t->emb);
        t->start[p.place / NPR_ATOM_ROWS - t->first + 1]++;
    }
    for (size_t a = 0; a < atoms; a++) t->start[a + 1] += t->start[a];
    free(order);
    return NPR_OK;
}

npr_status npr_train_load(const npr_comm *comm, const npr_log *log, const npr_material *m, uint64_t seed,
                          npr_train *t)
{
    int dim = m->pool ? m->pool->dim : m->shots->dim;
    dealer d = {.comm = comm, .t = t, .all = npr_material_rows(m), .seed = seed};
    npr_seconds time = {0};
    *t = (npr_train){.dim = dim};
    d.bytes = (sizeof(parcel) + (size_t)dim * sizeof *t->emb + 7) / 8 * 8;
    t->atoms = (d.all + NPR_ATOM_ROWS - 1) / NPR_ATOM_ROWS;
    t->first = first_atom(&d, comm->rank);
    t->last = first_atom(&d, comm->rank + 1);
    npr_status st = npr_material_walk(comm, log, m, "training rows", read_tile, &d, &time);
    if (!st) st = exchange(&d);
    if (!st) st = npr_agree(comm, settle(&d), "training rows");
    if (!st) {
        t->rows = d.n_got;
        npr_sum_i64(comm, &t->rows, 1);
    }
    free(d.mine);
    free(d.got);
    return st;
}

void npr_train_free(npr_train *t)
{
    free(t->start);
    free(t->emb);
    free(t->label);
    *t = (npr_train){0};
}

/* ---- the methods --------------------------------------------------------------------------------------- */

void npr_gradient_reduce(const npr_comm *comm, npr_gradient *g)
{
    npr_sum_f64_exact(comm, g->sum, g->sum_each);
}

npr_status npr_train_head(const npr_comm *comm, const npr_solve *s, const npr_material *m, int told,
                          float *out)
{
    npr_train t = {0};
    npr_gradient g = {0};
    int probe = s->method == NPR_METHOD_PROBE;
    npr_checkpoint checkpoint = {.log = s->log, .every = s->job->training.keep};
    double start = npr_now(), scale = probe ? 1 : s->job->training.scale;
    npr_status st = npr_train_load(comm, s->log, m, s->job->seed, &t);
    if (!st && !t.rows) st = npr_fail(NPR_EDATA, "no row has a label: there is nothing to train on");
    if (!st)
        st = npr_agree(comm, npr_gradient_make(&t, s->text.classes, s->job->threads, scale, &g), "training");
    if (!st && told && s->scratch) {
        checkpoint.path = npr_path("%s/training", s->scratch);
        st = npr_agree(comm, checkpoint.path ? NPR_OK : npr_last(), "training");
    }
    if (!st) st = (probe ? npr_train_probe : npr_train_finetune)(comm, s, &g, told, &checkpoint, out);
    if (!st && told) {
        npr_record_int(s->rec, "result.training.rows", t.rows);
        npr_record_time(comm, s->rec, "training", npr_now() - start);
    }
    free(checkpoint.path);
    npr_gradient_free(&g);
    npr_train_free(&t);
    return st;
}
