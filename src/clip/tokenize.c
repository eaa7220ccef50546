/* tokenize.c - texts as tokens of CLIP: cleaned, split into words, each cut by the vocabulary. See
 * npr/clip.h; the patterns are those of OpenAI's simple tokenizer as open_clip 2.22 has it. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "clip/clean.h"
#include "clip/vocabulary.h"
#include "npr/clip.h"

struct npr_tokenizer {
    npr_vocabulary v;
};

npr_status npr_tokenizer_open(const char *path, int vocab, npr_tokenizer **out)
{
    npr_tokenizer *t = npr_alloc(1, sizeof *t, "a tokenizer");
    if (!t) return npr_last();
    npr_status st = npr_vocabulary_read(path, vocab, &t->v);
    if (st)
        npr_tokenizer_close(t);
    else
        *out = t;
    return st;
}

void npr_tokenizer_close(npr_tokenizer *t)
{
    if (!t) return;
    npr_vocabulary_free(&t->v);
    free(t);
}

/* ---- words --------------------------------------------------------------------------------------------- */

/* Do the characters at c begin with a text in lower case? Where case does not matter, the long s is an s. */
static int begins(const uint32_t *c, size_t n, const char *text)
{
    size_t i = 0;
    for (; text[i]; i++)
        if (i == n || !(c[i] == (unsigned char)text[i] || (text[i] == 's' && c[i] == 0x17f))) return 0;
    return 1;
}

/* The two tokens that can be written out, and how English shortens words. */
static const char *const special[] = {"<start_of_text>", "<end_of_text>"};
static const char *const endings[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};

static size_t find_fixed(const uint32_t *c, size_t n, const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (begins(c, n, texts[i])) return strlen(texts[i]);
    return 0;
}

/* The word at c: letters, or one digit, or neither (no spaces); its length, 0 if none begins there. */
static size_t word_length(const uint32_t *c, size_t n)
{
    size_t length = 0;
    npr_char_kind kind = npr_char_kind_of(c[0]);
    if (c[0] == '<' && (length = find_fixed(c, n, special, 2))) return length;
    if (c[0] == '\'' && (length = find_fixed(c, n, endings, sizeof endings / sizeof *endings))) return length;
    if (kind == NPR_CHAR_SPACE || kind == NPR_CHAR_NONE) return 0;
    if (kind == NPR_CHAR_NUMBER) return 1;
    for (length = 1; length < n && npr_char_kind_of(c[length]) == kind; length++) {
    }
    return length;
}

/* ---- tokens -------------------------------------------------------------------------------------------- */

typedef struct encoding {
    const npr_vocabulary *v;
    npr_word_work work;
    unsigned char *word; /* the word in UTF-8 */
    size_t word_cap;
    int32_t *out;
    int n, room; /* tokens so far, at most */
} encoding;

static void put_token(encoding *e, int32_t id)
{
    if (e->n < e->room) e->out[e->n++] = id;
}

static npr_status put_word(encoding *e, const uint32_t *c, size_t length)
{
    size_t n = 0, count = 0;
    NPR_TRY(npr_grow(&e->word, &e->word_cap, 4 * length, 1, "a word"));
    for (size_t i = 0; i < length; i++) n += npr_utf8_put(c[i], e->word + n);
    for (int i = 0; i < 2; i++) {
        if (n != strlen(special[i]) || memcmp(e->word, special[i], n) != 0) continue;
        put_token(e, e->v->vocab - 2 + i);
        return NPR_OK;
    }
    int32_t symbol = npr_vocabulary_find(e->v, e->word, n, 1);
    if (symbol >= 0 && e->v->symbol[symbol].whole) {
        put_token(e, e->v->symbol[symbol].id);
        return NPR_OK;
    }
    NPR_TRY(npr_word_split(e->v, &e->work, e->word, n, &count));
    for (size_t i = 0; i < count; i++) put_token(e, e->v->symbol[e->work.symbol[i]].id);
    return NPR_OK;
}

npr_status npr_tokenizer_encode(const npr_tokenizer *t, const char *text, size_t n, int context, int32_t *out)
{
    if (context < 1) return npr_fail(NPR_EINTERNAL, "a context of %d tokens", context);
    npr_ucs clean = {0};
    encoding e = {.v = &t->v, .out = out, .room = context > 1 ? context - 1 : 0};
    npr_status st = npr_text_clean(text, n, &clean);
    memset(out, 0, (size_t)context * sizeof *out);
    put_token(&e, t->v.vocab - 2);
    for (size_t i = 0, length; !st && i < clean.n && e.n < e.room; i += length ? length : 1)
        if ((length = word_length(clean.c + i, clean.n - i)) > 0) st = put_word(&e, clean.c + i, length);
    out[e.n] = t->v.vocab - 1;
    free(clean.c);
    free(e.word);
    npr_word_work_free(&e.work);
    return st;
}
