/* text_batch.c - see text.h. A thread takes a class at a time. */
#include "clip/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "clip/team.h"

typedef struct worker {
    npr_clip_work *work;
    int32_t *tokens; /* [batch][context] */
    float *features; /* [batch][dim] */
    double *sum;     /* [dim]: of a class's prompts */
    double *row;     /* [dim]: of its sets */
} worker;

struct npr_texter {
    const npr_clip *clip;
    const npr_tokenizer *tokenizer;
    const npr_prompts *prompts;
    int sets, threads, batch, dim, context;
    worker *worker; /* [threads] */
};

typedef struct errand {
    const npr_texter *t;
    int64_t first;
    float *weight;
} errand;

static npr_status make_worker(const npr_texter *t, worker *w)
{
    size_t batch = (size_t)t->batch, dim = (size_t)t->dim;
    NPR_TRY(npr_clip_work_make(t->clip, &w->work));
    w->tokens = npr_alloc(batch * (size_t)t->context, sizeof *w->tokens, "tokens");
    w->features = npr_alloc(batch * dim, sizeof *w->features, "features");
    w->sum = npr_alloc(dim, sizeof *w->sum, "a class");
    w->row = npr_alloc(dim, sizeof *w->row, "a class");
    return w->tokens && w->features && w->sum && w->row ? NPR_OK : npr_last();
}

npr_status npr_texter_make(const npr_clip *clip, const npr_tokenizer *tokenizer, const npr_prompts *prompts,
                           int sets, int threads, npr_texter **out)
{
    const npr_clip_config *c = npr_clip_config_of(clip);
    npr_texter *t = npr_alloc(1, sizeof *t, "prompts being encoded");
    if (!t) return npr_last();
    *t = (npr_texter){.clip = clip,
                      .tokenizer = tokenizer,
                      .prompts = prompts,
                      .sets = sets,
                      .threads = threads,
                      .batch = npr_clip_text_batch(clip),
                      .dim = c->embed_dim,
                      .context = c->context};
    t->worker = npr_alloc((size_t)threads, sizeof *t->worker, "threads");
    npr_status st = t->worker ? NPR_OK : npr_last();
    for (int i = 0; i < threads && !st; i++) st = make_worker(t, &t->worker[i]);
    if (st)
        npr_texter_free(t);
    else
        *out = t;
    return st;
}

void npr_texter_free(npr_texter *t)
{
    if (!t) return;
    for (int i = 0; t->worker && i < t->threads; i++) {
        worker *w = &t->worker[i];
        npr_clip_work_free(w->work);
        free(w->tokens);
        free(w->features);
        free(w->sum);
        free(w->row);
    }
    free(t->worker);
    free(t);
}

/* Add x [dim] at unit norm to the sum. */
static int add_unit(const float *x, int dim, double *sum)
{
    double squares = 0;
    for (int j = 0; j < dim; j++) squares += (double)x[j] * (double)x[j];
    double norm = sqrt(squares);
    if (!(norm > 0) || !isfinite(norm)) return 0;
    for (int j = 0; j < dim; j++) sum[j] += (double)x[j] / norm;
    return 1;
}

/* The sum of a class's unit features, in the order of its prompts. */
static npr_status sum_prompts(const npr_texter *t, worker *w, const npr_prompts *p, int class)
{
    int dim = t->dim;
    memset(w->sum, 0, (size_t)dim * sizeof *w->sum);
    for (int64_t i = p->offset[class], end = p->offset[class + 1], n; i < end; i += n) {
        n = end - i < t->batch ? end - i : t->batch;
        for (int64_t k = 0; k < n; k++)
            NPR_TRY(npr_tokenizer_encode(t->tokenizer, p->text[i + k], strlen(p->text[i + k]), t->context,
                                         w->tokens + k * t->context));
        NPR_TRY(npr_clip_text(t->clip, w->work, w->tokens, (int)n, w->features));
        for (int64_t k = 0; k < n; k++)
            if (!add_unit(w->features + k * dim, dim, w->sum))
                return npr_fail(NPR_EDATA,
                                "class \"%.100s\": the features of \"%.200s\" are not finite, or zero",
                                p->name[class], p->text[i + k]);
    }
    return NPR_OK;
}

static npr_status encode_class(const npr_texter *t, worker *w, int class, float *weight)
{
    int dim = t->dim;
    memset(w->row, 0, (size_t)dim * sizeof *w->row);
    for (int set = 0; set < t->sets; set++) {
        double squares = 0;
        NPR_TRY(sum_prompts(t, w, &t->prompts[set], class));
        for (int j = 0; j < dim; j++) squares += w->sum[j] * w->sum[j];
        double norm = sqrt(squares);
        if (!(norm > 0))
            return npr_fail(NPR_EDATA, "class \"%.100s\": no prompts, or ones that cancel out",
                            t->prompts[set].name[class]);
        for (int j = 0; j < dim; j++) w->row[j] += w->sum[j] / norm;
    }
    for (int j = 0; j < dim; j++) weight[j] = (float)(w->row[j] / t->sets);
    return NPR_OK;
}

static npr_status encode(void *context, int thread, int64_t first, int n)
{
    const errand *q = context;
    for (int64_t i = first; i < first + n; i++)
        NPR_TRY(encode_class(q->t, &q->t->worker[thread], (int)(q->first + i), q->weight + i * q->t->dim));
    return NPR_OK;
}

npr_status npr_texter_run(npr_texter *t, int64_t first, int64_t n, float *weight,
                          npr_status (*between)(void *context, int64_t done), void *context)
{
    errand q = {t, first, weight};
    const npr_team team = {.threads = t->threads,
                           .items = n,
                           .batch = 1,
                           .work = encode,
                           .between = between,
                           .work_context = &q,
                           .between_context = context};
    return npr_team_run(&team);
}
