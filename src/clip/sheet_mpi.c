/* sheet_mpi.c - see npr/sheet.h. */
#include "npr/sheet.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "io/images.h"

enum { GAP = 2, PAPER = 255, MISSING = 160, QUALITY = 92, CLASSES = 64 };

typedef struct sheet {
    const npr_sheet_job *job;
    int class[CLASSES], lines;
    npr_rows rows; /* label and source of the whole set */
    npr_fetch fetch;
    npr_jpeg *decoder;
    npr_preprocess *crop;
    npr_pixels pixels;
    int width, height;
    uint8_t *rgb; /* [height][width][3] */
    int64_t drawn, unreadable;
} sheet;

static npr_status parse_classes(sheet *s)
{
    const char *at = s->job->classes;
    for (;;) {
        char *end;
        errno = 0;
        long class = strtol(at, &end, 10);
        if (end == at || errno || class < 0 || class > INT32_MAX || (*end && *end != ','))
            return npr_fail(NPR_EUSAGE, "--classes=%s: wanted numbers with commas between, found \"%s\"",
                            s->job->classes, at);
        if (s->lines == CLASSES)
            return npr_fail(NPR_EUSAGE, "--classes=%s: wanted at most %d classes", s->job->classes, CLASSES);
        s->class[s->lines++] = (int)class;
        if (!*end) return NPR_OK;
        at = end + 1;
    }
}

static npr_status read_rows(sheet *s)
{
    const uint32_t columns = NPR_COL(NPR_LABEL) | NPR_COL(NPR_SOURCE);
    npr_set *set;
    NPR_TRY(npr_set_open(s->job->set, &set));
    npr_status st = NPR_OK;
    if ((set->columns & columns) != columns)
        st = npr_fail(NPR_EDATA, "%s: has no %s: a sheet needs `label` and `source`", s->job->set,
                      set->columns & NPR_COL(NPR_LABEL) ? "source" : "label");
    if (!st) st = npr_set_read_all(set, columns, &s->rows);
    npr_set_free(set);
    return st;
}

/* The picture of a row as rgb [side][side][3]; *there = 0 if it cannot be read. */
static npr_status draw(sheet *s, int64_t row, uint8_t *rgb, int *there)
{
    const int64_t *source = s->rows.source + 3 * row;
    npr_image_fault fault = NPR_IMAGE_UNREADABLE;
    *there = 0;
    if (source[0] < 0 || source[0] >= s->rows.n_container || source[2] <= 0) return NPR_OK;
    const char *name = s->rows.container[source[0]];
    npr_image_at at = {.offset = source[1], .bytes = source[2]};
    at.path = *name == '/' || !s->job->root ? npr_strdup(name) : npr_path("%s/%s", s->job->root, name);
    npr_status st = at.path ? npr_fetch_image(&s->fetch, &at, &fault) : npr_last();
    free(at.path);
    if (!st && !fault) st = npr_jpeg_decode(s->decoder, s->fetch.bytes, s->fetch.n, &s->pixels, &fault);
    if (st || fault) return st;
    *there = 1;
    return npr_preprocess_crop(s->crop, &s->pixels, rgb);
}

static void put(sheet *s, int line, int column, const uint8_t *rgb, int there)
{
    int side = s->job->side;
    size_t x = (size_t)(GAP + column * (side + GAP)), bytes = (size_t)side * 3;
    for (int y = 0; y < side; y++) {
        size_t row = (size_t)(GAP + line * (side + GAP) + y);
        uint8_t *to = s->rgb + (row * (size_t)s->width + x) * 3;
        if (there)
            memcpy(to, rgb + (size_t)y * bytes, bytes);
        else
            memset(to, MISSING, bytes);
    }
}

static npr_status draw_line(sheet *s, int line, uint8_t *rgb)
{
    int column = 0, there;
    for (int64_t i = 0; i < s->rows.n && column < s->job->columns; i++) {
        if (s->rows.label[i] != s->class[line]) continue;
        NPR_TRY(draw(s, i, rgb, &there));
        put(s, line, column++, rgb, there);
        s->drawn++;
        s->unreadable += !there;
    }
    return NPR_OK;
}

static npr_status draw_sheet(sheet *s)
{
    const float unused[3] = {1, 1, 1};
    size_t side = (size_t)s->job->side;
    s->width = GAP + s->job->columns * (s->job->side + GAP);
    s->height = GAP + s->lines * (s->job->side + GAP);
    size_t bytes = (size_t)s->width * (size_t)s->height * 3;
    NPR_TRY(npr_jpeg_make(&(npr_jpeg_limits){0}, &s->decoder));
    NPR_TRY(npr_preprocess_make(s->job->side, unused, unused, &s->crop));
    if (!(s->rgb = npr_alloc(bytes, 1, "a contact sheet"))) return npr_last();
    memset(s->rgb, PAPER, bytes);
    uint8_t *rgb = npr_alloc(side * side, 3, "a picture");
    npr_status st = rgb ? NPR_OK : npr_last();
    for (int line = 0; line < s->lines && !st; line++) st = draw_line(s, line, rgb);
    free(rgb);
    return st;
}

static npr_status write_sheet(const sheet *s)
{
    uint8_t *bytes = NULL;
    size_t cap = 0, n;
    npr_status st = npr_jpeg_encode(s->rgb, s->width, s->height, QUALITY, &bytes, &cap, &n);
    if (!st) st = npr_file_replace(s->job->out, bytes, n);
    free(bytes);
    return st;
}

npr_status npr_sheet_run(const npr_comm *comm, const npr_log *log, npr_record *rec, const npr_sheet_job *job)
{
    (void)log;
    sheet s = {.job = job};
    npr_status st = NPR_OK;
    if (comm->rank == 0) {
        st = parse_classes(&s);
        if (!st) st = read_rows(&s);
        if (!st && !job->dry_run) st = draw_sheet(&s);
        if (!st && !job->dry_run) st = write_sheet(&s);
    }
    st = npr_agree(comm, st, "contact sheet");
    npr_record_int(rec, "result.pictures", s.drawn);
    npr_record_int(rec, "result.unreadable", s.unreadable);
    npr_rows_free(&s.rows);
    npr_fetch_free(&s.fetch);
    npr_jpeg_free(s.decoder);
    npr_preprocess_free(s.crop);
    npr_pixels_free(&s.pixels);
    free(s.rgb);
    return st;
}
