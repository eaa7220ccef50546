/* dnn.c - see dnn.h. A primitive is made for its number of rows, its weights are laid out as it asks (format
 * "any"), and it is run with one thread and scratch memory of the caller. */
#include "clip/dnn.h"

#if defined(NPR_DNN)

#include <dnnl.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct npr_dnn {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_attr_t attr;
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t primitive;
    dnnl_memory_desc_t x, w, b, y, scratch; /* shapes */
    dnnl_memory_t packed, bias;
    float *bias_values;
};

#define DNN_TRY(call)                                                                                        \
    do {                                                                                                     \
        dnnl_status_t status_ = (call);                                                                      \
        if (status_ != dnnl_success)                                                                         \
            return npr_fail(status_ == dnnl_out_of_memory ? NPR_EINTERNAL : NPR_EENV,                        \
                            "oneDNN: %s failed with %d", #call, (int)status_);                               \
    } while (0)

const char *npr_dnn_version(void)
{
    static char text[48];
    const dnnl_version_t *v = dnnl_version();
    snprintf(text, sizeof text, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
    return text;
}

int npr_dnn_built(void)
{
    return 1;
}

int npr_dnn_has_bf16(void)
{
    dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();
    return (isa & dnnl_cpu_isa_avx512_core_bf16) == dnnl_cpu_isa_avx512_core_bf16;
}

static dnnl_data_type_t type_of(npr_dnn_type t)
{
    return t == NPR_DNN_BF16 ? dnnl_bf16 : dnnl_f32;
}

static npr_status make_shapes(const npr_dnn_layer *l, npr_dnn *d)
{
    dnnl_dims_t x = {l->rows, l->in}, w = {l->in, l->out}, b = {1, l->out}, y = {l->rows, l->out};
    DNN_TRY(dnnl_memory_desc_init_by_tag(&d->x, 2, x, type_of(l->type), dnnl_ab));
    DNN_TRY(dnnl_memory_desc_init_by_tag(&d->w, 2, w, type_of(l->type), dnnl_format_tag_any));
    DNN_TRY(dnnl_memory_desc_init_by_tag(&d->b, 2, b, dnnl_f32, dnnl_ab));
    DNN_TRY(dnnl_memory_desc_init_by_tag(&d->y, 2, y, type_of(l->result), dnnl_ab));
    return NPR_OK;
}

static npr_status make_post_ops(const npr_dnn_layer *l, dnnl_post_ops_t ops)
{
    if (l->add) DNN_TRY(dnnl_post_ops_append_sum(ops, 1));
    if (l->activation == NPR_DNN_GELU)
        DNN_TRY(dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_gelu_erf, 0, 0));
    if (l->activation == NPR_DNN_QUICK_GELU)
        DNN_TRY(dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_swish, 1.702f, 0));
    return NPR_OK;
}

static npr_status make_attributes(const npr_dnn_layer *l, npr_dnn *d)
{
    dnnl_post_ops_t ops;
    DNN_TRY(dnnl_primitive_attr_create(&d->attr));
    DNN_TRY(dnnl_primitive_attr_set_scratchpad_mode(d->attr, dnnl_scratchpad_mode_user));
    DNN_TRY(dnnl_post_ops_create(&ops));
    npr_status st = make_post_ops(l, ops);
    if (!st && dnnl_primitive_attr_set_post_ops(d->attr, ops) != dnnl_success)
        st = npr_fail(NPR_EENV, "oneDNN: cannot set post-ops");
    dnnl_post_ops_destroy(ops);
    return st;
}

static npr_status make_primitive(const npr_dnn_layer *l, npr_dnn *d)
{
    dnnl_matmul_desc_t matmul;
    NPR_TRY(make_shapes(l, d));
    NPR_TRY(make_attributes(l, d));
    DNN_TRY(dnnl_matmul_desc_init(&matmul, &d->x, &d->w, l->bias ? &d->b : NULL, &d->y));
    DNN_TRY(dnnl_primitive_desc_create(&d->desc, &matmul, d->attr, d->engine, NULL));
    DNN_TRY(dnnl_primitive_create(&d->primitive, d->desc));
    d->w = *dnnl_primitive_desc_query_md(d->desc, dnnl_query_weights_md, 0);
    d->scratch = *dnnl_primitive_desc_query_md(d->desc, dnnl_query_scratchpad_md, 0);
    return NPR_OK;
}

static npr_status run_reorder(npr_dnn *d, dnnl_memory_t from, dnnl_primitive_t reorder)
{
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, d->packed}};
    DNN_TRY(dnnl_primitive_execute(reorder, d->stream, 2, args));
    DNN_TRY(dnnl_stream_wait(d->stream));
    return NPR_OK;
}

static npr_status pack_from(npr_dnn *d, dnnl_memory_t from, const dnnl_memory_desc_t *plain)
{
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t reorder;
    DNN_TRY(dnnl_reorder_primitive_desc_create(&desc, plain, d->engine, &d->w, d->engine, NULL));
    dnnl_status_t made = dnnl_primitive_create(&reorder, desc);
    dnnl_primitive_desc_destroy(desc);
    DNN_TRY(made);
    npr_status st = run_reorder(d, from, reorder);
    dnnl_primitive_destroy(reorder);
    return st;
}

static npr_status pack(const npr_dnn_layer *l, npr_dnn *d)
{
    dnnl_dims_t dims = {l->in, l->out};
    dnnl_memory_desc_t plain;
    dnnl_memory_t from;
    DNN_TRY(dnnl_memory_desc_init_by_tag(&plain, 2, dims, dnnl_f32, l->transposed ? dnnl_ab : dnnl_ba));
    DNN_TRY(dnnl_memory_create(&d->packed, &d->w, d->engine, DNNL_MEMORY_ALLOCATE));
    DNN_TRY(dnnl_memory_create(&from, &plain, d->engine, (void *)(uintptr_t)l->w));
    npr_status st = pack_from(d, from, &plain);
    dnnl_memory_destroy(from);
    if (st || !l->bias) return st;
    if (!(d->bias_values = npr_alloc((size_t)l->out, sizeof *d->bias_values, "a bias"))) return npr_last();
    memcpy(d->bias_values, l->bias, (size_t)l->out * sizeof *d->bias_values);
    DNN_TRY(dnnl_memory_create(&d->bias, &d->b, d->engine, d->bias_values));
    return NPR_OK;
}

static npr_status make(const npr_dnn_layer *l, npr_dnn *d)
{
    DNN_TRY(dnnl_engine_create(&d->engine, dnnl_cpu, 0));
    DNN_TRY(dnnl_stream_create(&d->stream, d->engine, dnnl_stream_default_flags));
    NPR_TRY(make_primitive(l, d));
    return pack(l, d);
}

npr_status npr_dnn_make(const npr_dnn_layer *l, npr_dnn **out)
{
    npr_dnn *d = *out = npr_alloc(1, sizeof *d, "a layer");
    if (!d) return npr_last();
    int threads = omp_get_max_threads();
    omp_set_num_threads(1); /* of this thread's regions; oneDNN plans for as many */
    npr_status st = make(l, d);
    omp_set_num_threads(threads);
    if (st) {
        npr_dnn_free(d);
        *out = NULL;
    }
    return st;
}

void npr_dnn_free(npr_dnn *d)
{
    if (!d) return;
    if (d->packed) dnnl_memory_destroy(d->packed);
    if (d->bias) dnnl_memory_destroy(d->bias);
    if (d->primitive) dnnl_primitive_destroy(d->primitive);
    if (d->desc) dnnl_primitive_desc_destroy(d->desc);
    if (d->attr) dnnl_primitive_attr_destroy(d->attr);
    if (d->stream) dnnl_stream_destroy(d->stream);
    if (d->engine) dnnl_engine_destroy(d->engine);
    free(d->bias_values);
    free(d);
}

size_t npr_dnn_scratch(const npr_dnn *d)
{
    return dnnl_memory_desc_get_size(&d->scratch);
}

/* Memory objects of one run: x, y and scratch memory, as far as they were made. */
static npr_status execute(const npr_dnn *d, const void *x, void *y, void *scratch, dnnl_memory_t m[3],
                          dnnl_stream_t *stream)
{
    DNN_TRY(dnnl_stream_create(stream, d->engine, dnnl_stream_default_flags));
    DNN_TRY(dnnl_memory_create(&m[0], &d->x, d->engine, (void *)(uintptr_t)x));
    DNN_TRY(dnnl_memory_create(&m[1], &d->y, d->engine, y));
    DNN_TRY(dnnl_memory_create(&m[2], &d->scratch, d->engine, scratch));
    dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, m[0]},
                              {DNNL_ARG_WEIGHTS, d->packed},
                              {DNNL_ARG_DST, m[1]},
                              {DNNL_ARG_SCRATCHPAD, m[2]},
                              {DNNL_ARG_BIAS, d->bias}};
    DNN_TRY(dnnl_primitive_execute(d->primitive, *stream, d->bias ? 5 : 4, args));
    DNN_TRY(dnnl_stream_wait(*stream));
    return NPR_OK;
}

npr_status npr_dnn_run(const npr_dnn *d, const void *x, void *y, void *scratch)
{
    dnnl_memory_t m[3] = {0};
    dnnl_stream_t stream = NULL;
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    npr_status st = execute(d, x, y, scratch, m, &stream);
    omp_set_num_threads(threads);
    for (int i = 0; i < 3; i++)
        if (m[i]) dnnl_memory_destroy(m[i]);
    if (stream) dnnl_stream_destroy(stream);
    return st;
}

#else

const char *npr_dnn_version(void)
{
    return "oneDNN: not in this build";
}

int npr_dnn_built(void)
{
    return 0;
}

int npr_dnn_has_bf16(void)
{
    return 0;
}

npr_status npr_dnn_make(const npr_dnn_layer *layer, npr_dnn **out)
{
    (void)layer;
    *out = NULL;
    return npr_fail(NPR_EENV, "this build has no oneDNN");
}

void npr_dnn_free(npr_dnn *d)
{
    (void)d;
}

size_t npr_dnn_scratch(const npr_dnn *d)
{
    (void)d;
    return 0;
}

npr_status npr_dnn_run(const npr_dnn *d, const void *x, void *y, void *scratch)
{
    (void)d, (void)x, (void)y, (void)scratch;
    return npr_fail(NPR_EENV, "this build has no oneDNN");
}

#endif
