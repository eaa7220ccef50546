/* extract_parts_mpi.c - the parts of a set of features. They are cut by row number and dealt out by a
 * counter, so that ranks which are fast, or meet small images, take more; what a part holds does not depend
 * on who wrote it. See extract.h. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "clip/extract.h"

enum {
    BLOCK = 4096,     /* rows read, encoded and appended at a time */
    READ_AHEAD_AT = 4 /* the next block is read when 1 / READ_AHEAD_AT of this one is left */
};

/* Rows of one part, that are read and encoded together. */
typedef struct block {
    int part; /* -1: there is none */
    int64_t row0, n;
    npr_images_rows rows;
} block;

/* What a rank writes parts with. */
typedef struct bench {
    npr_extract *x;
    npr_counter *counter;
    int *todo, todos; /* parts that no earlier run finished */
    npr_images *reader;
    npr_encoder *encoder;
    npr_part_writer *part;
    block now, ahead;
    int ready;      /* `ahead` is read */
    uint16_t *half; /* [BLOCK][dim] */
    npr_rows out;
    npr_progress *progress;
    int64_t said; /* images of this block that progress knows of */
} bench;

/* ---- blocks, in the order in which this rank meets them ---- */

/* The rows after those of `after`: of its part, or of the next part the counter gives. */
static void find_next(bench *s, const block *after, block *b)
{
    if (after->part >= 0 && after->row0 + after->n < npr_extract_part_begin(s->x, after->part + 1)) {
        b->part = after->part;
        b->row0 = after->row0 + after->n;
    } else {
        int64_t i = npr_counter_next(s->counter);
        b->part = i < s->todos ? s->todo[i] : -1;
        b->row0 = b->part < 0 ? 0 : npr_extract_part_begin(s->x, b->part);
    }
    b->n = b->part < 0 ? 0 : npr_extract_part_begin(s->x, b->part + 1) - b->row0;
    if (b->n > BLOCK) b->n = BLOCK;
}

static npr_status read_ahead(bench *s)
{
    find_next(s, &s->now, &s->ahead);
    s->ready = 1;
    if (s->ahead.part < 0) return NPR_OK;
    NPR_TRY(npr_images_read(s->reader, s->ahead.row0, s->ahead.n, &s->ahead.rows));
    s->ahead.n = s->ahead.rows.rows.n;
    return NPR_OK;
}

/* Between two batches of images, on the thread that talks MPI. */
static npr_status between(void *context, int64_t done)
{
    bench *s = context;
    npr_counter_serve(s->counter);
    npr_progress_add(s->progress, done - s->said);
    s->said = done;
    if (npr_fault("extract.batch"))
        return npr_fail(NPR_EIO, "%s: injected fault at extract.batch", s->x->job->out);
    if (npr_stop_requested())
        return npr_fail(NPR_ESTOP, "stopped on request; finished parts are kept, run the same command again");
    if (!s->ready && s->now.n - done <= s->now.n / READ_AHEAD_AT) return read_ahead(s);
    return NPR_OK;
}

/* ---- one block into its part ---- */

static npr_status flush(bench *s)
{
    npr_status st = s->out.n ? npr_part_append(s->part, &s->out) : NPR_OK;
    npr_rows_clear(&s->out);
    return st;
}

/* Name, escaped: it may hold anything. */
static npr_status skip(bench *s, int64_t row, const npr_image_at *at, int64_t id)
{
    char *name = npr_file_escape(at->name);
    npr_status st = name ? npr_skipped_add(&s->x->skipped, at->skip, "%lld\t%lld\t%s", (long long)row,
                                           (long long)id, name)
                         : npr_last();
    free(name);
    return st;
}

static npr_status append(bench *s)
{
    const npr_rows *rows = &s->now.rows.rows;
    for (int64_t i = 0; i < s->now.n; i++) {
        const npr_image_at *at = &s->now.rows.at[i];
        if (at->skip) {
            NPR_TRY(skip(s, s->now.row0 + i, at, rows->id[i]));
            continue;
        }
        NPR_TRY(npr_rows_copy(&s->out, rows, i));
        memcpy(s->out.emb + (s->out.n - 1) * s->x->dim, s->half + i * s->x->dim,
               (size_t)s->x->dim * sizeof *s->half);
        if (s->out.n == NPR_CHUNK_ROWS) NPR_TRY(flush(s));
    }
    return flush(s);
}

static npr_status commit(bench *s)
{
    npr_part_entry entry;
    NPR_TRY(npr_skipped_keep(&s->x->skipped, npr_set_scratch(s->x->writer), s->now.part));
    npr_part_writer *w = s->part;
    s->part = NULL;
    NPR_TRY(npr_part_commit(w, &entry));
    return npr_set_commit_part(s->x->writer, s->now.part, &entry);
}

static npr_status do_block(bench *s)
{
    int part = s->now.part;
    s->said = 0;
    if (s->now.row0 == npr_extract_part_begin(s->x, part))
        NPR_TRY(npr_part_create(npr_set_folder(s->x->writer), part, s->x->columns, s->x->dim, &s->part));
    NPR_TRY(npr_encoder_run(s->encoder, &s->now.rows, s->half, between, s));
    npr_progress_add(s->progress, s->now.n - s->said);
    NPR_TRY(append(s));
    NPR_TRY(npr_extract_refuse(s->x, s->x->skipped.count, "at least ")); /* hopeless: stop now */
    return s->now.row0 + s->now.n == npr_extract_part_begin(s->x, part + 1) ? commit(s) : NPR_OK;
}

/* ---- all parts ---- */

static npr_status make_tools(bench *s)
{
    npr_extract_settings settings = npr_extract_settings_of(s->x);
    s->now.part = s->ahead.part = -1;
    NPR_TRY(npr_images_open(&s->x->images, &s->reader));
    NPR_TRY(npr_encoder_make(s->x->tower.clip, &settings, &s->encoder));
    NPR_TRY(npr_rows_make(&s->out, s->x->columns, s->x->dim, NPR_CHUNK_ROWS));
    s->half = npr_alloc_aligned((size_t)BLOCK * (size_t)s->x->dim, sizeof *s->half, "features");
    return s->half ? NPR_OK : npr_last();
}

static void free_tools(bench *s)
{
    npr_part_abandon(s->part);
    npr_images_close(s->reader);
    npr_encoder_free(s->encoder);
    npr_images_rows_free(&s->now.rows);
    npr_images_rows_free(&s->ahead.rows);
    npr_rows_free(&s->out);
    free(s->half);
}

static npr_status write_mine(bench *s)
{
    npr_status st = make_tools(s);
    if (!st) st = read_ahead(s);
    while (!st && s->ahead.part >= 0) {
        block swap = s->now;
        s->now = s->ahead;
        s->ahead = swap;
        s->ready = 0;
        st = do_block(s);
        if (!st && !s->ready) st = read_ahead(s);
    }
    free_tools(s);
    return st;
}

/* Which parts are left, and their rows. */
static npr_status find_todo(bench *s, int64_t *left)
{
    *left = 0;
    s->todo = npr_alloc((size_t)s->x->parts, sizeof *s->todo, "parts to be written");
    if (!s->todo) return npr_last();
    for (int part = 0; part < s->x->parts; part++) {
        if (npr_set_done(s->x->writer, part)) continue;
        s->todo[s->todos++] = part;
        *left += npr_extract_part_begin(s->x, part + 1) - npr_extract_part_begin(s->x, part);
    }
    return NPR_OK;
}

npr_status npr_extract_parts(npr_extract *x)
{
    bench bench_of = {.x = x}, *s = &bench_of;
    int64_t left;
    npr_status st = npr_agree(x->comm, find_todo(s, &left), "extract");
    if (!st) st = npr_counter_make(x->comm, &s->counter);
    if (st) {
        free(s->todo);
        return st;
    }
    if (left < s->x->images.rows)
        npr_info(s->x->log, "an earlier run wrote the parts of %lld of %lld images; going on",
                 (long long)(s->x->images.rows - left), (long long)s->x->images.rows);
    s->progress = npr_progress_start(s->x->comm, s->x->log, "extract", "images", left);
    st = write_mine(s);
    npr_progress_end(s->x->comm, s->progress);
    npr_counter_free(s->x->comm, s->counter);
    free(s->todo);
    return npr_agree(s->x->comm, st, "extract");
}
