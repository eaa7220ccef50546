/* scan_journal.h - what the passes of a search have found, part by part, on the disk: the journal of this
 * run, and where the records of earlier runs stand. Opened once for all passes: whatever the number of
 * passes, a record of an earlier run is read once to know of it, and once more by the pass it is of. */
#ifndef NPR_SEARCH_SCAN_JOURNAL_H
#define NPR_SEARCH_SCAN_JOURNAL_H

#include "search/search_stage.h"

/* Look through the journals that earlier runs have left in the folder, dealt to ranks in turn (24 bytes of
 * memory a record), and begin this rank's own one. parts: of the index. Collective. */
npr_status npr_scan_journal_open(const npr_comm *comm, const char *folder, int run, int parts,
                                 npr_scan_journal **out);
void npr_scan_journal_close(npr_scan_journal *j); /* Local; NULL is fine; does not sync: scan_all() of search_mpi.c does */

/* Begin a pass: take the records that earlier runs have of it into hits and tally, each part once; of a part
 * that was asked again (SEARCH_MORE) that record, which says all that the first one does. owner [parts],
 * zeros before, is the same on all ranks then: not zero where a part is done, above comm->size where it was
 * asked again. of_part is scratch. NPR_EDATA: a journal is another one than when it was opened. Collective.
 */
npr_status npr_scan_journal_resume(const npr_comm *comm, npr_scan_journal *j, const npr_search_pass *pass,
                                   const npr_scan_hits *hits, npr_tally *tally, npr_tally *of_part,
                                   int64_t *owner);

/* Append the record of a part that this rank has scanned: its tally, and those of its hits that are still
 * there. A kill loses nothing of it; it is on the disk after a second of work at most, whatever passes that
 * is of, once the next record is added or one of the next two is called. Local. */
npr_status npr_scan_journal_add(npr_scan_journal *j, const npr_search_pass *pass, int part,
                                const npr_scan_hits *hits, const npr_tally *of_part);

/* Put all records on the disk. Local. */
npr_status npr_scan_journal_sync(npr_scan_journal *j);

/* The same, if some have waited for a second. Local. */
npr_status npr_scan_journal_settle(npr_scan_journal *j);

/* Bytes of earlier runs' records that this rank has read so far. Local. */
int64_t npr_scan_journal_bytes_read(const npr_scan_journal *j);

#endif
