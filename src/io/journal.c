/* journal.c - see journal.h. */
#include "io/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/mem.h"

enum { HEAD = 96, CHECK_DIGITS = 16 };

struct npr_journal {
    int fd;
    char *path;
    int64_t bytes; /* of good records */
};

/* ---- records ---- */

/* The head line of a record without its check: what the check covers besides the payload. */
static int print_head(char head[HEAD], const char *type, size_t n)
{
    return snprintf(head, HEAD, "npr-journal %s %zu ", type, n);
}

static uint64_t check_of(const char *head, int head_bytes, const void *bytes, size_t n)
{
    return npr_hash64(bytes, n, npr_hash64(head, (size_t)head_bytes, 0));
}

/* Where a journal is being read. */
typedef struct reader {
    FILE *f;
    const char *path;
    int64_t size, at;
    char *payload;
    size_t cap;
} reader;

/* No more bytes come: by an error they are not missing, and nothing behind them may be cut off. */
static npr_status at_end(const reader *r)
{
    return ferror(r->f) ? npr_fail(NPR_EIO, "%s: cannot read: %s", r->path, strerror(errno)) : NPR_OK;
}

/* Read and check the next record into type and r->payload. *ok = 0 at the end and at what is no good record.
 */
static npr_status next_record(reader *r, char type[NPR_JOURNAL_TYPE], size_t *n, int *ok)
{
    char line[HEAD], head[HEAD];
    unsigned long long bytes, check;
    int eaten = 0;
    *ok = 0;
    if (!fgets(line, sizeof line, r->f)) return at_end(r);
    if (sscanf(line, "npr-journal %23[a-z0-9-] %20llu %16llx%n", type, &bytes, &check, &eaten) != 3)
        return NPR_OK;
    int length = print_head(head, type, (size_t)bytes);
    /* only what we would write ourselves: no other spelling of the same numbers */
    if (strncmp(line, head, (size_t)length) != 0 || eaten != length + CHECK_DIGITS ||
        strcmp(line + eaten, "\n") != 0)
        return NPR_OK;
    int64_t left = r->size - r->at - eaten - 1;
    if (left < 1 || bytes > (uint64_t)left - 1) return NPR_OK;
    *n = (size_t)bytes;
    NPR_TRY(npr_grow(&r->payload, &r->cap, *n + 1, 1, r->path));
    if (fread(r->payload, 1, *n + 1, r->f) != *n + 1) return at_end(r);
    if (r->payload[*n] != '\n' || check != check_of(head, length, r->payload, *n)) return NPR_OK;
    r->payload[*n] = 0;
    r->at += eaten + 1 + (int64_t)bytes + 1;
    *ok = 1;
    return NPR_OK;
}

static npr_status open_reader(reader *r, const char *path)
{
    *r = (reader){.path = path};
    int fd;
    NPR_TRY(npr_file_open(path, &fd, &r->size));
    if ((r->f = fdopen(fd, "rb"))) return NPR_OK;
    npr_status st = npr_fail(NPR_EINTERNAL, "%s: cannot open: %s", path, strerror(errno));
    close(fd);
    return st;
}

static void close_reader(reader *r)
{
    fclose(r->f); /* only read */
    free(r->payload);
}

/* Read all good records; *end: bytes they take. */
static npr_status read_records(const char *path, npr_journal_visit visit, void *context, int64_t *good,
                               int64_t *end, int64_t *size)
{
    reader r;
    char type[NPR_JOURNAL_TYPE];
    size_t n = 0;
    int ok = 1;
    *good = 0;
    NPR_TRY(open_reader(&r, path));
    npr_status st = NPR_OK;
    while (ok && !st) {
        int64_t at = r.at;
        st = next_record(&r, type, &n, &ok);
        if (st || !ok) break;
        ++*good;
        if (visit) st = visit(context, type, at, r.payload, n);
    }
    close_reader(&r);
    *end = r.at;
    *size = r.size;
    return st;
}

npr_status npr_journal_read(const char *path, npr_journal_visit visit, void *context, int64_t *good,
                            int *damaged)
{
    int64_t count, end, size;
    NPR_TRY(read_records(path, visit, context, &count, &end, &size));
    if (good) *good = count;
    if (damaged) *damaged = end != size;
    return NPR_OK;
}

npr_status npr_journal_pick(const char *path, const int64_t *at, size_t n, npr_journal_visit visit,
                            void *context)
{
    reader r;
    NPR_TRY(open_reader(&r, path));
    npr_status st = NPR_OK;
    for (size_t i = 0; i < n && !st; i++) {
        char type[NPR_JOURNAL_TYPE];
        size_t bytes = 0;
        int ok = 0;
        if (at[i] != r.at && fseeko(r.f, at[i], SEEK_SET))
            st = npr_fail(NPR_EIO, "%s: cannot seek: %s", path, strerror(errno));
        r.at = at[i];
        if (!st) st = next_record(&r, type, &bytes, &ok);
        if (!st && !ok)
            st = npr_fail(NPR_EDATA, "%s: the record at byte %lld was good before and is not now", path,
                          (long long)at[i]);
        if (!st) st = visit(context, type, at[i], r.payload, bytes);
    }
    close_reader(&r);
    return st;
}

/* ---- appending ---- */

/* Make the entry of a new file durable in its folder. */
static npr_status sync_folder(const char *path)
{
    char *copy = npr_strdup(path);
    if (!copy) return npr_last();
    const char *folder = dirname(copy);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    npr_status st = NPR_OK;
    if (fd < 0 || (fsync(fd) && errno != EINVAL))
        st = npr_fail(NPR_EIO, "%s: cannot sync: %s", folder, strerror(errno));
    if (fd >= 0) close(fd);
    free(copy);
    return st;
}

npr_status npr_journal_open(const char *path, npr_journal **out)
{
    npr_journal *j = npr_alloc(1, sizeof *j, "a journal");
    if (!j) return npr_last();
    j->fd = -1;
    int made = !npr_file_exists(path);
    npr_status st = (j->path = npr_strdup(path)) ? NPR_OK : npr_last();
    /* a pipe must not make it wait */
    if (!st && (j->fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0666)) < 0)
        st =
            npr_fail(npr_status_from_create(errno), "%s: cannot open for writing: %s", path, strerror(errno));
    int64_t good, size;
    if (!st) st = read_records(path, NULL, NULL, &good, &j->bytes, &size);
    if (!st && (ftruncate(j->fd, j->bytes) || lseek(j->fd, j->bytes, SEEK_SET) < 0))
        st = npr_fail(NPR_EIO, "%s: cannot cut to its %lld good bytes: %s", path, (long long)j->bytes,
                      strerror(errno));
    if (!st && made) st = sync_folder(path);
    if (st)
        npr_journal_close(j);
    else
        *out = j;
    return st;
}

npr_status npr_journal_sync(npr_journal *j)
{
    if (fdatasync(j->fd)) return npr_fail(NPR_EIO, "%s: cannot sync: %s", j->path, strerror(errno));
    return NPR_OK;
}

static npr_status append(npr_journal *j, const char *type, const void *bytes, size_t n, int durable)
{
    char head[HEAD];
    if (!type[0] || strlen(type) >= NPR_JOURNAL_TYPE ||
        type[strspn(type, "abcdefghijklmnopqrstuvwxyz0123456789-")])
        return npr_fail(NPR_EINTERNAL, "%s: \"%s\" is no type of record", j->path, type);
    int length = print_head(head, type, n);
    uint64_t check = check_of(head, length, bytes, n);
    length += snprintf(head + length, HEAD - (size_t)length, "%016llx\n", (unsigned long long)check);
    npr_status st = NPR_OK;
    if (npr_fault("journal.append")) st = npr_fail(NPR_EIO, "%s: cannot append %zu bytes", j->path, n);
    if (!st) st = npr_file_write_all(j->fd, j->path, head, (size_t)length);
    if (!st) st = npr_file_write_all(j->fd, j->path, bytes, n);
    if (!st) st = npr_file_write_all(j->fd, j->path, "\n", 1);
    if (!st && durable) st = npr_journal_sync(j);
    if (!st) {
        j->bytes += length + (int64_t)n + 1;
        return NPR_OK;
    }
    /* a torn record would hide those after it; if it cannot be removed now, it is cut off when next opened */
    if (ftruncate(j->fd, j->bytes) || lseek(j->fd, j->bytes, SEEK_SET) < 0)
        st = npr_context(st, "and the journal cannot be cut back");
    return st;
}

npr_status npr_journal_append(npr_journal *j, const char *type, const void *bytes, size_t n)
{
    return append(j, type, bytes, n, 1);
}

npr_status npr_journal_add(npr_journal *j, const char *type, const void *bytes, size_t n)
{
    return append(j, type, bytes, n, 0);
}

void npr_journal_close(npr_journal *j)
{
    if (!j) return;
    if (j->fd >= 0) close(j->fd); /* what is to be on the disk was synced before */
    free(j->path);
    free(j);
}

/* ---- all journals of a folder ---- */

typedef struct journal_file {
    const char *path;
    int run, rank;
} journal_file;

static int by_run_and_rank(const void *a, const void *b)
{
    const journal_file *x = a, *y = b;
    return x->run != y->run ? (x->run > y->run) - (x->run < y->run)
                            : (x->rank > y->rank) - (x->rank < y->rank);
}

/* Is this "…/NAME-<run>-<rank>.log"? name gets NAME. */
static int parse_name(const char *path, char name[NPR_JOURNAL_TYPE], journal_file *file)
{
    const char *base = strrchr(path, '/');
    int eaten = 0;
    file->path = path;
    if (sscanf(base ? base + 1 : path, "%23[a-z]-%9d-%9d.log%n", name, &file->run, &file->rank, &eaten) != 3)
        return 0;
    return eaten && !(base ? base + 1 : path)[eaten];
}

npr_status npr_journal_read_all(const char *folder, const char *name, npr_journal_visit visit, void *context,
                                int *last_run)
{
    npr_paths paths = {0};
    if (last_run) *last_run = 0;
    npr_status st = npr_paths_find(folder, ".log", &paths);
    if (st == NPR_ENOINPUT && npr_file_exists(folder)) return NPR_OK; /* no journals yet */
    if (st) return st;
    size_t n = 0;
    journal_file *file = npr_alloc(paths.count, sizeof *file, "a list of journals");
    if (!file) st = npr_last();
    for (size_t i = 0; i < paths.count && !st; i++) {
        char found[NPR_JOURNAL_TYPE];
        if (!parse_name(paths.path[i], found, &file[n])) continue;
        if (last_run && file[n].run > *last_run) *last_run = file[n].run;
        n += !strcmp(found, name);
    }
    if (!st && n) qsort(file, n, sizeof *file, by_run_and_rank);
    for (size_t i = 0; i < n && !st; i++) st = npr_journal_read(file[i].path, visit, context, NULL, NULL);
    free(file);
    npr_paths_free(&paths);
    return st;
}
