/* sample.h - rows whose every value follows from the row's number, for the tests of sets. h5py_reads.py has
 * the same formulas. */
#ifndef NPR_TESTS_IO_SAMPLE_H
#define NPR_TESTS_IO_SAMPLE_H

#include <dirent.h>
#include <sys/stat.h>

#include "base/half.h"
#include "io/manifest.h"
#include "io/part.h"
#include "npr/set.h"
#include "test.h"

enum { SAMPLE_ALL = (1 << NPR_COLUMNS) - 1 };

static inline void sample_emb(int64_t i, int dim, uint16_t *emb)
{
    double squares = 0;
    for (int j = 0; j < dim; j++) {
        double x = (double)((i * 31 + j * 7) % 17 - 8);
        squares += x * x;
    }
    for (int j = 0; j < dim; j++) {
        double x = (double)((i * 31 + j * 7) % 17 - 8);
        emb[j] = npr_half_round((float)(x / sqrt(squares)));
    }
}

/* Texts: some empty, some long, some with bytes that are no characters. */
static inline void sample_text(int64_t i, npr_column c, char *text, size_t *n)
{
    static const char *const words[] = {"kitten", "a \xc3\xa9t\xc3\xa9", "\xff\xfe", "tab\there", ""};
    *n = 0;
    if (i % 11 == 3) return;
    *n = (size_t)sprintf(text, "%s %lld", npr_column_name(c), (long long)i);
    for (int64_t k = 0; k < i % 6; k++) *n += (size_t)sprintf(text + *n, " %s", words[(i + k) % 5]);
}

/* Fill row r->n with the values of row i. */
static inline npr_status sample_try(npr_rows *r, int64_t i)
{
    int64_t n = r->n;
    char text[256], name[32];
    size_t length;
    if (r->emb) sample_emb(i, r->dim, r->emb + n * r->dim);
    if (r->id) r->id[n] = 1000 + 3 * i;
    if (r->label) r->label[n] = (int32_t)(i % 7) - 1;
    if (r->score) r->score[n] = (float)(i % 100) / 100.0f;
    for (int c = NPR_CAPTION; c <= NPR_TOKENS; c++) {
        if (!(r->columns & NPR_COL(c))) continue;
        sample_text(i, (npr_column)c, text, &length);
        NPR_TRY(npr_rows_put_text(r, (npr_column)c, text, length));
    }
    if (r->source) {
        sprintf(name, "images-%d.tar", (int)(i % 3));
        r->source[3 * n] = -1;
        if (i % 13 != 5) NPR_TRY(npr_rows_container(r, name, &r->source[3 * n]));
        r->source[3 * n + 1] = 100 * i;
        r->source[3 * n + 2] = 50 + i;
    }
    if (r->similarity) r->similarity[n] = i % 9 ? (float)(i % 50) / 50.0f : (float)NAN;
    if (r->nsfw) r->nsfw[n] = (uint8_t)(i % 4);
    if (r->width) r->width[n] = (int32_t)(i % 2000);
    if (r->height) r->height[n] = (int32_t)(3 * i % 1000);
    if (r->recalls) r->recalls[n] = (int32_t)(1 + i % 5);
    for (int j = 0; r->weight && j < r->dim; j++)
        r->weight[n * r->dim + j] = (float)j + 0.5f * (float)(i % 64);
    return npr_rows_next(r);
}

static inline void sample_put(npr_rows *r, int64_t i)
{
    CHECK_OK(sample_try(r, i));
}

/* Is row n of r what sample_put() makes of row i? */
static inline int sample_is(const npr_rows *r, int64_t n, int64_t i)
{
    npr_rows one;
    CHECK_OK(npr_rows_make(&one, r->columns, r->dim, 1));
    sample_put(&one, i);
    size_t d = (size_t)r->dim, a, b;
    int same = 1;
#define SAME(field, width)                                                                                   \
    (!r->field || !memcmp(r->field + (size_t)n * (width), one.field, (width) * sizeof *r->field))
    same = SAME(emb, d) && SAME(id, 1) && SAME(label, 1) && SAME(score, 1) && SAME(similarity, 1) &&
           SAME(nsfw, 1) && SAME(width, 1) && SAME(height, 1) && SAME(weight, d) && SAME(recalls, 1);
#undef SAME
    const npr_text *text[] = {&r->caption, &r->url, &r->tokens},
                   *want[] = {&one.caption, &one.url, &one.tokens};
    for (int c = 0; c < 3 && same; c++) {
        if (!text[c]->offset) continue;
        const char *x = npr_text_at(text[c], n, &a), *y = npr_text_at(want[c], 0, &b);
        same = a == b && !memcmp(x, y, a);
    }
    if (same && r->source) {
        const int64_t *x = r->source + 3 * n, *y = one.source;
        same = x[1] == y[1] && x[2] == y[2] && (x[0] < 0) == (y[0] < 0);
        if (same && x[0] >= 0) same = !strcmp(r->container[x[0]], one.container[y[0]]);
    }
    npr_rows_free(&one);
    return same;
}

/* Write part `part` of rows [first, first + n) into a folder, appended in batches of `batch` rows. */
static inline npr_status sample_part(const char *folder, int part, uint32_t columns, int dim, int64_t first,
                                     int64_t n, int64_t batch, npr_part_entry *entry)
{
    npr_part_writer *w;
    npr_rows r;
    NPR_TRY(npr_part_create(folder, part, columns, dim, &w));
    npr_status st = npr_rows_make(&r, columns, dim, batch);
    for (int64_t i = 0; i < n && !st; i += batch) {
        npr_rows_clear(&r);
        for (int64_t j = i; j < n && j < i + batch && !st; j++) st = sample_try(&r, first + j);
        if (!st) st = npr_part_append(w, &r);
    }
    npr_rows_free(&r);
    if (!st) return npr_part_commit(w, entry);
    npr_part_abandon(w);
    return st;
}

/* A whole file; its size in *n. Release with free(). */
static inline char *sample_slurp(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    *n = 0;
    if (!f) return NULL;
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    char *bytes = malloc(*n + 1);
    if (fread(bytes, 1, *n, f) != *n) *n = 0;
    fclose(f);
    return bytes;
}

static inline void sample_spill(const char *path, const char *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, n, f) != n || fclose(f)) {
        perror(path);
        exit(1);
    }
}

/* A set in memory over part 0 of a folder. */
static inline npr_set *sample_set(const char *folder, uint32_t columns, int dim, const npr_part_entry *e)
{
    npr_set *set = npr_set_new(folder, "test", "unknown", "job");
    set->columns = columns;
    set->dim = dim;
    set->part_rows = NPR_PART_ROWS;
    CHECK_OK(npr_set_put_parts(set, e, 1));
    return set;
}

/* A folder in the test's own; the name is overwritten by the next call. */
static inline char *sample_folder(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", test_folder(), name);
    mkdir(path, 0777);
    return path;
}

/* Files in it that are not hidden. */
static inline int sample_files(const char *folder)
{
    int n = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

/* Put an index into part 0. */
static inline npr_status sample_index(npr_set *set, const char *blob, size_t n)
{
    char *temp;
    npr_part_entry e;
    NPR_TRY(npr_part_with_index(set, 0, blob, n, &temp, &e));
    npr_status st = npr_part_publish(set->path, temp, &e);
    free(temp);
    if (!st) set->part[0] = e;
    return st;
}

#endif
