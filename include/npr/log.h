/* log.h - what a job says while it runs, on stderr: messages and progress. Results go to the record
 * (record.h). */
#ifndef NPR_LOG_H
#define NPR_LOG_H

#include <stdint.h>
#include <stdio.h>

#include "npr/comm.h"

typedef struct npr_log {
    const char *program;
    FILE *to; /* stderr */
    int rank;
    int quiet;    /* 1: warnings only */
    int terminal; /* 1: progress is one line redrawn, else a line every 10 s */
} npr_log;

npr_log npr_log_make(const npr_comm *comm, const char *program, int quiet); /* Local */

/* Said once, by rank 0 only; other ranks are silent. One line, with the time of day. Local. */
void npr_info(const npr_log *log, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void npr_warn(const npr_log *log, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* How a job has failed: said whatever --quiet says. */
void npr_error(const npr_log *log, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Said by any rank, with its number. Local. For what is rank-specific and rare. */
void npr_warn_here(const npr_log *log, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Progress of a stage over all ranks with ETA. start and end are Collective; add is Local and cheap (a clock
 * read, and one small message to rank 0 every few seconds). */
typedef struct npr_progress npr_progress;
npr_progress *
npr_progress_start(const npr_comm *comm, const npr_log *log, const char *what, const char *unit,
                   int64_t total); /* total over all ranks; NULL without memory: then nothing is shown */
void npr_progress_add(npr_progress *p, int64_t done);
void npr_progress_end(const npr_comm *comm, npr_progress *p);

double npr_now(void); /* seconds on a monotonic clock. Local. */

/* The time of day, as lines of a log begin with it: "15:04:05". Returns `text`. Local. */
enum { NPR_CLOCK = 16 };
const char *npr_clock(char text[NPR_CLOCK]);

#endif
