/* Random numbers: same everywhere (pinned values), independent streams, right moments. */
#include "test.h"

#include "base/rng.h"

/* Every number comes up once, and hardly any stays where it was. */
static void test_shuffle(void)
{
    static const int64_t sizes[] = {1, 2, 3, 4, 5, 16, 17, 1000, 4097};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        char seen[4097] = {0};
        int stays = 0, differs = 0;
        for (int64_t i = 0; i < sizes[k]; i++) {
            int64_t to = npr_rng_shuffled(7, sizes[k], i);
            CHECK(to >= 0 && to < sizes[k] && !seen[to]);
            seen[to] = 1;
            stays += to == i;
            differs += to != npr_rng_shuffled(8, sizes[k], i);
        }
        CHECK(sizes[k] < 1000 || (stays < 12 && differs > sizes[k] / 2));
    }
    int64_t big = (INT64_C(1) << 40) + 3;
    CHECK(npr_rng_shuffled(1, big, big - 1) < big);
}

int main(void)
{
    test_shuffle();
    npr_rng r = npr_rng_make(1, 2);
    uint64_t first = npr_rng_next(&r), second = npr_rng_next(&r);
    npr_rng again = npr_rng_make(1, 2);
    CHECK(npr_rng_next(&again) == first && npr_rng_next(&again) == second && first != second);
    npr_rng other = npr_rng_make(1, 3), seed = npr_rng_make(2, 2);
    CHECK(npr_rng_next(&other) != first && npr_rng_next(&seed) != first);
    /* SplitMix64's published first output for state 0 is the mix of the golden-ratio constant */
    CHECK(npr_mix64(0x9e3779b97f4a7c15u) == 0xe220a8397b1dcdafu);

    enum { N = 200000 };
    double sum = 0, squares = 0, uniform = 0;
    int64_t bins[10] = {0};
    for (int i = 0; i < N; i++) {
        double x = npr_rng_normal(&r);
        sum += x;
        squares += x * x;
        uniform += npr_rng_uniform(&r);
        int64_t b = npr_rng_below(&r, 10);
        CHECK(b >= 0 && b < 10);
        bins[b]++;
    }
    CHECK_NEAR(sum / N, 0, 4 / sqrt(N));
    CHECK_NEAR(squares / N, 1, 0.02);
    CHECK_NEAR(uniform / N, 0.5, 0.004);
    for (int b = 0; b < 10; b++) CHECK_NEAR((double)bins[b], N / 10.0, 5 * sqrt(N / 10.0));

    /* the fast ones: same moments; a batch and one by one are the same values */
    static float many[N];
    npr_rng a = npr_rng_make(5, 6), b = a;
    npr_rng_normals(&a, many, N);
    sum = squares = 0;
    for (int i = 0; i < N; i++) {
        sum += (double)many[i];
        squares += (double)many[i] * (double)many[i];
        CHECK(fabsf(many[i]) < 3.47f);
    }
    CHECK_NEAR(sum / N, 0, 4 / sqrt(N));
    CHECK_NEAR(squares / N, 1, 0.02);
    float pair[2], odd[3];
    npr_rng_normals(&b, pair, 2);
    CHECK(pair[0] == many[0] && pair[1] == many[1]);
    npr_rng_normals(&b, odd, 3);
    CHECK(odd[0] == many[2] && odd[1] == many[3] && odd[2] == many[4]);
    return TEST_END();
}
