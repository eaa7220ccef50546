/* phrases_block.c - tokens and pairs of tokens that are keys of phrases. See phrases_block.h. */
#include "search/caption/phrases_block.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* Functions that become part of others, and are made for their CPU. */
#define INLINE static inline __attribute__((always_inline))
/* Scalars gathered into vectors only to be stored cost more than they save. */
#define STORE(to, x) (*(volatile uint16_t *)&(to) = (uint16_t)(x))

enum {
    STARTS = 12,  /* of tokens, written for 64 bytes at a time */
    HITS = 4,     /* written at a time */
    AHEAD = 4096, /* bytes fetched ahead of their use */
    BEHIND = 80   /* bytes that may be read behind a block: the eight at a token that is none */
};

void npr_block_begin(npr_block *b, const npr_phrase_keys *keys, const char *text, size_t begin, size_t end)
{
    memset(b->start, 0, sizeof b->start);
    memset(b->hash, 0, sizeof b->hash); /* no token stands before the first */
    b->keys = keys;
    b->text = text;
    b->begin = begin;
    b->end = end;
    b->tokens = 0;
}

/* ---- for any CPU ---- */

/* The spaces of 64 bytes as bits: eight at a time, a byte is a space if its difference from one is zero. */
INLINE uint64_t spaces_portable(const char *bytes)
{
    const uint64_t high = NPR_TOKEN_ONES << 7;
    uint64_t m = 0;
    for (int i = 0; i < 8; i++) {
        uint64_t v;
        memcpy(&v, bytes + 8 * i, sizeof v);
        v ^= NPR_TOKEN_ONES * ' ';
        uint64_t zero = ~(((v & ~high) + ~high) | v) & high; /* exact: no carry leaves a byte */
        m |= ((zero >> 7) * UINT64_C(0x0102040810204080) >> 56) << (8 * i);
    }
    return m;
}

/* Behind each space, but for one behind which another one stands, a token starts: from start[1] on. */
INLINE int starts_portable(const uint64_t *mask, uint16_t *start)
{
    int n = 0;
    for (int w = 0; w < NPR_BLOCK_WORDS; w++)
        for (uint64_t left = mask[w] & ~(mask[w] >> 1); left; left &= left - 1)
            start[++n] = (uint16_t)(64 * w + __builtin_ctzll(left) + 1);
    return n;
}

/* Of the tokens 1 .. n. Close to the end of the text `careful` reads no further. */
INLINE void hash_portable(npr_block *b, int careful)
{
    const char *text = b->text + b->at;
    for (int i = 1; i <= b->tokens; i++) {
        uint64_t eight;
        if (careful)
            eight = npr_token_eight(text + b->start[i], b->end - b->at - b->start[i]);
        else
            memcpy(&eight, text + b->start[i], sizeof eight);
        b->hash[i] = npr_token_hash(eight);
    }
}

/* List what the words let pass: 2 * i - 2 is token i and the one before, 2 * i - 1 it alone. Returns how
 * many. */
INLINE int hits_portable(npr_block *b)
{
    const npr_phrase_keys *k = b->keys;
    uint32_t before = k->word[b->hash[0] >> k->word_shift];
    int hits = 0;
    for (int i = 1; i <= b->tokens; i++) {
        uint32_t pair = npr_pair_hash(b->hash[i - 1], b->hash[i]),
                 word = k->word[b->hash[i] >> k->word_shift];
        b->hit[hits] = (uint16_t)(2 * i - 2);
        hits += (before & npr_word_first(k, pair)) && (word & npr_word_second(k, pair));
        b->hit[hits] = (uint16_t)(2 * i - 1);
        hits += (word & npr_word_alone(k, b->hash[i])) != 0;
        before = word;
    }
    return hits;
}

/* The hash of a token, or of it and the one before. */
INLINE uint32_t key_of(const npr_block *b, uint32_t hit)
{
    uint32_t is_pair = (hit & 1) - 1; /* all bits, or none */
    return npr_pair_hash(b->hash[hit / 2] & is_pair, b->hash[hit / 2 + 1]);
}

/* Ask for what will be compared, before it is. */
INLINE void fetch_lines(const npr_block *b, int candidates)
{
    const npr_phrase_keys k = *b->keys;
    int more = 0;
    uint32_t slot[2 * (NPR_BLOCK_TOKENS + NPR_BLOCK_SPARE)];
    for (int c = 0; c < candidates; c++) {
        slot[more] = b->slot[b->candidate[c]];
        __builtin_prefetch(&k.line[slot[more]]);
        more += k.slot[slot[more]].back >= NPR_PHRASE_MORE;
    }
    for (int i = 0; i < more; i++) __builtin_prefetch(&k.rest[slot[i]]);
    for (int i = 0; i < more; i++) {
        uint32_t other = k.rest[slot[i]].other;
        __builtin_prefetch(&k.line[other]);
        __builtin_prefetch(&k.rest[other]);
    }
}

/* List the slots of what has passed. All are found before one is looked at: no load waits behind a
 * store whose place depends on an earlier load. */
INLINE int list_candidates(npr_block *b, int hits)
{
    const npr_phrase_keys k = *b->keys;
    int n = 0;
    for (int h = 0; h < hits; h++) {
        b->key[h] = key_of(b, b->hit[h]);
        b->slot[h] = npr_phrase_find_slot(&k, b->key[h]);
    }
    for (int h = 0; h < hits; h++) {
        uint32_t tag = k.slot[b->slot[h]].tag, other = tag ^ (uint16_t)b->key[h];
        b->candidate[n] = (uint16_t)h;
        n += tag * other < 1; /* either is zero */
    }
    fetch_lines(b, n);
    return n;
}

#define KERNEL(name, features, spaces, starts, hashes, hits)                                                 \
    features static int name(npr_block *b, size_t at)                                                        \
    {                                                                                                        \
        uint64_t mask[NPR_BLOCK_WORDS];                                                                      \
        char tail[NPR_BLOCK];                                                                                \
        const char *bytes = b->text + at;                                                                    \
        size_t left = b->end - at;                                                                           \
        if (left < NPR_BLOCK) {                                                                              \
            memset(tail, 0, sizeof tail);                                                                    \
            memcpy(tail, bytes, left);                                                                       \
            bytes = tail;                                                                                    \
        }                                                                                                    \
        b->at = at;                                                                                          \
        b->hash[0] = b->hash[b->tokens];                                                                     \
        for (int w = 0; w < NPR_BLOCK_WORDS; w++) mask[w] = spaces(bytes + 64 * w);                          \
        b->tokens = starts(mask, b->start);                                                                  \
        hashes(b, left < NPR_BLOCK + BEHIND);                                                                \
        return list_candidates(b, hits(b));                                                                  \
    }

KERNEL(block_portable, , spaces_portable, starts_portable, hash_portable, hits_portable)

/* ---- eight at a time ---- */

#if defined(__x86_64__)
#define AVX2   __attribute__((target("avx2,bmi,bmi2,popcnt")))
#define AVX512 __attribute__((target("avx512f,avx512bw,avx2,bmi,bmi2,popcnt")))

AVX2 static inline uint64_t spaces_avx2(const char *bytes)
{
    const __m256i space = _mm256_set1_epi8(' ');
    __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)bytes);
    __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(bytes + 32));
    uint32_t low = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(a, space));
    uint32_t high = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(b, space));
    return (uint64_t)high << 32 | low;
}

AVX512 static inline uint64_t spaces_avx512(const char *bytes)
{
    return _mm512_cmpeq_epi8_mask(_mm512_loadu_si512(bytes), _mm512_set1_epi8(' '));
}

/* The number of the lowest bit, 64 if there is none. In words because compilers clear the result before. */
AVX2 static inline uint32_t first_bit(uint64_t x)
{
    uint64_t i;
    __asm__("tzcnt %1, %0" : "=r"(i) : "r"(x) : "cc");
    return (uint32_t)i;
}

/* As starts_portable(); without a branch that depends on how many there are, those too many are written over.
 */
AVX2 static inline int starts_avx2(const uint64_t *mask, uint16_t *start)
{
    uint16_t *to = start + 1;
    uint32_t at = 1;
    for (int w = 0; w < NPR_BLOCK_WORDS; w++, at += 64) {
        uint64_t left = mask[w] & ~(mask[w] >> 1);
        int n = __builtin_popcountll(left);
        for (int i = 0; i < STARTS; i++, left &= left - 1) STORE(to[i], at + first_bit(left));
        for (int i = STARTS; i < n; i++, left &= left - 1) STORE(to[i], at + first_bit(left));
        to += n;
    }
    return (int)(to - start) - 1;
}

/* Eight bytes at each of two places. */
AVX2 static inline __m128i load_two(const char *text, const uint16_t *at)
{
    __m128 first = _mm_castsi128_ps(_mm_loadl_epi64((const __m128i *)(const void *)(text + at[0])));
    return _mm_castps_si128(_mm_loadh_pi(first, (const __m64 *)(const void *)(text + at[1])));
}

/* Of four tokens what npr_token_hash() adds up, two numbers for each. */
AVX2 static inline __m256i products(__m128i low, __m128i high)
{
    const __m256i one = _mm256_set1_epi64x(1), mul = _mm256_set1_epi64x((long long)NPR_TOKEN_MUL);
    __m256i eight = _mm256_set_m128i(high, low);
    __m256i space = _mm256_cmpeq_epi8(eight, _mm256_set1_epi8(' '));
    __m256i token = _mm256_and_si256(eight, _mm256_xor_si256(space, _mm256_sub_epi64(space, one)));
    return _mm256_mullo_epi32(token, mul);
}

/* Eight tokens at a time, and up to seven that are none. */
AVX2 static inline void hash_avx2(npr_block *b, int careful)
{
    const char *text = b->text + b->at;
    const uint16_t *start = b->start;
    if (careful) {
        hash_portable(b, 1);
        return;
    }
    for (int i = 1; i <= b->tokens; i += 8) {
        __builtin_prefetch((const void *)((uintptr_t)text + start[i] + AHEAD)); /* may lie behind the text */
        __m256i sums =
            _mm256_hadd_epi32(products(load_two(text, start + i), load_two(text, start + i + 4)),
                              products(load_two(text, start + i + 2), load_two(text, start + i + 6)));
        _mm256_storeu_si256((__m256i *)(void *)(b->hash + i), sums);
    }
}

/* The words of eight tokens. They are loaded one by one, and their places by way of memory: faster, where it
 * was measured, than gathering, and than taking places out of a vector. */
AVX2 static inline __m256i words_of(const uint32_t *word, __m256i hash, __m128i shift)
{
    uint32_t at[8];
    _mm256_storeu_si256((__m256i *)(void *)at, _mm256_srl_epi32(hash, shift));
    return _mm256_setr_epi32((int)word[at[0]], (int)word[at[1]], (int)word[at[2]], (int)word[at[3]],
                             (int)word[at[4]], (int)word[at[5]], (int)word[at[6]], (int)word[at[7]]);
}

/* Eight bits: the highest ones of these numbers. */
AVX2 static inline uint32_t highest(__m256i x)
{
    return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(x));
}

/* Which of eight tokens, and of the pairs that they end, pass: two bits a token, in the order of hits. Bits
 * that are asked of a word are moved to its highest place. `before`: words of the tokens before. */
AVX2 static inline uint16_t ask_eight(__m256i word, __m256i before, __m256i hash, __m256i pair,
                                      uint32_t alone, __m128i shift)
{
    const __m256i last = _mm256_set1_epi32(31), low = _mm256_set1_epi32(0xffff);
    const __m256i from = _mm256_set1_epi32((int)(32 - alone)),
                  of_pairs = _mm256_set1_epi16((short)(32 - alone));
    __m256i up = _mm256_and_si256(_mm256_or_si256(_mm256_srl_epi32(hash, shift), from), last);
    __m256i ups = _mm256_mulhi_epu16(pair, of_pairs);
    __m256i first = _mm256_sllv_epi32(before, _mm256_and_si256(ups, low));
    __m256i second = _mm256_sllv_epi32(word, _mm256_srli_epi32(ups, 16));
    uint32_t pairs = highest(_mm256_and_si256(first, second)), tokens = highest(_mm256_sllv_epi32(word, up));
    return (uint16_t)(_pdep_u32(pairs, 0x5555) | _pdep_u32(tokens, 0xaaaa));
}

/* As hits_portable(). */
AVX2 static inline int hits_avx2(npr_block *b)
{
    const npr_phrase_keys k = *b->keys;
    const __m128i word_shift = _mm_cvtsi32_si128(k.word_shift), shift = _mm_cvtsi32_si128(k.word_shift - 5);
    uint16_t asked[(NPR_BLOCK_TOKENS + NPR_BLOCK_SPARE) / 8]; /* of each eight tokens */
    int hits = 0, n = b->tokens, g = 0;
    __m256i last = _mm256_set1_epi32((int)k.word[b->hash[0] >> k.word_shift]);
    for (int i = 0; i < n; i += 8, g++) {
        __m256i one = _mm256_loadu_si256((const __m256i *)(const void *)(b->hash + i));
        __m256i hash = _mm256_loadu_si256((const __m256i *)(const void *)(b->hash + i + 1));
        __m256i pair = _mm256_add_epi32(_mm256_add_epi32(one, one), hash); /* npr_pair_hash() */
        __m256i word = words_of(k.word, hash, word_shift);
        __m256i before = _mm256_alignr_epi8(word, _mm256_permute2x128_si256(last, word, 0x21), 12);
        asked[g] = ask_eight(word, before, hash, pair, k.alone, shift);
        last = word;
    }
    memset(asked + g, 0, 8);
    if (n % 8) asked[g - 1] &= (uint16_t)((1 << 2 * (n % 8)) - 1); /* behind the last token */
    for (int i = 0; i < g; i += 4) {
        uint64_t left;
        memcpy(&left, asked + i, sizeof left);
        uint16_t *to = b->hit + hits;
        hits += __builtin_popcountll(left);
        while (left)
            for (int j = 0; j < HITS; j++, left &= left - 1) STORE(*to++, 16 * i + (int)first_bit(left));
    }
    return hits;
}

KERNEL(block_avx2, AVX2, spaces_avx2, starts_avx2, hash_avx2, hits_avx2)
KERNEL(block_avx512, AVX512, spaces_avx512, starts_avx2, hash_avx2, hits_avx2)
#endif

npr_block_kernel *npr_block_kernel_at(int i, const char **name)
{
#if defined(__x86_64__)
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
    if (avx2 && __builtin_cpu_supports("avx512bw") && i-- == 0) return *name = "avx512", block_avx512;
    if (avx2 && i-- == 0) return *name = "avx2", block_avx2;
#endif
    if (i == 0) return *name = "portable", block_portable;
    return NULL;
}
