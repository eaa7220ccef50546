/* manifest.c - see manifest.h. */
#include "io/manifest.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/mem.h"
#include "io/part.h"

enum {
    VERSION = 1,
    TAIL = sizeof ",\n \"manifest_digest\": \"\"\n}\n" - 1 + NPR_DIGEST_HEX - 1, /* the last two lines */
    TAIL_ROOM = TAIL + 1
};

static char *manifest_path(const char *path)
{
    return npr_path("%s/manifest.json", path);
}

/* ---- entries of parts ---- */

npr_json *npr_entry_to_json(const npr_part_entry *e)
{
    npr_json *v = npr_json_object();
    if (!v) return NULL;
    npr_status st = npr_json_set_text(v, "file", e->file);
    if (!st) st = npr_json_set_int(v, "rows", e->rows);
    if (!st) st = npr_json_set_int(v, "bytes", e->bytes);
    if (!st) st = npr_json_set_text(v, "digest", e->digest);
    if (!st) st = npr_json_set_real(v, "residual", e->residual);
    if (!st) st = npr_json_set_text(v, "index_digest", e->index_digest);
    if (!st) return v;
    npr_json_free(v);
    return NULL;
}

/* Copy a digest: 32 hexadecimal digits, or nothing where that is allowed. */
static npr_status take_digest(const npr_json *v, const char *key, const char *origin, int may_lack,
                              char hex[NPR_DIGEST_HEX])
{
    const char *text;
    NPR_TRY(npr_json_get_text(v, key, origin, &text));
    size_t n = strlen(text);
    if ((n != NPR_DIGEST_HEX - 1 || strspn(text, "0123456789abcdef") != n) && !(n == 0 && may_lack))
        return npr_fail(NPR_EDATA, "%s: \"%s\" is \"%.40s\", not 32 hexadecimal digits", origin, key, text);
    memcpy(hex, text, n + 1);
    return NPR_OK;
}

npr_status npr_entry_from_json(const npr_json *v, const char *origin, int part, int64_t part_rows,
                               npr_part_entry *e)
{
    const char *file;
    *e = (npr_part_entry){0};
    npr_part_name(part, e->file);
    NPR_TRY(npr_json_get_text(v, "file", origin, &file));
    if (strcmp(file, e->file) != 0) /* also keeps paths out of here */
        return npr_fail(NPR_EDATA, "%s: part %d is called \"%.40s\", not %s", origin, part, file, e->file);
    NPR_TRY(npr_json_get_int(v, "rows", origin, &e->rows));
    NPR_TRY(npr_json_get_int(v, "bytes", origin, &e->bytes));
    NPR_TRY(npr_json_get_real(v, "residual", origin, &e->residual));
    NPR_TRY(take_digest(v, "digest", origin, 0, e->digest));
    NPR_TRY(take_digest(v, "index_digest", origin, 1, e->index_digest));
    if (e->rows < 0 || e->rows > part_rows || e->bytes < 1 || !isfinite(e->residual) || e->residual < 0)
        return npr_fail(NPR_EDATA, "%s: %s: %lld rows (at most %lld), %lld bytes, residual %g", origin, file,
                        (long long)e->rows, (long long)part_rows, (long long)e->bytes, e->residual);
    return NPR_OK;
}

/* ---- printing ---- */

static npr_status put_columns(npr_json *o, uint32_t columns)
{
    npr_json *a = npr_json_array();
    npr_status st = a ? NPR_OK : npr_last();
    for (int c = 0; c < NPR_COLUMNS && !st; c++)
        if (columns & NPR_COL(c)) st = npr_json_append_text(a, npr_column_name((npr_column)c));
    if (!st) return npr_json_set(o, "columns", a);
    npr_json_free(a);
    return st;
}

static npr_status put_entries(npr_json *o, const npr_set *set)
{
    npr_json *a = npr_json_array();
    npr_status st = a ? NPR_OK : npr_last();
    for (int i = 0; i < set->parts && !st; i++) {
        npr_json *e = npr_entry_to_json(&set->part[i]);
        st = e ? npr_json_append(a, e) : npr_last();
    }
    if (!st) return npr_json_set(o, "parts", a);
    npr_json_free(a);
    return st;
}

/* Nothing here depends on who wrote the set, where, when or with how many ranks. */
static npr_status put_all(npr_json *o, const npr_set *set)
{
    NPR_TRY(npr_json_set_text(o, "format", "npr-set"));
    NPR_TRY(npr_json_set_int(o, "version", VERSION));
    NPR_TRY(npr_json_set_text(o, "kind", set->kind));
    NPR_TRY(npr_json_set_text(o, "model", set->model));
    NPR_TRY(npr_json_set_int(o, "dim", set->dim));
    NPR_TRY(npr_json_set_text(o, "dtype", "float16"));
    NPR_TRY(npr_json_set_bool(o, "normalised", 1));
    NPR_TRY(put_columns(o, set->columns));
    NPR_TRY(npr_json_set_int(o, "rows", set->rows));
    NPR_TRY(npr_json_set_int(o, "part_rows", set->part_rows));
    NPR_TRY(npr_json_set_real(o, "residual", set->residual));
    NPR_TRY(npr_json_set_text(o, "index", set->index));
    NPR_TRY(npr_json_set_text(o, "index_job", set->index_job));
    NPR_TRY(npr_json_set_text(o, "job", set->job));
    return put_entries(o, set);
}

static void print_tail(const char *body, size_t n, char hex[NPR_DIGEST_HEX], char tail[TAIL_ROOM])
{
    npr_digest_block(body, n, hex);
    snprintf(tail, TAIL_ROOM, ",\n \"manifest_digest\": \"%s\"\n}\n", hex);
}

npr_status npr_manifest_print(npr_set *set, char **text, size_t *n)
{
    char tail[TAIL_ROOM];
    char *body = NULL;
    npr_json *o = npr_json_object();
    npr_status st = o ? put_all(o, set) : npr_last();
    if (!st && !(body = npr_json_print(o, 1))) st = npr_last();
    npr_json_free(o);
    if (st) return st;
    size_t length = strlen(body) - strlen("\n}");
    print_tail(body, length, set->digest, tail);
    *text = npr_path("%.*s%s", (int)length, body, tail);
    *n = length + strlen(tail);
    free(body);
    return *text ? NPR_OK : npr_last();
}

/* ---- parsing ---- */

static npr_status check_digest(const char *path, const char *text, size_t n, char hex[NPR_DIGEST_HEX])
{
    char tail[TAIL_ROOM] = "";
    size_t body = n < TAIL ? 0 : n - TAIL;
    print_tail(text, body, hex, tail);
    if (n < TAIL || memcmp(text + body, tail, TAIL) != 0)
        return npr_fail(
            NPR_EDATA, "%s: damaged, or no manifest of a set: its last line is not the digest %s of the rest",
            path, hex);
    return NPR_OK;
}

static npr_status check_format(const npr_json *o, const char *path)
{
    const char *format, *dtype;
    int64_t version;
    int normalised;
    NPR_TRY(npr_json_get_text(o, "format", path, &format));
    NPR_TRY(npr_json_get_int(o, "version", path, &version));
    if (strcmp(format, "npr-set") != 0 || version != VERSION)
        return npr_fail(NPR_EENV, "%s: format %.40s version %lld, this program reads npr-set version %d",
                        path, format, (long long)version, VERSION);
    NPR_TRY(npr_json_get_text(o, "dtype", path, &dtype));
    NPR_TRY(npr_json_get_bool(o, "normalised", path, &normalised));
    if (strcmp(dtype, "float16") != 0 || !normalised)
        return npr_fail(NPR_EENV, "%s: dtype %.40s, normalised %d: wanted float16 and 1", path, dtype,
                        normalised);
    return NPR_OK;
}

static npr_status take_columns(const npr_json *o, const char *path, uint32_t *columns)
{
    npr_json *names;
    NPR_TRY(npr_json_get_array(o, "columns", path, &names));
    *columns = 0;
    for (size_t i = 0; i < npr_json_count(names); i++) {
        npr_column c;
        const char *name = npr_json_text(npr_json_at(names, i));
        if (!name) return npr_fail(NPR_EDATA, "%s: \"columns\" holds something that is not a name", path);
        NPR_TRY(npr_column_find(name, path, &c));
        *columns |= NPR_COL(c);
    }
    uint32_t needed = NPR_COL(NPR_EMB) | NPR_COL(NPR_ID);
    if ((*columns & needed) != needed)
        return npr_fail(NPR_EDATA, "%s: a set has at least the columns emb and id", path);
    return NPR_OK;
}

static npr_status take_parts(const npr_json *o, const char *path, npr_set *set)
{
    npr_json *list;
    NPR_TRY(npr_json_get_array(o, "parts", path, &list));
    size_t n = npr_json_count(list);
    if (n > NPR_PARTS_MAX) return npr_fail(NPR_EDATA, "%s: %zu parts, more than %d", path, n, NPR_PARTS_MAX);
    npr_part_entry *part = npr_alloc(n, sizeof *part, "the parts of a set");
    if (!part) return npr_last();
    npr_status st = NPR_OK;
    for (size_t i = 0; i < n && !st; i++) {
        st = npr_entry_from_json(npr_json_at(list, i), path, (int)i, set->part_rows, &part[i]);
        if (!st && !part[i].index_digest[0] != !set->index[0])
            st = npr_fail(NPR_EDATA, "%s: %s and the set disagree on having an index", path, part[i].file);
    }
    if (!st) st = npr_set_put_parts(set, part, (int)n);
    free(part);
    return st;
}

static npr_status take_numbers(const npr_json *o, const char *path, npr_set *set)
{
    int64_t dim, rows;
    double residual;
    NPR_TRY(npr_json_get_int(o, "dim", path, &dim));
    NPR_TRY(npr_json_get_int(o, "rows", path, &rows));
    NPR_TRY(npr_json_get_int(o, "part_rows", path, &set->part_rows));
    NPR_TRY(npr_json_get_real(o, "residual", path, &residual));
    if (dim < 1 || dim > NPR_DIM_MAX || set->part_rows < 1 || set->part_rows > NPR_PART_ROWS)
        return npr_fail(NPR_EDATA, "%s: dim %lld, %lld rows a part", path, (long long)dim,
                        (long long)set->part_rows);
    set->dim = (int)dim;
    NPR_TRY(take_columns(o, path, &set->columns));
    NPR_TRY(take_parts(o, path, set));
    if (set->rows != rows || set->residual != residual)
        return npr_fail(NPR_EDATA, "%s: %lld rows, residual %.17g; its parts have %lld and %.17g", path,
                        (long long)rows, residual, (long long)set->rows, set->residual);
    return NPR_OK;
}

static npr_status take_set(const npr_json *o, const char *path, const char *file, npr_set **set)
{
    const char *kind, *model, *job, *index, *index_job;
    NPR_TRY(check_format(o, file));
    NPR_TRY(npr_json_get_text(o, "kind", file, &kind));
    NPR_TRY(npr_json_get_text(o, "model", file, &model));
    NPR_TRY(npr_json_get_text(o, "job", file, &job));
    NPR_TRY(npr_json_get_text(o, "index", file, &index));
    NPR_TRY(npr_json_get_text(o, "index_job", file, &index_job));
    if (!(*set = npr_set_new(path, kind, model, job))) return npr_last();
    NPR_TRY(npr_set_put_index_texts(*set, index, index_job));
    return take_numbers(o, file, *set);
}

npr_status npr_manifest_parse(const char *path, const char *text, size_t n, npr_set **out)
{
    char hex[NPR_DIGEST_HEX];
    npr_set *set = NULL;
    npr_json *o = NULL;
    char *file = manifest_path(path);
    npr_status st = file ? check_digest(file, text, n, hex) : npr_last();
    if (!st && !(o = npr_json_parse(text, n, file))) st = npr_last();
    if (!st) st = take_set(o, path, file, &set);
    if (!st) memcpy(set->digest, hex, sizeof hex);
    npr_json_free(o);
    free(file);
    if (st)
        npr_set_free(set);
    else
        *out = set;
    return st;
}

/* ---- the file ---- */

int npr_manifest_exists(const char *path)
{
    char *file = manifest_path(path);
    int yes = file && npr_file_exists(file);
    free(file);
    return yes;
}

int npr_manifest_owns(const char *name)
{
    static const char *const own[] = {"manifest.json", "classes.tsv", "result.txt"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (!strcmp(name, own[i])) return 1;
    size_t n = strlen(name);
    return n > 8 && !strncmp(name, "part-", 5) && !strcmp(name + n - 3, ".h5");
}

npr_status npr_manifest_read(const char *path, char **text, size_t *n)
{
    char *file = manifest_path(path);
    char *scratch = npr_path("%s/.work", path);
    npr_status st = file && scratch ? NPR_OK : npr_last();
    if (!st && !npr_file_exists(path)) st = npr_fail(NPR_ENOINPUT, "%s: no such folder", path);
    if (!st && !npr_file_exists(file))
        st = npr_fail(NPR_ENOINPUT, "%s: %s", path,
                      npr_file_exists(scratch)
                          ? "this set is not finished: run the command that writes it again"
                          : "not a set: it has no manifest.json");
    if (!st) st = npr_file_read(file, NPR_MANIFEST_MAX, text, n);
    free(scratch);
    free(file);
    return st;
}

npr_status npr_manifest_write(npr_set *set)
{
    char *text = NULL;
    size_t n;
    char *file = manifest_path(set->path);
    npr_status st = file ? npr_manifest_print(set, &text, &n) : npr_last();
    if (!st && npr_fault("manifest.write")) st = npr_fail(NPR_EIO, "%s: cannot write", file);
    if (!st) st = npr_file_replace(file, text, n);
    free(text);
    free(file);
    return st;
}
