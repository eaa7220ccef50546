/* captions.c - a text as its tokens, byte for byte as SQLite's FTS5 tokenizer unicode61 makes them: so a
 * phrase found in the tokens is a phrase that MATCH '"..."' finds. See npr_tokens_make() in npr/source.h.
 *
 * A token is a run of token characters: letters, numbers and private use, and all that Unicode 6.1 did not
 * know. Characters are folded one by one: lower case, Latin letters without their diacritics, combining
 * diacritics dropped (they end no token, but begin none). Broken UTF-8 is read as SQLite reads it, else hits
 * would differ there. */
#include "npr/source.h"

#include "base/mem.h"
#include "io/captions_table.h"
#include "io/rows.h"

enum { INVALID = 0xfffd };

/* What ASCII becomes; a space: it separates tokens. */
static const unsigned char ascii[129] = "                                                0123456789      "
                                        " abcdefghijklmnopqrstuvwxyz      abcdefghijklmnopqrstuvwxyz     ";

/* The next code point of a text, at a byte from 0x80 on. A continuation byte that nothing announced stands
 * for itself; a leading byte takes all continuation bytes that follow, however many. */
static uint32_t decode(const unsigned char **at, const unsigned char *end)
{
    const unsigned char *p = *at;
    uint32_t c = *p++;
    if (c >= 0xc0) {
        c = c < 0xe0 ? c & 0x1f : c < 0xf0 ? c & 0x0f : c < 0xf8 ? c & 0x07 : c < 0xfc ? c & 0x03 : c & 0x01;
        if (p[-1] >= 0xfe) c = 0;
        while (p < end && (*p & 0xc0) == 0x80) c = c << 6 | (*p++ & 0x3f);
        if (c < 0x80 || (c & 0xfffff800) == 0xd800 || (c & 0xfffffffe) == 0xfffe) c = INVALID;
    }
    *at = p;
    return c;
}

static size_t encode(uint32_t c, char *out)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n; --i > 0; c >>= 6) out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(n == 2 ? 0xc0 | c : n == 3 ? 0xe0 | c : 0xf0 | (c & 0x07));
    return n;
}

static int is_in(uint32_t c, const struct separator *table, size_t n)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (table[middle].last < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && table[low].first <= c;
}

static uint32_t fold(uint32_t c)
{
    size_t low = 0, high = sizeof folds / sizeof *folds;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (folds[middle].last < c)
            low = middle + 1;
        else
            high = middle;
    }
    const struct fold *f = &folds[low];
    if (low == sizeof folds / sizeof *folds || c < f->first || (c - f->first) % f->step) return c;
    return f->to + (c - f->first) / f->step * f->rise;
}

size_t npr_tokens_room(size_t n)
{
    return 2 * n + 3; /* a stray byte 0xb5 becomes two; a space at both ends; one byte written ahead */
}

size_t npr_tokens_make(const char *text, size_t n, char *out)
{
    const unsigned char *p = (const unsigned char *)text, *end = p + n;
    size_t o = 1;
    unsigned char last = ' '; /* what stands before out + o */
    out[0] = ' ';
    while (p < end) {
        if (*p < 0x80) { /* written always, kept unless it is a space behind a space: no branch */
            unsigned char c = ascii[*p++];
            out[o] = (char)c;
            o += (c != ' ') | (last != ' ');
            last = c;
            continue;
        }
        uint32_t c = decode(&p, end);
        if (is_in(c, diacritics, sizeof diacritics / sizeof *diacritics)) {
            continue; /* inside of a token it is dropped, elsewhere a space stands already */
        } else if (is_in(c, separators, sizeof separators / sizeof *separators)) {
            out[o] = ' ';
            o += last != ' ';
            last = ' ';
        } else {
            o += encode(fold(c), out + o);
            last = 'x';
        }
    }
    if (o == 1) return 0;
    if (last != ' ') out[o++] = ' ';
    return o;
}

npr_status npr_rows_put_tokens(npr_rows *r, char **scratch, size_t *cap)
{
    size_t n;
    const char *caption = npr_text_at(&r->caption, r->n, &n);
    NPR_TRY(npr_grow(scratch, cap, npr_tokens_room(n), 1, "tokens of a caption"));
    return npr_rows_put_text(r, NPR_TOKENS, *scratch, npr_tokens_make(caption, n, *scratch));
}
