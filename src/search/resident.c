/* resident.c - tiles kept in memory between passes. See tiles.h. */
#include "search/resident.h"

#include <stdlib.h>

#include "base/mem.h"
#include "io/rows.h"

struct npr_resident {
    int parts;
    npr_resident_part *part; /* [parts] */
    int64_t left;            /* bytes */
    int64_t served;          /* parts taken from memory */
};

npr_status npr_resident_make(int parts, int64_t bytes, npr_resident **out)
{
    npr_resident *r = npr_alloc(1, sizeof *r, "parts in memory");
    if (!r) return npr_last();
    *r = (npr_resident){.parts = parts, .left = bytes};
    r->part = npr_alloc((size_t)parts, sizeof *r->part, "parts in memory");
    if (!r->part) {
        free(r);
        return npr_last();
    }
    *out = r;
    return NPR_OK;
}

static void drop(npr_resident *r, npr_resident_part *p)
{
    for (int64_t i = 0; i < p->tiles; i++) npr_rows_free(&p->tile[i]);
    free(p->tile);
    r->left += p->bytes;
    *p = (npr_resident_part){0};
}

void npr_resident_free(npr_resident *r)
{
    if (!r) return;
    for (int i = 0; i < r->parts; i++) drop(r, &r->part[i]);
    free(r->part);
    free(r);
}

void npr_resident_drop(npr_resident *r, int part)
{
    drop(r, &r->part[part]);
}

int64_t npr_resident_served(const npr_resident *r)
{
    return r->served;
}

npr_resident_part *npr_resident_find(npr_resident *r, int part, uint32_t columns, int64_t tile_rows)
{
    npr_resident_part *p = &r->part[part];
    if (!p->whole || p->columns != columns || p->tile_rows != tile_rows) return NULL;
    r->served++;
    return p;
}

npr_status npr_resident_begin(npr_resident *r, int part, uint32_t columns, int dim, int64_t tile_rows,
                              int64_t rows, npr_resident_part **out)
{
    npr_resident_part *p = &r->part[part];
    int64_t row = 0;
    *out = NULL;
    if (p->whole) return NPR_OK; /* kept with other columns */
    drop(r, p);                  /* what an earlier, unfinished scan left */
    for (int c = 0; c < NPR_COLUMNS; c++) {
        if (!(columns & NPR_COL(c))) continue;
        if (npr_column_is_text(c)) return NPR_OK;
        row += (int64_t)npr_column_bytes(c, dim);
    }
    if (row * rows > r->left) return NPR_OK;
    int64_t tiles = (rows + tile_rows - 1) / tile_rows;
    p->tile = npr_alloc((size_t)tiles, sizeof *p->tile, "parts in memory");
    if (!p->tile) return npr_last();
    p->columns = columns;
    p->tile_rows = tile_rows;
    p->tiles = tiles;
    p->bytes = row * rows;
    r->left -= p->bytes;
    *out = p;
    return NPR_OK;
}
