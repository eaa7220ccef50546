/* journal.h - an append-only log of records that survives kill -9 and power loss: what a run has finished,
 * for the run that goes on with it. A record is a line "npr-journal TYPE BYTES CHECK", BYTES bytes of payload
 * and a line break; CHECK covers type, length and payload. Used for committed parts, and by the search for
 * scanned parts. Local. */
#ifndef NPR_IO_JOURNAL_H
#define NPR_IO_JOURNAL_H

#include <stddef.h>
#include <stdint.h>

#include "npr/status.h"

enum { NPR_JOURNAL_TYPE = 24 }; /* longest type and its final zero; small letters, digits and - */

typedef struct npr_journal npr_journal;

/* Open for appending; made if it does not exist. What stands behind the last good record is cut off. */
npr_status npr_journal_open(const char *path, npr_journal **out);

/* Append a record; it is on the disk on return. After a failure the journal is as before. */
npr_status npr_journal_append(npr_journal *j, const char *type, const void *bytes, size_t n);

/* The same, but what a kill leaves standing may be lost with the machine until npr_journal_sync() or the next
 * npr_journal_append(): for records that come fast and can be made again. */
npr_status npr_journal_add(npr_journal *j, const char *type, const void *bytes, size_t n);

/* Put all records that were added on the disk. */
npr_status npr_journal_sync(npr_journal *j);

void npr_journal_close(npr_journal *j); /* NULL is fine; does not sync */

/* Called for each record, which stands `at` so many bytes from the journal's begin; the payload is followed
 * by a zero byte. Its failure ends the reading. */
typedef npr_status (*npr_journal_visit)(void *context, const char *type, int64_t at, const char *bytes,
                                        size_t n);

/* Read the records in order. Reading stops without failure at the end, or at the first record that is torn or
 * damaged: what follows it is not trusted. *good: number of good records, *damaged: 1 if something stands
 * behind them (each may be NULL). visit may be NULL. */
npr_status npr_journal_read(const char *path, npr_journal_visit visit, void *context, int64_t *good,
                            int *damaged);

/* Read only the n records at these places, which npr_journal_read() told before. NPR_EDATA: there is no good
 * record at one of them any more. */
npr_status npr_journal_pick(const char *path, const int64_t *at, size_t n, npr_journal_visit visit,
                            void *context);

/* The same as npr_journal_read() for all journals "NAME-<run>-<rank>.log" in a folder, in order of run and
 * rank. *last_run: the highest run among all journals of the folder, whatever their name; 0 = none. */
npr_status npr_journal_read_all(const char *folder, const char *name, npr_journal_visit visit, void *context,
                                int *last_run);

#endif
