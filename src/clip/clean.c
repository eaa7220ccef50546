/* clean.c - see clean.h. The steps, their order and their repetition are those of ftfy 6.3.1 with its
 * defaults (Robyn Speer, ftfy, 2019, doi 10.5281/zenodo.2591652), written anew. */
#include "clip/clean.h"

#include <stdlib.h>
#include <string.h>

#include "clip/html.h"
#include "clip/mojibake.h"

enum {
    SEGMENT = 1000000, /* code points repaired at once where lines are longer */
    ESCAPE = 0x1b,
};

/* Code points that repetition may look at in one text. References nested ever deeper (&amp;amp;amp;...) would
 * take quadratic time else; a text of 8192 bytes never comes near it. */
static const int64_t BUDGET = INT64_C(1) << 25;

/* ---- characters ---------------------------------------------------------------------------------------- */

/* Latin ligatures and digraphs as their letters. */
static const struct ligature {
    uint16_t c, part[3];
} ligatures[] = {
    {0x132, {'I', 'J'}},    {0x133, {'i', 'j'}},   {0x149, {0x2bc, 'n'}},     {0x1c4, {'D', 0x17d}},
    {0x1c5, {'D', 0x17e}},  {0x1c6, {'d', 0x17e}}, {0x1c7, {'L', 'J'}},       {0x1c8, {'L', 'j'}},
    {0x1c9, {'l', 'j'}},    {0x1ca, {'N', 'J'}},   {0x1cb, {'N', 'j'}},       {0x1cc, {'n', 'j'}},
    {0x1f1, {'D', 'Z'}},    {0x1f2, {'D', 'z'}},   {0x1f3, {'d', 'z'}},       {0xfb00, {'f', 'f'}},
    {0xfb01, {'f', 'i'}},   {0xfb02, {'f', 'l'}},  {0xfb03, {'f', 'f', 'i'}}, {0xfb04, {'f', 'f', 'l'}},
    {0xfb05, {0x17f, 't'}}, {0xfb06, {'s', 't'}},
};

static const struct ligature *find_ligature(uint32_t c)
{
    if (c < 0x132 || (c > 0x1f3 && c < 0xfb00) || c > 0xfb06) return NULL;
    for (size_t i = 0; i < sizeof ligatures / sizeof *ligatures; i++)
        if (ligatures[i].c == c) return &ligatures[i];
    return NULL;
}

/* Straight quotes for curly ones, and one line break for all kinds. */
static uint32_t plain(uint32_t c)
{
    if (c < 0x85) return c == '\r' ? '\n' : c;
    if (c == 0x2bc || (c >= 0x2018 && c <= 0x201b)) return '\'';
    if (c >= 0x201c && c <= 0x201f) return '"';
    return c == 0x2028 || c == 0x2029 || c == 0x85 ? '\n' : c;
}

/* One character in its plain form: ligatures taken apart, width, quotes, line breaks. */
static npr_status put_plain(npr_ucs *out, uint32_t c)
{
    const struct ligature *l = find_ligature(c);
    if (!l) {
        uint32_t wide[2];
        size_t n = npr_char_width(c == 0x3000 ? ' ' : c, wide);
        for (size_t i = 0; i < n; i++) NPR_TRY(npr_ucs_put(out, plain(wide[i])));
        return NPR_OK;
    }
    for (size_t i = 0; i < 3 && l->part[i]; i++) NPR_TRY(npr_ucs_put(out, plain(l->part[i])));
    return NPR_OK;
}

static npr_status fix_characters(const npr_ucs *in, npr_ucs *out)
{
    out->n = 0;
    for (size_t i = 0; i < in->n; i++) {
        if (in->c[i] == '\r' && i + 1 < in->n && in->c[i + 1] == '\n') continue; /* its line break follows */
        NPR_TRY(put_plain(out, in->c[i]));
    }
    return NPR_OK;
}

/* A terminal's command (ESC [ numbers letter) at i: its length, 0 if there is none. */
static size_t terminal_command(const npr_ucs *t, size_t i)
{
    size_t end = i + 2;
    if (t->c[i] != ESCAPE || end > t->n || t->c[i + 1] != '[') return 0;
    while (end < t->n && (t->c[end] == ';' || npr_char_is_digit(t->c[end]))) end++;
    return end < t->n && t->c[end] < 0x80 && npr_char_kind_of(t->c[end]) == NPR_CHAR_LETTER ? end + 1 - i : 0;
}

/* Characters that show nothing: controls, and some of Unicode's that are out of use. Surrogates there are
 * none: neither UTF-8 nor a reference of HTML gives any. */
static int is_dropped(uint32_t c)
{
    if (c < 0x80) return (c < 0x20 && c != '\t' && c != '\n' && c != '\f' && c != '\r') || c == 0x7f;
    return (c >= 0x206a && c <= 0x206f) || c == 0xfeff || (c >= 0xfff9 && c <= 0xfffc);
}

/* First whole commands, then single controls: a control inside of a command keeps it from being one. */
static void drop_controls(npr_ucs *t)
{
    size_t out = 0;
    for (size_t i = 0, n; i < t->n; i += n ? n : 1)
        if ((n = terminal_command(t, i)) == 0) t->c[out++] = t->c[i];
    t->n = out;
    out = 0;
    for (size_t i = 0; i < t->n; i++)
        if (!is_dropped(t->c[i])) t->c[out++] = t->c[i];
    t->n = out;
}

/* ---- repetition ---------------------------------------------------------------------------------------- */

typedef struct cleaning {
    npr_ucs now, before, scratch;
    int64_t budget;
    int references; /* 1: references of HTML are replaced; text with a "<" is taken to be HTML, from there on
                     */
} cleaning;

/* All steps once, on w->now. */
static npr_status fix_once(cleaning *w)
{
    if (w->references) npr_html_unescape_carefully(&w->now);
    NPR_TRY(npr_mojibake_fix(&w->now, &w->budget));
    NPR_TRY(fix_characters(&w->now, &w->scratch));
    npr_ucs fixed = w->scratch;
    w->scratch = w->now;
    w->now = fixed;
    drop_controls(&w->now);
    return npr_ucs_nfc(&w->now, &w->scratch);
}

/* One segment, until nothing changes. */
static npr_status fix_segment(cleaning *w, const uint32_t *c, size_t n)
{
    for (size_t i = 0; i < n && w->references; i++) w->references = c[i] != '<';
    NPR_TRY(npr_ucs_copy(&w->now, c, n));
    do {
        w->budget -= (int64_t)w->now.n;
        NPR_TRY(npr_ucs_copy(&w->before, w->now.c, w->now.n));
        NPR_TRY(fix_once(w));
    } while (w->budget > 0 &&
             (w->now.n != w->before.n || memcmp(w->now.c, w->before.c, w->now.n * sizeof *w->now.c)));
    return NPR_OK;
}

static npr_status append(npr_ucs *t, const npr_ucs *more)
{
    NPR_TRY(npr_grow(&t->c, &t->cap, t->n + more->n + 1, sizeof *t->c, "a text"));
    if (more->n) memcpy(t->c + t->n, more->c, more->n * sizeof *t->c);
    t->n += more->n;
    return NPR_OK;
}

npr_status npr_text_fix(const npr_ucs *in, npr_ucs *out)
{
    cleaning w = {.budget = BUDGET, .references = 1};
    npr_status st = NPR_OK;
    out->n = 0;
    for (size_t at = 0, n; !st && at < in->n; at += n) { /* line by line */
        for (n = 1; n < SEGMENT && at + n < in->n && in->c[at + n - 1] != '\n'; n++) {
        }
        st = fix_segment(&w, in->c + at, n);
        if (!st) st = append(out, &w.now);
    }
    free(w.now.c);
    free(w.before.c);
    free(w.scratch.c);
    return st;
}

/* ---- all of it ----------------------------------------------------------------------------------------- */

/* Most captions: printable ASCII without references. Nothing is to be repaired there. */
static int is_simple(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '&' || c >= 0x7f || (c < 0x20 && c != '\t' && c != '\n')) return 0;
    }
    return 1;
}

static npr_status lower_simple(const char *text, size_t n, npr_ucs *out)
{
    NPR_TRY(npr_grow(&out->c, &out->cap, n + 1, sizeof *out->c, "a text"));
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        out->c[i] = c >= 'A' && c <= 'Z' ? c | 0x20u : c;
    }
    out->n = n;
    return NPR_OK;
}

npr_status npr_text_clean(const char *text, size_t n, npr_ucs *out)
{
    npr_ucs raw = {0}, fixed = {0};
    npr_status st = NPR_OK;
    if (is_simple(text, n)) return lower_simple(text, n, out);
    const unsigned char *p = (const unsigned char *)text, *end = p + n;
    while (!st && p < end) {
        uint32_t c;
        (void)npr_utf8_next(&p, end, &c); /* what is invalid is replaced */
        st = npr_ucs_put(&raw, c);
    }
    if (!st) st = npr_text_fix(&raw, &fixed);
    if (!st) {
        npr_html_unescape(&fixed); /* twice, as in OpenAI's code: &amp;amp; happens */
        npr_html_unescape(&fixed);
        st = npr_ucs_lower(&fixed, out);
    }
    free(raw.c);
    free(fixed.c);
    return st;
}
