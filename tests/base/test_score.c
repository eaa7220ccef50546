/* The exact inner product against plain loops and 128-bit sums, its kernels against each other bit for bit,
 * and argmax and softmax against trying all queries. */
#include "test.h"

#include "base/half.h"
#include "base/rng.h"
#include "base/score.h"

enum { MAX_DIM = 800 };

/* The definition: 32 lanes in order of j, then the tree. */
static double dot_by_definition(const uint16_t *row, const float *query, int d)
{
    double lane[32] = {0};
    for (int j = 0; j < d; j++) lane[j % 32] += (double)npr_half_value(row[j]) * (double)query[j];
    for (int n = 16; n; n /= 2)
        for (int j = 0; j < n; j++) lane[j] += lane[j + n];
    return lane[0];
}

static void fill(npr_rng *r, uint16_t *row, float *query, int d, int kind)
{
    for (int j = 0; j < d; j++) {
        double x = npr_rng_normal(r), q = npr_rng_normal(r);
        if (kind == 1) x *= 0x1p-22;  /* subnormal in binary16 */
        if (kind == 2) q *= 0x1p-140; /* subnormal in float */
        if (kind == 3) x *= 10000, q *= 1e37;
        row[j] = npr_half_round((float)x);
        query[j] = (float)q;
    }
}

static void kernels(void)
{
    static uint16_t row[MAX_DIM];
    static float query[MAX_DIM];
    npr_rng r = npr_rng_make(3, 0);
    const char *name;
    int wrong = 0, far = 0, count = 0;
    for (; npr_score_kernel_at(count, &name); count++) fprintf(stderr, "kernel %s\n", name);
    CHECK(count >= 1);
    CHECK_TEXT((npr_score_kernel_at(count - 1, &name), name), "portable");
    for (int d = 1; d <= 200; d += d < 70 ? 1 : 13)
        for (int kind = 0; kind < 4; kind++) {
            fill(&r, row, query, d, kind);
            double want = dot_by_definition(row, query, d), size = 0;
            long double sum = 0;
            for (int j = 0; j < d; j++) {
                long double p = (long double)npr_half_value(row[j]) * (long double)query[j];
                sum += p;
                size += fabs((double)p);
            }
            far += !(fabs(want - (double)sum) <= size * 0x1p-48);
            for (int i = 0; i < count; i++) {
                double got = npr_score_kernel_at(i, &name)(row, query, d);
                wrong += memcmp(&got, &want, sizeof got) != 0;
            }
            double got = npr_score_dot(row, query, d);
            wrong += memcmp(&got, &want, sizeof got) != 0;
        }
    CHECK_INT(wrong, 0);
    CHECK_INT(far, 0);
    CHECK_NEAR(npr_score_dot(row, query, 0), 0, 0);
    /* a value that is not finite is not lost on the way */
    for (int i = 0; i < count; i++) {
        fill(&r, row, query, 100, 0);
        row[37] = 0x7c00;
        query[37] = 0;
        CHECK(isnan(npr_score_kernel_at(i, &name)(row, query, 100)));
        query[37] = -1;
        CHECK(npr_score_kernel_at(i, &name)(row, query, 100) == -INFINITY);
        row[98] = 0xfe00;
        CHECK(isnan(npr_score_kernel_at(i, &name)(row, query, 100)));
    }
}

static void exponential(void)
{
    double worst = 0;
    for (int i = 0; i < 200000; i += test_share()) {
        double x = -i * 0.0035 - 1e-9 * i, want = exp(x), got = npr_score_exp(x);
        double error = fabs(got - want) / (want * 0x1p-52);
        if (x > -708 && error > worst) worst = error;
    }
    CHECK(worst < 2);
    CHECK_NEAR(npr_score_exp(0), 1, 0);
    CHECK_NEAR(npr_score_exp(-709), 0, 0);
    CHECK_NEAR(npr_score_exp(-INFINITY), 0, 0);
    CHECK_NEAR(npr_score_exp(NAN), 0, 0);
}

/* n rows x nq queries with what is hard: equal queries, queries one unit apart, rows that are not finite. */
typedef struct problem {
    int n, dim, nq;
    uint16_t *row;
    float *query;
} problem;

static problem make_problem(npr_rng *r, int n, int dim, int nq, int kind)
{
    problem p = {n, dim, nq, calloc((size_t)(n * dim), sizeof(uint16_t)),
                 calloc((size_t)(nq * dim), sizeof(float))};
    float scale = kind == 1 ? 0x1p-130f : kind == 2 ? 1e38f : 1;
    for (int i = 0; i < n * dim; i++)
        p.row[i] = npr_half_round((float)npr_rng_normal(r) * (kind == 2 ? 3000 : 0.05f));
    for (int j = 0; j < nq; j++)
        for (int i = 0; i < dim; i++) {
            float *q = p.query + j * dim + i;
            *q = (float)npr_rng_normal(r) * 0.05f * scale;
            if (j % 3 == 1) *q = q[-dim]; /* the same again */
            if (j % 3 == 2) *q = i == j % dim ? nextafterf(q[-dim], 2 * scale) : q[-dim];
        }
    if (n > 4) {
        p.row[2 * dim] = 0x7e00;
        p.row[3 * dim + dim - 1] = 0xfc00;
        memset(p.row + 4 * dim, 0, (size_t)dim * 2); /* all scores tie at 0 */
    }
    return p;
}

static void check_problem(const problem *p, int threads)
{
    size_t n = (size_t)p->n;
    int32_t *best = calloc(n, sizeof *best), *plain = calloc(n, sizeof *plain);
    double *score = calloc(n, sizeof *score), *prob = calloc(n, sizeof *prob);
    CHECK_OK(npr_score_argmax(p->row, p->n, p->dim, p->query, p->nq, threads, plain, NULL, NULL));
    CHECK_OK(npr_score_argmax(p->row, p->n, p->dim, p->query, p->nq, threads, best, score, NULL));
    int wrong = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < p->n; i++) {
            const uint16_t *row = p->row + i * p->dim;
            int want = -1;
            double top = NAN, sum = 0;
            for (int j = 0; npr_half_row_facts(row, p->dim).finite && j < p->nq; j++) {
                double s = dot_by_definition(row, p->query + j * p->dim, p->dim);
                if (want < 0 || s > top) want = j, top = s;
            }
            for (int j = 0; want >= 0 && j < p->nq; j++)
                sum += exp(100 * (dot_by_definition(row, p->query + j * p->dim, p->dim) - top));
            wrong += best[i] != want || plain[i] != want ||
                     (want >= 0 && memcmp(&score[i], &top, sizeof top) != 0);
            if (pass) wrong += want >= 0 ? !(fabs(prob[i] * sum - 1) < 1e-12) : !isnan(prob[i]);
        }
        CHECK_OK(npr_score_argmax(p->row, p->n, p->dim, p->query, p->nq, threads, best, score, prob));
    }
    CHECK_INT(wrong, 0);
    free(best);
    free(plain);
    free(score);
    free(prob);
}

static void argmax(void)
{
    npr_rng r = npr_rng_make(4, 0);
    static const int dims[] = {1, 7, 32, 100, 512}, queries[] = {1, 2, 17, 90};
    int turn = 0;
    for (size_t d = 0; d < sizeof dims / sizeof *dims; d++)
        for (size_t q = 0; q < sizeof queries / sizeof *queries; q++)
            for (int kind = 0; kind < 3; kind++) {
                if (turn++ % test_share()) continue;
                problem p = make_problem(&r, d == 2 ? 600 : 40, dims[d], queries[q], kind);
                check_problem(&p, 1);
                check_problem(&p, 2);
                free(p.row);
                free(p.query);
            }
    problem p = make_problem(&r, 40, 16, 3, 0);
    int32_t best[40];
    p.nq = 0; /* no query: no best one */
    CHECK_OK(npr_score_argmax(p.row, p.n, p.dim, p.query, p.nq, 1, best, NULL, NULL));
    CHECK_INT(best[0], -1);
    CHECK_OK(npr_score_argmax(p.row, 0, p.dim, p.query, 3, 1, best, NULL, NULL));
    free(p.row);
    free(p.query);
}

static void out_of_memory(void)
{
    uint16_t row[8] = {0};
    float query[8] = {0};
    int32_t best;
    setenv("NPR_FAULT", "alloc@0:2", 1);
    CHECK_FAILS(npr_score_argmax(row, 1, 8, query, 1, 1, &best, NULL, NULL), NPR_EINTERNAL, "out of memory");
}

int main(void)
{
    out_of_memory(); /* first: faults are read once */
    kernels();
    exponential();
    argmax();
    return TEST_END();
}
