/* ingest_rows.c - rows of arrays and their metadata, checked and brought into the form of a set. See
 * ingest.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/mem.h"
#include "io/ingest.h"
#include "io/rows.h"

enum { TEXT_MAX = 64 << 20 }; /* bytes of texts that end a batch early: rows may have texts of a megabyte */

struct npr_ingest_rows {
    const npr_ingest_job *job;
    const npr_ingest_plan *plan;
    int64_t at, end; /* rows of the whole input still to read */
    size_t file;     /* the open one; emb.count: none */
    npr_npy *npy;
    const char *name; /* the array's file name, as the source of its rows */
    npr_meta *meta, *labels;
    int64_t meta_at, label_at; /* the row of the whole input that they give next */
    npr_rows rows;
    uint16_t *half; /* [NPR_INGEST_BATCH][dim] as stored */
    float *value;   /* the same before rounding; only if rows are scaled, or kept as weights */
    char *tokens;
    size_t tokens_cap;
    npr_skipped rejected;
};

const npr_skipped npr_ingest_rejected = {
    .name = "rejected", .reason = npr_bad_reason, .reasons = NPR_BAD_REASONS};

/* ---- vectors ---- */

/* Read n rows of the open file from its row `row` on. */
static npr_status read_vectors(npr_ingest_rows *s, int64_t row, int64_t n)
{
    int dim = s->plan->dim;
    if (!s->value) return npr_npy_read_half(s->npy, row, n, s->half);
    NPR_TRY(npr_npy_read_float(s->npy, row, n, s->value));
    if (s->job->normalize)
        for (int64_t i = 0; i < n; i++) npr_unit_scale(s->value + i * dim, s->half + i * dim, dim);
    else
        npr_half_from_float(s->value, s->half, (size_t)n * (size_t)dim);
    return NPR_OK;
}

/* ---- metadata ---- */

/* Go to row `row` of a file of metadata. */
static npr_status seek_meta(npr_meta *m, const npr_ingest_meta *facts, int64_t row)
{
    int64_t mark = row / NPR_META_MARK;
    NPR_TRY(npr_meta_seek(m, facts->mark[mark], mark * NPR_META_MARK));
    return npr_meta_skip(m, row - mark * NPR_META_MARK);
}

/* What the metadata and the labels say of row `row` of the whole input, into the row being filled. */
static npr_status put_meta(npr_ingest_rows *s, int64_t row)
{
    static const npr_column fields[] = {NPR_SIMILARITY, NPR_NSFW, NPR_WIDTH, NPR_HEIGHT, NPR_LABEL};
    npr_rows *r = &s->rows;
    uint32_t all = r->columns;
    npr_status st = NPR_OK;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (all & NPR_COL(fields[i])) npr_rows_unknown(r, fields[i], r->n, 1);
    r->columns &= ~NPR_COL(NPR_ID); /* ids are row numbers here, whatever the metadata calls one */
    if (s->meta) st = npr_meta_next(s->meta, r);
    if (!st && s->labels) st = npr_meta_next(s->labels, r);
    r->columns = all;
    s->meta_at = s->label_at = row + 1;
    return !st && all & NPR_COL(NPR_TOKENS) ? npr_rows_put_tokens(r, &s->tokens, &s->tokens_cap) : st;
}

/* ---- rows ---- */

/* Row i of the block read, row `row` of the whole input, into the row being filled. */
static npr_status put_row(npr_ingest_rows *s, int64_t i, int64_t row, int64_t container)
{
    npr_rows *r = &s->rows;
    int dim = s->plan->dim;
    const uint16_t *half = s->half + i * dim;
    NPR_TRY(put_meta(s, row));
    int reason = npr_unit_judge(half, dim);
    if (reason != NPR_BAD_REASONS) {
        npr_rows_drop(r);
        return npr_skipped_add(&s->rejected, reason, "%lld", (long long)(s->job->id_base + row));
    }
    memcpy(r->emb + r->n * dim, half, (size_t)dim * sizeof *half);
    r->id[r->n] = s->job->id_base + row;
    if (s->job->head) r->label[r->n] = (int32_t)row;
    if (r->weight) memcpy(r->weight + r->n * dim, s->value + i * dim, (size_t)dim * sizeof *r->weight);
    int64_t in_file = row - s->plan->file[s->file].row0, *source = r->source + 3 * r->n;
    source[0] = container;
    source[1] = npr_npy_offset(s->npy, in_file);
    source[2] = npr_npy_offset(s->npy, in_file + 1) - source[1];
    return npr_rows_next(r);
}

npr_status npr_ingest_rows_make(const npr_ingest_job *job, const npr_ingest_plan *plan, npr_ingest_rows **out)
{
    npr_ingest_rows *s = npr_alloc(1, sizeof *s, "rows being read");
    if (!s) return npr_last();
    s->job = job;
    s->plan = plan;
    s->file = plan->emb.count;
    s->meta_at = s->label_at = -1;
    s->rejected = npr_ingest_rejected;
    size_t dim = (size_t)plan->dim, values = NPR_INGEST_BATCH * dim;
    npr_status st = npr_rows_make(&s->rows, plan->columns, plan->dim, NPR_INGEST_BATCH);
    if (!st && !(s->half = npr_alloc_aligned(values, sizeof *s->half, "rows being read"))) st = npr_last();
    if (!st && (job->normalize || job->head)) {
        s->value = npr_alloc_aligned(values, sizeof *s->value, "rows being read");
        if (!s->value) st = npr_last();
    }
    if (!st && job->labels) st = npr_meta_open(job->labels, "label", &s->labels);
    if (st)
        npr_ingest_rows_free(s);
    else
        *out = s;
    return st;
}

void npr_ingest_rows_free(npr_ingest_rows *s)
{
    if (!s) return;
    npr_npy_close(s->npy);
    npr_meta_close(s->meta);
    npr_meta_close(s->labels);
    npr_rows_free(&s->rows);
    free(s->half);
    free(s->value);
    free(s->tokens);
    free(s->rejected.text);
    free(s);
}

void npr_ingest_rows_begin(npr_ingest_rows *s, int64_t begin, int64_t end)
{
    s->at = begin;
    s->end = end;
    s->rejected.used = 0;
}

/* Open file f instead of the one that is open. */
static npr_status open_file(npr_ingest_rows *s, size_t f)
{
    const npr_ingest_plan *plan = s->plan;
    const char *path = plan->emb.path[f], *slash = strrchr(path, '/');
    npr_npy_close(s->npy);
    npr_meta_close(s->meta);
    s->npy = NULL;
    s->meta = NULL;
    s->file = plan->emb.count;
    NPR_TRY(npr_npy_open(path, &s->npy));
    if (npr_npy_rows(s->npy) != plan->file[f].rows || npr_npy_dim(s->npy) != plan->dim)
        return npr_fail(NPR_EDATA, "%s: changed while it was being read", path);
    if (plan->meta.count) NPR_TRY(npr_meta_open(plan->meta.path[f], s->job->columns, &s->meta));
    s->name = slash ? slash + 1 : path;
    s->file = f;
    s->meta_at = -1;
    return NPR_OK;
}

/* Make row s->at the next one of vectors, metadata and labels. */
static npr_status go_to_row(npr_ingest_rows *s)
{
    const npr_ingest_plan *plan = s->plan;
    size_t f = 0, end = plan->emb.count;
    while (end - f > 1) { /* the last file that begins at or before the row, among [f, end) */
        size_t middle = f + (end - f) / 2;
        if (plan->file[middle].row0 <= s->at)
            f = middle;
        else
            end = middle;
    }
    const npr_ingest_file *in = &plan->file[f];
    if (f != s->file) NPR_TRY(open_file(s, f));
    if (s->meta && s->meta_at != s->at) NPR_TRY(seek_meta(s->meta, &in->meta, s->at - in->row0));
    if (s->labels && s->label_at != s->at)
        NPR_TRY(seek_meta(s->labels, &plan->file[plan->emb.count].meta, s->at));
    return NPR_OK;
}

static size_t text_bytes(const npr_rows *r)
{
    size_t n = 0;
    for (int c = 0; c < NPR_COLUMNS; c++)
        if (r->columns & NPR_COL(c) && npr_column_is_text(c))
            n += (size_t)npr_column_text(r, (npr_column)c)->offset[r->n];
    return n;
}

npr_status npr_ingest_rows_next(npr_ingest_rows *s, const npr_rows **r, int64_t *read)
{
    npr_rows_clear(&s->rows);
    *r = &s->rows;
    for (*read = 0; s->at < s->end && *read < NPR_INGEST_BATCH && text_bytes(&s->rows) < TEXT_MAX;) {
        NPR_TRY(go_to_row(s));
        const npr_ingest_file *in = &s->plan->file[s->file];
        int64_t n = in->row0 + in->rows - s->at, room = NPR_INGEST_BATCH - *read, container;
        if (n > s->end - s->at) n = s->end - s->at;
        if (n > room) n = room;
        NPR_TRY(npr_rows_container(&s->rows, s->name, &container));
        NPR_TRY(read_vectors(s, s->at - in->row0, n));
        int64_t i = 0;
        while (i < n && text_bytes(&s->rows) < TEXT_MAX) {
            NPR_TRY(put_row(s, i, s->at + i, container));
            i++;
        }
        s->at += i;
        *read += i;
    }
    return NPR_OK;
}

npr_skipped *npr_ingest_rows_rejected(npr_ingest_rows *s)
{
    return &s->rejected;
}
