/* digest.h - XXH3-128 digests: what `xxh128sum FILE` prints, as 32 hexadecimal digits. Guards against damage,
 * not against forgery. Local. The only user of xxhash.h. */
#ifndef NPR_BASE_DIGEST_H
#define NPR_BASE_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#include "npr/status.h"

enum { NPR_DIGEST_HEX = 33 }; /* 32 digits and the final zero */

typedef struct npr_digest npr_digest; /* a running digest */

npr_digest *npr_digest_new(void); /* NULL: no memory */
void npr_digest_add(npr_digest *g, const void *bytes, size_t n);
void npr_digest_hex(const npr_digest *g,
                    char hex[NPR_DIGEST_HEX]); /* of all bytes so far; may be called again */
void npr_digest_free(npr_digest *g);

/* Digest of a block, and of a whole file (with its size in *bytes, if wanted). */
void npr_digest_block(const void *bytes, size_t n, char hex[NPR_DIGEST_HEX]);
npr_status npr_digest_file(const char *path, char hex[NPR_DIGEST_HEX], int64_t *bytes);

/* The same of a file that is open, whatever its path names by now; *bytes: what was read. */
npr_status npr_digest_open_file(int fd, const char *path, char hex[NPR_DIGEST_HEX], int64_t *bytes);

/* Size of a file, and XXH3 of its first and last 64 KiB: says whether this is the file it was, without reading
 * terabytes. */
npr_status npr_digest_ends(const char *path, int64_t *bytes, uint64_t *hash);

/* 64-bit hash of a block with a seed: the order of caps and samples, the check of a journal record. */
uint64_t npr_hash64(const void *bytes, size_t n, uint64_t seed);

/* Library name and version, for --version. */
const char *npr_digest_version(void);

#endif
