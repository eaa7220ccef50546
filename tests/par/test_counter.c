/* test_counter.c - numbers drawn by all ranks: each once, none left out; ranks that compute for long do not
 * hold up the others. */
#include "test.h"

#include "npr/comm.h"
#include "npr/log.h"

static npr_comm comm;

static void compute(double seconds, npr_counter *serve)
{
    double end = npr_now() + seconds;
    while (npr_now() < end)
        if (serve) npr_counter_serve(serve);
}

/* What all ranks drew below n: how many, their sum and sum of squares are those of 0 .. n-1. */
static void check_drawn(int64_t n, int64_t sums[3])
{
    npr_sum_i64(&comm, sums, 3);
    CHECK_INT(sums[0], n);
    CHECK_INT(sums[1], n * (n - 1) / 2);
    CHECK_INT(sums[2], (n - 1) * n * (2 * n - 1) / 6);
}

static void count(int64_t i, int64_t sums[3])
{
    sums[0]++;
    sums[1] += i;
    sums[2] += i * i;
}

/* As fast as they can; the number behind the last one comes to each rank once. */
static void test_each_once(void)
{
    enum { N = 2000 };
    npr_counter *c;
    int64_t sums[3] = {0}, i, before = -1;
    CHECK_OK(npr_counter_make(&comm, &c));
    while ((i = npr_counter_next(c)) < N) {
        CHECK(i > before);
        before = i;
        count(i, sums);
    }
    int64_t last = i;
    npr_max_i64(&comm, &last, 1);
    CHECK_INT(last, N + comm.size - 1);
    check_drawn(N, sums);
    npr_counter_free(&comm, c);
}

/* Asked for early, taken late, or never. */
static void test_asked_ahead(void)
{
    enum { N = 300 };
    npr_counter *c;
    int64_t sums[3] = {0}, i;
    CHECK_OK(npr_counter_make(&comm, &c));
    do {
        npr_counter_ask(c);
        npr_counter_ask(c); /* the same one */
        if (comm.rank % 2) compute(1e-4 * comm.rank, NULL);
        npr_counter_serve(c);
        if ((i = npr_counter_next(c)) < N) count(i, sums);
    } while (i < N);
    check_drawn(N, sums);
    npr_counter_ask(c);
    npr_counter_free(&comm, c);
}

/* Rank 0 computes for a second and only serves between; the others need not wait for it. */
static void test_busy_owner(void)
{
    enum { N = 200 };
    npr_counter *c;
    CHECK_OK(npr_counter_make(&comm, &c));
    double start = npr_now();
    int64_t sums[3] = {0}, i;
    if (comm.rank == 0) compute(1.5, c);
    double waited = 0;
    while ((i = npr_counter_next(c)) < N) {
        if (comm.rank) waited = npr_now() - start;
        count(i, sums);
    }
    npr_max_f64(&comm, &waited, 1);
    if (waited > 1.4) fprintf(stderr, "the last number came after %.2f s\n", waited);
    CHECK(waited < 1.4);
    check_drawn(N, sums);
    npr_counter_free(&comm, c);
}

/* The others compute, one of them for long: who is free takes what is left. */
static void test_uneven(void)
{
    enum { N = 40 };
    npr_counter *c;
    int64_t sums[3] = {0}, i, slow = 0;
    CHECK_OK(npr_counter_make(&comm, &c));
    while ((i = npr_counter_next(c)) < N) {
        count(i, sums);
        compute(comm.rank && comm.rank == comm.size - 1 ? 0.3 : 0.002, comm.rank ? NULL : c);
        if (comm.rank == comm.size - 1) slow++;
    }
    npr_max_i64(&comm, &slow, 1);
    if (comm.size > 1) CHECK(slow <= N / 4);
    check_drawn(N, sums);
    npr_counter_free(&comm, c);
}

int main(void)
{
    MPI_Init(NULL, NULL);
    comm = npr_comm_make(MPI_COMM_WORLD);
    test_each_once();
    test_asked_ahead();
    test_busy_owner();
    test_uneven();
    npr_comm_free(&comm);
    MPI_Finalize();
    return TEST_END();
}
