/* bench_faiss_mpi.c - the rates of FAISS's indexes. See npr/bench.h. Each rank takes its own first part:
 * trains, fills and searches small indexes that differ in one thing, so that each rate is a difference. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/half.h"
#include "base/mem.h"
#include "npr/bench.h"
#include "npr/search.h"
#include "search/faiss/faiss.h"
#include "search/faiss/kmeans.h"
#include "search/faiss/proposals.h"
#include "search/search_stage.h"
#include "search/topk.h"

/* SAMPLE: what FAISS wants for so many lists or codes, 39 each. SLICE: columns of what is trained twice. */
enum { LISTS = 256, FEW_LISTS = 16, SAMPLE = 39 * LISTS, SLICE = 8, QUERIES = 100, CANDIDATES = 400 };

/* FAISS's rounds, as src/plan/index.c counts them. */
enum { CODE_ROUNDS = 25, CODES = 256 };

typedef struct bench {
    const npr_bench_rates_job *job;
    npr_set *set;
    int part, subs; /* of this rank; sub-quantizers of 8 values */
    float *rows;    /* [n][dim] what is trained on */
    int64_t n;
    npr_queries all;
    float *score;
    int64_t *id; /* [QUERIES][CANDIDATES] */
} bench;

/* A trained index, and one filled with the part. */
typedef struct built {
    char *blob, *full;
    size_t bytes, full_bytes;
    double train, fill; /* seconds */
} built;

static void free_built(built *b)
{
    free(b->blob);
    free(b->full);
    *b = (built){0};
}

static npr_status train(const bench *b, const char *factory, int64_t n, built *out)
{
    double start = npr_now();
    *out = (built){0};
    NPR_TRY(npr_faiss_train(factory, b->set->dim, b->rows, n, b->job->threads, &out->blob, &out->bytes));
    out->train = npr_now() - start;
    return NPR_OK;
}

static npr_status build(const bench *b, const char *factory, built *out)
{
    NPR_TRY(train(b, factory, b->n, out));
    double start = npr_now();
    NPR_TRY(npr_faiss_build(b->set, b->part, out->blob, out->bytes, b->job->threads, &out->full,
                            &out->full_bytes));
    out->fill = npr_now() - start;
    return NPR_OK;
}

/* ---- training and filling ---- */

static double part_rows(const bench *b)
{
    return (double)b->set->part[b->part].rows;
}

/* From indexes of many lists, of few, and of few with codes of a PQ. */
static void fill_rates(const bench *b, const built *many, const built *few, const built *pq,
                       npr_plan_machine *m)
{
    double dim = b->set->dim, rows = part_rows(b), n = (double)b->n, lists = LISTS - FEW_LISTS;
    m->train_pq = 2.0 * CODE_ROUNDS * n * CODES * dim / fmax(pq->train - few->train, 1e-9);
    m->add = 2 * rows * lists * dim / fmax(many->fill - few->fill, 1e-9);
    m->encode_pq = 2 * rows * CODES * dim / fmax(pq->fill - few->fill, 1e-9);
    m->index_row = fmax(few->fill - 2 * rows * FEW_LISTS * dim / m->add, 0) / (rows * dim);
}

/* One round over the lists. */
static npr_status list_rate(const bench *b, npr_plan_machine *m)
{
    size_t values = (size_t)b->n * (size_t)b->set->dim;
    uint16_t *emb = npr_alloc_aligned(values, sizeof *emb, "rows");
    int32_t *list = npr_alloc((size_t)b->n, sizeof *list, "lists of rows");
    npr_status st = emb && list ? NPR_OK : npr_last();
    int lists = b->n < LISTS ? (int)b->n : LISTS;
    double seconds = INFINITY;
    if (!st) npr_half_from_float(b->rows, emb, values);
    kmeans_rows rows = {b->n, b->set->dim, emb};
    for (int i = 0; i < b->job->repeats && !st; i++) {
        double start = npr_now();
        st = kmeans_assign(&rows, b->rows, lists, b->job->threads, list);
        seconds = fmin(seconds, npr_now() - start);
    }
    m->train = 2.0 * (double)values * lists / fmax(seconds, 1e-9);
    free(emb);
    free(list);
    return st;
}

/* A product quantizer's second training, which depends on its codes alone: on a slice of the columns. */
static npr_status twice_rate(const bench *b, npr_plan_machine *m)
{
    enum { SUBS = 1 }; /* seconds each */
    static const char *const factory[2] = {"PQ1np", "PQ1"};
    double seconds[2] = {0};
    size_t dim = (size_t)b->set->dim;
    float *slice = npr_alloc_aligned((size_t)b->n * SLICE, sizeof *slice, "rows");
    npr_status st = slice ? NPR_OK : npr_last();
    for (int64_t i = 0; i < b->n * SLICE && !st; i++)
        slice[i] = b->rows[(size_t)(i / SLICE) * dim + (size_t)(i % SLICE)];
    for (int i = 0; i < 2 && !st; i++) {
        char *blob = NULL;
        size_t bytes;
        double start = npr_now();
        st = npr_faiss_train(factory[i], SLICE, slice, b->n, b->job->threads, &blob, &bytes);
        seconds[i] = npr_now() - start;
        free(blob);
    }
    free(slice);
    m->train_polysemous = fmax(seconds[1] - seconds[0], 0) / SUBS;
    return st;
}

/* ---- searching ---- */

/* Seconds in which all queries look into so many lists. */
static npr_status time_probes(const bench *b, npr_faiss *f, int probes, int k, double *seconds)
{
    NPR_TRY(npr_faiss_set_probes(f, probes));
    int nq = b->all.nq < QUERIES ? b->all.nq : QUERIES;
    *seconds = INFINITY;
    for (int i = 0; i < b->job->repeats; i++) {
        double start = npr_now();
        NPR_TRY(npr_faiss_search(f, b->all.vector, nq, NPR_FAISS_BLOCK, k, b->job->threads, b->score, b->id,
                                 NULL));
        *seconds = fmin(*seconds, npr_now() - start);
    }
    *seconds /= nq;
    return NPR_OK;
}

/* A query is multiplied with the codes before any list is looked at: in an index without rows that is all,
 * but for the centroids. */
static npr_status table_rate(const bench *b, const built *x, const char *factory, npr_plan_machine *m)
{
    npr_faiss *f;
    double one;
    NPR_TRY(npr_faiss_load(x->blob, x->bytes, b->set->dim, "index", &f));
    npr_plan_factory kind = npr_plan_factory_read(factory, b->set->dim);
    npr_status st = time_probes(b, f, 1, 1, &one);
    npr_faiss_free(f);
    double rest = one - kind.lists * 4 * b->set->dim / m->coarse;
    m->tables = 2 * kind.codes * kind.inside / fmax(rest, 0.1 * one);
    return st;
}

static npr_status search_rates(const bench *b, const built *x, const char *factory, npr_plan_code code,
                               npr_plan_machine *m)
{
    npr_faiss *f;
    double one, all, filled, start = npr_now();
    NPR_TRY(npr_faiss_load(x->full, x->full_bytes, b->set->dim, "index", &f));
    double load = npr_now() - start;
    npr_plan_factory kind = npr_plan_factory_read(factory, b->set->dim);
    npr_status st = time_probes(b, f, 1, 1, &one);
    if (!st) st = time_probes(b, f, (int)kind.lists, 1, &all);
    double codes = part_rows(b) * kind.code_bytes * (1 - 1 / kind.lists);
    if (!st) m->code[code] = codes / fmax(all - one, 1e-9);
    if (!st) st = time_probes(b, f, 1, CANDIDATES, &filled); /* few codes, most of which enter */
    if (!st) m->code_hit[code] = fmax(filled - one, 0) / npr_plan_hits(part_rows(b) / kind.lists, CANDIDATES);
    if (!st && code == NPR_CODE_PQ) st = table_rate(b, x, factory, m);
    if (!st && code == NPR_CODE_FLAT) { /* codes of one list apart, its centroids remain */
        m->index_load = (double)x->full_bytes / load;
        double rest = one - part_rows(b) * kind.code_bytes / kind.lists / m->code[code];
        m->coarse = kind.lists * 4.0 * b->set->dim / fmax(rest, 0.1 * one);
    }
    npr_faiss_free(f);
    return st;
}

/* What FAISS could have said: rows spread over the part, best first. */
static npr_status propose(const bench *b, int nq, int each, npr_proposals *into)
{
    int64_t rows = b->set->part[b->part].rows;
    for (int q = 0; q < nq; q++) {
        NPR_TRY(npr_proposals_reserve(into, q, each));
        for (int i = 0; i < each; i++) {
            int64_t row = (q * 7919 + i * (rows / each)) % rows;
            NPR_TRY(npr_proposals_push(into, q, (float)-i, npr_place(b->part, row)));
        }
    }
    return npr_proposals_cut(into);
}

/* Score them as a search does; *waited: seconds for vectors, which have a rate of their own. */
static npr_status rescore(const bench *b, npr_queries *view, const npr_chosen *candidates, npr_topk *lists,
                          double *waited)
{
    npr_scan_options o = {.queries = view,
                          .k = npr_topk_k(lists),
                          .threads = b->job->threads,
                          .tile_rows = NPR_CHUNK_ROWS,
                          .limits = {.min_similarity = -INFINITY, .max_nsfw = NPR_NSFW_LIKELY},
                          .candidates = candidates};
    npr_scanner *s = NULL;
    npr_tally tally = {0};
    npr_status st = npr_search_tally_make(view->nq, &tally);
    if (!st) st = npr_scanner_rescore(&o, &s);
    if (!st) st = s->part(s, b->set, b->part, lists, &tally);
    if (!st) npr_topk_sort(lists);
    *waited = s ? s->waited : 0;
    if (s) s->free(s);
    npr_search_tally_free(&tally);
    return st;
}

/* A candidate's way: into a list by FAISS's score, to its row, to its exact score, into a list again. */
static npr_status candidate_rate(const bench *b, npr_plan_machine *m)
{
    int64_t rows = b->set->part[b->part].rows;
    int nq = b->all.nq < QUERIES ? b->all.nq : QUERIES, each = rows < CANDIDATES ? (int)rows : CANDIDATES;
    npr_queries view = npr_search_queries_view(&b->all, 0, nq);
    m->candidate = INFINITY;
    for (int i = 0; i < b->job->repeats && nq && each; i++) {
        double waited = 0, start = npr_now();
        npr_proposals *proposals = npr_proposals_make(nq, each);
        npr_topk *lists = npr_topk_make(nq, (each + 3) / 4);
        npr_chosen candidates = {0};
        npr_status st = proposals && lists ? NPR_OK : npr_last();
        if (!st) st = propose(b, nq, each, proposals);
        if (!st) st = npr_chosen_make(proposals, b->set->parts, &candidates);
        if (!st) st = rescore(b, &view, &candidates, lists, &waited);
        npr_proposals_free(proposals);
        npr_chosen_free(&candidates);
        npr_topk_free(lists);
        NPR_TRY(st);
        double each_value = (npr_now() - start - waited) / ((double)nq * each * b->set->dim);
        m->candidate = fmin(m->candidate, each_value);
    }
    return NPR_OK;
}

/* ---- all ---- */

/* One kind of index, built and searched. */
static npr_status try_kind(const bench *b, const char *kind, npr_plan_code code, int searched, built *x,
                           npr_plan_machine *m)
{
    char factory[32];
    snprintf(factory, sizeof factory, kind, code == NPR_CODE_FLAT && searched ? LISTS : FEW_LISTS, b->subs);
    NPR_TRY(build(b, factory, x));
    return searched ? search_rates(b, x, factory, code, m) : NPR_OK;
}

static npr_status measure(const bench *b, npr_plan_machine *m)
{
    built many = {0}, few = {0}, pq = {0}, sq = {0}, fs = {0};
    npr_status st = try_kind(b, "IVF%d,Flat", NPR_CODE_FLAT, 1, &many, m);
    if (!st) st = try_kind(b, "IVF%d,Flat", NPR_CODE_FLAT, 0, &few, m);
    if (!st) st = try_kind(b, "IVF%d,PQ%dnp", NPR_CODE_PQ, 1, &pq, m);
    if (!st) st = try_kind(b, "IVF%d,SQ8", NPR_CODE_SQ, 1, &sq, m);
    if (!st) st = try_kind(b, "IVF%d,PQ%dx4fs", NPR_CODE_FS, 1, &fs, m);
    if (!st) fill_rates(b, &many, &few, &pq, m);
    if (!st && b->part == 0) st = twice_rate(b, m); /* what rank 0 measured is recorded */
    free_built(&many);
    free_built(&few);
    free_built(&pq);
    free_built(&sq);
    free_built(&fs);
    if (!st) st = list_rate(b, m);
    return st ? st : candidate_rate(b, m);
}

static npr_status read_rows(bench *b)
{
    npr_part *part;
    npr_rows r = {0};
    size_t dim = (size_t)b->set->dim;
    NPR_TRY(npr_part_open(b->set, b->part, &part));
    b->n = npr_part_rows(part) < SAMPLE ? npr_part_rows(part) : SAMPLE;
    b->rows = npr_alloc_aligned((size_t)b->n * dim, sizeof *b->rows, "rows");
    b->score = npr_alloc((size_t)QUERIES * CANDIDATES, sizeof *b->score, "candidates");
    b->id = npr_alloc((size_t)QUERIES * CANDIDATES, sizeof *b->id, "candidates");
    npr_status st =
        b->rows && b->score && b->id ? npr_rows_make(&r, NPR_COL(NPR_EMB), b->set->dim, b->n) : npr_last();
    if (!st) st = npr_part_read(part, 0, b->n, &r);
    if (!st) npr_half_to_float(r.emb, b->rows, (size_t)b->n * dim);
    npr_rows_free(&r);
    npr_part_close(part);
    return st;
}

npr_status npr_bench_faiss_rates(const npr_comm *comm, const npr_bench_rates_job *job, npr_plan_machine *m)
{
    bench b = {.job = job, .part = comm->rank};
    npr_set *queries = NULL;
    NPR_TRY(npr_set_open_all(comm, job->index, &b.set));
    npr_status st = npr_set_open_all(comm, job->queries, &queries);
    if (!st) {
        b.subs = b.set->dim / 8;
        st = npr_queries_read(queries, &b.all);
        if (!st && b.part >= b.set->parts)
            st = npr_fail(NPR_EUSAGE, "%s: fewer parts than ranks", job->index);
        if (!st) st = read_rows(&b);
        if (!st) st = measure(&b, m);
        st = npr_agree(comm, st, "bench");
        npr_set_free(queries);
    }
    npr_queries_free(&b.all);
    npr_set_free(b.set);
    free(b.rows);
    free(b.score);
    free(b.id);
    return st;
}
