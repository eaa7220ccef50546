/* candidates.c - how many rows FAISS proposes to a query, and when they are too many. See search_stage.h. */
#include "search/search_stage.h"

int64_t npr_search_candidates(int64_t k, int64_t refine, int64_t rows)
{
    return k <= rows / refine ? k * refine : rows > 0 ? rows : 1;
}

npr_status npr_search_candidates_check(const npr_search_job *job, int64_t rows)
{
    int refine = job->target_recall > 0 ? 1 : job->refine;
    int64_t n = npr_search_candidates(job->k, refine, rows);
    if (n <= SEARCH_CANDIDATES_MAX) return NPR_OK;
    return npr_fail(
        NPR_EUSAGE,
        "--k=%d with --refine=%d ranks %lld candidates of every query; %d are the most: lower them, "
        "or search with --mode=exact",
        job->k, refine, (long long)n, SEARCH_CANDIDATES_MAX);
}
