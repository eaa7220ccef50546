/* tar.h - tar archives: where their members lie, without extracting anything, and a small writer. Reads what
 * libarchive reads (ustar, GNU long names, pax), uncompressed: so that any member is one pread away. Names
 * are bytes, never used as paths. Local. */
#ifndef NPR_IO_TAR_H
#define NPR_IO_TAR_H

#include <stddef.h>
#include <stdint.h>

#include "npr/status.h"

typedef struct npr_tar npr_tar;

typedef struct npr_tar_member {
    const char *name; /* as it stands in the archive; valid until the next call */
    int plain;        /* 1: a regular file in one piece; 0: a folder, link, device, sparse file */
    int64_t header;   /* where its first header begins: a place for npr_tar_seek() */
    int64_t offset;   /* of its bytes in the file */
    int64_t bytes;
} npr_tar_member;

/* Compressed archives, and files that are no archive, are refused. */
npr_status npr_tar_open(const char *path, npr_tar **out);
void npr_tar_close(npr_tar *t); /* NULL is fine */

/* The next member; *there = 0 behind the last one. A damaged header, a member that reaches beyond the end of
 * the file, and an end without the mark of an end (the archive was cut short) are NPR_EDATA. Only headers are
 * read. */
npr_status npr_tar_next(npr_tar *t, npr_tar_member *m, int *there);

/* Go to a member by its `header`, or to the begin with 0. */
npr_status npr_tar_seek(npr_tar *t, int64_t header);

/* n bytes from an offset on. */
npr_status npr_tar_read(const npr_tar *t, int64_t offset, void *to, size_t n);

/* ---- writing ---- */

/* An archive being written, members appended: ustar headers without time, owner or machine, so that the same
 * members give the same bytes. Durable and visible under its name only after finish. */
typedef struct npr_tar_writer npr_tar_writer;

npr_status npr_tar_create(const char *path, npr_tar_writer **out);

/* name: at most 100 bytes (longer ones where a slash lets ustar split them). After a failure the archive
 * cannot be finished. */
npr_status npr_tar_append(npr_tar_writer *w, const char *name, const void *bytes, size_t n);
npr_status npr_tar_finish(npr_tar_writer *w); /* frees w, also on failure */
void npr_tar_abandon(npr_tar_writer *w);      /* leaves nothing behind; frees w; NULL is fine */

/* Library name and version, for --version. */
const char *npr_tar_version(void);

#endif
