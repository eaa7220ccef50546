/* painted_files.c - see painted_files.h. The layout of the tars is img2dataset's. */
#include "world/painted_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "io/tar.h"
#include "npr/image.h"

enum { FILE_ROWS = 10000, FILE_STEP = 500 }; /* keys are SSSSSNNNN: four digits within a tar */

npr_status painted_cut(int64_t total, int64_t file_rows, world_files *files)
{
    if (file_rows > FILE_ROWS)
        return npr_fail(NPR_EUSAGE, "tars of %lld pictures: wanted at most %d", (long long)file_rows,
                        FILE_ROWS);
    return world_cut(total, file_rows, FILE_STEP, FILE_ROWS, files);
}

/* A JPEG encoder's output, kept between pictures. */
typedef struct jpeg {
    uint8_t *bytes;
    size_t cap, n;
} jpeg;

static npr_status encode(const uint8_t *rgb, int quality, jpeg *j)
{
    return npr_jpeg_encode(rgb, NPR_PICTURE_SIDE, NPR_PICTURE_SIDE, quality, &j->bytes, &j->cap, &j->n);
}

/* ---- tars ---------------------------------------------------------------------------------------------- */

static char *tar_path(const char *out, int file)
{
    return npr_path("%s/pictures/%05d.tar", out, file);
}

npr_status painted_tar_done(const char *out, int file, int *done)
{
    char *path = tar_path(out, file);
    if (!path) return npr_last();
    *done = npr_file_exists(path);
    free(path);
    return NPR_OK;
}

/* What img2dataset says of a row beside its picture. Captions hold nothing that JSON would escape. */
static int put_facts(const npr_painted *w, int64_t row, const char *key, const char *caption, char *out,
                     size_t room)
{
    static const char *const host[] = {"img.example.org/", "cdn.example.com/p/",
                                       "static.example.net/uploads/"};
    uint64_t u = npr_mix64(npr_mix64((uint64_t)row + 1) ^ (uint64_t)npr_painted_classes(w));
    return snprintf(
        out, room,
        "{\"id\": %lld, \"caption\": \"%s\", \"url\": \"https://%s%02x/%016llx.jpg\", \"key\": \"%s\", "
        "\"status\": \"success\", \"error_message\": null, \"width\": %d, \"height\": %d, "
        "\"original_width\": %d, \"original_height\": %d, \"exif\": \"{}\"}",
        (long long)row, caption, host[u % 3], (unsigned)(u >> 56), (unsigned long long)u, key,
        NPR_PICTURE_SIDE, NPR_PICTURE_SIDE, NPR_PICTURE_SIDE, NPR_PICTURE_SIDE);
}

static npr_status append(npr_tar_writer *t, const char *key, const char *suffix, const void *bytes, size_t n)
{
    char name[64];
    snprintf(name, sizeof name, "%s.%s", key, suffix);
    return npr_tar_append(t, name, bytes, n);
}

static npr_status write_row(npr_tar_writer *t, const npr_painted *w, int64_t row, const char *key, jpeg *j)
{
    uint8_t rgb[NPR_PICTURE_BYTES];
    char caption[NPR_PAINTED_CAPTION], facts[NPR_PAINTED_CAPTION + 512];
    int quality;
    npr_painted_picture(w, row, rgb, &quality);
    NPR_TRY(encode(rgb, quality, j));
    size_t n = npr_painted_caption(w, row, caption);
    int m = put_facts(w, row, key, caption, facts, sizeof facts);
    NPR_TRY(append(t, key, "jpg", j->bytes, j->n));
    NPR_TRY(append(t, key, "json", facts, (size_t)m));
    return append(t, key, "txt", caption, n);
}

npr_status painted_tar_write(const char *out, const npr_painted *w, const world_files *files, int file,
                             npr_progress *progress)
{
    enum { REPORT = 64 };
    int64_t row0 = (int64_t)file * files->rows, n = world_rows_of(files, file);
    char *path = tar_path(out, file);
    if (!path) return npr_last();
    npr_tar_writer *t = NULL;
    jpeg j = {0};
    npr_status st = npr_tar_create(path, &t);
    for (int64_t i = 0; i < n && !st; i++) {
        char key[32];
        snprintf(key, sizeof key, "%05d%04lld", file, (long long)i);
        st = write_row(t, w, row0 + i, key, &j);
        if (!st && i % REPORT == REPORT - 1) st = world_stop();
        if (i % REPORT == REPORT - 1) npr_progress_add(progress, REPORT);
    }
    npr_progress_add(progress, n % REPORT);
    if (st)
        npr_tar_abandon(t);
    else
        st = npr_tar_finish(t);
    free(j.bytes);
    free(path);
    return st;
}

/* ---- labelled pictures --------------------------------------------------------------------------------- */

static const char *const FAMILY[PAINTED_FAMILIES] = {"phrases", "coined"};

static int family_of(const npr_painted *w, int class)
{
    return class >= npr_painted_phrases(w);
}

/* "OUT/phrases/test/striped_crimson_hexagon", or hidden while it is being drawn. */
static char *class_path(const char *out, const npr_painted *w, npr_painted_set set, int class, int hidden)
{
    char *path = npr_path("%s/%s/%s/%s%s", out, FAMILY[family_of(w, class)], npr_painted_set_name(set),
                          hidden ? "." : "", npr_painted_name(w, class));
    if (path)
        for (char *c = strrchr(path, '/'); *c; c++)
            if (*c == ' ') *c = '_';
    return path;
}

npr_status painted_class_done(const char *out, const npr_painted *w, npr_painted_set set, int class,
                              int *done)
{
    char *path = class_path(out, w, set, class, 0);
    if (!path) return npr_last();
    *done = npr_file_exists(path);
    free(path);
    return NPR_OK;
}

/* A new file without the ceremony of npr_file_replace(): thousands are made durable together later. */
static npr_status write_file(const char *path, const void *bytes, size_t n)
{
    int fd;
    NPR_TRY(npr_file_create(path, &fd));
    npr_status st = npr_file_write_all(fd, path, bytes, n);
    if (close(fd) && !st) st = npr_fail(NPR_EIO, "%s: cannot close: %s", path, strerror(errno));
    return st;
}

static npr_status draw_sample(const char *folder, const npr_painted *w, npr_painted_set set, int class, int i,
                              jpeg *j)
{
    uint8_t rgb[NPR_PICTURE_BYTES];
    int quality;
    npr_painted_sample(w, set, class, i, rgb, &quality);
    NPR_TRY(encode(rgb, quality, j));
    char *path = npr_path("%s/%04d.jpg", folder, i);
    npr_status st = path ? write_file(path, j->bytes, j->n) : npr_last();
    free(path);
    return st;
}

npr_status painted_class_draw(const char *out, const npr_painted *w, npr_painted_set set, int class, int n,
                              npr_progress *progress)
{
    char *folder = class_path(out, w, set, class, 1);
    if (!folder) return npr_last();
    jpeg j = {0};
    npr_status st = npr_folder_remove(folder); /* of a run that was killed */
    if (!st) st = npr_folder_make(folder);
    for (int i = 0; i < n && !st; i++) st = draw_sample(folder, w, set, class, i, &j);
    npr_progress_add(progress, n);
    if (!st) st = world_stop();
    free(j.bytes);
    free(folder);
    return st;
}

npr_status painted_class_show(const char *out, const npr_painted *w, npr_painted_set set, int class)
{
    char *hidden = class_path(out, w, set, class, 1), *shown = class_path(out, w, set, class, 0);
    npr_status st = hidden && shown ? NPR_OK : npr_last();
    if (!st && (npr_fault("painted.rename") || rename(hidden, shown)))
        st = npr_fail(NPR_EIO, "%s: cannot rename to %s: %s", hidden, shown, strerror(errno));
    free(hidden);
    free(shown);
    return st;
}

npr_status painted_sync(const char *out)
{
    int fd = open(out, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return npr_fail(NPR_EIO, "%s: cannot open: %s", out, strerror(errno));
    npr_status st = syncfs(fd) ? npr_fail(NPR_EIO, "%s: cannot sync: %s", out, strerror(errno)) : NPR_OK;
    close(fd);
    return st;
}

/* ---- words --------------------------------------------------------------------------------------------- */

npr_status painted_begin(const char *out, const char *identity)
{
    static const char what[] =
        "# A made-up world in LAION's file formats, written by npr-minilaion. SYNTHETIC: every picture is\n"
        "# painted from random numbers and every caption made from a list of words.\n";
    const char *const folder[] = {"pictures", FAMILY[0], FAMILY[1]};
    _Static_assert(sizeof folder / sizeof *folder == 1 + PAINTED_FAMILIES, "all families have a folder");
    NPR_TRY(world_begin(out, what, identity, folder, sizeof folder / sizeof *folder));
    for (int f = 0; f < PAINTED_FAMILIES; f++)
        for (int s = 0; s < NPR_PAINTED_SETS; s++) {
            char *path = npr_path("%s/%s/%s", out, FAMILY[f], npr_painted_set_name((npr_painted_set)s));
            npr_status st = path ? npr_folder_make(path) : npr_last();
            free(path);
            NPR_TRY(st);
        }
    return NPR_OK;
}

static npr_status write_text(const char *out, const char *folder, const char *name, const char *text)
{
    char *file = npr_path("%s%s%s", folder, *folder ? "/" : "", name);
    npr_status st = file && text ? world_write_small(out, file, text, strlen(text)) : npr_last();
    free(file);
    return st;
}

/* Names of the classes begin .. end-1, one a line. */
static char *list_names(const npr_painted *w, int begin, int end)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    for (int c = begin; c < end && f; c++) fprintf(f, "%s\n", npr_painted_name(w, c));
    if (f && !fclose(f)) return text;
    npr_fail(NPR_EINTERNAL, "out of memory: the class names");
    free(text);
    return NULL;
}

/* CuPL's JSON: name -> prompts. */
static char *list_prompts(const npr_painted *w, int begin, int end)
{
    npr_json *all = npr_json_object();
    npr_status st = all ? NPR_OK : npr_last();
    for (int c = begin; c < end && !st; c++) {
        npr_json *some = npr_json_array();
        if (!some) st = npr_last();
        for (int i = 0; i < NPR_PAINTED_PROMPTS && !st; i++) {
            char prompt[NPR_PAINTED_CAPTION];
            npr_painted_prompt(w, c, i, prompt);
            st = npr_json_append_text(some, prompt);
        }
        if (!st)
            st = npr_json_set(all, npr_painted_name(w, c), some);
        else
            npr_json_free(some);
    }
    char *text = st ? NULL : npr_json_print(all, 1);
    npr_json_free(all);
    return text;
}

npr_status painted_words(const char *out, const npr_painted *w)
{
    int classes = npr_painted_classes(w), phrases = npr_painted_phrases(w);
    const int begin[PAINTED_FAMILIES + 1] = {0, phrases, classes};
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    for (int i = 0; i < NPR_PAINTED_TEMPLATES && f; i++) fprintf(f, "%s\n", npr_painted_template(i));
    npr_status st = f && !fclose(f) ? NPR_OK : npr_fail(NPR_EINTERNAL, "out of memory: the templates");
    if (!st) st = write_text(out, "", "templates.txt", text);
    free(text);
    for (int i = 0; i < PAINTED_FAMILIES && !st; i++) {
        char *names = list_names(w, begin[i], begin[i + 1]);
        st = write_text(out, FAMILY[i], "classes.txt", names);
        free(names);
        char *prompts = st ? NULL : list_prompts(w, begin[i], begin[i + 1]);
        if (!st) st = write_text(out, FAMILY[i], "prompts.json", prompts);
        free(prompts);
    }
    char *names = st ? NULL : list_names(w, 0, classes);
    if (!st) st = write_text(out, "", "classes.txt", names);
    free(names);
    return st;
}
