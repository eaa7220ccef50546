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

/* How a scan finds phrases. A key is the hash of a phrase's only token, or of two neighbours in it. One bit
 * is asked of every token and of every pair in a text: few enough bits to stay in the first caches. A bit
 * that is set has a slot, found by counting the bits before it; a slot has lines, a phrase and a cache line
 * each. */
enum { NPR_PHRASE_INLINE = 32 };
typedef struct npr_phrase_slot {
    uint32_t hash;  /* of all its phrases, unless */
    uint32_t first; /* in the table of lines; NPR_SLOT_MIXED is added if their hashes differ */
} npr_phrase_slot;
#define NPR_SLOT_MIXED UINT32_C(0x80000000)

typedef struct npr_phrase_line {
    char text[NPR_PHRASE_INLINE]; /* " tok tok ", or how it begins */
    uint32_t hash;                /* of its key */
    uint32_t bit;                 /* hash >> shift, hash % 64: the order of lines */
    uint32_t bytes;               /* of the text, with the space before it; a class file has 1 GiB at most */
    uint32_t back;                /* of these, before the key's first token */
    int32_t phrase;
    int32_t label, owners; /* its first class, and how many it has */
    int32_t together;      /* lines from here to the end of the slot */
} npr_phrase_line;

typedef struct npr_phrase_keys {
    uint64_t *bits; /* word hash >> shift, bit hash % 64 */
    uint32_t *rank; /* [words] bits set in the words before */
    npr_phrase_slot *slot;
    npr_phrase_line *line; /* [count] */
    int shift;
} npr_phrase_keys;

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

/* Hash of the token at the beginning of eight bytes: of them up to and with the first space, the smallest
 * byte that tokens know. */
#define NPR_TOKEN_ONES UINT64_C(0x0101010101010101)
#define NPR_TOKEN_MUL  UINT64_C(0xc2b2ae3d9e3779b1) /* for the upper four bytes, and for the lower ones */
static inline uint32_t npr_token_hash(uint64_t eight)
{
    /* the lowest bit of `space` is in the first one */
    uint64_t space = (eight - NPR_TOKEN_ONES * (' ' + 1)) & ~eight & NPR_TOKEN_ONES << 7;
    uint64_t token = eight & (space ^ (space - 1));
    uint32_t h =
        (uint32_t)token * (uint32_t)NPR_TOKEN_MUL + (uint32_t)(token >> 32) * (uint32_t)(NPR_TOKEN_MUL >> 32);
    return h ^ h >> 15;
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
