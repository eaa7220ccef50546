/* sqlite.c - caption databases as the reference implementation publishes them: a table `samples`, mostly
 * full-text indexed, one row per picture. See npr/source.h. The only user of sqlite3.h.
 *
 * A database is a program of sorts (views, triggers, generated columns): it is opened read only, as a file
 * that nobody changes, with everything off that SQLite can turn off, and only named columns of the one table
 * are read. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "io/field.h"
#include "io/lines.h"
#include "io/rows.h"
#include "npr/source.h"

struct npr_sqlite {
    char *path;
    sqlite3 *db;
    sqlite3_stmt *rows;      /* the columns asked for, from a rowid on */
    npr_field_map map;       /* which column of the table fills which of ours */
    int result[NPR_COLUMNS]; /* and where it stands in `rows` */
    int64_t row;
};

/* ---- failures ---- */

static npr_status failed(const npr_sqlite *s, const char *doing)
{
    switch (sqlite3_errcode(s->db) & 0xff) {
    case SQLITE_NOMEM:
        return npr_fail(NPR_EINTERNAL, "%s: out of memory while %s", s->path, doing);
    case SQLITE_NOTADB:
        return npr_fail(NPR_EDATA, "%s: not an SQLite database", s->path);
    case SQLITE_CORRUPT:
        return npr_fail(NPR_EDATA, "%s: the database is damaged or truncated (found while %s)", s->path,
                        doing);
    case SQLITE_IOERR:
        return npr_fail(NPR_EIO, "%s: cannot read while %s: %s", s->path, doing, sqlite3_errmsg(s->db));
    default:
        return npr_fail(NPR_EDATA, "%s: SQLite fails while %s: %s", s->path, doing, sqlite3_errmsg(s->db));
    }
}

static npr_status prepare(npr_sqlite *s, const char *sql, sqlite3_stmt **out, const char *doing)
{
    return sqlite3_prepare_v2(s->db, sql, -1, out, NULL) == SQLITE_OK ? NPR_OK : failed(s, doing);
}

/* ---- open ---- */

/* A URI of the path; bytes with a meaning in URIs are written as %XX. */
static char *make_uri(const char *path)
{
    static const char hex[] = "0123456789abcdef";
    char *uri = npr_alloc(3 * strlen(path) + 64, 1, "a database's name"), *o = uri;
    if (!uri) return NULL;
    o = stpcpy(o, path[0] == '/' ? "file://" : "file:");
    for (const unsigned char *p = (const unsigned char *)path; *p; p++) {
        if (strchr("?#%", *p)) {
            *o++ = '%';
            *o++ = hex[*p >> 4];
            *o++ = hex[*p & 15];
        } else {
            *o++ = (char)*p;
        }
    }
    strcpy(o, "?mode=ro&immutable=1");
    return uri;
}

/* Immutable reading does not see what a log beside the database holds. */
static npr_status refuse_unfinished(const char *path)
{
    static const char *const suffix[] = {"-wal", "-journal"};
    for (int i = 0; i < 2; i++) {
        char *log = npr_path("%s%s", path, suffix[i]);
        int64_t bytes = 0;
        if (!log) return npr_last();
        npr_status st = npr_file_exists(log) ? npr_file_size(log, &bytes) : NPR_OK;
        if (!st && bytes > 0)
            st = npr_fail(NPR_EDATA,
                          "%s: changes are pending in %s: open the database once with sqlite3 to merge them",
                          path, log);
        free(log);
        NPR_TRY(st);
    }
    return NPR_OK;
}

static void restrain(sqlite3 *db)
{
    static const struct {
        int option, value;
    } settings[] = {
#ifdef SQLITE_DBCONFIG_DEFENSIVE
        {SQLITE_DBCONFIG_DEFENSIVE, 1},
#endif
#ifdef SQLITE_DBCONFIG_TRUSTED_SCHEMA
        {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
#endif
#ifdef SQLITE_DBCONFIG_ENABLE_VIEW
        {SQLITE_DBCONFIG_ENABLE_VIEW, 0},
#endif
        {SQLITE_DBCONFIG_ENABLE_TRIGGER, 0},
    };
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        (void)sqlite3_db_config(db, settings[i].option, settings[i].value,
                                NULL);                         /* older libraries know fewer */
    sqlite3_limit(db, SQLITE_LIMIT_LENGTH, 16 * NPR_LINE_MAX); /* rows and texts; also bounds memory */
    sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, 0);
}

static npr_status open_database(npr_sqlite *s)
{
    char *uri = make_uri(s->path);
    if (!uri) return npr_last();
    int rc = sqlite3_open_v2(uri, &s->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, NULL);
    free(uri);
    if (!s->db) return npr_fail(NPR_EINTERNAL, "%s: out of memory: a database", s->path);
    if (rc == SQLITE_CANTOPEN)
        return npr_fail(NPR_ENOINPUT, "%s: cannot open: %s", s->path, sqlite3_errmsg(s->db));
    if (rc != SQLITE_OK) return failed(s, "opening it");
    restrain(s->db);
    return NPR_OK;
}

/* SQLite itself tolerates a last page that is not all there. */
static npr_status check_size(npr_sqlite *s, int64_t bytes)
{
    sqlite3_stmt *q = NULL;
    npr_status st = prepare(s, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size", &q,
                            "opening it");
    if (!st && sqlite3_step(q) != SQLITE_ROW) st = failed(s, "opening it");
    if (!st && bytes < sqlite3_column_int64(q, 0))
        st = npr_fail(NPR_EDATA, "%s: truncated: it has %lld bytes, its pages make %lld", s->path,
                      (long long)bytes, (long long)sqlite3_column_int64(q, 0));
    sqlite3_finalize(q);
    return st;
}

/* There must be a table `samples`, not a view. */
static npr_status check_table(npr_sqlite *s)
{
    sqlite3_stmt *q = NULL;
    npr_status st = prepare(s,
                            "SELECT group_concat(name, ', '), sum(type = 'table' AND lower(name) = 'samples')"
                            " FROM sqlite_master WHERE type IN ('table', 'view')",
                            &q, "reading its schema");
    if (!st && sqlite3_step(q) != SQLITE_ROW) st = failed(s, "reading its schema");
    if (!st && sqlite3_column_int(q, 1) != 1) {
        const char *names = (const char *)sqlite3_column_text(q, 0);
        st = npr_fail(NPR_EDATA, "%s: no table \"samples\", found: %.200s", s->path,
                      names ? names : "no table at all");
    }
    sqlite3_finalize(q);
    return st;
}

static npr_status map_columns(npr_sqlite *s)
{
    sqlite3_stmt *q = NULL;
    NPR_TRY(prepare(s, "SELECT * FROM samples LIMIT 0", &q, "reading the columns of samples"));
    npr_status st = NPR_OK;
    for (int i = 0; i < sqlite3_column_count(q) && !st; i++) {
        const char *name = sqlite3_column_name(q, i);
        st = name ? npr_field_map_add(&s->map, i, name, strlen(name), s->path)
                  : npr_fail(NPR_EINTERNAL, "%s: out of memory: a column's name", s->path);
    }
    if (!st && !s->map.columns)
        st = npr_fail(NPR_EDATA, "%s: table samples has no column URL, TEXT, ...", s->path);
    sqlite3_finalize(q);
    return st;
}

/* The statement that reads rows: only the columns that are wanted, since rows may have long others. */
static npr_status prepare_rows(npr_sqlite *s)
{
    sqlite3_stmt *q = NULL;
    NPR_TRY(prepare(s, "SELECT * FROM samples LIMIT 0", &q, "reading the columns of samples"));
    sqlite3_str *sql = sqlite3_str_new(s->db);
    sqlite3_str_appendall(sql, "SELECT ");
    int n = 0;
    for (int c = 0; c < NPR_COLUMNS; c++) {
        if (!s->map.fit[c]) continue;
        sqlite3_str_appendf(sql, "%s\"%w\"", n ? ", " : "", sqlite3_column_name(q, s->map.field[c]));
        s->result[c] = n++;
    }
    sqlite3_str_appendall(sql, " FROM samples WHERE rowid >= ?1 ORDER BY rowid");
    sqlite3_finalize(q);
    char *text = sqlite3_str_finish(sql);
    npr_status st = text ? prepare(s, text, &s->rows, "asking for rows of samples")
                         : npr_fail(NPR_EINTERNAL, "%s: out of memory: a query", s->path);
    sqlite3_free(text);
    return st;
}

/* A full-text table may have been made without its texts (FTS5's content=''): then all that comes back is
 * null. */
static npr_status refuse_contentless(npr_sqlite *s)
{
    NPR_TRY(npr_sqlite_seek(s, INT64_MIN, 0));
    int rc = sqlite3_step(s->rows), known = 0;
    if (rc == SQLITE_DONE) return npr_sqlite_seek(s, INT64_MIN, 0);
    if (rc != SQLITE_ROW) return failed(s, "reading row 0");
    for (int i = 0; i < sqlite3_column_count(s->rows); i++)
        known += sqlite3_column_type(s->rows, i) != SQLITE_NULL;
    if (!known)
        return npr_fail(NPR_EDATA,
                        "%s: table samples is an index only: it does not hold the texts themselves", s->path);
    return npr_sqlite_seek(s, INT64_MIN, 0);
}

npr_status npr_sqlite_open(const char *path, npr_sqlite **out)
{
    int64_t bytes;
    NPR_TRY(npr_file_size(path, &bytes));
    NPR_TRY(refuse_unfinished(path));
    npr_sqlite *s = npr_alloc(1, sizeof *s, "an open database");
    if (!s) return npr_last();
    npr_status st = (s->path = npr_strdup(path)) ? open_database(s) : npr_last();
    if (!st) st = check_size(s, bytes);
    if (!st) st = check_table(s);
    if (!st) st = map_columns(s);
    if (!st) st = prepare_rows(s);
    if (!st) st = refuse_contentless(s);
    if (st)
        npr_sqlite_close(s);
    else
        *out = s;
    return st;
}

void npr_sqlite_close(npr_sqlite *s)
{
    if (!s) return;
    sqlite3_finalize(s->rows);
    sqlite3_close(s->db); /* read only: nothing to lose */
    free(s->path);
    free(s);
}

uint32_t npr_sqlite_columns(const npr_sqlite *s)
{
    return s->map.columns;
}

/* ---- rows ---- */

npr_status npr_sqlite_count(npr_sqlite *s, int64_t every, int64_t **mark, int64_t *rows)
{
    static const char doing[] = "counting rows";
    sqlite3_stmt *q = NULL;
    size_t cap = 0;
    int rc;
    *mark = NULL;
    *rows = 0;
    npr_status st = prepare(s, "SELECT rowid FROM samples ORDER BY rowid", &q, doing);
    for (; !st && (rc = sqlite3_step(q)) != SQLITE_DONE; ++*rows) {
        if (rc != SQLITE_ROW) st = failed(s, doing);
        if (st || *rows % every) continue;
        size_t i = (size_t)(*rows / every);
        st = npr_grow(mark, &cap, i + 1, sizeof **mark, "places of metadata rows");
        if (!st) (*mark)[i] = sqlite3_column_int64(q, 0);
    }
    sqlite3_finalize(q);
    if (st) {
        free(*mark);
        *mark = NULL;
    }
    return st;
}

npr_status npr_sqlite_seek(npr_sqlite *s, int64_t mark, int64_t row)
{
    sqlite3_reset(s->rows);
    sqlite3_bind_int64(s->rows, 1, mark);
    s->row = row;
    return NPR_OK;
}

/* The next row is the statement's current one. */
static npr_status step(npr_sqlite *s)
{
    int rc = sqlite3_step(s->rows);
    if (rc == SQLITE_ROW) return NPR_OK;
    if (rc != SQLITE_DONE) return failed(s, "reading rows");
    return npr_fail(NPR_EDATA, "%s: ends before row %lld", s->path, (long long)s->row);
}

npr_status npr_sqlite_skip(npr_sqlite *s, int64_t n)
{
    for (; n > 0; n--, s->row++) NPR_TRY(step(s));
    return NPR_OK;
}

/* Column i of the row, for column c of ours. SQLite turns numbers into texts where texts are wanted: a
 * caption "2017" may have been stored as a number. */
static npr_status value_at(const npr_sqlite *s, int i, npr_column c, npr_field_value *v)
{
    int type = sqlite3_column_type(s->rows, i);
    *v = (npr_field_value){.kind = NPR_FIELD_UNKNOWN, .text = ""};
    if (type == SQLITE_NULL) return NPR_OK;
    if ((type == SQLITE_INTEGER || type == SQLITE_FLOAT) && !npr_column_is_text((int)c)) {
        v->kind = NPR_FIELD_NUMBER;
        v->number = sqlite3_column_double(s->rows, i);
        return NPR_OK;
    }
    const void *text =
        type == SQLITE_BLOB ? sqlite3_column_blob(s->rows, i) : sqlite3_column_text(s->rows, i);
    v->kind = NPR_FIELD_TEXT;
    v->n = (size_t)sqlite3_column_bytes(s->rows, i);
    if (text) v->text = text;
    return text || type == SQLITE_BLOB ? NPR_OK : failed(s, "reading a text"); /* an empty blob is NULL */
}

npr_status npr_sqlite_next(npr_sqlite *s, npr_rows *r)
{
    NPR_TRY(step(s));
    for (int c = 0; c < NPR_COLUMNS; c++) {
        if (!(s->map.columns & r->columns & NPR_COL(c))) continue;
        npr_field_value v;
        npr_status st = value_at(s, s->result[c], (npr_column)c, &v);
        if (!st) st = npr_field_put(r, (npr_column)c, &v, s->path, 0);
        if (st) return npr_context(st, "row %lld of samples", (long long)s->row);
    }
    s->row++;
    return NPR_OK;
}

const char *npr_sqlite_version(void)
{
    static char text[48];
    snprintf(text, sizeof text, "SQLite %s", sqlite3_libversion());
    return text;
}
