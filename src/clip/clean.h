/* clean.h - a text as open_clip's tokenizer wants it: repaired as ftfy's fix_text does, references to
 * characters of HTML replaced, in lower case. Local. */
#ifndef NPR_CLIP_CLEAN_H
#define NPR_CLIP_CLEAN_H

#include "clip/unicode.h"

/* n bytes of UTF-8 (what is invalid becomes U+FFFD) into `out`. Spaces stay: only what separates counts. */
npr_status npr_text_clean(const char *text, size_t n, npr_ucs *out);

/* The first part of it alone: ftfy.fix_text. For tests. */
npr_status npr_text_fix(const npr_ucs *in, npr_ucs *out);

#endif
