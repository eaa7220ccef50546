/* file.c - see file.h. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/mem.h"

npr_status npr_file_size(const char *path, int64_t *bytes)
{
    struct stat s;
    if (stat(path, &s)) return npr_fail(npr_status_from_errno(errno), "%s: %s", path, strerror(errno));
    *bytes = (int64_t)s.st_size;
    return NPR_OK;
}

int npr_file_exists(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0;
}

npr_status npr_file_open(const char *path, int *fd, int64_t *bytes)
{
    struct stat s;
    npr_status st = NPR_OK;
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not make it wait */
    if (*fd < 0) return npr_fail(npr_status_from_errno(errno), "%s: cannot open: %s", path, strerror(errno));
    if (fstat(*fd, &s))
        st = npr_fail(NPR_EIO, "%s: %s", path, strerror(errno));
    else if (!S_ISREG(s.st_mode))
        st = npr_fail(NPR_ENOINPUT, "%s: not a regular file", path);
    if (!st) {
        *bytes = (int64_t)s.st_size;
        return NPR_OK;
    }
    close(*fd);
    *fd = -1;
    return st;
}

static npr_status read_all(int fd, const char *path, char *bytes, size_t n)
{
    for (size_t got = 0; got < n;) {
        ssize_t m = read(fd, bytes + got, n - got);
        if (m < 0 && errno == EINTR) continue;
        if (m < 0) return npr_fail(NPR_EIO, "%s: cannot read: %s", path, strerror(errno));
        if (m == 0) return npr_fail(NPR_EIO, "%s: became shorter while being read", path);
        got += (size_t)m;
    }
    return NPR_OK;
}

npr_status npr_file_read(const char *path, size_t max_bytes, char **bytes, size_t *n)
{
    *bytes = NULL;
    int fd;
    int64_t size;
    NPR_TRY(npr_file_open(path, &fd, &size));
    npr_status st = NPR_OK;
    if ((uint64_t)size > max_bytes)
        st = npr_fail(NPR_EDATA, "%s: %lld bytes, more than the %zu allowed here", path, (long long)size,
                      max_bytes);
    if (!st && !(*bytes = npr_alloc((size_t)size + 1, 1, path))) st = npr_last();
    if (!st) st = read_all(fd, path, *bytes, (size_t)size);
    close(fd);
    if (st) {
        free(*bytes);
        *bytes = NULL;
        return st;
    }
    *n = (size_t)size;
    return NPR_OK;
}

npr_status npr_file_write_all(int fd, const char *path, const void *bytes, size_t n)
{
    const char *p = bytes;
    while (n > 0) {
        ssize_t m = npr_fault("file.write") ? (errno = ENOSPC, -1) : write(fd, p, n);
        if (m < 0 && errno == EINTR) continue;
        if (m < 0) return npr_fail(NPR_EIO, "%s: cannot write %zu bytes: %s", path, n, strerror(errno));
        p += m;
        n -= (size_t)m;
    }
    return NPR_OK;
}

static npr_status sync_path(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0) return npr_fail(NPR_EIO, "%s: cannot open to sync: %s", path, strerror(errno));
    int rc = npr_fault("file.sync") ? (errno = EIO, -1) : fsync(fd);
    /* some network file systems cannot sync a folder; they are durable on rename or never */
    npr_status st =
        rc && errno != EINVAL ? npr_fail(NPR_EIO, "%s: cannot sync: %s", path, strerror(errno)) : NPR_OK;
    close(fd);
    return st;
}

npr_status npr_file_publish(const char *from, const char *to)
{
    struct stat s;
    if (stat(to, &s) == 0 && !S_ISREG(s.st_mode)) /* root could put a file in the place of /dev/null */
        return npr_fail(NPR_ECREATE, "%s: is no plain file, and is left alone", to);
    NPR_TRY(sync_path(from, O_RDONLY));
    if (npr_fault("file.rename") ? (errno = EIO, 1) : rename(from, to) != 0)
        return npr_fail(NPR_EIO, "%s: cannot rename to %s: %s", from, to, strerror(errno));
    char *copy = npr_strdup(to);
    if (!copy) return npr_last();
    npr_status st = sync_path(dirname(copy), O_RDONLY | O_DIRECTORY);
    free(copy);
    return st;
}

char *npr_file_temporary(const char *path)
{
    return npr_path("%s.tmp.%ld", path, (long)getpid());
}

npr_status npr_file_create(const char *path, int *fd)
{
    *fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    return *fd < 0 ? npr_fail(npr_status_from_create(errno), "%s: cannot create: %s", path, strerror(errno))
                   : NPR_OK;
}

npr_status npr_file_replace(const char *path, const void *bytes, size_t n)
{
    char *temp = npr_file_temporary(path);
    if (!temp) return npr_last();
    int fd;
    npr_status st = npr_file_create(temp, &fd);
    if (!st) {
        st = npr_file_write_all(fd, temp, bytes, n);
        if (close(fd) && !st) st = npr_fail(NPR_EIO, "%s: cannot close: %s", temp, strerror(errno));
        if (!st) st = npr_file_publish(temp, path);
        if (st) unlink(temp);
    }
    free(temp);
    return st;
}

npr_status npr_folder_make(const char *path)
{
    char *copy = npr_strdup(path);
    if (!copy) return npr_last();
    npr_status st = NPR_OK;
    for (char *p = copy + 1; !st; p++) {
        char c = *p;
        if (c && c != '/') continue;
        *p = 0;
        if (mkdir(copy, 0777) && errno != EEXIST)
            st = npr_fail(npr_status_from_create(errno), "%s: cannot make this folder: %s", copy,
                          strerror(errno));
        *p = c;
        if (!c) break;
    }
    free(copy);
    struct stat s;
    if (!st && (stat(path, &s) || !S_ISDIR(s.st_mode)))
        st = npr_fail(NPR_ECREATE, "%s: is not a folder", path);
    return st;
}

npr_status npr_folder_next(DIR *d, const char *path, struct dirent **e)
{
    do {
        errno = 0;
        *e = npr_fault("folder.read") ? (errno = EIO, NULL) : readdir(d);
    } while (*e && (!strcmp((*e)->d_name, ".") || !strcmp((*e)->d_name, "..")));
    return *e || !errno ? NPR_OK : npr_fail(NPR_EIO, "%s: cannot list: %s", path, strerror(errno));
}

npr_status npr_folder_remove(const char *path)
{
    DIR *d = opendir(path);
    if (!d) return errno == ENOENT ? NPR_OK : npr_fail(NPR_EIO, "%s: cannot list: %s", path, strerror(errno));
    npr_status st;
    for (struct dirent *e; !(st = npr_folder_next(d, path, &e)) && e;)
        if (unlinkat(dirfd(d), e->d_name, 0)) {
            st = npr_fail(NPR_EIO, "%s/%s: cannot remove: %s", path, e->d_name, strerror(errno));
            break;
        }
    closedir(d);
    if (!st && rmdir(path)) st = npr_fail(NPR_EIO, "%s: cannot remove: %s", path, strerror(errno));
    return st;
}

/* NAME.tmp.PID */
static int is_temporary(const char *name)
{
    static const char digits[] = "0123456789", mark[] = ".tmp.";
    size_t n = strlen(name), end = n;
    while (end > 0 && strchr(digits, name[end - 1])) end--;
    return end < n && end >= sizeof mark && !strncmp(name + end - strlen(mark), mark, strlen(mark));
}

npr_status npr_folder_tidy(const char *path)
{
    DIR *d = opendir(path);
    if (!d) return npr_fail(NPR_EIO, "%s: cannot list: %s", path, strerror(errno));
    npr_status st;
    for (struct dirent *e; !(st = npr_folder_next(d, path, &e)) && e;)
        if (is_temporary(e->d_name)) (void)unlinkat(dirfd(d), e->d_name, 0); /* it would only take space */
    closedir(d);
    return st;
}

npr_status npr_folder_free_bytes(const char *path, int64_t *bytes)
{
    struct statvfs s;
    if (statvfs(path, &s)) return npr_fail(NPR_EIO, "%s: %s", path, strerror(errno));
    *bytes = (int64_t)s.f_bavail * (int64_t)s.f_frsize;
    return NPR_OK;
}

npr_status npr_paths_add(npr_paths *paths, const char *path)
{
    char *copy = npr_strdup(path);
    if (!copy) return npr_last();
    if (npr_grow(&paths->path, &paths->cap, paths->count + 1, sizeof *paths->path, "a list of files")) {
        free(copy);
        return npr_last();
    }
    paths->path[paths->count++] = copy;
    return NPR_OK;
}

void npr_paths_free(npr_paths *paths)
{
    for (size_t i = 0; i < paths->count; i++) free(paths->path[i]);
    free(paths->path);
    *paths = (npr_paths){0};
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static npr_status find_in_list(const char *list, npr_paths *paths)
{
    enum { LIST_MAX = 256 << 20 };
    char *text, *save = NULL;
    size_t n;
    NPR_TRY(npr_file_read(list, LIST_MAX, &text, &n));
    npr_status st = NPR_OK;
    for (char *line = strtok_r(text, "\r\n", &save); line && !st; line = strtok_r(NULL, "\r\n", &save))
        st = npr_paths_add(paths, line);
    free(text);
    return st;
}

/* What is not there is no input; what cannot be read may hold files that are meant: never "none". */
static npr_status cannot_list(const char *folder, int error)
{
    int absent = error == ENOENT || error == ENOTDIR;
    return npr_fail(absent ? NPR_ENOINPUT : NPR_EIO, "%s: cannot list: %s", folder, strerror(error));
}

static npr_status find_in_folder(const char *folder, const char *suffix, npr_paths *paths)
{
    DIR *d = opendir(folder);
    if (!d) return cannot_list(folder, errno);
    npr_status st;
    size_t tail = strlen(suffix);
    for (struct dirent *e; !(st = npr_folder_next(d, folder, &e)) && e;) {
        size_t n = strlen(e->d_name);
        if (e->d_name[0] == '.' || n < tail || strcmp(e->d_name + n - tail, suffix) != 0) continue;
        char *path = npr_path("%s/%s", folder, e->d_name);
        st = path ? npr_paths_add(paths, path) : npr_last();
        free(path);
        if (st) break;
    }
    closedir(d);
    if (!st && paths->count) qsort(paths->path, paths->count, sizeof *paths->path, by_bytes);
    return st;
}

/* ---- glob() takes an entry that cannot be read for the end of its folder: it reads through these ---- */

typedef struct listing {
    DIR *d;
    char *path;
} listing;

static _Thread_local npr_status listed; /* of the glob() that runs: it hands nothing through */

static void *listing_open(const char *path)
{
    listing *l = malloc(sizeof *l);
    if (!l) return NULL; /* errno is for on_glob_error() */
    *l = (listing){.path = strdup(path)};
    l->d = l->path ? opendir(path) : NULL;
    if (l->d) return l;
    free(l->path);
    free(l);
    return NULL;
}

static struct dirent *listing_next(void *self)
{
    listing *l = self;
    struct dirent *e = NULL;
    if (!listed) listed = npr_folder_next(l->d, l->path, &e);
    return e;
}

static void listing_close(void *self)
{
    listing *l = self;
    closedir(l->d);
    free(l->path);
    free(l);
}

/* 1: end the search. */
static int on_glob_error(const char *path, int error)
{
    return cannot_list(path, error) == NPR_EIO;
}

static npr_status find_by_glob(const char *pattern, npr_paths *paths)
{
    glob_t g = {.gl_opendir = listing_open,
                .gl_readdir = listing_next,
                .gl_closedir = listing_close,
                .gl_stat = stat,
                .gl_lstat = lstat};
    listed = NPR_OK;
    int rc = glob(pattern, GLOB_NOSORT | GLOB_ALTDIRFUNC, on_glob_error, &g);
    npr_status st = listed;
    if (!st && rc == GLOB_ABORTED) st = npr_context(npr_last(), "%s", pattern);
    if (rc == GLOB_NOSPACE) st = npr_fail(NPR_EINTERNAL, "out of memory: files of %s", pattern);
    for (size_t i = 0; !st && i < g.gl_pathc; i++) st = npr_paths_add(paths, g.gl_pathv[i]);
    globfree(&g);
    if (!st && paths->count) qsort(paths->path, paths->count, sizeof *paths->path, by_bytes);
    return st;
}

npr_status npr_paths_find(const char *pattern, const char *suffix, npr_paths *paths)
{
    *paths = (npr_paths){0};
    struct stat s;
    npr_status st;
    if (pattern[0] == '@')
        st = find_in_list(pattern + 1, paths);
    else if (stat(pattern, &s) == 0 && S_ISDIR(s.st_mode))
        st = find_in_folder(pattern, suffix, paths);
    else if (stat(pattern, &s) == 0)
        st = npr_paths_add(paths, pattern); /* an existing name is never a pattern */
    else
        st = find_by_glob(pattern, paths);
    if (!st && !paths->count) st = npr_fail(NPR_ENOINPUT, "%s: no such file, and no file matches", pattern);
    if (st) npr_paths_free(paths);
    return st;
}

char *npr_path(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *s = NULL;
    int n = vasprintf(&s, fmt, ap);
    va_end(ap);
    if (n < 0) {
        npr_fail(NPR_EINTERNAL, "out of memory: a path");
        return NULL;
    }
    return s;
}

char *npr_file_escape(const char *text)
{
    size_t n = strlen(text), o = 0;
    char *out = npr_alloc(4 * n + 1, 1, "an escaped name");
    if (!out) return NULL;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x20 || c >= 0x7f)
            o += (size_t)sprintf(out + o, "\\x%02x", c);
        else
            out[o++] = (char)c;
    }
    return out;
}
