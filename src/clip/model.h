/* model.h - a model in memory: the weights of its towers, and the scratch memory of one thread. Local. */
#ifndef NPR_CLIP_MODEL_H
#define NPR_CLIP_MODEL_H

#include "base/matmul.h"
#include "clip/dnn.h"
#include "clip/safetensors.h"
#include "npr/clip.h"

/* What becomes of x w^T + bias. The hidden layer is activated; in bfloat16 it is kept as such, and is what
 * the layer behind it takes. */
typedef enum npr_layer_kind {
    NPR_LAYER_PLAIN,
    NPR_LAYER_ADD, /* it is added to what is there */
    NPR_LAYER_HIDDEN,
    NPR_LAYER_ADD_HIDDEN /* of a hidden layer, added */
} npr_layer_kind;

/* A layer, packed for npr's own products or for oneDNN; then w is not needed any more. */
typedef struct npr_linear {
    int in, out;
    npr_layer_kind kind;
    const float *w;    /* [out][in] */
    const float *bias; /* [out]; NULL: none */
    npr_matrix *packed;
    npr_dnn *dnn;
} npr_linear;

typedef struct npr_norm {
    const float *gain, *shift; /* [width] */
} npr_norm;

typedef struct npr_block {
    npr_norm norm1, norm2;
    npr_linear qkv, out; /* attention: queries, keys and values one below the other; then its output. Of the
 last block, qkv is keys and values: see npr_tower.query */
    npr_linear fc, proj; /* the hidden layer: into it, out of it */
} npr_block;

typedef struct npr_tower {
    int kind; /* NPR_TOWER_IMAGE or NPR_TOWER_TEXT */
    npr_transformer shape;
    int tokens;            /* of an image; of a text at most */
    npr_block *block;      /* [layers] */
    const float *position; /* [tokens][width] */
    npr_norm post;         /* ahead of the projection */
    npr_linear project;    /* w is [width][embed_dim] */
    npr_linear query;      /* queries of the last block */
    /* images only */
    npr_linear patch;         /* w is [width][3][patch][patch] */
    const float *class_token; /* [width] */
    npr_norm pre;
    /* texts only */
    const float *token; /* [vocab][width] */
} npr_tower;

/* For tests: oneDNN's products in fp32. They take the way of NPR_BF16, also where the CPU has no bfloat16. */
enum { NPR_DNN_FP32 = 100 };

struct npr_clip {
    npr_clip_config config;
    int towers;    /* mask of NPR_TOWER_* */
    int precision; /* an npr_precision, or NPR_DNN_FP32 */
    npr_tower image, text;
    npr_tensors file; /* what it was opened from; empty if made up */
    float **owned;    /* tensors that are not packed, or not yet */
    size_t owned_count, owned_cap;
    char *warning; /* NULL: none */
};

/* ---- layer.c ------------------------------------------------------------------------------------------- */

/* Rows of a micro-batch, unless one sequence is longer: enough to read the weights seldom, few enough for
 * their activations to stay in cache. And texts of a micro-batch. */
enum { NPR_ROWS_MOST = 1200, NPR_TEXTS_MOST = 160 };

/* Room of a micro-batch of a tower: rows, and sequences. Layers of oneDNN always compute as many. */
int npr_tower_rows(const npr_tower *t);
int npr_tower_sequences(const npr_tower *t);

/* Pack the layers of the towers in use; their tensors are not kept besides. */
npr_status npr_layers_pack(npr_clip *m);
void npr_layers_free(npr_clip *m);

/* Bytes of scratch memory that layers of up to so many rows need. */
size_t npr_layers_scratch(const npr_clip *m, int rows);

/* ---- weights.c ----------------------------------------------------------------------------------------- */

/* Give the towers of m->towers their tensors out of m->file, and check that the file holds every tensor of
 * the configuration in its shape, and no others, before any is read. */
npr_status npr_weights_bind(npr_clip *m);

/* Or made-up ones, spread as open_clip initialises them. */
npr_status npr_weights_make_up(npr_clip *m, uint64_t seed);

/* Free the tensor of a layer that was packed. */
void npr_weights_drop(npr_clip *m, npr_linear *l);
void npr_weights_free(npr_clip *m);

/* Whether, before they are packed, the matrices of the towers hold nothing but binary16 values although they
 * are stored as floats. */
int npr_weights_were_half(const npr_clip *m);

#endif
