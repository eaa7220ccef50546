/* test_proposals_mpi.c - candidates cut for all ranks together against one list of all of them, on any number
 * of ranks; and rows given to the ranks that read their parts. */
#include "test.h"

#include "base/mem.h"
#include "base/rng.h"
#include "search/faiss/proposals.h"

enum { PARTS = 23 };

typedef struct layout {
    int nq, k, hits; /* hits of a list, at most */
    int values;      /* scores are so many; 0: any */
    int only;        /* only this rank has any; -1: all */
} layout;

/* Hit i of list q: every rank can make every hit. */
static float score_of(const layout *l, int q, int i)
{
    npr_rng r = npr_rng_make(5, (uint64_t)q << 32 | (uint64_t)i);
    return l->values ? (float)npr_rng_below(&r, l->values) / 4 - 1 : (float)npr_rng_normal(&r);
}

static int64_t place_of(int q, int i)
{
    return npr_place((i + q) % PARTS, i);
}

static int hits_of(const layout *l, int q)
{
    return q % 4 == 3 ? q % 8 == 3 ? 0 : 1 : l->hits - q % 5;
}

/* The rank that has seen a part. */
static int home_of(const layout *l, int part, int size)
{
    return l->only >= 0 ? l->only % size : part * 31 % 7 % size;
}

/* This rank's hits; all hits in one list: what must come out. */
static npr_proposals *propose(const npr_comm *c, const layout *l, npr_proposals **all)
{
    npr_proposals *p = npr_proposals_make(l->nq, l->k);
    *all = npr_proposals_make(l->nq, l->k);
    for (int q = 0; q < l->nq; q++)
        for (int i = 0; i < hits_of(l, q); i++) {
            CHECK_OK(npr_proposals_push(*all, q, score_of(l, q, i), place_of(q, i)));
            if (home_of(l, npr_place_part(place_of(q, i)), c->size) == c->rank)
                CHECK_OK(npr_proposals_push(p, q, score_of(l, q, i), place_of(q, i)));
        }
    CHECK_OK(npr_proposals_cut(*all));
    return p;
}

static int holds(const npr_proposed *l, int64_t place)
{
    for (int64_t i = 0; i < l->n; i++)
        if (l->place[i] == place) return 1;
    return 0;
}

/* Of the hits wanted those that are not on the rank that saw them; others are too many unless it is rough. */
static int wrong_hits(const npr_comm *c, const layout *l, const npr_proposals *p, const npr_proposals *all,
                      int roughly)
{
    int wrong = 0;
    for (int q = 0; q < l->nq; q++) {
        const npr_proposed *want = &all->list[q];
        int64_t mine = 0;
        for (int64_t i = 0; i < want->n; i++) {
            if (home_of(l, npr_place_part(want->place[i]), c->size) != c->rank) continue;
            mine++;
            wrong += !holds(&p->list[q], want->place[i]);
        }
        wrong += roughly ? p->list[q].n < mine : p->list[q].n != mine;
        wrong += want->full && !(npr_proposals_floor(p, q) <= want->least);
        wrong += want->full && c->size > 1 && roughly && !(npr_proposals_floor(p, q) > want->least - 1e-3f);
    }
    return wrong;
}

static void check_cut(const npr_comm *c, const layout *l)
{
    npr_proposals *all, *p = propose(c, l, &all);
    CHECK_OK(npr_proposals_cut_all(c, p, 1));
    CHECK_INT(wrong_hits(c, l, p, all, 1), 0);
    CHECK_OK(npr_proposals_cut_all(c, p, 0));
    CHECK_INT(wrong_hits(c, l, p, all, 0), 0);
    CHECK_OK(npr_proposals_cut_all(c, p, 0)); /* again: nothing happens */
    CHECK_INT(wrong_hits(c, l, p, all, 0), 0);
    npr_proposals_free(all);
    npr_proposals_free(p);
}

/* Rows of every part at its reader, as the one list of all gives them, in messages of so many. */
static void check_deal(const npr_comm *c, const layout *l, int shift, int64_t piece)
{
    npr_proposals *all, *p = propose(c, l, &all);
    npr_chosen mine, whole;
    int reader[PARTS];
    CHECK_OK(npr_proposals_cut_all(c, p, 0));
    CHECK_OK(npr_chosen_make(p, PARTS, &mine));
    CHECK_OK(npr_chosen_make(all, PARTS, &whole));
    for (int part = 0; part < PARTS; part++)
        reader[part] = part % 5 == 4 && shift ? -1 : (home_of(l, part, c->size) + shift) % c->size;
    CHECK_OK(npr_chosen_deal(c, &mine, reader, piece));
    for (int part = 0; part < PARTS; part++) {
        int64_t n = mine.first[part + 1] - mine.first[part];
        if (reader[part] == c->rank) {
            CHECK_INT(n, whole.first[part + 1] - whole.first[part]);
            CHECK(!memcmp(mine.pair + mine.first[part], whole.pair + whole.first[part],
                          (size_t)n * sizeof *mine.pair));
        } else if (shift && c->size > 1) {
            CHECK_INT(n, 0);
        }
    }
    npr_chosen_free(&mine);
    npr_chosen_free(&whole);
    npr_proposals_free(all);
    npr_proposals_free(p);
}

int main(void)
{
    MPI_Init(NULL, NULL);
    npr_comm c = npr_comm_make(MPI_COMM_WORLD);
    static const layout layouts[] = {
        {1, 1, 40, 0, -1},      {1, 10, 7, 0, -1},      {13, 10, 100, 6, -1},  {13, 10, 100, 0, 1},
        {200, 100, 150, 1, -1}, {200, 100, 60, 0, -1},  {1500, 20, 50, 9, -1}, {5, 100000, 20, 0, -1},
        {2, 2000, 5000, 30, 0}, {6, 3000, 9000, 0, -1}, {0, 3, 10, 0, -1},
    };
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        check_cut(&c, &layouts[i]);
        check_deal(&c, &layouts[i], 0, NPR_CHOSEN_PIECE);
        check_deal(&c, &layouts[i], 1, NPR_CHOSEN_PIECE);
        check_deal(&c, &layouts[i], 1, 97); /* up to 14 messages of a part, the last one mostly smaller */
        if (i < 2) check_deal(&c, &layouts[i], 1, 1);
    }
    npr_comm_free(&c);
    MPI_Finalize();
    return TEST_END();
}
