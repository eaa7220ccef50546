/* opt.c - see include/npr/opt.h. */
#include "npr/opt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"

static npr_opt *find(npr_opt *table, size_t n, const char *name, size_t len)
{
    for (size_t i = 0; i < n; i++)
        if (strlen(table[i].name) == len && !memcmp(table[i].name, name, len)) return &table[i];
    return NULL;
}

/* A number with an optional power-of-1024 suffix; whole numbers may be written 1e6. */
static int parse_number(const char *s, double *x)
{
    char *end;
    errno = 0;
    *x = strtod(s, &end);
    if (end == s || errno || *x != *x) return 0;
    const char *suffix = "KMGT";
    const char *at = *end ? strchr(suffix, *end) : NULL;
    if (at) {
        for (const char *p = suffix; p <= at; p++) *x *= 1024;
        end++;
    }
    return *end == 0;
}

static npr_status parse_int(const npr_opt *o, const char *value)
{
    double x;
    char *end;
    errno = 0;
    long long whole = strtoll(value, &end, 10); /* exact beyond 2^53 */
    if (end == value || *end || errno) {
        if (!parse_number(value, &x) || x < -0x1p53 || x > 0x1p53 || x != (double)(long long)x)
            return npr_fail(NPR_EUSAGE, "--%s=%s: wanted a whole number such as 1000, 1e6 or 64K", o->name,
                            value);
        whole = (long long)x;
    }
    if ((o->min != 0 || o->max != 0) && ((double)whole < o->min || (double)whole > o->max))
        return npr_fail(NPR_EUSAGE, "--%s=%s: wanted %.0f to %.0f", o->name, value, o->min, o->max);
    *(int64_t *)o->to = whole;
    return NPR_OK;
}

static npr_status parse_real(const npr_opt *o, const char *value)
{
    double x;
    if (!parse_number(value, &x)) return npr_fail(NPR_EUSAGE, "--%s=%s: wanted a number", o->name, value);
    if ((o->min != 0 || o->max != 0) && (x < o->min || x > o->max))
        return npr_fail(NPR_EUSAGE, "--%s=%s: wanted %g to %g", o->name, value, o->min, o->max);
    *(double *)o->to = x;
    return NPR_OK;
}

static npr_status parse_choice(const npr_opt *o, const char *value)
{
    size_t n = strlen(value);
    for (const char *word = o->arg; *word;) {
        size_t len = strcspn(word, "|");
        if (len == n && !memcmp(word, value, n)) {
            *(const char **)o->to = value;
            return NPR_OK;
        }
        word += len + (word[len] == '|');
    }
    return npr_fail(NPR_EUSAGE, "--%s=%s: wanted one of %s", o->name, value, o->arg);
}

/* `value` must stay valid for the life of the program; NULL for a bare --name. */
static npr_status assign(npr_opt *o, const char *value)
{
    if (o->kind == NPR_OPT_FLAG) {
        if (value && strcmp(value, "0") != 0 && strcmp(value, "1") != 0)
            return npr_fail(NPR_EUSAGE, "--%s=%s: wanted 0 or 1", o->name, value);
        *(int *)o->to = !value || value[0] == '1';
        return NPR_OK;
    }
    if (!value || !*value)
        return npr_fail(NPR_EUSAGE, "--%s needs a value: --%s=%s", o->name, o->name, o->arg);
    switch (o->kind) {
    case NPR_OPT_INT:
        return parse_int(o, value);
    case NPR_OPT_REAL:
        return parse_real(o, value);
    case NPR_OPT_CHOICE:
        return parse_choice(o, value);
    default:
        *(const char **)o->to = value;
        return NPR_OK;
    }
}

npr_status npr_opt_parse(npr_opt *table, size_t n, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (strncmp(arg, "--", 2) != 0)
            return npr_fail(NPR_EUSAGE, "\"%s\": all options are written --name=value; see --help", arg);
        size_t len = strcspn(arg + 2, "=");
        npr_opt *o = find(table, n, arg + 2, len);
        if (!o)
            return npr_fail(NPR_EUSAGE, "unknown option --%.*s; see --help", (int)(len < 64 ? len : 64),
                            arg + 2);
        if (o->given) return npr_fail(NPR_EUSAGE, "--%s is given twice", o->name);
        o->given = 1;
        NPR_TRY(assign(o, arg[2 + len] == '=' ? arg + 2 + len + 1 : NULL));
    }
    return NPR_OK;
}

npr_status npr_opt_missing(const npr_opt *table, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (table[i].required && !*(const char **)table[i].to)
            return npr_fail(NPR_EUSAGE, "--%s=%s is needed: %.*s; see --help", table[i].name, table[i].arg,
                            (int)strcspn(table[i].help, "\n"), table[i].help);
    return NPR_OK;
}

/* Undo the escaping of a record's values (\\xNN), in place. */
static void unescape(char *s)
{
    char *o = s;
    for (; *s; s++) {
        unsigned int c;
        if (s[0] == '\\' && s[1] == 'x' && sscanf(s + 2, "%2x", &c) == 1) {
            *o++ = (char)c;
            s += 3;
        } else {
            *o++ = *s;
        }
    }
    *o = 0;
}

/* One line of an options file; `line` is cut in place. */
static npr_status read_line(npr_opt *table, size_t n, const char *path, int number, char *line)
{
    static const char *other[] = {"run.",  "result.",      "check.", "time.",   "bench.",
                                  "plan.", "calibration.", "work.",  "scaling."}; /* the rest of a record */
    int from_record = !strncmp(line, "option.", 7);
    if (from_record)
        line += 7;
    else
        for (size_t i = 0; i < sizeof other / sizeof *other; i++)
            if (!strncmp(line, other[i], strlen(other[i]))) return NPR_OK;
    if (!*line || *line == '#') return NPR_OK;
    char *equals = strchr(line, '=');
    if (!equals) return npr_fail(NPR_EUSAGE, "%s:%d: wanted name=value, found \"%.60s\"", path, number, line);
    *equals = 0;
    if (from_record) unescape(equals + 1);
    npr_opt *o = find(table, n, line, strlen(line));
    if (!o) return npr_fail(NPR_EUSAGE, "%s:%d: unknown option %.60s", path, number, line);
    if (o->given || !equals[1])
        return NPR_OK; /* the command line goes first; an empty value is "not given" */
    return npr_context(assign(o, equals + 1), "%s:%d", path, number);
}

npr_status npr_opt_read(npr_opt *table, size_t n, const char *path, char **keep)
{
    enum { FILE_MAX = 1 << 20 };
    size_t size;
    NPR_TRY(npr_file_read(path, FILE_MAX, keep, &size));
    int number = 0;
    for (char *line = *keep; line; number++) {
        char *end = strchr(line, '\n'), *next = end ? end + 1 : NULL;
        if (end) *end = 0;
        size_t len = strlen(line);
        if (len && line[len - 1] == '\r') line[len - 1] = 0;
        NPR_TRY(read_line(table, n, path, number + 1, line));
        line = next;
    }
    return NPR_OK;
}

const char *npr_opt_print(const npr_opt *o, char *buf, size_t size)
{
    const char *text = "";
    switch (o->kind) {
    case NPR_OPT_FLAG:
        snprintf(buf, size, "%d", *(const int *)o->to);
        break;
    case NPR_OPT_INT:
        snprintf(buf, size, "%lld", (long long)*(const int64_t *)o->to);
        break;
    case NPR_OPT_REAL:
        snprintf(buf, size, "%.17g", *(const double *)o->to);
        break;
    default:
        text = *(const char *const *)o->to;
        snprintf(buf, size, "%s", text ? text : "");
    }
    return buf;
}

char *npr_opt_identity(const npr_opt *table, size_t n)
{
    enum { VALUE = 4096 };
    char *out = npr_alloc(n + 1, VALUE + 64, "the identity of the job"), *o = out;
    if (!out) return NULL;
    for (size_t i = 0; i < n; i++) {
        char value[VALUE];
        if (table[i].shapes_result)
            o += sprintf(o, "%s=%s\n", table[i].name, npr_opt_print(&table[i], value, sizeof value));
    }
    return out;
}

void npr_opt_help(const npr_opt *table, size_t n, void *file)
{
    FILE *to = file;
    for (size_t i = 0; i < n; i++) {
        const npr_opt *o = &table[i];
        char head[128], value[256];
        snprintf(head, sizeof head, "--%s%s%s", o->name, o->kind == NPR_OPT_FLAG ? "" : "=",
                 o->kind == NPR_OPT_FLAG ? "" : o->arg);
        fprintf(to, "  %-28s", head);
        if (strlen(head) > 27) fprintf(to, "\n  %-28s", "");
        for (const char *s = o->help; *s; s++) {
            fputc(*s, to);
            if (*s == '\n') fprintf(to, "  %-28s", "");
        }
        npr_opt_print(o, value, sizeof value);
        if (o->required)
            fprintf(to, " (required)");
        else if (o->kind != NPR_OPT_FLAG && *value)
            fprintf(to, " [%s]",
                    o->kind == NPR_OPT_REAL
                        ? (snprintf(value, sizeof value, "%.10g", *(double *)o->to), value)
                        : value);
        fputc('\n', to);
    }
}
