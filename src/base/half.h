/* half.h - IEEE binary16 rows as they lie in a set: conversion, validity, norms, rounding residuals. Local.
 * All results are the same on every CPU: F16C only replaces the portable conversion, which it equals bit for
 * bit. */
#ifndef NPR_BASE_HALF_H
#define NPR_BASE_HALF_H

#include <stddef.h>
#include <stdint.h>

int npr_half_in_hardware(void); /* 1 if this CPU has F16C */

/* n values of binary16 to binary32 (exact). */
void npr_half_to_float(const uint16_t *h, float *f, size_t n);

/* n values of binary32 to binary16, round to nearest even; overflow gives infinity. */
void npr_half_from_float(const float *f, uint16_t *h, size_t n);

/* One value each; for anything hot use the row functions. */
float npr_half_value(uint16_t h);
uint16_t npr_half_round(float f);

typedef struct npr_row_facts {
    double norm;     /* Euclidean norm, double arithmetic in a fixed order; NaN if a value is not finite */
    double residual; /* ||x - bf16(x)||: how far rounding to bfloat16 moves the row (the screening margin) */
    int finite;      /* 1 if every value is finite */
} npr_row_facts;

/* Facts of one row of d values. */
npr_row_facts npr_half_row_facts(const uint16_t *row, int d);

#endif
