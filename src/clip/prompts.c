/* prompts.c - the prompts of each class, from templates or from CuPL's JSON (Pratt et al., What does a
 * platypus look like?, 2022, arXiv 2209.03320). See npr/clip.h. Files are checked as a whole before any
 * prompt is made: a name or template that is not what it seems would otherwise spoil a head silently. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "clip/unicode.h"
#include "io/classes.h"
#include "npr/clip.h"

enum { FILE_MAX = 256 << 20, LINE_MAX_BYTES = 4096, PROMPTS_MAX = 1 << 27 };

void npr_prompts_free(npr_prompts *p)
{
    for (int64_t i = 0; p->offset && p->text && i < p->offset[p->classes]; i++) free(p->text[i]);
    for (int i = 0; p->name && i < p->classes; i++) free(p->name[i]);
    free(p->name);
    free(p->offset);
    free(p->text);
    *p = (npr_prompts){0};
}

/* ---- lines --------------------------------------------------------------------------------------------- */

/* What keeps n bytes from being a name or a template, NULL if nothing does. */
static const char *flaw(const char *text, size_t n)
{
    const unsigned char *p = (const unsigned char *)text, *end = p + n;
    int blank = 1;
    if (n > LINE_MAX_BYTES) return "is longer than 4096 bytes";
    while (p < end) {
        uint32_t c;
        if (!npr_utf8_next(&p, end, &c)) return "is not UTF-8";
        if (c < 0x20 || (c >= 0x7f && c < 0xa0)) return "has a control character";
        blank &= npr_char_is_space(c);
    }
    return blank ? "is empty" : NULL;
}

/* Lines of a file, and of each what stands before its first tab (fields), or all of it. */
typedef struct lines {
    char **item;
    size_t count, cap;
} lines;

static void lines_free(lines *l)
{
    for (size_t i = 0; i < l->count; i++) free(l->item[i]);
    free(l->item);
    *l = (lines){0};
}

static npr_status lines_add(lines *l, const char *text, size_t n)
{
    NPR_TRY(npr_grow(&l->item, &l->cap, l->count + 1, sizeof *l->item, "a list of lines"));
    char *copy = npr_alloc(n + 1, 1, "a line");
    if (!copy) return npr_last();
    memcpy(copy, text, n);
    l->item[l->count++] = copy;
    return NPR_OK;
}

/* `what` is a line for: "class name" (up to the first tab) or "template". */
static npr_status read_lines(const char *path, const char *what, int fields, lines *l)
{
    char *text = NULL;
    size_t n = 0;
    NPR_TRY(npr_file_read(path, FILE_MAX, &text, &n));
    npr_class_line line = {0};
    npr_status st = NPR_OK;
    const char *zero = memchr(text, 0, n);
    if (zero) st = npr_fail(NPR_EDATA, "%s: a zero byte at offset %zu", path, (size_t)(zero - text));
    while (!st && npr_class_line_next(text, &line)) {
        size_t length = line.n;
        if (fields) (void)npr_class_field(&line, NULL, &length);
        const char *why = flaw(line.text, length);
        st = why ? npr_fail(NPR_EDATA, "%s, line %ld: the %s %s", path, line.number, what, why)
                 : lines_add(l, line.text, length);
    }
    if (!st && l->count == 0) st = npr_fail(NPR_EDATA, "%s: empty: wanted one %s a line", path, what);
    if (!st && l->count > INT_MAX - 1) st = npr_fail(NPR_EDATA, "%s: %zu lines are too many", path, l->count);
    free(text);
    return st;
}

/* The classes of p, without prompts yet. */
static npr_status read_names(const char *path, npr_prompts *p)
{
    lines names = {0};
    npr_status st = read_lines(path, "class name", 1, &names);
    if (!st && !(p->offset = npr_alloc(names.count + 1, sizeof *p->offset, "prompts"))) st = npr_last();
    if (st) {
        lines_free(&names);
        return st;
    }
    p->name = names.item;
    p->classes = (int)names.count;
    return NPR_OK;
}

typedef struct named {
    const char *name;
    int class;
} named;

static int by_name(const void *va, const void *vb)
{
    const named *a = va, *b = vb;
    int order = strcmp(a->name, b->name);
    return order ? order : (a->class > b->class) - (a->class < b->class);
}

npr_status npr_prompts_same_names(const npr_prompts *p, int *many, int *first, int *second)
{
    named *list = npr_alloc((size_t)p->classes, sizeof *list, "class names");
    *many = 0;
    *first = *second = -1;
    if (!list) return npr_last();
    for (int c = 0; c < p->classes; c++) list[c] = (named){p->name[c], c};
    qsort(list, (size_t)p->classes, sizeof *list, by_name);
    for (int c = 1, of = 0; c < p->classes; c++) {
        if (strcmp(list[c].name, list[of].name)) of = c;
        if (of == c) continue;
        ++*many;
        if (*second >= 0 && *second < list[c].class) continue;
        *first = list[of].class;
        *second = list[c].class;
    }
    free(list);
    return NPR_OK;
}

/* ---- templates ----------------------------------------------------------------------------------------- */

/* Where a template says {} or {c}, and behind it; NULL if it does not. */
static const char *find_place(const char *t, const char **behind)
{
    for (; (t = strchr(t, '{')) != NULL; t++) {
        *behind = t + (t[1] == 'c' ? 3 : 2);
        if (t[1] == '}' || (t[1] == 'c' && t[2] == '}')) return t;
    }
    return NULL;
}

static char *fill(const char *t, const char *name)
{
    size_t length = strlen(name), places = 0, at = 0;
    const char *behind;
    for (const char *p = t; (p = find_place(p, &behind)) != NULL; p = behind) places++;
    char *out = npr_alloc(strlen(t) + places * length + 1, 1, "a prompt");
    if (!out) return NULL;
    for (const char *p; (p = find_place(t, &behind)) != NULL; t = behind) {
        memcpy(out + at, t, (size_t)(p - t));
        at += (size_t)(p - t);
        memcpy(out + at, name, length);
        at += length;
    }
    memcpy(out + at, t, strlen(t) + 1);
    return out;
}

static npr_status fill_all(const lines *templates, npr_prompts *p)
{
    int64_t each = (int64_t)templates->count, n = 0;
    if (each > PROMPTS_MAX / p->classes)
        return npr_fail(NPR_EDATA, "%d classes x %lld templates are more than %d prompts", p->classes,
                        (long long)each, PROMPTS_MAX);
    if (!(p->text = npr_alloc((size_t)(each * p->classes), sizeof *p->text, "prompts"))) return npr_last();
    for (int c = 0; c < p->classes; c++) p->offset[c + 1] = (c + 1) * each;
    for (int c = 0; c < p->classes; c++)
        for (int64_t i = 0; i < each; i++)
            if (!(p->text[n++] = fill(templates->item[i], p->name[c]))) return npr_last();
    return NPR_OK;
}

npr_status npr_prompts_from_templates(const char *names, const char *templates, npr_prompts *p)
{
    lines from = {0};
    const char *behind;
    *p = (npr_prompts){0};
    npr_status st = read_names(names, p);
    if (!st) st = read_lines(templates, "template", 0, &from);
    for (size_t i = 0; !st && i < from.count; i++)
        if (!find_place(from.item[i], &behind))
            st = npr_fail(NPR_EDATA, "%s, line %zu: the template \"%.60s\" says neither {} nor {c}",
                          templates, i + 1, from.item[i]);
    if (!st) st = fill_all(&from, p);
    lines_free(&from);
    if (st) npr_prompts_free(p);
    return st;
}

/* ---- CuPL's JSON --------------------------------------------------------------------------------------- */

/* A class of the JSON that is not among the names: most likely the wrong file. */
static npr_status check_extra(const char *names, const char *path, npr_json *json, const npr_prompts *p)
{
    npr_json *known = npr_json_object();
    npr_status st = known ? NPR_OK : npr_fail(NPR_EINTERNAL, "out of memory for class names");
    for (int c = 0; !st && c < p->classes; c++) st = npr_json_set_bool(known, p->name[c], 1);
    for (const char *key = NULL; !st && (key = npr_json_next_key(json, key)) != NULL;)
        if (!npr_json_get(known, key))
            st = npr_fail(NPR_EDATA, "%s: prompts for the class \"%.80s\", which %s does not name", path, key,
                          names);
    npr_json_free(known);
    return st;
}

static npr_status check_prompt(const npr_json *v, const char *name, size_t i, const char *path)
{
    const char *text = npr_json_text(v);
    if (!text || !*text || strlen(text) != npr_json_text_bytes(v) || strlen(text) > LINE_MAX_BYTES)
        return npr_fail(NPR_EDATA, "%s: class \"%.80s\", prompt %zu: %s", path, name, i + 1,
                        !text                           ? "not a string"
                        : !*text                        ? "empty"
                        : strlen(text) > LINE_MAX_BYTES ? "longer than 4096 bytes"
                                                        : "holds a zero byte");
    return NPR_OK;
}

static npr_status count_prompts(const char *names, const char *path, npr_json *json, npr_prompts *p)
{
    for (int c = 0; c < p->classes; c++) {
        npr_json *list = NULL;
        if (!npr_json_get(json, p->name[c]))
            return npr_fail(NPR_EDATA, "%s: no prompts for the class \"%.80s\" of %s, line %d", path,
                            p->name[c], names, c + 1);
        NPR_TRY(npr_json_get_array(json, p->name[c], path, &list));
        size_t n = npr_json_count(list);
        if (n == 0)
            return npr_fail(NPR_EDATA, "%s: no prompt in the list of class \"%.80s\"", path, p->name[c]);
        for (size_t i = 0; i < n; i++) NPR_TRY(check_prompt(npr_json_at(list, i), p->name[c], i, path));
        p->offset[c + 1] = p->offset[c] + (int64_t)n;
        if (p->offset[c + 1] > PROMPTS_MAX)
            return npr_fail(NPR_EDATA, "%s: more than %d prompts", path, PROMPTS_MAX);
    }
    return NPR_OK;
}

static npr_status take_prompts(const npr_json *json, npr_prompts *p)
{
    int64_t n = 0;
    if (!(p->text = npr_alloc((size_t)p->offset[p->classes], sizeof *p->text, "prompts"))) return npr_last();
    for (int c = 0; c < p->classes; c++) {
        const npr_json *list = npr_json_get(json, p->name[c]);
        for (size_t i = 0; i < npr_json_count(list); i++)
            if (!(p->text[n++] = npr_strdup(npr_json_text(npr_json_at(list, i))))) return npr_last();
    }
    return NPR_OK;
}

npr_status npr_prompts_from_json(const char *names, const char *json, npr_prompts *p)
{
    *p = (npr_prompts){0};
    npr_json *v = NULL;
    npr_status st = read_names(names, p);
    if (!st && !(v = npr_json_read(json, FILE_MAX))) st = npr_last();
    if (!st && !npr_json_is_object(v)) st = npr_fail(NPR_EDATA, "%s: wanted an object of class names", json);
    if (!st) st = check_extra(names, json, v, p);
    if (!st) st = count_prompts(names, json, v, p);
    if (!st) st = take_prompts(v, p);
    npr_json_free(v);
    if (st) npr_prompts_free(p);
    return st;
}
