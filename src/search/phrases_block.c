/* phrases_block.c - tokens and pairs of tokens that are keys of phrases. See phrases_block.h. */
#include "search/phrases_block.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* Functions that become part of others, and are made for their CPU. */
#define INLINE static inline __attribute__((always_inline))
/* Scalars gathered into vectors only to be stored cost more than they save. */
#define KEEP_SCALAR(x) __asm__("" : "+r"(x))

enum {
    AT_ONCE = 12,
    AHEAD = 4096
}; /* starts of tokens written for 64 bytes; bytes fetched ahead of their use */

void npr_block_begin(npr_block *b, const npr_phrase_keys *keys, const char *text, size_t begin, size_t end)
{
    b->keys = keys;
    b->text = text;
    b->begin = begin;
    b->end = end;
    b->tokens = 0;
    b->hash[0] = 0; /* no token stands before the first */
    for (size_t i = 0; i < sizeof b->start / sizeof *b->start; i++) b->start[i] = begin;
}

/* Ask the processor for a byte that may lie behind the text. */
INLINE void fetch(const char *text, size_t at)
{
    __builtin_prefetch((const void *)((uintptr_t)text + at));
}

/* ---- starts ---- */

/* Behind each space, but for one behind which another one stands, a token starts: from start[1] on. */
INLINE int list_starts(const uint64_t *mask, size_t at, size_t *start)
{
    size_t *to = start + 1;
    for (int w = 0; w < NPR_BLOCK_WORDS; w++, at += 64) {
        uint64_t left = mask[w] & ~(mask[w] >> 1);
        int n = __builtin_popcountll(left);
        for (int i = 0; i < AT_ONCE;
             i++, left &= left - 1) { /* without a branch, those too many are written over */
            size_t one = at + (size_t)__builtin_ctzll(left | UINT64_C(1) << 63) + 1;
            KEEP_SCALAR(one);
            to[i] = one;
        }
        for (int i = AT_ONCE; i < n; i++, left &= left - 1) to[i] = at + (size_t)__builtin_ctzll(left) + 1;
        to += n;
    }
    return (int)(to - start) - 1;
}

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

/* ---- hashes ---- */

/* Of the tokens 1 .. n. Close to the end of the text `careful` reads no further. */
INLINE void hash_portable(npr_block *b, int careful)
{
    for (int i = 1; i <= b->tokens; i++) {
        const char *at = b->text + b->start[i];
        uint64_t eight;
        if (careful)
            eight = npr_token_eight(at, b->end - b->start[i]);
        else
            memcpy(&eight, at, sizeof eight);
        b->hash[i] = npr_token_hash(eight);
    }
}

/* ---- keys ---- */

INLINE uint64_t ask(const npr_phrase_keys *k, uint32_t hash)
{
    return k->bits[hash >> k->shift] >> (hash % 64);
}

/* List those tokens that may be keys, alone or behind the one before; returns how many. */
INLINE int list_hits(npr_block *b)
{
    const npr_phrase_keys k = *b->keys;
    uint32_t before = b->hash[0];
    int hits = 0, n = b->tokens;
    for (int i = 1; i <= n; i++) {
        uint32_t h = b->hash[i];
        b->hit[hits] = (uint16_t)i;
        hits += (int)((ask(&k, h) | ask(&k, npr_pair_hash(before, h))) & 1);
        before = h;
    }
    return hits;
}

/* Add a hash to the n slots if its bit is set; returns how many there are then. */
INLINE int list_slot(const npr_phrase_keys *k, npr_block *b, uint32_t hash, int first, int n)
{
    uint64_t word = k->bits[hash >> k->shift], below = word & ((UINT64_C(1) << (hash % 64)) - 1);
    b->key[n] = hash;
    b->first[n] = (uint16_t)first;
    b->slot[n] = k->rank[hash >> k->shift] + (uint32_t)__builtin_popcountll(below);
    return n + (int)(word >> (hash % 64) & 1);
}

/* List the keys. All slots are found before one is looked at: no load waits behind a store whose place
 * depends on an earlier load. */
INLINE int list_candidates(npr_block *b, int hits)
{
    const npr_phrase_keys k = *b->keys;
    int slots = 0, n = 0;
    for (int h = 0; h < hits; h++) {
        int i = b->hit[h];
        slots = list_slot(&k, b, npr_pair_hash(b->hash[i - 1], b->hash[i]), i - 1, slots);
        slots = list_slot(&k, b, b->hash[i], i, slots);
    }
    for (int h = 0; h < slots; h++) {
        const npr_phrase_slot slot = k.slot[b->slot[h]];
        b->candidate[n] = (npr_candidate){b->start[b->first[h]], slot.first & ~NPR_SLOT_MIXED};
        n += (slot.hash == b->key[h]) | (slot.first >= NPR_SLOT_MIXED);
    }
    for (int c = 0; c < n; c++) __builtin_prefetch(&k.line[b->candidate[c].line]);
    return n;
}

/* ---- for each CPU ---- */

#define KERNEL(name, features, spaces, hashes)                                                               \
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
        b->start[0] = b->start[b->tokens];                                                                   \
        b->hash[0] = b->hash[b->tokens];                                                                     \
        for (int w = 0; w < NPR_BLOCK_WORDS; w++) mask[w] = spaces(bytes + 64 * w);                          \
        b->tokens = list_starts(mask, at, b->start);                                                         \
        hashes(b, left < NPR_BLOCK + sizeof(uint64_t));                                                      \
        return list_candidates(b, list_hits(b));                                                             \
    }

KERNEL(block_portable, , spaces_portable, hash_portable)

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

/* Eight bytes at each of two places. */
AVX2 static inline __m128i load_two(const char *text, const size_t *at)
{
    __m128i first = _mm_loadl_epi64((const __m128i *)(const void *)(text + at[0]));
    return _mm_unpacklo_epi64(first, _mm_loadl_epi64((const __m128i *)(const void *)(text + at[1])));
}

/* Of four tokens what npr_token_hash() adds up, two numbers for each. */
AVX2 static inline __m256i products(__m128i low, __m128i high)
{
    const __m256i above = _mm256_set1_epi8(' ' + 1), top = _mm256_set1_epi8((char)0x80);
    const __m256i one = _mm256_set1_epi64x(1), mul = _mm256_set1_epi64x((long long)NPR_TOKEN_MUL);
    __m256i eight = _mm256_set_m128i(high, low);
    __m256i space = _mm256_and_si256(_mm256_andnot_si256(eight, _mm256_sub_epi64(eight, above)), top);
    __m256i token = _mm256_and_si256(eight, _mm256_xor_si256(space, _mm256_sub_epi64(space, one)));
    return _mm256_mullo_epi32(token, mul);
}

/* Eight tokens at a time, and up to seven that are none. */
AVX2 static inline void hash_avx2(npr_block *b, int careful)
{
    const char *text = b->text;
    const size_t *start = b->start;
    if (careful) {
        hash_portable(b, 1);
        return;
    }
    for (int i = 1; i <= b->tokens; i += 8) {
        fetch(text, start[i] + AHEAD);
        __m256i sums =
            _mm256_hadd_epi32(products(load_two(text, start + i), load_two(text, start + i + 4)),
                              products(load_two(text, start + i + 2), load_two(text, start + i + 6)));
        __m256i hash = _mm256_xor_si256(sums, _mm256_srli_epi32(sums, 15));
        _mm256_storeu_si256((__m256i *)(void *)(b->hash + i), hash);
    }
}

KERNEL(block_avx2, AVX2, spaces_avx2, hash_avx2)
KERNEL(block_avx512, AVX512, spaces_avx512, hash_avx2)
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
