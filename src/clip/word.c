/* word.c - a word cut into symbols of a vocabulary. See npr_word_split() in vocabulary.h.
 *
 * A heap holds the places where a merge is possible, by (merge, place). All places of one merge are served
 * before new possibilities count, as in the reference: a merge that makes a symbol which an earlier one made
 * too could else let an even earlier one of its neighbours go first. */
#include <limits.h>
#include <stdlib.h>

#include "base/mem.h"
#include "clip/vocabulary.h"

enum { NONE = -1 };

void npr_word_work_free(npr_word_work *w)
{
    free(w->symbol);
    free(w->next);
    free(w->before);
    free(w->rank);
    free(w->heap);
    free(w->dirty);
    *w = (npr_word_work){0};
}

static npr_status make_room(npr_word_work *w, size_t n)
{
    if (n > INT_MAX / 4) return npr_fail(NPR_EDATA, "a word of %zu bytes is too long", n);
    NPR_TRY(npr_grow(&w->symbol, &w->symbol_cap, n, sizeof *w->symbol, "a word"));
    NPR_TRY(npr_grow(&w->next, &w->next_cap, n, sizeof *w->next, "a word"));
    NPR_TRY(npr_grow(&w->before, &w->before_cap, n, sizeof *w->before, "a word"));
    NPR_TRY(npr_grow(&w->rank, &w->rank_cap, n, sizeof *w->rank, "a word"));
    /* A merge removes one symbol and makes two new pairs at most. */
    NPR_TRY(npr_grow(&w->heap, &w->heap_cap, 3 * n, sizeof *w->heap, "a word"));
    return npr_grow(&w->dirty, &w->dirty_cap, 2 * n, sizeof *w->dirty, "a word");
}

static void heap_push(npr_word_work *w, int32_t rank, int32_t place)
{
    uint64_t key = (uint64_t)(uint32_t)rank << 32 | (uint32_t)place;
    size_t i = w->heap_n++;
    for (; i > 0 && w->heap[(i - 1) / 2] > key; i = (i - 1) / 2) w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = key;
}

static uint64_t heap_pop(npr_word_work *w)
{
    uint64_t top = w->heap[0], key = w->heap[--w->heap_n];
    size_t i = 0, child;
    for (; (child = 2 * i + 1) < w->heap_n; i = child) {
        if (child + 1 < w->heap_n && w->heap[child + 1] < w->heap[child]) child++;
        if (w->heap[child] >= key) break;
        w->heap[i] = w->heap[child];
    }
    w->heap[i] = key;
    return top;
}

/* Which merge is possible at a place, with the symbol that follows? */
static void look(const npr_vocabulary *v, npr_word_work *w, int32_t i)
{
    int32_t next = w->next[i];
    w->rank[i] = next == NONE ? NONE : npr_vocabulary_pair(v, w->symbol[i], w->symbol[next]);
    if (w->rank[i] != NONE) heap_push(w, w->rank[i], i);
}

/* Merge the symbol at i with the next one; both pairs it is in now are looked at later. */
static void merge(const npr_vocabulary *v, npr_word_work *w, int32_t i, int32_t rank)
{
    int32_t gone = w->next[i], before = w->before[i], next = w->next[gone];
    w->symbol[i] = v->merge[rank].made;
    w->next[i] = next;
    if (next != NONE) w->before[next] = i;
    w->rank[gone] = w->rank[i] = NONE;
    w->symbol[gone] = NONE;
    w->dirty[w->dirty_n++] = i;
    if (before == NONE) return;
    w->rank[before] = NONE;
    w->dirty[w->dirty_n++] = before;
}

npr_status npr_word_split(const npr_vocabulary *v, npr_word_work *w, const unsigned char *word, size_t n,
                          size_t *count)
{
    NPR_TRY(make_room(w, n));
    w->heap_n = w->dirty_n = 0;
    for (size_t i = 0; i < n; i++) {
        w->symbol[i] = v->byte[word[i]] + (i + 1 == n ? 256 : 0);
        w->next[i] = i + 1 == n ? NONE : (int32_t)i + 1;
        w->before[i] = (int32_t)i - 1; /* NONE for the first */
    }
    for (size_t i = 0; i < n; i++) look(v, w, (int32_t)i);
    while (w->heap_n) {
        int32_t rank = (int32_t)(w->heap[0] >> 32);
        while (w->heap_n && (int32_t)(w->heap[0] >> 32) == rank) {
            int32_t place = (int32_t)(uint32_t)heap_pop(w);
            if (w->rank[place] == rank) merge(v, w, place, rank);
        }
        for (size_t k = 0; k < w->dirty_n; k++) /* a place twice: its second entry finds nothing to do */
            if (w->symbol[w->dirty[k]] != NONE && w->rank[w->dirty[k]] == NONE) look(v, w, w->dirty[k]);
        w->dirty_n = 0;
    }
    *count = 0;
    for (int32_t i = 0; i != NONE; i = w->next[i]) w->symbol[(*count)++] = w->symbol[i];
    return NPR_OK;
}
