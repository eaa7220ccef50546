/* digest.c - see digest.h. */
#include "base/digest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/file.h"
#include "base/mem.h"

struct npr_digest {
    XXH3_state_t *state;
};

npr_digest *npr_digest_new(void)
{
    npr_digest *g = npr_alloc(1, sizeof *g, "a digest");
    if (!g) return NULL;
    g->state = XXH3_createState();
    if (!g->state || XXH3_128bits_reset(g->state) == XXH_ERROR) {
        npr_fail(NPR_EINTERNAL, "out of memory: a digest");
        npr_digest_free(g);
        return NULL;
    }
    return g;
}

void npr_digest_add(npr_digest *g, const void *bytes, size_t n)
{
    if (n) (void)XXH3_128bits_update(g->state, bytes, n); /* fails only for a null state */
}

static void to_hex(XXH128_hash_t hash, char hex[NPR_DIGEST_HEX])
{
    snprintf(hex, NPR_DIGEST_HEX, "%016llx%016llx", (unsigned long long)hash.high64,
             (unsigned long long)hash.low64);
}

void npr_digest_hex(const npr_digest *g, char hex[NPR_DIGEST_HEX])
{
    to_hex(XXH3_128bits_digest(g->state), hex);
}

void npr_digest_free(npr_digest *g)
{
    if (!g) return;
    XXH3_freeState(g->state);
    free(g);
}

void npr_digest_block(const void *bytes, size_t n, char hex[NPR_DIGEST_HEX])
{
    to_hex(XXH3_128bits(bytes, n), hex);
}

npr_status npr_digest_open_file(int fd, const char *path, char hex[NPR_DIGEST_HEX], int64_t *bytes)
{
    enum { BLOCK = 1 << 20 };
    npr_digest *g = npr_digest_new();
    char *block = npr_alloc_aligned(BLOCK, 1, "a read buffer");
    npr_status st = g && block ? NPR_OK : npr_last();
    *bytes = 0;
    while (!st) {
        ssize_t n = pread(fd, block, BLOCK, (off_t)*bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0)
            st = npr_fail(NPR_EIO, "%s: cannot read at byte %lld: %s", path, (long long)*bytes,
                          strerror(errno));
        if (n <= 0) break;
        npr_digest_add(g, block, (size_t)n);
        *bytes += n;
    }
    if (!st) npr_digest_hex(g, hex);
    free(block);
    npr_digest_free(g);
    return st;
}

npr_status npr_digest_file(const char *path, char hex[NPR_DIGEST_HEX], int64_t *bytes)
{
    int fd;
    int64_t size;
    NPR_TRY(npr_file_open(path, &fd, &size));
    npr_status st = npr_digest_open_file(fd, path, hex, &size);
    close(fd); /* only read */
    if (bytes) *bytes = size;
    return st;
}

uint64_t npr_hash64(const void *bytes, size_t n, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes, n, seed);
}

/* n bytes at an offset, or an error. */
static npr_status read_end(int fd, const char *path, char *to, size_t n, int64_t offset)
{
    for (size_t got = 0; got < n;) {
        ssize_t m = pread(fd, to + got, n - got, offset + (off_t)got);
        if (m < 0 && errno == EINTR) continue;
        if (m <= 0)
            return npr_fail(NPR_EIO, "%s: cannot read: %s", path, m ? strerror(errno) : "it became shorter");
        got += (size_t)m;
    }
    return NPR_OK;
}

npr_status npr_digest_ends(const char *path, int64_t *bytes, uint64_t *hash)
{
    enum { END = 1 << 16 };
    int fd;
    NPR_TRY(npr_file_open(path, &fd, bytes));
    size_t n = *bytes < END ? (size_t)*bytes : END;
    char *ends = npr_alloc(2, END, "the ends of a file");
    npr_status st = ends ? read_end(fd, path, ends, n, 0) : npr_last();
    if (!st) st = read_end(fd, path, ends + n, n, *bytes - (int64_t)n);
    if (!st) *hash = npr_hash64(ends, 2 * n, 0);
    close(fd);
    free(ends);
    return st;
}

const char *npr_digest_version(void)
{
    static char text[48];
    unsigned v = XXH_versionNumber(); /* major * 10000 + minor * 100 + release */
    snprintf(text, sizeof text, "xxHash %u.%u.%u", v / 10000, v / 100 % 100, v % 100);
    return text;
}
