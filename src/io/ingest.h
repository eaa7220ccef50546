/* ingest.h - what the collective stage (ingest_mpi.c) shares with its reading of inputs (ingest_plan_mpi.c)
 * and its rows (ingest_rows.c). */
#ifndef NPR_IO_INGEST_H
#define NPR_IO_INGEST_H

#include "base/file.h"
#include "npr/source.h"

enum { NPR_INGEST_BATCH = 4 * NPR_CHUNK_ROWS, NPR_META_MARK = 1 << 16 };

/* One array with its metadata. */
typedef struct npr_ingest_file {
    int64_t row0, rows; /* its rows are row0 .. row0 + rows - 1 of the whole input */
    int64_t dim, value_bytes;
    int64_t columns;     /* mask its metadata fills */
    int64_t bytes, hash; /* of the array: size, and XXH3 of its first and last 64 KiB */
    int64_t marks;       /* mark[i] is the byte offset of metadata row i * NPR_META_MARK */
    int64_t *mark;
} npr_ingest_file;

/* All that is known of the inputs before a row is written; the same on every rank. */
typedef struct npr_ingest_plan {
    npr_paths emb, meta;
    npr_ingest_file *file; /* [emb.count] */
    int64_t rows;
    int dim, parts;
    uint32_t columns; /* of the set */
    int32_t *label;   /* [rows] of a label file, or NULL */
    char *job;        /* identity: options and inputs */
} npr_ingest_plan;

/* Find and check all inputs: headers, row counts, labels. Collective. */
npr_status npr_ingest_read_plan(const npr_comm *comm, const npr_ingest_job *job, npr_ingest_plan *plan);
void npr_ingest_plan_free(npr_ingest_plan *plan);

/* The rows of one part, read file by file. Local. */
typedef struct npr_ingest_rows npr_ingest_rows;

enum { NPR_BAD_NON_FINITE, NPR_BAD_ZERO, NPR_BAD_NORM, NPR_BAD_REASONS };
const char *npr_bad_reason(int reason); /* "non_finite", "zero", "not_unit" */

npr_status npr_ingest_rows_open(const npr_ingest_job *job, const npr_ingest_plan *plan, int64_t begin,
                                int64_t end, npr_ingest_rows **out);
/* The next batch: its good rows in *r (owned by `s`, valid until the next call), *read input rows used up;
 * *read = 0 at the end. */
npr_status npr_ingest_rows_next(npr_ingest_rows *s, const npr_rows **r, int64_t *read);
/* Rows left out so far, as "id<TAB>reason" lines. Owned by `s`. */
const char *npr_ingest_rows_rejected(const npr_ingest_rows *s, size_t *n);
void npr_ingest_rows_close(npr_ingest_rows *s);

#endif
