/* share.h - what rank 0 has found, or each rank of its share, on all ranks. Collective. */
#ifndef NPR_IO_SHARE_H
#define NPR_IO_SHARE_H

#include "base/file.h"
#include "npr/comm.h"

/* Rank 0's list on all ranks: a parallel file system need not show all of them the same at once. */
npr_status npr_share_paths(const npr_comm *comm, npr_paths *paths);

/* Items that were dealt to ranks in turn (item i to rank i % size) and that each rank has learned something
 * of: plain data, and a list of its own. */
typedef struct npr_share_items {
    void *item; /* [count] of `bytes` each, at first only this rank's filled in */
    size_t count, bytes;
    size_t list, length,
        entry; /* in an item: where the pointer to its list stands, where the int64_t number of entries; bytes
                  of an entry. Lists of other ranks' items are allocated: free() */
    const char *what; /* for messages: "inputs" */
} npr_share_items;

/* What each rank knows of its items, on all ranks. */
npr_status npr_share_facts(const npr_comm *comm, const npr_share_items *items);

#endif
