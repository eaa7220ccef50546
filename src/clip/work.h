/* work.h - scratch memory of one thread, and the parts of a forward pass that work on it. Local.
 *
 * A call's sequences (images or texts) lie one behind the other as rows of x, ragged. Products treat every
 * row on its own (see base/matmul.h) and attention every sequence, so the bits of a sequence's features
 * depend on it alone. */
#ifndef NPR_CLIP_WORK_H
#define NPR_CLIP_WORK_H

#include "clip/model.h"

/* For tests: sees the rows [rows][width] behind the embedding (block -1) and behind each block; of the last
 * block only the row of each sequence that is pooled. */
typedef void (*npr_trace)(void *context, int block, const float *x, int rows, int width);

struct npr_clip_work {
    const npr_clip *m;
    int rows, sequences; /* room */
    int images;          /* of a micro-batch */
    float *x;            /* [rows][width] the residual stream */
    float *y;       /* [rows][width or embed_dim] input and output of attention, input of the hidden layer */
    float *wide;    /* [rows][3 width, hidden layer or values of a patch, whichever is most] */
    void *scratch;  /* of products */
    uint16_t *half; /* [rows][width or values of a patch] input of a product in bfloat16 */
    float *score;   /* attention: queries x keys of a tile */
    float *scale;   /* [queries of a tile] */
    float *pooled, *pooled_y, *pooled_q; /* [sequences][width or embed_dim] */
    int *first, *length, *pool;          /* [sequences] first row, rows, row that is pooled */
    npr_trace trace;
    void *context;
};

/* Sequences in w->x, as w->first, length and pool say. */
typedef struct npr_batch {
    int n;      /* sequences */
    int rows;   /* in use */
    int causal; /* a row sees no row behind it */
} npr_batch;

/* A layer of rows x [rows][in] to y [rows][out]. Rows of y beyond may be written too, as far as there is
 * room. */
npr_status npr_layer_run(npr_clip_work *w, const npr_linear *l, int rows, const float *x, float *y);

/* Run all blocks; the pooled rows come out in w->pooled [n][width]. */
npr_status npr_blocks_run(const npr_tower *t, npr_clip_work *w, const npr_batch *b);

/* Normalise and project the pooled rows: features [n][embed_dim]. */
npr_status npr_project(const npr_tower *t, npr_clip_work *w, int n, float *features);

/* ---- attention.c --------------------------------------------------------------------------------------- */

/* softmax(scale q k^T) v of one head: queries [nq], keys and values [nk] of `width` values, each with a
 * stride in floats between its rows. first >= 0: query i sees the keys 0 .. first + i only. */
typedef struct npr_attention {
    int nq, nk, width, first;
    const float *q, *k, *v;
    float *out;
    int q_stride, kv_stride, out_stride;
} npr_attention;

/* Queries of a tile, so that their scores stay in the second cache. */
int npr_attention_tile(int nk);

/* score [tile][nk], scale [tile]: scratch memory. */
void npr_attention_run(const npr_attention *a, float *score, float *scale);

#endif
