/* flop.c - what a forward pass costs. See include/npr/clip.h. */
#include "clip/model.h"
#include "npr/clip.h"

/* n tokens through a transformer: queries, keys, values and output; scores and their sums; the hidden layer.
 */
static double transformer(const npr_transformer *t, double n)
{
    double w = t->width, layer = 8 * n * w * w + 4 * n * n * w + 4 * n * w * t->mlp;
    return t->layers * layer;
}

double npr_clip_flop(const npr_clip_config *c, int tower)
{
    if (tower == NPR_TOWER_TEXT)
        return transformer(&c->text, c->context) + 2.0 * c->text.width * c->embed_dim;
    double side = c->image_size / c->patch_size, patches = side * side, w = c->vision.width;
    double pixels = 3.0 * c->patch_size * c->patch_size;
    return 2 * patches * w * pixels + transformer(&c->vision, patches + 1) + 2 * w * c->embed_dim;
}

void npr_clip_image_memory(const npr_clip_config *c, double *weights, double *thread)
{
    const npr_transformer *t = &c->vision;
    double side = c->image_size / c->patch_size, tokens = side * side + 1, w = t->width;
    double values =
        t->layers * (4 * w * w + 2 * w * t->mlp) + w * (3.0 * c->patch_size * c->patch_size + tokens);
    double batch = NPR_ROWS_MOST > tokens ? (double)(int)(NPR_ROWS_MOST / tokens) : 1;
    double pixels = 12.0 * c->image_size * c->image_size, layer = 4 * tokens * (6 * w + t->mlp);
    *weights = 4 * values;
    *thread = batch * (pixels + layer) + 16e6;
}

void npr_clip_text_memory(const npr_clip_config *c, double *weights, double *thread)
{
    const npr_transformer *t = &c->text;
    double w = t->width, tokens = c->context, rows = NPR_ROWS_MOST > tokens ? NPR_ROWS_MOST : tokens;
    *weights = 4 * (t->layers * (4 * w * w + 2 * w * t->mlp) + w * (c->vocab + tokens + c->embed_dim));
    *thread = 4 * rows * (6 * w + t->mlp + 2) + 16e6;
}
