/* names.c - do a set's labels count the head's classes? Labels of class folders are places among the folders'
 * sorted names (classes.txt, beside the parts): a folder that is missing, or one more, shifts all that
 * follow, and every accuracy would be of other classes. See solve.h. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "io/classes.h"
#include "prime/solve.h"

enum { BYTES_MAX = 1 << 28, SEARCHED = 1000 };

static int folded(char c)
{
    if (c == '_') return ' ';
    return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : (unsigned char)c;
}

/* The same name, but for case and for spaces that folders write as underscores. */
static int is_name(const char *a, size_t n, const char *b)
{
    size_t i = 0;
    while (i < n && b[i] && folded(a[i]) == folded(b[i])) i++;
    return i == n && !b[i];
}

static npr_status compare(const npr_solve *s, const npr_set *set, const char *text)
{
    const npr_head *head = &s->text;
    npr_class_line line = {0};
    int label = 0, others = 0;
    char first[61] = "";
    for (; npr_class_line_next(text, &line); label++) {
        if (label < head->classes && is_name(line.text, line.n, head->name[label])) continue;
        if (others++ >= SEARCHED) continue;
        if (!first[0]) snprintf(first, sizeof first, "%.*s", (int)(line.n < 60 ? line.n : 60), line.text);
        for (int c = 0; c < head->classes; c++)
            if (is_name(line.text, line.n, head->name[c]))
                return npr_fail(
                    NPR_EDATA,
                    "%s: label %d is of \"%.*s\", which is class %d of %s: its classes are others than the "
                    "head's, or in another order (jobs/datasets.py --names makes a list of them)",
                    set->path, label, (int)(line.n < 60 ? line.n : 60), line.text, c, s->head->path);
    }
    if (others && label != head->classes)
        npr_warn(
            s->log,
            "%s has %d classes, the head %d, and \"%s\" is not one of them: nothing tells whether labels fit",
            set->path, label, head->classes, first);
    return NPR_OK;
}

npr_status npr_solve_check_names(const npr_solve *s, const npr_set *set)
{
    char *text = NULL, *path = npr_path("%s/classes.txt", set->path);
    size_t n;
    npr_status st = path ? NPR_OK : npr_last();
    if (!st && npr_file_exists(path)) {
        st = npr_file_read(path, BYTES_MAX, &text, &n);
        if (!st) st = compare(s, set, text);
    }
    free(text);
    free(path);
    return st;
}
