/* tar.c - see tar.h. The only user of libarchive. */
#include "io/tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

enum { BLOCK = 16 << 10, RECORD = 512 }; /* a block holds the small members around an image */

/* ---- reading ------------------------------------------------------------------------------------------- */

struct npr_tar {
    char *path;
    int fd;
    int64_t size;       /* of the file */
    int64_t base;       /* where `archive` began to read */
    int64_t at;         /* what it reads next */
    int64_t member_end; /* where the last member's bytes end, rounded up to whole records */
    struct archive *archive;
    struct archive_entry *entry;
    locale_t utf8; /* libarchive turns names of pax headers into the locale's; (locale_t)0: there is none */
    char block[BLOCK];
};

static npr_status read_at(const npr_tar *t, int64_t offset, void *to, size_t n, size_t *got)
{
    for (*got = 0; *got < n;) {
        ssize_t m = npr_fault("tar.read") ? (errno = EIO, -1)
                                          : pread(t->fd, (char *)to + *got, n - *got, offset + (off_t)*got);
        if (m < 0 && errno == EINTR) continue;
        if (m < 0)
            return npr_fail(NPR_EIO, "%s: cannot read at byte %lld: %s", t->path, (long long)offset,
                            strerror(errno));
        if (m == 0) break;
        *got += (size_t)m;
    }
    return NPR_OK;
}

npr_status npr_tar_read(const npr_tar *t, int64_t offset, void *to, size_t n)
{
    size_t got;
    NPR_TRY(read_at(t, offset, to, n, &got));
    return got == n ? NPR_OK : npr_fail(NPR_EIO, "%s: became shorter while being read", t->path);
}

/* libarchive asks for the next bytes. */
static la_ssize_t on_read(struct archive *a, void *context, const void **bytes)
{
    npr_tar *t = context;
    size_t got;
    *bytes = t->block;
    if (read_at(t, t->at, t->block, BLOCK, &got)) {
        archive_set_error(a, EIO, "cannot read");
        return -1;
    }
    t->at += (int64_t)got;
    return (la_ssize_t)got;
}

/* libarchive passes over a member's bytes: they are not read. */
static la_int64_t on_skip(struct archive *a, void *context, la_int64_t n)
{
    (void)a;
    npr_tar *t = context;
    if (n > t->size - t->at) n = t->size - t->at;
    if (n < 0) n = 0;
    t->at += n;
    return n;
}

/* What libarchive could not do, as a status: a failed read has left its own. */
static npr_status library_failure(const npr_tar *t)
{
    int code = archive_errno(t->archive);
    const char *why = archive_error_string(t->archive);
    if (code == EIO) return npr_last() ? npr_last() : npr_fail(NPR_EIO, "%s: cannot read", t->path);
    if (code == ENOMEM) return npr_fail(NPR_EINTERNAL, "%s: out of memory: reading its headers", t->path);
    return npr_fail(NPR_EDATA, "%s: damaged near byte %lld: %s", t->path,
                    (long long)(t->base + archive_filter_bytes(t->archive, 0)), why ? why : "unknown reason");
}

npr_status npr_tar_seek(npr_tar *t, int64_t header)
{
    archive_read_free(t->archive);
    t->base = t->at = t->member_end = header;
    t->archive = archive_read_new();
    if (!t->archive) return npr_fail(NPR_EINTERNAL, "out of memory: reading %s", t->path);
    if (archive_read_support_format_tar(t->archive) || archive_read_set_callback_data(t->archive, t) ||
        archive_read_set_read_callback(t->archive, on_read) ||
        archive_read_set_skip_callback(t->archive, on_skip) || archive_read_open1(t->archive))
        return library_failure(t);
    return NPR_OK;
}

/* An archive that is compressed has no places for its members. */
static npr_status refuse_other_kinds(const npr_tar *t)
{
    static const struct {
        const char *begin, *kind;
        size_t n;
    } known[] = {{"\x1f\x8b", "gzip", 2},
                 {"\xfd"
                  "7zXZ",
                  "xz", 5},
                 {"\x28\xb5\x2f\xfd", "zstd", 4},
                 {"BZh", "bzip2", 3},
                 {"PK\x03\x04", "zip", 4},
                 {"\x04\x22\x4d\x18", "lz4", 4}};
    char begin[8];
    size_t got;
    if (t->size == 0) return npr_fail(NPR_EDATA, "%s: empty, not a tar archive", t->path);
    NPR_TRY(read_at(t, 0, begin, sizeof begin, &got));
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (got >= known[i].n && !memcmp(begin, known[i].begin, known[i].n))
            return npr_fail(NPR_EDATA,
                            "%s: compressed (%s): members must be one read away; give it uncompressed",
                            t->path, known[i].kind);
    return NPR_OK;
}

npr_status npr_tar_open(const char *path, npr_tar **out)
{
    npr_tar *t = npr_alloc(1, sizeof *t, "an open archive");
    if (!t) return npr_last();
    t->fd = -1;
    t->path = npr_strdup(path);
    npr_status st = t->path ? npr_file_open(path, &t->fd, &t->size) : npr_last();
    if (!st) {
        t->utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
        t->entry = archive_entry_new();
        st = t->entry ? refuse_other_kinds(t) : npr_fail(NPR_EINTERNAL, "out of memory: reading %s", path);
    }
    if (!st) st = npr_tar_seek(t, 0);
    if (st)
        npr_tar_close(t);
    else
        *out = t;
    return st;
}

void npr_tar_close(npr_tar *t)
{
    if (!t) return;
    archive_read_free(t->archive);
    archive_entry_free(t->entry);
    if (t->utf8) freelocale(t->utf8);
    if (t->fd >= 0) close(t->fd);
    free(t->path);
    free(t);
}

/* The next header in a locale that keeps UTF-8 as it is. */
static int next_header(npr_tar *t)
{
    locale_t before = t->utf8 ? uselocale(t->utf8) : (locale_t)0;
    int rc = archive_read_next_header2(t->archive, t->entry);
    if (t->utf8) uselocale(before);
    return rc;
}

/* Nothing of a member may lie outside of the file, nor inside of another. */
static npr_status check_place(npr_tar *t, const npr_tar_member *m)
{
    if (m->header < t->member_end)
        return npr_fail(NPR_EDATA, "%s: the member at byte %lld lies inside of the one before it", t->path,
                        (long long)m->header);
    if (m->bytes < 0 || m->offset > t->size || m->bytes > t->size - m->offset)
        return npr_fail(NPR_EDATA,
                        "%s: member \"%.200s\" at byte %lld has %lld bytes, the file ends at %lld: cut short "
                        "or damaged",
                        t->path, m->name, (long long)m->offset, (long long)m->bytes, (long long)t->size);
    t->member_end = m->plain ? m->offset + (m->bytes + RECORD - 1) / RECORD * RECORD : m->offset;
    return NPR_OK;
}

npr_status npr_tar_next(npr_tar *t, npr_tar_member *m, int *there)
{
    int rc = next_header(t);
    *there = 0;
    if (rc == ARCHIVE_EOF)
        return t->member_end < t->size
                   ? NPR_OK
                   : npr_fail(NPR_EDATA, "%s: cut short: it ends at byte %lld without the mark of an end",
                              t->path, (long long)t->size);
    if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN) return library_failure(t);
    const char *name = archive_entry_pathname(t->entry);
    mode_t type = archive_entry_filetype(t->entry);
    *m = (npr_tar_member){.name = name ? name : "",
                          .header = t->base + archive_read_header_position(t->archive),
                          .offset = t->base + archive_filter_bytes(t->archive, 0)};
    m->plain = type == AE_IFREG && !archive_entry_hardlink(t->entry) && !archive_entry_symlink(t->entry) &&
               !archive_entry_sparse_count(t->entry);
    m->bytes = m->plain ? archive_entry_size(t->entry) : 0;
    NPR_TRY(check_place(t, m));
    *there = 1;
    return NPR_OK;
}

/* ---- writing ------------------------------------------------------------------------------------------- */

struct npr_tar_writer {
    char *path, *temp;
    int fd;
    npr_status st; /* of the first append that failed */
    struct archive *archive;
    struct archive_entry *entry;
};

static la_ssize_t on_write(struct archive *a, void *context, const void *bytes, size_t n)
{
    npr_tar_writer *w = context;
    if (!npr_file_write_all(w->fd, w->temp, bytes, n)) return (la_ssize_t)n;
    archive_set_error(a, EIO, "cannot write");
    return -1;
}

/* What libarchive could not write, as a status: a failed write has left its own. */
static npr_status write_failure(const npr_tar_writer *w, const char *name)
{
    const char *why = archive_error_string(w->archive);
    if (archive_errno(w->archive) == EIO && npr_last()) return npr_last();
    return npr_fail(NPR_ECREATE, "%s: cannot add \"%.200s\": %s", w->path, name,
                    why ? why : "unknown reason");
}

static void release(npr_tar_writer *w, int published)
{
    if (w->archive) archive_write_fail(w->archive); /* closed already, or not to be written to any more */
    archive_write_free(w->archive);
    archive_entry_free(w->entry);
    if (w->fd >= 0) close(w->fd);
    if (w->temp && !published) unlink(w->temp);
    free(w->temp);
    free(w->path);
    free(w);
}

static npr_status begin(npr_tar_writer *w)
{
    enum { BUFFER = 1 << 20 };
    w->entry = archive_entry_new();
    w->archive = archive_write_new();
    if (!w->entry || !w->archive) return npr_fail(NPR_EINTERNAL, "out of memory: writing %s", w->path);
    NPR_TRY(npr_file_create(w->temp, &w->fd));
    if (archive_write_set_format_ustar(w->archive) || archive_write_set_bytes_per_block(w->archive, BUFFER) ||
        archive_write_set_bytes_in_last_block(w->archive, 20 * RECORD) ||
        archive_write_open(w->archive, w, NULL, on_write, NULL))
        return write_failure(w, w->path);
    return NPR_OK;
}

npr_status npr_tar_create(const char *path, npr_tar_writer **out)
{
    npr_tar_writer *w = npr_alloc(1, sizeof *w, "an archive being written");
    if (!w) return npr_last();
    *w = (npr_tar_writer){.path = npr_strdup(path), .fd = -1};
    w->temp = npr_file_temporary(path);
    npr_status st = w->path && w->temp ? begin(w) : npr_last();
    if (st)
        release(w, 0);
    else
        *out = w;
    return st;
}

npr_status npr_tar_append(npr_tar_writer *w, const char *name, const void *bytes, size_t n)
{
    if (w->st) return w->st;
    archive_entry_clear(w->entry);
    archive_entry_set_pathname(w->entry, name);
    archive_entry_set_filetype(w->entry, AE_IFREG);
    archive_entry_set_perm(w->entry, 0644);
    archive_entry_set_size(w->entry, (la_int64_t)n);
    if (archive_write_header(w->archive, w->entry) != ARCHIVE_OK ||
        (n && archive_write_data(w->archive, bytes, n) != (la_ssize_t)n))
        w->st = write_failure(w, name);
    return w->st;
}

npr_status npr_tar_finish(npr_tar_writer *w)
{
    npr_status st = w->st;
    if (st) st = npr_fail(st, "%s: an earlier write failed", w->path);
    if (!st && archive_write_close(w->archive) != ARCHIVE_OK) st = write_failure(w, "the mark of its end");
    int fd = w->fd;
    w->fd = -1;
    if (close(fd) && !st) st = npr_fail(NPR_EIO, "%s: cannot close: %s", w->temp, strerror(errno));
    if (!st) st = npr_file_publish(w->temp, w->path);
    release(w, !st);
    return st;
}

void npr_tar_abandon(npr_tar_writer *w)
{
    if (w) release(w, 0);
}

const char *npr_tar_version(void)
{
    return archive_version_string();
}
