/* blocks.c - the transformer of a tower: pre-norm blocks of attention and a hidden layer. See work.h.
 *
 * Of the last block only one row per sequence is needed: keys and values are computed of all rows, the rest
 * of those rows alone. */
#include <string.h>

#include "clip/kernel.h"
#include "clip/work.h"

static void norm(const npr_norm *n, int rows, int width, const float *x, float *y)
{
    npr_kernel_norm(rows, width, x, n->gain, n->shift, y);
}

/* x += hidden layer of its normalised rows, which go to y. */
static npr_status add_hidden(npr_clip_work *w, const npr_block *b, int rows, float *x, float *y)
{
    norm(&b->norm2, rows, b->fc.in, x, y);
    NPR_TRY(npr_layer_run(w, &b->fc, rows, y, w->wide));
    return npr_layer_run(w, &b->proj, rows, w->wide, x);
}

/* Attention of all heads of all sequences: queries, keys and values in w->wide, output to w->y. */
static void attend(const npr_tower *t, npr_clip_work *w, const npr_batch *b)
{
    int width = t->shape.width, head = width / t->shape.heads;
    for (int i = 0; i < b->n; i++)
        for (int h = 0; h < t->shape.heads; h++) {
            const float *q = w->wide + (size_t)w->first[i] * 3 * (size_t)width + h * head;
            npr_attention a = {.nq = w->length[i],
                               .nk = w->length[i],
                               .width = head,
                               .first = b->causal ? 0 : -1,
                               .q = q,
                               .k = q + width,
                               .v = q + 2 * width,
                               .out = w->y + (size_t)w->first[i] * (size_t)width + h * head,
                               .q_stride = 3 * width,
                               .kv_stride = 3 * width,
                               .out_stride = width};
            npr_attention_run(&a, w->score, w->scale);
        }
}

/* The same of the pooled rows: queries in w->pooled_q, keys and values in w->wide, output to w->pooled_y. A
 * pooled row is the last of its sequence, or there is no causal mask: it sees all. */
static void attend_pooled(const npr_tower *t, npr_clip_work *w, const npr_batch *b)
{
    int width = t->shape.width, head = width / t->shape.heads;
    for (int i = 0; i < b->n; i++)
        for (int h = 0; h < t->shape.heads; h++) {
            const float *k = w->wide + (size_t)w->first[i] * 2 * (size_t)width + h * head;
            size_t at = (size_t)i * (size_t)width + (size_t)(h * head);
            npr_attention a = {.nq = 1,
                               .nk = w->length[i],
                               .width = head,
                               .first = -1,
                               .q = w->pooled_q + at,
                               .k = k,
                               .v = k + width,
                               .out = w->pooled_y + at,
                               .q_stride = width,
                               .kv_stride = 2 * width,
                               .out_stride = width};
            npr_attention_run(&a, w->score, w->scale);
        }
}

static npr_status run_block(const npr_tower *t, const npr_block *k, npr_clip_work *w, const npr_batch *b)
{
    norm(&k->norm1, b->rows, t->shape.width, w->x, w->y);
    NPR_TRY(npr_layer_run(w, &k->qkv, b->rows, w->y, w->wide));
    attend(t, w, b);
    NPR_TRY(npr_layer_run(w, &k->out, b->rows, w->y, w->x));
    return add_hidden(w, k, b->rows, w->x, w->y);
}

/* Copy the pooled rows of x and y side by side. */
static void gather_pooled(const npr_tower *t, npr_clip_work *w, const npr_batch *b)
{
    size_t width = (size_t)t->shape.width;
    for (int i = 0; i < b->n; i++) {
        memcpy(w->pooled + (size_t)i * width, w->x + (size_t)w->pool[i] * width, width * sizeof *w->x);
        memcpy(w->pooled_y + (size_t)i * width, w->y + (size_t)w->pool[i] * width, width * sizeof *w->y);
    }
}

static npr_status run_last_block(const npr_tower *t, const npr_block *k, npr_clip_work *w, const npr_batch *b)
{
    norm(&k->norm1, b->rows, t->shape.width, w->x, w->y);
    NPR_TRY(npr_layer_run(w, &k->qkv, b->rows, w->y, w->wide));
    gather_pooled(t, w, b);
    NPR_TRY(npr_layer_run(w, &t->query, b->n, w->pooled_y, w->pooled_q));
    attend_pooled(t, w, b);
    NPR_TRY(npr_layer_run(w, &k->out, b->n, w->pooled_y, w->pooled));
    return add_hidden(w, k, b->n, w->pooled, w->pooled_y);
}

npr_status npr_blocks_run(const npr_tower *t, npr_clip_work *w, const npr_batch *b)
{
    int last = t->shape.layers - 1, width = t->shape.width;
    if (w->trace) w->trace(w->context, -1, w->x, b->rows, width);
    for (int i = 0; i < last; i++) {
        NPR_TRY(run_block(t, &t->block[i], w, b));
        if (w->trace) w->trace(w->context, i, w->x, b->rows, width);
    }
    NPR_TRY(run_last_block(t, &t->block[last], w, b));
    if (w->trace) w->trace(w->context, last, w->pooled, b->n, width);
    return NPR_OK;
}

npr_status npr_project(const npr_tower *t, npr_clip_work *w, int n, float *features)
{
    norm(&t->post, n, t->shape.width, w->pooled, w->pooled);
    NPR_TRY(npr_layer_run(w, &t->project, n, w->pooled, w->pooled_q));
    memcpy(features, w->pooled_q, (size_t)n * (size_t)t->project.out * sizeof *features);
    return NPR_OK;
}
