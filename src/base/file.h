/* file.h - whole files, folders and durable writes, every return code checked, every failure naming the path.
 * Local. */
#ifndef NPR_BASE_FILE_H
#define NPR_BASE_FILE_H

#include <dirent.h>
#include <stddef.h>
#include <stdint.h>

#include "npr/status.h"

/* Open a file for reading, and its size; *fd is -1 on failure. NPR_ENOINPUT for what is no regular file: a
 * pipe would make the reader wait for ever. */
npr_status npr_file_open(const char *path, int *fd, int64_t *bytes);

/* Read a whole file of at most max_bytes into *bytes (a zero byte is put behind the last one). Release with
 * free(). */
npr_status npr_file_read(const char *path, size_t max_bytes, char **bytes, size_t *n);

/* The name under which a file is written before it takes the place of `path`: in the same folder, and this
 * process's own. NULL: no memory. Release with free(). */
char *npr_file_temporary(const char *path);

/* Open a file for writing, new or made empty. *fd is -1 on failure: NPR_ECREATE, or NPR_EIO where the disk is
 * full. */
npr_status npr_file_create(const char *path, int *fd);

/* Replace `path` by these bytes so that a reader sees all of them or none of them: temporary name in the same
 * folder, write, fsync, rename, fsync of the folder. */
npr_status npr_file_replace(const char *path, const void *bytes, size_t n);

/* rename(from, to) and make it durable: fsync of the file before, of the folder after. What is there and is
 * no plain file, such as a device, is left alone: NPR_ECREATE. */
npr_status npr_file_publish(const char *from, const char *to);

/* Write all n bytes to fd, resuming short writes and EINTR. */
npr_status npr_file_write_all(int fd, const char *path, const void *bytes, size_t n);

/* Size of a file in bytes; whether a path exists (1 or 0). */
npr_status npr_file_size(const char *path, int64_t *bytes);
int npr_file_exists(const char *path);

/* Make a folder and its parents; an existing one is fine. NPR_ECREATE, or NPR_EIO where the disk is full. */
npr_status npr_folder_make(const char *path);

/* Remove a folder of plain files, and the files in it (one level). Missing is fine. */
npr_status npr_folder_remove(const char *path);

/* Remove from a folder the temporary files (npr_file_temporary(): NAME.tmp.PID) that killed processes have
 * left there. The caller knows that the folder is its own and that no other process is writing one. */
npr_status npr_folder_tidy(const char *path);

/* The next entry of a folder that is being listed, but for "." and ".."; *e is NULL at its end. An entry that
 * cannot be read is NPR_EIO: an input passed over in silence would be missing from the result. */
npr_status npr_folder_next(DIR *d, const char *path, struct dirent **e);

/* Bytes free for us on the file system of `path`. */
npr_status npr_folder_free_bytes(const char *path, int64_t *bytes);

/* A list of paths. Release with npr_paths_free(). */
typedef struct npr_paths {
    char **path;
    size_t count, cap;
} npr_paths;

/* The files an option means, sorted by bytes: a glob pattern; a folder (its files that end in `suffix`); or
 * @LIST, a text file with one path a line (kept in its order). Nothing found is NPR_ENOINPUT; a folder
 * that is there and cannot be listed is NPR_EIO. */
npr_status npr_paths_find(const char *pattern, const char *suffix, npr_paths *paths);
npr_status npr_paths_add(npr_paths *paths, const char *path);
void npr_paths_free(npr_paths *paths);

/* "dir/name", printf-like, allocated; NULL: no memory. Release with free(). */
char *npr_path(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A copy of any bytes as ASCII, with what is not printable as \xNN. NULL: no memory. Release with free(). */
char *npr_file_escape(const char *text);

#endif
