/* output.h - can what a job is to write be written? Asked before the work: after a night of it is too late.
 * Local.
 */
#ifndef NPR_BASE_OUTPUT_H
#define NPR_BASE_OUTPUT_H

#include "npr/status.h"

/* Can a file of this name be written? What is there must be a plain file: it will be replaced. make = 1: its
 * folder is made if it is not there; 0: the folder must be one that could be made, and nothing is. The folder
 * is tried with a temporary file, since permissions alone do not tell of a read-only or a full file system.
 * What cannot be is NPR_ECREATE, or NPR_EIO where the disk is full; the text leaves the path to the caller,
 * who knows the option. */
npr_status npr_output_file(const char *path, int make);

/* The same for a folder that a job fills. It is not made: the nearest folder above it is tried. */
npr_status npr_output_folder(const char *path);

#endif
