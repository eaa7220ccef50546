/* opt.h - one table of options gives parsing, --help, the record's option.* lines and --opts FILE. All Local. */
#ifndef NPR_OPT_H
#define NPR_OPT_H

#include <stddef.h>
#include <stdint.h>

#include "npr/status.h"

typedef enum npr_opt_kind {
    NPR_OPT_FLAG,      /* int *: --name or --name=0|1 */
    NPR_OPT_INT,       /* int64_t *: 1000, 1e6, 64K, 16M, 4G (powers of 1024); between min and max */
    NPR_OPT_REAL,      /* double *: between min and max */
    NPR_OPT_TEXT,      /* const char **: points into the arguments (or the options file, kept until exit) */
    NPR_OPT_CHOICE,    /* const char **: one of the words of `arg`, "a|b|c" */
    NPR_OPT_OUT_FILE,  /* as TEXT: a file that is written; one that cannot be is refused before the work */
    NPR_OPT_OUT_FOLDER /* as TEXT: a set or folder that is written */
} npr_opt_kind;

typedef struct npr_opt {
    const char *name; /* without the dashes */
    npr_opt_kind kind;
    void *to;          /* where the value goes; holds the default before parsing (NULL text: no default) */
    const char *arg;   /* what stands for the value in --help: "N", "FILE", "exact|faiss" */
    const char *help;  /* what it does, with unit; a line break is kept */
    int required;      /* a text that must be given */
    int shapes_result; /* 1: part of the identity of the output; 0: speed, log, memory only */
    double min, max;   /* for INT and REAL; both 0: any */
    int given;         /* set by parsing */
} npr_opt;

/* Parse argv[1..]. Unknown, repeated, malformed or out-of-range options are NPR_EUSAGE. */
npr_status npr_opt_parse(npr_opt *table, size_t n, int argc, char **argv);

/* After parsing and reading: is a required option missing? NPR_EUSAGE names the first. */
npr_status npr_opt_missing(const npr_opt *table, size_t n);

/* Options from a file of key=value lines: plain names, or the option.* lines of a record (other lines of a
 * record are skipped). A name also given on the command line is overridden by it. Text options then
 * point into *keep, which the caller frees (also after a failure) when the options are no longer used. */
npr_status npr_opt_read(npr_opt *table, size_t n, const char *path, char **keep);

/* The value as text, as npr_opt_parse would take it; written to buf. */
const char *npr_opt_print(const npr_opt *o, char *buf, size_t size);

/* "name=value" lines of the options that shape the result, in table order. NULL: no memory. Release with
 * free(). */
char *npr_opt_identity(const npr_opt *table, size_t n);

/* Print the table for --help. */
void npr_opt_help(const npr_opt *table, size_t n, void *file);

#endif
