/* phrases.h - class names as phrases of tokens, and the search for all of them at once in texts of tokens.
 *
 * A class file has one class a line: its name, then synonyms after tabs. Each is cut into tokens exactly as
 * captions are (npr_tokens_make), so "jack-o'-lantern" is the phrase "jack o lantern", and a caption matches
 * if these tokens stand in it one after the other: what SQLite FTS5 answers to MATCH '"jack-o''-lantern"'.
 * Local. */
#ifndef NPR_SEARCH_PHRASES_H
#define NPR_SEARCH_PHRASES_H

#include <stddef.h>
#include <stdint.h>

#include "npr/set.h"

/* One distinct phrase: "tok tok " (a space behind every token and, before text, another one), and the classes
 * it stands for. */
typedef struct npr_phrase {
    const char *text;
    size_t bytes;
    int32_t owner, owners; /* classes: owner[owner .. owner + owners) of the table */
} npr_phrase;

/* How a scan finds phrases. A key is the hash of a phrase's only token, or of two neighbours in it. A token
 * in a text has a word of 32 bits, which its hash says: few enough words to stay in the first caches. The
 * lowest bits of it are of single tokens. Each pair has one of the others in the word of its first token and
 * one in that of its second, so that one load answers for a token and for its pair with the one before; and a
 * token that half of all phrases have fills its word, but not those of its neighbours. What passes is looked
 * for among the bits of all keys: a bit that is set has a slot, found by counting the bits before it: eight
 * bytes, and half a cache line with its phrase. Further phrases of a slot stand behind those of all slots. */
enum { NPR_PHRASE_INLINE = 32 };

typedef struct npr_phrase_slot {
    int32_t label;       /* its first class */
    uint16_t tag;        /* lower half of the hash: what the bit leaves of it; 0 if a slot has several */
    uint8_t bytes, back; /* as those below, or: */
} npr_phrase_slot;
enum {
    NPR_PHRASE_NOT_HERE =
        255,              /* bytes: the phrase is longer, or of several classes; asked with the other ones */
    NPR_PHRASE_MORE = 128 /* added to back: that, or there are other phrases */
};

typedef struct npr_phrase_line {
    char text[NPR_PHRASE_INLINE]; /* " tok tok ", or how it begins */
} npr_phrase_line;

/* What is asked of phrases that are longer, of several classes, or not alone in their slot. */
typedef struct npr_phrase_rest {
    const char *text;
    uint32_t bytes; /* of the text, with the space before it; a class file has 1 GiB at most */
    uint32_t back;  /* of these, before the token at which the key is met: the second of two */
    int32_t label;
    int32_t shared; /* the phrase if it has more classes than that, or -1 */
    /* A slot's first phrase: where the others are, and how many. They are in the order of `back`, then of
     * their texts. Of these: the longest one that begins this one, or NPR_PHRASE_NONE, and how many there are
     * from here on with this `back`. */
    uint32_t other, others;
} npr_phrase_rest;
#define NPR_PHRASE_NONE UINT32_MAX

typedef struct npr_phrase_keys {
    uint32_t *word; /* [2^(32 - word_shift)] that of a token is hash >> word_shift */
    uint32_t alone; /* bits of a word that are of single tokens: 8 or 16 */
    int word_shift;
    uint64_t *bits;        /* [2^(32 - shift) / 64] bit hash >> shift; 2^16 of them at least */
    uint32_t *rank;        /* [words] bits set in the words before */
    npr_phrase_slot *slot; /* [slots] */
    npr_phrase_line *line; /* [count] of slots, then further ones */
    npr_phrase_rest *rest; /* [count] of these */
    uint32_t slots;
    int shift;
} npr_phrase_keys;

/* Bits of words. That of a token alone, if its hash is a key. */
static inline uint32_t npr_word_alone(const npr_phrase_keys *k, uint32_t hash)
{
    return UINT32_C(1) << (k->alone - 1 - (hash >> (k->word_shift - 5)) % k->alone);
}

/* Of a pair, by the hash of both: the bit in the word of its first token, and in that of its second. */
static inline uint32_t npr_word_first(const npr_phrase_keys *k, uint32_t pair)
{
    return UINT32_C(1) << (31 - ((pair & 0xffff) * (32 - k->alone) >> 16));
}
static inline uint32_t npr_word_second(const npr_phrase_keys *k, uint32_t pair)
{
    return UINT32_C(1) << (31 - ((pair >> 16) * (32 - k->alone) >> 16));
}

/* The slot of a hash, if its bit is set; else some slot. */
static inline __attribute__((always_inline)) uint32_t npr_phrase_find_slot(const npr_phrase_keys *k,
                                                                           uint32_t hash)
{
    uint32_t bit = hash >> k->shift;
    uint64_t below = k->bits[bit / 64] & ((UINT64_C(1) << bit % 64) - 1);
    uint32_t slot = k->rank[bit / 64] + (uint32_t)__builtin_popcountll(below);
    return slot < k->slots ? slot : k->slots - 1;
}

typedef struct npr_phrases {
    int classes;
    char **name;        /* [classes] the first field of each line, control bytes replaced by spaces */
    npr_phrase *phrase; /* [count] */
    int32_t count;
    int32_t *owner;       /* classes of the phrases, ascending within one */
    int64_t shared;       /* phrases of more than one class */
    int32_t shared_first; /* one of them, -1 = none */
    int64_t empty;        /* synonyms without tokens, left out */
    char *arena;          /* texts of the phrases */
    npr_phrase_keys keys;
} npr_phrases;

/* From the text of a class file. A class without any token is refused with its line's number. */
npr_status npr_phrases_make(const char *text, npr_phrases **out);
void npr_phrases_free(npr_phrases *p); /* NULL is fine */

/* A row in which a phrase of a class stands. */
typedef struct npr_match {
    int64_t row;
    int32_t label;
} npr_match;

/* Scratch memory and result of a scan. */
typedef struct npr_matches {
    npr_match *match; /* [count] in order of rows, each (row, class) once */
    size_t count, cap;
    int64_t *last; /* [classes] the row in which a class was last seen */
} npr_matches;

npr_status npr_matches_make(const npr_phrases *p, npr_matches *m);
void npr_matches_free(npr_matches *m);

/* Find the phrases in texts row0 .. row1-1 of the column "tokens"; matches replace those in m. */
npr_status npr_phrases_scan(const npr_phrases *p, const npr_text *text, int64_t row0, int64_t row1,
                            npr_matches *m);

/* Fill in p->keys; phrases_keys.c. */
npr_status npr_phrases_make_keys(npr_phrases *p);
void npr_phrases_free_keys(npr_phrases *p);

/* Hash of the token at the beginning of eight bytes: of them up to the first space. Its upper
 * bits are the better ones. */
#define NPR_TOKEN_ONES UINT64_C(0x0101010101010101)
#define NPR_TOKEN_MUL  UINT64_C(0xc2b2ae3d9e3779b1) /* for the upper four bytes, and for the lower ones */
static inline uint32_t npr_token_hash(uint64_t eight)
{
    /* the lowest bit of `space` is the lowest one of the first space, which a space does not have */
    uint64_t other = eight ^ NPR_TOKEN_ONES * ' ';
    uint64_t space = ((other - NPR_TOKEN_ONES) & ~other & NPR_TOKEN_ONES << 7) >> 7;
    uint64_t token = eight & (space ^ (space - 1));
    return (uint32_t)token * (uint32_t)NPR_TOKEN_MUL +
           (uint32_t)(token >> 32) * (uint32_t)(NPR_TOKEN_MUL >> 32);
}

/* Hash of two tokens one after the other. */
static inline uint32_t npr_pair_hash(uint32_t first, uint32_t second)
{
    return 2 * first + second;
}

/* The eight bytes at a token, or zeros behind the last of `room`. */
static inline uint64_t npr_token_eight(const char *token, size_t room)
{
    uint64_t v = 0;
    __builtin_memcpy(&v, token, room < sizeof v ? room : sizeof v);
    return v;
}

#endif
