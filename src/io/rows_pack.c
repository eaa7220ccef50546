/* rows_pack.c - a row from one batch to another, directly or as a message between ranks. See
 * include/npr/set.h.
 *
 * A packed row: its head, then each column of its mask in order: values as they lie in memory; a text as its
 * length (uint64) and bytes; source as three numbers and the container's name as a text. */
#include <string.h>

#include "base/mem.h"
#include "io/rows.h"

enum { NAME_MAX_BYTES = 4096 };

struct head {
    uint64_t bytes; /* of the whole record */
    uint32_t columns;
    int32_t dim;
};

static npr_status drop_row(npr_rows *r, npr_status st)
{
    npr_rows_drop(r);
    return st;
}

/* Name of the container of a row, NULL if unknown. */
static const char *container_of(const npr_rows *r, int64_t i)
{
    int64_t number = r->source[3 * i];
    return number >= 0 && number < r->n_container ? r->container[number] : NULL;
}

/* Set the source of the row being filled. */
static npr_status set_source(npr_rows *r, const int64_t from[3], const char *container)
{
    int64_t *to = r->source + 3 * r->n;
    memcpy(to, from, 3 * sizeof *to);
    to[0] = -1;
    return container ? npr_rows_container(r, container, to) : NPR_OK;
}

/* ---- copy ---- */

static npr_status copy_column(npr_rows *to, const npr_rows *from, npr_column c, int64_t i)
{
    if (!(from->columns & NPR_COL(c))) {
        npr_rows_unknown(to, c, to->n, 1);
        return NPR_OK;
    }
    if (c == NPR_SOURCE) return set_source(to, from->source + 3 * i, container_of(from, i));
    if (npr_column_is_text(c)) {
        size_t n;
        const char *text = npr_text_at(npr_column_text(from, c), i, &n);
        return npr_rows_put_text(to, c, text, n);
    }
    size_t bytes = npr_column_bytes(c, to->dim);
    memcpy((char *)npr_column_data(to, c) + (size_t)to->n * bytes,
           (const char *)npr_column_data(from, c) + (size_t)i * bytes, bytes);
    return NPR_OK;
}

npr_status npr_rows_copy(npr_rows *to, const npr_rows *from, int64_t i)
{
    if (to->dim != from->dim && (to->columns & from->columns & (NPR_COL(NPR_EMB) | NPR_COL(NPR_WEIGHT))))
        return npr_fail(NPR_EINTERNAL, "a row of %d dimensions into a batch of %d", from->dim, to->dim);
    NPR_TRY(npr_rows_reserve(to, to->n + 1));
    for (int c = 0; c < NPR_COLUMNS; c++) {
        npr_status st = to->columns & NPR_COL(c) ? copy_column(to, from, (npr_column)c, i) : NPR_OK;
        if (st) return drop_row(to, st);
    }
    return npr_rows_next(to);
}

/* ---- pack ---- */

typedef struct sink {
    char **bytes;
    size_t *used, *cap;
} sink;

static npr_status put(sink *s, const void *bytes, size_t n)
{
    NPR_TRY(npr_grow(s->bytes, s->cap, *s->used + n, 1, "packed rows"));
    if (n) memcpy(*s->bytes + *s->used, bytes, n);
    *s->used += n;
    return NPR_OK;
}

static npr_status put_text(sink *s, const char *text, size_t n)
{
    uint64_t length = n;
    NPR_TRY(put(s, &length, sizeof length));
    return put(s, text, n);
}

static npr_status pack_column(const npr_rows *r, npr_column c, int64_t i, sink *s)
{
    if (npr_column_is_text(c)) {
        size_t n;
        const char *text = npr_text_at(npr_column_text(r, c), i, &n);
        return put_text(s, text, n);
    }
    size_t bytes = npr_column_bytes(c, r->dim);
    NPR_TRY(put(s, (const char *)npr_column_data(r, c) + (size_t)i * bytes, bytes));
    if (c != NPR_SOURCE) return NPR_OK;
    const char *name = container_of(r, i);
    return put_text(s, name ? name : "", name ? strlen(name) : 0);
}

npr_status npr_rows_pack(const npr_rows *r, int64_t i, char **bytes, size_t *used, size_t *cap)
{
    sink s = {bytes, used, cap};
    size_t start = *used;
    struct head head = {0, r->columns, r->dim};
    npr_status st = put(&s, &head, sizeof head);
    for (int c = 0; c < NPR_COLUMNS && !st; c++)
        if (r->columns & NPR_COL(c)) st = pack_column(r, (npr_column)c, i, &s);
    if (st) {
        *used = start;
        return st;
    }
    head.bytes = *used - start;
    memcpy(*bytes + start, &head, sizeof head);
    return NPR_OK;
}

/* ---- unpack ---- */

typedef struct cursor {
    const char *at;
    size_t left;
} cursor;

static npr_status take(cursor *u, size_t n, const char **bytes)
{
    *bytes = u->at;
    if (n > u->left) return npr_fail(NPR_EDATA, "packed row: %zu bytes wanted, %zu are left", n, u->left);
    u->at += n;
    u->left -= n;
    return NPR_OK;
}

static npr_status take_text(cursor *u, const char **text, size_t *n)
{
    const char *p;
    uint64_t length = 0;
    NPR_TRY(take(u, sizeof length, &p));
    memcpy(&length, p, sizeof length);
    *n = (size_t)length;
    return take(u, *n, text);
}

static npr_status unpack_source(npr_rows *r, cursor *u, int wanted)
{
    const char *numbers, *text;
    char name[NAME_MAX_BYTES + 1];
    int64_t source[3];
    size_t n;
    NPR_TRY(take(u, sizeof source, &numbers));
    NPR_TRY(take_text(u, &text, &n));
    if (n > NAME_MAX_BYTES) return npr_fail(NPR_EDATA, "packed row: container name of %zu bytes", n);
    if (!wanted) return NPR_OK;
    memcpy(source, numbers, sizeof source);
    memcpy(name, text, n);
    name[n] = 0;
    return set_source(r, source, source[0] >= 0 ? name : NULL);
}

static npr_status unpack_column(npr_rows *r, npr_column c, const struct head *head, cursor *u)
{
    int wanted = (r->columns & NPR_COL(c)) != 0;
    const char *p;
    size_t n;
    if (!(head->columns & NPR_COL(c))) {
        if (wanted) npr_rows_unknown(r, c, r->n, 1);
        return NPR_OK;
    }
    if (c == NPR_SOURCE) return unpack_source(r, u, wanted);
    if (npr_column_is_text(c)) {
        NPR_TRY(take_text(u, &p, &n));
        return wanted ? npr_rows_put_text(r, c, p, n) : NPR_OK;
    }
    n = npr_column_bytes(c, head->dim);
    NPR_TRY(take(u, n, &p));
    if (wanted && n != npr_column_bytes(c, r->dim))
        return npr_fail(NPR_EDATA, "packed row: %d dimensions, wanted %d", head->dim, r->dim);
    if (wanted) memcpy((char *)npr_column_data(r, c) + (size_t)r->n * n, p, n);
    return NPR_OK;
}

npr_status npr_rows_unpack(npr_rows *r, const char *bytes, size_t n, size_t *eaten)
{
    struct head head;
    if (n < sizeof head) return npr_fail(NPR_EDATA, "packed row: only %zu bytes", n);
    memcpy(&head, bytes, sizeof head);
    if (head.bytes < sizeof head || head.bytes > n || head.columns >= NPR_COL(NPR_COLUMNS) || head.dim < 0 ||
        head.dim > NPR_DIM_MAX)
        return npr_fail(NPR_EDATA, "packed row: %llu bytes, columns %#x, dim %d in a message of %zu bytes",
                        (unsigned long long)head.bytes, head.columns, head.dim, n);
    NPR_TRY(npr_rows_reserve(r, r->n + 1));
    cursor u = {bytes + sizeof head, (size_t)head.bytes - sizeof head};
    for (int c = 0; c < NPR_COLUMNS; c++) {
        npr_status st = unpack_column(r, (npr_column)c, &head, &u);
        if (st) return drop_row(r, st);
    }
    if (u.left) return drop_row(r, npr_fail(NPR_EDATA, "packed row: %zu bytes too many", u.left));
    *eaten = (size_t)head.bytes;
    return npr_rows_next(r);
}
