/* scratch.c - see scratch.h. */
#include "io/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/mem.h"
#include "io/journal.h"
#include "io/manifest.h"
#include "io/part.h"

enum {
    SMALL_PART = 16 << 20, /* bytes: a part of at most so many is read again before it is taken over */
    IDENTITY_MAX = 64 << 20,
    LOCK_TEXT = 512,
    LOCK_TRIES = 5
};

/* ---- the lock ---- */

static void print_holder(int fd)
{
    char text[LOCK_TEXT], host[256] = "?";
    const char *job = getenv("SLURM_JOB_ID");
    (void)gethostname(host, sizeof host - 1);
    int n = snprintf(text, sizeof text, "host %s, process %ld%s%.40s", host, (long)getpid(),
                     job ? ", job " : "", job ? job : "");
    if (ftruncate(fd, 0) || pwrite(fd, text, (size_t)n, 0) != n)
        return; /* only a help for whoever is refused */
}

static npr_status refuse_locked(int fd, const char *path)
{
    char text[LOCK_TEXT];
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = 0;
    return npr_fail(NPR_ECREATE, "%s: in use by %s", path, n > 0 ? text : "another process");
}

/* Is the locked file still the one of that name? A run that ends removes it. */
static int same_file(int fd, const char *path)
{
    struct stat a, b;
    return !fstat(fd, &a) && !stat(path, &b) && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

/* The kernel releases such a lock when its process ends, however it ends. */
static npr_status lock_file(const char *path, int *fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (*fd < 0) return npr_fail(npr_status_from_create(errno), "%s: cannot open: %s", path, strerror(errno));
    if (!fcntl(*fd, F_OFD_SETLK, &lock)) {
        print_holder(*fd);
        return NPR_OK;
    }
    if (errno != EAGAIN && errno != EACCES) return NPR_OK; /* a file system without locks: go on without */
    npr_status st = refuse_locked(*fd, path);
    close(*fd);
    *fd = -1;
    return st;
}

static npr_status take_lock(npr_scratch *s)
{
    char *path = npr_path("%s/lock", s->path);
    npr_status st = path ? NPR_OK : npr_last();
    for (int i = 0; !st && s->lock < 0 && i < LOCK_TRIES; i++) {
        st = npr_folder_make(s->path);
        if (!st) st = lock_file(path, &s->lock);
        if (st || same_file(s->lock, path)) continue;
        close(s->lock);
        s->lock = -1;
    }
    if (!st && s->lock < 0) st = npr_fail(NPR_ECREATE, "%s: other processes keep removing it", path);
    free(path);
    return st;
}

void npr_scratch_remove(npr_scratch *s)
{
    if (s->lock >= 0)
        close(s->lock); /* first: network file systems keep open files visible in their folder */
    s->lock = -1;
    (void)npr_folder_remove(s->path);
}

void npr_scratch_free(npr_scratch *s)
{
    if (s->lock >= 0) close(s->lock);
    free(s->path);
    free(s->done);
    *s = (npr_scratch){.lock = -1};
}

/* ---- identity: whose unfinished work this is ---- */

/* Refuse with the first line that differs. */
static npr_status refuse_other(const char *path, const char *found, const char *want, const char *advice)
{
    while (*found && *want) {
        size_t a = strcspn(found, "\n"), b = strcspn(want, "\n");
        if (a != b || strncmp(found, want, a) != 0) break;
        found += a + (found[a] == '\n');
        want += b + (want[b] == '\n');
    }
    return npr_fail(NPR_ECREATE, "%s: belongs to another command: found \"%.*s\", wanted \"%.*s\"; %s", path,
                    (int)strcspn(found, "\n"), found, (int)strcspn(want, "\n"), want, advice);
}

static char *print_identity(const npr_set *set)
{
    char columns[NPR_COLUMNS_TEXT];
    return npr_path("kind=%s\nmodel=%s\ndim=%d\ncolumns=%s\npart_rows=%lld\n%s\n", set->kind, set->model,
                    set->dim, npr_columns_print(set->columns, columns), (long long)set->part_rows, set->job);
}

/* Compare the identity file with `want`, or write it if there is none. */
static npr_status check_identity(const npr_scratch *s, const char *want, const char *advice)
{
    char *found = NULL;
    size_t n;
    char *path = npr_path("%s/identity", s->path);
    npr_status st = path ? NPR_OK : npr_last();
    if (!st && !npr_file_exists(path)) {
        st = npr_file_replace(path, want, strlen(want));
    } else if (!st) {
        st = npr_file_read(path, IDENTITY_MAX, &found, &n);
        if (!st && strcmp(found, want) != 0) st = refuse_other(s->path, found, want, advice);
    }
    free(found);
    free(path);
    return st;
}

/* ---- what earlier runs left ---- */

npr_status npr_scratch_put(npr_scratch *s, int part, const npr_part_entry *e)
{
    size_t before = s->cap;
    NPR_TRY(npr_grow(&s->done, &s->cap, (size_t)part + 1, sizeof *s->done, "finished parts"));
    if (s->cap > before) memset(s->done + before, 0, (s->cap - before) * sizeof *s->done);
    if (part >= s->parts) s->parts = part + 1;
    s->done[part] = *e;
    return NPR_OK;
}

static npr_status take_record(void *context, const char *type, int64_t at, const char *bytes, size_t n)
{
    (void)at;
    npr_scratch *s = context;
    npr_part_entry e;
    int64_t part = -1;
    if (strcmp(type, "part") != 0) return NPR_OK;
    npr_json *v = npr_json_parse(bytes, n, s->path);
    if (!v) return npr_last();
    npr_status st = npr_json_get_int(v, "part", s->path, &part);
    if (!st && (part < 0 || part >= NPR_PARTS_MAX))
        st = npr_fail(NPR_EDATA, "%s: part %lld", s->path, (long long)part);
    if (!st) st = npr_entry_from_json(v, s->path, (int)part, NPR_PART_ROWS, &e);
    npr_json_free(v);
    return st ? st : npr_scratch_put(s, (int)part, &e);
}

/* Does the file exist as it was journalled? It was synced before it was journalled, so its size decides; a
 * small one, or one that cannot be told from its predecessor by size, is read. */
static int is_there(const npr_part_entry *e, const char *path, const npr_part_entry *before)
{
    struct stat s;
    char hex[NPR_DIGEST_HEX];
    if (stat(path, &s) || s.st_size != e->bytes) return 0;
    if (e->bytes > SMALL_PART && !(before && before->bytes == e->bytes)) return 1;
    return !npr_digest_file(path, hex, NULL) && !strcmp(hex, e->digest);
}

/* Read the journals; keep what is still true. old: the set before indexes were added, else NULL. */
static npr_status find_done(npr_scratch *s, const char *folder, const npr_set *old)
{
    NPR_TRY(npr_journal_read_all(s->path, "parts", take_record, s, &s->run));
    s->run++;
    for (int i = 0; i < s->parts; i++) {
        npr_part_entry *e = &s->done[i];
        if (!e->file[0]) continue;
        char *path = npr_path("%s/%s", folder, e->file);
        if (!path) return npr_last();
        if ((old && i >= old->parts) || !is_there(e, path, old ? &old->part[i] : NULL))
            *e = (npr_part_entry){0};
        free(path);
    }
    return NPR_OK;
}

/* ---- begin ---- */

/* A folder without a set and without unfinished work must be empty: no results among other people's files. */
static npr_status check_empty(const char *folder, const char *scratch)
{
    char *identity = npr_path("%s/identity", scratch);
    if (!identity) return npr_last();
    int ours = npr_file_exists(identity);
    free(identity);
    DIR *d = ours ? NULL : opendir(folder);
    if (!d) return NPR_OK; /* ours, or not there yet */
    npr_status st;
    for (struct dirent *e; !(st = npr_folder_next(d, folder, &e)) && e;)
        if (e->d_name[0] != '.') {
            st = npr_fail(NPR_ECREATE, "%s: is neither empty nor a set (it holds %s): name a new folder",
                          folder, e->d_name);
            break;
        }
    closedir(d);
    return st;
}

/* A manifest is there: is it of the set we want, and are its parts there? */
static npr_status check_complete(const npr_set *want, const char *identity)
{
    npr_set *found;
    NPR_TRY(npr_set_open(want->path, &found));
    char *other = print_identity(found);
    npr_status st = other ? NPR_OK : npr_last();
    if (!st && strcmp(other, identity) != 0)
        st = refuse_other(want->path, other, identity, "name another folder, or remove this one");
    for (int i = 0; i < found->parts && !st; i++) {
        char *path = npr_path("%s/%s", found->path, found->part[i].file);
        int64_t bytes = -1;
        if (!path)
            st = npr_last();
        else if (npr_file_size(path, &bytes) || bytes != found->part[i].bytes)
            st = npr_fail(NPR_EDATA,
                          "%s: %lld bytes, the manifest says %lld; remove the folder %s to make it again",
                          path, (long long)bytes, (long long)found->part[i].bytes, found->path);
        free(path);
    }
    free(other);
    npr_set_free(found);
    return st;
}

/* Remove what a finished run left, unless somebody is at it already. */
static void tidy(npr_scratch *s)
{
    if (npr_file_exists(s->path) && (s->lock >= 0 || !take_lock(s))) npr_scratch_remove(s);
}

/* The folder is ours: go on where an earlier run of this command stopped, or begin. */
static npr_status go_on(npr_scratch *s, const char *folder, const npr_set *old, const char *identity,
                        const char *advice)
{
    NPR_TRY(check_identity(s, identity, advice));
    NPR_TRY(npr_folder_tidy(folder)); /* the lock is held: no other run is alive */
    return find_done(s, folder, old);
}

npr_status npr_scratch_begin(npr_scratch *s, const npr_set *want, int *complete)
{
    *s = (npr_scratch){.lock = -1};
    *complete = npr_manifest_exists(want->path);
    char *identity = print_identity(want);
    s->path = npr_path("%s/.work", want->path);
    npr_status st = identity && s->path ? NPR_OK : npr_last();
    if (!st && !*complete) {
        st = check_empty(want->path, s->path);
        if (!st) st = take_lock(s);
        if (!st) *complete = npr_manifest_exists(want->path); /* another run may just have finished it */
        if (!st && !*complete)
            st = go_on(s, want->path, NULL, identity,
                       "run that command again, name another folder, or remove this one");
    }
    if (!st && *complete) {
        st = check_complete(want, identity);
        tidy(s);
    }
    free(identity);
    if (st || *complete) npr_scratch_free(s);
    return st;
}

/* ---- begin an index ---- */

static npr_status count_record(void *context, const char *type, int64_t at, const char *bytes, size_t n)
{
    int64_t *count = context;
    (void)type, (void)at, (void)bytes, (void)n;
    ++*count;
    return NPR_OK;
}

/* May the work of this identity be forgotten? On an older manifest: it was in truth finished, only its folder
 * was left. Without a journalled part: it has changed nothing, as a part is journalled before it is replaced.
 */
static npr_status is_void(const npr_scratch *s, const npr_set *set, const char *identity, int *is)
{
    int64_t records = 0;
    int run;
    char *line = npr_path("set=%s\n", set->digest);
    npr_status st = line ? npr_journal_read_all(s->path, "parts", count_record, &records, &run) : npr_last();
    *is = !st && (records == 0 || strncmp(identity, line, strlen(line)) != 0);
    free(line);
    return st;
}

/* Make room for another command where the one that was here has left nothing to go on with. */
static npr_status drop_void(const npr_scratch *s, const npr_set *set)
{
    char *text = NULL, *path = npr_path("%s/identity", s->path);
    size_t n;
    int is = 0;
    npr_status st = path ? NPR_OK : npr_last();
    if (!st && npr_file_exists(path)) st = npr_file_read(path, IDENTITY_MAX, &text, &n);
    if (!st && text) st = is_void(s, set, text, &is);
    if (is) {
        npr_paths logs = {0};
        if (!npr_paths_find(s->path, ".log", &logs))
            for (size_t i = 0; i < logs.count; i++) (void)unlink(logs.path[i]);
        npr_paths_free(&logs);
        if (unlink(path)) st = npr_fail(NPR_EIO, "%s: cannot remove: %s", path, strerror(errno));
    }
    free(text);
    free(path);
    return st;
}

npr_status npr_scratch_begin_index(npr_scratch *s, const npr_set *set, const char *factory, const char *job,
                                   int *complete)
{
    *s = (npr_scratch){.lock = -1};
    *complete = !strcmp(set->index, factory) && !strcmp(set->index_job, job);
    char *identity = npr_path("set=%s\nindex=%s\n%s\n", set->digest, factory, job);
    s->path = npr_path("%s/.index", set->path);
    npr_status st = identity && s->path ? NPR_OK : npr_last();
    if (!st && *complete) {
        tidy(s);
    } else if (!st) {
        st = take_lock(s);
        if (!st) st = drop_void(s, set);
        if (!st)
            st = go_on(s, set->path, set, identity,
                       "run that command again first, it has changed parts of this set");
    }
    free(identity);
    if (st || *complete) npr_scratch_free(s);
    return st;
}
