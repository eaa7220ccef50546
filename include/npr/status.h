/* status.h - how a function of npr reports failure.
 *
 * A function that can fail returns an npr_status: NPR_OK (0), or a code that is also the exit code of the
 * program (the values of sysexits.h, which batch scripts can act on). The text of the failure, one sentence
 * that says what, where, wanted and found, is kept per thread and read with npr_status_text().
 *
 * Three tiers: a bug of ours is an assert() and an abort; a failing MPI call is left fatal
 * (MPI_ERRORS_ARE_FATAL); input, disk and memory are an npr_status. npr_agree() in comm.h makes a local
 * status collective. */
#ifndef NPR_STATUS_H
#define NPR_STATUS_H

typedef enum npr_status {
    NPR_OK = 0,
    NPR_EUSAGE = 64,    /* the command line or an options file is wrong */
    NPR_EDATA = 65,     /* input is damaged, malformed or beyond the error budget */
    NPR_ENOINPUT = 66,  /* input is missing or unreadable */
    NPR_EINTERNAL = 70, /* out of memory, watchdog, or a library failed unexpectedly */
    NPR_ECREATE = 73,   /* output cannot be created, or belongs to another command */
    NPR_EIO = 74,       /* reading or writing failed, or the disk is full */
    NPR_ESTOP = 75,     /* stopped early on request; finished work is kept; run the same command again */
    NPR_EENV = 78       /* environment or sets do not fit together (model, dim, version) */
} npr_status;

/* Record a failure and return `code`. The text is printf-like; control bytes in it are escaped, the place in
 * the source is appended. Local. */
#define npr_fail(code, ...) npr_fail_at(__FILE__, __LINE__, (code), __VA_ARGS__)
npr_status npr_fail_at(const char *file, int line, npr_status code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Put "context: " before the text of the failure just recorded; returns `st` unchanged. Local. */
npr_status npr_context(npr_status st, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Code and text of the last failure on this thread. The text is valid until the next failure. Local. */
npr_status npr_last(void);
const char *npr_status_text(void);

/* Replace the recorded failure (used when another rank's failure becomes ours). Local. */
void npr_status_set(npr_status code, const char *text);

/* The failure a failed system call stands for: ENOENT is missing input, ENOSPC an I/O error, and so on.
 * Local. */
npr_status npr_status_from_errno(int err);

/* The same where a file or a folder could not be made: NPR_EIO where the disk is full or fails, NPR_ECREATE
 * where the place is wrong. Local. */
npr_status npr_status_from_create(int err);

/* Return early from a function that owns nothing that would leak. */
#define NPR_TRY(call)                                                                                        \
    do {                                                                                                     \
        npr_status try_status_ = (call);                                                                     \
        if (try_status_) return try_status_;                                                                 \
    } while (0)

/* Injected faults, for tests: NPR_FAULT=point@rank[:nth][=fail|kill|stop|freeze|slow] makes the nth
 * passage (default the first) of the named point on that rank report failure (fail, default), raise
 * SIGKILL (kill), SIGUSR1 (stop) or SIGSTOP (freeze), or makes it and all later ones take a second (slow).
 * Returns 1 if the caller must behave as if the operation at this point had failed. Local. */
int npr_fault(const char *point);
void npr_fault_rank(int rank);

#endif
