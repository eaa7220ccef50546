/* unit.c - see unit.h. */
#include "io/unit.h"

#include <math.h>
#include <string.h>

#include "base/half.h"
#include "npr/set.h"

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

void npr_unit_scale(float *x, uint16_t *half, int dim)
{
    enum { BLOCK = 256 };
    float odd[BLOCK];
    double norm = sqrt(sum_squares(x, dim));
    if (!(norm > 0) || !isfinite(norm)) {
        npr_half_from_float(x, half, (size_t)dim);
        return;
    }
    for (int at = 0; at < dim; at += BLOCK) {
        int n = dim - at < BLOCK ? dim - at : BLOCK;
        for (int j = 0; j < n; j++) {
            double y = (double)x[at + j] / norm;
            odd[j] = round_to_odd(y);
            x[at + j] = (float)y;
        }
        npr_half_from_float(odd, half + at, (size_t)n);
    }
}

int npr_unit_judge(const uint16_t *row, int dim)
{
    npr_row_facts facts = npr_half_row_facts(row, dim);
    if (!facts.finite) return NPR_BAD_NON_FINITE;
    if (facts.norm <= 0) return NPR_BAD_ZERO;
    return fabs(facts.norm - 1) <= NPR_UNIT_TOLERANCE ? NPR_BAD_REASONS : NPR_BAD_NORM;
}

const char *npr_bad_reason(int reason)
{
    static const char *const names[NPR_BAD_REASONS] = {"non_finite", "zero", "not_unit"};
    return names[reason];
}
