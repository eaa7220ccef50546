/* unicode.h - a text as code points, and what Unicode says of them, over utf8proc (unicode.c is its home).
 * What depends on Unicode's version is that of the library at hand: 15.0 with Debian 12's utf8proc 2.8.
 * Local. */
#ifndef NPR_CLIP_UNICODE_H
#define NPR_CLIP_UNICODE_H

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "npr/status.h"

enum { NPR_REPLACEMENT = 0xfffd }; /* stands for what could not be read */

/* A growing text; all zeros is an empty one. Release c with free(). */
typedef struct npr_ucs {
    uint32_t *c;
    size_t n, cap;
} npr_ucs;

/* Append one code point. */
static inline npr_status npr_ucs_put(npr_ucs *t, uint32_t c)
{
    if (t->n == t->cap) NPR_TRY(npr_grow(&t->c, &t->cap, t->n + 1, sizeof *t->c, "a text"));
    t->c[t->n++] = c;
    return NPR_OK;
}

/* Make it a copy of n code points (not of its own). */
npr_status npr_ucs_copy(npr_ucs *t, const uint32_t *c, size_t n);

/* The code point at *p (< end), and *p behind it. 0: no valid UTF-8; then *c is the replacement character and
 * *p is behind the longest part of a sequence that began well, as Unicode recommends (and Python does). */
int npr_utf8_next(const unsigned char **p, const unsigned char *end, uint32_t *c);

/* Its UTF-8, at most 4 bytes; gives their number. */
size_t npr_utf8_put(uint32_t c, unsigned char *out);

/* Kinds of characters as patterns of Python's module regex tell them apart when they ignore case: there
 * U+0345, a mark whose capital is the letter iota, is in no class and in no negated class. */
typedef enum npr_char_kind {
    NPR_CHAR_OTHER,
    NPR_CHAR_LETTER,
    NPR_CHAR_NUMBER,
    NPR_CHAR_SPACE,
    NPR_CHAR_NONE
} npr_char_kind;
npr_char_kind npr_char_kind_of(uint32_t c);

int npr_char_is_digit(uint32_t c); /* a decimal digit of any script */
int npr_char_is_space(uint32_t c); /* str.isspace of Python */
uint32_t npr_char_upper(uint32_t c);

/* Full lower case as Python's str.lower gives it: a capital sigma at the end of a word becomes a final one, a
 * dotted capital I two characters. */
npr_status npr_ucs_lower(const npr_ucs *in, npr_ucs *out);

/* The character in its normal width: those from U+FF01 to U+FFEF normalised (NFKC), others as they are. At
 * most two; gives their number. */
size_t npr_char_width(uint32_t c, uint32_t out[2]);

/* Normalisation form C. In time linear in n, however many marks are piled up. */
npr_status npr_ucs_nfc(npr_ucs *t, npr_ucs *scratch);

/* Name and version of the library of properties, for --version. */
const char *npr_ucs_version(void);

#endif
