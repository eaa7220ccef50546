/* share_mpi.c - see share.h. */
#include "io/share.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

npr_status npr_share_paths(const npr_comm *comm, npr_paths *paths)
{
    char *text = NULL;
    size_t cap = 0, n = 0;
    npr_status st = NPR_OK;
    for (size_t i = 0; i < paths->count && comm->rank == 0 && !st; i++) {
        size_t m = strlen(paths->path[i]) + 1;
        st = npr_grow(&text, &cap, n + m, 1, "a list of files");
        if (!st) memcpy(text + n, paths->path[i], m);
        n += m;
    }
    st = npr_agree(comm, st, "inputs");
    if (!st) {
        npr_bcast(comm, &n, sizeof n, 0);
        if (comm->rank) st = npr_grow(&text, &cap, n, 1, "a list of files");
        st = npr_agree(comm, st, "inputs");
    }
    if (!st) npr_bcast(comm, text, n, 0);
    for (size_t at = 0; at < n && comm->rank && !st; at += strlen(text + at) + 1)
        st = npr_paths_add(paths, text + at);
    free(text);
    return npr_agree(comm, st, "inputs");
}
