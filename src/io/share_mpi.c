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

/* ---- facts --------------------------------------------------------------------------------------------- */

/* The list of an item: any pointer to data has the form of a char *. */
static char *list_of(const npr_share_items *s, const char *item, size_t *bytes)
{
    int64_t n;
    char *list;
    memcpy(&n, item + s->length, sizeof n);
    memcpy(&list, item + s->list, sizeof list);
    *bytes = (size_t)n * s->entry;
    return list;
}

static char *item_at(const npr_share_items *s, size_t i)
{
    return (char *)s->item + i * s->bytes;
}

/* What this rank has learned of its items, as bytes: each item, then its list. */
static npr_status pack(const npr_comm *comm, const npr_share_items *s, char **bytes, size_t *n)
{
    size_t cap = 0, list;
    for (size_t i = (size_t)comm->rank; i < s->count; i += (size_t)comm->size) {
        const char *item = item_at(s, i), *entries = list_of(s, item, &list);
        NPR_TRY(npr_grow(bytes, &cap, *n + s->bytes + list, 1, s->what));
        memcpy(*bytes + *n, item, s->bytes);
        if (list) memcpy(*bytes + *n + s->bytes, entries, list);
        *n += s->bytes + list;
    }
    return NPR_OK;
}

/* All other ranks' items; *at moves on. A list that cannot be allocated is NULL. */
static npr_status unpack(const npr_share_items *s, size_t i, const char **at)
{
    size_t bytes;
    list_of(s, *at, &bytes);
    char *list = npr_alloc(bytes, 1, s->what);
    memcpy(item_at(s, i), *at, s->bytes);
    memcpy(item_at(s, i) + s->list, &list, sizeof list);
    if (!list) return npr_last();
    if (bytes) memcpy(list, *at + s->bytes, bytes);
    *at += s->bytes + bytes;
    return NPR_OK;
}

static npr_status unpack_all(const npr_comm *comm, const npr_share_items *s, const char *all,
                             const int64_t *offset)
{
    for (int rank = 0; rank < comm->size; rank++) {
        const char *at = all + offset[rank];
        for (size_t i = (size_t)rank; i < s->count && rank != comm->rank; i += (size_t)comm->size)
            NPR_TRY(unpack(s, i, &at));
    }
    return NPR_OK;
}

npr_status npr_share_facts(const npr_comm *comm, const npr_share_items *items)
{
    char *mine = NULL, *all = NULL;
    size_t n = 0;
    int64_t *offset = NULL;
    npr_status st = npr_agree(comm, pack(comm, items, &mine, &n), items->what);
    if (!st) st = npr_gather_bytes(comm, mine, n, -1, &all, &offset);
    if (!st) st = npr_agree(comm, unpack_all(comm, items, all, offset), items->what);
    free(mine);
    free(all);
    free(offset);
    return st;
}
