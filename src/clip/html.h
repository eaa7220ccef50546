/* html.h - references to characters in HTML (&eacute; &#233; &#xe9;) replaced by the characters. Local.
 *
 * Two ways: as browsers do and Python's html.unescape, and the careful way of ftfy's fix_text, which touches
 * only what ends in a semicolon, and knows names written in capitals, too. Both work in place: no character
 * is longer than its name. */
#ifndef NPR_CLIP_HTML_H
#define NPR_CLIP_HTML_H

#include "clip/unicode.h"

void npr_html_unescape(npr_ucs *t);
void npr_html_unescape_carefully(npr_ucs *t);

#endif
