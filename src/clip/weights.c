/* weights.c - the tensors a configuration asks for: one table of names and shapes, made from the
 * configuration, serves to look them up in a file, to make them up, and to tell what a file has too much. See
 * model.h. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/mem.h"
#include "base/rng.h"
#include "clip/config.h"
#include "clip/model.h"

enum { WANTED_RANK = 4, NAME_MAX_BYTES = 96 };

/* One tensor a model needs. */
typedef struct wanted {
    char name[NAME_MAX_BYTES];
    int rank;
    int64_t shape[WANTED_RANK];
    int tower;            /* NPR_TOWER_* */
    const float **slot;   /* where it goes */
    float centre, spread; /* of made-up values */
} wanted;

typedef struct wanted_list {
    wanted *item;
    size_t count, cap;
    npr_status st;
    int tower; /* of what is added next */
} wanted_list;

/* ---- the table ----------------------------------------------------------------------------------------- */

__attribute__((format(printf, 4, 5))) static void want(wanted_list *l, const float **slot, wanted like,
                                                       const char *fmt, ...)
{
    if (l->st || (l->st = npr_grow(&l->item, &l->cap, l->count + 1, sizeof *l->item, "a list of tensors")))
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(like.name, sizeof like.name, fmt, ap);
    va_end(ap);
    like.tower = l->tower;
    like.slot = slot;
    while (like.rank < WANTED_RANK && like.shape[like.rank]) like.rank++;
    l->item[l->count++] = like;
}

static void want_norm(wanted_list *l, npr_norm *n, int width, const char *name)
{
    want(l, &n->gain, (wanted){.shape = {width}, .centre = 1, .spread = 0.1f}, "%s.weight", name);
    want(l, &n->shift, (wanted){.shape = {width}, .spread = 0.1f}, "%s.bias", name);
}

/* A linear layer whose tensors are called NAME.weight, or NAME_weight where torch has it so. */
static void want_linear(wanted_list *l, npr_linear *x, int in, int out, double spread, const char *name,
                        char dot)
{
    x->in = in;
    x->out = out;
    want(l, &x->w, (wanted){.shape = {out, in}, .spread = (float)spread}, "%s%cweight", name, dot);
    want(l, &x->bias, (wanted){.shape = {out}, .spread = 0.02f}, "%s%cbias", name, dot);
}

static void want_block(wanted_list *l, const npr_transformer *t, npr_block *b, const char *prefix, int layer)
{
    double in = pow(t->width, -0.5), out = in * pow(2.0 * t->layers, -0.5);
    char stem[64], name[NAME_MAX_BYTES];
    snprintf(stem, sizeof stem, "%stransformer.resblocks.%d", prefix, layer);
    snprintf(name, sizeof name, "%s.ln_1", stem);
    want_norm(l, &b->norm1, t->width, name);
    snprintf(name, sizeof name, "%s.attn.in_proj", stem);
    want_linear(l, &b->qkv, t->width, 3 * t->width, in, name, '_');
    snprintf(name, sizeof name, "%s.attn.out_proj", stem);
    want_linear(l, &b->out, t->width, t->width, out, name, '.');
    snprintf(name, sizeof name, "%s.ln_2", stem);
    want_norm(l, &b->norm2, t->width, name);
    snprintf(name, sizeof name, "%s.mlp.c_fc", stem);
    want_linear(l, &b->fc, t->width, t->mlp, pow(2.0 * t->width, -0.5), name, '.');
    snprintf(name, sizeof name, "%s.mlp.c_proj", stem);
    want_linear(l, &b->proj, t->mlp, t->width, out, name, '.');
}

static void want_image_tower(wanted_list *l, const npr_clip_config *c, npr_tower *t)
{
    int w = c->vision.width, p = c->patch_size;
    float spread = (float)pow(w, -0.5);
    l->tower = NPR_TOWER_IMAGE;
    t->patch.in = 3 * p * p;
    t->patch.out = w;
    want(l, &t->patch.w, (wanted){.shape = {w, 3, p, p}, .spread = (float)(1 / (p * sqrt(3.0)))},
         "visual.conv1.weight");
    want(l, &t->class_token, (wanted){.shape = {w}, .spread = spread}, "visual.class_embedding");
    want(l, &t->position, (wanted){.shape = {t->tokens, w}, .spread = spread}, "visual.positional_embedding");
    want_norm(l, &t->pre, w, "visual.ln_pre");
    for (int i = 0; i < c->vision.layers; i++) want_block(l, &c->vision, &t->block[i], "visual.", i);
    want_norm(l, &t->post, w, "visual.ln_post");
    t->project.in = w;
    t->project.out = c->embed_dim;
    want(l, &t->project.w, (wanted){.shape = {w, c->embed_dim}, .spread = spread}, "visual.proj");
}

static void want_text_tower(wanted_list *l, const npr_clip_config *c, npr_tower *t)
{
    int w = c->text.width;
    l->tower = NPR_TOWER_TEXT;
    want(l, &t->token, (wanted){.shape = {c->vocab, w}, .spread = 0.02f}, "token_embedding.weight");
    want(l, &t->position, (wanted){.shape = {c->context, w}, .spread = 0.01f}, "positional_embedding");
    for (int i = 0; i < c->text.layers; i++) want_block(l, &c->text, &t->block[i], "", i);
    want_norm(l, &t->post, w, "ln_final");
    t->project.in = w;
    t->project.out = c->embed_dim;
    want(l, &t->project.w, (wanted){.shape = {w, c->embed_dim}, .spread = (float)pow(w, -0.5)},
         "text_projection");
}

static npr_status want_all(npr_clip *m, wanted_list *l)
{
    const npr_clip_config *c = &m->config;
    *l = (wanted_list){0};
    m->image.kind = NPR_TOWER_IMAGE;
    m->text.kind = NPR_TOWER_TEXT;
    m->image.shape = c->vision;
    m->image.tokens = npr_clip_image_tokens(c);
    m->text.shape = c->text;
    m->text.tokens = c->context;
    m->image.block = npr_alloc((size_t)c->vision.layers, sizeof *m->image.block, "the blocks of a tower");
    m->text.block = npr_alloc((size_t)c->text.layers, sizeof *m->text.block, "the blocks of a tower");
    if (!m->image.block || !m->text.block) return npr_last();
    want_image_tower(l, c, &m->image);
    want_text_tower(l, c, &m->text);
    return l->st;
}

/* ---- from a file --------------------------------------------------------------------------------------- */

static npr_status own(npr_clip *m, float *values)
{
    npr_status st =
        npr_grow(&m->owned, &m->owned_cap, m->owned_count + 1, sizeof *m->owned, "a list of tensors");
    if (st)
        free(values);
    else
        m->owned[m->owned_count++] = values;
    return st;
}

static npr_status check_one(const npr_clip *m, const wanted *w)
{
    char want_text[128], found_text[256];
    const npr_tensor *x = npr_tensors_find(&m->file, w->name);
    npr_tensor_shape_text(w->rank, w->shape, want_text, sizeof want_text);
    if (!x)
        return npr_fail(NPR_EDATA, "%s: tensor %s is missing, wanted with shape %s", m->file.path, w->name,
                        want_text);
    if (x->rank != w->rank || memcmp(x->shape, w->shape, (size_t)w->rank * sizeof *w->shape) != 0)
        return npr_fail(NPR_EDATA, "%s: tensor %s has shape %s, the configuration wants %s", m->file.path,
                        w->name, npr_tensor_shape_text(x->rank, x->shape, found_text, sizeof found_text),
                        want_text);
    return NPR_OK;
}

static npr_status bind_one(npr_clip *m, const wanted *w)
{
    if (!(w->tower & m->towers)) return NPR_OK;
    float *values;
    NPR_TRY(npr_tensor_floats(&m->file, npr_tensors_find(&m->file, w->name), &values));
    *w->slot = values;
    return own(m, values);
}

/* Tensors that do not take part in the towers: temperature and bias of the logits, the causal mask, and sizes
 * that OpenAI's files repeat. */
static int is_idle(const char *name)
{
    static const char *const idle[] = {"logit_scale",      "logit_bias",     "attn_mask",
                                       "input_resolution", "context_length", "vocab_size"};
    for (size_t i = 0; i < sizeof idle / sizeof *idle; i++)
        if (!strcmp(name, idle[i])) return 1;
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const wanted *)a)->name, ((const wanted *)b)->name);
}

/* Every tensor of the file must be wanted, or idle. Sorts the list: its order means nothing to what is read.
 */
static npr_status refuse_extra(const npr_clip *m, wanted_list *l)
{
    qsort(l->item, l->count, sizeof *l->item, by_name);
    for (size_t i = 0; i < m->file.count; i++) {
        const npr_tensor *x = &m->file.tensor[i];
        wanted like = {0};
        char text[256];
        int fits = snprintf(like.name, sizeof like.name, "%s", x->name) < (int)sizeof like.name;
        if (is_idle(x->name) || (fits && bsearch(&like, l->item, l->count, sizeof *l->item, by_name)))
            continue;
        return npr_fail(NPR_EDATA, "%s: tensor %.300s of shape %s belongs to no part of the configuration",
                        m->file.path, x->name, npr_tensor_shape_text(x->rank, x->shape, text, sizeof text));
    }
    return NPR_OK;
}

npr_status npr_weights_bind(npr_clip *m)
{
    wanted_list l;
    npr_status st = want_all(m, &l);
    for (size_t i = 0; !st && i < l.count; i++) st = check_one(m, &l.item[i]);
    if (!st) st = refuse_extra(m, &l);
    /* gigabytes are read when all of the header is right */
    for (size_t i = 0; !st && i < l.count; i++) st = bind_one(m, &l.item[i]);
    free(l.item);
    return st;
}

/* ---- made up ------------------------------------------------------------------------------------------- */

static npr_status make_up(npr_clip *m, const wanted *w, npr_rng *r)
{
    size_t n = 1;
    for (int i = 0; i < w->rank; i++) n *= (size_t)w->shape[i];
    float *x = npr_alloc_aligned(n, sizeof *x, w->name);
    if (!x) return npr_last();
    npr_rng_normals(r, x, n);
    for (size_t i = 0; i < n; i++) x[i] = w->centre + w->spread * x[i];
    *w->slot = x;
    return own(m, x);
}

npr_status npr_weights_make_up(npr_clip *m, uint64_t seed)
{
    wanted_list l;
    npr_status st = want_all(m, &l);
    for (size_t i = 0; !st && i < l.count; i++) {
        npr_rng r = npr_rng_make(seed, i);
        if (l.item[i].tower & m->towers) st = make_up(m, &l.item[i], &r);
    }
    free(l.item);
    return st;
}

void npr_weights_drop(npr_clip *m, npr_linear *l)
{
    for (size_t i = 0; i < m->owned_count; i++)
        if (m->owned[i] == l->w) {
            free(m->owned[i]);
            m->owned[i] = m->owned[--m->owned_count];
            break;
        }
    l->w = NULL;
}

void npr_weights_free(npr_clip *m)
{
    for (size_t i = 0; i < m->owned_count; i++) free(m->owned[i]);
    free(m->owned);
    free(m->image.block);
    free(m->text.block);
}

/* ---- where they come from ------------------------------------------------------------------------------ */

static int all_half(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (npr_half_value(npr_half_round(x[i])) != x[i]) return 0;
    return 1;
}

int npr_weights_were_half(const npr_clip *m)
{
    const npr_tower *t = m->towers & NPR_TOWER_IMAGE ? &m->image : &m->text;
    char name[NAME_MAX_BYTES];
    snprintf(name, sizeof name, "%stransformer.resblocks.0.attn.in_proj_weight",
             t == &m->image ? "visual." : "");
    const npr_tensor *x = npr_tensors_find(&m->file, name);
    const npr_linear *w = &t->block[0].qkv;
    return x && !strcmp(x->dtype, "F32") && all_half(w->w, (size_t)w->in * (size_t)w->out);
}
