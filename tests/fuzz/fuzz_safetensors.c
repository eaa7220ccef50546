/* fuzz_safetensors.c - bytes as a .safetensors file: its header, and the values of every tensor. */
#include <stdint.h>
#include <stdlib.h>

#include "clip/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    npr_tensors t;
    npr_status st = npr_tensors_parse("input", bytes, n, &t);
    volatile float sum = 0;
    for (size_t i = 0; !st && i < t.count; i++) {
        float *values;
        if (npr_tensors_find(&t, t.tensor[i].name) != &t.tensor[i]) abort();
        if (npr_tensor_floats(&t, &t.tensor[i], &values)) continue;
        for (int64_t j = 0; j < t.tensor[i].values; j++) sum += values[j];
        free(values);
    }
    npr_tensors_close(&t);
    return 0;
}
