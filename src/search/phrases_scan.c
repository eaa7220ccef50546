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

enum { FOUND = 512 };

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

/* A phrase that stands in the text, and where its key does. */
typedef struct found {
    const npr_phrase_line *line;
    size_t at;
} found;

typedef struct scan {
    const npr_phrases *p;
    const int64_t *offset; /* of the rows */
    int64_t row, row1;
    npr_matches *m;
    npr_block b;
    /* The next to be compared: a candidate, and how many of its phrases have been. */
    int candidates, candidate;
    int32_t compared;
    int n;
    found found[FOUND];
} scan;

/* ---- phrases compared ---- */

/* Is a phrase the text from `from` on? */
static inline int stands(const scan *s, const npr_phrase_line *line, size_t from)
{
    const char *text = s->b.text + from;
    size_t left = s->b.end - from;
    if (left < line->bytes) return 0;
#if defined(__SSE2__)
    if (left >= NPR_PHRASE_INLINE && line->bytes <= NPR_PHRASE_INLINE) {
        const __m128i *a = (const __m128i *)(const void *)text,
                      *b = (const __m128i *)(const void *)line->text;
        int low = _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128(a), _mm_load_si128(b)));
        int high = _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128(a + 1), _mm_load_si128(b + 1)));
        uint64_t same = (uint64_t)(uint32_t)high << 16 | (uint32_t)low;
        return (~same & ((UINT64_C(1) << line->bytes) - 1)) == 0;
    }
#endif
    return memcmp(text, s->p->phrase[line->phrase].text - 1, line->bytes) == 0;
}

/* List those phrases of the candidates that stand in the text, as many as there is room for. */
static void list_found(scan *s)
{
    const npr_phrase_line *lines = s->p->keys.line;
    int n = 0, c = s->candidate;
    int32_t next = s->compared;
    for (; c < s->candidates; c++, next = 0) {
        size_t at = s->b.candidate[c].at;
        const npr_phrase_line *line = &lines[s->b.candidate[c].line];
        int32_t all = line->together;
        for (; next < all && n < FOUND; next++) {
            s->found[n] = (found){line + next, at};
            if (at - s->b.begin >= line[next].back) n += stands(s, line + next, at - line[next].back);
        }
        if (next < all) break;
    }
    s->n = n;
    s->candidate = c;
    s->compared = next;
}

/* ---- rows and classes ---- */

/* The row of a byte: `row` or a later one. */
static inline int64_t find_row(const scan *s, int64_t row, size_t at)
{
    const int64_t *offset = s->offset, byte = (int64_t)at;
    while (row + 4 < s->row1) { /* four at a time, without a branch */
        int n = (offset[row + 1] <= byte) + (offset[row + 2] <= byte) + (offset[row + 3] <= byte) +
                (offset[row + 4] <= byte);
        row += n;
        if (n < 4) return row;
    }
    while (row + 1 < s->row1 && offset[row + 1] <= byte) row++;
    return row;
}

/* Behind n matches; returns how many there are then. */
static inline size_t add_class(npr_match *match, int64_t *last, size_t n, int64_t row, int32_t label)
{
    match[n] = (npr_match){row, label};
    n += last[label] != row; /* a class counts once a row */
    last[label] = row;
    return n;
}

/* The classes of what has been found, each with its row. */
static npr_status add_found(scan *s)
{
    npr_matches *m = s->m;
    npr_match *match = m->match;
    int64_t row = s->row, *last = m->last;
    size_t n = m->count;
    for (int i = 0; i < s->n; i++) {
        const npr_phrase_line *line = s->found[i].line;
        int64_t from = (int64_t)(s->found[i].at - line->back);
        row = find_row(s, row, s->found[i].at);
        /* A phrase does not leave its row, but the column may be another one than npr-ingest writes. */
        if (from < s->offset[row] || from + (int64_t)line->bytes > s->offset[row + 1]) continue;
        if (n + (size_t)line->owners > m->cap) {
            NPR_TRY(npr_grow(&m->match, &m->cap, n + (size_t)line->owners, sizeof *m->match, "matches"));
            match = m->match;
        }
        n = add_class(match, last, n, row, line->label);
        if (line->owners > 1) { /* few: the table of phrases is not read for the others */
            const int32_t *owner = &s->p->owner[s->p->phrase[line->phrase].owner];
            for (int32_t o = 1; o < line->owners; o++) n = add_class(match, last, n, row, owner[o]);
        }
    }
    m->count = n;
    s->row = row;
    return NPR_OK;
}

static npr_status scan_with(scan *s, npr_block_kernel *kernel)
{
    for (size_t at = s->b.begin; at < s->b.end; at += NPR_BLOCK) {
        s->candidates = kernel(&s->b, at);
        s->candidate = s->compared = 0;
        while (s->candidate < s->candidates) {
            list_found(s);
            NPR_TRY(add_found(s));
        }
    }
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
