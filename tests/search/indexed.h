/* indexed.h - a small set of four parts, to be given indexes, for tests of the search through them. */
#ifndef NPR_TESTS_SEARCH_INDEXED_H
#define NPR_TESTS_SEARCH_INDEXED_H

#include "base/half.h"
#include "base/mem.h"
#include "base/rng.h"
#include "io/part.h"
#include "npr/search.h"
#include "search/faiss/faiss.h"
#include "search/faiss/proposals.h"
#include "test.h"

enum { DIM = 24, PARTS = 4, GROUPS = 12, ALL = 3705 };

static const int64_t part_rows[PARTS] = {3000, 0, 5, 700}; /* fewer rows than lists; none at all */
static npr_rows world[PARTS];                              /* what the parts hold */
static npr_part_entry entry[PARTS];
static char path[80];
static npr_queries queries;

/* ---- a small world --------------------------------------------------------------------------------- */

static void fill_vector(npr_rng *r, float *x)
{
    npr_rng centre = npr_rng_make(3, (uint64_t)npr_rng_below(r, GROUPS));
    double norm = 0, v[DIM];
    for (int j = 0; j < DIM; j++) {
        v[j] = npr_rng_normal(&centre) + npr_rng_normal(r) / 2;
        norm += v[j] * v[j];
    }
    for (int j = 0; j < DIM; j++) x[j] = (float)(v[j] / sqrt(norm));
}

static void make_queries(npr_queries *q, int nq, uint64_t stream)
{
    npr_rng r = npr_rng_make(4, stream);
    *q = (npr_queries){.nq = nq, .dim = DIM, .classes = GROUPS};
    q->vector = npr_alloc((size_t)nq * DIM, sizeof *q->vector, "queries");
    q->label = npr_alloc((size_t)nq, sizeof *q->label, "queries");
    q->id = npr_alloc((size_t)nq, sizeof *q->id, "queries");
    for (int i = 0; i < nq; i++) {
        fill_vector(&r, q->vector + i * DIM);
        q->label[i] = i % GROUPS;
        q->id[i] = i;
    }
}

static void make_part(int part)
{
    npr_rows *w = &world[part];
    npr_rng r = npr_rng_make(5, (uint64_t)part);
    npr_part_writer *writer = NULL;
    uint32_t columns = NPR_COL(NPR_EMB) | NPR_COL(NPR_ID) | NPR_COL(NPR_LABEL) | NPR_COL(NPR_SIMILARITY);
    CHECK_OK(npr_rows_make(w, columns, DIM, part_rows[part]));
    for (int64_t i = 0; i < part_rows[part]; i++) {
        float x[DIM];
        fill_vector(&r, x);
        if (i % 50 == 49)
            memcpy(w->emb + i * DIM, w->emb + (i - 1) * DIM, DIM * sizeof *w->emb); /* ties */
        else
            npr_half_from_float(x, w->emb + i * DIM, DIM);
        if (i % 100 == 33) w->emb[i * DIM + 5] = 0x7e00; /* NaN */
        w->id[i] = 100000 * (part + 1) - 7 * i;
        w->label[i] = (int32_t)npr_rng_below(&r, GROUPS);
        w->similarity[i] = i % 10 == 0 ? NAN : (float)npr_rng_uniform(&r);
        CHECK_OK(npr_rows_next(w));
    }
    CHECK_OK(npr_part_create(path, part, columns, DIM, &writer));
    CHECK_OK(npr_part_append(writer, w));
    CHECK_OK(npr_part_commit(writer, &entry[part]));
}

static npr_set make_set(const char *factory)
{
    return (npr_set){.path = path,
                     .index = (char *)(uintptr_t)factory,
                     .dim = DIM,
                     .columns = world[0].columns,
                     .parts = PARTS,
                     .part = entry};
}

static int is_finite(int part, int64_t i)
{
    return npr_half_row_facts(world[part].emb + i * DIM, DIM).finite;
}

/* Put a blob into a part, whatever is in it. */
static void put(const npr_set *set, int part, const char *blob, size_t n)
{
    char *temp = NULL;
    CHECK_OK(npr_part_with_index(set, part, blob, n, &temp, &entry[part]));
    CHECK_OK(npr_part_publish(path, temp, &entry[part]));
    free(temp);
}

static void index_all(const npr_set *set, const char *factory)
{
    float *sample = npr_alloc(3000 * DIM, sizeof *sample, "a sample");
    int64_t n = 0;
    for (int64_t i = 0; i < part_rows[0]; i++)
        if (is_finite(0, i)) npr_half_to_float(world[0].emb + i * DIM, sample + n++ * DIM, DIM);
    char *trained = NULL, *blob = NULL, *again = NULL;
    size_t trained_bytes, bytes, bytes_again;
    CHECK_OK(npr_faiss_train(factory, DIM, sample, n, 1, &trained, &trained_bytes));
    for (int p = 0; p < PARTS; p++) {
        CHECK_OK(npr_faiss_build(set, p, trained, trained_bytes, 1, &blob, &bytes));
        CHECK_OK(npr_faiss_build(set, p, trained, trained_bytes, 3, &again, &bytes_again));
        CHECK(bytes == bytes_again && !memcmp(blob, again, bytes));
        put(set, p, blob, bytes);
        free(blob), free(again);
    }
    free(trained), free(sample);
}

/* ---- what FAISS says, and lists compared ------------------------------------------------------------- */

static npr_tally make_tally(int lists)
{
    return (npr_tally){.lists = lists,
                       .count = npr_alloc((size_t)lists * NPR_TALLY_FIELDS, sizeof(int64_t), "tally")};
}

/* All that FAISS says of a part to `queries`, and no lists of ours: to[q] has room for ALL hits, n[q] of them
 * so far. Returns the rows whose codes it compared. */
static int64_t everything_of(const npr_set *set, int part, int nprobe, npr_hit (*to)[ALL], int *n)
{
    npr_faiss *index = NULL;
    int64_t rows = part_rows[part], pairs = queries.nq * rows, scanned = 0;
    float *score = npr_alloc((size_t)pairs, sizeof *score, "scores");
    int64_t *id = npr_alloc((size_t)pairs, sizeof *id, "rows");
    CHECK_OK(npr_faiss_of_part(set, part, &index));
    CHECK_OK(npr_faiss_set_probes(index, nprobe));
    if (rows)
        CHECK_OK(npr_faiss_search(index, queries.vector, queries.nq, NPR_FAISS_BLOCK, rows, 1, score, id,
                                  &scanned));
    for (int64_t i = 0; i < pairs; i++)
        if (id[i] >= 0)
            to[i / rows][n[i / rows]++] = (npr_hit){.score = score[i], .place = npr_place(part, id[i])};
    npr_faiss_free(index);
    free(score);
    free(id);
    return scanned;
}

static int by_score_and_place(const void *va, const void *vb)
{
    const npr_hit *a = va, *b = vb;
    if (a->score != b->score) return a->score > b->score ? -1 : 1;
    return (a->place > b->place) - (a->place < b->place);
}

/* The k best of these, in order. Frees them. */
static npr_topk *sorted(npr_proposals *p)
{
    CHECK_OK(npr_proposals_cut(p));
    npr_topk *t = npr_proposals_hits(p);
    CHECK(t != NULL);
    npr_topk_sort(t);
    npr_proposals_free(p);
    return t;
}

/* How many hits of `want` are not in the same place in `got`, scores to the bit. */
static int differences(const npr_topk *want, const npr_topk *got)
{
    int wrong = 0;
    for (int q = 0; q < npr_topk_queries(want); q++) {
        int n = npr_topk_count(want, q), m = npr_topk_count(got, q);
        wrong += n != m;
        for (int i = 0; i < n && i < m; i++) {
            const npr_hit *a = npr_topk_list(want, q) + i, *b = npr_topk_list(got, q) + i;
            wrong += a->score != b->score || a->id != b->id || a->place != b->place;
        }
    }
    return wrong;
}

#endif
