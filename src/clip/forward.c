/* forward.c - images and texts to features: embedding of patches and tokens, in micro-batches. See npr/clip.h
 * and work.h. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "clip/config.h"
#include "clip/kernel.h"
#include "clip/work.h"

/* ---- scratch memory ------------------------------------------------------------------------------------ */

static int most(int a, int b)
{
    return a > b ? a : b;
}

int npr_clip_image_batch(const npr_clip *m)
{
    return npr_tower_sequences(&m->image);
}

int npr_clip_text_batch(const npr_clip *m)
{
    return npr_tower_sequences(&m->text);
}

/* What the towers in use need. */
typedef struct needs {
    int rows, sequences, width, out, half, wide, keys;
} needs;

static void need_tower(needs *n, const npr_tower *t)
{
    n->rows = most(n->rows, npr_tower_rows(t));
    n->sequences = most(n->sequences, npr_tower_sequences(t));
    n->width = most(n->width, t->shape.width);
    n->out = most(most(n->out, n->width), t->project.out);
    n->half = most(most(n->half, n->width), t->patch.in);
    n->wide = most(most(n->wide, t->patch.in), most(3 * t->shape.width, t->shape.mlp));
    n->keys = most(n->keys, t->tokens);
}

static needs needs_of(const npr_clip *m)
{
    needs n = {0};
    if (m->towers & NPR_TOWER_IMAGE) need_tower(&n, &m->image);
    if (m->towers & NPR_TOWER_TEXT) need_tower(&n, &m->text);
    n.rows = most(n.rows, n.sequences);
    return n;
}

/* Zeros: layers of oneDNN compute all rows, also those that were never written. */
static void *zeros(int rows, int columns, size_t size)
{
    void *p = npr_alloc_aligned((size_t)rows * (size_t)columns, size, "activations");
    if (p) memset(p, 0, (size_t)rows * (size_t)columns * size);
    return p;
}

static float *matrix(int rows, int columns)
{
    return zeros(rows, columns, sizeof(float));
}

static int make_room(npr_clip_work *w, const needs *n)
{
    int tile = 0, scores = most(1 << 16, 16 * n->keys); /* npr_attention_tile(nk) * nk at most */
    for (int nk = 1; nk <= n->keys; nk++) tile = most(tile, npr_attention_tile(nk));
    return (w->x = matrix(n->rows, n->width)) && (w->y = matrix(n->rows, n->width)) &&
           (w->wide = matrix(n->rows, n->wide)) && (w->score = matrix(1, scores)) &&
           (w->scale = matrix(1, tile)) && (w->pooled = matrix(n->sequences, n->width)) &&
           (w->pooled_y = matrix(n->sequences, n->width)) && (w->pooled_q = matrix(n->sequences, n->out)) &&
           (w->half = zeros(w->m->precision == NPR_BF16 ? n->rows : 1, n->half, sizeof *w->half)) &&
           (w->scratch = npr_alloc_aligned(npr_layers_scratch(w->m, n->rows), 1, "activations")) &&
           (w->first = npr_alloc(3 * (size_t)n->sequences, sizeof *w->first, "activations"));
}

npr_status npr_clip_work_make(const npr_clip *m, npr_clip_work **out)
{
    needs n = needs_of(m);
    npr_clip_work *w = *out = npr_alloc(1, sizeof *w, "activations");
    if (!w) return npr_last();
    *w = (npr_clip_work){.m = m, .rows = n.rows, .sequences = n.sequences, .images = npr_clip_image_batch(m)};
    if (!make_room(w, &n)) {
        npr_clip_work_free(w);
        *out = NULL;
        return npr_last();
    }
    w->length = w->first + n.sequences;
    w->pool = w->length + n.sequences;
    return NPR_OK;
}

void npr_clip_work_free(npr_clip_work *w)
{
    if (!w) return;
    void *all[] = {w->x,     w->y,      w->wide,     w->scratch,  w->score,
                   w->scale, w->pooled, w->pooled_y, w->pooled_q, w->half};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
    free(w->first);
    free(w);
}

/* ---- images -------------------------------------------------------------------------------------------- */

/* The patches of one image as rows [1 + grid^2][3][patch][patch]; the first, the class token's, is zeros. */
static void cut_patches(const npr_clip_config *c, const float *chw, float *out)
{
    size_t p = (size_t)c->patch_size, side = (size_t)c->image_size;
    int grid = npr_clip_grid(c);
    memset(out, 0, 3 * p * p * sizeof *out);
    out += 3 * p * p;
    for (int y = 0; y < grid; y++)
        for (int x = 0; x < grid; x++)
            for (size_t ch = 0; ch < 3; ch++)
                for (size_t line = 0; line < p; line++, out += p)
                    memcpy(out, chw + (ch * side + (size_t)y * p + line) * side + (size_t)x * p,
                           p * sizeof *out);
}

/* Position embeddings, and the class token where it belongs: what the patches are then added to. */
static void place_image(const npr_tower *t, float *x)
{
    size_t width = (size_t)t->shape.width;
    memcpy(x, t->position, (size_t)t->tokens * width * sizeof *x);
    for (size_t i = 0; i < width; i++) x[i] += t->class_token[i];
}

/* Rows of n images, embedded and normalised, in w->x. */
static npr_status embed_images(const npr_clip *m, npr_clip_work *w, const float *chw, int n, npr_batch *b)
{
    const npr_tower *t = &m->image;
    int side = m->config.image_size, patch = 3 * m->config.patch_size * m->config.patch_size;
    int width = t->shape.width, rows = n * t->tokens;
    for (int i = 0; i < n; i++) {
        w->first[i] = w->pool[i] = i * t->tokens;
        w->length[i] = t->tokens;
        cut_patches(&m->config, chw + (size_t)i * 3 * (size_t)side * (size_t)side,
                    w->wide + (size_t)w->first[i] * (size_t)patch);
        place_image(t, w->x + (size_t)w->first[i] * (size_t)width);
    }
    NPR_TRY(npr_layer_run(w, &t->patch, rows, w->wide, w->x));
    npr_kernel_norm(rows, width, w->x, t->pre.gain, t->pre.shift, w->x);
    *b = (npr_batch){.n = n, .rows = rows};
    return NPR_OK;
}

npr_status npr_clip_image(const npr_clip *m, npr_clip_work *w, const float *chw, int n, float *features)
{
    size_t values = 3 * (size_t)m->config.image_size * (size_t)m->config.image_size;
    if (!(m->towers & NPR_TOWER_IMAGE))
        return npr_fail(NPR_EINTERNAL, "images: the model was opened without its image tower");
    for (int i = 0; i < n; i += w->images) {
        int now = n - i < w->images ? n - i : w->images;
        npr_batch b;
        NPR_TRY(embed_images(m, w, chw + (size_t)i * values, now, &b));
        NPR_TRY(npr_blocks_run(&m->image, w, &b));
        NPR_TRY(npr_project(&m->image, w, now, features + (size_t)i * (size_t)m->config.embed_dim));
    }
    return NPR_OK;
}

/* ---- texts --------------------------------------------------------------------------------------------- */

/* A text is pooled at its first token of the highest id, the end token. What is behind it cannot be seen from
 * there, so the text ends with it here. */
static int text_length(const int32_t *token, int context)
{
    int at = 0;
    for (int i = 1; i < context; i++)
        if (token[i] > token[at]) at = i;
    return at + 1;
}

static npr_status check_tokens(const npr_clip *m, const int32_t *tokens, int n)
{
    int64_t values = (int64_t)n * m->config.context;
    for (int64_t i = 0; i < values; i++)
        if (tokens[i] < 0 || tokens[i] >= m->config.vocab)
            return npr_fail(NPR_EDATA, "text %lld: token %d is not in a vocabulary of %d",
                            (long long)(i / m->config.context), tokens[i], m->config.vocab);
    return NPR_OK;
}

static void embed_text(const npr_tower *t, const int32_t *token, int length, float *x)
{
    size_t width = (size_t)t->shape.width;
    for (int i = 0; i < length; i++, x += width)
        for (size_t j = 0; j < width; j++)
            x[j] = t->token[(size_t)token[i] * width + j] + t->position[(size_t)i * width + j];
}

/* As many of n texts as have room, embedded, in w->x. */
static npr_batch embed_texts(const npr_clip *m, npr_clip_work *w, const int32_t *tokens, int n)
{
    const npr_tower *t = &m->text;
    npr_batch b = {.causal = 1};
    for (; b.n < n && b.n < w->sequences; b.n++, tokens += t->tokens) {
        int length = text_length(tokens, t->tokens);
        if (b.rows + length > w->rows) break;
        w->first[b.n] = b.rows;
        w->length[b.n] = length;
        w->pool[b.n] = b.rows + length - 1;
        embed_text(t, tokens, length, w->x + (size_t)b.rows * (size_t)t->shape.width);
        b.rows += length;
    }
    return b;
}

npr_status npr_clip_text(const npr_clip *m, npr_clip_work *w, const int32_t *tokens, int n, float *features)
{
    if (!(m->towers & NPR_TOWER_TEXT))
        return npr_fail(NPR_EINTERNAL, "texts: the model was opened without its text tower");
    NPR_TRY(check_tokens(m, tokens, n));
    for (int i = 0; i < n;) {
        npr_batch b = embed_texts(m, w, tokens + (size_t)i * (size_t)m->config.context, n - i);
        NPR_TRY(npr_blocks_run(&m->text, w, &b));
        NPR_TRY(npr_project(&m->text, w, b.n, features + (size_t)i * (size_t)m->config.embed_dim));
        i += b.n;
    }
    return NPR_OK;
}
