/* mem.h - memory whose absence is reported in words. Local. */
#ifndef NPR_BASE_MEM_H
#define NPR_BASE_MEM_H

#include <stddef.h>

#include "npr/status.h"

/* n objects of `size` bytes, zeroed; NULL with a recorded failure ("out of memory: 12.0 GiB for the query
 * lists") if there is no memory or n * size overflows. n == 0 gives a valid pointer. Release with free(). */
void *npr_alloc(size_t n, size_t size, const char *what);

/* The same, aligned to 64 bytes (2 MiB and huge pages advised when large) and not zeroed. Release with
 * free(). */
void *npr_alloc_aligned(size_t n, size_t size, const char *what);

/* Make *p (n_old objects in use) hold at least n_new objects; *cap is its capacity in objects. Grows by half.
 */
npr_status npr_grow(void *p, size_t *cap, size_t n_new, size_t size, const char *what);

/* A copy of a string, NULL with a recorded failure if there is no memory. */
char *npr_strdup(const char *s);

#endif
