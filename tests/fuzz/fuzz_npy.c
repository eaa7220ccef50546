/* fuzz_npy.c - bytes as a .npy array: its header, and all of its rows. */
#include <stdint.h>
#include <stdlib.h>

#include "fuzz/memory_file.h"
#include "npr/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    npr_npy *f;
    if (npr_npy_open(memory_file(bytes, n), &f)) return 0;
    int64_t rows = npr_npy_rows(f), dim = npr_npy_dim(f);
    if (rows < 0 || dim < 1 || npr_npy_offset(f, rows) > (int64_t)n)
        abort(); /* what was taken is all there */
    float *row = malloc((size_t)dim * sizeof *row);
    uint16_t *half = malloc((size_t)dim * sizeof *half);
    for (int64_t i = 0; i < rows && i < 64 && row && half; i++)
        if (npr_npy_read_float(f, i, 1, row) || npr_npy_read_half(f, i, 1, half)) abort();
    free(row);
    free(half);
    npr_npy_close(f);
    return 0;
}
