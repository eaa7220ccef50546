/* painted_files.h - the files of a painted world, one at a time. Local; painted_mpi.c gives them to ranks. */
#ifndef NPR_WORLD_PAINTED_FILES_H
#define NPR_WORLD_PAINTED_FILES_H

#include "npr/minilaion.h"
#include "world/begin.h"

enum { PAINTED_FAMILIES = 2 }; /* phrases, coined */

npr_status painted_cut(int64_t total, int64_t file_rows, world_files *files);

/* Folders, world.txt; then the small files of words. */
npr_status painted_begin(const char *out, const char *identity);
npr_status painted_words(const char *out, const npr_painted *w);

/* A tar of rows. A tar of that name is whole: it was renamed to it. */
npr_status painted_tar_done(const char *out, int file, int *done);
npr_status painted_tar_write(const char *out, const npr_painted *w, const world_files *files, int file,
                             npr_progress *progress);

/* n pictures of a class in a set. draw: into a hidden folder; show: give it its name, once the pictures of
 * many classes were made durable by painted_sync(). */
npr_status painted_class_done(const char *out, const npr_painted *w, npr_painted_set set, int class,
                              int *done);
npr_status painted_class_draw(const char *out, const npr_painted *w, npr_painted_set set, int class, int n,
                              npr_progress *progress);
npr_status painted_class_show(const char *out, const npr_painted *w, npr_painted_set set, int class);
npr_status painted_sync(const char *out);

#endif
