/* output.h - can what a job is to write be written? Asked before the work: after a night of it is too late.
 * Local.
 */
#ifndef NPR_BASE_OUTPUT_H
#define NPR_BASE_OUTPUT_H

#include "npr/status.h"

typedef enum npr_output_how {
    NPR_OUTPUT_LOOK, /* permissions alone are looked at, and nothing is made, not even for a moment */
    NPR_OUTPUT_TRY,  /* the nearest folder that is there is tried with a temporary file: permissions do not
                        tell of a read-only or a full file system */
    NPR_OUTPUT_MAKE  /* the folder of a file is made if it is not there, and tried with the file's own name */
} npr_output_how;

/* Can a file of this name be written? What is there must be a plain file: it will be replaced. What cannot be
 * is NPR_ECREATE, or NPR_EIO where the disk is full; the text leaves the path to the caller, who knows the
 * option. */
npr_status npr_output_file(const char *path, npr_output_how how);

/* The same for a folder that a job fills, which is never made. */
npr_status npr_output_folder(const char *path, npr_output_how how);

/* Where a path leads, to compare outputs that are not there yet: absolute, without ".", ".." and links of the
 * folders above it. (What is mounted at two places is two.) NULL with a recorded failure. Release with
 * free().
 */
char *npr_output_place(const char *path);

#endif
