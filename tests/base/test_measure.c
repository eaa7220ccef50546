/* test_measure.c - measurements are numbers one can divide by. */
#include "base/measure.h"

#include "base/mem.h"
#include "test.h"

int main(void)
{
    size_t n = 1 << 20;
    char *bytes = npr_alloc(n, 1, "bytes");
    CHECK(npr_measure_read(bytes, n, 1) > 1e6);
    CHECK(npr_measure_read(bytes, n, 2) > 1e6);
    CHECK(npr_measure_gemm(64, 1) > 1e6);
    double odd[] = {3, 1, 2}, even[] = {4, 1, 3, 2};
    CHECK(npr_measure_median(odd, 3) == 2);
    CHECK(npr_measure_median(even, 4) == 2.5);
    CHECK(npr_measure_memory() > (1 << 20));
    free(bytes);
    return TEST_END();
}
