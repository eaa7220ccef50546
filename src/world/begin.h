/* begin.h - what both worlds do first: the folder they are written to, and whose it is. Local. */
#ifndef NPR_WORLD_BEGIN_H
#define NPR_WORLD_BEGIN_H

#include <stddef.h>
#include <stdint.h>

#include "npr/status.h"

/* How the rows are cut into files: `count` files of `rows` rows, the last one shorter. */
typedef struct world_files {
    int64_t rows, total;
    int count;
} world_files;

/* file_rows 0: a sixteenth of the rows, in steps of `step`, at most file_max. */
npr_status world_cut(int64_t total, int64_t file_rows, int64_t step, int64_t file_max, world_files *files);
int64_t world_rows_of(const world_files *files, int file);

/* Make the folder, folders in it, and world.txt: `what` and the options. A folder whose world.txt tells of
 * another world is refused. What killed runs left unfinished in the folders of a world that was there
 * before is removed, unless another run is at it: a file .lock tells. Once in a process. */
npr_status world_begin(const char *out, const char *what, const char *identity, const char *const *folder,
                       size_t folders);

/* Replace OUT/NAME by these bytes. */
npr_status world_write_small(const char *out, const char *name, const void *bytes, size_t n);

/* NPR_ESTOP if a signal asked for it. */
npr_status world_stop(void);

#endif
