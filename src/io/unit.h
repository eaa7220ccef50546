/* unit.h - vectors to unit norm and binary16, and whether a row is fit for a set. Local. */
#ifndef NPR_IO_UNIT_H
#define NPR_IO_UNIT_H

#include <stdint.h>

/* Scale x [dim] to unit norm: x to the nearest float, half to the nearest binary16 of the exact quotients,
 * the same on every machine. A row that cannot be scaled becomes what it is in binary16, and is found bad. */
void npr_unit_scale(float *x, uint16_t *half, int dim);

/* Why a row is left out of a set, or NPR_BAD_REASONS: it is good. */
enum { NPR_BAD_NON_FINITE, NPR_BAD_ZERO, NPR_BAD_NORM, NPR_BAD_REASONS };
int npr_unit_judge(const uint16_t *row, int dim);
const char *npr_bad_reason(int reason); /* "non_finite", "zero", "not_unit" */

#endif
