/* share.h - what rank 0 has found, on all ranks. Collective. */
#ifndef NPR_IO_SHARE_H
#define NPR_IO_SHARE_H

#include "base/file.h"
#include "npr/comm.h"

/* Rank 0's list on all ranks: a parallel file system need not show all of them the same at once. */
npr_status npr_share_paths(const npr_comm *comm, npr_paths *paths);

#endif
