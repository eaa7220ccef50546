/* join_table.c - the table of classes of a pool whose pictures were joined. See join.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "io/accounts.h"
#include "io/images.h"
#include "io/join.h"
#include "io/lines.h"

/* Does a line end in a tab and the name of this reason? */
static int is_for(const char *line, size_t n, int reason)
{
    const char *name = npr_skip_name(reason);
    size_t length = strlen(name);
    return n > length && line[n - length - 1] == '\t' && !memcmp(line + n - length, name, length);
}

/* Add the rows that were left out for what their pictures are to bad [classes + 1]. */
static npr_status count_bad(const npr_join *j, const npr_rows *pool, const char *skipped, int64_t *bad)
{
    npr_lines *l;
    const char *line;
    size_t n;
    NPR_TRY(npr_lines_open(skipped, &l));
    npr_status st;
    while (!(st = npr_lines_next(l, &line, &n)) && line) {
        if (is_for(line, n, NPR_SKIP_MISSING) || is_for(line, n, NPR_SKIP_DEAD) ||
            is_for(line, n, NPR_SKIP_CHANGED))
            continue;
        long long row = strtoll(line, NULL, 10);
        if (row < 0 || row >= pool->n || pool->label[row] < -1 || pool->label[row] >= j->classes) {
            st = npr_fail(NPR_EINTERNAL, "%s: row %lld of %lld", skipped, row, (long long)pool->n);
            break;
        }
        bad[pool->label[row] + 1]++;
    }
    npr_lines_close(l);
    return st;
}

static void print_class(const npr_join *j, const npr_accounts *a, int class, int64_t bad, FILE *f)
{
    const int64_t *n = j->count + (class + 1) * NPR_JOIN_FIELDS;
    const char *name = class >= 0 && class < a->classes ? a->name[class] : NULL;
    int64_t left = n[NPR_JOIN_WANTED] - n[NPR_JOIN_N_MISSING] - n[NPR_JOIN_N_DEAD] - bad;
    if (j->options.drop_changed) left -= n[NPR_JOIN_CHANGED];
    fprintf(f, "%d\t%s", class, name ? name : "");
    npr_accounts_print(a, class, f);
    fprintf(f, "\t%lld\t%lld\t%lld\t%lld\t%lld\t%lld\n", (long long)n[NPR_JOIN_WANTED],
            (long long)n[NPR_JOIN_N_MISSING], (long long)n[NPR_JOIN_N_DEAD], (long long)n[NPR_JOIN_CHANGED],
            (long long)bad, (long long)left);
}

/* All classes that the pool's table or its rows know; rows without a class last. */
static npr_status write_table(const npr_join *j, const npr_accounts *a, const int64_t *bad, const char *path)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    if (!f) return npr_fail(NPR_EINTERNAL, "out of memory: the table of classes");
    fputs("class\tname", f);
    npr_accounts_print_header(a, f);
    fputs("\twanted\tmissing\tdead\tchanged\tunreadable\tkept\n", f);
    for (int c = 0; c < j->classes || c < a->classes; c++)
        if (c < j->classes) {
            print_class(j, a, c, bad[c + 1], f);
        } else if (a->line[c]) { /* no row of it was recalled */
            fprintf(f, "%d\t%s", c, a->name[c]);
            npr_accounts_print(a, c, f);
            fputs("\t0\t0\t0\t0\t0\t0\n", f);
        }
    if (j->count[NPR_JOIN_WANTED]) print_class(j, a, -1, bad[0], f);
    int failed = ferror(f);
    failed |= fclose(f);
    npr_status st = failed ? npr_fail(NPR_EINTERNAL, "out of memory: the table of classes")
                           : npr_file_replace(path, text, n);
    free(text);
    return st;
}

npr_status npr_join_publish(const npr_join *j, const npr_set *pool, const char *skipped, const char *to)
{
    npr_accounts a = {0};
    npr_rows labels = {0};
    char *path = npr_path("%s/classes.tsv", to);
    int64_t *bad = npr_alloc((size_t)j->classes + 1, sizeof *bad, "the table of classes");
    npr_status st = path && bad ? NPR_OK : npr_last();
    if (!st && skipped) st = npr_set_read_all(pool, NPR_COL(NPR_LABEL), &labels);
    if (!st && skipped) st = count_bad(j, &labels, skipped, bad);
    if (!st) st = npr_accounts_read(pool->path, &a);
    if (!st) {
        npr_accounts_cut(&a, "kept");
        st = write_table(j, &a, bad, path);
    }
    npr_accounts_free(&a);
    npr_rows_free(&labels);
    free(path);
    free(bad);
    return st;
}
