/* Exact search against brute force with the definition of a score: every screen of this CPU, and the one for
 * AMX with a model of its instructions, on hard data of all kinds of sizes. */
#include "test.h"

#include "base/half.h"
#include "base/rng.h"
#include "search/amx_model.h"

/* A problem: rows in a tile, queries, and what the answer is. */
typedef struct problem {
    int64_t n;
    int dim, nq, k;
    uint16_t *emb; /* [n][dim] */
    int64_t *id;   /* [n] */
    int32_t *gate; /* [n] or NULL */
    npr_queries q;
    npr_topk *want;
} problem;

enum {
    PLAIN,
    DUPLICATES, /* most rows are copies of a few, ids repeat too */
    NEAR,       /* rows that differ by one unit of one small value: scores an ulp or so apart */
    BROKEN,     /* a third of the rows has a NaN or an infinity somewhere */
    TINY,       /* subnormal rows and queries */
    SPREAD,     /* norms from 1e-6 to 1e6, queries too */
    ZERO,       /* zero rows and queries: all scores tie */
    COARSE,     /* 8 bits of values with zeros behind: bfloat16 loses nothing, so its bounds are as narrow as
                   floats' */
    SPIKY, /* one value of +-2^n holds nearly all of a row's norm, of a query's too: the ends of integers'
              range */
    WORST, /* bytes lose nearly half a unit of each value, all towards the query: what a bound by
              Cauchy-Schwarz allows at most. Rows come as opposites, so their mean is 0 */
    PAIRS, /* nearly all of a row's norm, and of a query's, is in the columns that few-bytes adds in one sum
              of 16 bits, about as much as that holds, and all with one sign. Rows as opposites */
    KINDS
};

/* The screens of this CPU, then the model; NULL after the last. */
static const npr_screen *screen_at(int i)
{
    int count = 0;
    for (const npr_screen *s; (s = npr_screen_at(count)); count++)
        if (s->usable() && i-- == 0) return s;
    return i == 0 ? &amx_model : NULL;
}

static double dot(const uint16_t *row, const float *query, int d)
{
    double lane[32] = {0};
    for (int j = 0; j < d; j++) lane[j % 32] += (double)npr_half_value(row[j]) * (double)query[j];
    for (int n = 16; n; n /= 2)
        for (int j = 0; j < n; j++) lane[j] += lane[j + n];
    return lane[0];
}

static void make_row(npr_rng *r, int kind, int dim, uint16_t *row)
{
    double scale = 1 / sqrt(dim);
    if (kind == TINY) scale = 0x1p-21;
    if (kind == SPREAD) scale *= pow(10, 6 * npr_rng_uniform(r) - 3);
    for (int j = 0; j < dim; j++) row[j] = npr_half_round((float)(scale * npr_rng_normal(r)));
    if (kind == ZERO && npr_rng_below(r, 2)) memset(row, 0, (size_t)dim * 2);
    if (kind == COARSE)
        for (int j = 0; j < dim; j++) row[j] = npr_half_round((float)(npr_rng_below(r, 511) - 255) / 512);
    if (kind == SPIKY) {
        for (int j = 0; j < dim; j++)
            row[j] = npr_rng_below(r, 3) ? 0 : npr_half_round((float)(0x1p-16 * npr_rng_normal(r)));
        row[npr_rng_below(r, dim) / 8] =
            npr_half_round((npr_rng_below(r, 2) ? 1 : -1) * ldexpf(1, (int)npr_rng_below(r, 5) - 2));
    }
    if (kind == WORST) {
        for (int j = 1; j < dim; j++)
            row[j] = npr_half_round((j % 3 ? 1 : -1) * (0.498f - 0.002f * (float)npr_rng_below(r, 3)) / 256);
        row[0] = npr_half_round(63 / 256.0f);
    }
    if (kind == PAIRS) {
        float size = 0.42f + 0.12f * (float)npr_rng_uniform(r); /* from 0.47 on a sum has no room for it */
        for (int j = 0; j < dim; j++) {
            float value = j % 32 < 2 ? size : 0.01f * (float)npr_rng_normal(r);
            row[j] = npr_half_round(j % 3 ? value : -value);
        }
        if (dim > 5) row[5] = npr_half_round(1); /* by which the others are scaled */
    }
    if (kind == BROKEN && npr_rng_below(r, 3) == 0) {
        static const uint16_t bad[] = {0x7c00, 0xfc00, 0x7e00, 0xffff};
        row[npr_rng_below(r, dim)] = bad[npr_rng_below(r, 4)];
    }
}

static void make_query(npr_rng *r, int kind, int dim, float *q)
{
    double scale = 1 / sqrt(dim);
    if (kind == TINY) scale = 0x1p-130;
    if (kind == SPREAD) scale *= pow(10, 60 * npr_rng_uniform(r) - 30);
    for (int j = 0; j < dim; j++) q[j] = (float)(scale * npr_rng_normal(r));
    if (kind == ZERO && npr_rng_below(r, 2)) memset(q, 0, (size_t)dim * sizeof *q);
    if (kind == COARSE)
        for (int j = 0; j < dim; j++) q[j] = (float)(npr_rng_below(r, 511) - 255) * 0x1p-12f;
    if (kind == WORST) {
        float sign = npr_rng_below(r, 2) ? 1 : -1;
        for (int j = 1; j < dim; j++) q[j] = j % 3 ? sign : -sign;
        q[0] = 0;
    }
    if (kind == PAIRS) {
        float sign = npr_rng_below(r, 2) ? 1 : -1;
        for (int j = 0; j < dim; j++) q[j] = j % 32 < 2 ? (j % 3 ? sign : -sign) : 0.01f * q[j];
    }
    if (kind == SPIKY) {
        for (int j = 0; j < dim; j++) q[j] *= 0x1p-12f;
        float most = npr_rng_below(r, 2) ? 4 : 0x1.fffep1f; /* the second would round to 2^15 */
        q[npr_rng_below(r, dim) / 8] = npr_rng_below(r, 2) ? most : -most;
    }
}

static void make_rows(npr_rng *r, int kind, problem *p)
{
    size_t dim = (size_t)p->dim;
    for (int64_t i = 0; i < p->n; i++) {
        uint16_t *row = p->emb + (size_t)i * dim;
        int copy = kind == DUPLICATES && i > 5 && npr_rng_below(r, 10) > 0;
        p->id[i] = kind == DUPLICATES ? npr_rng_below(r, p->n / 4 + 1) : 10 * i + npr_rng_below(r, 10);
        if (copy || (kind == NEAR && i > 0))
            memcpy(row, p->emb + (size_t)npr_rng_below(r, i < 6 ? i : 6) * dim, dim * 2);
        else
            make_row(r, kind, p->dim, row);
        if (kind == NEAR) row[npr_rng_below(r, p->dim)] ^= 1;
        int opposite = (kind == WORST || kind == PAIRS) && i % 2;
        for (size_t j = 0; opposite && j < dim; j++) row[j] = row[j - dim] ^ 0x8000;
    }
}

static void search_brutally(problem *p)
{
    p->want = npr_topk_make(p->nq, p->k);
    for (int q = 0; q < p->nq; q++)
        for (int64_t i = 0; i < p->n; i++) {
            if (p->gate && p->gate[i] != NPR_GATE_ANY && p->gate[i] != p->q.label[q]) continue;
            double s = dot(p->emb + i * p->dim, p->q.vector + (size_t)q * (size_t)p->dim, p->dim);
            if (isfinite(s)) CHECK_OK(npr_topk_push(p->want, q, (npr_hit){s, p->id[i], 1000 + i}));
        }
    npr_topk_sort(p->want);
}

static problem make_problem(npr_rng *r, int kind, int64_t n, int dim, int nq, int k, int gated)
{
    problem p = {.n = n, .dim = dim, .nq = nq, .k = k};
    p.emb = calloc((size_t)(n * dim) + 1, sizeof *p.emb);
    p.id = calloc((size_t)n + 1, sizeof *p.id);
    p.gate = gated ? calloc((size_t)n + 1, sizeof *p.gate) : NULL;
    p.q = (npr_queries){.nq = nq, .dim = dim, .classes = 5};
    p.q.vector = calloc((size_t)(nq * dim), sizeof *p.q.vector);
    p.q.label = calloc((size_t)nq, sizeof *p.q.label);
    for (int q = 0; q < nq; q++) {
        make_query(r, kind, dim, p.q.vector + (size_t)q * (size_t)dim);
        p.q.label[q] = (int32_t)npr_rng_below(r, 6) - 1;
    }
    make_rows(r, kind, &p);
    /* gates: two in three closed or labelled, or all but a few */
    for (int64_t i = 0; gated && i < n; i++)
        p.gate[i] = npr_rng_below(r, gated == 1 ? 3 : 50) ? (int32_t)npr_rng_below(r, 7) - 2 : NPR_GATE_ANY;
    search_brutally(&p);
    return p;
}

static void free_problem(problem *p)
{
    free(p->emb);
    free(p->id);
    free(p->gate);
    free(p->q.vector);
    free(p->q.label);
    npr_topk_free(p->want);
}

/* Number of lists that differ, in any bit. */
static int differences(const problem *p, npr_topk *got)
{
    int wrong = 0;
    npr_topk_sort(got);
    for (int q = 0; q < p->nq; q++) {
        int n = npr_topk_count(p->want, q);
        wrong += npr_topk_count(got, q) != n ||
                 (n && memcmp(npr_topk_list(got, q), npr_topk_list(p->want, q), (size_t)n * sizeof(npr_hit)));
    }
    return wrong;
}

static void search(const problem *p, const npr_screen *screen, int threads, int64_t tile_rows)
{
    npr_topk *got = npr_topk_make(p->nq, p->k);
    npr_exact *e;
    CHECK_OK(npr_exact_make_with(screen, &p->q, p->k, threads, &e));
    for (int64_t i = 0; i < p->n; i += tile_rows) {
        int64_t n = p->n - i < tile_rows ? p->n - i : tile_rows;
        npr_tile tile = {n, p->emb + i * p->dim, p->id + i, 1000 + i, p->gate ? p->gate + i : NULL, 0};
        CHECK_OK(npr_exact_tile(e, &tile, got));
    }
    int wrong = differences(p, got);
    if (wrong)
        fprintf(stderr, "%s: %lld x %d, %d queries, k %d, %d threads, tiles of %lld\n", screen->name,
                (long long)p->n, p->dim, p->nq, p->k, threads, (long long)tile_rows);
    CHECK_INT(wrong, 0);
    npr_exact_free(e);
    npr_topk_free(got);
}

static void test_screens(void (*with)(const problem *, const npr_screen *), const problem *p)
{
    for (int i = 0; screen_at(i); i++) with(p, screen_at(i));
}

static void all_ways(const problem *p, const npr_screen *s)
{
    search(p, s, 1, p->n ? p->n : 1);
    search(p, s, 2, p->n / 3 + 1);
}

static void tiles(const problem *p, const npr_screen *s)
{
    static const int64_t rows[] = {7, 64, 1000};
    for (int i = 0; i < 3; i++)
        for (int threads = 1; threads <= 2; threads++) search(p, s, threads, rows[i]);
}

static void one_way(const problem *p, const npr_screen *s)
{
    search(p, s, 2, 4000);
}

/* One block with given bounds: what reaches its bound must be a candidate, whose interval holds the score.
 * Each bound is the score of some row, one of the `highest`, so that there is always one that reaches it only
 * just. Two queries have bounds as far from both ends, one that is left over has the middle: of all pairs
 * half pass. */
static void block_with_bounds(npr_rng *r, const problem *p, const npr_screen *screen, int highest, int skip)
{
    npr_packed *packed;
    npr_sieve v;
    int missing = 0, wrong = 0;
    CHECK_OK(npr_packed_make(screen, &p->q, &packed));
    CHECK_OK(npr_sieve_make(packed, (int)p->n, &v));
    uint32_t *row = calloc((size_t)p->n, sizeof *row); /* a sieve has room for a few blocks' only */
    for (int64_t i = 0; i < p->n; i++) row[i] = (uint32_t)i;
    int64_t bound = 0;
    for (int q = 0; q < p->nq; q++) {
        const npr_hit *h = npr_topk_list(p->want, q);
        int most = npr_topk_count(p->want, q) < highest ? npr_topk_count(p->want, q) : highest;
        bound = q % 2 ? most - 1 - bound : q + 1 < p->nq ? npr_rng_below(r, most) : most / 2;
        v.least[q] = npr_float_below(ldexp(h[bound].score, packed->shift[q]));
    }
    for (int64_t i = 0; i < p->n; i += packed->block_rows)
        screen->scan(packed, &v, p->emb, row + i,
                     (int)(p->n - i < packed->block_rows ? p->n - i : packed->block_rows), 0);
    for (int q = 0; q < p->nq; q++)
        for (int i = 0; i < npr_topk_count(p->want, q); i++) {
            const npr_candidates *c = &v.list[q];
            double score = ldexp(npr_topk_list(p->want, q)[i].score, packed->shift[q]);
            size_t at = 0;
            while (at < c->n && c->row[at] != npr_topk_list(p->want, q)[i].place - 1000) at++;
            if (at == c->n)
                missing += score >= (double)v.least[q];
            else
                wrong += !((double)c->low[at] <= score && score <= (double)c->high[at]);
        }
    if (missing || wrong)
        fprintf(stderr, "%s: %lld x %d, %d queries\n", screen->name, (long long)p->n, p->dim, p->nq);
    CHECK_INT(missing, 0);
    CHECK_INT(wrong, 0);
    if (screen->wide && skip >= 0) CHECK_INT(v.skip, skip);
    free(row);
    npr_sieve_free(&v);
    npr_packed_free(packed);
}

/* All screens; `skip`: the blocks that one with a wider relative leaves to it from now on, or -1. */
static void bounds_of(npr_rng *r, const problem *p, int highest, int skip)
{
    for (int i = 0; screen_at(i); i++) block_with_bounds(r, p, screen_at(i), highest, skip);
}

static void bounds(npr_rng *r)
{
    static const int dims[] = {1, 5, 64, 100, 512, 777};
    int turn = 0;
    for (int kind = 0; kind < KINDS; kind++)
        for (int d = 0; d < 6; d++) {
            if (turn++ % test_share()) continue;
            int n = 150, nq = 1 + (int)npr_rng_below(r, 40);
            problem p = make_problem(r, kind, n, dims[d], nq, n, 0);
            bounds_of(r, &p, n, 1);
            bounds_of(r, &p, 3, -1);
            for (int j = 0; kind == PLAIN && j < nq * dims[d]; j++) p.q.vector[j] = npr_half_value(p.emb[j]);
            npr_topk_free(p.want);
            search_brutally(&p);
            if (kind == PLAIN && dims[d] >= 512)
                bounds_of(r, &p, 1, 0); /* a query's own row, hardly another */
            free_problem(&p);
        }
}

/* Rows so long that blocks are short; queries that differ by less than any normal number. */
static void extreme_bounds(npr_rng *r)
{
    for (int dim = 4096; dim <= (test_share() > 1 ? 4096 : 65536); dim *= 16) {
        problem p = make_problem(r, PLAIN, 18, dim, 13, 18, 0);
        bounds_of(r, &p, 18, -1);
        free_problem(&p);
    }
    problem p = make_problem(r, PLAIN, 60, 12, 12, 60, 0);
    for (int q = 0; q < 12; q++)
        for (int j = 0; j < 12; j++) {
            int differs = j == 0 || j == 1 || j == 4 || j == 5 || j == 8;
            p.q.vector[q * 12 + j] = j == 7 ? 1 : differs ? (q % 2 ? 127 * 0x1p-149f : -127 * 0x1p-149f) : 0;
        }
    npr_topk_free(p.want);
    search_brutally(&p);
    bounds_of(r, &p, 60, -1);
    free_problem(&p);
}

static void sizes(npr_rng *r)
{
    static const int dims[] = {1, 7, 32, 100, 512, 768}, queries[] = {1, 4, 10, 17, 100, 300},
                     keeps[] = {1, 10, 200};
    int turn = 0;
    for (int d = 0; d < 6; d++)
        for (int q = 0; q < 6; q++)
            for (int k = 0; k < 3; k++, turn++) {
                if (turn % test_share()) continue;
                int64_t n =
                    turn % 9 == 8 ? 3 : 40 + npr_rng_below(r, dims[d] * queries[q] > 30000 ? 150 : 900);
                problem p = make_problem(r, turn % KINDS, n, dims[d], queries[q], keeps[k],
                                         turn % 4 == 3 ? 1 + turn % 2 : 0);
                test_screens(all_ways, &p);
                free_problem(&p);
            }
}

/* What is refused, and what is nothing. The fault must come first: faults are read once. */
static void refusals(void)
{
    float vector[2 * 3] = {1, 2, 3, 4, 5, 6};
    npr_queries q = {.nq = 2, .dim = 3, .vector = vector};
    npr_exact *e = NULL;
    setenv("NPR_FAULT", "alloc@0:6", 1);
    CHECK_FAILS(npr_exact_make(&q, 5, 2, &e), NPR_EINTERNAL, "out of memory");
    CHECK_FAILS(npr_exact_make(&q, 0, 1, &e), NPR_EUSAGE, "k >= 1");
    vector[4] = NAN;
    CHECK_FAILS(npr_exact_make(&q, 5, 1, &e), NPR_EDATA, "query 1 has a value that is not finite");
    vector[4] = -INFINITY;
    CHECK_FAILS(npr_exact_make(&q, 5, 1, &e), NPR_EDATA, "query 1");
    q.nq = 1; /* no labels: none are needed without gates */
    CHECK_OK(npr_exact_make(&q, 5, 2, &e));
    npr_topk *t = npr_topk_make(1, 5), *other = npr_topk_make(1, 6);
    npr_tile tile = {0};
    CHECK_OK(npr_exact_tile(e, &tile, t));
    CHECK_INT(npr_topk_count(t, 0), 0);
    CHECK_FAILS(npr_exact_tile(e, &tile, other), NPR_EINTERNAL, "1 lists of 5 hits got 1 lists of 6");
    npr_exact_free(e);
    npr_exact_free(NULL);
    npr_topk_free(t);
    npr_topk_free(other);
    q.nq = 0;
    t = npr_topk_make(0, 5);
    for (int i = 0; screen_at(i); i++) {
        CHECK_OK(npr_exact_make_with(screen_at(i), &q, 5, 1, &e));
        CHECK_OK(npr_exact_tile(e, &tile, t));
        npr_exact_free(e);
    }
    npr_topk_free(t);
}

int main(void)
{
    refusals();
    for (int i = 0; screen_at(i); i++) fprintf(stderr, "screen %s\n", screen_at(i)->name);
    for (int i = 0; npr_screen_at(i); i++)
        if (!npr_screen_at(i)->usable())
            fprintf(stderr, "this CPU cannot run %s: not tested\n", npr_screen_at(i)->name);
    npr_rng r = npr_rng_make(20, 0);
    sizes(&r);
    bounds(&r);
    extreme_bounds(&r);
    for (int kind = 0; kind < KINDS; kind++)
        for (int gated = 0; gated < 3; gated++) {
            problem p = make_problem(&r, kind, 700, 24, 35, 12, gated);
            test_screens(tiles, &p);
            free_problem(&p);
        }
    /* long enough for bounds to be raised many times */
    for (int kind = 0; kind < KINDS; kind++) {
        problem p = make_problem(&r, kind, 6000 / test_share(), 40, 20, kind == PLAIN ? 1000 : 50, 0);
        test_screens(one_way, &p);
        free_problem(&p);
    }
    return TEST_END();
}
