/* join.h - pictures that were downloaded for a pool, joined back to its rows. img2dataset writes them to tars,
 * with the pool row's id, URL and caption in each one's JSON (npr-search --urls gave them to it); what it
 * could not get is in no tar, but in its own tables. All pictures are looked at before one is decoded: which
 * of them a row gets depends on ids and the names of tars only. Memory: 64 bytes a picture, on every rank.
 * Local unless the first argument is a const npr_comm *. */
#ifndef NPR_IO_JOIN_H
#define NPR_IO_JOIN_H

#include "base/file.h"
#include "npr/log.h"
#include "npr/set.h"

typedef struct npr_join_options {
    const char *pool;     /* a set */
    const char *failed;   /* TSV files with columns id and status, or NULL: what became of other URLs */
    const char *id_field; /* of the JSON; NULL: "id" */
    int drop_changed;     /* 1: a picture that is not what the pool says of it is left out */
} npr_join_options;

/* A picture, or the news that there is none. */
typedef struct npr_joined {
    int64_t id;
    int64_t offset, bytes; /* in its tar; bytes < 0: it could not be downloaded */
    uint64_t url, caption; /* hashes of npr_urls_clean()'s text; 0: unknown */
    int32_t file;          /* of npr_join.tar; of failures -1 */
    int32_t width, height; /* of the original; 0: unknown */
} npr_joined;

/* What became of a pool's row. */
enum { NPR_JOIN_HERE, NPR_JOIN_MISSING, NPR_JOIN_DEAD };
/* How its picture differs from what the pool says: another size; another URL or caption. */
enum { NPR_JOIN_SIZE = 1, NPR_JOIN_TEXT = 2 };

/* Rows by class: all; without a picture, nothing known; without, as it could not be downloaded; with a picture
 * of another size, with another URL or caption. A row counts for each way in which its picture differs, and
 * once as changed. */
enum {
    NPR_JOIN_WANTED,
    NPR_JOIN_N_MISSING,
    NPR_JOIN_N_DEAD,
    NPR_JOIN_N_SIZE,
    NPR_JOIN_N_TEXT,
    NPR_JOIN_CHANGED,
    NPR_JOIN_FIELDS
};

typedef struct npr_join {
    npr_join_options options;
    npr_paths tar;   /* by base name, then path */
    int same_names;  /* two of them have one base name */
    npr_joined *row; /* [rows], by id; one for each */
    int64_t rows;
    size_t cap;
    int64_t pictures; /* in the tars */
    int64_t repeated; /* of an id that has one already: left out */
    int64_t foreign;  /* with an id that no row has */
    int64_t nameless; /* without JSON, or without id in it */
    int64_t unused;   /* members that belong to no picture */
    int64_t bytes;    /* of pictures */
    char repeated_first[96], foreign_first[96];
    int classes;     /* largest label + 1 */
    int64_t *count;  /* [classes + 1][NPR_JOIN_FIELDS]: rows without label, class 0, 1, ... */
    char digest[33]; /* of the tars and failures: who the input is */
} npr_join;

/* Look into all tars and failures, and count what became of the pool's rows. The tars are taken over. Refused
 * if more than half of the pictures found have other URLs or captions than the pool: they are of another one.
 * Collective. */
npr_status npr_join_make(const npr_comm *comm, const npr_log *log, const npr_join_options *options,
                         const npr_set *pool, npr_paths *tars, npr_join *j);
void npr_join_free(npr_join *j);

const char *npr_join_container(const npr_join *j, const npr_joined *e); /* what `source` calls its tar */

/* The columns of a pool by which pictures are compared with its rows. */
uint32_t npr_join_columns(const npr_set *pool);

/* Row i of r: its picture, NULL if there is none; *state: NPR_JOIN_HERE, ...; *changes: NPR_JOIN_SIZE and so
 * on. *scratch (*cap bytes) is kept between calls; release with free(). */
npr_status npr_join_row(const npr_join *j, const npr_rows *r, int64_t i, const npr_joined **e, int *state,
                        int *changes, char **scratch, size_t *cap);

/* The table of classes of a finished join, in `to`/classes.tsv: what the pool's own table says, then wanted,
 * missing, dead, changed, unreadable, kept. `skipped` is the list of rows left out (skipped.h: row number
 * first, reason last), or NULL. */
npr_status npr_join_publish(const npr_join *j, const npr_set *pool, const char *skipped, const char *to);

/* ---- what join_mpi.c is made of (join.c) ---- */

npr_status npr_join_scan_tar(npr_join *j, int file);
npr_status npr_join_scan_failed(npr_join *j, const char *path);
void npr_join_sort(npr_join *j); /* by id, one each: the first of the tars; what is said twice counts */

#endif
