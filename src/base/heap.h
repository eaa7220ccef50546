/* heap.h - where malloc() takes memory, for libraries that call nothing else. Local. */
#ifndef NPR_BASE_HEAP_H
#define NPR_BASE_HEAP_H

#include <stddef.h>

/* What the main thread takes from malloc() from now on, in pieces of any size and also inside of libraries,
 * comes out of huge pages until it takes more than `bytes` at a time; and what it gives back stays with the
 * process. Pages of 4 KiB, each touched for the first time after it was given back, and looked up anew for
 * every few hundred codes, are up to a quarter of a search through FAISS. At most 2 GiB are asked for ahead,
 * whatever `bytes` is. Does nothing where there is no glibc. */
void npr_heap_ahead(size_t bytes);

/* Give what is free of it back to the system, where something large comes next. */
void npr_heap_back(void);

#endif
