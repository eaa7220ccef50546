/* mojibake_rules.c - the sequences of characters that hardly anyone means: ftfy 6.3.1's heuristic. See
 * mojibake.h. */
#include <uchar.h>

#include "clip/mojibake.h"
#include "clip/mojibake_table.h"

/* Classes besides those of the table. */
enum {
    ASCII_LOWER = 1 << 24, /* a-z */
    ASCII_UPPER = 1 << 25, /* A-Z */
    BLANK = 1 << 26,       /* what str.isspace takes */
    WORD = 1 << 27,        /* letters, numbers and the underscore */
    NOT_ASCII_LETTER = 1 << 28,
    NOT_LINE_BREAK = 1 << 29,

    ASCII_LETTER = ASCII_LOWER | ASCII_UPPER,
    ACCENTED = LOWER_ACCENTED | UPPER_ACCENTED,
    SIGN = BOX | CURRENCY | END | NUMERIC,
    ANY = ACCENTED | SIGN | START | LAW, /* what is not common or part of a face */
};

enum { LONGEST = 5 };

/* One character of a sequence: of one of these classes, or one of these. */
typedef struct step {
    uint32_t mask;
    const char16_t *also;
} step;

/* Sequences that begin beyond ASCII, with a character of the table or a space; a step that is all zeros ends
 * one. */
static const step rules[][LONGEST] = {
    {{C1, 0}},
    {{BAD | ANY, 0}, {BAD, 0}},
    {{BAD, 0}, {ANY, 0}},
    {{LOWER_ACCENTED | LOWER_COMMON | SIGN, 0}, {UPPER_ACCENTED, 0}},
    {{SIGN, 0}, {LOWER_ACCENTED, 0}},
    {{LOWER_ACCENTED | BOX | END, 0}, {CURRENCY, 0}},
    {{BLANK, 0}, {UPPER_ACCENTED, 0}, {CURRENCY, 0}},
    {{UPPER_ACCENTED | BOX, 0}, {NUMERIC | LAW, 0}},
    {{ACCENTED | BOX | CURRENCY | END, 0}, {START, 0}, {NUMERIC, 0}},
    {{ACCENTED | CURRENCY | NUMERIC | BOX | LAW, 0}, {END, 0}, {START, 0}},
    {{CURRENCY | NUMERIC | BOX, 0}, {START, 0}},
    {{BOX, 0}, {KAOMOJI, 0}},
    {{ACCENTED | CURRENCY | NUMERIC | START | END | LAW, 0}, {BOX, 0}},
    {{BOX, 0}, {END, 0}},
    {{ACCENTED, 0}, {START | END, 0}, {WORD, 0}},
    /* the ligature oe before what is no plain letter */
    {{0, u"\u0152\u0153"}, {NOT_ASCII_LETTER, 0}},
    /* degrees after a capital */
    {{UPPER_ACCENTED, 0}, {0, u"\u00b0"}},
    /* Windows-1252, pairs */
    {{0, u"\u00c2\u00c3\u00ce\u00d0"},
     {START | END, u"\u20ac\u0153\u0160\u0161\u00a2\u00a3\u0178\u017e\u00a0\u00ad\u00ae\u00a9\u00b0\u00b7"
                   u"\u00bb\u2013\u2014\u00b4"}},
    {{0, u"\u00d7"}, {0, u"\u00b2\u00b3"}},
    /* Windows-1252, Arabic: two pairs */
    {{0, u"\u00d8\u00d9"},
     {COMMON | CURRENCY | BAD | NUMERIC | START, u"\u0178\u0160\u00ae\u00b0\u00b5\u00bb"},
     {0, u"\u00d8\u00d9"},
     {COMMON | CURRENCY | BAD | NUMERIC | START, u"\u0178\u0160\u00ae\u00b0\u00b5\u00bb"}},
    /* Windows-1252, scripts of South Asia */
    {{0, u"\u00e0"}, {0, u"\u00b2\u00b5\u00b9\u00bc\u00bd\u00be"}},
    /* MacRoman */
    {{0, u"\u221a"}, {0, u"\u00b1\u2202\u2020\u2260\u00ae\u2122\u00b4\u2264\u2265\u00a5\u00b5\u00f8"}},
    {{0, u"\u2248"}, {0, u"\u00b0\u00a2"}},
    {{0, u"\u201a"},
     {0, u"\u00c4"},
     {0, u"\u00ec\u00ee\u00ef\u00f2\u00f4\u00fa\u00f9\u00fb\u2020\u00b0\u00a2\u03c0"}},
    {{0, u"\u201a"}, {0, u"\u00e2\u00f3"}, {0, u"\u00e0\u00e4\u00b0\u00ea"}},
    /* Windows-1251 */
    {{0, u"\u0432"}, {0, u"\u0402"}},
    {{0, u"\u0412\u0413\u0420\u0421"},
     {C1 | BAD | START | END | CURRENCY, u"\u00b0\u00b5"},
     {0, u"\u0412\u0413\u0420\u0421"}},
    /* a with grave or acute, and the no-break space, in Windows-1252 */
    {{0, u"\u00c3"}, {0, u"\u00a0\u00a1"}},
    /* characters that stand for themselves */
    {{END, 0}, {0, u"\u00c2"}, {START | END, u" "}},
    /* Windows-1253 */
    {{0, u"\u03b2"}, {0, u"\u20ac"}, {0, u"\u2122\u00a0\u0386\u00ad\u00ae\u00b0"}},
    {{0, u"\u0392\u0393\u039e\u039f"},
     {C1 | BAD | START | END | CURRENCY, u"\u00b0"},
     {0, u"\u0392\u0393\u039e\u039f"}},
    /* Windows-1257 */
    {{0, u"\u0101"}, {0, u"\u20ac"}},
};

/* Sequences that begin in ASCII. */
static const step ascii_rules[][LONGEST] = {
    {{ASCII_LETTER, 0}, {LOWER_COMMON | UPPER_COMMON, 0}, {BAD, 0}},
    {{BLANK, 0}, {UPPER_ACCENTED, 0}, {CURRENCY, 0}},
    {{ASCII_LOWER, 0}, {UPPER_ACCENTED, 0}, {START | CURRENCY, 0}},
    {{ASCII_LOWER, 0}, {0, u"\u00c3\u00c2"}, {0, u" "}},
    {{ASCII_LOWER, 0}, {BLANK, 0}, {0, u"\u00c3\u00c2"}, {0, u" "}},
    {{ASCII_LOWER, u".,?!"}, {0, u"\u00c2"}, {START | END, u" "}},
};

/* Windows-1251 over Windows-1252 over Latin-1, near a Latin letter: one character more than the others. */
static const step longest[] = {{0, u"\u0413"}, {0, u"\u045e"},      {0, u"\u0412"},      {0, u"\u0402"},
                               {0, u"\u0412"}, {NOT_LINE_BREAK, 0}, {ASCII_LETTER, u" "}};

/* At the beginning of a text only. */
static const step first[] = {{0, u"\u00c3\u00c2"}, {0, u" "}};

uint32_t npr_mojibake_class(uint32_t c)
{
    size_t low = 0, high = sizeof class_ranges / sizeof *class_ranges;
    if (c == ' ') return CONTINUATION;
    if (c < 0x80 || c > 0xffff) return 0;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (class_ranges[middle].last < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low < sizeof class_ranges / sizeof *class_ranges && class_ranges[low].first <= c
               ? class_ranges[low].mask
               : 0;
}

static uint32_t ascii_classes(uint32_t c)
{
    if (c >= 'a' && c <= 'z') return ASCII_LOWER | WORD | NOT_LINE_BREAK;
    if (c >= 'A' && c <= 'Z') return ASCII_UPPER | WORD | NOT_LINE_BREAK;
    uint32_t mask = c == '\n' ? NOT_ASCII_LETTER : NOT_ASCII_LETTER | NOT_LINE_BREAK;
    if ((c >= '0' && c <= '9') || c == '_') mask |= WORD;
    return npr_char_is_space(c) ? mask | BLANK : mask;
}

/* All classes a rule may ask for. */
static uint32_t classes_of(uint32_t c)
{
    if (c < 0x80) return ascii_classes(c);
    uint32_t mask = npr_mojibake_class(c) & ~(uint32_t)(CONTINUATION | STRICT);
    npr_char_kind kind = npr_char_kind_of(c);
    mask |= NOT_ASCII_LETTER | NOT_LINE_BREAK;
    if (npr_char_is_space(c)) mask |= BLANK;
    if (kind == NPR_CHAR_LETTER || kind == NPR_CHAR_NUMBER) mask |= WORD;
    return mask;
}

static int is_one_of(uint32_t c, const char16_t *set)
{
    for (; set && *set; set++)
        if (*set == c) return 1;
    return 0;
}

/* Do the characters at c, of these classes, match the k steps? */
static int matches(const step *s, size_t k, const uint32_t *c, const uint32_t *mask, size_t n)
{
    for (size_t i = 0; i < k && (s[i].mask || s[i].also); i++)
        if (i >= n || !((mask[i] & s[i].mask) || is_one_of(c[i], s[i].also))) return 0;
    return 1;
}

enum { LAST = sizeof longest / sizeof *longest };

/* Does one of the sequences begin at c? */
static int begins(const uint32_t *c, const uint32_t *mask, size_t n)
{
    const uint32_t known =
        NOT_ASCII_LETTER | NOT_LINE_BREAK | WORD; /* what may be said of characters in no table */
    if (c[0] < 0x80) {
        for (size_t r = 0; r < sizeof ascii_rules / sizeof *ascii_rules; r++)
            if (matches(ascii_rules[r], LONGEST, c, mask, n)) return 1;
        return 0;
    }
    if ((mask[0] & ~known) == 0) return 0; /* most scripts */
    for (size_t r = 0; r < sizeof rules / sizeof *rules; r++)
        if (matches(rules[r], LONGEST, c, mask, n)) return 1;
    return matches(longest, LAST, c, mask, n);
}

int npr_mojibake_is_bad(const uint32_t *c, size_t n)
{
    uint32_t mask[LAST]; /* of the characters from i on */
    for (size_t i = 0; i < LAST; i++) mask[i] = i < n ? classes_of(c[i]) : 0;
    if (matches(first, 2, c, mask, n)) return 1;
    for (size_t i = 0; i < n; i++) {
        /* Every sequence has a character beyond ASCII among its first three. */
        int worth = c[i] >= 0x80 || (i + 1 < n && c[i + 1] >= 0x80) || (i + 2 < n && c[i + 2] >= 0x80);
        if (worth && begins(c + i, mask, n - i)) return 1;
        for (size_t k = 1; k < LAST; k++) mask[k - 1] = mask[k];
        mask[LAST - 1] = i + LAST < n ? classes_of(c[i + LAST]) : 0;
    }
    return 0;
}
