/* ingest_rows.c - rows of arrays and their metadata, checked and brought into the form of a set. See
 * ingest.h. */
#include <math.h>
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
    float *odd;     /* [dim] */
    char *tokens;
    size_t tokens_cap;
    char *rejected;
    size_t rejected_used, rejected_cap;
    int64_t bad[NPR_BAD_REASONS];
};

const char *npr_bad_reason(int reason)
{
    static const char *const names[NPR_BAD_REASONS] = {"non_finite", "zero", "not_unit"};
    return names[reason];
}

/* ---- vectors ---- */

/* Binary64 to binary32 so that rounding on to binary16 gives the nearest binary16: cut off, and the last bit
 * set if something was lost (round to odd). Values below 2^-126 are zero in binary16 either way. */
static float round_to_odd(double x)
{
    uint64_t u;
    memcpy(&u, &x, sizeof u);
    uint32_t sign = (uint32_t)(u >> 32) & 0x80000000u, exponent = (uint32_t)(u >> 52) & 0x7ff;
    if (exponent <= 1023 - 127) return 0;
    uint32_t bits =
        sign | (exponent - (1023 - 127)) << 23 | (uint32_t)(u >> 29 & 0x7fffff) | !!(u & 0x1fffffff);
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* Sum of squares in double: eight lanes in order of index, the same on every machine. */
static double sum_squares(const float *x, int dim)
{
    double lane[8] = {0};
    for (int j = 0; j < dim; j++) lane[j % 8] += (double)x[j] * (double)x[j];
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

/* Scale a row to unit norm: x to the nearest float, half to the nearest binary16 of the exact quotients. A
 * row that cannot be scaled becomes what it is in binary16, and is found bad. */
static void scale_row(npr_ingest_rows *s, float *x, uint16_t *half, int dim)
{
    double norm = sqrt(sum_squares(x, dim));
    if (!(norm > 0) || !isfinite(norm)) {
        npr_half_from_float(x, half, (size_t)dim);
        return;
    }
    for (int j = 0; j < dim; j++) {
        double y = (double)x[j] / norm;
        s->odd[j] = round_to_odd(y);
        x[j] = (float)y;
    }
    npr_half_from_float(s->odd, half, (size_t)dim);
}

/* Read n rows of the open file from its row `row` on. */
static npr_status read_vectors(npr_ingest_rows *s, int64_t row, int64_t n)
{
    int dim = s->plan->dim;
    if (!s->value) return npr_npy_read_half(s->npy, row, n, s->half);
    NPR_TRY(npr_npy_read_float(s->npy, row, n, s->value));
    if (s->job->normalize)
        for (int64_t i = 0; i < n; i++) scale_row(s, s->value + i * dim, s->half + i * dim, dim);
    else
        npr_half_from_float(s->value, s->half, (size_t)n * (size_t)dim);
    return NPR_OK;
}

/* Why the row is left out, or NPR_BAD_REASONS. */
static int judge(const uint16_t *row, int dim)
{
    npr_row_facts facts = npr_half_row_facts(row, dim);
    if (!facts.finite) return NPR_BAD_NON_FINITE;
    if (facts.norm <= 0) return NPR_BAD_ZERO;
    return fabs(facts.norm - 1) <= NPR_UNIT_TOLERANCE ? NPR_BAD_REASONS : NPR_BAD_NORM;
}

static npr_status reject(npr_ingest_rows *s, int64_t id, int reason)
{
    enum { LINE = 64 };
    s->bad[reason]++;
    NPR_TRY(npr_grow(&s->rejected, &s->rejected_cap, s->rejected_used + LINE, 1, "rejected rows"));
    s->rejected_used += (size_t)snprintf(s->rejected + s->rejected_used, LINE, "%lld\t%s\n", (long long)id,
                                         npr_bad_reason(reason));
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

/* The caption just put to the row being filled, as tokens. */
static npr_status put_tokens(npr_ingest_rows *s)
{
    npr_rows *r = &s->rows;
    size_t n;
    const char *caption = npr_text_at(&r->caption, r->n, &n);
    NPR_TRY(npr_grow(&s->tokens, &s->tokens_cap, npr_tokens_room(n), 1, "tokens of a caption"));
    return npr_rows_put_text(r, NPR_TOKENS, s->tokens, npr_tokens_make(caption, n, s->tokens));
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
    return !st && all & NPR_COL(NPR_TOKENS) ? put_tokens(s) : st;
}

/* ---- rows ---- */

/* Row i of the block read, row `row` of the whole input, into the row being filled. */
static npr_status put_row(npr_ingest_rows *s, int64_t i, int64_t row, int64_t container)
{
    npr_rows *r = &s->rows;
    int dim = s->plan->dim;
    const uint16_t *half = s->half + i * dim;
    NPR_TRY(put_meta(s, row));
    int reason = judge(half, dim);
    if (reason != NPR_BAD_REASONS) {
        npr_rows_drop(r);
        return reject(s, s->job->id_base + row, reason);
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
    size_t dim = (size_t)plan->dim, values = NPR_INGEST_BATCH * dim;
    npr_status st = npr_rows_make(&s->rows, plan->columns, plan->dim, NPR_INGEST_BATCH);
    if (!st && !(s->half = npr_alloc_aligned(values, sizeof *s->half, "rows being read"))) st = npr_last();
    if (!st && (job->normalize || job->head)) {
        s->value = npr_alloc_aligned(values, sizeof *s->value, "rows being read");
        s->odd = npr_alloc_aligned(dim, sizeof *s->odd, "a row being read");
        if (!s->value || !s->odd) st = npr_last();
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
    free(s->odd);
    free(s->tokens);
    free(s->rejected);
    free(s);
}

void npr_ingest_rows_begin(npr_ingest_rows *s, int64_t begin, int64_t end)
{
    s->at = begin;
    s->end = end;
    s->rejected_used = 0;
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

const char *npr_ingest_rows_rejected(const npr_ingest_rows *s, size_t *n)
{
    *n = s->rejected_used;
    return s->rejected;
}

const int64_t *npr_ingest_rows_bad(const npr_ingest_rows *s)
{
    return s->bad;
}
