/* screen_few.h - what the screens for few queries share: queries follow each other as floats, each padded
 * with zeros to a multiple of 16 values. Local. */
#ifndef NPR_SEARCH_SCREEN_FEW_H
#define NPR_SEARCH_SCREEN_FEW_H

#include "search/screen.h"

/* Values from query to query. */
static inline size_t npr_few_stride(const npr_packed *p)
{
    return ((size_t)p->dim + 15) / 16 * 16;
}

/* npr_screen.pack: p->values are the queries. */
npr_status npr_few_pack(npr_packed *p);

#endif
