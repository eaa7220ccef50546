/* mojibake.h - text that was decoded by the wrong code page ("sÃ³" for "só"), found and repaired as
 * ftfy 6.3.1's fix_encoding does it (Robyn Speer, ftfy, 2019, doi 10.5281/zenodo.2591652). Local. */
#ifndef NPR_CLIP_MOJIBAKE_H
#define NPR_CLIP_MOJIBAKE_H

#include "clip/unicode.h"

/* Does the text hold a sequence of characters that hardly anyone means? */
int npr_mojibake_is_bad(const uint32_t *c, size_t n);

/* What mojibake_table.h says of a character: a mask. */
uint32_t npr_mojibake_class(uint32_t c);

/* Repair *t, until nothing changes. Work is bounded: each pass takes its characters from *budget, and the
 * text stays as it is by then when that is spent. */
npr_status npr_mojibake_fix(npr_ucs *t, int64_t *budget);

#endif
