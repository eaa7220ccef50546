/* phrases_scan.c - all phrases searched at once. See phrases.h.
 *
 * Texts are " tok tok ", one after the other in one blob. Two of them meet in two spaces, which no phrase
 * has, so the blob is read as one text: phrases_block.c says where keys of phrases stand in it, the phrases
 * are compared with the bytes there, and for those that are the same the row is looked for. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "search/phrases_block.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

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
    if (same < NPR_PHRASE_INLINE) return same >= rest->bytes;
    return rest->bytes <= NPR_PHRASE_INLINE ||
           memcmp(text + same, rest->text + same, rest->bytes - same) == 0;
}

/* One phrase of any length and any number of classes. */
static npr_status compare_one(scan *s, uint32_t i, size_t at, int inner)
{
    const npr_phrase_rest *rest = &s->p->keys.rest[i];
    npr_matches *m = s->m;
    if (!stands(s, i, at, inner)) return NPR_OK;
    s->row = find_row(s, s->row, at);
    if (!in_row(s, s->row, at - rest->back, rest->bytes)) return NPR_OK;
    const npr_phrase *shared = rest->shared < 0 ? NULL : &s->p->phrase[rest->shared];
    int32_t owners = shared ? shared->owners : 1;
    NPR_TRY(npr_grow(&m->match, &m->cap, m->count + (size_t)owners, sizeof *m->match, "matches"));
    m->count = add_class(m->match, m->last, m->count, s->row, rest->label, 1);
    for (int32_t o = 1; o < owners; o++)
        m->count = add_class(m->match, m->last, m->count, s->row, s->p->owner[shared->owner + o], 1);
    return NPR_OK;
}

/* All phrases of a slot. */
static npr_status compare_all(scan *s, uint32_t slot, size_t at, int inner)
{
    const npr_phrase_rest *rest = &s->p->keys.rest[slot];
    NPR_TRY(compare_one(s, slot, at, inner));
    for (uint32_t i = 0; i < rest->others; i++) NPR_TRY(compare_one(s, rest->other + i, at, inner));
    return NPR_OK;
}

/* The candidates of a block. For most of them no branch depends on whether the phrase stands there. */
static npr_status compare_block(scan *s, int candidates)
{
    const npr_phrase_keys *k = &s->p->keys;
    const npr_block *b = &s->b;
    npr_matches *m = s->m;
    int inner = b->at - b->begin >= sizeof *k->line && b->end - b->at >= NPR_BLOCK + sizeof *k->line;
    for (int c = 0; c < candidates;) {
        NPR_TRY(npr_grow(&m->match, &m->cap, m->count + (size_t)candidates, sizeof *m->match, "matches"));
        size_t n = m->count;
        int64_t row = s->row;
        uint32_t slot = 0;
        size_t at = 0;
        for (; c < candidates; c++) {
            int h = b->candidate[c];
            slot = b->slot[h];
            at = b->at + b->start[1 + b->hit[h] / 2];
            const npr_phrase_slot one = k->slot[slot];
            if (!inner || one.bytes == 0) break;
            size_t from = at - one.back;
            unsigned same = same_bytes(b->text + from, &k->line[slot]);
            row = find_row(s, row, at);
            n = add_class(m->match, m->last, n, row, one.label,
                          (same >= one.bytes) & in_row(s, row, from, one.bytes));
        }
        m->count = n;
        s->row = row;
        if (c++ < candidates) NPR_TRY(compare_all(s, slot, at, inner));
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
