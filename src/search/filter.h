/* filter.h - which rows of a tile may enter the pool at all: similarity, NSFW and size limits, and the CLIP
 * filter. All scanners use it in the same pass in which they score, so a row is judged once and counted once.
 * Local. */
#ifndef NPR_SEARCH_FILTER_H
#define NPR_SEARCH_FILTER_H

#include <stdint.h>

#include "npr/search.h"

typedef struct npr_filter npr_filter;

/* From the options' limits, head, labels_from_index and threads (the head must outlive the filter). */
npr_status npr_filter_make(const npr_scan_options *o, npr_filter **out);
void npr_filter_free(npr_filter *f); /* NULL is fine */

/* Columns it reads, as a mask; 0 if nothing is filtered. A batch without one of them counts as "unknown"
 * there. */
uint32_t npr_filter_columns(const npr_filter *f);

/* Judge the rows of a batch.
 *   drop  [n] 0 (NPR_TALLY_MATCHED) for a row that passes, else the NPR_TALLY_* field of the first limit it
 * fails. The CLIP filter drops a row here if it is open to no class at all; whether it is open to the class
 * at hand is for the caller to ask of `own`. own   [n] the gate of the row (npr_tile): NPR_GATE_ANY without
 * CLIP filter; with it the one class the row may be recalled for. NPR_GATE_NONE for every dropped row. With
 * labels_from_index the class at hand is the row's own label: a row the head calls otherwise is dropped, the
 * others are open to any query (NPR_GATE_ANY). */
npr_status npr_filter_tile(npr_filter *f, const npr_rows *r, int8_t *drop, int32_t *own);

#endif
