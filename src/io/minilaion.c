/* minilaion.c - see minilaion.h. Layout and formats are those that clip-retrieval and LAION publish. */
#include "io/minilaion.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "npr/source.h"

enum { FILE_ROWS = 1000000, SMALL_FILES = 16, FILE_STEP = 1024, BLOCK_ROWS = 1024, FILES_MAX = 1000000 };

npr_status minilaion_cut(int64_t total, int64_t file_rows, minilaion_files *files)
{
    if (file_rows == 0) {
        file_rows = (total / SMALL_FILES / FILE_STEP + 1) * FILE_STEP;
        if (file_rows > FILE_ROWS) file_rows = FILE_ROWS;
    }
    int64_t count = (total + file_rows - 1) / file_rows;
    if (count > FILES_MAX)
        return npr_fail(NPR_EUSAGE, "%lld rows in files of %lld would be %lld files; wanted at most %d",
                        (long long)total, (long long)file_rows, (long long)count, FILES_MAX);
    *files = (minilaion_files){file_rows, total, (int)count};
    return NPR_OK;
}

int64_t minilaion_rows_of(const minilaion_files *files, int file)
{
    int64_t left = files->total - (int64_t)file * files->rows;
    return left < files->rows ? left : files->rows;
}

/* "OUT/img_emb/img_emb_0007.npy"; as many digits as the last file needs, so that names sort. */
static char *file_path(const char *out, const minilaion_files *files, const char *name, int file,
                       const char *suffix)
{
    char last[16];
    int digits = snprintf(last, sizeof last, "%d", files->count - 1);
    return npr_path("%s/%s/%s_%0*d.%s", out, name, name, digits < 4 ? 4 : digits, file, suffix);
}

npr_status minilaion_done(const char *out, const minilaion_files *files, int file, int dim, int *done)
{
    *done = 0;
    char *emb = file_path(out, files, "img_emb", file, "npy");
    char *meta = file_path(out, files, "metadata", file, "tsv");
    npr_status st = emb && meta ? NPR_OK : npr_last();
    npr_npy *f = NULL;
    if (!st && npr_file_exists(emb) && npr_file_exists(meta)) {
        st = npr_npy_open(emb, &f);
        if (!st && (npr_npy_rows(f) != minilaion_rows_of(files, file) || npr_npy_dim(f) != dim))
            st = npr_fail(
                NPR_ECREATE, "%s: holds %lld x %d, wanted %lld x %d: remove it to have it made again", emb,
                (long long)npr_npy_rows(f), npr_npy_dim(f), (long long)minilaion_rows_of(files, file), dim);
        *done = !st;
    }
    npr_npy_close(f);
    free(emb);
    free(meta);
    return st;
}

static npr_status stop_asked(void)
{
    if (!npr_stop_requested()) return NPR_OK;
    return npr_fail(NPR_ESTOP, "stopped on request; finished files are kept, run the same command again");
}

/* Finishing with rows missing removes what was written; the reason why they are missing stays the one told.
 */
static npr_status give_up(npr_npy_writer *f, npr_status st)
{
    char *text = npr_strdup(npr_status_text());
    npr_npy_finish(f);
    if (text) npr_status_set(st, text);
    free(text);
    return st;
}

enum { CRAWL = -1 }; /* the rows of the world themselves, beside npr_world_test */

static npr_status write_vectors(const char *path, const npr_world *w, int test, int64_t row0, int64_t n,
                                npr_progress *progress)
{
    int dim = npr_world_dim(w);
    npr_npy_writer *f;
    NPR_TRY(npr_npy_create(path, n, dim, &f));
    uint16_t *block = npr_alloc(BLOCK_ROWS * (size_t)dim, sizeof *block, "a block of vectors");
    npr_status st = block ? NPR_OK : npr_last();
    for (int64_t at = 0; at < n && !st; at += BLOCK_ROWS) {
        int64_t m = n - at < BLOCK_ROWS ? n - at : BLOCK_ROWS;
        if (test == CRAWL)
            npr_world_vectors(w, row0 + at, m, block);
        else
            npr_world_test_vectors(w, (npr_world_test)test, row0 + at, m, block);
        st = npr_npy_append(f, block, m);
        if (progress) npr_progress_add(progress, m);
        if (!st) st = stop_asked();
    }
    free(block);
    return st ? give_up(f, st) : npr_npy_finish(f);
}

static npr_status write_lines(int fd, const char *path, const npr_world *w, int64_t row0, int64_t n)
{
    static const char header[] = "url\tcaption\tsimilarity\tNSFW\twidth\theight\n";
    enum { BUFFER = 1 << 20 };
    char *buffer = npr_alloc(BUFFER + NPR_WORLD_LINE, 1, "lines of metadata");
    if (!buffer) return npr_last();
    size_t used = sizeof header - 1;
    memcpy(buffer, header, used);
    npr_status st = NPR_OK;
    for (int64_t i = 0; i < n && !st; i++) {
        used += npr_world_line(w, row0 + i, buffer + used);
        if (used < BUFFER) continue;
        st = npr_file_write_all(fd, path, buffer, used);
        used = 0;
        if (!st) st = stop_asked();
    }
    if (!st) st = npr_file_write_all(fd, path, buffer, used);
    free(buffer);
    return st;
}

static npr_status write_metadata(const char *path, const npr_world *w, int64_t row0, int64_t n)
{
    char *temp = npr_path("%s.tmp.%ld", path, (long)getpid());
    if (!temp) return npr_last();
    npr_status st = NPR_OK;
    int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        st = npr_fail(NPR_ECREATE, "%s: cannot create: %s", temp, strerror(errno));
    } else {
        st = write_lines(fd, temp, w, row0, n);
        if (close(fd) && !st) st = npr_fail(NPR_EIO, "%s: cannot close: %s", temp, strerror(errno));
        if (!st) st = npr_file_publish(temp, path);
        if (st) unlink(temp);
    }
    free(temp);
    return st;
}

npr_status minilaion_write(const char *out, const npr_world *w, const minilaion_files *files, int file,
                           npr_progress *progress)
{
    int64_t row0 = (int64_t)file * files->rows, n = minilaion_rows_of(files, file);
    char *emb = file_path(out, files, "img_emb", file, "npy");
    char *meta = file_path(out, files, "metadata", file, "tsv");
    npr_status st = emb && meta ? NPR_OK : npr_last();
    if (!st) st = write_metadata(meta, w, row0, n);
    if (!st) st = write_vectors(emb, w, CRAWL, row0, n, progress);
    free(emb);
    free(meta);
    return st;
}

/* ---- what stands around the rows --------------------------------------------------------------------------
 */

static npr_status make_folder(const char *out, const char *name)
{
    char *path = npr_path("%s/%s", out, name);
    npr_status st = path ? npr_folder_make(path) : npr_last();
    free(path);
    return st;
}

/* OUT/NAME with these bytes. */
static npr_status write_small(const char *out, const char *name, const void *bytes, size_t n)
{
    char *path = npr_path("%s/%s", out, name);
    npr_status st = path ? npr_file_replace(path, bytes, n) : npr_last();
    free(path);
    return st;
}

static npr_status check_same_world(const char *path, const char *wanted)
{
    enum { WORLD_MAX = 1 << 16 };
    char *found;
    size_t n;
    NPR_TRY(npr_file_read(path, WORLD_MAX, &found, &n));
    size_t at = 0, line = 0;
    for (; found[at] && found[at] == wanted[at]; at++)
        if (found[at] == '\n') line = at + 1;
    npr_status st = NPR_OK;
    if (found[at] || wanted[at])
        st = npr_fail(NPR_ECREATE, "%s: the folder holds another world: wanted \"%.*s\", found \"%.*s\"",
                      path, (int)strcspn(wanted + line, "\n"), wanted + line,
                      (int)strcspn(found + line, "\n"), found + line);
    free(found);
    return st;
}

npr_status minilaion_begin(const char *out, const char *identity)
{
    NPR_TRY(npr_folder_make(out));
    char *path = npr_path("%s/world.txt", out);
    char *text =
        npr_path("# A made-up world in LAION's file formats, written by npr-minilaion. SYNTHETIC: made from\n"
                 "# random numbers, without images, people or models behind it.\n%s",
                 identity);
    npr_status st = path && text ? NPR_OK : npr_last();
    if (!st)
        st =
            npr_file_exists(path) ? check_same_world(path, text) : npr_file_replace(path, text, strlen(text));
    static const char *const folder[] = {"img_emb", "metadata", "text", "test"};
    for (size_t i = 0; i < sizeof folder / sizeof *folder && !st; i++) st = make_folder(out, folder[i]);
    free(path);
    free(text);
    return st;
}

static npr_status write_head(const char *out, const npr_world *w)
{
    int classes = npr_world_classes(w), dim = npr_world_dim(w);
    size_t bytes = (size_t)classes * (size_t)dim * sizeof(float);
    enum {
        HEADER = 128
    }; /* numpy's format 1.0: magic, version, length, a dictionary, blanks, a line break */
    char *file = npr_alloc_aligned(HEADER + bytes, 1, "the text head");
    if (!file) return npr_last();
    memset(file, ' ', HEADER);
    memcpy(file, "\x93NUMPY\x01\x00\x76\x00", 10);
    int n = snprintf(file + 10, HEADER - 10, "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }",
                     classes, dim);
    file[10 + n] = ' '; /* where snprintf put its zero */
    file[HEADER - 1] = '\n';
    npr_status st = npr_world_head(w, (float *)(void *)(file + HEADER));
    if (!st) st = write_small(out, "text/head.npy", file, HEADER + bytes);
    free(file);
    return st;
}

npr_status minilaion_text(const char *out, const npr_world *w)
{
    char *names = NULL, *list = NULL;
    size_t names_size = 0, list_size = 0;
    FILE *head = open_memstream(&names, &names_size), *classes = open_memstream(&list, &list_size);
    npr_status st = head && classes ? NPR_OK : npr_fail(NPR_EINTERNAL, "out of memory: the class names");
    if (!st) fputs("caption\n", head);
    for (int c = 0; c < npr_world_classes(w) && !st; c++) {
        const char *synonym = npr_world_synonym(w, c);
        fprintf(head, "%s\n", npr_world_name(w, c));
        fprintf(classes, "%s%s%s\n", npr_world_name(w, c), synonym ? "\t" : "", synonym ? synonym : "");
    }
    int lost = (head && fclose(head)) + (classes && fclose(classes));
    if (!st && lost) st = npr_fail(NPR_EINTERNAL, "out of memory: the class names");
    if (!st) st = write_head(out, w);
    if (!st) st = write_small(out, "text/head.tsv", names, names_size);
    if (!st) st = write_small(out, "text/classes.txt", list, list_size);
    free(names);
    free(list);
    return st;
}

npr_status minilaion_tests(const char *out, const npr_world *w, int per_class)
{
    static const struct {
        npr_world_test test;
        const char *vectors, *labels;
        int at_most;
    } set[NPR_WORLD_TESTS] = {{NPR_WORLD_SHIFT, "test", "test/test_labels.txt", 1 << 20},
                              {NPR_WORLD_ID, "test_id", "test/test_id_labels.txt", 1 << 20},
                              {NPR_WORLD_SHOTS, "shots", "test/shots_labels.txt", 10}};
    npr_status st = NPR_OK;
    for (size_t i = 0; i < NPR_WORLD_TESTS && !st; i++) {
        int each = per_class < set[i].at_most ? per_class : set[i].at_most;
        int64_t n = (int64_t)each * npr_world_classes(w);
        char *path = npr_path("%s/test/%s.npy", out, set[i].vectors), *labels = NULL;
        size_t size = 0;
        FILE *f = open_memstream(&labels, &size);
        if (!path || !f) st = npr_fail(NPR_EINTERNAL, "out of memory: the labels of a test");
        for (int64_t row = 0; row < n && !st; row++) fprintf(f, "%d\n", npr_world_test_label(w, row));
        if (f && fclose(f) && !st) st = npr_fail(NPR_EINTERNAL, "out of memory: the labels of a test");
        if (!st) st = write_vectors(path, w, (int)set[i].test, 0, n, NULL);
        if (!st) st = write_small(out, set[i].labels, labels, size);
        free(path);
        free(labels);
    }
    return st;
}
