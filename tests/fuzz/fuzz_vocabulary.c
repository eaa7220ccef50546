/* fuzz_vocabulary.c - bytes as the file of a vocabulary, behind one byte that says how many merges the model
 * has. A vocabulary that is taken must be usable: its tokens are numbers below its size, whatever the word.
 */
#include <string.h>

#include "clip/vocabulary.h"
#include "fuzz/memory_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void split(const npr_vocabulary *v, const uint8_t *word, size_t n)
{
    npr_word_work w = {0};
    size_t count = 0, length = 0;
    if (npr_word_split(v, &w, word, n, &count)) abort();
    for (size_t i = 0; i < count; i++) {
        const npr_symbol *s = &v->symbol[w.symbol[i]];
        if (w.symbol[i] < 0 || w.symbol[i] >= v->symbols || s->id < 0 || s->id >= v->vocab - 2) abort();
        if (memcmp(v->arena + s->at, word + length, s->bytes) != 0 || s->ends_word != (i + 1 == count))
            abort();
        length += s->bytes;
    }
    if (length != n) abort();
    npr_word_work_free(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    npr_vocabulary v = {0};
    if (n == 0) return 0;
    if (npr_vocabulary_read(memory_file(bytes + 1, n - 1), NPR_VOCAB_FIXED + bytes[0] % 16, &v) == NPR_OK) {
        split(&v, bytes, n);
        split(&v, (const uint8_t *)"ababcabcabcab", 13);
    }
    npr_vocabulary_free(&v);
    return 0;
}
