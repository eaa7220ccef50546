/* mojibake.c - text encoded again by the code page it was wrongly decoded with, and decoded as the UTF-8 it
 * was. See mojibake.h. */
#include "clip/mojibake.h"

#include <stdlib.h>
#include <string.h>

#include "clip/mojibake_table.h"

enum {
    SUBSTITUTE = 0x1a, /* the byte that stands for a lost one */
    LATIN_1 = -1,      /* the first code page, before those of the table */
    MACROMAN = 7,      /* index in the table */
    DEEPEST = 32,      /* each repair of a part halves it at least: never reached */
};

/* Bytes; three times the characters of the text are enough for all that is done to them. */
typedef struct bytes {
    unsigned char *b, *spare;
    size_t n;
} bytes;

/* ---- code pages ---------------------------------------------------------------------------------------- */

/* The byte that stands for c in a code page, -1 if none does. */
static int encode(int page, uint32_t c)
{
    if (page == LATIN_1) return c < 0x100 ? (int)c : -1;
    if (page < SLOPPY && c == NPR_REPLACEMENT) return SUBSTITUTE;
    if (c < 0x80) return page < SLOPPY && c == SUBSTITUTE ? -1 : (int)c;
    for (int i = 0; i < 128; i++)
        if (pages[page][i] == c) return 0x80 + i;
    return -1;
}

static int encode_all(int page, const npr_ucs *t, bytes *to)
{
    to->n = 0;
    for (size_t i = 0; i < t->n; i++) {
        int b = encode(page, t->c[i]);
        if (b < 0) return 0;
        to->b[to->n++] = (unsigned char)b;
    }
    return 1;
}

static void swap(bytes *s, size_t n)
{
    unsigned char *b = s->b;
    s->b = s->spare;
    s->spare = b;
    s->n = n;
}

static int in(unsigned b, unsigned first, unsigned last)
{
    return b >= first && b <= last;
}

/* ---- no-break spaces that became spaces ---------------------------------------------------------------- */

/* Does " " at p follow a C3 that stands for a word of its own, a with grave: no second space behind it, and
 * not the beginning of some Portuguese words (aquele, aquela, aquilo, as)? */
static int is_grave_word(const unsigned char *p, const unsigned char *end)
{
    static const char *const part[] = {" ", "quele", "quela", "quilo", "s "};
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        size_t n = strlen(part[i]);
        if ((size_t)(end - p) >= n && !memcmp(p, part[i], n)) return 0;
    }
    return 1;
}

static int is_continuation_but_85(unsigned b)
{
    return in(b, 0x80, 0x84) || in(b, 0x86, 0x9f) || in(b, 0xa1, 0xbf);
}

/* A sequence of UTF-8 in which one byte A0 became a space: its length, 0 if there is none at p. */
static size_t altered(const unsigned char *p, const unsigned char *end)
{
    size_t left = (size_t)(end - p);
    if (left < 2) return 0;
    if (p[1] == ' ' && memchr("\xc2\xc3\xc5\xce\xd0\xd9", p[0], 6)) return 2;
    if (left < 3) return 0;
    if ((p[0] == 0xe2 || p[0] == 0xe3) && p[1] == ' ' && is_continuation_but_85(p[2])) return 3;
    if (in(p[0], 0xe0, 0xe3) && is_continuation_but_85(p[1]) && p[2] == ' ') return 3;
    if (left < 4 || p[0] != 0xf0) return 0;
    int spaces = 0;
    for (int i = 1; i < 4; i++) {
        if (p[i] != ' ' && !in(p[i], 0x80, 0xbf)) return 0;
        spaces += p[i] == ' ';
    }
    return spaces == 1 ? 4 : 0;
}

static void restore_a0(bytes *s)
{
    const unsigned char *p = s->b, *end = s->b + s->n;
    size_t n = 0;
    while (p < end && !altered(p, end)) p++;
    if (p == end) return; /* nothing to decode would become of it */
    for (p = s->b; p < end; p++) {
        s->spare[n++] = *p;
        if (*p != 0xc3 || end - p < 2 || p[1] != ' ' || !is_grave_word(p + 2, end)) continue;
        s->spare[n++] = 0xa0;
        s->spare[n++] = ' ';
        p++;
    }
    swap(s, n);
    for (size_t i = 0, length; i < s->n; i += length ? length : 1) {
        length = altered(s->b + i, s->b + s->n);
        for (size_t k = i; k < i + length; k++)
            if (s->b[k] == ' ') s->b[k] = 0xa0;
    }
}

/* ---- bytes that were lost ------------------------------------------------------------------------------ */

static int is_lost(unsigned b)
{
    return b == SUBSTITUTE || b == '?';
}

static int is_kept(unsigned b)
{
    return b == SUBSTITUTE || in(b, 0x80, 0xbf);
}

/* A sequence of UTF-8 with lost bytes, a question mark in place of at most one: its length, 0 if there is
 * none at p. */
static size_t lossy(const unsigned char *p, const unsigned char *end)
{
    size_t left = (size_t)(end - p);
    if (left >= 2 && ((in(p[0], 0xc2, 0xdf) && p[1] == SUBSTITUTE) || (in(p[0], 0xc2, 0xc3) && p[1] == '?')))
        return 2;
    if (left >= 6 && p[0] == 0xed && in(p[1], 0xa0, 0xaf) && p[3] == 0xed && in(p[4], 0xb0, 0xbf) &&
        ((is_lost(p[2]) && (p[5] == '?' || is_kept(p[5]))) ||
         ((p[2] == '?' || is_kept(p[2])) && is_lost(p[5]))))
        return 6;
    if (left >= 3 && in(p[0], 0xe0, 0xef) &&
        ((is_lost(p[1]) && is_kept(p[2])) || (is_kept(p[1]) && is_lost(p[2]))))
        return 3;
    if (left >= 4 && in(p[0], 0xf0, 0xf4)) {
        int lost = 0, kept = 0;
        for (int i = 1; i < 4; i++) {
            lost += is_lost(p[i]);
            kept += is_kept(p[i]);
        }
        int asked = (p[1] == '?') + (p[2] == '?') + (p[3] == '?');
        if (lost && asked <= 1 && kept + asked == 3) return 4;
    }
    return *p == SUBSTITUTE;
}

static void replace_lossy(bytes *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n;) {
        size_t length = lossy(s->b + i, s->b + s->n);
        if (length) {
            memcpy(s->spare + n, "\xef\xbf\xbd", 3);
            n += 3;
            i += length;
        } else {
            s->spare[n++] = s->b[i++];
        }
    }
    swap(s, n);
}

/* ---- UTF-8 and what was taken for it ------------------------------------------------------------------- */

/* What is no UTF-8 but read as such: zero written as C0 80, and characters written as two surrogates
 * (CESU-8). A last line break counts as the last byte of either, as the end of a line does in ftfy's pattern.
 * Its length, 0 if there is none at p. */
static size_t variant(const unsigned char *p, const unsigned char *end, uint32_t *c)
{
    size_t left = (size_t)(end - p);
    if (left >= 2 && p[0] == 0xc0 && (p[1] == 0x80 || (p[1] == '\n' && left == 2))) {
        *c = 0;
        return 2;
    }
    if (left >= 6 && p[0] == 0xed && in(p[1], 0xa0, 0xaf) && in(p[2], 0x80, 0xbf) && p[3] == 0xed &&
        in(p[4], 0xb0, 0xbf) && (in(p[5], 0x80, 0xbf) || (p[5] == '\n' && left == 6))) {
        *c = 0x10000 + ((p[1] & 0xfu) << 16 | (p[2] & 0x3fu) << 10 | (p[4] & 0xfu) << 6 | (p[5] & 0x3fu));
        return 6;
    }
    return 0;
}

/* Decode into t, which has room. 0: it is not UTF-8, and t is as it was. */
static int decode(const bytes *s, npr_ucs *t, int *changed)
{
    const unsigned char *p, *end = s->b + s->n;
    int variants = memchr(s->b, 0xed, s->n) || memchr(s->b, 0xc0, s->n);
    size_t n = 0;
    for (int pass = 0; pass < 2; pass++) { /* once to see whether all is well, once to keep it */
        n = 0;
        for (p = s->b; p < end; n++) {
            uint32_t c;
            size_t length = variants ? variant(p, end, &c) : 0;
            if (length)
                p += length;
            else if (!npr_utf8_next(&p, end, &c))
                return 0;
            if (pass == 0) continue;
            *changed |= t->c[n] != c;
            t->c[n] = c;
        }
    }
    *changed |= n != t->n;
    t->n = n;
    return 1;
}

static int decode_as(int page, npr_ucs *t, bytes *s, int *changed)
{
    if (!encode_all(page, t, s)) return 0;
    if (page != MACROMAN) restore_a0(s); /* there it is a dash and a space */
    if (page >= 0 && page < SLOPPY) replace_lossy(s);
    return decode(s, t, changed);
}

/* ---- repair -------------------------------------------------------------------------------------------- */

/* How many characters from c on look like bytes of UTF-8, sequence by sequence. */
static size_t garble(const uint32_t *c, size_t n)
{
    size_t i = 0;
    for (;;) {
        static const struct {
            uint32_t first;
            size_t more;
        } kind[] = {{FIRST_OF_2, 1}, {FIRST_OF_3, 2}, {FIRST_OF_4, 3}};
        size_t taken = 0;
        for (size_t k = 0; k < 3 && !taken; k++) {
            size_t more = kind[k].more, m = 0;
            if (i + more >= n || !(npr_mojibake_class(c[i]) & kind[k].first)) continue;
            while (m < more && npr_mojibake_class(c[i + 1 + m]) & CONTINUATION) m++;
            if (m == more) taken = 1 + more;
        }
        if (!taken) return i;
        i += taken;
    }
}

static npr_status fix(npr_ucs *t, int64_t *budget, int depth);

/* Repair the parts that look like UTF-8, each for itself. */
static npr_status fix_parts(npr_ucs *t, int64_t *budget, int depth, int *changed)
{
    npr_ucs part = {0};
    size_t out = 0;
    uint32_t before = 0; /* the character before i, as it was */
    npr_status st = NPR_OK;
    for (size_t i = 0; !st && i < t->n;) {
        size_t n = npr_mojibake_class(before) & STRICT ? 0 : garble(t->c + i, t->n - i);
        size_t taken = n ? n : 1;
        before = t->c[i + taken - 1];
        if (n && n < t->n && npr_mojibake_is_bad(t->c + i, n)) {
            st = npr_ucs_copy(&part, t->c + i, n);
            if (!st) st = fix(&part, budget, depth + 1);
            if (!st && (part.n != n || memcmp(part.c, t->c + i, n * sizeof *part.c))) *changed = 1;
            if (!st) memmove(t->c + out, part.c, part.n * sizeof *part.c); /* never longer than it was */
            out += part.n;
        } else {
            memmove(t->c + out, t->c + i, taken * sizeof *t->c);
            out += taken;
        }
        i += taken;
    }
    if (!st) t->n = out;
    free(part.c);
    return st;
}

/* Controls of Latin-1 become what Windows-1252 has there. */
static int fix_controls(npr_ucs *t)
{
    int changed = 0;
    for (size_t i = 0; i < t->n; i++) {
        if (t->c[i] < 0x80 || t->c[i] > 0x9f || pages[0][t->c[i] - 0x80] == t->c[i]) continue;
        t->c[i] = pages[0][t->c[i] - 0x80];
        changed = 1;
    }
    return changed;
}

static npr_status fix_once(npr_ucs *t, bytes *s, int64_t *budget, int depth, int *changed)
{
    *changed = 0;
    for (int page = LATIN_1; page < PAGES; page++)
        if (decode_as(page, t, s, changed)) return NPR_OK;
    if (depth < DEEPEST) NPR_TRY(fix_parts(t, budget, depth, changed));
    if (!*changed) *changed = fix_controls(t);
    return NPR_OK;
}

static npr_status fix(npr_ucs *t, int64_t *budget, int depth)
{
    bytes s = {0};
    int changed = 1;
    npr_status st = NPR_OK;
    if (!npr_mojibake_is_bad(t->c, t->n)) return NPR_OK;
    if (!(s.b = npr_alloc(t->n, 3, "a text")) || !(s.spare = npr_alloc(t->n, 3, "a text"))) st = npr_last();
    while (!st && changed && *budget > 0) {
        *budget -= (int64_t)t->n;
        st = fix_once(t, &s, budget, depth, &changed);
        if (!npr_mojibake_is_bad(t->c, t->n)) break;
    }
    free(s.b);
    free(s.spare);
    return st;
}

npr_status npr_mojibake_fix(npr_ucs *t, int64_t *budget)
{
    return fix(t, budget, 0);
}
