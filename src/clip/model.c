/* model.c - opening and closing a model. See npr/clip.h and model.h. */
#include "clip/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "clip/config.h"

int npr_precision_available(npr_precision precision)
{
    return precision == NPR_FP32 || (precision == NPR_BF16 && npr_dnn_has_bf16());
}

static npr_status check_precision(int precision)
{
    if (precision == NPR_DNN_FP32 || npr_precision_available((npr_precision)precision)) return NPR_OK;
    if (!npr_dnn_built())
        return npr_fail(NPR_EENV, "bfloat16 needs oneDNN, which this build does not have: use fp32");
    return npr_fail(NPR_EENV,
                    "bfloat16 needs a CPU with AVX512-BF16 or AMX, which this one does not have: use fp32");
}

static npr_status make(const npr_clip_config *config, int towers, npr_precision precision, npr_clip **out)
{
    *out = NULL;
    NPR_TRY(npr_clip_config_check("CLIP model", config));
    NPR_TRY(check_precision((int)precision));
    npr_clip *m = npr_alloc(1, sizeof *m, "a CLIP model");
    if (!m) return npr_last();
    m->config = *config;
    m->towers = towers;
    m->precision = (int)precision;
    *out = m;
    return NPR_OK;
}

static npr_status keep_or_close(npr_status st, npr_clip **m)
{
    if (!st) return NPR_OK;
    npr_clip_close(*m);
    *m = NULL;
    return st;
}

/* OpenAI trained with QuickGELU; its weights under a configuration with GELU give features that look sound
 * and are not (open_clip issues 441, 771, 1109). Nothing in a file says so for certain. What tells: "openai"
 * in its path or metadata; matrices stored as floats that hold nothing but binary16 values, as OpenAI
 * published them. */
static npr_status check_gelu(npr_clip *m)
{
    if (m->config.quick_gelu) return NPR_OK;
    const char *why = strcasestr(m->file.path, "openai")                           ? "its name says OpenAI"
                      : m->file.metadata && strcasestr(m->file.metadata, "openai") ? "its metadata say OpenAI"
                      : npr_weights_were_half(m)
                          ? "its matrices hold binary16 values only, as those OpenAI published"
                          : NULL;
    if (!why) return NPR_OK;
    enum { ROOM = 400 };
    if (!(m->warning = npr_alloc(ROOM, 1, "a warning"))) return npr_last();
    snprintf(
        m->warning, ROOM,
        "%s, and OpenAI's weights want \"quick_gelu\": true, but the configuration says GELU: if they are "
        "OpenAI's, the features will be wrong",
        why);
    return NPR_OK;
}

npr_status npr_clip_open(const char *weights, const npr_clip_config *config, int towers,
                         npr_precision precision, npr_clip **out)
{
    NPR_TRY(make(config, towers, precision, out));
    npr_status st = npr_tensors_open(weights, &(*out)->file);
    if (!st) st = npr_weights_bind(*out);
    if (!st) st = check_gelu(*out);
    if (!st) st = npr_layers_pack(*out);
    return keep_or_close(st, out);
}

npr_status npr_clip_make_up(const npr_clip_config *config, uint64_t seed, int towers, npr_precision precision,
                            npr_clip **out)
{
    NPR_TRY(make(config, towers, precision, out));
    npr_status st = npr_weights_make_up(*out, seed);
    return keep_or_close(st ? st : npr_layers_pack(*out), out);
}

void npr_clip_close(npr_clip *m)
{
    if (!m) return;
    npr_layers_free(m);
    npr_weights_free(m);
    free(m->warning);
    npr_tensors_close(&m->file);
    free(m);
}

const npr_clip_config *npr_clip_config_of(const npr_clip *m)
{
    return &m->config;
}

const char *npr_clip_warning(const npr_clip *m)
{
    return m->warning;
}

npr_status npr_clip_digest(const npr_clip *m, char hex[33])
{
    return npr_tensors_digest(&m->file, hex);
}
