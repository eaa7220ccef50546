/* summary.c - what a search found, in words and numbers: the record's results and the table of classes. See
 * search_stage.h.
 *
 * Both also lie in the pool's folder (result.txt, classes.tsv), so that a command that finds its work already
 * done says the same. They depend on inputs and options alone: no times, hosts or ranks. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/mem.h"
#include "search/search_stage.h"

enum { EMPTY_SHOWN = 10 };

/* One line of the table. */
typedef struct class_line {
    int32_t label;
    const char *name;
    int64_t count[NPR_TALLY_FIELDS], outranked, kept;
} class_line;

typedef struct summary {
    class_line *line; /* [n] classes in order, those of several lists added up */
    int n;
    FILE *text; /* result.txt */
    npr_record *rec;
} summary;

static int class_compare(const void *va, const void *vb)
{
    const class_line *a = va, *b = vb;
    return (a->label > b->label) - (a->label < b->label);
}

/* Lists to classes. */
static npr_status make_lines(summary *s, const npr_search_inputs *in, const npr_search_plan *plan,
                             const npr_tally *tally, const npr_search_kept *kept)
{
    s->line = npr_alloc((size_t)in->lists, sizeof *s->line, "the table of classes");
    if (!s->line) return npr_last();
    for (int q = 0; q < in->lists; q++) {
        s->line[q].label = in->label[q];
        s->line[q].name = in->name[q];
        memcpy(s->line[q].count, tally->count + (size_t)q * NPR_TALLY_FIELDS, sizeof s->line[q].count);
    }
    qsort(s->line, (size_t)in->lists, sizeof *s->line, class_compare);
    for (int q = 0; q < in->lists; q++) {
        class_line *last = s->n ? &s->line[s->n - 1] : NULL;
        if (last && last->label == s->line[q].label)
            for (int f = 0; f < NPR_TALLY_FIELDS; f++) last->count[f] += s->line[q].count[f];
        else
            s->line[s->n++] = s->line[q];
    }
    int c = 0; /* the plan is in order of classes too */
    for (size_t i = 0; i < plan->count; i++) {
        while (s->line[c].label != plan->row[i].label) c++;
        s->line[c].kept++;
    }
    for (c = 0; c < s->n; c++)
        if (s->line[c].label < kept->classes) s->line[c].outranked = kept->outranked[s->line[c].label];
    return NPR_OK;
}

static int64_t dropped(const int64_t *count)
{
    int64_t n = 0;
    for (int f = NPR_TALLY_MATCHED + 1; f < NPR_TALLY_FIELDS; f++) n += count[f];
    return n;
}

/* A name without what would break the table. */
static void print_name(FILE *f, const char *name)
{
    for (const char *c = name ? name : ""; *c; c++)
        fputc((unsigned char)*c < 0x20 || *c == 0x7f ? ' ' : *c, f);
}

/* Of a "class" pool: what became of all that matched. */
static void print_lines(FILE *f, const summary *s)
{
    fprintf(f, "class\tname\tmatched\tsimilarity\tnsfw\tsize\tclip\tcapped\toutranked\tkept\n");
    for (int i = 0; i < s->n; i++) {
        const class_line *c = &s->line[i];
        int64_t left = c->outranked + c->kept;
        fprintf(f, "%d\t", c->label);
        print_name(f, c->name);
        for (int k = 0; k < NPR_TALLY_FIELDS; k++) fprintf(f, "\t%lld", (long long)c->count[k]);
        fprintf(f, "\t%lld\t%lld\t%lld\n",
                (long long)(c->count[NPR_TALLY_MATCHED] - dropped(c->count) - left), (long long)c->outranked,
                (long long)c->kept);
    }
}

/* Of a "row" pool, whose queries are of no class: the classes of the rows they recalled. */
static void print_kept(FILE *f, const npr_search_inputs *in, const npr_search_kept *kept)
{
    fprintf(f, "class\tname\trecalled\tcount\toutranked\tkept\n");
    for (int c = 0; c < kept->classes; c++) {
        fprintf(f, "%d\t", c);
        for (int i = 0; in->head.name && i < in->head.nq; i++)
            if (in->head.label[i] == c) print_name(f, in->head.name[i]);
        fprintf(f, "\t%lld\t%lld\t%lld\t%lld\n", (long long)kept->recalled[c], (long long)kept->recalls[c],
                (long long)kept->outranked[c], (long long)(kept->recalled[c] - kept->outranked[c]));
    }
}

static npr_status write_table(const summary *s, const npr_search_inputs *in, const npr_search_kept *kept,
                              int by_class, const char *folder)
{
    char *text = NULL, *path = npr_path("%s/classes.tsv", folder), digest[NPR_DIGEST_HEX];
    size_t n = 0;
    FILE *f = path ? open_memstream(&text, &n) : NULL;
    if (!f) {
        free(path);
        return npr_fail(NPR_EINTERNAL, "out of memory: the table of classes");
    }
    if (by_class)
        print_lines(f, s);
    else
        print_kept(f, in, kept);
    int failed = ferror(f);
    failed |= fclose(f);
    npr_status st = failed ? npr_fail(NPR_EINTERNAL, "out of memory: the table of classes")
                           : npr_file_replace(path, text, n);
    if (!st) {
        npr_digest_block(text, n, digest);
        npr_record_text(s->rec, "check.classes", digest);
        fprintf(s->text, "check.classes=%s\n", digest);
    }
    free(text);
    free(path);
    return st;
}

/* ---- lines of the record, and of result.txt ------------------------------------------------------------ */

__attribute__((format(printf, 3, 4))) static void say(const summary *s, const char *key, const char *fmt, ...)
{
    char value[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(value, sizeof value, fmt, ap);
    va_end(ap);
    npr_record_text(s->rec, key, value);
    fprintf(s->text, "%s=%s\n", key, value);
}

static int count_compare(const void *va, const void *vb)
{
    int64_t a = *(const int64_t *)va, b = *(const int64_t *)vb;
    return (a > b) - (a < b);
}

/* Classes left without a row, by name, and the spread of the others' sizes. */
static npr_status say_classes(const summary *s)
{
    char names[600] = "";
    size_t at = 0;
    int empty = 0;
    int64_t *kept = npr_alloc((size_t)s->n, sizeof *kept, "class sizes");
    if (!kept) return npr_last();
    for (int i = 0; i < s->n; i++) {
        const class_line *c = &s->line[i];
        kept[i] = c->kept;
        if (c->kept || empty++ >= EMPTY_SHOWN) continue;
        at += (size_t)snprintf(names + at, sizeof names - at, "%s%d %.40s", at ? "; " : "", c->label,
                               c->name ? c->name : "");
    }
    for (char *c = names; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = ' ';
    qsort(kept, (size_t)s->n, sizeof *kept, count_compare);
    say(s, "result.classes", "%d", s->n);
    say(s, "result.classes_empty", "%d", empty);
    if (empty) say(s, "result.classes_empty_first", "%s", names);
    say(s, "result.class_rows_min", "%lld", (long long)kept[0]);
    say(s, "result.class_rows_median", "%lld", (long long)kept[s->n / 2]);
    say(s, "result.class_rows_max", "%lld", (long long)kept[s->n - 1]);
    free(kept);
    return NPR_OK;
}

static void say_tally(const summary *s, const npr_search_inputs *in, const npr_search_plan *plan,
                      const npr_tally *tally, const npr_search_kept *kept)
{
    static const char *key[NPR_TALLY_FIELDS] = {"result.matched", "result.dropped_similarity",
                                                "result.dropped_nsfw", "result.dropped_size",
                                                "result.dropped_clip"};
    int64_t sum[NPR_TALLY_FIELDS] = {0}, recalls = 0, outranked = 0, rows = kept->unlabelled;
    for (int c = 0; c < kept->classes; c++) {
        rows += kept->recalled[c];
        recalls += kept->recalls[c];
        outranked += kept->outranked[c];
    }
    for (int q = 0; q < in->lists; q++)
        for (int f = 0; f < NPR_TALLY_FIELDS; f++)
            sum[f] += tally->count[(size_t)q * NPR_TALLY_FIELDS + (size_t)f];
    say(s, "result.index_rows", "%lld", (long long)in->index->rows);
    say(s, "result.non_finite", "%lld", (long long)tally->non_finite);
    for (int f = 0; f < NPR_TALLY_FIELDS; f++) say(s, key[f], "%lld", (long long)sum[f]);
    say(s, "result.capped", "%lld", (long long)(sum[NPR_TALLY_MATCHED] - dropped(sum) - rows));
    say(s, "result.lists_full", "%d", plan->full);
    say(s, "result.outranked", "%lld", (long long)outranked);
    say(s, "result.unlabelled", "%lld", (long long)kept->unlabelled);
    say(s, "result.recalls", "%lld", (long long)recalls);
    say(s, "result.pool_rows", "%lld", (long long)plan->count);
}

static void say_recall(const summary *s, const npr_search_recall *r)
{
    say(s, "result.recall_queries", "%d", r->queries);
    say(s, "result.recall_at_k", "%.9g", r->mean);
    say(s, "result.recall_at_k_least", "%.9g", r->least);
    say(s, "result.recall_at_1", "%.9g", r->at[0]);
    say(s, "result.recall_at_10", "%.9g", r->at[1]);
    say(s, "result.recall_at_100", "%.9g", r->at[2]);
    if (r->scanned >= 0) say(s, "result.scanned_share", "%.9g", r->scanned);
}

static void say_tuned(const summary *s, const npr_search_tuned *t)
{
    say(s, "result.tuned_nprobe", "%d", t->nprobe);
    say(s, "result.tuned_refine", "%d", t->refine);
    say(s, "result.tuned_queries", "%d", t->queries);
    say(s, "result.tuned_by_rows", "%d", t->rows);
    say(s, "result.tuned_recall", "%.9g", t->recall);
    say(s, "result.tuned_recall_error", "%.9g", t->error);
    say(s, "result.tuned_reached", "%d", t->reached);
}

static npr_status publish(FILE *f, char **text, const size_t *n, const char *folder)
{
    int failed = ferror(f);
    failed |= fclose(f);
    if (failed) return npr_fail(NPR_EINTERNAL, "out of memory: the results");
    char *path = npr_path("%s/result.txt", folder);
    npr_status st = path ? npr_file_replace(path, *text, *n) : npr_last();
    free(path);
    return st;
}

npr_status npr_search_summary_write(npr_record *rec, const npr_search_inputs *in, const npr_search_plan *plan,
                                    const npr_tally *tally, const npr_search_kept *kept,
                                    const npr_search_recall *recall, const npr_search_tuned *tuned,
                                    int by_class, const char *folder)
{
    char *text = NULL;
    size_t n = 0;
    summary s = {.rec = rec, .text = open_memstream(&text, &n)};
    if (!s.text) return npr_fail(NPR_EINTERNAL, "out of memory: the results");
    npr_status st = NPR_OK;
    say_tally(&s, in, plan, tally, kept);
    if (by_class) {
        st = make_lines(&s, in, plan, tally, kept);
        if (!st) st = say_classes(&s);
    }
    if (!st) st = write_table(&s, in, kept, by_class, folder);
    if (tuned->queries) say_tuned(&s, tuned);
    if (in->index->index[0] && recall->queries) say(&s, "result.index", "%s", in->index->index);
    if (recall->queries) say_recall(&s, recall);
    npr_status published = publish(s.text, &text, &n, folder);
    free(text);
    free(s.line);
    return st ? st : published;
}

npr_status npr_search_summary_read(npr_record *rec, const char *folder)
{
    char *text = NULL, *path = npr_path("%s/result.txt", folder);
    size_t n;
    npr_status st = path ? npr_file_read(path, 1 << 20, &text, &n) : npr_last();
    for (char *line = text, *end; !st && *line; line = end) {
        end = line + strcspn(line, "\n");
        if (*end) *end++ = 0;
        char *value = strchr(line, '=');
        if (!value) {
            st = npr_fail(NPR_EDATA, "%s: \"%.40s\" is not key=value", path, line);
            break;
        }
        *value++ = 0;
        npr_record_text(rec, line, value);
    }
    free(text);
    free(path);
    return st;
}
