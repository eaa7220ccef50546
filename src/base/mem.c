/* mem.c - see mem.h. */
#include "base/mem.h"

#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    CACHE_LINE = 64,
    HUGE_PAGE = 2 << 20,
    SMALL_PAGE = 4 << 10, /* advice on a page that is not one is refused, and changes nothing */
    PIECE = 16 << 20,     /* by which the heap is made longer */
    PIECES = 128,
    MAPPED = 2 * PIECE /* what is larger is no part of the heap; the most that any glibc takes */
};

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

/* Advice only: failing changes nothing. */
static void advise_huge(void *p, size_t bytes)
{
#ifdef MADV_HUGEPAGE
    (void)madvise(p, bytes, MADV_HUGEPAGE);
#endif
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
    if (align == HUGE_PAGE) advise_huge(p, bytes);
    return p;
}

/* The heap grows at its end. Pieces of it are taken, advised and given back: then they are its free end. */
void npr_heap_ahead(size_t bytes)
{
#if defined(__GLIBC__) && defined(MADV_HUGEPAGE)
    static size_t ahead;
    void *piece[PIECES];
    int n = 0;
    if (bytes <= ahead) return;
    ahead = bytes;
    (void)mallopt(M_MMAP_THRESHOLD, MAPPED);
    (void)mallopt(M_TRIM_THRESHOLD, -1); /* what is freed stays */
    for (size_t have = 0; have < bytes && n < PIECES; have += PIECE) {
        if (!(piece[n] = malloc(PIECE))) break;
        char *first = (char *)((uintptr_t)piece[n] & ~(uintptr_t)(SMALL_PAGE - 1));
        char *end = (char *)piece[n++] + PIECE;
        advise_huge(first, (size_t)(end - first) / SMALL_PAGE * SMALL_PAGE);
    }
    while (n) free(piece[--n]);
#else
    (void)bytes;
#endif
}

void npr_heap_back(void)
{
#ifdef __GLIBC__
    (void)malloc_trim(0);
#endif
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
