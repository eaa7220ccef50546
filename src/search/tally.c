/* tally.c - what became of the rows that were scanned, list by list. See search_stage.h. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "search/search_stage.h"

npr_status npr_search_tally_make(int lists, npr_tally *t)
{
    *t = (npr_tally){.lists = lists};
    t->count = npr_alloc((size_t)lists * NPR_TALLY_FIELDS, sizeof *t->count, "tallies");
    return t->count ? NPR_OK : npr_last();
}

void npr_search_tally_free(npr_tally *t)
{
    free(t->count);
    *t = (npr_tally){0};
}

void npr_search_tally_clear(npr_tally *t)
{
    memset(t->count, 0, (size_t)t->lists * NPR_TALLY_FIELDS * sizeof *t->count);
    t->non_finite = t->rows = t->bytes = 0;
}

void npr_search_tally_add(npr_tally *to, const npr_tally *from)
{
    for (size_t i = 0; i < (size_t)to->lists * NPR_TALLY_FIELDS; i++) to->count[i] += from->count[i];
    to->non_finite += from->non_finite;
    to->rows += from->rows;
    to->bytes += from->bytes;
}
