/* classes.c - see classes.h. */
#include "io/classes.h"

#include <string.h>

int npr_class_line_next(const char *text, npr_class_line *line)
{
    static const char mark[] = "\xef\xbb\xbf";
    if (line->number == 0) line->next = strncmp(text, mark, 3) == 0 ? text + 3 : text;
    if (*line->next == 0) return 0;
    line->text = line->next;
    line->n = strcspn(line->text, "\n");
    line->next = line->text + line->n + (line->text[line->n] != 0);
    if (line->n && line->text[line->n - 1] == '\r') line->n--;
    line->number++;
    return 1;
}

const char *npr_class_field(const npr_class_line *line, const char *after, size_t *n)
{
    const char *end = line->text + line->n, *from = line->text;
    if (after) {
        const char *tab = memchr(after, '\t', (size_t)(end - after));
        if (!tab) return NULL;
        from = tab + 1;
    }
    const char *tab = memchr(from, '\t', (size_t)(end - from));
    *n = (size_t)((tab ? tab : end) - from);
    return from;
}
