/* config.h - what a configuration implies. Local. */
#ifndef NPR_CLIP_CONFIG_H
#define NPR_CLIP_CONFIG_H

#include "npr/clip.h"

/* The same from a JSON text of n bytes; origin names it in messages. */
npr_status npr_clip_config_parse(const char *text, size_t n, const char *origin, npr_clip_config *c);

/* Refuse what is out of range, by name: everything computed from a configuration that passed fits an int. */
npr_status npr_clip_config_check(const char *origin, const npr_clip_config *c);

/* Patches of a side; tokens of an image: its patches and the class token. What of the image is beyond the
 * last whole patch is not seen, as in open_clip. */
int npr_clip_grid(const npr_clip_config *c);
int npr_clip_image_tokens(const npr_clip_config *c);

#endif
