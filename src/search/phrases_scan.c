/* phrases_scan.c - all phrases searched at once: every token, and every pair of neighbours, is looked up in a
 * table.
 *
 * Texts are " tok tok ", one after the other in one blob, so two texts meet in two spaces, and what lies
 * between single spaces is a token. One pass finds the spaces 4 KiB at a time (AVX-512 or AVX2 where the CPU
 * has them), hashes the tokens between them, and tests one bit per token and one per pair; only a set bit
 * leads to a comparison. The row is looked for only then. 1.4 GB/s a core for 1,000 names. See phrases.h. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "search/phrases.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { WORDS = 64, BLOCK = 64 * WORDS }; /* bytes whose spaces are found at a time */

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

/* The phrases of a slot are compared with the text at `at`; those that stand there are matches of its row. */
static npr_status probe(scan *s, int table, uint32_t slot, size_t at)
{
    const npr_phrases *p = s->p;
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

static inline int has_bit(const uint64_t *bits, uint32_t slot)
{
    return bits[slot >> 6] >> (slot & 63) & 1;
}

npr_status npr_phrases_scan(const npr_phrases *p, const npr_text *tokens, int64_t row0, int64_t row1,
                            npr_matches *m)
{
    find_spaces *spaces = choose_spaces();
    m->count = 0;
    for (int c = 0; c < p->classes; c++) m->last[c] = -1;
    if (row0 >= row1) return NPR_OK;
    scan s = {p, tokens, row0, row1, (size_t)tokens->offset[row1], m};
    const char *bytes = tokens->bytes;
    uint64_t mask[WORDS];
    char tail[BLOCK];
    size_t token = (size_t)tokens->offset[row0]; /* first byte after the last space */
    size_t before = 0;                           /* first byte of the token before it */
    int have_before = 0;
    uint32_t hash_before = 0;
    for (size_t block = token; block < s.end; block += BLOCK) {
        size_t n = s.end - block;
        if (n < BLOCK) {
            memset(tail, 0, sizeof tail);
            memcpy(tail, bytes + block, n);
        }
        spaces(n < BLOCK ? tail : bytes + block, mask);
        for (int w = 0; w < WORDS; w++)
            for (uint64_t left = mask[w]; left; left &= left - 1) {
                size_t space = block + (size_t)(64 * w) + (size_t)__builtin_ctzll(left);
                size_t length = space - token;
                if (length == 0) { /* the border of two texts */
                    have_before = 0;
                    token = space + 1;
                    continue;
                }
                uint32_t h = npr_token_hash(bytes + token, length, s.end - token);
                uint32_t one = h & p->slot_mask, two = npr_pair_hash(hash_before, h) & p->slot_mask;
                if (have_before && has_bit(p->bits[1], two)) NPR_TRY(probe(&s, 1, two, before));
                if (has_bit(p->bits[0], one)) NPR_TRY(probe(&s, 0, one, token));
                hash_before = h;
                before = token;
                have_before = 1;
                token = space + 1;
            }
    }
    return NPR_OK;
}
