/* unicode.c - see unicode.h. */
#include "clip/unicode.h"

#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

npr_status npr_ucs_copy(npr_ucs *t, const uint32_t *c, size_t n)
{
    NPR_TRY(npr_grow(&t->c, &t->cap, n + 1, sizeof *t->c, "a text"));
    if (n) memcpy(t->c, c, n * sizeof *c);
    t->n = n;
    return NPR_OK;
}

/* ---- UTF-8 --------------------------------------------------------------------------------------------- */

int npr_utf8_next(const unsigned char **p, const unsigned char *end, uint32_t *c)
{
    const unsigned char *s = *p;
    unsigned lead = *s++, low = 0x80, high = 0xbf; /* bounds of the second byte */
    int more = lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
    *p = s;
    *c = lead;
    if (lead < 0x80) return 1;
    *c = NPR_REPLACEMENT;
    if (lead < 0xc2 || lead > 0xf4) return 0;
    if (lead == 0xe0) low = 0xa0;
    if (lead == 0xed) high = 0x9f; /* no surrogates */
    if (lead == 0xf0) low = 0x90;
    if (lead == 0xf4) high = 0x8f;
    uint32_t code = lead & (0x3fu >> more);
    for (; more > 0; more--) {
        if (s == end || *s < low || *s > high) {
            *p = s;
            return 0;
        }
        code = code << 6 | (*s++ & 0x3f);
        low = 0x80;
        high = 0xbf;
    }
    *p = s;
    *c = code;
    return 1;
}

size_t npr_utf8_put(uint32_t c, unsigned char *out)
{
    if (c < 0x80) {
        out[0] = (unsigned char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n; --i > 0; c >>= 6) out[i] = (unsigned char)(0x80 | (c & 0x3f));
    out[0] = (unsigned char)((n == 2 ? 0xc0 : n == 3 ? 0xe0 : 0xf0) | c);
    return n;
}

/* ---- classes ------------------------------------------------------------------------------------------- */

static utf8proc_category_t category(uint32_t c)
{
    return utf8proc_category((utf8proc_int32_t)c);
}

/* The property White_Space beyond ASCII. */
static int is_wide_space(uint32_t c)
{
    return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
           c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

int npr_char_is_space(uint32_t c)
{
    return c < 0x80 ? c == ' ' || (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x1f) : is_wide_space(c);
}

npr_char_kind npr_char_kind_of(uint32_t c)
{
    if (c < 0x80) {
        if ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') return NPR_CHAR_LETTER;
        if (c >= '0' && c <= '9') return NPR_CHAR_NUMBER;
        return c == ' ' || (c >= 9 && c <= 13) ? NPR_CHAR_SPACE : NPR_CHAR_OTHER;
    }
    if (is_wide_space(c)) return NPR_CHAR_SPACE;
    if (c == 0x345) return NPR_CHAR_NONE;
    utf8proc_category_t k = category(c);
    if (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO) return NPR_CHAR_LETTER;
    return k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO ? NPR_CHAR_NUMBER : NPR_CHAR_OTHER;
}

int npr_char_is_digit(uint32_t c)
{
    return c < 0x80 ? c >= '0' && c <= '9' : category(c) == UTF8PROC_CATEGORY_ND;
}

/* ---- case ---------------------------------------------------------------------------------------------- */

uint32_t npr_char_upper(uint32_t c)
{
    return (uint32_t)utf8proc_toupper((utf8proc_int32_t)c);
}

/* The property Cased: letters with case, and what else has the properties Other_Lowercase and Other_Uppercase
 * (those that are also ignorable do not matter here). */
static int is_cased(uint32_t c)
{
    utf8proc_category_t k = category(c);
    return k == UTF8PROC_CATEGORY_LU || k == UTF8PROC_CATEGORY_LL || k == UTF8PROC_CATEGORY_LT || c == 0xaa ||
           c == 0xba || (c >= 0x2160 && c <= 0x217f) || (c >= 0x24b6 && c <= 0x24e9) ||
           (c >= 0x1f130 && c <= 0x1f149) || (c >= 0x1f150 && c <= 0x1f169) || (c >= 0x1f170 && c <= 0x1f189);
}

/* The property Case_Ignorable: marks, formats, modifiers, and punctuation found inside of words. */
static int is_case_ignorable(uint32_t c)
{
    static const uint16_t inside[] = {0x27,   0x2e,   0x3a,   0xb7,   0x387,  0x55f,  0x5f4,  0x2018, 0x2019,
                                      0x2024, 0x2027, 0xfe13, 0xfe52, 0xfe55, 0xff07, 0xff0e, 0xff1a};
    for (size_t i = 0; i < sizeof inside / sizeof *inside; i++)
        if (inside[i] == c) return 1;
    utf8proc_category_t k = category(c);
    return k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_ME || k == UTF8PROC_CATEGORY_CF ||
           k == UTF8PROC_CATEGORY_LM || k == UTF8PROC_CATEGORY_SK;
}

/* Is the sigma at i the last letter of a word, and not the only one? */
static int is_final(const npr_ucs *t, size_t i)
{
    size_t before = i, after = i + 1;
    while (before > 0 && is_case_ignorable(t->c[before - 1])) before--;
    if (before == 0 || !is_cased(t->c[before - 1])) return 0;
    while (after < t->n && is_case_ignorable(t->c[after])) after++;
    return after == t->n || !is_cased(t->c[after]);
}

npr_status npr_ucs_lower(const npr_ucs *in, npr_ucs *out)
{
    enum { SIGMA = 0x3a3, SMALL_SIGMA = 0x3c3, FINAL_SIGMA = 0x3c2, DOTTED_I = 0x130, DOT_ABOVE = 0x307 };
    out->n = 0;
    NPR_TRY(npr_grow(&out->c, &out->cap, in->n + 1, sizeof *out->c, "a text"));
    for (size_t i = 0; i < in->n; i++) {
        uint32_t c = in->c[i];
        if (c < 0x80)
            c = c >= 'A' && c <= 'Z' ? c | 0x20 : c;
        else if (c == SIGMA)
            c = is_final(in, i) ? FINAL_SIGMA : SMALL_SIGMA;
        else
            c = (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
        NPR_TRY(npr_ucs_put(out, c));
        if (in->c[i] == DOTTED_I) NPR_TRY(npr_ucs_put(out, DOT_ABOVE));
    }
    return NPR_OK;
}

/* ---- normal forms -------------------------------------------------------------------------------------- */

size_t npr_char_width(uint32_t c, uint32_t out[2])
{
    utf8proc_int32_t to[8];
    int boundary = 0;
    out[0] = c;
    if (c < 0xff01 || c > 0xffef) return 1;
    utf8proc_ssize_t n =
        utf8proc_decompose_char((utf8proc_int32_t)c, to, 8, UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT, &boundary);
    if (n < 1 || n > 2) return 1; /* none in any Unicode so far */
    for (utf8proc_ssize_t i = 0; i < n; i++) out[i] = (uint32_t)to[i];
    return (size_t)n;
}

static unsigned combining_class(uint32_t c)
{
    return c < 0x300 ? 0 : (unsigned)utf8proc_get_property((utf8proc_int32_t)c)->combining_class;
}

/* May normalisation change c, or c with what stands before it? Marks, letters made of parts (not the
 * syllables of Hangul, which are whole unless a part follows), and parts of those syllables. */
static int may_change(uint32_t c)
{
    if (c < 0x300 || (c >= 0xac00 && c <= 0xd7a3)) return 0;
    if (c >= 0x1160 && c <= 0x11ff) return 1;
    const utf8proc_property_t *p = utf8proc_get_property((utf8proc_int32_t)c);
    return p->combining_class || p->decomp_seqindex != UINT16_MAX ||
           (p->category >= UTF8PROC_CATEGORY_MN && p->category <= UTF8PROC_CATEGORY_ME);
}

/* Sort n marks by their class, equal ones in their order. utf8proc's own sort takes quadratic time. */
static npr_status sort_marks(uint32_t *c, size_t n, npr_ucs *scratch)
{
    enum { FEW = 16 };
    if (n <= FEW) {
        for (size_t i = 1; i < n; i++) {
            uint32_t mark = c[i];
            size_t j = i;
            for (; j > 0 && combining_class(c[j - 1]) > combining_class(mark); j--) c[j] = c[j - 1];
            c[j] = mark;
        }
        return NPR_OK;
    }
    NPR_TRY(npr_ucs_copy(scratch, c, n));
    size_t place[257] = {0};
    for (size_t i = 0; i < n; i++) place[combining_class(c[i]) + 1]++;
    for (int k = 0; k < 256; k++) place[k + 1] += place[k];
    for (size_t i = 0; i < n; i++) c[place[combining_class(scratch->c[i])]++] = scratch->c[i];
    return NPR_OK;
}

static npr_status decompose(const npr_ucs *in, npr_ucs *out)
{
    out->n = 0;
    for (size_t i = 0; i < in->n; i++) {
        utf8proc_int32_t to[8];
        int boundary = 0;
        utf8proc_ssize_t n =
            utf8proc_decompose_char((utf8proc_int32_t)in->c[i], to, 8, UTF8PROC_DECOMPOSE, &boundary);
        if (n < 1 || n > 8)
            return npr_fail(NPR_EINTERNAL, "utf8proc: U+%04X: cannot be normalised", (unsigned)in->c[i]);
        for (utf8proc_ssize_t k = 0; k < n; k++) NPR_TRY(npr_ucs_put(out, (uint32_t)to[k]));
    }
    return NPR_OK;
}

npr_status npr_ucs_nfc(npr_ucs *t, npr_ucs *scratch)
{
    size_t first = 0;
    while (first < t->n && !may_change(t->c[first])) first++;
    if (first == t->n) return NPR_OK;
    NPR_TRY(decompose(t, scratch));
    npr_ucs decomposed = *scratch; /* the two change places: sorting needs memory, too */
    *scratch = *t;
    *t = decomposed;
    for (size_t i = 0, end; i < t->n; i = end) {
        end = i + 1;
        if (combining_class(t->c[i]) == 0) continue;
        while (end < t->n && combining_class(t->c[end])) end++;
        NPR_TRY(sort_marks(t->c + i, end - i, scratch));
    }
    NPR_TRY(npr_grow(&t->c, &t->cap, t->n + 1, sizeof *t->c, "a text"));
    utf8proc_ssize_t n = utf8proc_normalize_utf32((utf8proc_int32_t *)t->c, (utf8proc_ssize_t)t->n,
                                                  UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    if (n < 0) return npr_fail(NPR_EINTERNAL, "utf8proc: %s", utf8proc_errmsg(n));
    t->n = (size_t)n;
    return NPR_OK;
}

const char *npr_ucs_version(void)
{
    static char text[48];
    snprintf(text, sizeof text, "utf8proc %s", utf8proc_version());
    return text;
}
