/* scan_record.h - what a scan's journal says of a part: its tally, and those of its hits that were in the
 * lists when it had been scanned. Only for scan_journal_mpi.c. Local. */
#ifndef NPR_SEARCH_SCAN_RECORD_H
#define NPR_SEARCH_SCAN_RECORD_H

#include "search/faiss/proposals.h"
#include "search/search_stage.h"

/* Which pass a record is of. A pass with batches of another size or other candidates is another one. */
typedef struct npr_scan_key {
    int64_t format, kind, list0, list1, k, nprobe, refine;
} npr_scan_key;

npr_scan_key npr_scan_key_of(const npr_search_pass *pass);

/* A record: this head, the counts of the tally, how many hits each list has and, of candidates, where it was
 * cut among equal scores, the hits. A candidate takes 8 bytes, FAISS's score and its row; any other hit is a
 * npr_hit. */
typedef struct npr_scan_record {
    npr_scan_key pass;
    int64_t part, non_finite, rows, bytes, hits;
    int64_t asked; /* candidates: npr_scan_hits.asked of the part */
} npr_scan_record;

/* Make the record of a part: n bytes in *record, whose room is *cap. */
npr_status npr_scan_record_make(const npr_search_pass *pass, int part, const npr_scan_hits *hits,
                                const npr_tally *of_part, char **record, size_t *cap, size_t *n);

/* Is this a well-formed record of a pass over an index of so many parts? Gives its head. */
int npr_scan_record_read(int parts, const char *bytes, size_t n, npr_scan_record *head);

/* Take what npr_scan_record_read() has accepted into hits and tally, which are its pass's. */
npr_status npr_scan_record_take(const npr_scan_record *head, const char *bytes, const npr_scan_hits *hits,
                                npr_tally *of_part);

#endif
