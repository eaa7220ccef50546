/* urls.c - see urls.h. */
#include "io/urls.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/mem.h"

enum { BATCH = 4 * NPR_CHUNK_ROWS };

/* ---- texts ---- */

/* Bytes of the character at p, 0 if it is not UTF-8 (The Unicode Standard, table 3-7). */
static size_t character(const unsigned char *p, size_t n)
{
    if (p[0] < 0x80) return 1;
    size_t length = p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
    if (!length || n < length) return 0;
    unsigned char low = p[0] == 0xe0 ? 0xa0 : p[0] == 0xf0 ? 0x90 : 0x80;
    unsigned char high = p[0] == 0xed ? 0x9f : p[0] == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < low || p[1] > high) return 0;
    for (size_t i = 2; i < length; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    return length;
}

npr_status npr_urls_clean(const char *text, size_t n, char **out, size_t *cap, size_t *used)
{
    const unsigned char *p = (const unsigned char *)text;
    *used = 0;
    NPR_TRY(npr_grow(out, cap, 3 * n + 1, 1, "a text"));
    for (size_t i = 0, step; i < n; i += step ? step : 1) {
        step = character(p + i, n - i);
        const char *from = step ? text + i : "\xef\xbf\xbd";
        size_t bytes = step ? step : 3;
        if (p[i] < 0x20 || p[i] == 0x7f) from = " ";
        memcpy(*out + *used, from, bytes);
        *used += bytes;
    }
    return NPR_OK;
}

/* ---- ids ---- */

typedef struct slot {
    int64_t id;
    uint64_t url; /* its hash */
    int taken;
} slot;

typedef struct table {
    const npr_set *set;
    FILE *file;
    const char *path;
    slot *slot;
    size_t mask;
    npr_urls_count *count;
    char *text;
    size_t cap;
} table;

/* *seen: is this id in the table? If it is not, it will be. */
static npr_status see(table *t, int64_t id, uint64_t url, int *seen)
{
    size_t i = (size_t)npr_hash64(&id, sizeof id, 0) & t->mask;
    while (t->slot[i].taken && t->slot[i].id != id) i = (i + 1) & t->mask;
    *seen = t->slot[i].taken;
    if (*seen && t->slot[i].url != url)
        return npr_fail(NPR_EDATA, "%s: the id %lld has two URLs: pictures are told apart by id",
                        t->set->path, (long long)id);
    t->slot[i] = (slot){id, url, 1};
    return NPR_OK;
}

/* ---- rows ---- */

/* A field; in quotes, with its quotes doubled, if it has one. */
static npr_status put_text(table *t, const char *text, size_t n)
{
    size_t used;
    NPR_TRY(npr_urls_clean(text, n, &t->text, &t->cap, &used));
    int quoted = memchr(t->text, '"', used) != NULL;
    if (quoted) fputc('"', t->file);
    for (size_t i = 0; i < used; i++) {
        if (t->text[i] == '"') fputc('"', t->file);
        fputc(t->text[i], t->file);
    }
    if (quoted) fputc('"', t->file);
    fputc('\t', t->file);
    return NPR_OK;
}

static npr_status put_row(table *t, const npr_rows *r, int64_t i)
{
    size_t n;
    int seen;
    const char *url = npr_text_at(&r->url, i, &n);
    if (!n) return t->count->without++, NPR_OK;
    NPR_TRY(see(t, r->id[i], npr_hash64(url, n, 0), &seen));
    if (seen) return t->count->repeated++, NPR_OK;
    NPR_TRY(put_text(t, url, n));
    if (r->columns & NPR_COL(NPR_CAPTION)) {
        const char *caption = npr_text_at(&r->caption, i, &n);
        NPR_TRY(put_text(t, caption, n));
    }
    fprintf(t->file, "%lld\n", (long long)r->id[i]);
    t->count->written++;
    return ferror(t->file) ? npr_fail(NPR_EIO, "%s: cannot write: %s", t->path, strerror(errno)) : NPR_OK;
}

static npr_status put_part(table *t, int part, npr_rows *r)
{
    npr_part *p;
    NPR_TRY(npr_part_open(t->set, part, &p));
    npr_status st = NPR_OK;
    for (int64_t row = 0, n; !st && row < npr_part_rows(p); row += n) {
        n = npr_part_rows(p) - row < BATCH ? npr_part_rows(p) - row : BATCH;
        npr_rows_clear(r);
        st = npr_part_read(p, row, n, r);
        for (int64_t i = 0; !st && i < n; i++) st = put_row(t, r, i);
    }
    npr_part_close(p);
    return st;
}

static npr_status put_all(table *t)
{
    npr_rows r = {0};
    uint32_t caption = t->set->columns & NPR_COL(NPR_CAPTION);
    fprintf(t->file, "url\t%sid\n", caption ? "caption\t" : "");
    npr_status st = npr_rows_make(&r, NPR_COL(NPR_ID) | NPR_COL(NPR_URL) | caption, t->set->dim, BATCH);
    for (int part = 0; !st && part < t->set->parts; part++) st = put_part(t, part, &r);
    npr_rows_free(&r);
    return st;
}

npr_status npr_urls_write(const npr_set *set, const char *path, npr_urls_count *count)
{
    *count = (npr_urls_count){0};
    if (!(set->columns & NPR_COL(NPR_URL)))
        return npr_fail(NPR_EDATA, "%s: its rows have no URLs: it has no column url", set->path);
    table t = {.set = set, .path = path, .count = count, .mask = 1023};
    while (t.mask < (size_t)set->rows / 3 * 4) t.mask = 2 * t.mask + 1;
    char *temp = npr_file_temporary(path);
    t.slot = npr_alloc(t.mask + 1, sizeof *t.slot, "ids of a pool");
    npr_status st = temp && t.slot ? NPR_OK : npr_last();
    if (!st && !(t.file = fopen(temp, "wb")))
        st = npr_fail(npr_status_from_create(errno), "%s: cannot create: %s", temp, strerror(errno));
    int made = t.file != NULL;
    if (!st) st = put_all(&t);
    if (t.file && fclose(t.file) && !st)
        st = npr_fail(NPR_EIO, "%s: cannot write: %s", path, strerror(errno));
    if (!st) st = npr_file_publish(temp, path);
    if (st && made) (void)unlink(temp); /* the failure is said already */
    free(temp);
    free(t.slot);
    free(t.text);
    return st;
}
