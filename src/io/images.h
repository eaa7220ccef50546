/* images.h - images in one fixed order, from class folders, lists, webdataset tars or a set's `source`: what
 * is known of all of them before one is decoded (images_scan.c, images_plan_mpi.c), the rows they will be
 * (images_read.c), and their bytes (fetch.c). Memory does not grow with the number of images, but for a place
 * noted every NPR_IMAGES_MARK rows. */
#ifndef NPR_IO_IMAGES_H
#define NPR_IO_IMAGES_H

#include "base/file.h"
#include "io/join.h"
#include "npr/image.h"
#include "npr/log.h"
#include "npr/set.h"

enum {
    NPR_IMAGES_MARK = 1024,
    NPR_IMAGES_TEXT = 1 << 20 /* bytes of the longest text or JSON of an image */
};

/* Why a row is left out: npr_image_fault, and these. */
enum {
    NPR_SKIP_METADATA = NPR_IMAGE_FAULTS,
    NPR_SKIP_FEATURES,
    NPR_SKIP_MISSING, /* of a join: no picture, nothing known of it */
    NPR_SKIP_DEAD,    /* img2dataset could not download it */
    NPR_SKIP_CHANGED, /* it is not what the pool says of it */
    NPR_SKIPS
};
const char *npr_skip_name(int reason); /* "not_jpeg", ..., "metadata", "features", "missing", ... */

typedef struct npr_images_options {
    const char *images;    /* a folder, @LIST, a pattern of tars, or a set */
    const char *root;      /* where a set's containers and relative paths of a list lie; NULL: here */
    const char *id_field;  /* an integer of a tar's JSON members that becomes the id; NULL: the row number */
    npr_join_options join; /* with a pool: images are tars of pictures that were downloaded for it */
} npr_images_options;

typedef enum npr_images_kind {
    NPR_IMAGES_FOLDER, /* files: folders, each a class; or one folder of images */
    NPR_IMAGES_LIST,   /* one file: "path", or "path<TAB>label", a line */
    NPR_IMAGES_TARS,   /* files: tars */
    NPR_IMAGES_SET,    /* files: parts of a set */
    NPR_IMAGES_JOIN    /* files: parts of a pool, with pictures joined to its rows */
} npr_images_kind;

typedef struct npr_images_file {
    int64_t row0, rows; /* its images are rows row0 .. row0 + rows - 1 of all */
    int64_t bytes;      /* of images; of a list: unknown, 0 */
    int64_t unused;     /* members of a tar that belong to no image */
    uint64_t hash;      /* of names and sizes, of lines, or of the ends of a tar */
    uint32_t columns;   /* a tar's members can fill */
    int64_t marks;
    int64_t *mark; /* place of row i * NPR_IMAGES_MARK: in a tar, in a list */
} npr_images_file;

/* All that is known before the first image is read; the same on every rank. */
typedef struct npr_images_plan {
    npr_images_options options;
    npr_images_kind kind;
    npr_paths file;
    npr_images_file *facts; /* [file.count] */
    npr_paths class;        /* names of the classes, sorted, if labels have names; of class folders always */
    int numbered;           /* class folders are called 0, 1, 2, 10: those numbers are the labels */
    npr_set *set;           /* the set, the pool, or NULL */
    npr_join join;          /* of a pool and tars */
    int labelled;           /* of a list: its lines have labels */
    int same_names;         /* tars of one base name are there: `source` has whole paths */
    int64_t rows, bytes, unused;
    uint32_t columns; /* of rows, besides emb */
    char digest[33];  /* of all of this: who the input is */
} npr_images_plan;

/* Collective. */
npr_status npr_images_plan_make(const npr_comm *comm, const npr_log *log, const npr_images_options *options,
                                npr_images_plan *plan);
void npr_images_plan_free(npr_images_plan *plan);
/* What `source` calls file i. Local. */
const char *npr_images_container(const npr_images_plan *plan, size_t i);
const char *npr_images_kind_name(npr_images_kind kind); /* "folder", "list", "tars", "set", "join" */

/* ---- what is known of one file (images_scan.c). Local. ---- */

/* Names of the images in a folder, sorted; *folders: its sub-folders, if wanted. */
npr_status npr_images_list_folder(const char *path, npr_paths *images, npr_paths *folders);

/* A line of a list: bytes of its path; *label: what stands behind the tab, or NULL. */
size_t npr_images_split_line(const char *line, size_t n, const char **label, size_t *label_bytes);

npr_status npr_images_scan_folder(const char *path, npr_images_file *f);
npr_status npr_images_scan_list(const char *path, npr_images_file *f, npr_paths *class, int *labelled);
npr_status npr_images_scan_tar(const char *path, npr_images_file *f);

/* The index of a name among sorted ones, -1: none. */
int64_t npr_images_find_class(const npr_paths *class, const char *name, size_t n);

/* ---- rows (images_read.c). Local. ---- */

/* Where an image lies. */
typedef struct npr_image_at {
    char *path;            /* the file */
    char *name;            /* what it is called in messages and lists */
    int64_t offset, bytes; /* bytes < 0: the whole file */
    int skip;              /* why it is left out already, or 0 */
} npr_image_at;

/* Some rows: everything but the vectors. */
typedef struct npr_images_rows {
    npr_rows rows;    /* the columns of the plan */
    npr_image_at *at; /* [rows.n] */
    int64_t cap;
} npr_images_rows;

void npr_images_rows_free(npr_images_rows *b);

typedef struct npr_images npr_images; /* a reader, for one thread */

npr_status npr_images_open(const npr_images_plan *plan, npr_images **out);
void npr_images_close(npr_images *s); /* NULL is fine */

/* Rows row0 .. row0 + n - 1, or fewer of them (at least one) if their texts are very long. */
npr_status npr_images_read(npr_images *s, int64_t row0, int64_t n, npr_images_rows *b);

/* Of a join: where the picture of row i of b lies, or why there is none (images_join.c). Its name in lists: of
 * its tar; of a row without picture the URL. *scratch (*cap bytes) is kept between calls. */
npr_status npr_images_put_joined(const npr_images_plan *plan, int64_t i, npr_images_rows *b, char **scratch,
                                 size_t *cap);

/* ---- bytes (fetch.c). Local. ---- */

enum { NPR_IMAGE_BYTES = 64 << 20 }; /* a larger file is too_large */

/* What one thread reads images with; zeroed to begin with. */
typedef struct npr_fetch {
    char *path; /* of the open file */
    int fd;
    unsigned char *bytes; /* of the image */
    size_t cap, n;
} npr_fetch;

/* The bytes of an image, in f->bytes and f->n. The status is a failure of memory only. */
npr_status npr_fetch_image(npr_fetch *f, const npr_image_at *at, npr_image_fault *fault);
void npr_fetch_free(npr_fetch *f);

#endif
