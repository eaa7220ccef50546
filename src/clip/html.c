/* html.c - see html.h. */
#include "clip/html.h"

#include <stdlib.h>
#include <string.h>

#include "clip/html_table.h"

enum { NAME_MAX_BYTES = 32, CAREFUL_MAX = 24 }; /* characters of a name, as the two ways bound it */

/* What a reference stands for: up to three characters (&FFILIG; in capitals), none for what HTML forbids. */
typedef struct reference {
    uint32_t c[3];
    size_t n;
} reference;

/* ---- names --------------------------------------------------------------------------------------------- */

/* name before, at (0) or behind the record at r: names compare byte by byte, shorter ones first. */
static int compare(const char *name, size_t n, const char *r)
{
    size_t length = strcspn(r, "=");
    int c = memcmp(name, r, n < length ? n : length);
    return c ? c : (n > length) - (n < length);
}

/* The name, without its semicolon: 1 if it is known, and to `bare` whether it needs none. */
static int find(const char *name, size_t n, reference *to, int *bare)
{
    size_t low = 0, high = sizeof entities - 1; /* bytes: low begins a record, high ends one */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        while (middle > low && entities[middle - 1] != ' ') middle--;
        const char *r = entities + middle;
        int c = compare(name, n, r);
        if (c < 0) {
            high = middle;
        } else if (c > 0) {
            low = middle + strcspn(r, " ") + 1;
        } else {
            char *end = NULL;
            to->c[0] = (uint32_t)strtoul(r + n + 1, &end, 16);
            to->n = 1;
            if (*end == '+') to->c[to->n++] = (uint32_t)strtoul(end + 1, &end, 16);
            *bare = *end == '!';
            return 1;
        }
    }
    return 0;
}

/* ---- numbers ------------------------------------------------------------------------------------------- */

/* Codes from 0x80 to 0x9f were written by those who meant Windows-1252. */
static const uint16_t windows[32] = {
    0x20ac, 0x81,   0x201a, 0x192,  0x201e, 0x2026, 0x2020, 0x2021, 0x2c6,  0x2030, 0x160,
    0x2039, 0x152,  0x8d,   0x17d,  0x8f,   0x90,   0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
    0x2013, 0x2014, 0x2dc,  0x2122, 0x161,  0x203a, 0x153,  0x9d,   0x17e,  0x178,
};

static reference number(uint32_t code)
{
    if (code >= 0x80 && code <= 0x9f) return (reference){{windows[code - 0x80]}, 1};
    if (code == 0 || (code >= 0xd800 && code <= 0xdfff) || code > 0x10ffff)
        return (reference){{NPR_REPLACEMENT}, 1};
    int forbidden = (code < 0x20 && code != '\t' && code != '\n' && code != '\f' && code != '\r') ||
                    code == 0x7f || (code >= 0xfdd0 && code <= 0xfdef) || (code & 0xfffe) == 0xfffe;
    return (reference){{code}, !forbidden};
}

static int digit(uint32_t c, int base)
{
    if (c >= '0' && c <= '9') return (int)(c - '0');
    if (base == 16 && (c | 0x20) >= 'a' && (c | 0x20) <= 'f') return (int)((c | 0x20) - 'a' + 10);
    return -1;
}

/* "#233" or "#xe9" at c, n characters left: how many of them, 0 for none. */
static size_t read_number(const uint32_t *c, size_t n, reference *to)
{
    int base = n > 1 && (c[1] | 0x20) == 'x' ? 16 : 10;
    size_t start = base == 16 ? 2 : 1, i = start;
    uint32_t code = 0;
    for (int d; i < n && (d = digit(c[i], base)) >= 0; i++)
        code = code > 0x10ffff ? code : code * (uint32_t)base + (uint32_t)d;
    if (i == start) return 0;
    *to = number(code);
    return i;
}

/* ---- as browsers do ------------------------------------------------------------------------------------ */

/* Behind an ampersand at c - 1: how many characters the reference takes, 0 if there is none. */
static size_t read_reference(const uint32_t *c, size_t n, reference *to)
{
    char name[NAME_MAX_BYTES];
    size_t length = 0, i;
    int bare = 0;
    if (n && c[0] == '#') {
        i = read_number(c, n, to);
        return i + (i && i < n && c[i] == ';');
    }
    /* All names are ASCII: a longer or stranger one can only begin with a known one. */
    while (length < NAME_MAX_BYTES && length < n && c[length] < 0x80 &&
           strchr("\t\n\f <&#;", (int)c[length]) == NULL) {
        name[length] = (char)c[length];
        length++;
    }
    if (length < n && c[length] == ';' && find(name, length, to, &bare)) return length + 1;
    for (i = length; i > 1; i--)
        if (find(name, i, to, &bare) && bare) return i;
    return 0;
}

/* Replace what `read` takes for a reference behind each '&': it returns how many code points of c belong to it, 0 for
 * none. */
static void replace_references(npr_ucs *t, size_t (*read)(const uint32_t *c, size_t n, reference *to))
{
    size_t out = 0;
    for (size_t i = 0; i < t->n;) {
        reference to;
        size_t taken = t->c[i] == '&' ? read(t->c + i + 1, t->n - i - 1, &to) : 0;
        if (taken == 0) {
            t->c[out++] = t->c[i++];
            continue;
        }
        for (size_t k = 0; k < to.n; k++) t->c[out++] = to.c[k];
        i += 1 + taken;
    }
    t->n = out;
}

void npr_html_unescape(npr_ucs *t)
{
    replace_references(t, read_reference);
}

/* ---- carefully ----------------------------------------------------------------------------------------- */

/* A lower-case name written in capitals means the capital, where HTML knows nothing that begins like it. */
static int find_capitals(const char *name, size_t n, reference *to)
{
    static const struct {
        uint32_t c;
        reference upper;
    } several[] = {{0xfb03, {{'F', 'F', 'I'}, 3}}, {0xfb00, {{'F', 'F'}, 2}}, {0xfb04, {{'F', 'F', 'L'}, 3}},
                   {0xfb01, {{'F', 'I'}, 2}},      {0xfb02, {{'F', 'L'}, 2}}, {0x149, {{0x2bc, 'N'}, 2}},
                   {0xdf, {{'S', 'S'}, 2}}};
    char lower[CAREFUL_MAX];
    reference other;
    int bare = 0;
    for (size_t i = 0; i < n; i++) {
        if (name[i] >= 'a' && name[i] <= 'z') return 0;
        lower[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] | 0x20) : name[i];
    }
    if (!find(lower, n, to, &bare)) return 0;
    for (size_t i = n - 1; i > 1; i--)
        if (find(name, i, &other, &bare) && bare) return 0;
    for (size_t i = 0; i < sizeof several / sizeof *several; i++) {
        if (several[i].c != to->c[0]) continue;
        *to = several[i].upper;
        return 1;
    }
    for (size_t i = 0; i < to->n; i++) to->c[i] = npr_char_upper(to->c[i]);
    return 1;
}

/* The same for what ends in a semicolon; letters and digits only, at most CAREFUL_MAX of them. */
static size_t read_carefully(const uint32_t *c, size_t n, reference *to)
{
    char name[CAREFUL_MAX];
    size_t start = n && c[0] == '#', length = 0;
    int bare = 0;
    while (length < CAREFUL_MAX && start + length < n && c[start + length] < 0x80 &&
           npr_char_kind_of(c[start + length]) != NPR_CHAR_OTHER &&
           npr_char_kind_of(c[start + length]) != NPR_CHAR_SPACE) {
        name[length] = (char)c[start + length];
        length++;
    }
    if (length == 0 || start + length == n || c[start + length] != ';') return 0;
    if (start) /* a semicolon itself stays written as it is */
        return read_number(c, n, to) == 1 + length && !(to->n && to->c[0] == ';') ? length + 2 : 0;
    return find(name, length, to, &bare) || find_capitals(name, length, to) ? length + 1 : 0;
}

void npr_html_unescape_carefully(npr_ucs *t)
{
    replace_references(t, read_carefully);
}
