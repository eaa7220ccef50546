/* source.h - what comes in from outside: arrays of embeddings, metadata rows and caption databases, as other
 * tools publish them. Every reader is streamed (bounded memory whatever the file's size), trusts nothing, and
 * names file, place, wanted and found. Local unless the first argument is a const npr_comm *. */
#ifndef NPR_SOURCE_H
#define NPR_SOURCE_H

#include <stddef.h>
#include <stdint.h>

#include "npr/log.h"
#include "npr/plan.h"
#include "npr/record.h"
#include "npr/set.h"
#include "npr/status.h"

/* ---- .npy: two-dimensional arrays of float16 or float32, C order, little-endian ------------------------ */

typedef struct npr_npy npr_npy;

npr_status npr_npy_open(const char *path,
                        npr_npy **out); /* checks header, and the file's size against the shape */
void npr_npy_close(npr_npy *f);
int64_t npr_npy_rows(const npr_npy *f);
int npr_npy_dim(const npr_npy *f);
int npr_npy_value_bytes(const npr_npy *f);             /* 2 or 4 */
int64_t npr_npy_offset(const npr_npy *f, int64_t row); /* byte offset of a row in the file */
npr_status npr_npy_read_half(npr_npy *f, int64_t row0, int64_t n,
                             uint16_t *out); /* [n][dim]; fp32 is rounded to nearest */
npr_status npr_npy_read_float(npr_npy *f, int64_t row0, int64_t n, float *out);

/* Write such an array of float16, rows appended; the header is made at once for a known number of rows.
 * Durable and visible under its name only after close. */
typedef struct npr_npy_writer npr_npy_writer;
npr_status npr_npy_create(const char *path, int64_t rows, int dim, npr_npy_writer **out);
npr_status npr_npy_append(npr_npy_writer *w, const uint16_t *rows, int64_t n);
npr_status npr_npy_finish(npr_npy_writer *w); /* frees w, also on failure; refuses a wrong number of rows */
void npr_npy_abandon(npr_npy_writer *w);      /* frees w and removes what was written; NULL is fine */

/* ---- metadata: one row per embedding, TSV, JSON lines or SQLite ---------------------------------------- */

/* Fields are found by name (TSV: a header line; JSON: the keys of the first row; SQLite: columns of the table
 * `samples`), upper or lower case: url, caption (or text), similarity, nsfw (or punsafe), width, height (or,
 * better, original_width, original_height), label, id (or sample_id). Other fields are ignored. A TSV without
 * a known header is refused unless `columns` names its fields in order, with commas between. */
typedef struct npr_meta npr_meta;

npr_status npr_meta_open(const char *path, const char *columns, npr_meta **out);
void npr_meta_close(npr_meta *m);
uint32_t npr_meta_columns(const npr_meta *m); /* which set columns its fields fill */

/* Count the rows, and note the places of rows 0, every, 2*every, ...; free(*mark). */
npr_status npr_meta_count(npr_meta *m, int64_t every, int64_t **mark, int64_t *rows);
npr_status npr_meta_seek(npr_meta *m, int64_t mark, int64_t row); /* go to a marked row */
npr_status npr_meta_skip(npr_meta *m, int64_t n);                 /* and n rows on, unread */

/* Fill the columns of r's current row that r and the file have (npr_rows_next is the caller's). */
npr_status npr_meta_next(npr_meta *m, npr_rows *r);

/* The reference implementation's caption databases: SQLite, table `samples`, full-text indexed. npr_meta_*()
 * reads them through these. Rows are numbered in rowid order from 0; their marks are rowids. */
typedef struct npr_sqlite npr_sqlite;

npr_status npr_sqlite_open(const char *path,
                           npr_sqlite **out); /* read only; checks the table and its columns */
void npr_sqlite_close(npr_sqlite *s);
uint32_t npr_sqlite_columns(const npr_sqlite *s);
npr_status npr_sqlite_count(npr_sqlite *s, int64_t every, int64_t **mark, int64_t *rows);
npr_status npr_sqlite_seek(npr_sqlite *s, int64_t mark, int64_t row);
npr_status npr_sqlite_skip(npr_sqlite *s, int64_t n);
npr_status npr_sqlite_next(npr_sqlite *s, npr_rows *r);
const char *npr_sqlite_version(void); /* library name and version, for --version */

/* ---- captions as tokens -------------------------------------------------------------------------------- */

/* The tokens of n bytes of UTF-8 as SQLite's FTS5 unicode61 tokenizer makes them (letters, numbers, private
 * use and marks; case folded; diacritics of Latin letters removed), as " token token ": one space before,
 * between and after; a text without tokens gives "". out has room for npr_tokens_room(n) bytes; returns the
 * length. */
size_t npr_tokens_make(const char *text, size_t n, char *out);
size_t npr_tokens_room(size_t n);

/* ---- the collective stage ------------------------------------------------------------------------------ */

typedef struct npr_ingest_job {
    const char *emb;     /* .npy files (pattern, folder, @list) */
    const char *meta;    /* as many metadata files (.tsv, .jsonl, .sqlite/.db), or NULL */
    const char *columns; /* field names of headerless TSV, or NULL */
    const char *labels;  /* a text file of one integer per row, or NULL */
    const char *out, *kind, *model;
    const char *identity; /* options that shape the result */
    int normalize;        /* 1: scale rows to unit norm; 0: rows that are not unit are bad */
    int head; /* 1: kind is a head: row i is class i (label = i), weight column kept in full precision */
    double max_bad; /* share of bad rows (non-finite, zero, not unit) above which the job fails */
    int64_t part_rows, id_base;
    npr_plan_dry_run *dry_run; /* plan only; NULL: work */
} npr_ingest_job;

/* Turn arrays and their metadata into a set. Resumable. Collective. */
npr_status npr_ingest_run(const npr_comm *comm, const npr_log *log, npr_record *rec,
                          const npr_ingest_job *job);

#endif
