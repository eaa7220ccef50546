/* job.h - what every program of npr does around its one collective function: MPI, options, help, record,
 * signals and the exit code. A main is a table of options, a function that calls the library, and int
 * main(int argc, char **argv) { return npr_program_main(argc, argv, &program); } */
#ifndef NPR_JOB_H
#define NPR_JOB_H

#include "npr/comm.h"
#include "npr/log.h"
#include "npr/opt.h"
#include "npr/plan.h"
#include "npr/record.h"
#include "npr/status.h"

/* What the library function is given. */
typedef struct npr_job {
    npr_comm comm;
    npr_log log;
    npr_record *rec;           /* has run.* and option.*; the function adds result.*, check.*, time.* */
    const char *identity;      /* npr_opt_identity() of the program's table */
    npr_plan_dry_run *dry_run; /* --dry-run was given: print the plan, write nothing; else NULL */
    const char *calibration;   /* FILE of --calibration, or NULL */
} npr_job;

typedef struct npr_program {
    const char *name;    /* "npr-search" */
    const char *purpose; /* one line */
    const char *notes;   /* for --help, after the options: rules, examples; ends with a line break */
    npr_opt *options;    /* the common ones (--help, --version, --opts, --record, ...) are added */
    size_t option_count;
    npr_status (*run)(const npr_job *job); /* Collective; option values are where the table says */
    int forecasts;                         /* 1: --calibration is offered too, and used */
} npr_program;

/* Run a program and return its exit code. */
int npr_program_main(int argc, char **argv, const npr_program *program);

/* --version: a line for npr and one per library. */
void npr_version_print(const char *program, FILE *to);

#define NPR_COUNT(table) (sizeof(table) / sizeof *(table))

#endif
