/* skipped.c - see skipped.h. */
#include "io/skipped.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "io/lines.h"
#include "npr/set.h"

enum { PART_MAX = NPR_PART_ROWS * 1024 }; /* bytes of a part's list, far above what it can have */

npr_status npr_skipped_add(npr_skipped *s, int reason, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *line = NULL;
    int n = vasprintf(&line, fmt, ap);
    va_end(ap);
    if (n < 0) return npr_fail(NPR_EINTERNAL, "out of memory: a skipped row");
    const char *why = s->reason(reason);
    size_t more = (size_t)n + strlen(why) + 3;
    npr_status st = npr_grow(&s->text, &s->cap, s->used + more, 1, "skipped rows");
    if (!st) {
        s->used += (size_t)snprintf(s->text + s->used, more, "%s\t%s\n", line, why);
        s->count[reason]++;
    }
    free(line);
    return st;
}

npr_status npr_skipped_keep(npr_skipped *s, const char *scratch, int part)
{
    if (!s->used) return NPR_OK;
    char *path = npr_path("%s/%s-%d.tsv", scratch, s->name, part);
    npr_status st = path ? npr_file_replace(path, s->text, s->used) : npr_last();
    free(path);
    s->used = 0;
    return st;
}

/* Lines of a list by reason, and the first columns of the first ones as text, if wanted. */
static npr_status count_lines(const npr_skipped *s, const char *path, int64_t *count, char *first,
                              size_t size)
{
    npr_lines *l;
    const char *line, *tab;
    size_t n, used = 0;
    NPR_TRY(npr_lines_open(path, &l));
    npr_status st;
    while (!(st = npr_lines_next(l, &line, &n)) && line) {
        if (!(tab = memrchr(line, '\t', n))) continue;
        size_t word = (size_t)(line + n - tab - 1);
        for (int i = 0; i < s->reasons; i++)
            count[i] += strlen(s->reason(i)) == word && !memcmp(tab + 1, s->reason(i), word);
        size_t id = (size_t)((const char *)memchr(line, '\t', n) - line);
        if (used + id + 3 < size)
            used += (size_t)snprintf(first + used, size - used, "%s%.*s", used ? ", " : "", (int)id, line);
    }
    npr_lines_close(l);
    return st;
}

static npr_status append_file(int to, const char *to_path, const char *from)
{
    char *text;
    size_t n;
    NPR_TRY(npr_file_read(from, PART_MAX, &text, &n));
    npr_status st = npr_file_write_all(to, to_path, text, n);
    free(text);
    return st;
}

static npr_status merge_into(const npr_skipped *s, const char *scratch, int64_t parts, int fd, const char *to,
                             int64_t *count)
{
    for (int64_t part = 0; part < parts; part++) {
        char *path = npr_path("%s/%s-%lld.tsv", scratch, s->name, (long long)part);
        npr_status st = path ? NPR_OK : npr_last();
        if (!st && npr_file_exists(path)) {
            st = append_file(fd, to, path);
            if (!st) st = count_lines(s, path, count, NULL, 0);
        }
        free(path);
        if (st) return st;
    }
    return NPR_OK;
}

npr_status npr_skipped_merge(const npr_skipped *s, const char *scratch, int64_t parts, int64_t *count)
{
    char *path = npr_path("%s/%s.tsv", scratch, s->name);
    if (!path) return npr_last();
    int fd;
    npr_status st = npr_file_create(path, &fd);
    if (!st) st = merge_into(s, scratch, parts, fd, path, count);
    if (fd >= 0 && close(fd) && !st) st = npr_fail(NPR_EIO, "%s: cannot close: %s", path, strerror(errno));
    free(path);
    return st;
}

npr_status npr_skipped_publish(const npr_skipped *s, const char *scratch, const char *set)
{
    char *from = npr_path("%s/%s.tsv", scratch, s->name), *to = npr_path("%s/%s.tsv", set, s->name);
    int64_t bytes = 0;
    npr_status st = from && to ? npr_file_size(from, &bytes) : npr_last();
    if (!st && bytes) st = npr_file_publish(from, to);
    free(from);
    free(to);
    return st;
}

npr_status npr_skipped_read(const npr_skipped *s, const char *set, int64_t *count, char *first, size_t size)
{
    char *path = npr_path("%s/%s.tsv", set, s->name);
    npr_status st = path ? count_lines(s, path, count, first, size) : npr_last();
    free(path);
    return st;
}

const char *npr_skipped_print(const npr_skipped *s, const int64_t *count, char *buf, size_t size)
{
    size_t used = 0;
    buf[0] = 0;
    for (int i = 0; i < s->reasons; i++)
        if (count[i] && used + 48 < size)
            used += (size_t)snprintf(buf + used, size - used, "%s%lld %s", used ? ", " : "",
                                     (long long)count[i], s->reason(i));
    return buf;
}
