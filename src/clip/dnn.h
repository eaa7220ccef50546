/* dnn.h - products through oneDNN, where the build found it: bfloat16 with AVX512-BF16 or AMX. dnn.c is the
 * only user of dnnl.h. On the calling thread. Local. */
#ifndef NPR_CLIP_DNN_H
#define NPR_CLIP_DNN_H

#include <stddef.h>

#include "npr/status.h"

typedef enum npr_dnn_type { NPR_DNN_F32, NPR_DNN_BF16 } npr_dnn_type;
typedef enum npr_dnn_activation { NPR_DNN_NONE, NPR_DNN_GELU, NPR_DNN_QUICK_GELU } npr_dnn_activation;

int npr_dnn_built(void);           /* 1: this build has oneDNN */
const char *npr_dnn_version(void); /* its name and version, for --version */
int npr_dnn_has_bf16(void); /* 1: and it computes in bfloat16 on this CPU as fast as the hardware can */

/* y = activation(x w^T + bias), or y += x w^T + bias, of a fixed number of rows. */
typedef struct npr_dnn_layer {
    int rows, in, out;
    int transposed; /* w is [out][in], or [in][out] if transposed */
    const float *w;
    const float *bias;         /* [out]; NULL: none */
    npr_dnn_type type, result; /* of x and the packed w; of y */
    int add;
    npr_dnn_activation activation;
} npr_dnn_layer;

typedef struct npr_dnn npr_dnn; /* a packed layer; shared by threads */

/* w and bias are copied. */
npr_status npr_dnn_make(const npr_dnn_layer *layer, npr_dnn **out);
void npr_dnn_free(npr_dnn *d); /* NULL is fine */

/* Bytes of scratch memory a run needs, aligned to 64. */
size_t npr_dnn_scratch(const npr_dnn *d);

/* x [rows][in], y [rows][out], all rows of both. */
npr_status npr_dnn_run(const npr_dnn *d, const void *x, void *y, void *scratch);

#endif
