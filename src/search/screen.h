/* screen.h - approximate inner products, to find the few rows that are worth an exact score. Local. */
#ifndef NPR_SEARCH_SCREEN_H
#define NPR_SEARCH_SCREEN_H

enum {
    NPR_SCREEN_ROWS = 128,
    NPR_SCREEN_FEW = 16
}; /* rows at a time; up to so many queries go without GEMM */

/* out[n][nq] = x[n][d] query[nq][d]^T in float arithmetic, in no particular order of summation: the error is
 * at most npr_gemm_error(d, |x|, |q|). n <= NPR_SCREEN_ROWS. */
void npr_screen(const float *x, int n, const float *query, int nq, int d, float *out);

/* norm2[n]: the rows' squared norms, relative error below 2 d 2^-24; not finite if a value of the row is not.
 */
void npr_screen_norms(const float *x, int n, int d, float *norm2);

#endif
