/* set.h - the set: everything npr keeps on disk. A folder NAME with
 *     manifest.json                 small, written last: a set with a manifest is complete
 *     part-00000.h5, part-00001.h5  columns of rows, at most 2^20 rows each
 * Index, text head, pool, features and test data are all sets.
 *
 * Parts are cut by row number, never by rank, so any number of ranks writes the same bytes. Every HDF5 file
 * is written by one process (no MPI-IO), under a temporary name, read back, synced and renamed; see
 * src/io/README.md for reasons.
 *
 * Functions are Local unless the first argument is a const npr_comm *; those are Collective and return the
 * same status on every rank. */
#ifndef NPR_SET_H
#define NPR_SET_H

#include <stdint.h>

#include "npr/comm.h"
#include "npr/log.h"
#include "npr/record.h"
#include "npr/status.h"

/* ---- columns ------------------------------------------------------------------------------------------- */

/* A column of a part is an HDF5 dataset of this name; NPR_COL(x) is its bit in a mask of columns. */
typedef enum npr_column {
    NPR_EMB,     /* "emb"        [n][dim] binary16: the unit-norm embedding */
    NPR_ID,      /* "id"         [n] int64: the row's number in the original input */
    NPR_LABEL,   /* "label"      [n] int32: class index, -1 = none */
    NPR_SCORE,   /* "score"      [n] float: what the row was recalled by */
    NPR_CAPTION, /* "caption"    text, as it came */
    NPR_URL,     /* "url"        text */
    NPR_TOKENS,  /* "tokens"     text: the caption as " token token " (npr_tokens_make), what phrase search
                    reads */
    NPR_SOURCE, /* "source"     [n][3] int64: {container, byte offset, bytes}: one pread fetches the original;
                                the containers' names are the text dataset "container" of the same part */
    NPR_SIMILARITY, /* "similarity" [n] float: text-image similarity published with the row, NaN = unknown */
    NPR_NSFW,       /* "nsfw"       [n] uint8: npr_nsfw */
    NPR_WIDTH,      /* "width"      [n] int32 pixels of the original image, 0 = unknown */
    NPR_HEIGHT,     /* "height"     [n] int32 */
    NPR_WEIGHT, /* "weight"     [n][dim] float: a head's row in full precision (no unit norm after blending) */
    NPR_RECALLS, /* "count"      [n] int32: queries that recalled the row, at least 1; 0 = unknown */
    NPR_COLUMNS
} npr_column;

#define NPR_COL(c) (1u << (c))

typedef enum npr_nsfw {
    NPR_NSFW_UNKNOWN = 0,
    NPR_NSFW_UNLIKELY = 1,
    NPR_NSFW_UNSURE = 2,
    NPR_NSFW_LIKELY = 3
} npr_nsfw;

const char *npr_column_name(npr_column c);

/* n texts in one blob: text i is bytes[offset[i] .. offset[i+1]). On disk: "<name>" uint8 and "<name>_offset"
 * int64. */
typedef struct npr_text {
    char *bytes;     /* [cap] */
    int64_t *offset; /* [n + 1] */
    size_t cap;      /* capacity of bytes */
} npr_text;

/* A batch of rows in memory: the columns of `columns`, n rows in use of `cap`. All arrays are owned by the
 * batch. */
typedef struct npr_rows {
    int64_t n, cap;
    int dim;
    uint32_t columns; /* mask of NPR_COL() */
    uint16_t *emb;    /* [cap][dim] */
    int64_t *id;      /* [cap] */
    int32_t *label;   /* [cap] */
    float *score;     /* [cap] */
    npr_text caption, url, tokens;
    int64_t *source; /* [cap][3] */
    float *similarity;
    uint8_t *nsfw;
    int32_t *width, *height;
    float *weight;    /* [cap][dim] */
    int32_t *recalls; /* [cap] column "count" */
    char **container; /* [n_container] names that source[][0] counts into; -1 there = unknown */
    int n_container;
    int n_slot; /* private: a hash table that finds a container by name */
    int32_t *slot;
    size_t container_cap;
} npr_rows;

/* Make an empty batch with room for cap rows; npr_rows_free also frees a zeroed or half-made one. */
npr_status npr_rows_make(npr_rows *r, uint32_t columns, int dim, int64_t cap);
void npr_rows_free(npr_rows *r);
void npr_rows_clear(npr_rows *r); /* n = 0, containers forgotten; memory kept */

/* The number of a container for source[][0]; a name not seen before is added. */
npr_status npr_rows_container(npr_rows *r, const char *name, int64_t *number);

/* Append a text to text column c of row r->n, which becomes complete with npr_rows_next(). n bytes, any
 * bytes. */
npr_status npr_rows_put_text(npr_rows *r, npr_column c, const char *bytes, size_t n);

/* End the row being filled: columns of text not put are empty. Requires r->n < r->cap (npr_rows_reserve). */
npr_status npr_rows_next(npr_rows *r);

/* Make room for n rows in all; cap only grows. */
npr_status npr_rows_reserve(npr_rows *r, int64_t n);

/* Append row i of `from` to `to`: the columns of `to`; those that `from` lacks get their unknown value.
 * Containers are matched by name. Grows `to`. */
npr_status npr_rows_copy(npr_rows *to, const npr_rows *from, int64_t i);

/* One row as a self-contained byte record (for messages between ranks), appended to *bytes; and back. */
npr_status npr_rows_pack(const npr_rows *r, int64_t i, char **bytes, size_t *used, size_t *cap);
npr_status npr_rows_unpack(npr_rows *r, const char *bytes, size_t n, size_t *eaten);

/* Text i of a column: pointer and length. */
const char *npr_text_at(const npr_text *t, int64_t i, size_t *n);

/* ---- reading a set ------------------------------------------------------------------------------------- */

typedef struct npr_part_entry {
    char file[24]; /* "part-00017.h5" */
    int64_t rows;
    int64_t bytes;         /* size of the file */
    char digest[33];       /* XXH3-128 of the file: `xxh128sum part-00017.h5` */
    double residual;       /* largest ||x - bf16(x)|| of its rows, rounded up */
    char index_digest[33]; /* of the index blob inside, "" = none */
} npr_part_entry;

/* What a set says of itself. */
typedef struct npr_set {
    char *path;      /* the folder */
    char *kind;      /* "index", "head", "pool", "test", "features" */
    char *model;     /* who made the embeddings, "unknown" if never said */
    char *job;       /* identity of the command that wrote it: options and input digests */
    char *digest;    /* of the manifest: names this very content */
    char *index;     /* FAISS factory string of the index inside the parts, "" = none */
    char *index_job; /* identity of the command that put it there, "" = none */
    int dim;
    uint32_t columns;
    int64_t rows;      /* of all parts */
    int64_t part_rows; /* rows a part was cut at */
    double residual;   /* largest of its parts */
    int parts;
    npr_part_entry *part; /* [parts] */
} npr_set;

/* Read and check the manifest. Refuses what is incomplete, of another version or inconsistent. */
npr_status npr_set_open(const char *path, npr_set **set);
void npr_set_free(npr_set *set);

/* The same for all ranks, read once. Collective. */
npr_status npr_set_open_all(const npr_comm *comm, const char *path, npr_set **set);

/* A finished set as it is on disk, into the record: result.ROWS, result.bytes (ROWS NULL: neither) and
 * check.set; the same lines whether this run wrote it or an earlier one. *rows (NULL: not asked) is how many
 * it has. Collective. */
npr_status npr_set_record(const npr_comm *comm, npr_record *rec, const char *path, const char *rows_key,
                          int64_t *rows);

/* Are these embeddings comparable? Refuses different dims, and different models unless one is "unknown"
 * (warned of by the caller). NPR_EENV with both values in the text. */
npr_status npr_set_match(const npr_set *a, const npr_set *b);

/* A part open for reading. */
typedef struct npr_part npr_part;

npr_status npr_part_open(const npr_set *set, int part, npr_part **out);
void npr_part_close(npr_part *p);
int64_t npr_part_rows(const npr_part *p);

/* Read rows [row0, row0 + n) of the columns asked for into r (made by npr_rows_make, n <= r->cap); r->columns
 * says which columns are wanted. Chunk-aligned reads (multiples of NPR_CHUNK_ROWS) are fastest. */
npr_status npr_part_read(npr_part *p, int64_t row0, int64_t n, npr_rows *r);

/* Read the rows of an ascending list of row numbers (n <= r->cap); each chunk is touched once. */
npr_status npr_part_pick(npr_part *p, const int64_t *row, int64_t n, npr_rows *r);

/* The embeddings of rows chunk x NPR_CHUNK_ROWS and behind, as many as a chunk has, where they were read; they
 * stay until embeddings of the part are read again. */
npr_status npr_part_view(npr_part *p, int64_t chunk, const uint16_t **emb);

enum { NPR_CHUNK_ROWS = 1024, NPR_PART_ROWS = 1 << 20 };

/* The index blob inside a part, whole; *bytes is released with free(). Checked against the manifest's digest. */
npr_status npr_part_read_index(npr_part *p, char **bytes, size_t *n);

/* All rows of a (small) set in one batch. */
npr_status npr_set_read_all(const npr_set *set, uint32_t columns, npr_rows *r);

/* ---- checking a set ------------------------------------------------------------------------------------ */

typedef struct npr_part_report {
    int64_t rows, non_finite,
        non_unit; /* rows; rows with NaN or Inf; rows whose norm is not 1 +- NPR_UNIT_TOLERANCE */
    double norm_min, norm_max, residual;
    int64_t labelled, captioned;
    int64_t id_min, id_max;
} npr_part_report;

#define NPR_UNIT_TOLERANCE 0.01

/* Check one part wholly: size, digest, structure, every column read, offsets monotonic, residual. */
npr_status npr_part_verify(const npr_set *set, int part, npr_part_report *report);

/* Verify all parts of a set, parts dealt to ranks, and put what is in it into the record (result.*,
 * check.digest). quick: sizes and structure only. Bad parts are counted and the first one is named
 * (NPR_EDATA). Collective. */
npr_status npr_set_verify(const npr_comm *comm, const npr_log *log, npr_record *rec, const char *path,
                          int quick);

/* ---- writing a set ------------------------------------------------------------------------------------- */

/* A part being written. Rows are appended in batches; commit flushes, closes, reads back, syncs and renames,
 * and fills *entry. Abandoning leaves nothing behind. The temporary file lies in the set's folder. */
typedef struct npr_part_writer npr_part_writer;

npr_status npr_part_create(const char *folder, int part, uint32_t columns, int dim, npr_part_writer **w);
npr_status npr_part_append(npr_part_writer *w, const npr_rows *r);
npr_status npr_part_commit(npr_part_writer *w, npr_part_entry *entry); /* frees w, also on failure */
void npr_part_abandon(npr_part_writer *w);                             /* frees w; NULL is fine */

/* A set being written by all ranks: takes a lock on the folder, finds what an interrupted run of the same
 * command finished, and writes the manifest at the end. All Collective but npr_set_done() and
 * npr_set_commit_part(). */
typedef struct npr_set_plan {
    const char *path, *kind, *model;
    const char *
        job; /* identity: canonical text of the options that shape the result and the digests of the inputs */
    int dim;
    uint32_t columns;
    int64_t part_rows; /* rows a part is cut at */
} npr_set_plan;

typedef struct npr_set_writer npr_set_writer;

/* NPR_OK with *complete = 1: this very set is already there and whole; nothing to do. A folder with something
 * else is refused (NPR_ECREATE), as is a folder another process is writing. */
npr_status npr_set_begin(const npr_comm *comm, const npr_set_plan *plan, npr_set_writer **w, int *complete);

int npr_set_done(const npr_set_writer *w, int part);  /* 1: an earlier run finished this part. Local. */
const char *npr_set_folder(const npr_set_writer *w);  /* where parts go. Local. */
const char *npr_set_scratch(const npr_set_writer *w); /* folder for journals of unfinished work. Local. */
int npr_set_run(const npr_set_writer *w); /* this run's number: journals are NAME-<run>-<rank>.log. Local. */
npr_status npr_set_commit_part(npr_set_writer *w, int part, const npr_part_entry *e); /* journal it. Local. */

/* Gather the entries of parts 0 .. parts-1, write the manifest, remove the scratch folder. Every part must
 * have been committed, by this run or an earlier one. */
npr_status npr_set_finish(const npr_comm *comm, npr_set_writer *w, int parts);

/* Release the lock and free; unfinished work stays for the next run. After finish too. */
void npr_set_end(npr_set_writer *w);

/* Put an index into every part of a finished set: begin, npr_set_put_index() for each part that is not
 * npr_set_done(), finish, npr_set_end(). A part is copied, the blob added to the copy (an older index is left
 * out), the copy verified, journalled and renamed over the part; the manifest follows when all parts are
 * done. An interrupted run leaves a set that only the same command goes on with: begin brings *set up to date
 * with the parts that run finished, so that they can be read. NPR_OK with *complete = 1: this very index is
 * already there. begin and finish are Collective. */
npr_status npr_set_begin_index(const npr_comm *comm, npr_set *set, const char *factory, const char *job,
                               npr_set_writer **w, int *complete);
npr_status npr_set_put_index(npr_set_writer *w, int part, const void *blob, size_t n); /* Local */
npr_status npr_set_finish_index(const npr_comm *comm, npr_set_writer *w);

#endif
