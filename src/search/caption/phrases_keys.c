/* phrases_keys.c - what the phrases are found by in a scan. See phrases.h.
 *
 * A phrase of one token is found by that token, a longer one by two neighbours: by those that the fewest
 * phrases have in common, else "of the" is met in every other caption, and many phrases are compared there
 * for nothing; among these the pair of most bytes, which are rarer in texts. (Frequencies counted in captions
 * would find a pair that is met 5 % less often.) */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "search/caption/phrases.h"

/* 8 KiB of bits and 16 KiB of words at least: ImageNet's 1,000 names let a token in 60 pass that is none of
 * theirs. 10,000 phrases: 32 KiB of each; the first cache holds the words. */
enum { MIN_LOG_BITS = 16, MIN_LOG_WORD_BITS = 17, BITS_A_KEY = 20 };

/* A walk over the neighbours of a phrase. */
typedef struct pair {
    size_t at, bytes; /* of both tokens, in the phrase */
    uint32_t hash, first_hash, second_hash;
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
    p->first_hash = p->second_hash;
    p->at = p->second;
    if (p->second == 0) {
        size_t n = token_bytes(f, 0);
        p->first_hash = token_hash(f, 0);
        p->second = n + 1;
    } else {
        p->second += token_bytes(f, p->second) + 1;
    }
    if (p->second == f->bytes) return 0;
    size_t n = token_bytes(f, p->second);
    p->second_hash = token_hash(f, p->second);
    p->hash = npr_pair_hash(p->first_hash, p->second_hash);
    p->bytes = p->second + n - p->at;
    return 1;
}

/* How many phrases have a pair, by the upper bits of its hash. */
typedef struct counts {
    uint32_t *count;
    int shift;
} counts;

/* What a phrase is found by. */
typedef struct found_by {
    uint32_t hash, back;    /* back is 1 where it is the phrase's only token */
    uint32_t first, second; /* hashes of the tokens of a pair */
    int32_t phrase;
} found_by;

static found_by make_key(const npr_phrases *p, int32_t i, const counts *c)
{
    const npr_phrase *f = &p->phrase[i];
    pair at = {0}, best = {0};
    while (next_pair(f, &at)) {
        uint32_t n = c->count[at.hash >> c->shift], least = best.bytes ? c->count[best.hash >> c->shift] : 0;
        if (best.bytes == 0 || n < least || (n == least && at.bytes > best.bytes)) best = at;
    }
    uint32_t hash = best.bytes ? best.hash : token_hash(f, 0);
    return (found_by){hash, (uint32_t)best.second + 1, best.first_hash, best.second_hash, i};
}

static void make_line(const npr_phrases *p, uint32_t at, const found_by *key)
{
    const npr_phrase *f = &p->phrase[key->phrase];
    npr_phrase_line *line = &p->keys.line[at];
    size_t bytes = f->bytes + 1;
    *line = (npr_phrase_line){0};
    memcpy(line->text, f->text - 1, bytes < sizeof line->text ? bytes : sizeof line->text);
    p->keys.rest[at] = (npr_phrase_rest){.text = f->text - 1,
                                         .bytes = (uint32_t)bytes,
                                         .back = key->back,
                                         .label = p->owner[f->owner],
                                         .shared = f->owners > 1 ? key->phrase : -1};
}

/* By hash, and so by bit. */
static int by_hash(const void *va, const void *vb)
{
    const found_by *a = va, *b = vb;
    if (a->hash != b->hash) return a->hash < b->hash ? -1 : 1;
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

/* Where the keys of the bit of key i end. */
static uint32_t end_of_bit(const npr_phrase_keys *k, const found_by *key, uint32_t i, uint32_t n)
{
    uint32_t bit = key[i].hash >> k->shift;
    while (i < n && key[i].hash >> k->shift == bit) i++;
    return i;
}

/* Phrases are in the order of their texts. */
static int by_back(const void *va, const void *vb)
{
    const found_by *a = va, *b = vb;
    if (a->back != b->back) return a->back < b->back ? -1 : 1;
    return (a->phrase > b->phrase) - (a->phrase < b->phrase);
}

static int begins(const npr_phrase_rest *a, const npr_phrase_rest *b)
{
    return a->bytes < b->bytes && memcmp(a->text, b->text, a->bytes) == 0;
}

/* The n further phrases of a slot, in lines from `other` on. */
static void make_others(const npr_phrases *p, found_by *key, uint32_t n, uint32_t other)
{
    npr_phrase_rest *rest = p->keys.rest + other;
    qsort(key, n, sizeof *key, by_back);
    for (uint32_t i = 0; i < n; i++) {
        make_line(p, other + i, &key[i]);
        uint32_t before = i > 0 && rest[i - 1].back == rest[i].back ? other + i - 1 : NPR_PHRASE_NONE;
        while (before != NPR_PHRASE_NONE && !begins(&p->keys.rest[before], &rest[i]))
            before = p->keys.rest[before].other;
        rest[i].other = before;
    }
    for (uint32_t i = n; i-- > 0;)
        rest[i].others = i + 1 < n && rest[i + 1].back == rest[i].back ? rest[i + 1].others + 1 : 1;
}

/* The slot of n keys, all but the first one in lines from `other` on. */
static void make_slot(const npr_phrases *p, uint32_t slot, found_by *key, uint32_t n, uint32_t other)
{
    const npr_phrase_keys *k = &p->keys;
    make_line(p, slot, key);
    npr_phrase_rest *rest = &k->rest[slot];
    int here = rest->shared < 0 && rest->bytes <= NPR_PHRASE_INLINE;
    k->slot[slot] = (npr_phrase_slot){
        .label = rest->label,
        .tag = key[0].hash == key[n - 1].hash ? (uint16_t)key->hash : 0,
        .bytes = here ? (uint8_t)rest->bytes : NPR_PHRASE_NOT_HERE,
        .back = (uint8_t)((here ? rest->back : 0) + (here && n == 1 ? 0 : NPR_PHRASE_MORE))};
    rest->other = other;
    rest->others = n - 1;
    make_others(p, key + 1, n - 1, other);
}

/* Each bit that a key has gets a slot, keys being in the order of bits. */
static void make_slots(npr_phrases *p, found_by *key, uint32_t n, uint32_t words)
{
    npr_phrase_keys *k = &p->keys;
    uint32_t word = 0, slot = 0, end;
    for (uint32_t i = 0; i < n; i = end_of_bit(k, key, i, n)) k->slots++;
    for (uint32_t i = 0, other = k->slots; i < n; i = end, slot++) {
        uint32_t bit = key[i].hash >> k->shift;
        end = end_of_bit(k, key, i, n);
        for (; word <= bit / 64; word++) k->rank[word] = slot;
        k->bits[bit / 64] |= UINT64_C(1) << bit % 64;
        make_slot(p, slot, &key[i], end - i, other);
        other += end - i - 1;
    }
    for (; word < words; word++) k->rank[word] = k->slots;
}

/* What is asked of tokens and pairs: see phrases.h. */
static npr_status make_words(npr_phrase_keys *k, const found_by *key, uint32_t n)
{
    uint32_t alone = 0;
    for (uint32_t i = 0; i < n; i++) alone += key[i].back == 1;
    k->alone = alone > n / 2 ? 16 : 8;
    k->word_shift = 5 + (k->shift < 32 - MIN_LOG_WORD_BITS ? k->shift : 32 - MIN_LOG_WORD_BITS);
    if (!(k->word = npr_alloc((size_t)1 << (32 - k->word_shift), sizeof *k->word, "keys of phrases")))
        return npr_last();
    for (uint32_t i = 0; i < n; i++) {
        uint32_t hash = key[i].hash;
        if (key[i].back == 1) {
            k->word[hash >> k->word_shift] |= npr_word_alone(k, hash);
        } else {
            k->word[key[i].first >> k->word_shift] |= npr_word_first(k, hash);
            k->word[key[i].second >> k->word_shift] |= npr_word_second(k, hash);
        }
    }
    return NPR_OK;
}

npr_status npr_phrases_make_keys(npr_phrases *p)
{
    npr_phrase_keys *k = &p->keys;
    counts c = {0};
    uint32_t n = (uint32_t)p->count, words = (1 << MIN_LOG_BITS) / 64;
    k->shift = 32 - MIN_LOG_BITS;
    for (; (uint64_t)words * 64 < (uint64_t)n * BITS_A_KEY && k->shift > 2; words *= 2) k->shift--;
    k->bits = npr_alloc(words, sizeof *k->bits, "keys of phrases");
    k->rank = npr_alloc(words, sizeof *k->rank, "keys of phrases");
    k->slot = npr_alloc_aligned(n, sizeof *k->slot, "keys of phrases");
    k->line = npr_alloc_aligned(n, sizeof *k->line, "keys of phrases");
    k->rest = npr_alloc_aligned(n, sizeof *k->rest, "keys of phrases");
    found_by *key = npr_alloc(n, sizeof *key, "keys of phrases");
    npr_status st =
        k->bits && k->rank && k->slot && k->line && k->rest && key ? count_pairs(p, &c) : npr_last();
    if (!st) {
        for (int32_t i = 0; i < p->count; i++) key[i] = make_key(p, i, &c);
        qsort(key, n, sizeof *key, by_hash);
        make_slots(p, key, n, words);
        st = make_words(k, key, n);
    }
    free(c.count);
    free(key);
    return st;
}

void npr_phrases_free_keys(npr_phrases *p)
{
    free(p->keys.word);
    free(p->keys.bits);
    free(p->keys.rank);
    free(p->keys.slot);
    free(p->keys.line);
    free(p->keys.rest);
}
