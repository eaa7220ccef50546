/* test_mean_mpi.c - sums and counts of all ranks together are the bits of one rank that has all rows. */
#include "test.h"

#include "base/rng.h"
#include "npr/prime.h"

enum { ROWS = 5000, CLASSES = 13, DIM = 67 };

static uint16_t emb[ROWS * DIM];
static int32_t label[ROWS];

static void make_rows(void)
{
    npr_rng r = npr_rng_make(5, 6);
    for (int i = 0; i < ROWS * DIM; i++)
        emb[i] = (uint16_t)(npr_rng_next(&r) & 0xbbff); /* |x| < 1, with subnormals */
    for (int i = 0; i < ROWS; i++) label[i] = (int32_t)npr_rng_below(&r, CLASSES + 1) - 1;
}

/* Rank r gets every row i with hash(i) % size == r: a cut without any order; the last rank of several gets
 * none. */
static void test_means(const npr_comm *c)
{
    int takers = c->size > 1 ? c->size - 1 : 1;
    npr_means all, mine;
    CHECK_OK(npr_means_make(CLASSES, DIM, &all));
    CHECK_OK(npr_means_make(CLASSES, DIM, &mine));
    CHECK_OK(npr_means_add(&all, emb, label, ROWS));
    npr_means_settle(&all);
    for (int i = 0; i < ROWS; i++)
        if ((int)(npr_mix64((uint64_t)i) % (uint64_t)takers) == c->rank)
            CHECK_OK(npr_means_add(&mine, emb + i * DIM, label + i, 1));
    CHECK_OK(npr_means_reduce(c, &mine));
    CHECK(memcmp(all.sum, mine.sum, CLASSES * DIM * sizeof *all.sum) == 0);
    CHECK(memcmp(all.count, mine.count, CLASSES * sizeof *all.count) == 0);
    CHECK(memcmp(all.weight, mine.weight, CLASSES * sizeof *all.weight) == 0);
    float a[CLASSES * DIM], b[CLASSES * DIM];
    npr_means_unit(&all, a);
    npr_means_unit(&mine, b);
    CHECK(memcmp(a, b, sizeof a) == 0);
    npr_means_free(&all);
    npr_means_free(&mine);
}

/* No rank has too many rows of a class, but all together do. */
static void test_limit(const npr_comm *c)
{
    npr_means m;
    CHECK_OK(npr_means_make(2, DIM, &m));
    m.weight[1] = (1 << 29) / c->size + 1;
    CHECK_FAILS(npr_means_reduce(c, &m), NPR_EDATA, "class 1 has");
    npr_means_free(&m);
}

static void test_counts(const npr_comm *c)
{
    npr_eval e;
    CHECK_OK(npr_eval_make(2, &e));
    e.right[0] = c->rank;
    e.seen[1] = 2;
    npr_eval_reduce(c, &e);
    CHECK_INT(e.right[0], c->size * (c->size - 1) / 2);
    CHECK_INT(e.seen[1], 2 * c->size);
    npr_eval_free(&e);
    npr_pairs p = {10, c->rank, 1};
    npr_pairs_reduce(c, &p);
    CHECK_INT(p.seen, 10 * c->size);
    CHECK_INT(p.gained, c->size * (c->size - 1) / 2);
    CHECK_INT(p.lost, c->size);
    npr_means m = {.classes = 2};
    int64_t right[6] = {1, c->rank}, seen[2] = {3, 0}; /* three alphas, two classes */
    right[5] = 2;
    npr_loo l = {.means = &m, .steps = 2, .right = right, .seen = seen};
    npr_loo_reduce(c, &l);
    CHECK_INT(right[0], c->size);
    CHECK_INT(right[1], c->size * (c->size - 1) / 2);
    CHECK_INT(right[2], 0);
    CHECK_INT(right[5], 2 * c->size);
    CHECK_INT(seen[0], 3 * c->size);
}

int main(void)
{
    MPI_Init(NULL, NULL);
    npr_comm c = npr_comm_make(MPI_COMM_WORLD);
    make_rows();
    test_means(&c);
    test_limit(&c);
    test_counts(&c);
    npr_comm_free(&c);
    MPI_Finalize();
    return TEST_END();
}
