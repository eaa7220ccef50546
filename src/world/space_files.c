/* space_files.c - see space_files.h. Layout and formats are those that clip-retrieval and LAION publish. */
#include "world/space_files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "npr/source.h"

enum { FILE_ROWS = 1000000, FILE_STEP = 1024, BLOCK_ROWS = 1024 };

npr_status space_cut(int64_t total, int64_t file_rows, world_files *files)
{
    return world_cut(total, file_rows, FILE_STEP, FILE_ROWS, files);
}

/* "OUT/img_emb/img_emb_0007.npy"; as many digits as the last file needs, so that names sort. */
static char *file_path(const char *out, const world_files *files, const char *name, int file,
                       const char *suffix)
{
    char last[16];
    int digits = snprintf(last, sizeof last, "%d", files->count - 1);
    return npr_path("%s/%s/%s_%0*d.%s", out, name, name, digits < 4 ? 4 : digits, file, suffix);
}

npr_status space_done(const char *out, const world_files *files, int file, int dim, int *done)
{
    *done = 0;
    char *emb = file_path(out, files, "img_emb", file, "npy");
    char *meta = file_path(out, files, "metadata", file, "tsv");
    npr_status st = emb && meta ? NPR_OK : npr_last();
    npr_npy *f = NULL;
    if (!st && npr_file_exists(emb) && npr_file_exists(meta)) {
        st = npr_npy_open(emb, &f);
        if (!st && (npr_npy_rows(f) != world_rows_of(files, file) || npr_npy_dim(f) != dim))
            st = npr_fail(
                NPR_ECREATE, "%s: holds %lld x %d, wanted %lld x %d: remove it to have it made again", emb,
                (long long)npr_npy_rows(f), npr_npy_dim(f), (long long)world_rows_of(files, file), dim);
        *done = !st;
    }
    npr_npy_close(f);
    free(emb);
    free(meta);
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
        if (!st) st = world_stop();
    }
    free(block);
    if (!st) return npr_npy_finish(f);
    npr_npy_abandon(f);
    return st;
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
        if (!st) st = world_stop();
    }
    if (!st) st = npr_file_write_all(fd, path, buffer, used);
    free(buffer);
    return st;
}

static npr_status write_metadata(const char *path, const npr_world *w, int64_t row0, int64_t n)
{
    char *temp = npr_file_temporary(path);
    if (!temp) return npr_last();
    int fd;
    npr_status st = npr_file_create(temp, &fd);
    if (!st) {
        st = write_lines(fd, temp, w, row0, n);
        if (close(fd) && !st) st = npr_fail(NPR_EIO, "%s: cannot close: %s", temp, strerror(errno));
        if (!st) st = npr_file_publish(temp, path);
        if (st) unlink(temp);
    }
    free(temp);
    return st;
}

npr_status space_write(const char *out, const npr_world *w, const world_files *files, int file,
                       npr_progress *progress)
{
    int64_t row0 = (int64_t)file * files->rows, n = world_rows_of(files, file);
    char *emb = file_path(out, files, "img_emb", file, "npy");
    char *meta = file_path(out, files, "metadata", file, "tsv");
    npr_status st = emb && meta ? NPR_OK : npr_last();
    if (!st) st = write_metadata(meta, w, row0, n);
    if (!st) st = write_vectors(emb, w, CRAWL, row0, n, progress);
    free(emb);
    free(meta);
    return st;
}

/* ---- what stands around the rows ----------------------------------------------------------------------- */

npr_status space_begin(const char *out, const char *identity)
{
    static const char what[] =
        "# A made-up world in LAION's file formats, written by npr-minilaion --embeddings. SYNTHETIC: made\n"
        "# from random numbers, without images, people or models behind it.\n";
    static const char *const folder[] = {"img_emb", "metadata", "text", "test"};
    return world_begin(out, what, identity, folder, sizeof folder / sizeof *folder);
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
    if (!st) st = world_write_small(out, "text/head.npy", file, HEADER + bytes);
    free(file);
    return st;
}

npr_status space_text(const char *out, const npr_world *w)
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
    if (!st) st = world_write_small(out, "text/head.tsv", names, names_size);
    if (!st) st = world_write_small(out, "text/classes.txt", list, list_size);
    free(names);
    free(list);
    return st;
}

npr_status space_tests(const char *out, const npr_world *w, int per_class)
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
        if (!st) st = world_write_small(out, set[i].labels, labels, size);
        free(path);
        free(labels);
    }
    return st;
}
