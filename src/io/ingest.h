/* ingest.h - what the collective stage (ingest_mpi.c) shares with its knowledge of the inputs
 * (ingest_plan_mpi.c, ingest_scan.c) and its rows (ingest_rows.c). */
#ifndef NPR_IO_INGEST_H
#define NPR_IO_INGEST_H

#include "base/file.h"
#include "io/skipped.h"
#include "io/unit.h"
#include "npr/source.h"

enum { NPR_INGEST_BATCH = 4 * NPR_CHUNK_ROWS, NPR_META_MARK = 1 << 16 };

/* ---- what is known of a file (ingest_scan.c) ---- */

/* Of a file of metadata or labels. */
typedef struct npr_ingest_meta {
    int64_t rows, bytes;
    uint64_t hash;    /* of its first and last 64 KiB */
    uint32_t columns; /* mask its fields fill */
    int64_t marks;    /* mark[i] is the place of row i * NPR_META_MARK */
    int64_t *mark;
} npr_ingest_meta;

/* Of an array with its metadata. */
typedef struct npr_ingest_file {
    int64_t row0, rows; /* its rows are row0 .. row0 + rows - 1 of the whole input */
    int64_t bytes;
    uint64_t hash;
    int dim;
    npr_ingest_meta meta;
} npr_ingest_file;

npr_status npr_ingest_scan_array(const char *path, npr_ingest_file *f);
npr_status npr_ingest_scan_meta(const char *path, const char *columns, npr_ingest_meta *m);

/* Arrays and metadata are paired in the order of their names. If the numbers in the names show that one list
 * is in another order than the other ("x_10" stands before "x_2", but "x_02" before "x_10"), that is refused.
 */
npr_status npr_ingest_check_pairs(const npr_paths *emb, const npr_paths *meta);

/* ---- all inputs together (ingest_plan_mpi.c) ---- */

/* All that is known before a row is written; the same on every rank. */
typedef struct npr_ingest_plan {
    npr_paths emb, meta;
    npr_ingest_file *file; /* [emb.count + 1]; the last one's meta is the file of labels */
    int64_t rows;
    int dim, parts;
    uint32_t columns; /* of the set */
    char *job;        /* identity: options and inputs */
} npr_ingest_plan;

/* Find and check all inputs: headers, row counts, labels. Collective. */
npr_status npr_ingest_read_plan(const npr_comm *comm, const npr_log *log, const npr_ingest_job *job,
                                npr_ingest_plan *plan);
void npr_ingest_plan_free(npr_ingest_plan *plan);

/* ---- rows (ingest_rows.c) ---- */

typedef struct npr_ingest_rows npr_ingest_rows;

npr_status npr_ingest_rows_make(const npr_ingest_job *job, const npr_ingest_plan *plan,
                                npr_ingest_rows **out);
void npr_ingest_rows_free(npr_ingest_rows *s); /* NULL is fine */

/* Go to rows [begin, end) of the whole input. */
void npr_ingest_rows_begin(npr_ingest_rows *s, int64_t begin, int64_t end);

/* The next batch: its good rows in *r (owned by `s`, valid until the next call), *read input rows used up;
 * *read = 0 at the end. */
npr_status npr_ingest_rows_next(npr_ingest_rows *s, const npr_rows **r, int64_t *read);

/* Rows left out: the list rejected.tsv of their ids, by npr_bad_reason(). */
extern const npr_skipped npr_ingest_rejected;
npr_skipped *npr_ingest_rows_rejected(npr_ingest_rows *s); /* owned by `s` */

#endif
