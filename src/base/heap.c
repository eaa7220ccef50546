/* heap.c - see heap.h. */
#include "base/heap.h"

#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

enum {
    SMALL_PAGE = 4 << 10, /* advice on a page that is not one is refused, and changes nothing */
    PIECE = 16 << 20,     /* by which the heap is made longer */
    PIECES = 128,
    MAPPED = 2 * PIECE /* what is larger is no part of the heap; the most that any glibc takes */
};

#if defined(__GLIBC__) && defined(MADV_HUGEPAGE)
static size_t ahead; /* bytes for which that was done */
#endif

/* The heap grows at its end. Pieces of it are taken, advised and given back: then they are its free end.
 * Advice only: failing changes nothing. */
void npr_heap_ahead(size_t bytes)
{
#if defined(__GLIBC__) && defined(MADV_HUGEPAGE)
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
        (void)madvise(first, (size_t)(end - first) / SMALL_PAGE * SMALL_PAGE, MADV_HUGEPAGE);
    }
    while (n) free(piece[--n]);
#else
    (void)bytes;
#endif
}

void npr_heap_back(void)
{
#if defined(__GLIBC__) && defined(MADV_HUGEPAGE)
    ahead = 0;
    (void)malloc_trim(0);
#endif
}
