/* space_files.h - the files of a world of vectors, one at a time. Local; space_mpi.c gives them to ranks. */
#ifndef NPR_WORLD_SPACE_FILES_H
#define NPR_WORLD_SPACE_FILES_H

#include "npr/minilaion.h"
#include "world/begin.h"

npr_status space_cut(int64_t total, int64_t file_rows, world_files *files);

/* Are the vectors and the metadata of a file there? A file of that name is whole: it was renamed to it. */
npr_status space_done(const char *out, const world_files *files, int file, int dim, int *done);

/* Write the vectors and the metadata of a file. NPR_ESTOP when asked to stop; then nothing of it is kept. */
npr_status space_write(const char *out, const npr_world *w, const world_files *files, int file,
                       npr_progress *progress);

/* Folders, world.txt (refused if it tells of another world). */
npr_status space_begin(const char *out, const char *identity);

/* text/ and test/: small, written whole each time. */
npr_status space_text(const char *out, const npr_world *w);
npr_status space_tests(const char *out, const npr_world *w, int per_class);

#endif
