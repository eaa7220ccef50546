/* vocabulary.h - a byte-pair vocabulary in OpenAI's format, and words cut into its tokens. Local.
 *
 * A symbol is a sequence of bytes, or one that ends a word (written with </w>): the 256 bytes, the 256 bytes
 * that end a word, then what each merge makes of two symbols. In the file, bytes that do not print are
 * written as other characters. Method: Sennrich et al., Neural Machine Translation of Rare Words with Subword
 * Units, 2016; bytes as symbols: Radford et al., Language Models are Unsupervised Multitask Learners, 2019.
 */
#ifndef NPR_CLIP_VOCABULARY_H
#define NPR_CLIP_VOCABULARY_H

#include <stddef.h>
#include <stdint.h>

#include "npr/status.h"

enum { NPR_VOCAB_FIXED = 512 + 2, NPR_VOCAB_MAX = 1 << 22 }; /* tokens that are no merges; tokens at most */

typedef struct npr_symbol {
    uint32_t at, bytes; /* text in the arena */
    uint8_t ends_word;  /* 1: "</w>" */
    uint8_t whole;      /* 1: the bytes, as a word, become this one token */
    int32_t id;         /* token */
} npr_symbol;

/* A merge: these two symbols, the earlier the line the sooner, become one. */
typedef struct npr_merge {
    int32_t left, right, made;
} npr_merge;

/* A slot of a table: key and value lie together, as a look-up costs what it misses in the cache. */
typedef struct npr_slot {
    uint64_t key;
    int32_t value; /* -1 = free */
} npr_slot;

typedef struct npr_vocabulary {
    int vocab, merges;  /* vocab = NPR_VOCAB_FIXED + merges */
    npr_symbol *symbol; /* [symbols], [512 + merges] at most: two merges may make the same */
    int symbols;
    size_t symbol_cap;
    npr_merge *merge; /* [merges] in order */
    size_t merge_cap;
    unsigned char *arena;
    size_t arena_used, arena_cap;
    npr_slot *by_text, *by_pair; /* symbols by the hash of their text, merges by their pair */
    uint32_t text_mask, pair_mask;
    int32_t byte[256]; /* symbol of a byte; + 256: of a byte that ends a word */
} npr_vocabulary;

/* Read a file (gzip or plain) for a model of `vocab` tokens. v is empty (all zeros) before;
 * npr_vocabulary_free() it in any case. */
npr_status npr_vocabulary_read(const char *path, int vocab, npr_vocabulary *v);
void npr_vocabulary_free(npr_vocabulary *v);

/* The 512 symbols of single bytes; further merges; what makes it ready for use. For npr_vocabulary_read(),
 * one after the other. */
npr_status npr_vocabulary_begin(npr_vocabulary *v);
npr_status npr_vocabulary_add(npr_vocabulary *v, const char *line, size_t n, const char *path, int number);
npr_status npr_vocabulary_end(npr_vocabulary *v);

/* A symbol by its text, -1 if there is none; the first merge of two symbols, -1 if there is none. */
int32_t npr_vocabulary_find(const npr_vocabulary *v, const unsigned char *text, size_t n, int ends_word);
int32_t npr_vocabulary_pair(const npr_vocabulary *v, int32_t left, int32_t right);

/* Memory of npr_word_split(), kept from word to word; all zeros at first. */
typedef struct npr_word_work {
    int32_t *symbol, *next, *before, *rank;
    size_t symbol_cap, next_cap, before_cap, rank_cap;
    uint64_t *heap;
    size_t heap_cap, heap_n;
    int32_t *dirty;
    size_t dirty_cap, dirty_n;
} npr_word_work;
void npr_word_work_free(npr_word_work *w);

/* A word of n > 0 bytes cut into symbols w->symbol[0 .. *count): pairs are merged, the earliest in the
 * vocabulary first, all places from left to right. In time n log n. */
npr_status npr_word_split(const npr_vocabulary *v, npr_word_work *w, const unsigned char *word, size_t n,
                          size_t *count);

/* Name and version of the library that reads compressed files, for --version. */
const char *npr_vocabulary_zlib_version(void);

#endif
