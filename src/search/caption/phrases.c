/* phrases.c - a class file as distinct phrases of tokens. See phrases.h. */
#include "search/caption/phrases.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "io/classes.h"
#include "npr/source.h"

/* A phrase as read: where its text lies in the arena. */
typedef struct entry {
    size_t at, bytes;
    int32_t label;
    const char *arena; /* set before sorting */
} entry;

typedef struct reading {
    npr_phrases *p;
    entry *entry;
    size_t count, cap;
    size_t arena_used, arena_cap;
    size_t name_cap;
} reading;

/* Texts before labels; a text before its extensions. */
static int entry_compare(const void *va, const void *vb)
{
    const entry *a = va, *b = vb;
    size_t n = a->bytes < b->bytes ? a->bytes : b->bytes;
    int c = memcmp(a->arena + a->at, b->arena + b->at, n);
    if (c) return c;
    if (a->bytes != b->bytes) return a->bytes < b->bytes ? -1 : 1;
    return (a->label > b->label) - (a->label < b->label);
}

/* Tokenise one field into the arena. */
static npr_status add_field(reading *r, int32_t label, const char *field, size_t n, int *found)
{
    npr_phrases *p = r->p;
    size_t room = npr_tokens_room(n);
    NPR_TRY(npr_grow(&p->arena, &r->arena_cap, r->arena_used + room + 1, 1, "class names"));
    size_t bytes = npr_tokens_make(field, n, p->arena + r->arena_used);
    if (bytes == 0) {
        p->empty++;
        return NPR_OK;
    }
    NPR_TRY(npr_grow(&r->entry, &r->cap, r->count + 1, sizeof *r->entry, "class names"));
    r->entry[r->count++] = (entry){r->arena_used + 1, bytes - 1, label, NULL}; /* without the space before */
    r->arena_used += bytes;
    *found = 1;
    return NPR_OK;
}

static npr_status add_name(reading *r, const char *field, size_t n)
{
    npr_phrases *p = r->p;
    NPR_TRY(npr_grow(&p->name, &r->name_cap, (size_t)p->classes + 1, sizeof *p->name, "class names"));
    char *name = npr_alloc(n + 1, 1, "a class name");
    if (!name) return npr_last();
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)field[i];
        name[i] = (char)(c < 0x20 || c == 0x7f ? ' ' : c);
    }
    p->name[p->classes++] = name;
    return NPR_OK;
}

static npr_status add_line(reading *r, const npr_class_line *line)
{
    if (r->p->classes == INT_MAX) return npr_fail(NPR_EDATA, "class file: more than %d lines", INT_MAX);
    int32_t label = r->p->classes;
    int found = 0;
    size_t n;
    const char *field = npr_class_field(line, NULL, &n);
    NPR_TRY(add_name(r, field, n));
    for (; field; field = npr_class_field(line, field, &n)) NPR_TRY(add_field(r, label, field, n, &found));
    if (!found)
        return npr_fail(NPR_EDATA,
                        "class file, line %d: no letter or digit in \"%.60s\", so no caption can match it",
                        label + 1, r->p->name[label]);
    return NPR_OK;
}

/* Distinct phrases, each with its classes, out of the sorted entries. */
static npr_status make_phrases(reading *r)
{
    npr_phrases *p = r->p;
    if (r->count > INT_MAX)
        return npr_fail(NPR_EDATA, "class file: more than %d names and synonyms", INT_MAX);
    for (size_t i = 0; i < r->count; i++) r->entry[i].arena = p->arena;
    qsort(r->entry, r->count, sizeof *r->entry, entry_compare);
    p->phrase = npr_alloc(r->count, sizeof *p->phrase, "phrases");
    p->owner = npr_alloc(r->count, sizeof *p->owner, "phrases");
    if (!p->phrase || !p->owner) return npr_last();
    int32_t owners = 0;
    for (size_t i = 0; i < r->count; i++) {
        const entry *e = &r->entry[i], *before = i ? e - 1 : NULL;
        int same =
            before && before->bytes == e->bytes && !memcmp(p->arena + before->at, p->arena + e->at, e->bytes);
        if (same && before->label == e->label) continue; /* said twice in one line */
        if (!same) p->phrase[p->count++] = (npr_phrase){p->arena + e->at, e->bytes, owners, 0};
        npr_phrase *phrase = &p->phrase[p->count - 1];
        p->owner[owners++] = e->label;
        if (++phrase->owners == 2) {
            if (p->shared++ == 0) p->shared_first = p->count - 1;
        }
    }
    return NPR_OK;
}

npr_status npr_phrases_make(const char *text, npr_phrases **out)
{
    npr_phrases *p = npr_alloc(1, sizeof *p, "phrases");
    if (!p) return npr_last();
    p->shared_first = -1;
    reading r = {.p = p};
    npr_status st = NPR_OK;
    npr_class_line line = {0};
    while (!st && npr_class_line_next(text, &line)) st = add_line(&r, &line);
    if (!st && p->classes == 0) st = npr_fail(NPR_EDATA, "class file: it names no class");
    if (!st) st = make_phrases(&r);
    if (!st) st = npr_phrases_make_keys(p);
    free(r.entry);
    if (st) {
        npr_phrases_free(p);
        return st;
    }
    *out = p;
    return NPR_OK;
}

void npr_phrases_free(npr_phrases *p)
{
    if (!p) return;
    for (int i = 0; i < p->classes; i++) free(p->name[i]);
    free(p->name);
    free(p->phrase);
    free(p->owner);
    free(p->arena);
    npr_phrases_free_keys(p);
    free(p);
}
