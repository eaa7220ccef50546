/* images_scan.c - what is to be known of one file of images before any is decoded. See images.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/json.h"
#include "base/mem.h"
#include "io/field.h"
#include "io/images.h"
#include "io/lines.h"
#include "io/samples.h"

enum { CLASSES_MAX = 1 << 20, TRIES = 100 };

const char *npr_skip_name(int reason)
{
    static const char *const names[] = {"metadata", "features", "missing", "dead", "changed"};
    return reason < NPR_SKIP_METADATA ? npr_image_fault_name((npr_image_fault)reason)
                                      : names[reason - NPR_SKIP_METADATA];
}

/* ---- folders ---- */

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort(npr_paths *paths)
{
    if (paths->count) qsort(paths->path, paths->count, sizeof *paths->path, by_bytes);
}

static int is_folder(int folder, const struct dirent *e)
{
    struct stat s;
    if (e->d_type != DT_UNKNOWN && e->d_type != DT_LNK) return e->d_type == DT_DIR;
    return !fstatat(folder, e->d_name, &s, 0) && S_ISDIR(s.st_mode);
}

npr_status npr_images_list_folder(const char *path, npr_paths *images, npr_paths *folders)
{
    DIR *d = opendir(path);
    if (!d) return npr_fail(npr_status_from_errno(errno), "%s: cannot list: %s", path, strerror(errno));
    npr_status st;
    for (struct dirent *e; !(st = npr_folder_next(d, path, &e)) && e;) {
        if (e->d_name[0] == '.') continue;
        const char *dot = strrchr(e->d_name, '.');
        if (is_folder(dirfd(d), e))
            st = folders ? npr_paths_add(folders, e->d_name) : NPR_OK;
        else if (dot && npr_is_image_suffix(dot + 1))
            st = npr_paths_add(images, e->d_name);
        if (st) break;
    }
    closedir(d);
    sort(images);
    if (folders) sort(folders);
    return st;
}

npr_status npr_images_scan_folder(const char *path, npr_images_file *f)
{
    npr_paths images = {0}, folders = {0};
    npr_status st = npr_images_list_folder(path, &images, &folders);
    if (!st && folders.count)
        st = npr_fail(NPR_EDATA, "%s: has a folder \"%.200s\" in it: images of a class lie in one folder",
                      path, folders.path[0]);
    int folder = st ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (!st && folder < 0)
        st = npr_fail(npr_status_from_errno(errno), "%s: cannot open: %s", path, strerror(errno));
    for (size_t i = 0; i < images.count && !st; i++) {
        struct stat s;
        int64_t size = fstatat(folder, images.path[i], &s, 0) ? -1 : (int64_t)s.st_size;
        f->hash = npr_hash64(images.path[i], strlen(images.path[i]), f->hash);
        f->hash = npr_hash64(&size, sizeof size, f->hash);
        if (size > 0) f->bytes += size;
    }
    f->rows = (int64_t)images.count;
    if (folder >= 0) close(folder);
    npr_paths_free(&images);
    npr_paths_free(&folders);
    return st;
}

/* ---- lists ---- */

size_t npr_images_split_line(const char *line, size_t n, const char **label, size_t *label_bytes)
{
    const char *tab = memchr(line, '\t', n);
    *label = tab ? tab + 1 : NULL;
    *label_bytes = tab ? (size_t)(line + n - tab - 1) : 0;
    return tab ? (size_t)(tab - line) : n;
}

/* Where a name is, or belongs, among sorted ones. */
static size_t place_of(const npr_paths *class, const char *name, size_t n, int *there)
{
    size_t low = 0, high = class->count;
    *there = 0;
    while (low < high && !*there) {
        size_t middle = low + (high - low) / 2, length = strlen(class->path[middle]);
        int order = memcmp(class->path[middle], name, length < n ? length : n);
        if (!order) order = (length > n) - (length < n);
        *there = !order;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return high;
}

int64_t npr_images_find_class(const npr_paths *class, const char *name, size_t n)
{
    int there;
    size_t i = place_of(class, name, n, &there);
    return there ? (int64_t)i : -1;
}

static npr_status add_class(npr_paths *class, const char *name, size_t n)
{
    int there;
    size_t i = place_of(class, name, n, &there);
    if (there) return NPR_OK;
    if (class->count == CLASSES_MAX) return npr_fail(NPR_EDATA, "more than %d different labels", CLASSES_MAX);
    char *copy = npr_path("%.*s", (int)n, name);
    npr_status st = copy ? npr_paths_add(class, copy) : npr_last();
    free(copy);
    if (st) return st;
    char *last = class->path[class->count - 1];
    memmove(class->path + i + 1, class->path + i, (class->count - 1 - i) * sizeof *class->path);
    class->path[i] = last;
    return NPR_OK;
}

/* A row of a list: its label is collected; all rows have one, or none. */
static npr_status see_line(const char *path, const char *line, size_t n, int64_t row, npr_paths *class,
                           int *labelled)
{
    const char *label;
    size_t label_bytes, name = npr_images_split_line(line, n, &label, &label_bytes);
    if (!name || memchr(line, 0, n))
        return npr_fail(NPR_EDATA, "%s: row %lld (of those not empty) names no file", path, (long long)row);
    if (row == 0) *labelled = label != NULL;
    if (*labelled != (label != NULL))
        return npr_fail(NPR_EDATA, "%s: row %lld has %s label, the first one has %s: all or none", path,
                        (long long)row, label ? "a" : "no", label ? "none" : "one");
    if (!label) return NPR_OK;
    return npr_context(add_class(class, label, label_bytes), "%s", path);
}

/* Labels that are numbers need no names. */
static npr_status settle_classes(npr_paths *class)
{
    for (size_t i = 0; i < class->count; i++) {
        double x;
        if (!npr_field_number(class->path[i], strlen(class->path[i]), &x)) return NPR_OK;
    }
    npr_paths_free(class);
    return NPR_OK;
}

npr_status npr_images_scan_list(const char *path, npr_images_file *f, npr_paths *class, int *labelled)
{
    npr_lines *l;
    const char *line;
    size_t n, cap = 0;
    NPR_TRY(npr_lines_open(path, &l));
    npr_status st;
    for (int64_t offset = 0; !(st = npr_lines_next(l, &line, &n)) && line; offset = npr_lines_offset(l)) {
        if (!n) continue;
        f->hash = npr_hash64(line, n, f->hash);
        if (f->rows % NPR_IMAGES_MARK == 0) {
            st = npr_grow(&f->mark, &cap, (size_t)f->marks + 1, sizeof *f->mark, "places in a list");
            if (!st) f->mark[f->marks++] = offset;
        }
        if (!st) st = see_line(path, line, n, f->rows, class, labelled);
        if (st) break;
        f->rows++;
    }
    npr_lines_close(l);
    return st ? st : settle_classes(class);
}

/* ---- tars ---- */

/* What a tar's first sample can tell stands for all: fields that only later ones have are not used. *seen: 0
 * if its JSON is damaged, and the next one may tell more. */
static npr_status see_fields(npr_samples *s, const char *path, const npr_sample *sample, uint32_t *columns,
                             int *seen)
{
    npr_field_map map = {0};
    const char *text;
    *seen = 1;
    if (sample->text.bytes >= 0) *columns |= NPR_COL(NPR_CAPTION);
    if (sample->class.bytes >= 0) *columns |= NPR_COL(NPR_LABEL);
    if (sample->json.bytes < 0) return NPR_OK;
    if (sample->json.bytes > NPR_IMAGES_TEXT) return *seen = 0, NPR_OK;
    NPR_TRY(npr_samples_read(s, sample->json, &text));
    npr_json *object = npr_json_parse(text, (size_t)sample->json.bytes, path);
    npr_status st = object ? npr_field_put_object(object, 0, path, &map, NULL) : npr_last();
    npr_json_free(object);
    if (st == NPR_EDATA) return *seen = 0, NPR_OK;
    *columns |= map.columns & ~NPR_COL(NPR_ID);
    return st;
}

npr_status npr_images_scan_tar(const char *path, npr_images_file *f)
{
    npr_samples *s;
    const npr_sample *sample;
    size_t cap = 0;
    int64_t size;
    int seen = 0;
    NPR_TRY(npr_digest_ends(path, &size, &f->hash));
    NPR_TRY(npr_samples_open(path, &s));
    npr_status st;
    while (!(st = npr_samples_next(s, &sample)) && sample) {
        if (!seen && f->rows < TRIES && (st = see_fields(s, path, sample, &f->columns, &seen))) break;
        if (f->rows % NPR_IMAGES_MARK == 0) {
            st = npr_grow(&f->mark, &cap, (size_t)f->marks + 1, sizeof *f->mark, "places in an archive");
            if (st) break;
            f->mark[f->marks++] = sample->header;
        }
        f->bytes += sample->image.bytes;
        f->rows++;
    }
    f->hash = npr_hash64(&size, sizeof size, f->hash);
    f->unused = npr_samples_unused(s);
    npr_samples_close(s);
    return st;
}
