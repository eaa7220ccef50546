/* images_read.c - where images lie, and what is known of them besides: rows without vectors. See images.h. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "io/field.h"
#include "io/images.h"
#include "io/lines.h"
#include "io/part.h"
#include "io/samples.h"

enum { TEXTS_MAX = 64 << 20 }; /* bytes of texts that end a batch early: rows may have texts of a megabyte */

struct npr_images {
    const npr_images_plan *plan;
    size_t file;    /* the open one; file.count: none */
    int64_t next;   /* the row it gives next */
    npr_paths name; /* folder: its images */
    npr_lines *lines;
    npr_samples *samples;
    npr_part *part;
    char *tokens; /* or what a join compares */
    size_t tokens_cap;
};

npr_status npr_images_open(const npr_images_plan *plan, npr_images **out)
{
    npr_images *s = npr_alloc(1, sizeof *s, "images being read");
    if (!s) return npr_last();
    s->plan = plan;
    s->file = plan->file.count;
    *out = s;
    return NPR_OK;
}

static void close_file(npr_images *s)
{
    npr_paths_free(&s->name);
    npr_lines_close(s->lines);
    npr_samples_close(s->samples);
    npr_part_close(s->part);
    s->lines = NULL;
    s->samples = NULL;
    s->part = NULL;
    s->file = s->plan->file.count;
}

void npr_images_close(npr_images *s)
{
    if (!s) return;
    close_file(s);
    free(s->tokens);
    free(s);
}

static void free_places(npr_images_rows *b)
{
    for (int64_t i = 0; i < b->cap; i++) {
        free(b->at[i].path);
        free(b->at[i].name);
        b->at[i] = (npr_image_at){0};
    }
}

void npr_images_rows_free(npr_images_rows *b)
{
    free_places(b);
    free(b->at);
    npr_rows_free(&b->rows);
    *b = (npr_images_rows){0};
}

/* ---- places ---- */

/* A name below the folder of --root. */
static char *below_root(const npr_images_plan *plan, const char *name)
{
    const char *root = plan->options.root;
    return root && name[0] != '/' ? npr_path("%s/%s", root, name) : npr_strdup(name);
}

/* Say where the image of the row being filled lies; path is taken over. */
static npr_status put_place(npr_images_rows *b, char *path, const char *container, int64_t offset,
                            int64_t bytes)
{
    npr_rows *r = &b->rows;
    npr_image_at *at = &b->at[r->n];
    int64_t number = -1;
    at->path = path;
    at->offset = offset;
    at->bytes = bytes;
    if (!path) return npr_last();
    if (container) NPR_TRY(npr_rows_container(r, container, &number));
    int64_t *source = r->source + 3 * r->n;
    source[0] = number;
    source[1] = offset;
    source[2] = bytes < 0 ? 0 : bytes; /* of a whole file: known when it is read */
    return NPR_OK;
}

/* ---- a folder ---- */

static npr_status open_folder(npr_images *s, size_t f)
{
    const npr_images_file *facts = &s->plan->facts[f];
    const char *path = s->plan->file.path[f];
    NPR_TRY(npr_images_list_folder(path, &s->name, NULL));
    if ((int64_t)s->name.count != facts->rows)
        return npr_fail(NPR_EDATA, "%s: changed while it was being read: %zu images, there were %lld", path,
                        s->name.count, (long long)facts->rows);
    return NPR_OK;
}

static npr_status read_folder(npr_images *s, int64_t row, npr_images_rows *b)
{
    const npr_images_plan *plan = s->plan;
    const char *file = s->name.path[row - plan->facts[s->file].row0];
    npr_image_at *at = &b->at[b->rows.n];
    at->name = plan->class.count ? npr_path("%s/%s", plan->class.path[s->file], file) : npr_strdup(file);
    if (!at->name) return npr_last();
    if (plan->class.count)
        b->rows.label[b->rows.n] =
            plan->numbered ? (int32_t)strtol(plan->class.path[s->file], NULL, 10) : (int32_t)s->file;
    return put_place(b, npr_path("%s/%s", plan->file.path[s->file], file), at->name, 0, -1);
}

/* ---- a list ---- */

static npr_status next_line(npr_images *s, const char **line, size_t *n)
{
    do {
        NPR_TRY(npr_lines_next(s->lines, line, n));
        if (!*line)
            return npr_fail(NPR_EDATA, "%s: changed while it was being read: it became shorter",
                            s->plan->file.path[s->file]);
    } while (!*n);
    return NPR_OK;
}

static npr_status put_list_label(const npr_images *s, const char *label, size_t n, npr_rows *r)
{
    const npr_images_plan *plan = s->plan;
    if (!plan->class.count) { /* a number */
        npr_field_value v = {.kind = NPR_FIELD_TEXT, .text = label, .n = n};
        return npr_field_put(r, NPR_LABEL, &v, plan->file.path[s->file], 0);
    }
    int64_t class = npr_images_find_class(&plan->class, label, n);
    if (class < 0)
        return npr_fail(NPR_EDATA, "%s: changed while it was being read", plan->file.path[s->file]);
    r->label[r->n] = (int32_t) class;
    return NPR_OK;
}

static npr_status read_list(npr_images *s, npr_images_rows *b)
{
    const char *line, *label;
    size_t n, label_bytes;
    npr_image_at *at = &b->at[b->rows.n];
    NPR_TRY(next_line(s, &line, &n));
    size_t name = npr_images_split_line(line, n, &label, &label_bytes);
    if (!(at->name = npr_path("%.*s", (int)name, line))) return npr_last();
    if (s->plan->labelled) NPR_TRY(put_list_label(s, label, label_bytes, &b->rows));
    return put_place(b, below_root(s->plan, at->name), at->name, 0, -1);
}

/* ---- a tar ---- */

/* A member that is a text or a label, as a field. */
static npr_status put_member(npr_images *s, npr_span at, npr_column c, npr_rows *r)
{
    if (at.bytes < 0 || !(r->columns & NPR_COL(c))) return NPR_OK;
    if (at.bytes > NPR_IMAGES_TEXT) return npr_fail(NPR_EDATA, "a text of %lld bytes", (long long)at.bytes);
    npr_field_value v = {.kind = NPR_FIELD_TEXT, .n = (size_t)at.bytes};
    NPR_TRY(npr_samples_read(s->samples, at, &v.text));
    if (c == NPR_LABEL)
        while (v.n && (v.text[v.n - 1] == '\n' || v.text[v.n - 1] == '\r')) v.n--;
    return npr_field_put(r, c, &v, s->plan->file.path[s->file], 0);
}

/* The columns that a sample's JSON may fill. */
static const uint32_t fields = NPR_COL(NPR_CAPTION) | NPR_COL(NPR_URL) | NPR_COL(NPR_SIMILARITY) |
                               NPR_COL(NPR_NSFW) | NPR_COL(NPR_WIDTH) | NPR_COL(NPR_HEIGHT) |
                               NPR_COL(NPR_LABEL);

/* The fields of a sample's JSON; *map: what it had. */
static npr_status put_json(npr_images *s, npr_span at, npr_rows *r, npr_field_map *map)
{
    const char *path = s->plan->file.path[s->file], *id = s->plan->options.id_field, *text;
    if (at.bytes < 0) return id ? npr_fail(NPR_EDATA, "no JSON, and so no \"%s\"", id) : NPR_OK;
    if (at.bytes > NPR_IMAGES_TEXT) return npr_fail(NPR_EDATA, "a JSON of %lld bytes", (long long)at.bytes);
    NPR_TRY(npr_samples_read(s->samples, at, &text));
    npr_json *object = npr_json_parse(text, (size_t)at.bytes, path);
    if (!object) return npr_last();
    npr_status st = npr_field_put_object(object, fields, path, map, r);
    if (!st && id) st = npr_json_get_int(object, id, path, &r->id[r->n]);
    npr_json_free(object);
    return st;
}

static npr_status put_fields(npr_images *s, const npr_sample *sample, npr_rows *r)
{
    npr_field_map map = {0};
    NPR_TRY(put_json(s, sample->json, r, &map));
    if (!(map.columns & NPR_COL(NPR_CAPTION))) NPR_TRY(put_member(s, sample->text, NPR_CAPTION, r));
    if (!(map.columns & NPR_COL(NPR_LABEL))) NPR_TRY(put_member(s, sample->class, NPR_LABEL, r));
    return r->columns & NPR_COL(NPR_TOKENS) ? npr_rows_put_tokens(r, &s->tokens, &s->tokens_cap) : NPR_OK;
}

static npr_status read_tar(npr_images *s, npr_images_rows *b)
{
    const char *tar = s->plan->file.path[s->file], *name = npr_images_container(s->plan, s->file);
    const npr_sample *sample;
    npr_image_at *at = &b->at[b->rows.n];
    NPR_TRY(npr_samples_next(s->samples, &sample));
    if (!sample) return npr_fail(NPR_EDATA, "%s: changed while it was being read: it became shorter", tar);
    at->name = npr_path("%s/%s", name, sample->name);
    if (!at->name) return npr_last();
    NPR_TRY(put_place(b, npr_strdup(tar), name, sample->image.offset, sample->image.bytes));
    npr_status st = put_fields(s, sample, &b->rows);
    if (st != NPR_EDATA) return st;
    npr_rows_drop(&b->rows); /* one sample's damage is not the archive's */
    at->skip = NPR_SKIP_METADATA;
    return NPR_OK;
}

/* ---- a set ---- */

/* Rows of the open part, as many as it has of n, with their places. */
static npr_status read_set(npr_images *s, int64_t row, int64_t n, npr_images_rows *b)
{
    const npr_images_file *f = &s->plan->facts[s->file];
    npr_rows *r = &b->rows;
    int64_t first = r->n;
    if (n > f->row0 + f->rows - row) n = f->row0 + f->rows - row;
    NPR_TRY(npr_part_read_more(s->part, row - f->row0, n, r));
    for (int64_t i = first; i < r->n; i++) {
        const int64_t *source = r->source + 3 * i;
        const char *container = source[0] < 0 ? "" : r->container[source[0]];
        npr_image_at *at = &b->at[i];
        at->name = npr_strdup(container);
        at->path = below_root(s->plan, container);
        if (!at->name || !at->path) return npr_last();
        at->offset = source[1];
        at->bytes = source[2] < 0 ? 0 : source[2];
        if (source[0] < 0) at->skip = NPR_IMAGE_UNREADABLE;
    }
    return NPR_OK;
}

/* ---- a pool whose pictures were downloaded ---- */

/* Rows of the open part of the pool, with the places of their pictures: what the pool's own `source` says is
 * forgotten. */
static npr_status read_joined(npr_images *s, int64_t row, int64_t n, npr_images_rows *b)
{
    const npr_images_file *f = &s->plan->facts[s->file];
    npr_rows *r = &b->rows;
    int64_t first = r->n;
    if (n > f->row0 + f->rows - row) n = f->row0 + f->rows - row;
    uint32_t columns = r->columns;
    r->columns = columns & ~NPR_COL(NPR_SOURCE);
    npr_status st = npr_part_read_more(s->part, row - f->row0, n, r);
    r->columns = columns;
    npr_rows_unknown(r, NPR_SOURCE, first, n);
    for (int64_t i = first; i < r->n && !st; i++)
        st = npr_images_put_joined(s->plan, i, b, &s->tokens, &s->tokens_cap);
    return st;
}

/* ---- all kinds ---- */

/* The last file that begins at or before the row. */
static size_t file_of(const npr_images_plan *plan, int64_t row)
{
    size_t f = 0, end = plan->file.count;
    while (end - f > 1) {
        size_t middle = f + (end - f) / 2;
        if (plan->facts[middle].row0 <= row)
            f = middle;
        else
            end = middle;
    }
    return f;
}

static npr_status open_file(npr_images *s, size_t f)
{
    const npr_images_plan *plan = s->plan;
    const char *path = plan->file.path[f];
    close_file(s);
    npr_status st = NPR_OK;
    switch (plan->kind) {
    case NPR_IMAGES_FOLDER:
        st = open_folder(s, f);
        break;
    case NPR_IMAGES_LIST:
        st = npr_lines_open(path, &s->lines);
        break;
    case NPR_IMAGES_TARS:
        st = npr_samples_open(path, &s->samples);
        break;
    default:
        st = npr_part_open(plan->set, (int)f, &s->part);
        break;
    }
    if (!st) s->file = f;
    s->next = -1;
    return st;
}

/* Go to a row of a file that has marks. */
static npr_status seek(npr_images *s, int64_t in_file)
{
    const npr_images_file *f = &s->plan->facts[s->file];
    int64_t mark = in_file / NPR_IMAGES_MARK;
    const npr_sample *sample;
    const char *line;
    size_t n;
    NPR_TRY(s->lines ? npr_lines_seek(s->lines, f->mark[mark]) : npr_samples_seek(s->samples, f->mark[mark]));
    for (int64_t i = mark * NPR_IMAGES_MARK; i < in_file; i++)
        NPR_TRY(s->lines ? next_line(s, &line, &n) : npr_samples_next(s->samples, &sample));
    return NPR_OK;
}

static npr_status go_to(npr_images *s, int64_t row)
{
    size_t f = file_of(s->plan, row);
    if (f != s->file) NPR_TRY(open_file(s, f));
    if (s->next == row) return NPR_OK;
    if (s->lines || s->samples) NPR_TRY(seek(s, row - s->plan->facts[f].row0));
    s->next = row;
    return NPR_OK;
}

static size_t text_bytes(const npr_rows *r)
{
    size_t n = 0;
    for (int c = 0; c < NPR_COLUMNS; c++)
        if (r->columns & NPR_COL(c) && npr_column_is_text(c))
            n += (size_t)npr_column_text(r, (npr_column)c)->offset[r->n];
    return n;
}

/* One row of a folder, list or tar. */
static npr_status read_one(npr_images *s, int64_t row, npr_images_rows *b)
{
    npr_rows *r = &b->rows;
    for (int c = 0; c < NPR_COLUMNS; c++)
        if (r->columns & NPR_COL(c) && !npr_column_is_text(c)) npr_rows_unknown(r, (npr_column)c, r->n, 1);
    r->id[r->n] = row;
    npr_status st = s->plan->kind == NPR_IMAGES_FOLDER ? read_folder(s, row, b)
                    : s->plan->kind == NPR_IMAGES_LIST ? read_list(s, b)
                                                       : read_tar(s, b);
    return st ? st : npr_rows_next(r);
}

static npr_status make_room(npr_images *s, int64_t n, npr_images_rows *b)
{
    free_places(b);
    if (b->cap >= n) {
        npr_rows_clear(&b->rows);
        return NPR_OK;
    }
    npr_images_rows_free(b);
    NPR_TRY(npr_rows_make(&b->rows, s->plan->columns, 1, n));
    b->at = npr_alloc((size_t)n, sizeof *b->at, "places of images");
    if (b->at) b->cap = n;
    return b->at ? NPR_OK : npr_last();
}

npr_status npr_images_read(npr_images *s, int64_t row0, int64_t n, npr_images_rows *b)
{
    NPR_TRY(make_room(s, n, b));
    while (b->rows.n < n && text_bytes(&b->rows) < TEXTS_MAX) {
        int64_t row = row0 + b->rows.n;
        NPR_TRY(go_to(s, row));
        NPR_TRY(s->plan->kind == NPR_IMAGES_JOIN ? read_joined(s, row, n - b->rows.n, b)
                : s->part                        ? read_set(s, row, n - b->rows.n, b)
                                                 : read_one(s, row, b));
        s->next = row0 + b->rows.n;
    }
    return NPR_OK;
}
