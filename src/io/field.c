/* field.c - see field.h. */
#include "io/field.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "io/rows.h"

enum { NUMBER_MAX = 64 };

/* From this probability on a picture is called unsure, and likely unsafe: 0.1 is what the publishers of
 * LAION's scores advise to stay below. */
static const double UNSURE_FROM = 0.1, LIKELY_FROM = 0.5;

int npr_field_find(const char *name, size_t n, npr_column *c)
{
    static const struct {
        const char *name;
        npr_column column;
        int fit;
    } known[] = {
        {"url", NPR_URL, 2},
        {"caption", NPR_CAPTION, 2},
        {"text", NPR_CAPTION, 1},
        {"similarity", NPR_SIMILARITY, 2},
        {"nsfw", NPR_NSFW, 2},
        {"punsafe", NPR_NSFW, 1},
        {"original_width", NPR_WIDTH, 2}, /* of the picture before it was scaled for the data set */
        {"width", NPR_WIDTH, 1},
        {"original_height", NPR_HEIGHT, 2},
        {"height", NPR_HEIGHT, 1},
        {"label", NPR_LABEL, 2},
        {"id", NPR_ID, 2},
        {"sample_id", NPR_ID, 1},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strlen(known[i].name) != n || strncasecmp(known[i].name, name, n) != 0) continue;
        *c = known[i].column;
        return known[i].fit;
    }
    return 0;
}

npr_status npr_field_map_add(npr_field_map *map, int i, const char *name, size_t n, const char *origin)
{
    npr_column c;
    int fit = npr_field_find(name, n, &c);
    if (!fit || fit < map->fit[c]) return NPR_OK;
    if (fit == map->fit[c])
        return npr_fail(NPR_EDATA, "%s: two fields for %s: \"%.*s\" is there twice", origin,
                        npr_column_name(c), (int)n, name);
    map->field[c] = i;
    map->fit[c] = fit;
    map->columns |= NPR_COL(c);
    return NPR_OK;
}

/* ---- values ---- */

/* Digits from *p on; returns their number. */
static int skip_digits(const char **p)
{
    const char *first = *p;
    while (**p >= '0' && **p <= '9') ++*p;
    return (int)(*p - first);
}

int npr_field_number(const char *text, size_t n, double *x)
{
    char s[NUMBER_MAX];
    if (n == 0 || n >= sizeof s) return 0;
    memcpy(s, text, n);
    s[n] = 0;
    const char *p = s + (*s == '-' || *s == '+');
    int digits = skip_digits(&p);
    if (*p == '.') p++, digits += skip_digits(&p);
    if (!digits) return 0;
    if (*p == 'e' || *p == 'E') {
        p += 1 + (p[1] == '-' || p[1] == '+');
        if (!skip_digits(&p)) return 0;
    }
    if (p != s + n) return 0; /* also a zero byte inside */
    locale_t c =
        newlocale(LC_ALL_MASK, "C", (locale_t)0); /* a constant in the C library, not an allocation */
    *x = c ? strtod_l(s, NULL, c) : NAN;
    if (c) freelocale(c);
    return isfinite(*x);
}

static int is_word(const char *text, size_t n, const char *word)
{
    return strlen(word) == n && !strncasecmp(text, word, n);
}

/* A nsfw word, or -1. */
static int nsfw_word(const char *text, size_t n)
{
    static const struct {
        const char *word;
        npr_nsfw nsfw;
    } words[] = {{"UNLIKELY", NPR_NSFW_UNLIKELY},
                 {"UNSURE", NPR_NSFW_UNSURE},
                 {"NSFW", NPR_NSFW_LIKELY},
                 {"LIKELY", NPR_NSFW_LIKELY}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (is_word(text, n, words[i].word)) return words[i].nsfw;
    return -1;
}

static npr_status refuse(npr_column c, const npr_field_value *v, const char *origin, int64_t line,
                         const char *wanted)
{
    char place[32] = "", found[48];
    if (line) snprintf(place, sizeof place, ":%lld", (long long)line);
    if (v->kind == NPR_FIELD_TEXT)
        snprintf(found, sizeof found, "\"%.*s\"", v->n < 40 ? (int)v->n : 40, v->text);
    else if (v->kind == NPR_FIELD_NUMBER)
        snprintf(found, sizeof found, "%.17g", v->number);
    else
        snprintf(found, sizeof found, "something else");
    return npr_fail(NPR_EDATA, "%s%s: %s should be %s, found %s", origin, place, npr_column_name(c), wanted,
                    found);
}

/* A number that is given, in its column; 0 if it does not fit there. */
static int put_number(npr_rows *r, npr_column c, double x)
{
    double whole = trunc(x); /* sizes come as "512.0" from tables that also have unknown ones */
    switch (c) {
    case NPR_SIMILARITY:
        r->similarity[r->n] = (float)x;
        return fabs(x) < 1e6;
    case NPR_NSFW:
        r->nsfw[r->n] = (uint8_t)(x < UNSURE_FROM   ? NPR_NSFW_UNLIKELY
                                  : x < LIKELY_FROM ? NPR_NSFW_UNSURE
                                                    : NPR_NSFW_LIKELY);
        return x >= 0 && x <= 1;
    case NPR_WIDTH:
    case NPR_HEIGHT:
        if (whole < 0 || whole > INT32_MAX) return 0;
        (c == NPR_WIDTH ? r->width : r->height)[r->n] = (int32_t)whole;
        return 1;
    case NPR_LABEL:
        if (whole != x || x < -1 || x > INT32_MAX) return 0;
        r->label[r->n] = (int32_t)x;
        return 1;
    default: /* id: doubles are exact up to 2^53 */
        if (whole != x || x < 0 || x > 0x1p53) return 0;
        r->id[r->n] = (int64_t)x;
        return 1;
    }
}

static const char *wanted_of(npr_column c)
{
    switch (c) {
    case NPR_SIMILARITY:
        return "a number";
    case NPR_NSFW:
        return "UNLIKELY, UNSURE, NSFW, LIKELY or a probability from 0 to 1";
    case NPR_WIDTH:
    case NPR_HEIGHT:
        return "a number of pixels";
    case NPR_LABEL:
        return "a class number or -1";
    default:
        return "a number from 0 to 2^53";
    }
}

npr_status npr_field_put(npr_rows *r, npr_column c, const npr_field_value *v, const char *origin,
                         int64_t line)
{
    if (npr_column_is_text((int)c)) {
        if (v->kind == NPR_FIELD_UNKNOWN) return NPR_OK;
        if (v->kind != NPR_FIELD_TEXT) return refuse(c, v, origin, line, "a text");
        return npr_rows_put_text(r, c, v->text, v->n);
    }
    double x = v->number;
    int is_text = v->kind == NPR_FIELD_TEXT, word;
    if (v->kind == NPR_FIELD_UNKNOWN || (v->kind == NPR_FIELD_NUMBER && isnan(x)) ||
        (is_text && (v->n == 0 || is_word(v->text, v->n, "nan") || is_word(v->text, v->n, "none") ||
                     is_word(v->text, v->n, "null")))) {
        npr_rows_unknown(r, c, r->n, 1);
        return NPR_OK;
    }
    if (is_text && c == NPR_NSFW && (word = nsfw_word(v->text, v->n)) >= 0) {
        r->nsfw[r->n] = (uint8_t)word;
        return NPR_OK;
    }
    if (v->kind == NPR_FIELD_OTHER || (is_text && !npr_field_number(v->text, v->n, &x)) ||
        !put_number(r, c, x))
        return refuse(c, v, origin, line, wanted_of(c));
    return NPR_OK;
}
