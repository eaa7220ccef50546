/* npy_header.c - see npy_header.h. The format is numpy's NEP 1: magic, version, length, a dictionary as
 * Python writes it. Read strictly: what numpy would not write, or npr cannot use, is refused with what was
 * wanted and found. */
#include "io/npy_header.h"

#include <string.h>

#include "io/rows.h"

enum { WORD = 48 }; /* longest word of interest, with its final zero */

npr_status npr_npy_prefix(const char *path, const unsigned char *b, size_t n, size_t *begin, size_t *length)
{
    static const unsigned char magic[] = {0x93, 'N', 'U', 'M', 'P', 'Y'};
    if (n < sizeof magic || memcmp(b, magic, sizeof magic) != 0)
        return npr_fail(NPR_EDATA, "%s: not a .npy file: it does not begin with \"\\x93NUMPY\"", path);
    if (n < NPR_NPY_PREFIX - 2) return npr_fail(NPR_EDATA, "%s: truncated in its header: %zu bytes", path, n);
    if (b[6] < 1 || b[6] > 3 || b[7] != 0)
        return npr_fail(NPR_EDATA, "%s: .npy version %d.%d, wanted 1.0, 2.0 or 3.0", path, b[6], b[7]);
    *begin = b[6] == 1 ? NPR_NPY_PREFIX - 2 : NPR_NPY_PREFIX;
    if (n < *begin) return npr_fail(NPR_EDATA, "%s: truncated in its header: %zu bytes", path, n);
    *length = (size_t)b[8] | (size_t)b[9] << 8;
    if (b[6] > 1) *length |= (size_t)b[10] << 16 | (size_t)b[11] << 24;
    if (*length > NPR_NPY_HEADER_MAX)
        return npr_fail(NPR_EDATA, "%s: a header of %zu bytes, at most %d are allowed", path, *length,
                        NPR_NPY_HEADER_MAX);
    return NPR_OK;
}

/* ---- the dictionary ---- */

typedef struct cursor {
    const char *path, *text;
    size_t at, n;
} cursor;

static char peek(cursor *c)
{
    while (c->at < c->n && (c->text[c->at] == ' ' || c->text[c->at] == '\n')) c->at++;
    return c->at < c->n ? c->text[c->at] : 0;
}

static npr_status malformed(cursor *c, const char *wanted)
{
    char found = peek(c);
    if (c->at >= c->n)
        return npr_fail(NPR_EDATA, "%s: damaged header: it ends where %s is wanted", c->path, wanted);
    return npr_fail(NPR_EDATA, "%s: damaged header: wanted %s at byte %zu of its text, found '%c'", c->path,
                    wanted, c->at, found);
}

static int take(cursor *c, char wanted)
{
    if (peek(c) != wanted || c->at >= c->n) return 0;
    c->at++;
    return 1;
}

/* A quoted word without escapes; what is longer than WORD is no word of interest and is refused. */
static npr_status read_word(cursor *c, const char *wanted, char word[WORD])
{
    char quote = peek(c);
    if (quote != '\'' && quote != '"') return malformed(c, wanted);
    size_t first = ++c->at;
    while (c->at < c->n && c->text[c->at] != quote) c->at++;
    size_t n = c->at - first;
    if (c->at == c->n || n >= WORD || memchr(c->text + first, '\\', n) || memchr(c->text + first, 0, n)) {
        c->at = first;
        return malformed(c, wanted);
    }
    memcpy(word, c->text + first, n);
    word[n] = 0;
    c->at++;
    return NPR_OK;
}

/* The value of "descr". */
static npr_status read_descr(cursor *c, npr_npy_shape *shape)
{
    char word[WORD];
    if (peek(c) == '[')
        return npr_fail(NPR_EDATA, "%s: an array of records, wanted one of '<f2' or '<f4'", c->path);
    NPR_TRY(read_word(c, "a type such as '<f2'", word));
    shape->value_bytes = !strcmp(word, "<f2") ? 2 : !strcmp(word, "<f4") ? 4 : 0;
    if (!shape->value_bytes)
        return npr_fail(NPR_EDATA,
                        "%s: an array of '%s', wanted '<f2' or '<f4' (little-endian float16 or float32)",
                        c->path, word);
    return NPR_OK;
}

static npr_status read_order(cursor *c)
{
    peek(c);
    size_t left = c->n - c->at;
    if (left >= 5 && !memcmp(c->text + c->at, "False", 5)) {
        c->at += 5;
        return NPR_OK;
    }
    if (left >= 4 && !memcmp(c->text + c->at, "True", 4))
        return npr_fail(NPR_EDATA, "%s: an array in Fortran order, wanted C order (row after row)", c->path);
    return malformed(c, "True or False");
}

static npr_status read_number(cursor *c, int64_t *v)
{
    char first = peek(c);
    if (first < '0' || first > '9') return malformed(c, "a length");
    for (*v = 0; c->at < c->n && c->text[c->at] >= '0' && c->text[c->at] <= '9'; c->at++)
        if (__builtin_mul_overflow(*v, 10, v) || __builtin_add_overflow(*v, c->text[c->at] - '0', v))
            return npr_fail(NPR_EDATA, "%s: a length in its shape is beyond 2^63", c->path);
    return NPR_OK;
}

/* The value of "shape": a tuple of any rank, so that a wrong rank can be told. */
static npr_status read_shape(cursor *c, npr_npy_shape *shape)
{
    int64_t length[2] = {0}, v = 0;
    int rank = 0;
    if (!take(c, '(')) return malformed(c, "a shape such as (1000, 512)");
    while (!take(c, ')')) {
        NPR_TRY(read_number(c, &v));
        if (rank < 2) length[rank] = v;
        rank++;
        if (!take(c, ',') && peek(c) != ')') return malformed(c, "a comma or the end of the shape");
    }
    if (rank != 2)
        return npr_fail(NPR_EDATA, "%s: an array of %d dimension%s, wanted 2 (rows and values of a row)",
                        c->path, rank, rank == 1 ? "" : "s");
    if (length[1] < 1 || length[1] > NPR_DIM_MAX)
        return npr_fail(NPR_EDATA, "%s: rows of %lld values, wanted 1 to %d", c->path, (long long)length[1],
                        NPR_DIM_MAX);
    shape->rows = length[0];
    shape->dim = (int)length[1];
    return NPR_OK;
}

static npr_status read_entry(cursor *c, unsigned *seen, npr_npy_shape *shape)
{
    static const char *const key[] = {"descr", "fortran_order", "shape"};
    char word[WORD];
    NPR_TRY(read_word(c, "a key in quotes", word));
    unsigned k = 0;
    while (k < 3 && strcmp(word, key[k]) != 0) k++;
    if (k == 3 || *seen & 1u << k)
        return npr_fail(NPR_EDATA, "%s: damaged header: key '%s' %s", c->path, word,
                        k == 3 ? "is none of descr, fortran_order and shape" : "is there twice");
    *seen |= 1u << k;
    if (!take(c, ':')) return malformed(c, "a colon");
    return k == 0 ? read_descr(c, shape) : k == 1 ? read_order(c) : read_shape(c, shape);
}

npr_status npr_npy_header(const char *path, const char *text, size_t n, npr_npy_shape *shape)
{
    cursor c = {path, text, 0, n};
    unsigned seen = 0;
    if (!take(&c, '{')) return malformed(&c, "a dictionary");
    while (!take(&c, '}')) {
        NPR_TRY(read_entry(&c, &seen, shape));
        if (!take(&c, ',') && peek(&c) != '}') return malformed(&c, "a comma or the end of the dictionary");
    }
    if (seen != 7)
        return npr_fail(NPR_EDATA, "%s: damaged header: no %s", path,
                        !(seen & 1)   ? "descr"
                        : !(seen & 2) ? "fortran_order"
                                      : "shape");
    peek(&c);
    return c.at == c.n ? NPR_OK : malformed(&c, "nothing more");
}
