/* report.c - what heads side by side came to: lines of the record, and tables. See solve.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "prime/solve.h"

static void record_real(npr_record *rec, const char *what, const char *field, double v)
{
    char key[96];
    snprintf(key, sizeof key, "result.%s.%s", what, field);
    npr_record_real(rec, key, v);
}

static void record_int(npr_record *rec, const char *what, const char *field, int64_t v)
{
    char key[96];
    snprintf(key, sizeof key, "result.%s.%s", what, field);
    npr_record_int(rec, key, v);
}

static void record_accuracy(npr_record *rec, const char *what, const npr_eval *e)
{
    npr_accuracy a = npr_eval_accuracy(e);
    record_real(rec, what, "top1", a.top1);
    record_real(rec, what, "low", a.top1_low);
    record_real(rec, what, "high", a.top1_high);
    record_real(rec, what, "mean", a.mean);
    record_real(rec, what, "mean_low", a.mean_low);
    record_real(rec, what, "mean_high", a.mean_high);
}

static void record_difference(npr_record *rec, const char *what, const npr_pairs *p)
{
    npr_difference d = npr_pairs_difference(p);
    record_real(rec, what, "top1", d.value);
    record_real(rec, what, "low", d.low);
    record_real(rec, what, "high", d.high);
    record_int(rec, what, "only_after", p->gained);
    record_int(rec, what, "only_before", p->lost);
}

/* "gain" of the primed head, "image_gain" of the image's alone; "gain.NAME" of any other. */
static const char *name_gain(const npr_candidate *c, char *name, size_t n)
{
    if (!strcmp(c->name, "primed")) return "gain";
    if (!strcmp(c->name, "image_only")) return "image_gain";
    snprintf(name, n, "gain.%s", c->name);
    return name;
}

static void record_candidate(const npr_solve *s, const npr_trial *t, const npr_candidate *c)
{
    char name[64], gain[64];
    record_accuracy(s->rec, c->name, &c->eval);
    if (c->rival >= 0) record_difference(s->rec, name_gain(c, gain, sizeof gain), &c->pairs);
    if (!t->subset) return;
    snprintf(name, sizeof name, "subset.%s", c->name);
    record_accuracy(s->rec, name, &c->subset);
    if (c->rival < 0) return;
    snprintf(name, sizeof name, "subset.%.50s", name_gain(c, gain, sizeof gain));
    record_difference(s->rec, name, &c->within);
}

static void say_in_words(const npr_solve *s, const npr_trial *t)
{
    npr_accuracy before = npr_eval_accuracy(&t->candidate[t->before].eval);
    npr_accuracy after = npr_eval_accuracy(&t->candidate[t->after].eval);
    npr_difference d = npr_pairs_difference(&t->candidate[t->after].pairs);
    npr_info(s->log, "zero-shot %.2f %%, primed %.2f %% (%+.2f, 95 %% interval %+.2f to %+.2f) on %lld rows",
             100 * before.top1, 100 * after.top1, 100 * d.value, 100 * d.low, 100 * d.high,
             (long long)after.seen);
}

void npr_report_trial(const npr_solve *s, const npr_trial *t)
{
    npr_accuracy a = npr_eval_accuracy(&t->candidate[0].eval);
    npr_record_int(s->rec, "result.test_rows", a.seen);
    npr_record_int(s->rec, "result.test_classes", a.classes_seen);
    if (t->subset) {
        a = npr_eval_accuracy(&t->candidate[0].subset);
        npr_record_int(s->rec, "result.subset.classes", t->subset->n);
        npr_record_int(s->rec, "result.subset.test_rows", a.seen);
        npr_record_int(s->rec, "result.subset.test_classes", a.classes_seen);
    }
    for (int i = 0; i < t->n; i++) record_candidate(s, t, &t->candidate[i]);
    say_in_words(s, t);
}

/* ---- tables -------------------------------------------------------------------------------------------- */

static npr_status close_text(FILE *f)
{
    int failed = ferror(f);
    failed |= fclose(f);
    return failed ? npr_fail(NPR_EINTERNAL, "out of memory: a table") : NPR_OK;
}

/* A text as one field of a table with commas. */
static void put_quoted(FILE *f, const char *text)
{
    fputc('"', f);
    for (; *text; text++) {
        if (*text == '"') fputc('"', f);
        fputc((unsigned char)*text < 0x20 ? ' ' : *text, f);
    }
    fputc('"', f);
}

/* Share right of a class and its 95 % interval: that of a test set with this class alone. */
static void put_class(FILE *f, const npr_eval *e, int c)
{
    npr_eval one = {1, &e->right[c], &e->seen[c]};
    npr_accuracy a = npr_eval_accuracy(&one);
    fprintf(f, ",%lld", (long long)e->right[c]);
    if (e->seen[c])
        fprintf(f, ",%.9g,%.9g,%.9g", a.top1, a.top1_low, a.top1_high);
    else
        fprintf(f, ",,,");
}

npr_status npr_report_classes(const npr_solve *s, const npr_trial *t)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    if (!f) return npr_fail(NPR_EINTERNAL, "out of memory: the table of classes");
    fprintf(f, "class,name,pool,shots,seen");
    for (int i = 0; i < t->n; i++)
        fprintf(f, ",%s_right,%s,%s_low,%s_high", t->candidate[i].name, t->candidate[i].name,
                t->candidate[i].name, t->candidate[i].name);
    fputc('\n', f);
    for (int c = 0; c < s->text.classes; c++) {
        fprintf(f, "%d,", c);
        put_quoted(f, s->text.name[c]);
        fprintf(f, ",%lld,%lld,%lld", (long long)s->main.pool_count[c],
                (long long)(s->main.means.count[c] - s->main.pool_count[c]),
                (long long)t->candidate[0].eval.seen[c]);
        for (int i = 0; i < t->n; i++) put_class(f, &t->candidate[i].eval, c);
        fputc('\n', f);
    }
    npr_status st = close_text(f);
    if (!st) st = npr_file_replace(s->job->per_class, text, n);
    free(text);
    return st;
}

/* ---- the sweep ----------------------------------------------------------------------------------------- */

static void put_accuracies(FILE *f, const npr_trial *t, char between)
{
    static const char *const column[] = {"alpha", "top1",     "top1_low", "top1_high",
                                         "mean",  "mean_low", "mean_high"};
    for (int i = 0; i < 7; i++) fprintf(f, "%s%c", column[i], i < 6 ? between : '\n');
    for (int i = 0; i < t->n; i++) {
        npr_accuracy a = npr_eval_accuracy(&t->candidate[i].eval);
        const double v[] = {a.top1, a.top1_low, a.top1_high, a.mean, a.mean_low, a.mean_high};
        fprintf(f, "%s", t->candidate[i].name);
        for (int k = 0; k < 6; k++) fprintf(f, "%c%.9g", between, v[k]);
        fputc('\n', f);
    }
}

npr_status npr_report_sweep(const npr_solve *s, const npr_trial *t, char **tsv)
{
    size_t n = 0, m = 0;
    char *csv = NULL;
    npr_record_text(s->rec, "result.sweep.note", "made with the labels of the test set; picks nothing");
    for (int i = 0; i < t->n; i++) {
        char what[48];
        npr_accuracy a = npr_eval_accuracy(&t->candidate[i].eval);
        snprintf(what, sizeof what, "sweep.%s", t->candidate[i].name);
        record_real(s->rec, what, "top1", a.top1);
        record_real(s->rec, what, "mean", a.mean);
    }
    FILE *f = open_memstream(tsv, &n);
    if (!f) return npr_fail(NPR_EINTERNAL, "out of memory: the sweep");
    put_accuracies(f, t, '\t');
    NPR_TRY(close_text(f));
    if (!s->job->sweep_table) return NPR_OK;
    f = open_memstream(&csv, &m);
    if (!f) return npr_fail(NPR_EINTERNAL, "out of memory: the sweep");
    put_accuracies(f, t, ',');
    npr_status st = close_text(f);
    if (!st) st = npr_file_replace(s->job->sweep_table, csv, m);
    free(csv);
    return st;
}
