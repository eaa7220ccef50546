/* resident.h - tiles kept in memory from pass to pass, part by part, as many parts as fit. Local; one rank's.
 */
#ifndef NPR_SEARCH_RESIDENT_H
#define NPR_SEARCH_RESIDENT_H

#include <stdint.h>

#include "npr/search.h"

/* A part: its tiles as they were read. */
typedef struct npr_resident_part {
    npr_rows *tile; /* [tiles] */
    int64_t tiles, tile_rows, bytes;
    uint32_t columns;
    int whole; /* all tiles are there: set by whoever read the last */
} npr_resident_part;

/* Room for this many bytes of the columns of parts 0 .. parts-1. */
npr_status npr_resident_make(int parts, int64_t bytes, npr_resident **out);
void npr_resident_free(npr_resident *r); /* NULL is fine */

/* A part that is there with these columns in tiles of so many rows; else NULL. */
npr_resident_part *npr_resident_find(npr_resident *r, int part, uint32_t columns, int64_t tile_rows);

/* Room for a part that is about to be read; *out = NULL if it does not fit, or has texts among its columns.
 */
npr_status npr_resident_begin(npr_resident *r, int part, uint32_t columns, int dim, int64_t tile_rows,
                              int64_t rows, npr_resident_part **out);

/* Forget a part, if it is there: its memory is free for others. */
void npr_resident_drop(npr_resident *r, int part);

int64_t npr_resident_served(const npr_resident *r); /* how often a part was taken from memory */

#endif
