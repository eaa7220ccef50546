/* learn_mpi.c - a head from rows: class means or a trained head, alpha, the blend. See solve.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/mem.h"
#include "prime/solve.h"
#include "prime/train.h"

/* What the steps share. */
typedef struct learner {
    const npr_solve *s;
    const npr_material *m;
    int told;
    npr_learned *l;
} learner;

static npr_status make_arrays(const learner *a)
{
    const npr_head *text = &a->s->text;
    size_t n = (size_t)text->classes * (size_t)text->dim;
    npr_learned *l = a->l;
    NPR_TRY(npr_means_make(text->classes, text->dim, &l->means));
    l->pool_count = npr_alloc((size_t)text->classes, sizeof *l->pool_count, "the class counts");
    l->image = npr_alloc_aligned(n, sizeof *l->image, "the image means");
    l->primed = npr_alloc_aligned(n, sizeof *l->primed, "the primed head");
    /* A probe is not on the scale of the text head, so a class it has no rows of cannot keep its text row. */
    int keeps = !strcmp(a->s->job->empty, "text") && a->s->method != NPR_METHOD_PROBE;
    l->keep = keeps ? l->means.count : NULL;
    return l->pool_count && l->image && l->primed ? NPR_OK : npr_last();
}

void npr_learned_free(npr_learned *l)
{
    npr_means_free(&l->means);
    free(l->pool_count);
    free(l->image);
    free(l->primed);
    *l = (npr_learned){0};
}

/* ---- class means --------------------------------------------------------------------------------------- */

static npr_status sum_tile(void *to, const npr_rows *r, const int64_t *number)
{
    const learner *a = to;
    int64_t pool = a->m->pool ? a->m->pool->rows : 0;
    NPR_TRY(npr_means_add_counted(&a->l->means, r->emb, r->label, r->recalls, r->n));
    for (int64_t i = 0; i < r->n; i++)
        if (r->label[i] >= 0 && number[i] < pool) a->l->pool_count[r->label[i]]++;
    return NPR_OK;
}

/* Names (or numbers, of classes without names) of the first classes without rows, as "a; b; c". */
static npr_status record_empty(const learner *a)
{
    enum { NAMED = 20 };
    const npr_solve *s = a->s;
    int empty = 0;
    char *names = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&names, &n);
    if (!f) return npr_fail(NPR_EINTERNAL, "out of memory: the names of empty classes");
    for (int c = 0; c < s->text.classes; c++) {
        if (a->l->means.count[c] || ++empty > NAMED || !s->text.name) continue;
        fprintf(f, "%s", empty > 1 ? "; " : "");
        s->text.name[c][0] ? fprintf(f, "%s", s->text.name[c]) : fprintf(f, "%d", c);
    }
    int failed = fclose(f) != 0;
    npr_record_int(s->rec, "result.classes_empty", empty);
    npr_record_text(s->rec, "result.classes_empty_names", failed ? "" : names);
    if (empty)
        npr_warn(s->log, "%d of %d classes have no rows in the pool; %s (listed in classes.tsv)", empty,
                 s->text.classes, a->l->keep ? "they keep their text row" : "their image mean is zero");
    free(names);
    return failed ? npr_fail(NPR_EINTERNAL, "out of memory: the names of empty classes") : NPR_OK;
}

static npr_status record_means(const learner *a)
{
    const npr_solve *s = a->s;
    const npr_means *m = &a->l->means;
    int64_t pool = 0, all = 0, weight = 0;
    char hex[NPR_DIGEST_HEX];
    for (int c = 0; c < m->classes; c++) {
        pool += a->l->pool_count[c];
        all += m->count[c];
        weight += m->weight[c];
    }
    npr_record_int(s->rec, "result.classes", m->classes);
    npr_record_int(s->rec, "result.pool_rows", pool);
    npr_record_int(s->rec, "result.shot_rows", all - pool);
    npr_record_int(s->rec, "result.weight", weight);
    npr_digest_block(m->sum, (size_t)m->classes * (size_t)m->dim * sizeof *m->sum, hex);
    npr_record_text(s->rec, "check.sums", hex);
    return record_empty(a);
}

static npr_status make_means(const npr_comm *comm, learner *a)
{
    const npr_solve *s = a->s;
    npr_seconds time = {0};
    NPR_TRY(npr_material_walk(comm, s->log, a->m, "class sums", sum_tile, a, &time));
    double start = npr_now();
    npr_sum_i64(comm, a->l->pool_count, (size_t)s->text.classes);
    NPR_TRY(npr_means_reduce(comm, &a->l->means));
    if (a->told) {
        npr_record_time(comm, s->rec, "sums_read", time.read);
        npr_record_time(comm, s->rec, "sums", time.work);
        npr_record_time(comm, s->rec, "reduce", npr_now() - start);
        double row = 2.0 * s->text.dim, cells = 8.0 * s->text.classes * s->text.dim;
        npr_record_work(comm, s->rec, "sums", comm->rank ? 0 : row * (double)npr_material_rows(a->m), 0);
        npr_record_work(comm, s->rec, "reduce", comm->size > 1 ? 2 * cells : 0, 0);
    }
    npr_means_unit(&a->l->means, a->l->image);
    return a->told ? npr_agree(comm, record_means(a), "class sums") : NPR_OK;
}

/* ---- alpha --------------------------------------------------------------------------------------------- */

typedef struct loo_pass {
    npr_loo loo;
    int threads;
} loo_pass;

static npr_status loo_tile(void *to, const npr_rows *r, const int64_t *number)
{
    loo_pass *p = to;
    (void)number;
    return npr_loo_add(&p->loo, r->emb, r->label, r->recalls, r->n, p->threads);
}

static void record_grid(const learner *a, const char *by, int i, double v)
{
    char key[64];
    snprintf(key, sizeof key, "result.%s.%.*f", by, a->s->decimals, (double)i / a->s->steps);
    if (a->told) npr_record_real(a->s->rec, key, v);
}

static npr_status leave_one_out(const npr_comm *comm, learner *a)
{
    const npr_solve *s = a->s;
    loo_pass p = {.threads = s->job->threads};
    npr_seconds time = {0};
    npr_status st = npr_loo_make(s->text.w, &a->l->means, a->l->keep != NULL, s->steps, &p.loo);
    st = npr_agree(comm, st, "leave-one-out");
    if (!st) st = npr_material_walk(comm, s->log, a->m, "leave-one-out", loo_tile, &p, &time);
    if (!st) {
        npr_loo_reduce(comm, &p.loo);
        if (a->told) npr_record_time(comm, s->rec, "loo_read", time.read);
        if (a->told) npr_record_time(comm, s->rec, "loo", time.work);
        for (int i = 0; i <= s->steps; i++) record_grid(a, "loo", i, npr_loo_accuracy(&p.loo, i));
        a->l->alpha = (double)npr_loo_best(&p.loo) / s->steps;
    }
    npr_loo_free(&p.loo);
    return st;
}

/* The alpha that does best on rows that somebody chose for this; ties go to the larger. */
static npr_status validate(const npr_comm *comm, learner *a)
{
    const npr_solve *s = a->s;
    npr_trial t = {.set = s->validation, .what = "validation", .n = s->steps + 1, .before = -1, .after = -1};
    t.candidate = npr_trial_grid(s, a->l);
    npr_status st = npr_agree(comm, t.candidate ? NPR_OK : npr_last(), t.what);
    if (!st) st = npr_trial_run(comm, s, &t);
    double best = -1;
    for (int i = 0; i < t.n && !st; i++) {
        npr_accuracy found = npr_eval_accuracy(&t.candidate[i].eval);
        record_grid(a, "validation", i, found.top1);
        if (found.top1 < best) continue;
        best = found.top1;
        a->l->alpha = t.candidate[i].alpha;
    }
    npr_trial_free(&t);
    free(t.candidate);
    return st;
}

static npr_status choose_alpha(const npr_comm *comm, learner *a)
{
    static const char *const from[] = {[NPR_ALPHA_GIVEN] = "given",
                                       [NPR_ALPHA_RULE] = "rule",
                                       [NPR_ALPHA_LOO] = "leave-one-out",
                                       [NPR_ALPHA_VALIDATION] = "validation"};
    const npr_solve *s = a->s;
    int blends = s->method == NPR_METHOD_MEAN || s->method == NPR_METHOD_WISE;
    int64_t rows = 0;
    for (int c = 0; c < s->text.classes; c++) rows += a->l->means.count[c];
    a->l->alpha = s->given;
    if (!blends)
        a->l->alpha = 0; /* the trained head alone */
    else if (s->from == NPR_ALPHA_RULE)
        a->l->alpha = npr_alpha_rule(rows, s->text.classes, s->job->sigma);
    else if (s->from == NPR_ALPHA_LOO)
        NPR_TRY(leave_one_out(comm, a));
    else if (s->from == NPR_ALPHA_VALIDATION)
        NPR_TRY(validate(comm, a));
    if (!a->told) return NPR_OK;
    npr_record_real(s->rec, "result.alpha", a->l->alpha);
    npr_record_text(s->rec, "result.alpha_from", blends ? from[s->from] : "none");
    return NPR_OK;
}

/* ---- the head ------------------------------------------------------------------------------------------ */

npr_status npr_learn(const npr_comm *comm, const npr_solve *s, const npr_material *m, int told,
                     npr_learned *l)
{
    *l = (npr_learned){0};
    learner a = {s, m, told, l};
    NPR_TRY(npr_agree(comm, make_arrays(&a), "class sums"));
    NPR_TRY(make_means(comm, &a));
    if (s->method != NPR_METHOD_MEAN) NPR_TRY(npr_train_head(comm, s, m, told, l->image));
    NPR_TRY(choose_alpha(comm, &a));
    npr_head_blend(s->text.w, l->image, l->keep, s->text.classes, s->text.dim, l->alpha, l->primed);
    return NPR_OK;
}
