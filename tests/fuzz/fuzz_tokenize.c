/* fuzz_tokenize.c - bytes as a text, behind one byte that gives the context: start, tokens below the size of
 * the vocabulary, the end, zeros. */
#include <string.h>

#include "fuzz/memory_file.h"
#include "npr/clip.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum { MERGES = 6, VOCAB = 514 + MERGES, LONGEST = 80 };

static const char merges[] = "#version: 0.2\na b\nab c\na b</w>\nt h\nth e</w>\nb c\n";

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static npr_tokenizer *t;
    int32_t ids[LONGEST];
    if (!t && npr_tokenizer_open(memory_file(merges, sizeof merges - 1), VOCAB, &t)) abort();
    if (n == 0) return 0;
    int context = 2 + bytes[0] % (LONGEST - 2), end = 1;
    if (npr_tokenizer_encode(t, (const char *)bytes + 1, n - 1, context, ids) || ids[0] != VOCAB - 2) abort();
    for (int i = 1; i < context; i++) {
        if (ids[i] < 0 || ids[i] >= VOCAB) abort();
        if (ids[i] == VOCAB - 1) end = i;
    }
    if (ids[end] != VOCAB - 1) abort();
    for (int i = end + 1; i < context; i++)
        if (ids[i] != 0) abort();
    return 0;
}
