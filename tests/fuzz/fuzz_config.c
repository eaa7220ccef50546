/* fuzz_config.c - bytes as a model's configuration; what passes must fit the arithmetic of model.c. */
#include <stdlib.h>

#include "clip/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    npr_clip_config c;
    if (npr_clip_config_parse((const char *)bytes, n, "input", &c)) return 0;
    if (npr_clip_image_tokens(&c) < 2 || c.vision.width % c.vision.heads || c.text.width % c.text.heads ||
        !(npr_clip_image_flops(&c) > 0) || !(npr_clip_text_flops(&c, c.context) > 0))
        abort();
    return 0;
}
