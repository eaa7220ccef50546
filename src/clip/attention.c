/* attention.c - attention of one head over one sequence, a tile of queries at a time. See work.h. */
#include <math.h>

#include "base/linalg.h"
#include "clip/kernel.h"
#include "clip/work.h"

enum { TILE_VALUES = 1 << 16, TILE_LEAST = 16 }; /* 256 KiB of scores */

int npr_attention_tile(int nk)
{
    int tile = TILE_VALUES / nk;
    return tile < TILE_LEAST ? TILE_LEAST : tile < nk ? tile : nk;
}

/* Scores, softmax without its division, weighted sum of the values; the division is done on that, which is
 * narrower than the scores. */
static void run_tile(const npr_attention *a, int q0, int n, float *score, float *scale)
{
    int first = a->first < 0 ? -1 : a->first + q0;
    int nk = first < 0 || first + n > a->nk ? a->nk : first + n; /* keys that the last query sees */
    float *out = a->out + (size_t)q0 * (size_t)a->out_stride;
    npr_gemm_run(&(npr_gemm){.m = n,
                             .n = nk,
                             .d = a->width,
                             .transposed = 1,
                             .alpha = 1 / sqrtf((float)a->width),
                             .a = a->q + (size_t)q0 * (size_t)a->q_stride,
                             .lda = a->q_stride,
                             .b = a->k,
                             .ldb = a->kv_stride,
                             .c = score,
                             .ldc = nk});
    npr_kernel_softmax(n, nk, nk, first, score, scale);
    npr_gemm_run(&(npr_gemm){.m = n,
                             .n = a->width,
                             .d = nk,
                             .alpha = 1,
                             .a = score,
                             .lda = nk,
                             .b = a->v,
                             .ldb = a->kv_stride,
                             .c = out,
                             .ldc = a->out_stride});
    npr_kernel_scale(n, a->width, a->out_stride, scale, out);
}

void npr_attention_run(const npr_attention *a, float *score, float *scale)
{
    int tile = npr_attention_tile(a->nk);
    for (int q0 = 0; q0 < a->nq; q0 += tile)
        run_tile(a, q0, a->nq - q0 < tile ? a->nq - q0 : tile, score, scale);
}
