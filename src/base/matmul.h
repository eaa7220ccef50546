/* matmul.h - products with a matrix that is packed once and used often: y = x w^T + bias. Each value of y is
 * one chain of fused multiply-adds from its start (the bias, or bias + y) along the row of x, in order. So
 * its bits depend on that row, that row of w and the start alone: not on how many rows a call has, nor on
 * where among them a row stands, nor on the CPU. (OpenBLAS computes rows of a tile in different orders, and
 * knows no packing ahead.) On the calling thread. Local. */
#ifndef NPR_BASE_MATMUL_H
#define NPR_BASE_MATMUL_H

#include <stddef.h>

#include "npr/status.h"

typedef struct npr_matrix npr_matrix; /* packed; shared by threads */

/* w is [out][in], or [in][out] if transposed. */
npr_status npr_matrix_pack(int out, int in, int transposed, const float *w, npr_matrix **packed);
void npr_matrix_free(npr_matrix *m); /* NULL is fine */

typedef struct npr_product {
    const npr_matrix *w;
    const float *bias; /* [out]; NULL: zeros */
    int rows;
    const float *x;                       /* [rows][in] */
    float *y;                             /* [rows][out], not x */
    int add;                              /* 1: to what is in y */
    void (*activate)(size_t n, float *x); /* applied to the finished values of y, in pieces; NULL: nothing */
    float *scratch;                       /* npr_product_scratch(rows) floats, aligned to 64 bytes */
} npr_product;

size_t npr_product_scratch(int rows);
void npr_product_run(const npr_product *p);

/* For tests: how products are computed from now on. All give the same bits. 0: the fastest here; 1, 2, ...:
 * the others. Returns its name, or NULL if there is none or this CPU cannot run it. Matrices packed before
 * are void. */
const char *npr_matmul_use(int kernel);

#endif
