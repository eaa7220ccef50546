/* Lists merged beside the scan against pushing all hits of all ranks into one list, bit for bit: many or few
 * hits, floors raised on the way, ranks without hits, a rank that fails. */
#include "test.h"

#include "base/rng.h"
#include "search/beside.h"
#include "search/topk.h"

typedef struct layout {
    int nq, k, rounds, hits; /* hits of a list and round, over all ranks */
    int rising;              /* later rounds have better hits */
    int only;                /* only this rank has any; -1: all */
} layout;

static npr_hit make_hit(const layout *l, int round, int q, int i)
{
    npr_rng r = npr_rng_make((uint64_t)(round * 131 + l->k), (uint64_t)q << 32 | (uint64_t)i);
    double score = npr_rng_below(&r, 2) ? (double)npr_rng_below(&r, 5) * 0.1 : npr_rng_normal(&r);
    return (npr_hit){score + round * l->rising, npr_rng_below(&r, 50), npr_place(round, (int64_t)i)};
}

static void push_round(const npr_comm *c, const layout *l, int round, npr_topk *mine, npr_topk *all)
{
    for (int q = 0; q < l->nq; q++)
        for (int i = 0; i < l->hits - q % 3; i++) {
            npr_hit h = make_hit(l, round, q, i);
            int rank = l->only >= 0 ? l->only % c->size : (i * 7 + q) % c->size;
            CHECK_OK(npr_topk_push(all, q, h));
            if (rank == c->rank) CHECK_OK(npr_topk_push(mine, q, h));
        }
}

static int differ(const npr_topk *a, const npr_topk *b, int q)
{
    int n = npr_topk_count(b, q);
    if (npr_topk_count(a, q) != n || npr_topk_floor(a, q) != npr_topk_floor(b, q)) return 1;
    return n && memcmp(npr_topk_list(a, q), npr_topk_list(b, q), (size_t)n * sizeof(npr_hit)) != 0;
}

static void check(const npr_comm *c, const layout *l)
{
    npr_topk *mine = npr_topk_make(l->nq, l->k), *all = npr_topk_make(l->nq, l->k);
    npr_beside *b;
    CHECK_OK(npr_beside_make(c, mine, &b));
    for (int round = 0; round < l->rounds; round++) {
        push_round(c, l, round, mine, all);
        CHECK_OK(npr_agree(c, npr_beside_finish(b, NPR_OK, mine), "test"));
        if (round + 1 < l->rounds) npr_beside_start(b, &mine);
    }
    int kept = npr_topk_count(mine, 0), above = 0;
    for (int i = 0; i < kept; i++) above += npr_topk_list(mine, 0)[i].score >= npr_topk_floor(mine, 0);
    CHECK_INT(above, kept); /* what others have pushed out is not kept */
    CHECK_OK(npr_beside_all(c, b, &mine));
    npr_topk_sort(all);
    int wrong = 0;
    for (int q = 0; q < l->nq; q++) wrong += differ(mine, all, q);
    CHECK_INT(wrong, 0);
    npr_beside_times times = npr_beside_took(b);
    CHECK_INT(times.started, l->rounds - 1);
    CHECK(times.merge > 0 && times.exposed > 0);
    npr_beside_free(b);
    npr_topk_free(mine);
    npr_topk_free(all);
}

/* One rank cannot merge: the others hear of it, and none hangs. Comes first: a fault is read once. */
static void check_failure(const npr_comm *c)
{
    char fault[64];
    snprintf(fault, sizeof fault, "merge.begin@%d", c->size - 1);
    setenv("NPR_FAULT", fault, 1);
    npr_topk *mine = npr_topk_make(3, 4);
    npr_beside *b;
    CHECK_OK(npr_beside_make(c, mine, &b));
    CHECK_OK(npr_topk_push(mine, 1, (npr_hit){1, c->rank, c->rank}));
    npr_beside_start(b, &mine);
    npr_status st = npr_agree(c, npr_beside_finish(b, NPR_OK, mine), "scan");
    CHECK_INT(st, NPR_EIO);
    CHECK(strstr(npr_status_text(), "scan failed on 1 of") && strstr(npr_status_text(), "merge.begin"));
    npr_beside_free(b);
    npr_topk_free(mine);
}

int main(void)
{
    int provided;
    MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided);
    npr_comm c = npr_comm_make(MPI_COMM_WORLD);
    npr_fault_rank(c.rank);
    static const layout layouts[] = {
        {1, 1, 3, 40, 0, -1},   {7, 10, 4, 100, 0, -1},    {7, 10, 4, 100, 1, -1}, {50, 100, 3, 30, 0, -1},
        {20, 64, 5, 500, 1, 1}, {3, 100000, 3, 20, 0, -1}, {0, 3, 3, 10, 0, -1},   {13, 5, 6, 0, 0, -1},
    };
    CHECK(provided >= MPI_THREAD_SERIALIZED);
    check_failure(&c);
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) check(&c, &layouts[i]);
    npr_comm_free(&c);
    MPI_Finalize();
    return TEST_END();
}
