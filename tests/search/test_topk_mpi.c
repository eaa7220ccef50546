/* The collective merge against pushing all ranks' hits into one list, bit for bit, on any number of ranks. */
#include "test.h"

#include "base/rng.h"
#include "npr/topk.h"

/* Hit i of list q: every rank can make every hit. Scores tie often, ids sometimes. */
static npr_hit make_hit(int q, int i, uint64_t seed)
{
    npr_rng r = npr_rng_make(seed, (uint64_t)q << 32 | (uint64_t)i);
    int tied = npr_rng_below(&r, 2) == 0;
    double score = tied ? (double)npr_rng_below(&r, 5) * 0.1 - 0.2 : npr_rng_normal(&r);
    return (npr_hit){score, npr_rng_below(&r, 50), npr_place((int)npr_rng_below(&r, 9), i)};
}

typedef struct layout {
    int nq, k, hits; /* hits of a list, at most */
    int empty;       /* this rank has none; -1: all have */
    int only;        /* only this rank has any; -1: all */
} layout;

static int hits_of(const layout *l, int q)
{
    return q % 4 == 3 ? q % 8 == 3 ? 0 : 1 : l->hits - q % 5;
}

static int rank_of(const layout *l, int q, int i, int size)
{
    if (l->only >= 0) return l->only % size;
    int rank = (int)(npr_mix64(((uint64_t)q * 1000003 + (uint64_t)i)) % (uint64_t)size);
    return rank == l->empty ? (rank + 1) % size : rank;
}

static void check(const npr_comm *c, const layout *l, uint64_t seed)
{
    npr_topk *t = npr_topk_make(l->nq, l->k), *all = npr_topk_make(l->nq, l->k);
    for (int q = 0; q < l->nq; q++)
        for (int i = 0; i < hits_of(l, q); i++) {
            npr_hit h = make_hit(q, i, seed);
            CHECK_OK(npr_topk_push(all, q, h));
            if (rank_of(l, q, i, c->size) == c->rank) CHECK_OK(npr_topk_push(t, q, h));
        }
    double seconds = -1;
    CHECK_OK(npr_topk_allmerge(c, t, &seconds));
    CHECK(seconds >= 0);
    npr_topk_sort(all);
    int wrong = 0;
    for (int q = 0; q < l->nq; q++) {
        int n = npr_topk_count(all, q);
        wrong += npr_topk_count(t, q) != n;
        wrong += npr_topk_floor(t, q) != npr_topk_floor(all, q);
        if (npr_topk_count(t, q) == n && n)
            wrong += memcmp(npr_topk_list(t, q), npr_topk_list(all, q), (size_t)n * sizeof(npr_hit)) != 0;
    }
    CHECK_INT(wrong, 0);
    npr_topk_free(t);
    npr_topk_free(all);
}

int main(void)
{
    MPI_Init(NULL, NULL);
    npr_comm c = npr_comm_make(MPI_COMM_WORLD);
    static const layout layouts[] = {
        {1, 1, 40, -1, -1},      {1, 10, 7, -1, -1},       {13, 10, 100, 0, -1},       {13, 10, 100, -1, 1},
        {200, 100, 150, -1, -1}, {200, 100, 60, 1, -1},    {3000, 20, 30, -1, -1},     {5, 100000, 0, -1, -1},
        {5, 100000, 20, -1, -1}, {2, 20000, 50000, -1, 0}, {60, 100000, 30000, 0, -1}, {0, 3, 10, -1, -1},
    };
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) check(&c, &layouts[i], i);
    npr_comm_free(&c);
    MPI_Finalize();
    return TEST_END();
}
