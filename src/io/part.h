/* part.h - what reading and writing parts share. Local. */
#ifndef NPR_IO_PART_H
#define NPR_IO_PART_H

#include "io/rows.h"
#include "npr/set.h"

enum { NPR_PARTS_MAX = 1 << 20 };

/* "part-00017.h5" */
void npr_part_name(int part, char file[24]);

/* Into how many parts so many rows are cut, part_rows (--part-rows) in each; more than a set may have is
 * NPR_EUSAGE. And the row a part begins with; of one behind the last: the number of rows. */
npr_status npr_part_cut(int64_t rows, int64_t part_rows, int *parts);
int64_t npr_part_begin(int64_t rows, int64_t part_rows, int part);

/* The index inside a part, as a column of bytes. */
extern const npr_h5_shape npr_index_shape;

/* Check that a file has the datasets of a part with these columns, `more` others, and no more. */
npr_status npr_part_count(const npr_h5 *f, uint32_t columns, int dim, int more);

/* Is the file of a part, byte by byte, the one the manifest describes? */
npr_status npr_part_check_digest(const npr_set *set, int part);

/* As npr_part_read(), but behind the rows that r has already. */
npr_status npr_part_read_more(npr_part *p, int64_t row0, int64_t n, npr_rows *r);

/* The part of *set with an index, as a verified temporary file: *temp (release with free()), to be renamed
 * over the part by npr_part_publish(). *entry is what the manifest will say of it. */
npr_status npr_part_with_index(const npr_set *set, int part, const void *blob, size_t n, char **temp,
                               npr_part_entry *entry);

/* Make a temporary file the part `entry` describes; the temporary file is removed on failure. */
npr_status npr_part_publish(const char *folder, const char *temp, const npr_part_entry *entry);

#endif
