/* ingest_rows.c - rows of arrays and their metadata, checked and brought into the form of a set. See
 * ingest.h. */
#include "io/ingest.h"

#include <libgen.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/mem.h"
#include "io/rows.h"

struct npr_ingest_rows {
    const npr_ingest_job *job;
    const npr_ingest_plan *plan;
    int64_t at, end; /* rows of the whole input still to read: [at, end) */
    size_t file;     /* the open file, plan->emb.count: none */
    npr_npy *npy;
    npr_meta *meta;
    int64_t container;
    char *name; /* base name of the array */
    npr_rows rows;
    float *value;   /* [NPR_INGEST_BATCH][dim] the batch as floats, where it must be scaled or kept */
    uint16_t *half; /* [NPR_INGEST_BATCH][dim] */
    char *tokens;
    size_t tokens_cap;
    char *rejected;
    size_t rejected_used, rejected_cap;
};

const char *npr_bad_reason(int reason)
{
    static const char *const names[NPR_BAD_REASONS] = {"non_finite", "zero", "not_unit"};
    return names[reason];
}

static void close_file(npr_ingest_rows *s)
{
    if (s->npy) npr_npy_close(s->npy);
    if (s->meta) npr_meta_close(s->meta);
    free(s->name);
    s->npy = NULL;
    s->meta = NULL;
    s->name = NULL;
}

/* Open the metadata of file f so that its next row is row `row` of the file. */
static npr_status open_meta(npr_ingest_rows *s, size_t f, int64_t row)
{
    const char *path = s->plan->meta.path[f];
    NPR_TRY(npr_meta_open(path, s->job->columns, &s->meta));
    int64_t mark = row / NPR_META_MARK;
    const npr_ingest_file *in = &s->plan->file[f];
    if (mark >= in->marks) return NPR_OK; /* an empty file */
    NPR_TRY(npr_meta_seek(s->meta, in->mark[mark], mark * NPR_META_MARK));
    return npr_meta_skip(s->meta, row - mark * NPR_META_MARK);
}

/* Make the file that holds row s->at the open one. */
static npr_status open_file(npr_ingest_rows *s)
{
    const npr_ingest_plan *plan = s->plan;
    size_t f = s->file < plan->emb.count ? s->file : 0;
    while (s->at >= plan->file[f].row0 + plan->file[f].rows) f++;
    if (f == s->file) return NPR_OK;
    close_file(s);
    s->file = f;
    NPR_TRY(npr_npy_open(plan->emb.path[f], &s->npy));
    if (npr_npy_rows(s->npy) != plan->file[f].rows || npr_npy_dim(s->npy) != plan->dim)
        return npr_fail(NPR_EDATA, "%s: changed while it was being read", plan->emb.path[f]);
    char *copy = npr_strdup(plan->emb.path[f]);
    if (!copy) return npr_last();
    s->name = npr_strdup(basename(copy));
    free(copy);
    if (!s->name) return npr_last();
    return plan->meta.count ? open_meta(s, f, s->at - plan->file[f].row0) : NPR_OK;
}

/* Read n rows of the open file from file row `row`: as halves always, as floats where they are needed. */
static npr_status read_values(npr_ingest_rows *s, int64_t row, int64_t n)
{
    int dim = s->plan->dim;
    if (!s->value) return npr_npy_read_half(s->npy, row, n, s->half);
    NPR_TRY(npr_npy_read_float(s->npy, row, n, s->value));
    for (int64_t i = 0; i < n && s->job->normalize; i++) {
        float *x = s->value + i * dim;
        double squares = 0;
        for (int j = 0; j < dim; j++) squares += (double)x[j] * (double)x[j];
        /* a row that cannot be scaled stays as it is and is rejected below */
        for (int j = 0; j < dim && squares > 0 && isfinite(squares); j++)
            x[j] = (float)((double)x[j] / sqrt(squares));
    }
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
    NPR_TRY(npr_grow(&s->rejected, &s->rejected_cap, s->rejected_used + LINE, 1, "rejected rows"));
    s->rejected_used += (size_t)snprintf(s->rejected + s->rejected_used, LINE, "%lld\t%s\n", (long long)id,
                                         npr_bad_reason(reason));
    return NPR_OK;
}

/* The caption just put to the row being filled, as tokens. */
static npr_status put_tokens(npr_ingest_rows *s)
{
    npr_rows *r = &s->rows;
    const int64_t *offset = r->caption.offset + r->n;
    size_t n = (size_t)(offset[1] - offset[0]);
    NPR_TRY(npr_grow(&s->tokens, &s->tokens_cap, npr_tokens_room(n), 1, "tokens of a caption"));
    return npr_rows_put_text(r, NPR_TOKENS, s->tokens,
                             npr_tokens_make(r->caption.bytes + offset[0], n, s->tokens));
}

static npr_status put_meta(npr_ingest_rows *s)
{
    npr_rows *r = &s->rows;
    static const npr_column plain[] = {NPR_SIMILARITY, NPR_NSFW, NPR_WIDTH, NPR_HEIGHT, NPR_LABEL};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (r->columns & NPR_COL(plain[i])) npr_rows_unknown(r, plain[i], r->n, 1);
    if (s->meta) NPR_TRY(npr_meta_next(s->meta, r));
    return r->columns & NPR_COL(NPR_TOKENS) ? put_tokens(s) : NPR_OK;
}

/* Row i of the batch read, row `row` of the whole input, into the row being filled. */
static npr_status put_row(npr_ingest_rows *s, int64_t i, int64_t row)
{
    npr_rows *r = &s->rows;
    int dim = s->plan->dim;
    int64_t in_file = row - s->plan->file[s->file].row0, begin = npr_npy_offset(s->npy, in_file);
    NPR_TRY(put_meta(s));
    int reason = judge(s->half + i * dim, dim);
    if (reason != NPR_BAD_REASONS) {
        npr_rows_drop(r);
        return reject(s, s->job->id_base + row, reason);
    }
    memcpy(r->emb + r->n * dim, s->half + i * dim, (size_t)dim * sizeof *r->emb);
    r->id[r->n] = s->job->id_base + row;
    if (s->job->head) r->label[r->n] = (int32_t)row;
    if (s->plan->label) r->label[r->n] = s->plan->label[row];
    if (r->weight) memcpy(r->weight + r->n * dim, s->value + i * dim, (size_t)dim * sizeof *r->weight);
    int64_t *source = r->source + 3 * r->n;
    source[0] = s->container;
    source[1] = begin;
    source[2] = npr_npy_offset(s->npy, in_file + 1) - begin;
    return npr_rows_next(r);
}

npr_status npr_ingest_rows_open(const npr_ingest_job *job, const npr_ingest_plan *plan, int64_t begin,
                                int64_t end, npr_ingest_rows **out)
{
    npr_ingest_rows *s = npr_alloc(1, sizeof *s, "rows being read");
    if (!s) return npr_last();
    s->job = job;
    s->plan = plan;
    s->at = begin;
    s->end = end;
    s->file = plan->emb.count;
    size_t values = (size_t)NPR_INGEST_BATCH * (size_t)plan->dim;
    npr_status st = npr_rows_make(&s->rows, plan->columns, plan->dim, NPR_INGEST_BATCH);
    if (!st && !(s->half = npr_alloc_aligned(values, sizeof *s->half, "rows being read"))) st = npr_last();
    if (!st && (job->normalize || job->head) &&
        !(s->value = npr_alloc_aligned(values, sizeof *s->value, "rows being read")))
        st = npr_last();
    if (st) {
        npr_ingest_rows_close(s);
        return st;
    }
    *out = s;
    return NPR_OK;
}

npr_status npr_ingest_rows_next(npr_ingest_rows *s, const npr_rows **r, int64_t *read)
{
    npr_rows_clear(&s->rows);
    *r = &s->rows;
    *read = 0;
    while (s->at < s->end && *read < NPR_INGEST_BATCH) {
        NPR_TRY(open_file(s));
        NPR_TRY(npr_rows_container(&s->rows, s->name, &s->container));
        const npr_ingest_file *in = &s->plan->file[s->file];
        int64_t n = in->row0 + in->rows - s->at, room = NPR_INGEST_BATCH - *read;
        if (n > s->end - s->at) n = s->end - s->at;
        if (n > room) n = room;
        NPR_TRY(read_values(s, s->at - in->row0, n));
        for (int64_t i = 0; i < n; i++) NPR_TRY(put_row(s, i, s->at + i));
        s->at += n;
        *read += n;
    }
    return NPR_OK;
}

const char *npr_ingest_rows_rejected(const npr_ingest_rows *s, size_t *n)
{
    *n = s->rejected_used;
    return s->rejected;
}

void npr_ingest_rows_close(npr_ingest_rows *s)
{
    if (!s) return;
    close_file(s);
    npr_rows_free(&s->rows);
    free(s->value);
    free(s->half);
    free(s->tokens);
    free(s->rejected);
    free(s);
}
