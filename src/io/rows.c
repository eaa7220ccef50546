/* rows.c - the table of columns, and batches of rows in memory. See rows.h and include/npr/set.h. */
#include "io/rows.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/mem.h"

enum { TEXT = -1, DIM = 0, CONTAINER_NAME_MAX = 4096 };

/* A new column is one line here and one field in npr_rows. */
static const struct column {
    const char *name, *offset_name;
    npr_value value;
    int width; /* values per row; DIM: as many as the set has dimensions; TEXT */
    size_t field;
} columns[NPR_COLUMNS + 1] = {
    [NPR_EMB] = {"emb", NULL, NPR_HALF, DIM, offsetof(npr_rows, emb)},
    [NPR_ID] = {"id", NULL, NPR_INT64, 1, offsetof(npr_rows, id)},
    [NPR_LABEL] = {"label", NULL, NPR_INT32, 1, offsetof(npr_rows, label)},
    [NPR_SCORE] = {"score", NULL, NPR_FLOAT, 1, offsetof(npr_rows, score)},
    [NPR_CAPTION] = {"caption", "caption_offset", NPR_BYTE, TEXT, offsetof(npr_rows, caption)},
    [NPR_URL] = {"url", "url_offset", NPR_BYTE, TEXT, offsetof(npr_rows, url)},
    [NPR_TOKENS] = {"tokens", "tokens_offset", NPR_BYTE, TEXT, offsetof(npr_rows, tokens)},
    [NPR_SOURCE] = {"source", NULL, NPR_INT64, 3, offsetof(npr_rows, source)},
    [NPR_SIMILARITY] = {"similarity", NULL, NPR_FLOAT, 1, offsetof(npr_rows, similarity)},
    [NPR_NSFW] = {"nsfw", NULL, NPR_BYTE, 1, offsetof(npr_rows, nsfw)},
    [NPR_WIDTH] = {"width", NULL, NPR_INT32, 1, offsetof(npr_rows, width)},
    [NPR_HEIGHT] = {"height", NULL, NPR_INT32, 1, offsetof(npr_rows, height)},
    [NPR_WEIGHT] = {"weight", NULL, NPR_FLOAT, DIM, offsetof(npr_rows, weight)},
    [NPR_RECALLS] = {"count", NULL, NPR_INT32, 1, offsetof(npr_rows, recalls)},
    [NPR_CONTAINER] = {"container", "container_offset", NPR_BYTE, TEXT, 0},
};

/* ---- the table ---- */

const char *npr_column_name(npr_column c)
{
    return columns[c].name;
}

int npr_column_is_text(int c)
{
    return columns[c].width == TEXT;
}

int npr_column_width(npr_column c, int dim)
{
    return columns[c].width == DIM ? dim : columns[c].width;
}

size_t npr_column_bytes(npr_column c, int dim)
{
    return (size_t)npr_column_width(c, dim) * npr_value_bytes(columns[c].value);
}

/* Fields are pointers of different types: copied as bytes, since a void ** must not alias them. */
void *npr_column_data(const npr_rows *r, npr_column c)
{
    void *p;
    memcpy(&p, (const char *)r + columns[c].field, sizeof p);
    return p;
}

npr_text *npr_column_text(const npr_rows *r, npr_column c)
{
    return (npr_text *)((uintptr_t)r + columns[c].field);
}

int npr_dataset_shape(int d, uint32_t mask, int dim, npr_h5_shape *shape)
{
    int c = d / 2, offsets = d % 2, text = npr_column_is_text(c);
    if (offsets && !text) return 0;
    if (!(mask & NPR_COL(c == NPR_CONTAINER ? (int)NPR_SOURCE : c))) return 0;
    if (offsets)
        *shape = (npr_h5_shape){columns[c].offset_name, NPR_INT64, 1, NPR_CHUNK_ROWS};
    else if (text)
        *shape = (npr_h5_shape){columns[c].name, NPR_BYTE, 1, NPR_TEXT_CHUNK};
    else
        *shape = (npr_h5_shape){columns[c].name, columns[c].value, npr_column_width((npr_column)c, dim),
                                NPR_CHUNK_ROWS};
    return 1;
}

const char *npr_columns_print(uint32_t mask, char text[NPR_COLUMNS_TEXT])
{
    char *end = text;
    for (int c = 0; c < NPR_COLUMNS; c++) {
        if (!(mask & NPR_COL(c))) continue;
        if (end > text) *end++ = ' ';
        end = stpcpy(end, columns[c].name);
    }
    *end = 0;
    return text;
}

npr_status npr_column_find(const char *name, const char *origin, npr_column *c)
{
    for (int i = 0; i < NPR_COLUMNS; i++) {
        *c = (npr_column)i;
        if (!strcmp(name, columns[i].name)) return NPR_OK;
    }
    return npr_fail(NPR_EDATA, "%s: this version knows no column \"%.100s\"", origin, name);
}

/* ---- batches ---- */

/* Give a column's array room for n rows. */
static npr_status resize(npr_rows *r, npr_column c, int64_t n)
{
    size_t none = 0; /* npr_grow() to exactly n, whatever it held */
    if (columns[c].width == TEXT)
        return npr_grow(&npr_column_text(r, c)->offset, &none, (size_t)n + 1, sizeof(int64_t),
                        columns[c].name);
    return npr_grow((char *)r + columns[c].field, &none, (size_t)n, npr_column_bytes(c, r->dim),
                    columns[c].name);
}

npr_status npr_rows_make(npr_rows *r, uint32_t mask, int dim, int64_t cap)
{
    *r = (npr_rows){.dim = dim, .columns = mask};
    if (mask >= NPR_COL(NPR_COLUMNS) || cap < 0 || dim < 0 || dim > NPR_DIM_MAX)
        return npr_fail(NPR_EINTERNAL, "a batch of columns %#x, dim %d, %lld rows", mask, dim,
                        (long long)cap);
    for (int i = 0; i < NPR_COLUMNS; i++) {
        npr_column c = (npr_column)i;
        if (!(mask & NPR_COL(c))) continue;
        int text = npr_column_is_text(c);
        /* offsets begin with 0; embeddings are read over and over: in huge pages where they are large */
        void *p = text ? npr_alloc((size_t)cap + 1, sizeof(int64_t), columns[c].name)
                       : npr_alloc_aligned((size_t)cap, npr_column_bytes(c, dim), columns[c].name);
        if (!p) {
            npr_rows_free(r);
            return npr_last();
        }
        if (text)
            npr_column_text(r, c)->offset = p;
        else
            memcpy((char *)r + columns[c].field, &p, sizeof p);
    }
    r->cap = cap;
    return NPR_OK;
}

void npr_rows_free(npr_rows *r)
{
    npr_rows_clear(r);
    for (int i = 0; i < NPR_COLUMNS; i++) {
        npr_column c = (npr_column)i;
        if (npr_column_is_text(c)) {
            free(npr_column_text(r, c)->bytes);
            free(npr_column_text(r, c)->offset);
        } else {
            free(npr_column_data(r, c));
        }
    }
    free(r->container);
    free(r->slot);
    *r = (npr_rows){0};
}

void npr_rows_clear(npr_rows *r)
{
    r->n = 0;
    npr_rows_drop(r);
    for (int i = 0; i < r->n_container; i++) free(r->container[i]);
    r->n_container = 0;
    for (int i = 0; i < r->n_slot; i++) r->slot[i] = -1;
}

npr_status npr_rows_reserve(npr_rows *r, int64_t n)
{
    if (n <= r->cap) return NPR_OK;
    int64_t cap = r->cap + r->cap / 2 + 16;
    if (cap < n) cap = n;
    for (int c = 0; c < NPR_COLUMNS; c++)
        if (r->columns & NPR_COL(c)) NPR_TRY(resize(r, (npr_column)c, cap));
    int was_full = r->n == r->cap;
    r->cap = cap;
    if (was_full) npr_rows_drop(r);
    return NPR_OK;
}

/* offset[n + 1] is the end of the row being filled: texts put to it move it on. */
npr_status npr_rows_put_text(npr_rows *r, npr_column c, const char *bytes, size_t n)
{
    if (!(r->columns & NPR_COL(c)) || !npr_column_is_text(c) || r->n >= r->cap)
        return npr_fail(NPR_EINTERNAL, "no room for a text of column %s in a batch of %lld rows",
                        columns[c].name, (long long)r->cap);
    npr_text *t = npr_column_text(r, c);
    int64_t *end = &t->offset[r->n + 1];
    NPR_TRY(npr_grow(&t->bytes, &t->cap, (size_t)*end + n, 1, columns[c].name));
    if (n) memcpy(t->bytes + *end, bytes, n);
    *end += (int64_t)n;
    return NPR_OK;
}

void npr_rows_drop(npr_rows *r)
{
    for (int c = 0; c < NPR_COLUMNS && r->n < r->cap; c++) {
        if (!(r->columns & NPR_COL(c)) || !npr_column_is_text(c)) continue;
        int64_t *offset = npr_column_text(r, (npr_column)c)->offset;
        offset[r->n + 1] = offset[r->n];
    }
}

npr_status npr_rows_next(npr_rows *r)
{
    if (r->n >= r->cap) return npr_fail(NPR_EINTERNAL, "a batch of %lld rows is full", (long long)r->cap);
    r->n++;
    npr_rows_drop(r);
    return NPR_OK;
}

const char *npr_text_at(const npr_text *t, int64_t i, size_t *n)
{
    *n = (size_t)(t->offset[i + 1] - t->offset[i]);
    return *n ? t->bytes + t->offset[i] : "";
}

void npr_rows_unknown(npr_rows *r, npr_column c, int64_t row0, int64_t n)
{
    static const uint16_t half_nan = 0x7e00;
    if (npr_column_is_text(c)) return; /* a text not put is empty */
    size_t values = (size_t)n * (size_t)npr_column_width(c, r->dim);
    char *to = (char *)npr_column_data(r, c) + (size_t)row0 * npr_column_bytes(c, r->dim);
    float float_nan = NAN;
    switch (c) {
    case NPR_EMB:
        for (size_t i = 0; i < values; i++) memcpy(to + 2 * i, &half_nan, 2);
        break;
    case NPR_SCORE:
    case NPR_SIMILARITY:
    case NPR_WEIGHT:
        for (size_t i = 0; i < values; i++) memcpy(to + 4 * i, &float_nan, 4);
        break;
    case NPR_NSFW:
    case NPR_WIDTH:
    case NPR_HEIGHT:
    case NPR_RECALLS:
        memset(to, 0, values * npr_value_bytes(columns[c].value));
        break;
    default: /* id, label, source: -1 */
        memset(to, 0xff, values * npr_value_bytes(columns[c].value));
    }
}

/* ---- containers ---- */

/* Where the name is in the hash table, or the free slot where it belongs. */
static int32_t *find_slot(const npr_rows *r, const char *name)
{
    uint32_t mask = (uint32_t)r->n_slot - 1, at = (uint32_t)npr_hash64(name, strlen(name), 0) & mask;
    while (r->slot[at] >= 0 && strcmp(r->container[r->slot[at]], name) != 0) at = (at + 1) & mask;
    return &r->slot[at];
}

/* Keep at least half of the slots free. */
static npr_status grow_slots(npr_rows *r)
{
    if (r->n_container < r->n_slot / 2) return NPR_OK;
    int n = r->n_slot ? 2 * r->n_slot : 64;
    int32_t *slot = npr_alloc((size_t)n, sizeof *slot, "container names");
    if (!slot) return npr_last();
    for (int i = 0; i < n; i++) slot[i] = -1;
    free(r->slot);
    r->slot = slot;
    r->n_slot = n;
    for (int i = 0; i < r->n_container; i++) *find_slot(r, r->container[i]) = i;
    return NPR_OK;
}

npr_status npr_rows_container(npr_rows *r, const char *name, int64_t *number)
{
    if (strlen(name) > CONTAINER_NAME_MAX || r->n_container >= 1 << 29)
        return npr_fail(NPR_EDATA, "container name of %zu bytes, at most %d are allowed", strlen(name),
                        CONTAINER_NAME_MAX);
    NPR_TRY(grow_slots(r));
    int32_t *slot = find_slot(r, name);
    if (*slot < 0) {
        NPR_TRY(npr_grow(&r->container, &r->container_cap, (size_t)r->n_container + 1, sizeof *r->container,
                         "container names"));
        char *copy = npr_strdup(name);
        if (!copy) return npr_last();
        r->container[r->n_container] = copy;
        *slot = r->n_container++;
    }
    *number = *slot;
    return NPR_OK;
}
