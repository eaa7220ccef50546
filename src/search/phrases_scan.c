/* phrases_scan.c - all phrases searched at once: every token, and every pair of neighbours, is looked up in a
 * table.
 *
 * Texts are " tok tok ", one after the other in one blob, so two texts meet in two spaces, with an empty
 * token between them that is part of no phrase. Blocks of 1 KiB take three steps, in which no branch depends
 * on what is read: the spaces are found (AVX-512 or AVX2 where the CPU has them) and listed; the tokens
 * between them are hashed, and one bit per token and one per pair of neighbours is tested; those with a set
 * bit are listed. Only these are compared with phrases, and only then is the row looked for. See phrases.h.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "search/phrases.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { WORDS = 16, BLOCK = 64 * WORDS, AT_ONCE = 8 }; /* bytes whose spaces are found at a time */

typedef void find_spaces(const char *bytes, uint64_t *mask); /* [BLOCK] -> [WORDS] */

/* Eight bytes at a time: a byte is a space if its difference from one is zero. */
static void spaces_portable(const char *bytes, uint64_t *mask)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), high = ones << 7;
    for (int w = 0; w < WORDS; w++) {
        uint64_t m = 0;
        for (int i = 0; i < 8; i++) {
            unsigned bits = 0;
            uint64_t v;
            memcpy(&v, bytes + 64 * w + 8 * i, sizeof v);
            v ^= ones * ' ';
            uint64_t zero = ~(((v & ~high) + ~high) | v) & high; /* exact: no carry leaves a byte */
            for (int b = 0; b < 8; b++) bits |= (unsigned)(zero >> (8 * b + 7) & 1) << b;
            m |= (uint64_t)bits << (8 * i);
        }
        mask[w] = m;
    }
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void spaces_avx2(const char *bytes, uint64_t *mask)
{
    const __m256i space = _mm256_set1_epi8(' ');
    for (int w = 0; w < WORDS; w++) {
        __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)(bytes + 64 * w));
        __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(bytes + 64 * w + 32));
        uint32_t low = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(a, space));
        uint32_t high = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(b, space));
        mask[w] = (uint64_t)high << 32 | low;
    }
}

__attribute__((target("avx512f,avx512bw"))) static void spaces_avx512(const char *bytes, uint64_t *mask)
{
    const __m512i space = _mm512_set1_epi8(' ');
    for (int w = 0; w < WORDS; w++)
        mask[w] = _mm512_cmpeq_epi8_mask(_mm512_loadu_si512(bytes + 64 * w), space);
}
#endif

static find_spaces *choose_spaces(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512bw")) return spaces_avx512;
    if (__builtin_cpu_supports("avx2")) return spaces_avx2;
#endif
    return spaces_portable;
}

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
    const npr_text *tokens;
    int64_t row, row1;
    size_t end; /* of the bytes scanned */
    npr_matches *m;
} scan;

/* The phrases of a hash are compared with the text at `at`; those that stand there are matches of its row. */
static npr_status probe(scan *s, int table, uint32_t hash, size_t at)
{
    const npr_phrases *p = s->p;
    uint32_t slot = hash & p->slot_mask;
    const npr_text *t = s->tokens;
    while (s->row + 1 < s->row1 && (size_t)t->offset[s->row + 1] <= at) s->row++;
    size_t room = (size_t)t->offset[s->row + 1] - at; /* a phrase ends in its row */
    for (int32_t i = p->slot[table][slot]; i >= 0; i = p->phrase[i].next) {
        const npr_phrase *f = &p->phrase[i];
        if (f->bytes > room || memcmp(t->bytes + at, f->text, f->bytes) != 0) continue;
        NPR_TRY(npr_grow(&s->m->match, &s->m->cap, s->m->count + (size_t)f->owners, sizeof *s->m->match,
                         "matches"));
        for (int32_t o = f->owner; o < f->owner + f->owners; o++) {
            int32_t label = p->owner[o];
            if (s->m->last[label] == s->row) continue; /* a class counts once a row */
            s->m->last[label] = s->row;
            s->m->match[s->m->count++] = (npr_match){s->row, label};
        }
    }
    return NPR_OK;
}

/* Tokens of a block. Token 0 is the one before the block's first. */
typedef struct tokens {
    size_t start[BLOCK + 2 + AT_ONCE];
    uint32_t hash[BLOCK + 1];
    uint16_t hit[BLOCK +
                 1]; /* tokens where a phrase of one or two tokens or more may end its first or second one */
} tokens;

/* Behind each space a token starts: from start[2] on, as start[1] is known. Returns the number of tokens that
 * end here. Eight are written at a time, and those too many are written over. */
static int list_starts(const uint64_t *mask, size_t block, size_t *start)
{
    size_t *to = start + 2;
    for (int w = 0; w < WORDS; w++) {
        uint64_t left = mask[w];
        int n = __builtin_popcountll(left);
        for (int i = 0; i < n; i += AT_ONCE)
            for (int u = 0; u < AT_ONCE; u++, left &= left - 1)
                to[i + u] =
                    block + (size_t)(64 * w) + (size_t)__builtin_ctzll(left | (UINT64_C(1) << 63)) + 1;
        to += n;
    }
    return (int)(to - start) - 2;
}

static inline uint32_t has_bit(const uint64_t *bits, uint32_t bit)
{
    return (uint32_t)(bits[bit >> 6] >> (bit & 63)) & 1;
}

/* Hash the tokens 1 .. n; returns how many are listed. */
static int list_hits(const scan *s, tokens *t, int n)
{
    const char *bytes = s->tokens->bytes;
    const uint64_t *one = s->p->bits[0], *two = s->p->bits[1];
    uint32_t mask = s->p->bit_mask, before = t->hash[0];
    size_t end = s->end, hits = 0;
    for (int i = 1; i <= n; i++) {
        size_t at = t->start[i];
        uint32_t h = npr_token_hash(bytes + at, t->start[i + 1] - 1 - at, end - at);
        t->hash[i] = h;
        t->hit[hits] = (uint16_t)i;
        hits += has_bit(one, h & mask) | has_bit(two, npr_pair_hash(before, h) & mask);
        before = h;
    }
    return (int)hits;
}

static npr_status probe_hits(scan *s, const tokens *t, int hits)
{
    const npr_phrases *p = s->p;
    for (int h = 0; h < hits; h++) {
        int i = t->hit[h];
        uint32_t one = t->hash[i], two = npr_pair_hash(t->hash[i - 1], one);
        if (has_bit(p->bits[1], two & p->bit_mask)) NPR_TRY(probe(s, 1, two, t->start[i - 1]));
        if (has_bit(p->bits[0], one & p->bit_mask)) NPR_TRY(probe(s, 0, one, t->start[i]));
    }
    return NPR_OK;
}

npr_status npr_phrases_scan(const npr_phrases *p, const npr_text *text, int64_t row0, int64_t row1,
                            npr_matches *m)
{
    find_spaces *spaces = choose_spaces();
    m->count = 0;
    for (int c = 0; c < p->classes; c++) m->last[c] = -1;
    if (row0 >= row1) return NPR_OK;
    scan s = {p, text, row0, row1, (size_t)text->offset[row1], m};
    uint64_t mask[WORDS];
    char tail[BLOCK];
    tokens t;
    size_t first = (size_t)text->offset[row0];
    t.start[0] = t.start[1] = first; /* an empty token stands before the first */
    t.hash[0] = npr_token_hash("", 0, 0);
    for (size_t block = first; block < s.end; block += BLOCK) {
        size_t left = s.end - block;
        if (left < BLOCK) {
            memset(tail, 0, sizeof tail);
            memcpy(tail, text->bytes + block, left);
        }
        spaces(left < BLOCK ? tail : text->bytes + block, mask);
        int n = list_starts(mask, block, t.start);
        NPR_TRY(probe_hits(&s, &t, list_hits(&s, &t, n)));
        t.start[0] = t.start[n];
        t.start[1] = t.start[n + 1];
        t.hash[0] = t.hash[n];
    }
    return NPR_OK;
}
