/* mean.c - class sums of binary16 rows, exact in double, and the unit means they give. See
 * include/npr/prime.h.
 *
 * Why exact: a binary16 value with |x| <= 1 is m 2^-24 with |m| <= 2^24, so the sum of up to 2^29 of them is
 * a multiple of 2^-24 of at most 2^29, which fits the 53 bits of a double. No addition ever rounds, hence any
 * order gives the same bits: sorted or not, by whatever instructions, threads, ranks or reduction tree. */
#include "npr/prime.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/mem.h"
#include "prime/mean.h"

enum {
    HALF_ONE = 0x3c00,  /* 1.0 as binary16; larger magnitudes, infinities and NaN lie above */
    MOST_ROWS = 1 << 29 /* weight of a class: the proof's limit */
};

npr_status npr_means_make(int classes, int dim, npr_means *m)
{
    assert(classes > 0 && dim > 0);
    *m = (npr_means){.classes = classes, .dim = dim};
    /* a line more: rows of 2^n values do not all start in the same cache sets */
    m->stride = (dim + 15) / 16 * 16 + 16;
    size_t k = (size_t)classes, parts = k * (size_t)m->stride, sums = (k * (size_t)dim + 7) / 8 * 8,
           bytes = sums * sizeof *m->sum + parts * (sizeof *m->part + sizeof *m->high);
    m->sum = npr_alloc_aligned(bytes, 1, "the class sums"); /* one block: large enough for huge pages */
    m->count = npr_alloc(k, sizeof *m->count, "the class counts");
    m->weight = npr_alloc(k, sizeof *m->weight, "the class counts");
    m->held = npr_alloc(k, sizeof *m->held, "the class counts");
    m->carried = npr_alloc(k, sizeof *m->carried, "the class counts");
    if (!m->sum || !m->count || !m->weight || !m->held || !m->carried) {
        npr_means_free(m);
        return NPR_EINTERNAL;
    }
    memset(m->sum, 0, bytes);
    m->part = (int32_t *)(void *)(m->sum + sums);
    m->high = (int16_t *)(void *)(m->part + parts);
    return NPR_OK;
}

void npr_means_free(npr_means *m)
{
    free(m->sum);
    free(m->count);
    free(m->weight);
    free(m->held);
    free(m->carried);
    m->sum = NULL;
    m->part = NULL;
    m->high = NULL;
    m->held = m->carried = NULL;
    m->count = m->weight = NULL;
}

/* A value outside [-1, 1] was met: say where. */
static npr_status refuse_value(const uint16_t *emb, const int32_t *label, int dim, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        for (int j = 0; j < dim && label[i] >= 0; j++)
            if ((emb[i * dim + j] & 0x7fff) > HALF_ONE)
                return npr_fail(NPR_EDATA,
                                "row %lld has the value %g in column %d; unit vectors lie within [-1, 1]",
                                (long long)i, (double)npr_half_value(emb[i * dim + j]), j);
    return npr_fail(NPR_EINTERNAL, "the rows changed while they were summed");
}

static npr_status check_labels(const npr_means *m, const int32_t *label, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (label[i] >= m->classes)
            return npr_fail(NPR_EDATA, "row %lld has label %d; the head has classes 0 to %d", (long long)i,
                            label[i], m->classes - 1);
    return NPR_OK;
}

npr_status npr_means_check(const npr_means *m)
{
    for (int c = 0; c < m->classes; c++)
        if (m->weight[c] > MOST_ROWS)
            return npr_fail(NPR_EDATA, "class %d has %lld rows; sums are exact up to %d rows of a class", c,
                            (long long)m->weight[c], MOST_ROWS);
    return NPR_OK;
}

static npr_status check_counts(const int32_t *label, const int32_t *count, int64_t n)
{
    for (int64_t i = 0; count && i < n; i++)
        if (label[i] >= 0 && count[i] < 1)
            return npr_fail(NPR_EDATA, "row %lld has the count %d; a row was recalled at least once",
                            (long long)i, count[i]);
    return NPR_OK;
}

npr_status npr_means_add(npr_means *m, const uint16_t *emb, const int32_t *label, int64_t n)
{
    return npr_means_add_counted(m, emb, label, NULL, n);
}

npr_status npr_means_add_counted(npr_means *m, const uint16_t *emb, const int32_t *label,
                                 const int32_t *count, int64_t n)
{
    const char *name;
    unsigned most;
    NPR_TRY(check_labels(m, label, n));
    NPR_TRY(check_counts(label, count, n));
    NPR_TRY(npr_sum_kernel_at(0, &name)(m, emb, label, count, n, &most));
    for (int64_t i = 0; i < n; i++)
        if (label[i] >= 0) {
            m->count[label[i]]++;
            m->weight[label[i]] += count ? count[i] : 1;
        }
    return most > HALF_ONE ? refuse_value(emb, label, m->dim, n) : npr_means_check(m);
}

void npr_means_unit(const npr_means *m, float *out)
{
    for (int c = 0; c < m->classes; c++) {
        const double *s = m->sum + (size_t)c * (size_t)m->dim;
        float *o = out + (size_t)c * (size_t)m->dim;
        double squares = 0;
        assert(!m->held[c]);
        for (int j = 0; j < m->dim; j++) squares += s[j] * s[j];
        double norm = sqrt(squares);
        for (int j = 0; j < m->dim; j++) o[j] = norm > 0 ? (float)(s[j] / norm) : 0;
    }
}
