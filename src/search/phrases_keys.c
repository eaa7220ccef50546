/* phrases_keys.c - what the phrases are found by in a scan. See phrases.h.
 *
 * A phrase of one token is found by that token, a longer one by two neighbours: by those that the fewest
 * phrases have in common, else "of the" is met in every other caption, and many phrases are compared there
 * for nothing; among these the pair of most bytes, which are rarer in texts. (Frequencies counted in captions
 * would find a pair that is met 5 % less often.) */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "search/phrases.h"

/* 8 KiB of bits at least; up to a thousand phrases so much that one token in a hundred meets a bit of another
 * one. 10,000 phrases: 32 KiB, which the first cache holds, and a token or pair in 26 meets a bit. */
enum { MIN_LOG_WORDS = 10, BITS_A_KEY = 20 };

/* A walk over the neighbours of a phrase. */
typedef struct pair {
    size_t at, bytes; /* of both tokens, in the phrase */
    uint32_t hash, second_hash;
    size_t second; /* where the second one starts */
} pair;

static size_t token_bytes(const npr_phrase *f, size_t at)
{
    return (size_t)((const char *)memchr(f->text + at, ' ', f->bytes - at) - f->text) - at;
}

static uint32_t token_hash(const npr_phrase *f, size_t at)
{
    return npr_token_hash(npr_token_eight(f->text + at, f->bytes - at));
}

/* To the next pair, from a zeroed one to the first; 0 = there is none. */
static int next_pair(const npr_phrase *f, pair *p)
{
    uint32_t before = p->second_hash;
    p->at = p->second;
    if (p->second == 0) {
        size_t n = token_bytes(f, 0);
        before = token_hash(f, 0);
        p->second = n + 1;
    } else {
        p->second += token_bytes(f, p->second) + 1;
    }
    if (p->second == f->bytes) return 0;
    size_t n = token_bytes(f, p->second);
    p->second_hash = token_hash(f, p->second);
    p->hash = npr_pair_hash(before, p->second_hash);
    p->bytes = p->second + n - p->at;
    return 1;
}

/* How many phrases have a pair, by the upper bits of its hash. */
typedef struct counts {
    uint32_t *count;
    int shift;
} counts;

static npr_phrase_line make_line(const npr_phrases *p, int32_t i, const counts *c)
{
    const npr_phrase *f = &p->phrase[i];
    pair at = {0}, best = {0};
    while (next_pair(f, &at)) {
        uint32_t n = c->count[at.hash >> c->shift], least = best.bytes ? c->count[best.hash >> c->shift] : 0;
        if (best.bytes == 0 || n < least || (n == least && at.bytes > best.bytes)) best = at;
    }
    uint32_t hash = best.bytes ? best.hash : token_hash(f, 0);
    npr_phrase_line line = {.hash = hash,
                            .bit = hash >> p->keys.shift << 6 | hash % 64,
                            .bytes = (uint32_t)f->bytes + 1,
                            .back = (uint32_t)best.at + 1,
                            .phrase = i,
                            .label = p->owner[f->owner],
                            .owners = f->owners};
    memcpy(line.text, f->text - 1, line.bytes < sizeof line.text ? line.bytes : sizeof line.text);
    return line;
}

static int by_bit(const void *va, const void *vb)
{
    const npr_phrase_line *a = va, *b = vb;
    if (a->bit != b->bit) return a->bit < b->bit ? -1 : 1;
    return (a->phrase > b->phrase) - (a->phrase < b->phrase);
}

static npr_status count_pairs(const npr_phrases *p, counts *c)
{
    int bits = 16;
    while (((size_t)1 << bits) < 16 * (size_t)p->count && bits < 30) bits++;
    c->shift = 32 - bits;
    if (!(c->count = npr_alloc((size_t)1 << bits, sizeof *c->count, "pairs of tokens"))) return npr_last();
    for (int32_t i = 0; i < p->count; i++)
        for (pair at = {0}; next_pair(&p->phrase[i], &at);) c->count[at.hash >> c->shift]++;
    return NPR_OK;
}

/* Each bit that a line has gets a slot, lines being in the order of bits. */
static void make_slots(npr_phrase_keys *k, uint32_t n, uint32_t words)
{
    uint32_t slots = 0, word = 0;
    for (uint32_t i = n; i-- > 0;)
        k->line[i].together =
            i + 1 < n && k->line[i + 1].bit == k->line[i].bit ? k->line[i + 1].together + 1 : 1;
    for (uint32_t i = 0; i < n; i += (uint32_t)k->line[i].together) {
        const npr_phrase_line *line = &k->line[i];
        while (word <= line->bit / 64) k->rank[word++] = slots;
        k->bits[line->bit / 64] |= UINT64_C(1) << (line->bit % 64);
        k->slot[slots] = (npr_phrase_slot){line->hash, i};
        for (int32_t j = 1; j < line->together; j++)
            if (line[j].hash != line->hash) k->slot[slots].first = i | NPR_SLOT_MIXED;
        slots++;
    }
    while (word < words) k->rank[word++] = slots;
}

npr_status npr_phrases_make_keys(npr_phrases *p)
{
    npr_phrase_keys *k = &p->keys;
    counts c = {0};
    uint32_t n = (uint32_t)p->count, words = 1 << MIN_LOG_WORDS;
    k->shift = 32 - MIN_LOG_WORDS;
    for (; (uint64_t)words * 64 < (uint64_t)n * BITS_A_KEY && k->shift > 8; words *= 2) k->shift--;
    k->bits = npr_alloc(words, sizeof *k->bits, "keys of phrases");
    k->rank = npr_alloc(words, sizeof *k->rank, "keys of phrases");
    k->slot = npr_alloc(n, sizeof *k->slot, "keys of phrases");
    k->line = npr_alloc_aligned(n, sizeof *k->line, "keys of phrases");
    if (!k->bits || !k->rank || !k->slot || !k->line) return npr_last();
    NPR_TRY(count_pairs(p, &c));
    for (int32_t i = 0; i < p->count; i++) k->line[i] = make_line(p, i, &c);
    free(c.count);
    qsort(k->line, n, sizeof *k->line, by_bit);
    make_slots(k, n, words);
    return NPR_OK;
}

void npr_phrases_free_keys(npr_phrases *p)
{
    free(p->keys.bits);
    free(p->keys.rank);
    free(p->keys.slot);
    free(p->keys.line);
}
