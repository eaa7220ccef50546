/* subset.c - a file that names some classes of a head. See solve.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "prime/solve.h"

/* The class a line names: a number, or the very name of one class. */
static npr_status find_class(const char *path, int line, const char *name, const npr_head *head, int *class)
{
    char *end;
    errno = 0;
    long number = strtol(name, &end, 10);
    if (end != name && !*end && !errno) {
        if (number < 0 || number >= head->classes)
            return npr_fail(NPR_EDATA, "%s: line %d: class %ld; the head has the classes 0 to %d", path, line,
                            number, head->classes - 1);
        *class = (int)number;
        return NPR_OK;
    }
    *class = -1;
    for (int c = 0; c < head->classes; c++) {
        if (strcmp(head->name[c], name) != 0) continue;
        if (*class >= 0)
            return npr_fail(NPR_EDATA,
                            "%s: line %d: \"%.60s\" is the name of class %d and of class %d; give a number",
                            path, line, name, *class, c);
        *class = c;
    }
    return *class >= 0
               ? NPR_OK
               : npr_fail(NPR_EDATA, "%s: line %d: the head has no class \"%.60s\"", path, line, name);
}

static npr_status take_line(const char *path, int line, char *text, const npr_head *head, npr_subset *s)
{
    size_t n = strlen(text);
    if (n && text[n - 1] == '\r') text[n - 1] = 0; /* a file from Windows */
    if (line == 1 && !strncmp(text, "\xef\xbb\xbf", 3)) text += 3;
    int class = -1;
    if (!*text) return npr_fail(NPR_EDATA, "%s: line %d is empty", path, line);
    NPR_TRY(find_class(path, line, text, head, &class));
    if (s->number[class] >= 0)
        return npr_fail(NPR_EDATA, "%s: line %d: class %d (%.60s) is named twice", path, line, class,
                        head->name[class]);
    s->number[class] = s->n;
    s->class[s->n++] = class;
    return NPR_OK;
}

npr_status npr_subset_read(const char *path, const npr_head *head, npr_subset *s)
{
    enum { MOST = 1 << 28 };
    char *text = NULL;
    size_t n;
    *s = (npr_subset){0};
    NPR_TRY(npr_file_read(path, MOST, &text, &n));
    npr_status st =
        memchr(text, 0, n) ? npr_fail(NPR_EDATA, "%s: has a zero byte; wanted text", path) : NPR_OK;
    s->class = npr_alloc((size_t)head->classes, sizeof *s->class, "a subset of the classes");
    s->number = npr_alloc((size_t)head->classes, sizeof *s->number, "a subset of the classes");
    if (!st && (!s->class || !s->number)) st = npr_last();
    for (int c = 0; !st && c < head->classes; c++) s->number[c] = -1;
    int line = 0;
    for (char *at = text, *end; !st && at < text + n; at = end + 1) {
        end = strchr(at, '\n');
        if (!end) end = text + n;
        *end = 0;
        st = take_line(path, ++line, at, head, s);
    }
    if (!st && !s->n) st = npr_fail(NPR_EDATA, "%s: names no class", path);
    free(text);
    if (st) npr_subset_free(s);
    return st;
}

void npr_subset_free(npr_subset *s)
{
    free(s->class);
    free(s->number);
    *s = (npr_subset){0};
}
