/* test_vocabulary.c - vocabularies read from plain and gzip files, words cut by a plain reference, and files
 * that are none: every one ends in a sentence. */
#include <zlib.h>

#include "base/file.h"
#include "clip/vocabulary.h"
#include "test.h"

static char path[96];

static npr_status read_text(const char *text, size_t n, int vocab, npr_vocabulary *v)
{
    *v = (npr_vocabulary){0};
    CHECK_OK(npr_file_replace(path, text, n));
    return npr_vocabulary_read(path, vocab, v);
}

#define FAILS(text, vocab, words)                                                                            \
    do {                                                                                                     \
        npr_vocabulary v_;                                                                                   \
        CHECK_FAILS(read_text(text, sizeof text - 1, vocab, &v_), NPR_EDATA, words);                         \
        npr_vocabulary_free(&v_);                                                                            \
    } while (0)

#define HEAD "#version: 0.2\n"

static void test_wrong_files(void)
{
    FAILS("", 515, "empty: no vocabulary");
    FAILS("a b\n", 515, "line 1: wanted a comment");
    FAILS(HEAD, 515, "0 merges, the model's vocabulary of 515 tokens has 1");
    FAILS(HEAD "a b\n", 516, "1 merges, the model's vocabulary of 516 tokens has 2");
    FAILS(HEAD, 513, "514 to");
    FAILS(HEAD, 2147483647, "514 to");
    FAILS(HEAD, -1, "514 to");
    FAILS(HEAD "\n", 515, "line 2: a merge is two symbols");
    FAILS(HEAD "ab\n", 515, "line 2: a merge is two symbols");
    FAILS(HEAD "a b c\n", 515, "line 2: a merge is two symbols");
    FAILS(HEAD "a  b\n", 515, "line 2: a merge is two symbols");
    FAILS(HEAD " b\n", 515, "line 2: the symbol \"\" is empty");
    FAILS(HEAD "a </w>\n", 515, "line 2: the symbol \"</w>\" is made by no line before it");
    FAILS(HEAD "ab c\n", 515, "line 2: the symbol \"ab\" is made by no line before it");
    FAILS(HEAD "a b\na bc\n", 516, "line 3: the symbol \"bc\" is made by no line before it");
    FAILS(HEAD "a\0 b\n", 515, "stands for no byte");
    FAILS(HEAD "\xe6\xbc\xa2 b\n", 515, "stands for no byte");
    FAILS(HEAD "\xff b\n", 515, "stands for no byte");
    FAILS(HEAD "a b\na b\n", 516, "line 3: the merge \"a b\" was there before");
    FAILS(HEAD "a</w> b\n", 515, "line 2: the merge \"a</w> b\" goes on behind the end of a word");
    FAILS("\x1f\x8b\x08garbage that is no deflate stream", 515, "cannot be inflated");
}

/* Twice as long each: a symbol of 512 bytes is too long. */
static void test_long_symbols(void)
{
    char text[4096] = HEAD, symbol[1024] = "a";
    npr_vocabulary v;
    for (int i = 0; i < 9; i++) {
        size_t at = strlen(text);
        snprintf(text + at, sizeof text - at, "%s %s\n", symbol, symbol);
        memcpy(symbol + strlen(symbol), symbol, strlen(symbol) + 1 > 512 ? 0 : strlen(symbol));
    }
    CHECK_FAILS(read_text(text, strlen(text), 514 + 9, &v), NPR_EDATA, "makes a symbol that is too long");
    npr_vocabulary_free(&v);
    CHECK_OK(read_text(text, strlen(text), 514 + 8, &v));
    npr_vocabulary_free(&v);
}

/* ---- big and broken files ------------------------------------------------------------------------------ */

static void write_gzip(const char *text, size_t n, size_t zeros, char fill)
{
    static char block[1 << 16];
    gzFile f = gzopen(path, "wb6");
    memset(block, fill, sizeof block);
    CHECK(gzwrite(f, text, (unsigned)n) == (int)n);
    for (size_t i = 0; i < zeros; i += sizeof block) CHECK(gzwrite(f, block, sizeof block) == sizeof block);
    CHECK(gzclose(f) == Z_OK);
}

static void test_gzip(void)
{
    static const char text[] = HEAD "a b\nab c\r\nleft over\n";
    npr_vocabulary v = {0};
    write_gzip(text, sizeof text - 1, 0, 0);
    CHECK_OK(npr_vocabulary_read(path, 516, &v));
    CHECK_INT(v.merges, 2);
    npr_vocabulary_free(&v);

    char *bytes = NULL;
    size_t n;
    CHECK_OK(npr_file_read(path, 1 << 20, &bytes, &n));
    for (size_t cut = 3; cut < n; cut++) { /* cut anywhere, also in the checksum behind the last line */
        CHECK_OK(npr_file_replace(path, bytes, cut));
        CHECK_FAILS(npr_vocabulary_read(path, 516, &v), NPR_EDATA, "");
        npr_vocabulary_free(&v);
    }
    bytes[n - 6] ^= 1; /* the checksum itself */
    CHECK_OK(npr_file_replace(path, bytes, n));
    CHECK_FAILS(npr_vocabulary_read(path, 516, &v), NPR_EDATA, "cannot be inflated");
    npr_vocabulary_free(&v);
    free(bytes);

    write_gzip(text, sizeof text - 1, (size_t)1 << 27, '\n'); /* a bomb behind the merges, */
    CHECK_FAILS(npr_vocabulary_read(path, 516, &v), NPR_EDATA, "longer than 64 MiB");
    npr_vocabulary_free(&v);
    write_gzip(HEAD, sizeof HEAD - 1, (size_t)1 << 27, 'a'); /* and one line of 128 MiB */
    CHECK_FAILS(npr_vocabulary_read(path, 516, &v), NPR_EDATA, "line 2: longer than 1024 bytes");
    npr_vocabulary_free(&v);
    CHECK_FAILS(npr_vocabulary_read("/nowhere/x", 516, &v), NPR_ENOINPUT, "/nowhere/x");
    CHECK_FAILS(npr_vocabulary_read(test_folder(), 516, &v), NPR_ENOINPUT, "not a regular file");
}

/* ---- words --------------------------------------------------------------------------------------------- */

/* The reference's way: the earliest merge of all neighbours, at all places from left to right, again and
 * again. */
static size_t split_plainly(const npr_vocabulary *v, const char *word, int32_t *out)
{
    size_t n = strlen(word);
    for (size_t i = 0; i < n; i++) out[i] = v->byte[(unsigned char)word[i]] + (i + 1 == n ? 256 : 0);
    for (;;) {
        int32_t best = -1;
        for (size_t i = 0; i + 1 < n; i++) {
            int32_t rank = npr_vocabulary_pair(v, out[i], out[i + 1]);
            if (rank >= 0 && (best < 0 || rank < best)) best = rank;
        }
        if (best < 0) return n;
        size_t m = 0;
        for (size_t i = 0; i < n; m++) {
            int here = i + 1 < n && out[i] == v->merge[best].left && out[i + 1] == v->merge[best].right;
            out[m] = here ? v->merge[best].made : out[i];
            i += here ? 2 : 1;
        }
        n = m;
    }
}

static void compare_words(const npr_vocabulary *v, const char *letters, unsigned seed)
{
    npr_word_work w = {0};
    char word[128];
    int32_t want[128];
    for (int k = 0; k < 20000; k++) {
        size_t length = 1 + (size_t)((seed = seed * 1103515245u + 12345u) >> 16) % (k % 10 ? 12 : 100), n;
        for (size_t i = 0; i < length; i++) {
            seed = seed * 1103515245u + 12345u;
            word[i] = letters[(seed >> 16) % strlen(letters)];
        }
        word[length] = 0;
        size_t count = split_plainly(v, word, want);
        CHECK_OK(npr_word_split(v, &w, (const unsigned char *)word, length, &n));
        if (n == count && !memcmp(w.symbol, want, n * sizeof *want)) continue;
        fprintf(stderr, "another split: %s\n", word);
        test_failures++;
        break;
    }
    npr_word_work_free(&w);
}

static void test_words(void)
{
    /* "abc" is made in two ways, and what follows it by a merge between them: batches matter. */
    static const char text[] = HEAD
        "a b\nb c\nab c\nabc a\na bc\na a</w>\nb a</w>\nbc a</w>\na a\naa aa\nabca bc\nb c</w>\nbc bc</w>\n"
        "a b</w>\nab ab</w>\n";
    npr_vocabulary v = {0};
    CHECK_OK(read_text(text, sizeof text - 1, 514 + 15, &v));
    CHECK_INT(v.vocab, 529);
    CHECK_INT(npr_vocabulary_find(&v, (const unsigned char *)"abc", 3, 0), 514);
    CHECK_INT(v.symbol[514].id, 516); /* the later line's token */
    compare_words(&v, "abc", 1);
    compare_words(&v, "ab", 2);
    npr_vocabulary_free(&v);
    const char *real = test_data("clip/bpe_simple_vocab_16e6.txt.gz");
    if (!real) return;
    CHECK_OK(npr_vocabulary_read(real, 49408, &v));
    CHECK_INT(v.symbols, 512 + 48894);
    compare_words(&v, "etaoinshrdlu", 3);
    compare_words(&v, "aeiou.\xc3\xa9\xe2\x80", 4);
    npr_vocabulary_free(&v);
}

int main(void)
{
    snprintf(path, sizeof path, "%s/vocabulary", test_folder());
    test_wrong_files();
    test_long_symbols();
    test_gzip();
    test_words();
    test_folder_remove();
    return TEST_END();
}
