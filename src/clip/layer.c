/* layer.c - the layers of a tower: packed for npr's own products (fp32) or for oneDNN (bfloat16), and run.
 * See model.h and work.h. */
#include <stdlib.h>

#include "clip/config.h"
#include "clip/kernel.h"
#include "clip/work.h"

int npr_tower_rows(const npr_tower *t)
{
    if (t->kind == NPR_TOWER_IMAGE) return npr_tower_sequences(t) * t->tokens;
    return NPR_ROWS_MOST > t->tokens ? NPR_ROWS_MOST : t->tokens;
}

int npr_tower_sequences(const npr_tower *t)
{
    if (t->kind == NPR_TOWER_TEXT) return NPR_TEXTS_MOST;
    return NPR_ROWS_MOST > t->tokens ? NPR_ROWS_MOST / t->tokens : 1;
}

/* ---- packing ------------------------------------------------------------------------------------------- */

static npr_status pack_dnn(const npr_clip *m, npr_linear *l, int rows, int transposed)
{
    npr_dnn_type type = m->precision == NPR_BF16 ? NPR_DNN_BF16 : NPR_DNN_F32;
    npr_dnn_layer d = {.rows = rows,
                       .in = l->in,
                       .out = l->out,
                       .transposed = transposed,
                       .w = l->w,
                       .bias = l->bias,
                       .type = type,
                       .add = l->kind == NPR_LAYER_ADD || l->kind == NPR_LAYER_ADD_HIDDEN};
    if (l->kind == NPR_LAYER_HIDDEN) {
        d.result = type;
        d.activation = m->config.quick_gelu ? NPR_DNN_QUICK_GELU : NPR_DNN_GELU;
    }
    return npr_dnn_make(&d, &l->dnn);
}

static npr_status pack(const npr_clip *m, npr_linear *l, npr_layer_kind kind, int rows, int transposed)
{
    l->kind = kind;
    if (m->precision == NPR_FP32) return npr_matrix_pack(l->out, l->in, transposed, l->w, &l->packed);
    return pack_dnn(m, l, rows, transposed);
}

/* A block: all of its rows, or, of the last one, only those that are pooled. */
static npr_status pack_block(npr_clip *m, npr_block *b, int rows)
{
    NPR_TRY(pack(m, &b->out, NPR_LAYER_ADD, rows, 0));
    NPR_TRY(pack(m, &b->fc, NPR_LAYER_HIDDEN, rows, 0));
    NPR_TRY(pack(m, &b->proj, NPR_LAYER_ADD_HIDDEN, rows, 0));
    npr_weights_drop(m, &b->out);
    npr_weights_drop(m, &b->fc);
    npr_weights_drop(m, &b->proj);
    return NPR_OK;
}

/* Queries, keys and values of the last block: queries are a layer of their own, of the pooled rows. */
static npr_status pack_last_qkv(npr_clip *m, npr_tower *t)
{
    npr_linear *qkv = &t->block[t->shape.layers - 1].qkv, all = *qkv;
    int width = t->shape.width;
    t->query = (npr_linear){.in = width, .out = width, .w = all.w, .bias = all.bias};
    *qkv = (npr_linear){
        .in = width, .out = 2 * width, .w = all.w + (size_t)width * (size_t)width, .bias = all.bias + width};
    NPR_TRY(pack(m, &t->query, NPR_LAYER_PLAIN, npr_tower_sequences(t), 0));
    NPR_TRY(pack(m, qkv, NPR_LAYER_PLAIN, npr_tower_rows(t), 0));
    npr_weights_drop(m, &all);
    t->query.w = qkv->w = NULL;
    return NPR_OK;
}

static npr_status pack_tower(npr_clip *m, npr_tower *t)
{
    int rows = npr_tower_rows(t), sequences = npr_tower_sequences(t), last = t->shape.layers - 1;
    for (int i = 0; i < last; i++) {
        NPR_TRY(pack(m, &t->block[i].qkv, NPR_LAYER_PLAIN, rows, 0));
        npr_weights_drop(m, &t->block[i].qkv);
        NPR_TRY(pack_block(m, &t->block[i], rows));
    }
    NPR_TRY(pack_last_qkv(m, t));
    NPR_TRY(pack_block(m, &t->block[last], sequences));
    NPR_TRY(pack(m, &t->project, NPR_LAYER_PLAIN, sequences, 1));
    npr_weights_drop(m, &t->project);
    if (t->kind == NPR_TOWER_TEXT) return NPR_OK;
    NPR_TRY(pack(m, &t->patch, NPR_LAYER_ADD, rows, 0));
    npr_weights_drop(m, &t->patch);
    return NPR_OK;
}

npr_status npr_layers_pack(npr_clip *m)
{
    if (m->towers & NPR_TOWER_IMAGE) NPR_TRY(pack_tower(m, &m->image));
    if (m->towers & NPR_TOWER_TEXT) NPR_TRY(pack_tower(m, &m->text));
    return NPR_OK;
}

/* ---- each layer of a tower ----------------------------------------------------------------------------- */

static void each_layer(npr_tower *t, void (*visit)(npr_linear *l, size_t *sum), size_t *sum)
{
    for (int i = 0; t->block && i < t->shape.layers; i++) {
        visit(&t->block[i].qkv, sum);
        visit(&t->block[i].out, sum);
        visit(&t->block[i].fc, sum);
        visit(&t->block[i].proj, sum);
    }
    visit(&t->query, sum);
    visit(&t->patch, sum);
    visit(&t->project, sum);
}

static void free_layer(npr_linear *l, size_t *sum)
{
    (void)sum;
    npr_matrix_free(l->packed);
    npr_dnn_free(l->dnn);
}

void npr_layers_free(npr_clip *m)
{
    each_layer(&m->image, free_layer, NULL);
    each_layer(&m->text, free_layer, NULL);
}

static void most_scratch(npr_linear *l, size_t *sum)
{
    size_t bytes = l->dnn ? npr_dnn_scratch(l->dnn) : 0;
    *sum = bytes > *sum ? bytes : *sum;
}

size_t npr_layers_scratch(const npr_clip *m, int rows)
{
    size_t bytes = m->precision == NPR_FP32 ? npr_product_scratch(rows) * sizeof(float) : 64;
    npr_clip copy = *m; /* visiting takes towers that could be changed; these are not */
    each_layer(&copy.image, most_scratch, &bytes);
    each_layer(&copy.text, most_scratch, &bytes);
    return bytes;
}

/* ---- running ------------------------------------------------------------------------------------------- */

npr_status npr_layer_run(npr_clip_work *w, const npr_linear *l, int rows, const float *x, float *y)
{
    if (l->packed) {
        npr_product_run(&(npr_product){.w = l->packed,
                                       .bias = l->bias,
                                       .rows = rows,
                                       .x = x,
                                       .y = y,
                                       .add = l->kind == NPR_LAYER_ADD || l->kind == NPR_LAYER_ADD_HIDDEN,
                                       .activate = l->kind != NPR_LAYER_HIDDEN ? NULL
                                                   : w->m->config.quick_gelu   ? npr_kernel_quick_gelu
                                                                               : npr_kernel_gelu,
                                       .scratch = w->scratch});
        return NPR_OK;
    }
    if (w->m->precision != NPR_BF16 || l->kind == NPR_LAYER_ADD_HIDDEN)
        return npr_dnn_run(l->dnn, x, y, w->scratch);
    npr_kernel_bfloat((size_t)rows * (size_t)l->in, x, w->half);
    return npr_dnn_run(l->dnn, w->half, y, w->scratch);
}
