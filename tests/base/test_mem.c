/* Memory: overflow and absence are failures in words, growth keeps contents. */
#include "test.h"

#include "base/mem.h"

int main(void)
{
    CHECK(npr_alloc(SIZE_MAX / 4, 8, "a test") == NULL);
    CHECK_INT(npr_last(), NPR_EINTERNAL);
    CHECK(strstr(npr_status_text(), "out of memory") && strstr(npr_status_text(), "a test"));
    CHECK(npr_alloc_aligned(SIZE_MAX / 4, 8, "a test") == NULL);
    CHECK(npr_alloc_aligned(1, SIZE_MAX - 100, "a test") == NULL);

    void *none = npr_alloc(0, 8, "nothing");
    CHECK(none != NULL);
    free(none);
    char *small = npr_alloc_aligned(3, 1, "x"), *large = npr_alloc_aligned(9 << 20, 1, "y");
    CHECK((uintptr_t)small % 64 == 0 && (uintptr_t)large % (2 << 20) == 0);
    memset(large, 1, 9 << 20);
    free(small);
    free(large);

    int *v = NULL;
    size_t cap = 0;
    for (int i = 0; i < 10000; i++) {
        CHECK_OK(npr_grow(&v, &cap, (size_t)i + 1, sizeof *v, "numbers"));
        v[i] = i;
    }
    int wrong = 0;
    for (int i = 0; i < 10000; i++) wrong += v[i] != i;
    CHECK_INT(wrong, 0);
    CHECK_FAILS(npr_grow(&v, &cap, SIZE_MAX / 2, sizeof *v, "numbers"), NPR_EINTERNAL, "numbers");
    CHECK_INT(v[9999], 9999);
    free(v);
    return TEST_END();
}
