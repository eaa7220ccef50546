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

/* One distinct phrase: "tok tok " (a space behind every token), and the classes it stands for. */
typedef struct npr_phrase {
    const char *text;
    size_t bytes;
    int32_t owner, owners; /* classes: owner[owner .. owner + owners) of the table */
    int32_t next;          /* next phrase of the same slot, -1 = none */
} npr_phrase;

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
    /* Two tables: phrases of one token by that token, longer ones by their first two. Keyed by the first
     * token alone, 10,000 names make long chains (0.1 GB/s instead of 0.7). */
    uint32_t slot_mask, bit_mask;
    int32_t *slot[2];  /* first phrase of a slot, -1 = none */
    uint64_t *bits[2]; /* a bit for every hash there is, 16 or more a phrase: small enough for the caches */
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

/* Hash of one token, which may be empty, and of two tokens one after the other. Reads 8 bytes at `token` only
 * if `room` allows. No branch depends on the length. */
static inline uint32_t npr_token_hash(const char *token, size_t n, size_t room)
{
    uint64_t v = 0;
    if (room >= sizeof v)
        __builtin_memcpy(&v, token, sizeof v);
    else
        __builtin_memcpy(&v, token, n < sizeof v ? n : sizeof v);
    v &= ((UINT64_C(1) << (8 * (n & 7))) - 1) | (UINT64_C(0) - (uint64_t)(n > 7));
    v = (v ^ n) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(v >> 32);
}
static inline uint32_t npr_pair_hash(uint32_t first, uint32_t second)
{
    return (uint32_t)(((uint64_t)first << 32 | second) * UINT64_C(0xd1342543de82ef95) >> 32);
}

#endif
