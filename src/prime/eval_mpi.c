/* eval_mpi.c - three heads side by side on the labelled test set: the text head (zero-shot), the image means
 * alone, and their blend. Every rank predicts for its share of the rows; counts are added up, predictions
 * gathered in row order. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/score.h"
#include "prime/solve.h"
#include "prime/walk.h"

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

/* ---- one rank's share ------------------------------------------------------------------------------------
 */

enum { ZERO_SHOT, IMAGE_ONLY, PRIMED, HEADS };

typedef struct pass {
    const npr_solve *s;
    npr_eval eval[HEADS], *sweep; /* sweep: [steps + 1], or NULL */
    npr_pairs gain, image_gain;   /* against zero-shot */
    int32_t *best[HEADS];         /* [tile_rows] predictions of a tile; those of the sweep go to best[0] */
    float *blend;                 /* [classes][dim] a head of the sweep */
    char *lines;                  /* predictions of this rank's rows */
    size_t used, cap;
} pass;

static void free_pass(pass *p)
{
    for (int h = 0; h < HEADS; h++) {
        npr_eval_free(&p->eval[h]);
        free(p->best[h]);
    }
    for (int i = 0; p->sweep && i <= p->s->steps; i++) npr_eval_free(&p->sweep[i]);
    free(p->sweep);
    free(p->blend);
    free(p->lines);
}

static npr_status make_pass(const npr_solve *s, pass *p)
{
    *p = (pass){.s = s};
    for (int h = 0; h < HEADS; h++) {
        NPR_TRY(npr_eval_make(s->text.classes, &p->eval[h]));
        p->best[h] = npr_alloc((size_t)s->job->tile_rows, sizeof **p->best, "predictions");
        if (!p->best[h]) return NPR_EINTERNAL;
    }
    if (!s->job->sweep) return NPR_OK;
    p->sweep = npr_alloc((size_t)s->steps + 1, sizeof *p->sweep, "the sweep");
    p->blend =
        npr_alloc_aligned((size_t)s->text.classes * (size_t)s->text.dim, sizeof *p->blend, "the sweep");
    if (!p->sweep || !p->blend) return NPR_EINTERNAL;
    for (int i = 0; i <= s->steps; i++) NPR_TRY(npr_eval_make(s->text.classes, &p->sweep[i]));
    return NPR_OK;
}

static npr_status check_rows(const pass *p, const npr_rows *r)
{
    int classes = p->s->text.classes;
    for (int64_t i = 0; i < r->n; i++) {
        if (r->label[i] < 0 || r->label[i] >= classes)
            return npr_fail(NPR_EDATA, "test row with id %lld has label %d; the head has the classes 0 to %d",
                            (long long)r->id[i], r->label[i], classes - 1);
        if (p->best[ZERO_SHOT][i] < 0)
            return npr_fail(NPR_EDATA, "test row with id %lld has a value that is not finite",
                            (long long)r->id[i]);
    }
    return NPR_OK;
}

static npr_status put_lines(pass *p, const npr_rows *r)
{
    enum { LONGEST = 64 }; /* 20 digits and three times 11, with separators */
    for (int64_t i = 0; i < r->n; i++) {
        NPR_TRY(npr_grow(&p->lines, &p->cap, p->used + LONGEST, 1, "predictions"));
        p->used += (size_t)snprintf(p->lines + p->used, LONGEST, "%lld\t%d\t%d\t%d\n", (long long)r->id[i],
                                    r->label[i], p->best[ZERO_SHOT][i], p->best[PRIMED][i]);
    }
    return NPR_OK;
}

static npr_status predict(const pass *p, const npr_rows *r, const float *head, int32_t *best)
{
    return npr_score_argmax(r->emb, r->n, r->dim, head, p->s->text.classes, p->s->job->threads, best, NULL,
                            NULL);
}

static npr_status test_tile(void *to, const npr_rows *r)
{
    pass *p = to;
    const npr_solve *s = p->s;
    const float *head[HEADS] = {s->text.w, s->image, s->primed};
    for (int h = 0; h < HEADS; h++) NPR_TRY(predict(p, r, head[h], p->best[h]));
    NPR_TRY(check_rows(p, r));
    for (int h = 0; h < HEADS; h++) npr_eval_add(&p->eval[h], r->label, p->best[h], r->n);
    npr_pairs_add(&p->gain, r->label, p->best[ZERO_SHOT], p->best[PRIMED], r->n);
    npr_pairs_add(&p->image_gain, r->label, p->best[ZERO_SHOT], p->best[IMAGE_ONLY], r->n);
    NPR_TRY(put_lines(p, r));
    for (int i = 0; p->sweep && i <= s->steps; i++) {
        npr_head_blend(s->text.w, s->image, s->keep, s->text.classes, s->text.dim, (double)i / s->steps,
                       p->blend);
        NPR_TRY(predict(p, r, p->blend, p->best[0]));
        npr_eval_add(&p->sweep[i], r->label, p->best[0], r->n);
    }
    return NPR_OK;
}

/* ---- predictions of all ranks, in row order --------------------------------------------------------------
 */

/* Rank 0's end of the predictions: a digest, and a file if one is wanted. */
typedef struct sink {
    const char *path; /* NULL: no file */
    char *temporary;
    FILE *file;
    npr_digest *digest;
} sink;

static npr_status sink_put(sink *k, const char *bytes, size_t n)
{
    npr_digest_add(k->digest, bytes, n);
    if (k->file && fwrite(bytes, 1, n, k->file) != n)
        return npr_fail(NPR_EIO, "%s: cannot write: %s", k->temporary, strerror(errno));
    return NPR_OK;
}

static npr_status sink_open(sink *k)
{
    static const char header[] = "id\tlabel\tzero_shot\tprimed\n";
    k->digest = npr_digest_new();
    if (!k->digest) return NPR_EINTERNAL;
    if (k->path) {
        k->temporary = npr_path("%s.tmp", k->path);
        if (!k->temporary) return NPR_EINTERNAL;
        k->file = fopen(k->temporary, "wb");
        if (!k->file) return npr_fail(NPR_ECREATE, "%s: cannot create: %s", k->temporary, strerror(errno));
    }
    return sink_put(k, header, sizeof header - 1);
}

static npr_status sink_close(sink *k, npr_status st, npr_record *rec)
{
    char hex[NPR_DIGEST_HEX];
    if (k->file && fclose(k->file) && !st)
        st = npr_fail(NPR_EIO, "%s: cannot write: %s", k->temporary, strerror(errno));
    if (k->file && !st) st = npr_file_publish(k->temporary, k->path);
    if (k->file && st) remove(k->temporary); /* a failure is already on its way */
    if (k->digest) {
        npr_digest_hex(k->digest, hex);
        npr_record_text(rec, "check.predictions", hex);
    }
    npr_digest_free(k->digest);
    free(k->temporary);
    return st;
}

/* Slices of at most 4 MiB travel, so rank 0 needs no memory for all. */
static npr_status gather_lines(const npr_comm *comm, const pass *p)
{
    enum { SLICE = 4 << 20 };
    sink k = {.path = p->s->job->predictions};
    npr_status st = comm->rank == 0 ? sink_open(&k) : NPR_OK;
    int64_t *bytes = npr_alloc((size_t)comm->size, sizeof *bytes, "gathering predictions");
    npr_status moved = npr_agree(comm, bytes ? NPR_OK : NPR_EINTERNAL, "predictions");
    if (!moved) npr_gather_i64(comm, (int64_t)p->used, bytes);
    for (int r = 0; r < comm->size && !moved; r++)
        for (int64_t at = 0; at < bytes[r] && !moved; at += SLICE) {
            size_t n = (size_t)(bytes[r] - at < SLICE ? bytes[r] - at : SLICE);
            char *all = NULL;
            int64_t *offset = NULL;
            int mine = r == comm->rank;
            moved = npr_gather_bytes(comm, mine ? p->lines + at : NULL, mine ? n : 0, 0, &all, &offset);
            if (!moved && !st && comm->rank == 0) st = sink_put(&k, all, n);
            free(all);
            free(offset);
        }
    free(bytes);
    if (comm->rank == 0) st = sink_close(&k, st ? st : moved, p->s->rec);
    return moved ? moved : npr_agree(comm, st, "predictions");
}

/* ---- the record ------------------------------------------------------------------------------------------
 */

static void record_real(npr_record *rec, const char *what, const char *field, double v)
{
    char key[96];
    snprintf(key, sizeof key, "result.%s.%s", what, field);
    npr_record_real(rec, key, v);
}

static void record_accuracy(npr_record *rec, const char *what, const npr_accuracy *a)
{
    record_real(rec, what, "top1", a->top1);
    record_real(rec, what, "low", a->top1_low);
    record_real(rec, what, "high", a->top1_high);
    record_real(rec, what, "mean", a->mean);
    record_real(rec, what, "mean_low", a->mean_low);
    record_real(rec, what, "mean_high", a->mean_high);
}

static void record_difference(npr_record *rec, const char *what, const npr_pairs *p)
{
    char key[96];
    npr_difference d = npr_pairs_difference(p);
    record_real(rec, what, "top1", d.value);
    record_real(rec, what, "low", d.low);
    record_real(rec, what, "high", d.high);
    snprintf(key, sizeof key, "result.%s.only_after", what);
    npr_record_int(rec, key, p->gained);
    snprintf(key, sizeof key, "result.%s.only_before", what);
    npr_record_int(rec, key, p->lost);
}

/* Records the sweep, and writes it as a table. */
static npr_status record_sweep(const npr_comm *comm, pass *p, char **table)
{
    const npr_solve *s = p->s;
    size_t size = 0;
    FILE *f = open_memstream(table, &size);
    npr_status st = f ? NPR_OK : npr_fail(NPR_EINTERNAL, "out of memory: the sweep");
    if (npr_agree(comm, st, "sweep")) {
        if (f) fclose(f);
        return npr_last();
    }
    fprintf(f, "alpha\ttop1\ttop1_low\ttop1_high\tmean\tmean_low\tmean_high\n");
    npr_record_text(s->rec, "result.sweep.note", "made with the labels of the test set; picks nothing");
    for (int i = 0; i <= s->steps; i++) {
        npr_eval_reduce(comm, &p->sweep[i]);
        npr_accuracy a = npr_eval_accuracy(&p->sweep[i]);
        double alpha = (double)i / s->steps;
        char what[32];
        snprintf(what, sizeof what, "sweep.%.*f", s->decimals, alpha);
        record_real(s->rec, what, "top1", a.top1);
        record_real(s->rec, what, "mean", a.mean);
        fprintf(f, "%.*f\t%.9g\t%.9g\t%.9g\t%.9g\t%.9g\t%.9g\n", s->decimals, alpha, a.top1, a.top1_low,
                a.top1_high, a.mean, a.mean_low, a.mean_high);
    }
    if (fclose(f)) st = npr_fail(NPR_EINTERNAL, "out of memory: the sweep");
    return npr_agree(comm, st, "sweep");
}

static npr_status record_pass(const npr_comm *comm, pass *p, char **sweep)
{
    static const char *const what[HEADS] = {"zero_shot", "image_only", "primed"};
    npr_record *rec = p->s->rec;
    npr_accuracy a[HEADS];
    npr_pairs_reduce(comm, &p->gain);
    npr_pairs_reduce(comm, &p->image_gain);
    for (int h = 0; h < HEADS; h++) {
        npr_eval_reduce(comm, &p->eval[h]);
        a[h] = npr_eval_accuracy(&p->eval[h]);
    }
    npr_record_int(rec, "result.test_rows", a[PRIMED].seen);
    npr_record_int(rec, "result.test_classes", a[PRIMED].classes_seen);
    for (int h = 0; h < HEADS; h++) record_accuracy(rec, what[h], &a[h]);
    record_difference(rec, "gain", &p->gain);
    record_difference(rec, "image_gain", &p->image_gain);
    npr_difference d = npr_pairs_difference(&p->gain);
    npr_info(p->s->log,
             "zero-shot %.2f %%, primed %.2f %% (%+.2f, 95 %% interval %+.2f to %+.2f) on %lld rows",
             100 * a[ZERO_SHOT].top1, 100 * a[PRIMED].top1, 100 * d.value, 100 * d.low, 100 * d.high,
             (long long)a[PRIMED].seen);
    return p->sweep ? record_sweep(comm, p, sweep) : NPR_OK;
}

npr_status npr_solve_evaluate(const npr_comm *comm, npr_solve *s, char **sweep)
{
    pass p;
    *sweep = NULL;
    npr_walk walk = {.set = s->test,
                     .what = "evaluation",
                     .columns = NPR_COL(NPR_EMB) | NPR_COL(NPR_ID) | NPR_COL(NPR_LABEL),
                     .tile_rows = s->job->tile_rows};
    npr_status st = npr_agree(comm, make_pass(s, &p), "evaluation");
    if (!st) st = npr_walk_set(comm, s->log, &walk, test_tile, &p);
    if (!st) st = record_pass(comm, &p, sweep);
    if (!st) st = gather_lines(comm, &p);
    npr_record_time(comm, s->rec, "evaluate_read", walk.read);
    npr_record_time(comm, s->rec, "evaluate", walk.work);
    free_pass(&p);
    return st;
}
