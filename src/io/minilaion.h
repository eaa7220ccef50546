/* minilaion.h - the files of a made-up world, one at a time. Local; minilaion_mpi.c gives them to ranks. */
#ifndef NPR_IO_MINILAION_H
#define NPR_IO_MINILAION_H

#include "npr/minilaion.h"

/* How the rows are cut into files: `count` files of `rows` rows, the last one shorter. */
typedef struct minilaion_files {
    int64_t rows, total;
    int count;
} minilaion_files;

npr_status minilaion_cut(int64_t total, int64_t file_rows, minilaion_files *files);
int64_t minilaion_rows_of(const minilaion_files *files, int file);

/* Are the vectors and the metadata of a file there? A file of that name is whole: it was renamed to it. */
npr_status minilaion_done(const char *out, const minilaion_files *files, int file, int dim, int *done);

/* Write the vectors and the metadata of a file. NPR_ESTOP when asked to stop; then nothing of it is kept. */
npr_status minilaion_write(const char *out, const npr_world *w, const minilaion_files *files, int file,
                           npr_progress *progress);

/* Folders, world.txt (refused if it tells of another world). */
npr_status minilaion_begin(const char *out, const char *identity);

/* text/ and test/: small, written whole each time. */
npr_status minilaion_text(const char *out, const npr_world *w);
npr_status minilaion_tests(const char *out, const npr_world *w, int per_class);

#endif
