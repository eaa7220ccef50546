/* tuned_mpi.c - what was tuned, kept for the next run of the same search. See search_stage.h.
 *
 * Another version of npr or of FAISS, or another CPU, may choose differently. A pool must be of one choice.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "search/search_stage.h"

enum { TUNED_BYTES = 512 };

static npr_status write_tuned(const char *path, const npr_search_tuned *t)
{
    char text[TUNED_BYTES];
    int n = snprintf(text, sizeof text, "%d %d %d %d %d %.17g %.17g %.17g\n", t->queries, t->rows, t->nprobe,
                     t->refine, t->reached, t->recall, t->error, t->cost);
    return npr_file_replace(path, text, (size_t)n);
}

static npr_status read_tuned(const char *path, npr_search_tuned *t)
{
    char *text = NULL;
    size_t n;
    NPR_TRY(npr_file_read(path, TUNED_BYTES, &text, &n));
    int got = sscanf(text, "%d %d %d %d %d %lg %lg %lg", &t->queries, &t->rows, &t->nprobe, &t->refine,
                     &t->reached, &t->recall, &t->error, &t->cost);
    free(text);
    if (got == 8 && t->nprobe > 0 && t->refine > 0) return NPR_OK;
    return npr_fail(NPR_EDATA, "%s: not what was tuned by an earlier run; remove the pool's folder", path);
}

static npr_status tune_at(const npr_comm *comm, const npr_log *log, const npr_search_job *job,
                          const npr_search_inputs *in, const char *path, const npr_queries *by,
                          const npr_topk *truth, int first, npr_search_tuned *best)
{
    int there = comm->rank == 0 && npr_file_exists(path);
    npr_bcast(comm, &there, sizeof there, 0);
    if (!there) {
        NPR_TRY(npr_search_tune(comm, job, in, by, truth, first, best));
        return npr_agree(comm, comm->rank ? NPR_OK : write_tuned(path, best), "tuning");
    }
    npr_info(log, "what an earlier run has tuned is used");
    NPR_TRY(npr_agree(comm, comm->rank ? NPR_OK : read_tuned(path, best), "tuning"));
    npr_bcast(comm, best, sizeof *best, 0);
    return NPR_OK;
}

npr_status npr_search_tune_once(const npr_comm *comm, const npr_log *log, const npr_search_job *job,
                                const npr_search_inputs *in, const npr_set_writer *w, const npr_queries *by,
                                const npr_topk *truth, int first, npr_search_tuned *best)
{
    char *path = npr_path("%s/tuned", npr_set_scratch(w));
    npr_status st = npr_agree(comm, path ? NPR_OK : npr_last(), "tuning");
    if (!st) st = tune_at(comm, log, job, in, path, by, truth, first, best);
    free(path);
    return st;
}
