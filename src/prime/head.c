/* head.c - heads: one vector per class, read from a set, and the blend of text and image heads. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/mem.h"
#include "npr/prime.h"

/* ---- reading ------------------------------------------------------------------------------------------- */

static npr_status head_make(npr_head *h, int classes, int dim)
{
    *h = (npr_head){.classes = classes, .dim = dim};
    h->w = npr_alloc_aligned((size_t)classes * (size_t)dim, sizeof *h->w, "a head");
    h->name = npr_alloc((size_t)classes, sizeof *h->name, "the class names");
    return h->w && h->name ? NPR_OK : NPR_EINTERNAL;
}

void npr_head_free(npr_head *h)
{
    for (int c = 0; h->name && c < h->classes; c++) free(h->name[c]);
    free(h->name);
    free(h->w);
    *h = (npr_head){0};
}

/* Row i of the set becomes its class's vector and name. */
static npr_status put_row(npr_head *h, const npr_rows *r, int64_t i, const char *path)
{
    int c = r->label[i];
    if (c < 0 || c >= h->classes)
        return npr_fail(NPR_EDATA, "%s: row %lld has label %d; a head of %d rows has the labels 0 to %d",
                        path, (long long)i, c, h->classes, h->classes - 1);
    if (h->name[c])
        return npr_fail(NPR_EDATA, "%s: row %lld is a second row of class %d; a head has one row per class",
                        path, (long long)i, c);
    float *w = h->w + (size_t)c * (size_t)h->dim;
    if (r->columns & NPR_COL(NPR_WEIGHT))
        memcpy(w, r->weight + i * h->dim, (size_t)h->dim * sizeof *w);
    else
        npr_half_to_float(r->emb + i * h->dim, w, (size_t)h->dim);
    for (int j = 0; j < h->dim; j++)
        if (!isfinite(w[j]))
            return npr_fail(NPR_EDATA, "%s: class %d has the value %g in column %d", path, c, (double)w[j],
                            j);
    size_t n = 0;
    const char *name = r->columns & NPR_COL(NPR_CAPTION) ? npr_text_at(&r->caption, i, &n) : "";
    h->name[c] = npr_alloc(n + 1, 1, "a class name");
    if (!h->name[c]) return NPR_EINTERNAL;
    memcpy(h->name[c], name, n);
    return NPR_OK;
}

npr_status npr_head_read(const npr_set *set, npr_head *h)
{
    *h = (npr_head){0};
    if (!(set->columns & NPR_COL(NPR_LABEL)))
        return npr_fail(NPR_EDATA, "%s: a head needs the column label, which says the class of each row",
                        set->path);
    if (set->rows < 1 || set->rows > NPR_PART_ROWS)
        return npr_fail(NPR_EDATA, "%s: has %lld rows; a head has 1 to %d classes", set->path,
                        (long long)set->rows, NPR_PART_ROWS);
    npr_rows rows = {0};
    uint32_t vector = set->columns & NPR_COL(NPR_WEIGHT) ? NPR_COL(NPR_WEIGHT) : NPR_COL(NPR_EMB);
    npr_status st =
        npr_set_read_all(set, vector | NPR_COL(NPR_LABEL) | (set->columns & NPR_COL(NPR_CAPTION)), &rows);
    if (!st) st = head_make(h, (int)set->rows, set->dim);
    for (int64_t i = 0; i < set->rows && !st; i++) st = put_row(h, &rows, i, set->path);
    npr_rows_free(&rows);
    if (st) npr_head_free(h);
    return st;
}

/* ---- blending ------------------------------------------------------------------------------------------ */

void npr_head_blend(const float *text, const float *image, const int64_t *count, int classes, int dim,
                    double alpha, float *w)
{
    for (int c = 0; c < classes; c++) {
        size_t at = (size_t)c * (size_t)dim;
        if (count && !count[c]) {
            memcpy(w + at, text + at, (size_t)dim * sizeof *w);
            continue;
        }
        for (size_t j = at; j < at + (size_t)dim; j++)
            w[j] = (float)(alpha * (double)text[j] + (1 - alpha) * (double)image[j]);
    }
}

/* ---- alpha --------------------------------------------------------------------------------------------- */

double npr_alpha_rule(int64_t pool, int classes, double sigma)
{
    double per_class = (double)pool / classes;
    return nearbyint(exp(-(per_class * per_class) / (sigma * sigma)) * 1e6) / 1e6;
}

npr_status npr_alpha_parse(const char *text, npr_alpha_from *from, double *alpha)
{
    *alpha = 0;
    static const char *const word[] = {
        [NPR_ALPHA_RULE] = "rule", [NPR_ALPHA_LOO] = "loo", [NPR_ALPHA_VALIDATION] = "val"};
    for (int i = NPR_ALPHA_RULE; i <= NPR_ALPHA_VALIDATION; i++) {
        *from = (npr_alpha_from)i;
        if (!strcmp(text, word[i])) return NPR_OK;
    }
    char *end;
    errno = 0;
    double a = strtod(text, &end);
    if (end == text || *end || errno || !(a >= 0 && a <= 1))
        return npr_fail(
            NPR_EUSAGE, "--alpha=%s: wanted a number from 0 to 1, \"rule\", \"loo\" or \"val\"%s", text,
            strcmp(text, "sweep")
                ? ""
                : "; a sweep looks at test labels and picks nothing: add --sweep to any of these");
    *from = NPR_ALPHA_GIVEN;
    *alpha = a;
    return NPR_OK;
}

npr_status npr_alpha_steps(double step, int *steps, int *decimals)
{
    double n = step > 0 ? nearbyint(1 / step) : 0;
    if (!(n >= 1 && n <= 1000) || fabs(step * n - 1) > 1e-9 || 1000 % (int)n != 0)
        return npr_fail(
            NPR_EUSAGE,
            "a grid step of %g: wanted 1/n for an n that divides 1000, such as 0.1, 0.05, 0.02 or 0.01",
            step);
    *steps = (int)n;
    *decimals = 100 % *steps == 0 ? 2 : 3;
    return NPR_OK;
}
