/* scratch.h - the folder inside a set's folder where unfinished work is kept: whose work it is, a lock, and
 * journals of finished parts. Rank 0's part of npr_set_begin() and npr_set_begin_index(). Local. */
#ifndef NPR_IO_SCRATCH_H
#define NPR_IO_SCRATCH_H

#include "npr/set.h"

typedef struct npr_scratch {
    char *path;           /* "SET/.work", or "SET/.index" while indexes are added */
    int lock;             /* descriptor of path/lock, -1 = not held */
    int run;              /* 1 + the highest run that left a journal here */
    npr_part_entry *done; /* [parts]: what earlier runs finished; file "" = not done */
    int parts;
    size_t cap;
} npr_scratch;

/* Look for the set that *want describes: *complete = 1 if it is there and whole. Else take its folder for
 * writing: it must be empty, or hold unfinished work of the same command. Another set, command or process is
 * refused (NPR_ECREATE). */
npr_status npr_scratch_begin(npr_scratch *s, const npr_set *want, int *complete);

/* The same for an index with factory string and job in a finished set. */
npr_status npr_scratch_begin_index(npr_scratch *s, const npr_set *set, const char *factory, const char *job,
                                   int *complete);

/* Remember that a part is done; *e is copied. */
npr_status npr_scratch_put(npr_scratch *s, int part, const npr_part_entry *e);

/* Release the lock and remove the folder: the work is finished. Failing to remove it harms nobody. */
void npr_scratch_remove(npr_scratch *s);

/* Release the lock and memory; the folder stays for the next run. */
void npr_scratch_free(npr_scratch *s);

#endif
