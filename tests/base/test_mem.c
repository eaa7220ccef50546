/* Memory: overflow and absence are failures in words, growth keeps contents; a
 * heap that was made longer is not made anew. */
#include "test.h"

#include <sys/resource.h>

#include "base/mem.h"

/* Pages that were touched for the first time, while many small pieces are taken, written and given back. */
static long faults_of_pieces(void)
{
    enum { PIECES = 400, BYTES = 100000 };
    static char *piece[PIECES];
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    for (int i = 0; i < PIECES; i++) memset(piece[i] = malloc(BYTES), i, BYTES);
    for (int i = 0; i < PIECES; i++) free(piece[i]);
    getrusage(RUSAGE_SELF, &after);
    return after.ru_minflt - before.ru_minflt;
}

/* Does the kernel know that the heap wants huge pages? 1, too, where it has none. */
static int heap_is_advised(void)
{
    char line[512];
    int heap = 0, advised = 0;
    FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "r");
    if (!f) return 1;
    fclose(f);
    if (!(f = fopen("/proc/self/smaps", "r"))) return 1;
    while (fgets(line, sizeof line, f)) {
        if (strchr("0123456789abcdef", line[0])) heap = strstr(line, "[heap]") != NULL;
        advised |= heap && !strncmp(line, "VmFlags:", 8) && strstr(line, " hg");
    }
    fclose(f);
    return advised;
}

/* Sanitizers have an allocator of their own, which keeps to itself. */
static void test_heap(void)
{
    npr_heap_ahead(48 << 20);
    (void)faults_of_pieces();
    long again = faults_of_pieces();
    if (getenv("NPR_SANITIZED")) return;
    CHECK(heap_is_advised());
    CHECK(again < 100); /* of 9,766 */
    npr_heap_back();
    CHECK(faults_of_pieces() > again + 10); /* in pages of 2 MiB, or of 4 KiB */
}

int main(void)
{
    test_heap();
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
