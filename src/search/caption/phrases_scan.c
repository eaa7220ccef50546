/* phrases_scan.c - all phrases searched at once. See phrases.h.
 *
 * Texts are " tok tok ", one after the other in one blob. Two of them meet in two spaces, which no phrase
 * has, so the blob is read as one text: phrases_block.c says where keys of phrases stand in it, the phrases
 * are compared with the bytes there, and for those that are the same the row is looked for. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "search/caption/phrases_block.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum { FEW = 8 }; /* phrases compared one after the other */

npr_status npr_matches_make(const npr_phrases *p, npr_matches *m)
{
    *m = (npr_matches){0};
    m->last = npr_alloc((size_t)p->classes, sizeof *m->last, "matches");
    return m->last ? NPR_OK : npr_last();
}

void npr_matches_free(npr_matches *m)
{
    free(m->match);
    free(m->last);
    *m = (npr_matches){0};
}

typedef struct scan {
    const npr_phrases *p;
    const int64_t *offset; /* of the rows */
    int64_t row, row1;
    npr_matches *m;
    npr_block b;
} scan;

/* ---- rows and classes ---- */

/* The row of a byte: `row` or a later one. */
static inline int64_t find_row(const scan *s, int64_t row, size_t at)
{
    const int64_t *offset = s->offset;
    uint64_t next = at + 1;     /* unsigned: each comparison is added as a carry */
    while (row + 4 < s->row1) { /* four at a time, without a branch */
        int64_t n = 0;
        for (int i = 1; i <= 4; i++) n += (uint64_t)offset[row + i] < next;
        row += n;
        if (n < 4) return row;
    }
    while (row + 1 < s->row1 && (uint64_t)offset[row + 1] < next) row++;
    return row;
}

/* Does a row have these bytes? A phrase does not leave its row, but the column may be another one than
 * npr-ingest writes. */
static inline int in_row(const scan *s, int64_t row, size_t from, size_t bytes)
{
    return ((int64_t)from >= s->offset[row]) & ((int64_t)(from + bytes) <= s->offset[row + 1]);
}

/* Behind n matches, if `found`; returns how many there are then. */
static inline size_t add_class(npr_match *match, int64_t *last, size_t n, int64_t row, int32_t label,
                               int found)
{
    int64_t before = last[label];
    match[n] = (npr_match){row, label};
    last[label] = found ? row : before;
    return n + (size_t)(found & (before != row)); /* a class counts once a row */
}

/* ---- phrases compared ---- */

/* How many bytes of a line are those at `text`, before the first other one? */
static inline unsigned same_bytes(const char *text, const npr_phrase_line *line)
{
#if defined(__SSE2__)
    const __m128i *a = (const __m128i *)(const void *)text, *b = (const __m128i *)(const void *)line->text;
    int low = _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128(a), _mm_load_si128(b)));
    int high = _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128(a + 1), _mm_load_si128(b + 1)));
    return (unsigned)__builtin_ctzll(~(uint64_t)((uint32_t)high << 16 | (uint32_t)low));
#else
    unsigned n = 0;
    while (n < sizeof line->text && text[n] == line->text[n]) n++;
    return n;
#endif
}

/* Does a phrase stand in the text? `inner`: a line's bytes may be read there without looking. */
static inline int stands(const scan *s, uint32_t i, size_t at, int inner)
{
    const npr_phrase_rest *rest = &s->p->keys.rest[i];
    if (at - s->b.begin < rest->back || s->b.end - (at - rest->back) < rest->bytes) return 0;
    const char *text = s->b.text + at - rest->back;
    if (!inner) return memcmp(text, rest->text, rest->bytes) == 0;
    unsigned same = same_bytes(text, &s->p->keys.line[i]);
    if (rest->bytes <= NPR_PHRASE_INLINE) return same >= rest->bytes;
    return same == NPR_PHRASE_INLINE && memcmp(text + same, rest->text + same, rest->bytes - same) == 0;
}

/* One phrase of any length and any number of classes. `later`: as many matches must find room behind it. */
static npr_status compare_one(scan *s, uint32_t i, size_t at, int inner, int later)
{
    const npr_phrase_rest *rest = &s->p->keys.rest[i];
    const npr_phrase *shared = rest->shared < 0 ? NULL : &s->p->phrase[rest->shared];
    npr_matches *m = s->m;
    size_t owners = shared ? (size_t)shared->owners : 1, most = m->count + owners + (size_t)later;
    if (most > m->cap) NPR_TRY(npr_grow(&m->match, &m->cap, most, sizeof *m->match, "matches"));
    s->row = find_row(s, s->row, at);
    int found = stands(s, i, at, inner) & in_row(s, s->row, at - rest->back, rest->bytes);
    m->count = add_class(m->match, m->last, m->count, s->row, rest->label, found);
    for (size_t o = 1; o < owners; o++) /* few are of several */
        m->count =
            add_class(m->match, m->last, m->count, s->row, s->p->owner[(size_t)shared->owner + o], found);
    return NPR_OK;
}

/* Does a phrase come behind the text in their order? A phrase that begins the text does not. */
static int is_behind(const npr_phrase_rest *rest, const char *text, size_t left)
{
    int c = memcmp(rest->text, text, rest->bytes < left ? rest->bytes : left);
    return c > 0 || (c == 0 && rest->bytes > left);
}

/* The phrases from line i on with one `back`. Of many, those that begin the text are the last one that is not
 * behind it, and those that begin that one. */
static npr_status compare_group(scan *s, uint32_t i, size_t at, int inner, int later)
{
    const npr_phrase_rest *rest = s->p->keys.rest;
    uint32_t n = rest[i].others, low = 0, high = n;
    if (n <= FEW) {
        for (uint32_t j = 0; j < n; j++) NPR_TRY(compare_one(s, i + j, at, inner, later));
        return NPR_OK;
    }
    if (at - s->b.begin < rest[i].back) return NPR_OK;
    size_t from = at - rest[i].back;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (is_behind(&rest[i + middle], s->b.text + from, s->b.end - from))
            high = middle;
        else
            low = middle + 1;
    }
    for (uint32_t j = low ? i + low - 1 : NPR_PHRASE_NONE; j != NPR_PHRASE_NONE; j = rest[j].other)
        NPR_TRY(compare_one(s, j, at, inner, later));
    return NPR_OK;
}

/* What a slot has besides the phrase that is in it. */
static npr_status compare_more(scan *s, uint32_t slot, size_t at, int inner, int later)
{
    const npr_phrase_keys *k = &s->p->keys;
    uint32_t i = k->rest[slot].other, end = i + k->rest[slot].others;
    if (!inner || k->slot[slot].bytes == NPR_PHRASE_NOT_HERE) NPR_TRY(compare_one(s, slot, at, inner, later));
    for (; i < end; i += k->rest[i].others) NPR_TRY(compare_group(s, i, at, inner, later));
    return NPR_OK;
}

/* Candidates `from` on, up to the next one with more to it than the phrase that is in its slot, inclusive:
 * returns how many. No branch depends on whether a phrase stands in the text. */
static __attribute__((noinline)) int compare_slots(scan *s, int from, int to)
{
    const npr_phrase_slot *slots = s->p->keys.slot;
    const npr_phrase_line *lines = s->p->keys.line;
    const npr_block *b = &s->b;
    const size_t base = b->at;
    const char *text = b->text + base;
    npr_match *match = s->m->match;
    int64_t row = s->row, *last = s->m->last;
    size_t n = s->m->count;
    int c = from;
    while (c < to) {
        int h = b->candidate[c++];
        uint32_t i = b->slot[h];
        size_t at = b->start[1 + b->hit[h] / 2];
        const npr_phrase_slot *slot = &slots[i];
        size_t back = slot->back % NPR_PHRASE_MORE, bytes = slot->bytes;
        int found = same_bytes(text + at - back, &lines[i]) >= bytes;
        row = find_row(s, row, base + at);
        n = add_class(match, last, n, row, slot->label, found & in_row(s, row, base + at - back, bytes));
        if (slot->back >= NPR_PHRASE_MORE) break;
    }
    s->row = row;
    s->m->count = n;
    return c - from;
}

/* The candidates of a block. */
static npr_status compare_block(scan *s, int candidates)
{
    const npr_block *b = &s->b;
    npr_matches *m = s->m;
    const npr_phrase_keys *k = &s->p->keys;
    int inner = b->at - b->begin >= sizeof *k->line && b->end - b->at >= NPR_BLOCK + sizeof *k->line;
    NPR_TRY(npr_grow(&m->match, &m->cap, m->count + (size_t)candidates, sizeof *m->match, "matches"));
    for (int c = 0; c < candidates;) {
        c += inner ? compare_slots(s, c, candidates) : 1;
        int h = b->candidate[c - 1];
        if (inner && k->slot[b->slot[h]].back < NPR_PHRASE_MORE) break;
        NPR_TRY(compare_more(s, b->slot[h], b->at + b->start[1 + b->hit[h] / 2], inner, candidates - c));
    }
    return NPR_OK;
}

static npr_status scan_with(scan *s, npr_block_kernel *kernel)
{
    for (size_t at = s->b.begin; at < s->b.end; at += NPR_BLOCK) NPR_TRY(compare_block(s, kernel(&s->b, at)));
    return NPR_OK;
}

npr_status npr_phrases_scan_with(npr_block_kernel *kernel, const npr_phrases *p, const npr_text *text,
                                 int64_t row0, int64_t row1, npr_matches *m)
{
    m->count = 0;
    for (int c = 0; c < p->classes; c++) m->last[c] = -1;
    if (row0 >= row1) return NPR_OK;
    scan s;
    s.p = p;
    s.offset = text->offset;
    s.row = row0;
    s.row1 = row1;
    s.m = m;
    npr_block_begin(&s.b, &p->keys, text->bytes, (size_t)text->offset[row0], (size_t)text->offset[row1]);
    return scan_with(&s, kernel);
}

npr_status npr_phrases_scan(const npr_phrases *p, const npr_text *text, int64_t row0, int64_t row1,
                            npr_matches *m)
{
    const char *name;
    return npr_phrases_scan_with(npr_block_kernel_at(0, &name), p, text, row0, row1, m);
}
