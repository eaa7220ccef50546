/* mem.c - see mem.h. */
#include "base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { CACHE_LINE = 64, HUGE_PAGE = 2 << 20 };

static void *no_memory(size_t n, size_t size, const char *what)
{
    npr_fail(NPR_EINTERNAL, "out of memory: %.1f MiB for %s", (double)n * (double)size / (1 << 20), what);
    return NULL;
}

void *npr_alloc(size_t n, size_t size, const char *what)
{
    if (npr_fault("alloc")) return no_memory(n, size, what);
    void *p = calloc(n ? n : 1, size ? size : 1);
    return p ? p : no_memory(n, size, what);
}

void *npr_alloc_aligned(size_t n, size_t size, const char *what)
{
    size_t bytes, align = CACHE_LINE;
    if (npr_fault("alloc") || __builtin_mul_overflow(n, size, &bytes) || bytes > SIZE_MAX - HUGE_PAGE)
        return no_memory(n, size, what);
    if (bytes >= 2u * HUGE_PAGE) align = HUGE_PAGE;
    bytes = (bytes + align) / align * align;
    void *p = aligned_alloc(align, bytes);
    if (!p) return no_memory(n, size, what);
#ifdef MADV_HUGEPAGE
    if (align == HUGE_PAGE) (void)madvise(p, bytes, MADV_HUGEPAGE); /* advice only: failing changes nothing */
#endif
    return p;
}

npr_status npr_grow(void *p, size_t *cap, size_t n_new, size_t size, const char *what)
{
    if (n_new <= *cap) return NPR_OK;
    size_t want = *cap + *cap / 2 + 16, bytes;
    if (want < n_new) want = n_new;
    void *old, *grown;
    memcpy(&old, p, sizeof old);
    if (npr_fault("alloc") || __builtin_mul_overflow(want, size, &bytes) || !(grown = realloc(old, bytes))) {
        no_memory(want, size, what);
        return NPR_EINTERNAL;
    }
    memcpy(p, &grown, sizeof grown);
    *cap = want;
    return NPR_OK;
}

char *npr_strdup(const char *s)
{
    size_t n = strlen(s) + 1;
    char *p = npr_alloc(n, 1, "a name");
    if (p) memcpy(p, s, n);
    return p;
}
