/* safetensors.h - tensors of a .safetensors file, mapped into memory. The format (github.com/huggingface/
 * safetensors): 8 bytes, the length of a header, little-endian; the header, JSON: name -> {"dtype", "shape",
 * "data_offsets": [begin, end) in what follows}, and "__metadata__", texts; then the tensors, row-major,
 * without holes. Read strictly: whatever breaks a rule is refused in one sentence, before memory is taken for
 * it. Local. */
#ifndef NPR_CLIP_SAFETENSORS_H
#define NPR_CLIP_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "npr/status.h"

enum { NPR_TENSOR_RANK = 8, NPR_TENSORS_MAX = 65536, NPR_TENSORS_HEADER_MAX = 100000000 };

typedef struct npr_tensor {
    char *name;
    char dtype[8]; /* "F32", "F16", "BF16", ... */
    int rank;
    int64_t shape[NPR_TENSOR_RANK];
    int64_t values;            /* product of the shape; 1 if the rank is 0 */
    const unsigned char *data; /* of any alignment */
    size_t bytes;
} npr_tensor;

typedef struct npr_tensors {
    char *path; /* for messages */
    npr_tensor *tensor;
    size_t count;               /* sorted by name */
    char *metadata;             /* "__metadata__" as JSON; NULL if there is none */
    const unsigned char *bytes; /* the file */
    size_t size;
    int mapped; /* 1: bytes are a mapping of our own */
} npr_tensors;

/* Map a file. Release with npr_tensors_close(), also after a failure. */
npr_status npr_tensors_open(const char *path, npr_tensors *t);

/* The same of bytes in memory, which must outlive *t. */
npr_status npr_tensors_parse(const char *path, const void *bytes, size_t size, npr_tensors *t);

void npr_tensors_close(npr_tensors *t);

/* NULL if there is none of this name. */
const npr_tensor *npr_tensors_find(const npr_tensors *t, const char *name);

/* "[768, 3, 32, 32]" in text [n]. Returns text. */
const char *npr_tensor_shape_text(int rank, const int64_t *shape, char *text, size_t n);

/* Its values as floats (exact): F32 where it lies if it is aligned, else a copy in *owned (release with
 * free()), which is NULL otherwise. Other types than F32, F16 and BF16 are refused. */
npr_status npr_tensor_floats(const npr_tensors *t, const npr_tensor *x, const float **values, float **owned);

#endif
