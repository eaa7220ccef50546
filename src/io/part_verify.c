/* part_verify.c - checking one part wholly. See include/npr/set.h. */
#include <math.h>
#include <stdlib.h>

#include "base/half.h"
#include "io/part.h"

enum { BATCH = 4 * NPR_CHUNK_ROWS };

static void look_at_vectors(const npr_rows *r, npr_part_report *report)
{
    for (int64_t i = 0; i < r->n; i++) {
        npr_row_facts f = npr_half_row_facts(r->emb + i * r->dim, r->dim);
        if (!f.finite) {
            report->non_finite++;
            continue;
        }
        if (fabs(f.norm - 1) > NPR_UNIT_TOLERANCE) report->non_unit++;
        report->norm_min = fmin(report->norm_min, f.norm);
        report->norm_max = fmax(report->norm_max, f.norm);
        report->residual = fmax(report->residual, f.residual);
    }
}

static void look_at_rows(const npr_rows *r, npr_part_report *report)
{
    for (int64_t i = 0; i < r->n; i++) {
        if (r->id[i] < report->id_min) report->id_min = r->id[i];
        if (r->id[i] > report->id_max) report->id_max = r->id[i];
        if (r->columns & NPR_COL(NPR_LABEL)) report->labelled += r->label[i] >= 0;
        if (r->columns & NPR_COL(NPR_CAPTION))
            report->captioned += r->caption.offset[i + 1] > r->caption.offset[i];
    }
    look_at_vectors(r, report);
    report->rows += r->n;
}

static npr_status look_at_part(npr_part *p, const npr_set *set, npr_part_report *report)
{
    npr_rows r;
    NPR_TRY(npr_rows_make(&r, set->columns, set->dim, BATCH));
    npr_status st = NPR_OK;
    int64_t rows = npr_part_rows(p);
    for (int64_t row = 0; row < rows && !st; row += BATCH) {
        st = npr_part_read(p, row, rows - row < BATCH ? rows - row : BATCH, &r);
        if (!st) look_at_rows(&r, report);
    }
    npr_rows_free(&r);
    return st;
}

static npr_status check_index(npr_part *p)
{
    char *blob;
    size_t n;
    NPR_TRY(npr_part_read_index(p, &blob, &n));
    free(blob);
    return NPR_OK;
}

npr_status npr_part_verify(const npr_set *set, int part, npr_part_report *report)
{
    *report = (npr_part_report){
        .norm_min = INFINITY, .norm_max = -INFINITY, .id_min = INT64_MAX, .id_max = INT64_MIN};
    const npr_part_entry *e = &set->part[part];
    npr_part *p = NULL;
    npr_status st = npr_part_check_digest(set, part); /* first: HDF5 is not to meet a damaged file */
    if (!st) st = npr_part_open(set, part, &p);
    if (!st) st = look_at_part(p, set, report);
    if (!st && e->index_digest[0]) st = check_index(p);
    /* a search trusts the residual: it must be an upper bound, and not a careless one */
    if (!st && (report->residual > e->residual || report->residual < e->residual * (1 - 1e-9)))
        st = npr_fail(NPR_EDATA, "%s/%s: rounding residual %.17g, the manifest says %.17g", set->path,
                      e->file, report->residual, e->residual);
    npr_part_close(p);
    return st;
}
