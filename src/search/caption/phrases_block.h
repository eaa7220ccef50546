/* phrases_block.h - the first pass over a text of tokens: where may a phrase stand? See phrases.h. Local.
 *
 * In blocks of 2 KiB, and in steps of which each does one thing for the whole block, so that hardly a branch
 * depends on what is read: spaces become bits, bits become starts of tokens, these become hashes, and words
 * of bits are asked of hashes and of pairs of neighbours. Only what is left is looked up. */
#ifndef NPR_SEARCH_PHRASES_BLOCK_H
#define NPR_SEARCH_PHRASES_BLOCK_H

#include "search/caption/phrases.h"

enum {
    NPR_BLOCK_WORDS = 32,
    NPR_BLOCK = 64 * NPR_BLOCK_WORDS,
    /* Every second byte starts a token, and behind the last byte of each word one may start that is empty. */
    NPR_BLOCK_TOKENS = NPR_BLOCK / 2 + NPR_BLOCK_WORDS,
    NPR_BLOCK_SPARE = 32 /* most lists are written, and read, several at a time */
};

/* The tokens of a block. Token 0 is the last one of the block before. */
typedef struct npr_block {
    const npr_phrase_keys *keys;
    const char *text;
    size_t begin, end; /* of all that is scanned, in text */
    size_t at;         /* where the block begins */
    int tokens;
    uint16_t start[1 + NPR_BLOCK_TOKENS + NPR_BLOCK_SPARE]; /* behind at */
    uint32_t hash[1 + NPR_BLOCK_TOKENS + NPR_BLOCK_SPARE];
    /* What has passed: 2 * i - 2 is token i and the one before, 2 * i - 1 it alone. Its hashes and slots. */
    uint16_t hit[2 * (NPR_BLOCK_TOKENS + NPR_BLOCK_SPARE)];
    uint32_t key[2 * (NPR_BLOCK_TOKENS + NPR_BLOCK_SPARE)];
    uint32_t slot[2 * (NPR_BLOCK_TOKENS + NPR_BLOCK_SPARE)];
    uint16_t candidate[2 * (NPR_BLOCK_TOKENS + NPR_BLOCK_SPARE)]; /* hits whose slots have their hash */
} npr_block;

/* For a block before the first one of text[begin .. end). */
void npr_block_begin(npr_block *b, const npr_phrase_keys *keys, const char *text, size_t begin, size_t end);

/* Fill in the block of the tokens that start behind the spaces among the NPR_BLOCK bytes at `at`, at or
 * before `end`. Returns the number of candidates, in the order in which they stand in the text. Reads no byte
 * behind `end`. */
typedef int npr_block_kernel(npr_block *b, size_t at);

/* The i-th way of doing so that this CPU has, the best one first, all with the same results; NULL = there is
 * none. */
npr_block_kernel *npr_block_kernel_at(int i, const char **name);

/* npr_phrases_scan() with one of them. */
npr_status npr_phrases_scan_with(npr_block_kernel *kernel, const npr_phrases *p, const npr_text *text,
                                 int64_t row0, int64_t row1, npr_matches *m);

#endif
