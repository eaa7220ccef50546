/* test_candidates.c - how many candidates of a query are ranked, and when they are too many. */
#include <limits.h>

#include "search/search_stage.h"
#include "test.h"

static void test_candidates(void)
{
    CHECK_INT(npr_search_candidates(25, 4, 100000), 100);
    CHECK_INT(npr_search_candidates(100, 64, 2300000000), 6400);
    CHECK_INT(npr_search_candidates(3, 3, 9), 9);
    CHECK_INT(npr_search_candidates(3, 3, 8), 8); /* all there are */
    CHECK_INT(npr_search_candidates(INT_MAX, 1 << 20, 5000), 5000);
    CHECK_INT(npr_search_candidates(INT_MAX, 1 << 20, INT64_MAX), (int64_t)INT_MAX << 20);
    CHECK_INT(npr_search_candidates(7, 2, 0), 1); /* lists have room for one hit at least */
}

static void test_too_many(void)
{
    npr_search_job job = {.k = 50000, .refine = 10};
    CHECK_OK(npr_search_candidates_check(&job, 2300000000));
    job.refine = 11;
    CHECK_OK(npr_search_candidates_check(&job, SEARCH_CANDIDATES_MAX));
    CHECK_FAILS(npr_search_candidates_check(&job, SEARCH_CANDIDATES_MAX + 1), NPR_EUSAGE,
                "--k=50000 with --refine=11 ranks 524289 candidates of every query; 524288 are the most");
    job.target_recall = 0.9; /* --refine is not used */
    CHECK_OK(npr_search_candidates_check(&job, 2300000000));
    job.k = 2000000;
    CHECK_FAILS(npr_search_candidates_check(&job, 2300000000), NPR_EUSAGE, "--refine=1 ranks 2000000");
}

int main(void)
{
    test_candidates();
    test_too_many();
    return TEST_END();
}
