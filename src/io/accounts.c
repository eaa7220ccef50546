/* accounts.c - see accounts.h. */
#include "io/accounts.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"

enum { BYTES_MAX = 1 << 30, CLASSES_MAX = 1 << 24 };

static int count_tabs(const char *line)
{
    int n = 0;
    for (; (line = strchr(line, '\t')) != NULL; line++) n++;
    return n;
}

/* Cut a line at its first tab; what stands behind it, NULL if there is none. */
static char *behind_tab(char *line)
{
    char *tab = strchr(line, '\t');
    if (!tab) return NULL;
    *tab = 0;
    return tab + 1;
}

static npr_status room_for(npr_accounts *a, int classes, size_t *cap)
{
    size_t names = *cap, lines = *cap;
    if (classes <= a->classes) return NPR_OK;
    NPR_TRY(npr_grow(&a->name, &names, (size_t)classes, sizeof *a->name, "a table of classes"));
    NPR_TRY(npr_grow(&a->line, &lines, (size_t)classes, sizeof *a->line, "a table of classes"));
    for (; a->classes < classes; a->classes++) a->name[a->classes] = a->line[a->classes] = NULL;
    *cap = lines;
    return NPR_OK;
}

static npr_status take_line(npr_accounts *a, const char *path, long row, char *line, size_t *cap)
{
    char *end = line, *name, *values;
    int tabs = count_tabs(line);
    long class = strtol(line, &end, 10);
    if (end == line || *end != '\t' || tabs != a->columns + 1 || class >= CLASSES_MAX)
        return npr_fail(NPR_EDATA, "%s, line %ld: wanted a class, its name and %d values", path, row,
                        a->columns);
    if (class < 0) return NPR_OK; /* rows of no class */
    name = behind_tab(line);
    values = behind_tab(name);
    NPR_TRY(room_for(a, (int)class + 1, cap));
    if (a->line[class]) return npr_fail(NPR_EDATA, "%s, line %ld: class %ld again", path, row, class);
    a->name[class] = name;
    a->line[class] = values;
    return NPR_OK;
}

static npr_status take_text(npr_accounts *a, const char *path)
{
    static const char first[] = "class\tname\t";
    size_t cap = 0;
    long row = 1;
    char *line = a->text, *next = strchr(line, '\n');
    if (strncmp(line, first, strlen(first)) != 0 || !next)
        return npr_fail(NPR_EDATA, "%s: wanted a table with a header: class, name and more", path);
    *next++ = 0;
    a->header = line + strlen(first);
    a->columns = count_tabs(a->header) + 1;
    for (line = next; *line; line = next) {
        size_t n = strcspn(line, "\n");
        next = line + n + (line[n] != 0);
        line[n] = 0;
        NPR_TRY(take_line(a, path, ++row, line, &cap));
    }
    return NPR_OK;
}

npr_status npr_accounts_read(const char *folder, npr_accounts *a)
{
    static char none[] = "";
    size_t n;
    *a = (npr_accounts){.header = none};
    char *path = npr_path("%s/classes.tsv", folder);
    if (!path) return npr_last();
    npr_status st = NPR_OK;
    if (npr_file_exists(path)) {
        st = npr_file_read(path, BYTES_MAX, &a->text, &n);
        if (!st && memchr(a->text, 0, n)) st = npr_fail(NPR_EDATA, "%s: has a zero byte", path);
        if (!st) st = take_text(a, path);
    }
    free(path);
    return st;
}

void npr_accounts_free(npr_accounts *a)
{
    free(a->text);
    free(a->name);
    free(a->line);
    *a = (npr_accounts){0};
}

void npr_accounts_cut(npr_accounts *a, const char *name)
{
    char *tab = strrchr(a->header, '\t');
    if (!tab || strcmp(tab + 1, name) != 0) return;
    *tab = 0;
    a->columns--;
    for (int c = 0; c < a->classes; c++)
        if (a->line[c]) *strrchr(a->line[c], '\t') = 0;
}

void npr_accounts_print_header(const npr_accounts *a, FILE *f)
{
    if (a->columns) fprintf(f, "\t%s", a->header);
}

void npr_accounts_print(const npr_accounts *a, int class, FILE *f)
{
    const char *line = class >= 0 && class < a->classes ? a->line[class] : NULL;
    if (line) fprintf(f, "\t%s", line);
    for (int c = 0; !line && c < a->columns; c++) fputs("\t-", f);
}
