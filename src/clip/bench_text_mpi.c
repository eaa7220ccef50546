/* bench_text_mpi.c - npr_bench_text(). See include/npr/bench.h. */
#include <omp.h>
#include <stdlib.h>

#include "base/measure.h"
#include "base/mem.h"
#include "base/rng.h"
#include "clip/extract.h"
#include "npr/bench.h"

enum { TOKENS = 12, REPEATS_MAX = 99, WARM = 2 };

static const double TURN_S = 0.1; /* of a turn, about */

/* What one thread works with. */
typedef struct worker {
    npr_clip_work *work;
    int32_t *token;  /* [batch][context] */
    float *features; /* [batch][dim] */
} worker;

typedef struct bench {
    npr_clip_config config;
    npr_clip *clip;
    int threads, batch, tokens;
    worker *worker; /* [threads] */
} bench;

/* Texts of TOKENS tokens: a start, any, the end, which has the highest number. */
static npr_status make_worker(const bench *b, int number, worker *w)
{
    size_t context = (size_t)b->config.context, batch = (size_t)b->batch;
    NPR_TRY(npr_clip_work_make(b->clip, &w->work));
    w->token = npr_alloc(batch * context, sizeof *w->token, "tokens");
    w->features = npr_alloc(batch * (size_t)b->config.embed_dim, sizeof *w->features, "features");
    if (!w->token || !w->features) return npr_last();
    npr_rng rng = npr_rng_make(1, (uint64_t)number);
    for (size_t i = 0; i < batch; i++) {
        int32_t *t = w->token + i * context;
        for (int j = 0; j + 1 < b->tokens; j++) t[j] = (int32_t)npr_rng_below(&rng, b->config.vocab - 2);
        t[b->tokens - 1] = b->config.vocab - 1;
    }
    return NPR_OK;
}

/* Seconds in which each thread encodes `calls` batches. */
static npr_status turn(const bench *b, int calls, double *seconds)
{
    npr_status st = NPR_OK;
    double start = npr_now();
#pragma omp parallel num_threads(b->threads)
    {
        worker *w = &b->worker[omp_get_thread_num()];
        npr_status mine = NPR_OK;
        for (int i = 0; i < calls && !mine; i++)
            mine = npr_clip_text(b->clip, w->work, w->token, b->batch, w->features);
#pragma omp critical(npr_bench_text)
        if (mine && !st) st = mine;
    }
    *seconds = npr_now() - start;
    return st ? npr_fail(st, "the bench failed at the text tower") : NPR_OK;
}

static npr_status run(bench *b, const npr_bench_text_job *job, double *flop_per_s)
{
    double t[REPEATS_MAX], warm;
    NPR_TRY(npr_clip_config_read(job->config, &b->config));
    NPR_TRY(npr_clip_make_up(&b->config, 1, NPR_TOWER_TEXT, NPR_FP32, &b->clip));
    b->threads = job->threads;
    b->batch = npr_clip_text_batch(b->clip);
    b->tokens = b->config.context < TOKENS ? b->config.context : TOKENS;
    if (!(b->worker = npr_alloc((size_t)b->threads, sizeof *b->worker, "threads"))) return npr_last();
    for (int i = 0; i < b->threads; i++) NPR_TRY(make_worker(b, i, &b->worker[i]));
    NPR_TRY(turn(b, WARM, &warm)); /* memory is touched */
    NPR_TRY(turn(b, WARM, &warm));
    int calls = (int)(TURN_S / warm * WARM) + 1,
        repeats = job->repeats < REPEATS_MAX ? job->repeats : REPEATS_MAX;
    for (int i = 0; i < repeats; i++) NPR_TRY(turn(b, calls, &t[i]));
    double texts = (double)calls * b->batch * b->threads;
    *flop_per_s = texts * npr_clip_text_flops(&b->config, b->tokens) / npr_measure_median(t, repeats);
    return NPR_OK;
}

npr_status npr_bench_text(const npr_comm *comm, const npr_bench_text_job *job, double *flop_per_s)
{
    bench b = {0};
    npr_status st = run(&b, job, flop_per_s);
    for (int i = 0; b.worker && i < b.threads; i++) {
        npr_clip_work_free(b.worker[i].work);
        free(b.worker[i].token);
        free(b.worker[i].features);
    }
    free(b.worker);
    npr_clip_close(b.clip);
    return npr_agree(comm, st, "bench");
}
