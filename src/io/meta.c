/* meta.c - metadata rows from TSV and JSON lines; databases are passed on to sqlite.c. See npr/source.h.
 *
 * TSV as clip-retrieval, img2dataset and parquet2tsv.py write it: fields between tabs, rows between line
 * breaks, no quoting (so every byte but these is taken as it is, valid UTF-8 or not). A header names the
 * fields. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "io/field.h"
#include "io/lines.h"
#include "io/rows.h"
#include "npr/source.h"

enum { FIELDS_MAX = 1024 };

struct npr_meta {
    char *path;
    npr_sqlite *database; /* then the rest is not used */
    npr_lines *lines;
    npr_field_map map; /* TSV: which field fills which column; JSON: which columns the first row fills */
    int json;
    int fields;    /* TSV: fields of a row */
    int header;    /* lines before row 0 */
    int64_t first; /* offset of row 0 */
    int64_t row;   /* the next one */
};

/* ---- TSV: the names of fields ---- */

/* Split a line at `separator` into names, and map them (map NULL: only count); *known: how many have a
 * meaning. */
static npr_status map_names(npr_meta *m, const char *names, size_t n, char separator, npr_field_map *map,
                            int *known)
{
    const char *end = names + n, *stop;
    m->fields = *known = 0;
    do {
        stop = memchr(names, separator, (size_t)(end - names));
        size_t length = (size_t)((stop ? stop : end) - names);
        npr_column c;
        *known += npr_field_find(names, length, &c) != 0;
        if (map) NPR_TRY(npr_field_map_add(map, m->fields, names, length, m->path));
        if (++m->fields > FIELDS_MAX)
            return npr_fail(NPR_EDATA, "%s: more than %d fields", m->path, FIELDS_MAX);
        names += length + 1;
    } while (stop);
    return NPR_OK;
}

/* TSV without a header: `columns` names the fields. A first line that is a header after all would become a
 * row. */
static npr_status map_columns(npr_meta *m, const char *columns, const char *line, size_t n)
{
    int known;
    if (line) {
        NPR_TRY(map_names(m, line, n, '\t', NULL, &known));
        if (known == m->fields)
            return npr_fail(NPR_EUSAGE, "%s: its first line is a header: leave the names of columns out",
                            m->path);
    }
    NPR_TRY(map_names(m, columns, strlen(columns), ',', &m->map, &known));
    return known ? NPR_OK
                 : npr_fail(NPR_EUSAGE, "columns \"%s\": none of these fields is known (url, caption, ...)",
                            columns);
}

static npr_status open_tsv(npr_meta *m, const char *columns, const char *line, size_t n)
{
    int known;
    if (columns) return map_columns(m, columns, line, n);
    if (!line) return npr_fail(NPR_EDATA, "%s: empty, wanted a header that names its fields", m->path);
    NPR_TRY(map_names(m, line, n, '\t', &m->map, &known));
    if (!known)
        return npr_fail(
            NPR_EDATA,
            "%s: its first line \"%.*s\" names no known field (url, caption, ...): give the names "
            "of its columns if it has no header",
            m->path, n < 80 ? (int)n : 80, line);
    m->header = 1;
    m->first = npr_lines_offset(m->lines);
    return NPR_OK;
}

/* ---- JSON lines ---- */

/* Read a line; fill *map, and the row of r being filled unless r is NULL. */
static npr_status read_object(const npr_meta *m, const char *line, size_t n, npr_field_map *map, npr_rows *r)
{
    npr_json *object = NULL;
    char *origin = npr_path("%s:%lld", m->path, (long long)m->row + 1);
    npr_status st = origin && (object = npr_json_parse(line, n, origin)) ? NPR_OK : npr_last();
    if (!st) st = npr_field_put_object(object, m->map.columns, origin, map, r);
    npr_json_free(object);
    free(origin);
    return st;
}

/* ---- open ---- */

static int ends_in(const char *path, const char *const *suffix)
{
    size_t n = strlen(path);
    for (; *suffix; suffix++)
        if (n > strlen(*suffix) && !strcasecmp(path + n - strlen(*suffix), *suffix)) return 1;
    return 0;
}

/* By the file's name, else by its first byte. */
static int is_json(const char *path, const char *line, size_t n)
{
    static const char *const json[] = {".jsonl", ".ndjson", ".json", NULL}, *const tsv[] = {".tsv", ".txt",
                                                                                            NULL};
    if (ends_in(path, json)) return 1;
    return !ends_in(path, tsv) && line && n && *line == '{';
}

/* Files that people try. */
static npr_status refuse_others(const npr_meta *m)
{
    if (npr_lines_starts_with(m->lines, "PAR1"))
        return npr_fail(NPR_EDATA, "%s: a Parquet file: convert it once with parquet2tsv.py", m->path);
    if (npr_lines_starts_with(m->lines, "\x1f\x8b"))
        return npr_fail(NPR_EDATA, "%s: compressed by gzip: unpack it first", m->path);
    return NPR_OK;
}

static npr_status open_rows(npr_meta *m, const char *columns)
{
    const char *line;
    size_t n;
    if (npr_lines_starts_with(m->lines, "SQLite format 3")) return npr_sqlite_open(m->path, &m->database);
    NPR_TRY(refuse_others(m));
    NPR_TRY(npr_lines_next(m->lines, &line, &n));
    if (line && n >= 3 && !memcmp(line, "\xef\xbb\xbf", 3)) { /* a byte order mark */
        line += 3;
        n -= 3;
        m->first = 3;
    }
    m->json = is_json(m->path, line, n);
    if (!m->json) NPR_TRY(open_tsv(m, columns, line, n));
    if (m->json && line) NPR_TRY(read_object(m, line, n, &m->map, NULL));
    return npr_lines_seek(m->lines, m->first);
}

npr_status npr_meta_open(const char *path, const char *columns, npr_meta **out)
{
    npr_meta *m = npr_alloc(1, sizeof *m, "an open metadata file");
    if (!m) return npr_last();
    npr_status st = (m->path = npr_strdup(path)) ? npr_lines_open(path, &m->lines) : npr_last();
    if (!st) st = open_rows(m, columns);
    if (st)
        npr_meta_close(m);
    else
        *out = m;
    return st;
}

void npr_meta_close(npr_meta *m)
{
    if (!m) return;
    npr_sqlite_close(m->database);
    npr_lines_close(m->lines);
    free(m->path);
    free(m);
}

uint32_t npr_meta_columns(const npr_meta *m)
{
    return m->database ? npr_sqlite_columns(m->database) : m->map.columns;
}

/* ---- rows ---- */

npr_status npr_meta_count(npr_meta *m, int64_t every, int64_t **mark, int64_t *rows)
{
    if (m->database) return npr_sqlite_count(m->database, every, mark, rows);
    size_t cap = 0;
    const char *line;
    npr_status st = npr_meta_seek(m, m->first, 0);
    *mark = NULL;
    for (*rows = 0; !st; ++*rows) {
        int64_t offset = npr_lines_offset(m->lines);
        size_t n;
        st = npr_lines_next(m->lines, &line, &n);
        if (st || !line) break;
        if (*rows % every) continue;
        size_t i = (size_t)(*rows / every);
        st = npr_grow(mark, &cap, i + 1, sizeof **mark, "places of metadata rows");
        if (!st) (*mark)[i] = offset;
    }
    if (!st) st = npr_meta_seek(m, m->first, 0);
    if (st) {
        free(*mark);
        *mark = NULL;
    }
    return st;
}

npr_status npr_meta_seek(npr_meta *m, int64_t mark, int64_t row)
{
    if (m->database) return npr_sqlite_seek(m->database, mark, row);
    m->row = row;
    return npr_lines_seek(m->lines, mark);
}

npr_status npr_meta_skip(npr_meta *m, int64_t n)
{
    if (m->database) return npr_sqlite_skip(m->database, n);
    const char *line = "";
    size_t length;
    for (; n > 0 && line; n--, m->row++) NPR_TRY(npr_lines_next(m->lines, &line, &length));
    return line ? NPR_OK : npr_fail(NPR_EDATA, "%s: ends before row %lld", m->path, (long long)m->row);
}

static npr_status put_fields(const npr_meta *m, const char *line, size_t n, npr_rows *r)
{
    const char *field[FIELDS_MAX + 1], *end = line + n;
    int fields = 0;
    for (const char *p = line;; p++) {
        if (fields <= m->fields) field[fields] = p;
        fields++;
        if (!(p = memchr(p, '\t', (size_t)(end - p)))) break;
    }
    int64_t number = m->row + 1 + m->header;
    if (fields != m->fields)
        return npr_fail(NPR_EDATA, "%s:%lld: %d fields between tabs, wanted %d", m->path, (long long)number,
                        fields, m->fields);
    field[fields] = end + 1;
    for (int c = 0; c < NPR_COLUMNS; c++) {
        if (!(m->map.columns & r->columns & NPR_COL(c))) continue;
        const char *first = field[m->map.field[c]], *stop = field[m->map.field[c] + 1] - 1;
        npr_field_value v = {.kind = NPR_FIELD_TEXT, .text = first, .n = (size_t)(stop - first)};
        NPR_TRY(npr_field_put(r, (npr_column)c, &v, m->path, number));
    }
    return NPR_OK;
}

npr_status npr_meta_next(npr_meta *m, npr_rows *r)
{
    const char *line;
    size_t n;
    npr_field_map map;
    if (m->database) return npr_sqlite_next(m->database, r);
    NPR_TRY(npr_lines_next(m->lines, &line, &n));
    if (!line) return npr_fail(NPR_EDATA, "%s: ends before row %lld", m->path, (long long)m->row);
    NPR_TRY(m->json ? read_object(m, line, n, &map, r) : put_fields(m, line, n, r));
    m->row++;
    return NPR_OK;
}
