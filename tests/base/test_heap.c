/* A heap that was made longer is not made anew, and is given back when that is asked for. */
#include "test.h"

#include <sys/resource.h>

#include "base/heap.h"

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
int main(void)
{
    npr_heap_ahead(48 << 20);
    (void)faults_of_pieces();
    long again = faults_of_pieces();
    if (getenv("NPR_SANITIZED")) return TEST_END();
    CHECK(heap_is_advised());
    CHECK(again < 100); /* of 9,766 */
    npr_heap_back();
    CHECK(faults_of_pieces() > again + 10); /* in pages of 2 MiB, or of 4 KiB */
    return TEST_END();
}
