/* eval_mpi.c - heads side by side on labelled rows. Every rank predicts for its share of the rows; counts are
 * added up. See solve.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/score.h"
#include "prime/solve.h"

void npr_eval_reduce(const npr_comm *comm, npr_eval *e)
{
    npr_sum_i64(comm, e->right, (size_t)e->classes);
    npr_sum_i64(comm, e->seen, (size_t)e->classes);
}

void npr_pairs_reduce(const npr_comm *comm, npr_pairs *p)
{
    npr_sum_i64(comm, &p->seen, 1);
    npr_sum_i64(comm, &p->gained, 1);
    npr_sum_i64(comm, &p->lost, 1);
}

/* ---- one rank's share ---------------------------------------------------------------------------------- */

typedef struct pass {
    const npr_solve *s;
    npr_trial *t;
    int32_t *best;  /* [n][tile_rows] predictions of a tile */
    float *blend;   /* [classes][dim] a head of a grid */
    float *some;    /* [subset][dim] the subset's rows of a head */
    npr_rows inner; /* the rows of a tile whose classes are in the subset */
} pass;

static npr_status make_pass(pass *p)
{
    const npr_solve *s = p->s;
    npr_trial *t = p->t;
    size_t dim = (size_t)s->text.dim;
    int grid = 0;
    for (int i = 0; i < t->n; i++) {
        grid |= !t->candidate[i].w;
        NPR_TRY(npr_eval_make(s->text.classes, &t->candidate[i].eval));
        if (t->subset) NPR_TRY(npr_eval_make(s->text.classes, &t->candidate[i].subset));
    }
    p->best = npr_alloc((size_t)t->n, (size_t)s->job->tile_rows * sizeof *p->best, "predictions");
    if (!p->best) return npr_last();
    if (grid && !(p->blend = npr_alloc_aligned((size_t)s->text.classes * dim, sizeof *p->blend, "a head")))
        return npr_last();
    if (!t->subset) return NPR_OK;
    p->some = npr_alloc_aligned((size_t)t->subset->n * dim, sizeof *p->some, "a head");
    NPR_TRY(npr_rows_make(&p->inner, NPR_COL(NPR_EMB) | NPR_COL(NPR_LABEL), s->text.dim, 0));
    return p->some ? NPR_OK : npr_last();
}

static void free_pass(pass *p)
{
    free(p->best);
    free(p->blend);
    free(p->some);
    npr_rows_free(&p->inner);
}

static int32_t *best_of(const pass *p, int i)
{
    return p->best + (size_t)i * (size_t)p->s->job->tile_rows;
}

static npr_status check_rows(const pass *p, const npr_rows *r)
{
    int classes = p->s->text.classes;
    const char *kind = p->t->set == p->s->test ? "test" : "validation";
    for (int64_t i = 0; i < r->n; i++) {
        if (r->label[i] < 0 || r->label[i] >= classes)
            return npr_fail(NPR_EDATA, "%s row with id %lld has label %d; the head has the classes 0 to %d",
                            kind, (long long)r->id[i], r->label[i], classes - 1);
        if (p->best[i] < 0)
            return npr_fail(NPR_EDATA, "%s row with id %lld has a value that is not finite", kind,
                            (long long)r->id[i]);
    }
    return NPR_OK;
}

static npr_status put_lines(npr_trial *t, const npr_rows *r, const int32_t *before, const int32_t *after)
{
    enum { LONGEST = 64 }; /* 20 digits and three times 11, with separators */
    for (int64_t i = 0; i < r->n; i++) {
        NPR_TRY(npr_grow(&t->lines, &t->cap, t->used + LONGEST, 1, "predictions"));
        t->used += (size_t)snprintf(t->lines + t->used, LONGEST, "%lld\t%d\t%d\t%d\n", (long long)r->id[i],
                                    r->label[i], before[i], after[i]);
    }
    return NPR_OK;
}

/* The head of a candidate. */
static const float *head_of(const pass *p, const npr_candidate *c)
{
    const npr_head *text = &p->s->text;
    if (c->w) return c->w;
    npr_head_blend(text->w, c->image, c->keep, text->classes, text->dim, c->alpha, p->blend);
    return p->blend;
}

/* All candidates on the rows of a tile, whole or restricted to the subset's classes. */
static npr_status judge(pass *p, const npr_rows *r, int within)
{
    const npr_solve *s = p->s;
    npr_trial *t = p->t;
    size_t row = (size_t)s->text.dim * sizeof *p->some;
    for (int i = 0; i < t->n; i++) {
        int32_t *best = best_of(p, i);
        const float *w = head_of(p, &t->candidate[i]);
        for (int k = 0; within && k < t->subset->n; k++)
            memcpy(p->some + (size_t)k * (size_t)s->text.dim,
                   w + (size_t)t->subset->class[k] * (size_t)s -> text.dim, row);
        NPR_TRY(npr_score_argmax(r->emb, r->n, r->dim, within ? p->some : w,
                                 within ? t->subset->n : s->text.classes, s->job->threads, best, NULL, NULL));
        for (int64_t j = 0; within && j < r->n; j++) best[j] = t->subset->class[best[j]];
    }
    return NPR_OK;
}

static void count(pass *p, const npr_rows *r, int within)
{
    for (int i = 0; i < p->t->n; i++) {
        npr_candidate *c = &p->t->candidate[i];
        npr_eval_add(within ? &c->subset : &c->eval, r->label, best_of(p, i), r->n);
        if (c->rival >= 0)
            npr_pairs_add(within ? &c->within : &c->pairs, r->label, best_of(p, c->rival), best_of(p, i),
                          r->n);
    }
}

/* Order: ties go to the lower place of the subset's file, as to the lower class of a head. */
static npr_status judge_subset(pass *p, const npr_rows *r)
{
    npr_rows_clear(&p->inner);
    for (int64_t i = 0; i < r->n; i++)
        if (p->t->subset->number[r->label[i]] >= 0) NPR_TRY(npr_rows_copy(&p->inner, r, i));
    NPR_TRY(judge(p, &p->inner, 1));
    count(p, &p->inner, 1);
    return NPR_OK;
}

static npr_status test_tile(void *to, npr_rows *r, int64_t row0)
{
    pass *p = to;
    npr_trial *t = p->t;
    (void)row0;
    NPR_TRY(judge(p, r, 0));
    NPR_TRY(check_rows(p, r));
    count(p, r, 0);
    if (t->before >= 0) NPR_TRY(put_lines(t, r, best_of(p, t->before), best_of(p, t->after)));
    return t->subset ? judge_subset(p, r) : NPR_OK;
}

/* ---- the trial ----------------------------------------------------------------------------------------- */

npr_status npr_trial_run(const npr_comm *comm, const npr_solve *s, npr_trial *t)
{
    pass p = {.s = s, .t = t};
    npr_walk walk = {.set = t->set,
                     .what = t->what,
                     .columns = NPR_COL(NPR_EMB) | NPR_COL(NPR_ID) | NPR_COL(NPR_LABEL),
                     .tile_rows = s->job->tile_rows};
    npr_status st = npr_agree(comm, make_pass(&p), t->what);
    if (!st) st = npr_walk_set(comm, s->log, &walk, test_tile, &p);
    for (int i = 0; i < t->n && !st; i++) {
        npr_candidate *c = &t->candidate[i];
        npr_eval_reduce(comm, &c->eval);
        npr_pairs_reduce(comm, &c->pairs);
        if (t->subset) npr_eval_reduce(comm, &c->subset);
        npr_pairs_reduce(comm, &c->within);
    }
    t->seconds = (npr_seconds){walk.read, walk.work};
    free_pass(&p);
    return st;
}

void npr_trial_free(npr_trial *t)
{
    for (int i = 0; t->candidate && i < t->n; i++) {
        npr_eval_free(&t->candidate[i].eval);
        npr_eval_free(&t->candidate[i].subset);
    }
    free(t->lines);
    t->lines = NULL;
}

npr_candidate *npr_trial_grid(const npr_solve *s, const npr_learned *l)
{
    npr_candidate *c = npr_alloc((size_t)s->steps + 1, sizeof *c, "a grid of alphas");
    for (int i = 0; c && i <= s->steps; i++) {
        c[i] =
            (npr_candidate){.image = l->image, .keep = l->keep, .alpha = (double)i / s->steps, .rival = -1};
        snprintf(c[i].name, sizeof c[i].name, "%.*f", s->decimals, c[i].alpha);
    }
    return c;
}
