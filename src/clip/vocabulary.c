/* vocabulary.c - symbols and merges, and the tables that find them. See vocabulary.h; vocabulary_read.c reads
 * the file. */
#include "clip/vocabulary.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "clip/unicode.h"

enum {
    SYMBOL_MAX = 256,
    BYTES = 256,
    WRITTEN = 0x144
}; /* bytes of a symbol; code points bytes are written as */

static uint64_t text_key(const unsigned char *text, size_t n, int ends_word)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325) + (uint64_t)ends_word;
    for (size_t i = 0; i < n; i++) h = (h ^ text[i]) * UINT64_C(0x100000001b3);
    return h;
}

static uint64_t pair_key(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

static uint32_t first_slot(uint64_t key)
{
    return (uint32_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 32);
}

/* ---- tables: open addressing, at most half full -------------------------------------------------------- */

static void put(npr_slot *table, uint32_t mask, uint64_t key, int32_t value)
{
    uint32_t slot = first_slot(key) & mask;
    while (table[slot].value >= 0) slot = (slot + 1) & mask;
    table[slot] = (npr_slot){key, value};
}

/* Add an entry to a table of `count`; it grows as needed. */
static npr_status add(npr_slot **table, uint32_t *mask, int count, uint64_t key, int32_t value)
{
    size_t slots = *table ? (size_t)*mask + 1 : 0, more = slots ? 2 * slots : 2048;
    if (2 * ((size_t)count + 1) > slots) {
        npr_slot *larger = npr_alloc(more, sizeof *larger, "a vocabulary");
        if (!larger) return npr_last();
        for (size_t i = 0; i < more; i++) larger[i].value = -1;
        for (size_t i = 0; i < slots; i++)
            if ((*table)[i].value >= 0) put(larger, (uint32_t)(more - 1), (*table)[i].key, (*table)[i].value);
        free(*table);
        *table = larger;
        *mask = (uint32_t)(more - 1);
    }
    put(*table, *mask, key, value);
    return NPR_OK;
}

int32_t npr_vocabulary_find(const npr_vocabulary *v, const unsigned char *text, size_t n, int ends_word)
{
    uint64_t key = text_key(text, n, ends_word);
    for (uint32_t slot = first_slot(key);; slot++) {
        const npr_slot *at = &v->by_text[slot & v->text_mask];
        if (at->value < 0) return -1;
        if (at->key != key) continue;
        const npr_symbol *s = &v->symbol[at->value];
        if (s->bytes == n && s->ends_word == ends_word && !memcmp(v->arena + s->at, text, n))
            return at->value;
    }
}

int32_t npr_vocabulary_pair(const npr_vocabulary *v, int32_t left, int32_t right)
{
    uint64_t key = pair_key(left, right);
    if (!v->by_pair) return -1;
    for (uint32_t slot = first_slot(key);; slot++) {
        const npr_slot *at = &v->by_pair[slot & v->pair_mask];
        if (at->value < 0 || at->key == key) return at->value;
    }
}

static npr_status add_symbol(npr_vocabulary *v, const unsigned char *text, size_t n, int ends_word,
                             int32_t id)
{
    NPR_TRY(npr_grow(&v->arena, &v->arena_cap, v->arena_used + n, 1, "a vocabulary"));
    NPR_TRY(npr_grow(&v->symbol, &v->symbol_cap, (size_t)v->symbols + 1, sizeof *v->symbol, "a vocabulary"));
    NPR_TRY(add(&v->by_text, &v->text_mask, v->symbols, text_key(text, n, ends_word), v->symbols));
    memcpy(v->arena + v->arena_used, text, n);
    v->symbol[v->symbols] = (npr_symbol){(uint32_t)v->arena_used, (uint32_t)n, (uint8_t)ends_word, 0, id};
    v->arena_used += n;
    v->symbols++;
    return NPR_OK;
}

/* ---- bytes --------------------------------------------------------------------------------------------- */

/* Bytes that stand for themselves in the file; the others are written as U+0100 and what follows, in order.
 */
static int prints(int b)
{
    return (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
}

/* The byte written as code point c, -1 if none is. */
static int byte_of(uint32_t c)
{
    if (c < BYTES) return prints((int)c) ? (int)c : -1;
    if (c >= WRITTEN) return -1;
    uint32_t at = BYTES;
    for (int b = 0; b < BYTES; b++)
        if (!prints(b) && at++ == c) return b;
    return -1;
}

npr_status npr_vocabulary_begin(npr_vocabulary *v)
{
    for (int ends_word = 0; ends_word < 2; ends_word++)
        for (int pass = 0; pass < 2; pass++) /* those that print have the first tokens */
            for (int b = 0; b < BYTES; b++) {
                unsigned char text = (unsigned char)b;
                if (prints(b) != !pass) continue;
                if (!ends_word) v->byte[b] = v->symbols;
                NPR_TRY(add_symbol(v, &text, 1, ends_word, v->symbols));
            }
    return NPR_OK;
}

/* ---- merges -------------------------------------------------------------------------------------------- */

/* One symbol of a line, at most SYMBOL_MAX bytes; why it is none, else NULL. */
static const char *read_symbol(const char *field, size_t n, unsigned char *text, size_t *bytes,
                               int *ends_word)
{
    static const char mark[] = "</w>";
    const unsigned char *p = (const unsigned char *)field, *end = p + n;
    *ends_word = n > 4 && !memcmp(end - 4, mark, 4);
    if (*ends_word) end -= 4;
    *bytes = 0;
    while (p < end) {
        uint32_t c;
        int b = npr_utf8_next(&p, end, &c) ? byte_of(c) : -1;
        if (b < 0) return "has a character that stands for no byte";
        if (*bytes == SYMBOL_MAX) return "is too long";
        text[(*bytes)++] = (unsigned char)b;
    }
    return *bytes ? NULL : "is empty";
}

static npr_status find_symbol(const npr_vocabulary *v, const char *field, size_t n, const char *path,
                              int number, int32_t *symbol)
{
    unsigned char text[SYMBOL_MAX];
    size_t bytes;
    int ends_word;
    const char *why = read_symbol(field, n, text, &bytes, &ends_word);
    *symbol = why ? -1 : npr_vocabulary_find(v, text, bytes, ends_word);
    if (!why && *symbol < 0) why = "is made by no line before it";
    if (!why) return NPR_OK;
    return npr_fail(NPR_EDATA, "%s, line %d: the symbol \"%.*s\" %s", path, number, (int)(n < 40 ? n : 40),
                    field, why);
}

npr_status npr_vocabulary_add(npr_vocabulary *v, const char *line, size_t n, const char *path, int number)
{
    int32_t left, right;
    const char *space = memchr(line, ' ', n);
    if (!space || memchr(space + 1, ' ', n - (size_t)(space + 1 - line)))
        return npr_fail(NPR_EDATA, "%s, line %d: a merge is two symbols with a space between, found \"%.*s\"",
                        path, number, (int)(n < 40 ? n : 40), line);
    NPR_TRY(find_symbol(v, line, (size_t)(space - line), path, number, &left));
    NPR_TRY(find_symbol(v, space + 1, n - (size_t)(space + 1 - line), path, number, &right));
    const npr_symbol *l = &v->symbol[left], *r = &v->symbol[right];
    if (l->ends_word || l->bytes + r->bytes > SYMBOL_MAX || npr_vocabulary_pair(v, left, right) >= 0)
        return npr_fail(NPR_EDATA, "%s, line %d: the merge \"%.*s\" %s", path, number, (int)(n < 80 ? n : 80),
                        line,
                        l->ends_word                       ? "goes on behind the end of a word"
                        : l->bytes + r->bytes > SYMBOL_MAX ? "makes a symbol that is too long"
                                                           : "was there before");
    unsigned char text[SYMBOL_MAX];
    size_t bytes = l->bytes + r->bytes;
    int ends_word = r->ends_word;
    memcpy(text, v->arena + l->at, l->bytes);
    memcpy(text + l->bytes, v->arena + r->at, r->bytes);
    int32_t made = npr_vocabulary_find(v, text, bytes, ends_word), id = 512 + v->merges;
    if (made >= 0) /* made in two ways: the token is the later one's, as in a Python dictionary */
        v->symbol[made].id = id;
    else
        NPR_TRY(add_symbol(v, text, bytes, ends_word, id));
    if (made < 0) made = v->symbols - 1;
    NPR_TRY(npr_grow(&v->merge, &v->merge_cap, (size_t)v->merges + 1, sizeof *v->merge, "a vocabulary"));
    NPR_TRY(add(&v->by_pair, &v->pair_mask, v->merges, pair_key(left, right), v->merges));
    v->merge[v->merges++] = (npr_merge){left, right, made};
    return NPR_OK;
}

npr_status npr_vocabulary_end(npr_vocabulary *v)
{
    npr_word_work w = {0};
    npr_status st = NPR_OK;
    v->vocab = NPR_VOCAB_FIXED + v->merges;
    for (int i = 0; !st && i < v->symbols; i++) {
        npr_symbol *s = &v->symbol[i];
        size_t count = 0;
        if (!s->ends_word) continue;
        st = npr_word_split(v, &w, v->arena + s->at, s->bytes, &count);
        s->whole = !st && count == 1;
    }
    npr_word_work_free(&w);
    return st;
}

void npr_vocabulary_free(npr_vocabulary *v)
{
    free(v->symbol);
    free(v->merge);
    free(v->arena);
    free(v->by_text);
    free(v->by_pair);
    *v = (npr_vocabulary){0};
}
