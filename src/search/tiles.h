/* tiles.h - the rows of a part, a tile at a time, the next one read by a second thread while this one is
 * scored. Without that, reading (2 GB/s from the page cache, with checksums) and scoring would take turns.
 * Local. */
#ifndef NPR_SEARCH_TILES_H
#define NPR_SEARCH_TILES_H

#include <stdint.h>

#include "npr/search.h"

typedef struct npr_tiles npr_tiles;

/* Two buffers of tile_rows rows of these columns; kept from part to part. */
npr_status npr_tiles_make(uint32_t columns, int dim, int64_t tile_rows, npr_tiles **out);
void npr_tiles_free(npr_tiles *t); /* NULL is fine */

/* Parts begun from now on are taken from `resident` where they are there, and stay there where they fit.
 * NULL: no. */
void npr_tiles_keep(npr_tiles *t, npr_resident *resident);

/* Seconds so far in which the caller waited for rows, and in which the other thread read them. Where the
 * first are few reading hides behind scoring; where both are alike scoring hides behind reading. */
void npr_tiles_seconds(npr_tiles *t, double *waited, double *reading);

/* Begin a part. What an earlier part left unread is dropped. */
npr_status npr_tiles_start(npr_tiles *t, const npr_set *set, int part);

/* NPR_ESTOP, and which part it was, once a stop is requested: asked between pieces of a part's work. Local. */
npr_status npr_part_stop(const npr_set *set, int part);

/* The next tile and the number of its first row; *rows = NULL after the last. It may be used until the next
 * call. A request to stop ends it with NPR_ESTOP. */
npr_status npr_tiles_next(npr_tiles *t, const npr_rows **rows, int64_t *row0);

/* Read an ascending list of rows of the part at hand into r (npr_part_pick), between the reads of the other
 * thread. */
npr_status npr_tiles_pick(npr_tiles *t, const int64_t *row, int64_t n, npr_rows *r);

/* Bytes of the columns of a batch, as they lie on disk. */
int64_t npr_rows_bytes(const npr_rows *r);

#endif
