/* join.c - pictures and failures of one file, and the table of all. See join.h. */
#include "io/join.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/json.h"
#include "base/mem.h"
#include "io/images.h"
#include "io/lines.h"
#include "io/samples.h"
#include "io/urls.h"

static npr_status add(npr_join *j, const npr_joined *e)
{
    NPR_TRY(npr_grow(&j->row, &j->cap, (size_t)j->rows + 1, sizeof *j->row, "downloaded pictures"));
    j->row[j->rows++] = *e;
    return NPR_OK;
}

static npr_status hash_text(const char *text, size_t n, char **scratch, size_t *cap, uint64_t *hash)
{
    size_t used;
    NPR_TRY(npr_urls_clean(text, n, scratch, cap, &used));
    *hash = npr_hash64(*scratch, used, 0);
    if (!*hash) *hash = 1; /* 0: unknown */
    return NPR_OK;
}

/* ---- a tar ---- */

typedef struct scan {
    npr_join *j;
    npr_samples *samples;
    const char *path;
    char *scratch;
    size_t cap;
} scan;

static npr_status take_text(scan *s, const npr_json *object, const char *key, uint64_t *hash)
{
    const npr_json *v = npr_json_get(object, key);
    const char *text = v ? npr_json_text(v) : NULL;
    return text ? hash_text(text, npr_json_text_bytes(v), &s->scratch, &s->cap, hash) : NPR_OK;
}

static int32_t take_size(const npr_json *object, const char *key)
{
    int64_t x = 0;
    const npr_json *v = npr_json_get(object, key);
    return v && npr_json_integer(v, &x) && x > 0 && x <= INT32_MAX ? (int32_t)x : 0;
}

/* What img2dataset says of a picture: its id, and whether it got it. */
static npr_status take_object(scan *s, const npr_json *object, npr_joined *e)
{
    const char *id = s->j->options.id_field;
    const npr_json *status = npr_json_get(object, "status");
    NPR_TRY(npr_json_get_int(object, id ? id : "id", s->path, &e->id));
    if (status && npr_json_text(status) && strcmp(npr_json_text(status), "success") != 0) e->bytes = -1;
    e->width = take_size(object, "original_width");
    e->height = take_size(object, "original_height");
    NPR_TRY(take_text(s, object, "url", &e->url));
    return take_text(s, object, "caption", &e->caption);
}

static npr_status take_sample(scan *s, const npr_sample *sample, npr_joined *e)
{
    const char *text;
    if (sample->json.bytes < 0 || sample->json.bytes > NPR_IMAGES_TEXT)
        return npr_fail(NPR_EDATA, "%s: no JSON", s->path);
    NPR_TRY(npr_samples_read(s->samples, sample->json, &text));
    npr_json *object = npr_json_parse(text, (size_t)sample->json.bytes, s->path);
    if (!object) return npr_last();
    npr_status st = take_object(s, object, e);
    npr_json_free(object);
    return st;
}

npr_status npr_join_scan_tar(npr_join *j, int file)
{
    scan s = {.j = j, .path = j->tar.path[file]};
    const npr_sample *sample;
    NPR_TRY(npr_samples_open(s.path, &s.samples));
    npr_status st;
    while (!(st = npr_samples_next_any(s.samples, &sample)) && sample) {
        npr_joined e = {.offset = sample->image.offset, .bytes = sample->image.bytes, .file = file};
        int picture = e.bytes >= 0;
        j->pictures += picture;
        st = take_sample(&s, sample, &e);
        if (st == NPR_EDATA) { /* one sample's damage is not the archive's */
            j->nameless += picture;
            continue;
        }
        if (!st) st = add(j, &e);
        if (st) break;
        if (e.bytes >= 0) j->bytes += e.bytes;
    }
    j->unused += npr_samples_unused(s.samples);
    npr_samples_close(s.samples);
    free(s.scratch);
    return st;
}

/* ---- failures ---- */

/* Field number k of a line; its length in *n, NULL if the line has fewer. */
static const char *field(const char *line, size_t n, int k, size_t *length)
{
    const char *end = line + n;
    for (; k > 0; k--) {
        line = memchr(line, '\t', (size_t)(end - line));
        if (!line++) return NULL;
    }
    const char *tab = memchr(line, '\t', (size_t)(end - line));
    *length = (size_t)((tab ? tab : end) - line);
    return line;
}

/* The number of the field of this name in a header, -1: none. */
static int find_field(const char *header, size_t n, const char *name)
{
    size_t length;
    const char *at;
    for (int k = 0; (at = field(header, n, k, &length)) != NULL; k++)
        if (length == strlen(name) && !memcmp(at, name, length)) return k;
    return -1;
}

static npr_status take_line(npr_join *j, const char *path, int64_t row, const char *line, size_t n, int id,
                            int status)
{
    size_t n_id, n_status;
    char number[24], *end = number;
    const char *a = field(line, n, id, &n_id), *b = field(line, n, status, &n_status);
    npr_joined e = {.bytes = -1, .file = -1};
    if (a && b && n_id && n_id < sizeof number) {
        memcpy(number, a, n_id);
        number[n_id] = 0;
        e.id = strtoll(number, &end, 10);
    }
    if (end == number || *end)
        return npr_fail(NPR_EDATA, "%s: row %lld has no id and status", path, (long long)row);
    return n_status == 7 && !memcmp(b, "success", 7) ? NPR_OK : add(j, &e);
}

npr_status npr_join_scan_failed(npr_join *j, const char *path)
{
    npr_lines *l;
    const char *line, *id_name = j->options.id_field ? j->options.id_field : "id";
    size_t n;
    int64_t row = 0;
    int id = -1, status = -1;
    NPR_TRY(npr_lines_open(path, &l));
    npr_status st = npr_lines_next(l, &line, &n);
    if (!st && line) {
        id = find_field(line, n, id_name);
        status = find_field(line, n, "status");
    }
    if (!st && (id < 0 || status < 0))
        st = npr_fail(NPR_EDATA, "%s: wanted a header with the fields \"%s\" and \"status\"", path, id_name);
    while (!st && !(st = npr_lines_next(l, &line, &n)) && line)
        if (n) st = take_line(j, path, row++, line, n, id, status);
    npr_lines_close(l);
    return st;
}

/* ---- the table ---- */

/* Pictures before failures, then as they stand in the tars. */
static int by_id(const void *va, const void *vb)
{
    const npr_joined *a = va, *b = vb;
    int failed = (a->bytes < 0) - (b->bytes < 0);
    if (a->id != b->id) return a->id < b->id ? -1 : 1;
    if (failed) return failed;
    if (a->file != b->file) return a->file < b->file ? -1 : 1;
    return (a->offset > b->offset) - (a->offset < b->offset);
}

void npr_join_sort(npr_join *j)
{
    int64_t kept = 0;
    size_t used = 0;
    if (j->rows) qsort(j->row, (size_t)j->rows, sizeof *j->row, by_id);
    for (int64_t i = 0; i < j->rows; i++) {
        const npr_joined *e = &j->row[i];
        if (!kept || e->id != j->row[kept - 1].id) {
            j->row[kept++] = *e;
            continue;
        }
        if (e->bytes < 0) continue; /* a failure, and later a picture; or two failures */
        j->repeated++;
        if (used + 24 < sizeof j->repeated_first)
            used += (size_t)snprintf(j->repeated_first + used, sizeof j->repeated_first - used, "%s%lld",
                                     used ? ", " : "", (long long)e->id);
    }
    j->rows = kept;
}

const char *npr_join_container(const npr_join *j, const npr_joined *e)
{
    const char *path = j->tar.path[e->file], *slash = strrchr(path, '/');
    return slash && !j->same_names ? slash + 1 : path;
}

uint32_t npr_join_columns(const npr_set *pool)
{
    uint32_t compared = NPR_COL(NPR_URL) | NPR_COL(NPR_CAPTION) | NPR_COL(NPR_WIDTH) | NPR_COL(NPR_HEIGHT);
    return NPR_COL(NPR_ID) | NPR_COL(NPR_LABEL) | (pool->columns & compared);
}

static npr_status text_differs(uint64_t hash, const npr_text *texts, int64_t i, char **scratch, size_t *cap,
                               int *differs)
{
    size_t n;
    uint64_t other;
    const char *text = npr_text_at(texts, i, &n);
    NPR_TRY(hash_text(text, n, scratch, cap, &other));
    *differs |= other != hash;
    return NPR_OK;
}

npr_status npr_join_row(const npr_join *j, const npr_rows *r, int64_t i, const npr_joined **e, int *state,
                        int *changes, char **scratch, size_t *cap)
{
    int64_t low = 0, high = j->rows, id = r->id[i];
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (j->row[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    const npr_joined *at = low < j->rows && j->row[low].id == id ? &j->row[low] : NULL;
    *state = !at ? NPR_JOIN_MISSING : at->bytes < 0 ? NPR_JOIN_DEAD : NPR_JOIN_HERE;
    *changes = 0;
    *e = *state == NPR_JOIN_HERE ? at : NULL;
    if (!*e) return NPR_OK;
    int size = (r->columns & NPR_COL(NPR_WIDTH) && r->width[i] && at->width && r->width[i] != at->width) ||
               (r->columns & NPR_COL(NPR_HEIGHT) && r->height[i] && at->height && r->height[i] != at->height);
    int text = 0;
    if (r->columns & NPR_COL(NPR_URL) && at->url)
        NPR_TRY(text_differs(at->url, &r->url, i, scratch, cap, &text));
    if (r->columns & NPR_COL(NPR_CAPTION) && at->caption)
        NPR_TRY(text_differs(at->caption, &r->caption, i, scratch, cap, &text));
    *changes = (size ? NPR_JOIN_SIZE : 0) | (text ? NPR_JOIN_TEXT : 0);
    return NPR_OK;
}
