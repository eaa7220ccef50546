/* safetensors.h - tensors of a .safetensors file, read as they are asked for. The format
 * (github.com/huggingface/ safetensors): 8 bytes, the length of a header, little-endian; the header, JSON:
 * name -> {"dtype", "shape", "data_offsets": [begin, end) in what follows}, and "__metadata__", texts; then
 * the tensors, row-major, without holes. Read strictly: whatever breaks a rule is refused in one sentence,
 * before memory is taken for it. Local. */
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
    int64_t values; /* product of the shape; 1 if the rank is 0 */
    size_t at;      /* of its first byte in the file */
    size_t bytes;
} npr_tensor;

typedef struct npr_tensors {
    char *path; /* for messages */
    npr_tensor *tensor;
    size_t count;               /* sorted by name */
    char *metadata;             /* "__metadata__" as JSON; NULL if there is none */
    size_t size;                /* of the file */
    const unsigned char *bytes; /* the file in memory, or NULL */
    int fd;                     /* open, if bytes is NULL and path is not; else -1, or 0 where all is zero */
} npr_tensors;

/* Open a file and read its header. It stays open and is not mapped: a disk that fails, or a file that becomes
 * shorter, would end the process without a sentence. Release with npr_tensors_close(), also after a failure.
 */
npr_status npr_tensors_open(const char *path, npr_tensors *t);

/* The same of bytes in memory, which must outlive *t. */
npr_status npr_tensors_parse(const char *path, const void *bytes, size_t size, npr_tensors *t);

void npr_tensors_close(npr_tensors *t);

/* NULL if there is none of this name. */
const npr_tensor *npr_tensors_find(const npr_tensors *t, const char *name);

/* "[768, 3, 32, 32]" in text [n]. Returns text. */
const char *npr_tensor_shape_text(int rank, const int64_t *shape, char *text, size_t n);

/* Its values as floats (exact) in *values, to be released with free(); NULL on failure. Other types than F32,
 * F16 and BF16 are refused. */
npr_status npr_tensor_floats(const npr_tensors *t, const npr_tensor *x, float **values);

/* n bytes of the file from byte `at` on. */
npr_status npr_tensors_read(const npr_tensors *t, size_t at, void *to, size_t n);

/* XXH3-128 of the whole file, which npr_tensors_open() has opened. */
npr_status npr_tensors_digest(const npr_tensors *t, char hex[33]);

#endif
