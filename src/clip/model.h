/* model.h - a model in memory: the weights of its towers, and the scratch memory of one thread. Local. */
#ifndef NPR_CLIP_MODEL_H
#define NPR_CLIP_MODEL_H

#include "base/matmul.h"
#include "clip/safetensors.h"
#include "npr/clip.h"

/* y = x w^T + bias, of float rows. */
typedef struct npr_linear {
    int in, out;
    const float *w;    /* [out][in], until it is packed: then NULL */
    const float *bias; /* [out]; NULL: none */
    npr_matrix *packed;
} npr_linear;

typedef struct npr_norm {
    const float *gain, *shift; /* [width] */
} npr_norm;

typedef struct npr_block {
    npr_norm norm1, norm2;
    npr_linear qkv, out; /* attention: queries, keys and values one below the other; then its output. In the
                            last block, packed holds keys and values only: see npr_tower.query */
    npr_linear fc, proj; /* the hidden layer: into it, out of it */
} npr_block;

typedef struct npr_tower {
    npr_transformer shape;
    int tokens;            /* of an image; of a text at most */
    npr_block *block;      /* [layers] */
    const float *position; /* [tokens][width] */
    npr_norm post;         /* ahead of the projection */
    npr_linear project;    /* w is [width][embed_dim] */
    npr_matrix *query;     /* queries of the last block */
    /* images only */
    npr_linear patch;         /* w is [width][3][patch][patch] */
    const float *class_token; /* [width] */
    npr_norm pre;
    /* texts only */
    const float *token; /* [vocab][width] */
} npr_tower;

struct npr_clip {
    npr_clip_config config;
    int towers; /* mask of NPR_TOWER_* */
    npr_precision precision;
    npr_tower image, text;
    npr_tensors file; /* what it was opened from; empty if made up */
    float **owned;    /* tensors that do not lie in the file as they are needed */
    size_t owned_count, owned_cap;
    char *warning; /* NULL: none */
};

/* ---- weights.c ----------------------------------------------------------------------------------------- */

/* Give the towers of m->towers their tensors out of m->file, and check that the file holds every tensor of
 * the configuration in its shape, and no others. */
npr_status npr_weights_bind(npr_clip *m);

/* Or made-up ones, spread as open_clip initialises them. */
npr_status npr_weights_make_up(npr_clip *m, uint64_t seed);

/* Pack the matrices; they are not kept besides. */
npr_status npr_weights_pack(npr_clip *m);
void npr_weights_free(npr_clip *m);

/* Whether, before they are packed, the matrices of the towers hold nothing but binary16 values although they
 * are stored as floats. */
int npr_weights_were_half(const npr_clip *m);

#endif
