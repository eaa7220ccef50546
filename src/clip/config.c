/* config.c - reading open_clip's model JSON. See npr/clip.h and config.h.
 *
 * A key that is not known here is refused by name: it may change the arithmetic. Known keys that would are
 * let through only with the value that leaves it as it is. */
#include "clip/config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"

enum {
    FILE_MAX = 1 << 20,
    WIDTH_MAX = 8192,
    LAYERS_MAX = 256,
    HEADS_MAX = 512,
    SIDE_MAX = 2048, /* pixels */
    TOKENS_MAX = 16384,
    VOCAB_MAX = 1 << 20,
    RATIO_MAX = 16
};

/* A JSON object being read. */
typedef struct reader {
    const char *origin;
    const char *where; /* "vision_cfg" */
    npr_json *object;
} reader;

/* What a key may be. NEUTRAL: absent, null, false, 0, or the text given: other values change the arithmetic.
 * INERT: any value, as it does not change what the towers compute. */
typedef enum kind { VALUE, NEUTRAL, INERT } kind;

typedef struct key {
    const char *name;
    kind kind;
    const char *text;
} key;

static const key model_keys[] = {{"embed_dim", VALUE, 0},        {"quick_gelu", VALUE, 0},
                                 {"vision_cfg", VALUE, 0},       {"text_cfg", VALUE, 0},
                                 {"custom_text", NEUTRAL, 0},    {"multimodal_cfg", NEUTRAL, 0},
                                 {"init_logit_scale", INERT, 0}, {"init_logit_bias", INERT, 0}};

static const key vision_keys[] = {
    {"image_size", VALUE, 0},
    {"layers", VALUE, 0},
    {"width", VALUE, 0},
    {"patch_size", VALUE, 0},
    {"head_width", VALUE, 0},
    {"mlp_ratio", VALUE, 0},
    {"patch_dropout", INERT, 0}, /* while training only */
    {"n_queries", INERT, 0},
    {"attn_pooler_heads", INERT, 0}, /* of the attentional pool, which is refused */
    {"ls_init_value", NEUTRAL, 0},
    {"input_patchnorm", NEUTRAL, 0},
    {"global_average_pool", NEUTRAL, 0},
    {"attentional_pool", NEUTRAL, 0},
    {"output_tokens", NEUTRAL, 0},
    {"timm_model_name", NEUTRAL, 0},
    {"no_ln_pre", NEUTRAL, 0},
    {"final_ln_after_pool", NEUTRAL, 0},
    {"pool_type", NEUTRAL, "tok"},
    {"pos_embed_type", NEUTRAL, "learnable"}};

static const key text_keys[] = {{"context_length", VALUE, 0},
                                {"vocab_size", VALUE, 0},
                                {"width", VALUE, 0},
                                {"heads", VALUE, 0},
                                {"layers", VALUE, 0},
                                {"mlp_ratio", VALUE, 0},
                                {"pad_id", INERT, 0},
                                {"ls_init_value", NEUTRAL, 0},
                                {"embed_cls", NEUTRAL, 0},
                                {"output_tokens", NEUTRAL, 0},
                                {"hf_model_name", NEUTRAL, 0},
                                {"hf_tokenizer_name", INERT, 0},
                                {"no_causal_mask", NEUTRAL, 0},
                                {"pool_type", NEUTRAL, "argmax"},
                                {"proj_bias", NEUTRAL, 0},
                                {"proj_type", NEUTRAL, "linear"}};

static const key preprocess_keys[] = {{"mean", VALUE, 0},
                                      {"std", VALUE, 0},
                                      {"size", VALUE, 0},
                                      {"mode", NEUTRAL, "RGB"},
                                      {"interpolation", NEUTRAL, "bicubic"},
                                      {"resize_mode", NEUTRAL, "shortest"},
                                      {"fill_color", INERT, 0}};

/* Whether a value is as good as absent. */
static int is_neutral(npr_json *object, const key *k)
{
    npr_json *v = npr_json_get(object, k->name);
    const char *text = npr_json_text(v);
    double number;
    int flag;
    if (!v || (text && (!*text || (k->text && !strcmp(text, k->text))))) return 1;
    if (npr_json_number(v, &number)) return number == 0;
    return npr_json_get_bool(object, k->name, "", &flag) == NPR_OK && !flag;
}

static npr_status check_keys(const reader *r, const key *known, size_t n)
{
    for (const char *name = npr_json_next_key(r->object, NULL); name;
         name = npr_json_next_key(r->object, name)) {
        size_t i = 0;
        while (i < n && strcmp(known[i].name, name) != 0) i++;
        if (i == n)
            return npr_fail(NPR_EDATA, "%s: key \"%.100s\" in %s is not known and may change the arithmetic",
                            r->origin, name, r->where);
        if (known[i].kind == NEUTRAL && !is_neutral(r->object, &known[i]))
            return npr_fail(NPR_EDATA, "%s: \"%s\" in %s asks for a tower that npr does not compute",
                            r->origin, name, r->where);
    }
    return NPR_OK;
}

#define CHECK_KEYS(r, known) check_keys((r), (known), sizeof(known) / sizeof *(known))

/* An integer in [1, most]; absent: `otherwise`, unless that is 0. */
static npr_status read_int(const reader *r, const char *name, int most, int otherwise, int *out)
{
    npr_json *v = npr_json_get(r->object, name);
    int64_t x = otherwise;
    if ((v && !npr_json_integer(v, &x)) || x < 1 || x > most)
        return npr_fail(NPR_EDATA, "%s: \"%s\" in %s should be an integer from 1 to %d%s", r->origin, name,
                        r->where, most, v ? "" : ", it is missing");
    *out = (int)x;
    return NPR_OK;
}

/* Width of the hidden layer: width times "mlp_ratio", without its fraction as in open_clip. */
static npr_status read_mlp(const reader *r, npr_transformer *t)
{
    npr_json *v = npr_json_get(r->object, "mlp_ratio");
    double ratio = 4;
    if ((v && !npr_json_number(v, &ratio)) || !(ratio * t->width >= 1 && ratio <= RATIO_MAX))
        return npr_fail(NPR_EDATA, "%s: \"mlp_ratio\" in %s should be a number up to %d", r->origin, r->where,
                        RATIO_MAX);
    t->mlp = (int)(ratio * t->width);
    return NPR_OK;
}

static npr_status open_reader(const reader *parent, const char *name, reader *r)
{
    *r = (reader){parent->origin, name, npr_json_get(parent->object, name)};
    if (!r->object || !npr_json_is_object(r->object))
        return npr_fail(NPR_EDATA, "%s: \"%s\" in %s should be an object", parent->origin, name,
                        parent->where);
    return NPR_OK;
}

static npr_status read_vision(const reader *model, npr_clip_config *c)
{
    reader r;
    int head_width = 0;
    NPR_TRY(open_reader(model, "vision_cfg", &r));
    if (npr_json_count(npr_json_get(r.object, "layers")))
        return npr_fail(NPR_EDATA,
                        "%s: \"layers\" in vision_cfg is a list: a ResNet; npr computes vision transformers",
                        r.origin);
    NPR_TRY(CHECK_KEYS(&r, vision_keys));
    NPR_TRY(read_int(&r, "image_size", SIDE_MAX, 224, &c->image_size));
    NPR_TRY(read_int(&r, "patch_size", SIDE_MAX, 16, &c->patch_size));
    NPR_TRY(read_int(&r, "width", WIDTH_MAX, 768, &c->vision.width));
    NPR_TRY(read_int(&r, "layers", LAYERS_MAX, 12, &c->vision.layers));
    NPR_TRY(read_int(&r, "head_width", WIDTH_MAX, 64, &head_width));
    c->vision.heads = c->vision.width / head_width;
    return read_mlp(&r, &c->vision);
}

static npr_status read_text(const reader *model, npr_clip_config *c)
{
    reader r;
    NPR_TRY(open_reader(model, "text_cfg", &r));
    NPR_TRY(CHECK_KEYS(&r, text_keys));
    NPR_TRY(read_int(&r, "context_length", TOKENS_MAX, 77, &c->context));
    NPR_TRY(read_int(&r, "vocab_size", VOCAB_MAX, 49408, &c->vocab));
    NPR_TRY(read_int(&r, "width", WIDTH_MAX, 512, &c->text.width));
    NPR_TRY(read_int(&r, "heads", HEADS_MAX, 8, &c->text.heads));
    NPR_TRY(read_int(&r, "layers", LAYERS_MAX, 12, &c->text.layers));
    return read_mlp(&r, &c->text);
}

static npr_status read_model(const reader *r, npr_clip_config *c)
{
    NPR_TRY(CHECK_KEYS(r, model_keys));
    NPR_TRY(read_int(r, "embed_dim", WIDTH_MAX, 0, &c->embed_dim));
    if (npr_json_get(r->object, "quick_gelu"))
        NPR_TRY(npr_json_get_bool(r->object, "quick_gelu", r->origin, &c->quick_gelu));
    NPR_TRY(read_vision(r, c));
    return read_text(r, c);
}

/* ---- the wrapper of published models ------------------------------------------------------------------- */

static npr_status read_channels(const reader *r, const char *name, double above, float out[3])
{
    npr_json *v = npr_json_get(r->object, name);
    if (!v) return NPR_OK;
    int good = npr_json_count(v) == 3;
    for (size_t i = 0; good && i < 3; i++) {
        double x = 0;
        good = npr_json_number(npr_json_at(v, i), &x) && x > above && x <= 255;
        out[i] = (float)x;
    }
    if (good) return NPR_OK;
    return npr_fail(NPR_EDATA, "%s: \"%s\" in preprocess_cfg should be three numbers from %g to 255",
                    r->origin, name, above);
}

/* "size" is said again here; it must be the tower's. */
static npr_status check_size(const reader *r, const npr_clip_config *c)
{
    npr_json *v = npr_json_get(r->object, "size");
    int64_t side[2] = {c->image_size, c->image_size};
    if (npr_json_count(v) == 2)
        for (size_t i = 0; i < 2; i++) npr_json_integer(npr_json_at(v, i), &side[i]);
    else if (v && npr_json_integer(v, &side[0]))
        side[1] = side[0];
    else if (v)
        side[0] = -1;
    if (side[0] == c->image_size && side[1] == c->image_size) return NPR_OK;
    return npr_fail(NPR_EDATA, "%s: \"size\" in preprocess_cfg should be the image_size of vision_cfg, %d",
                    r->origin, c->image_size);
}

static npr_status read_wrapper(const reader *r, npr_clip_config *c)
{
    static const key keys[] = {{"model_cfg", VALUE, 0}, {"preprocess_cfg", VALUE, 0}};
    reader model, preprocess;
    NPR_TRY(CHECK_KEYS(r, keys));
    NPR_TRY(open_reader(r, "model_cfg", &model));
    NPR_TRY(read_model(&model, c));
    if (!npr_json_get(r->object, "preprocess_cfg")) return NPR_OK;
    NPR_TRY(open_reader(r, "preprocess_cfg", &preprocess));
    NPR_TRY(CHECK_KEYS(&preprocess, preprocess_keys));
    NPR_TRY(read_channels(&preprocess, "mean", -255, c->mean));
    NPR_TRY(read_channels(&preprocess, "std", 0, c->std));
    return check_size(&preprocess, c);
}

/* ---- the whole ----------------------------------------------------------------------------------------- */

static npr_status check_transformer(const char *origin, const char *where, const npr_transformer *t)
{
    if (t->width >= 1 && t->width <= WIDTH_MAX && t->layers >= 1 && t->layers <= LAYERS_MAX && t->mlp >= 1 &&
        t->mlp <= WIDTH_MAX * RATIO_MAX && t->heads >= 1 && t->heads <= HEADS_MAX && t->width % t->heads == 0)
        return NPR_OK;
    return npr_fail(NPR_EDATA,
                    "%s: %s: width %d (to %d), layers %d (to %d), heads %d (to %d, a divisor of the width), "
                    "hidden width %d (to %d)",
                    origin, where, t->width, WIDTH_MAX, t->layers, LAYERS_MAX, t->heads, HEADS_MAX, t->mlp,
                    WIDTH_MAX * RATIO_MAX);
}

npr_status npr_clip_config_check(const char *origin, const npr_clip_config *c)
{
    if (c->embed_dim < 1 || c->embed_dim > WIDTH_MAX || c->vocab < 1 || c->vocab > VOCAB_MAX ||
        c->context < 1 || c->context > TOKENS_MAX)
        return npr_fail(NPR_EDATA,
                        "%s: embed_dim %d (to %d), vocab_size %d (to %d) or context_length %d (to %d)",
                        origin, c->embed_dim, WIDTH_MAX, c->vocab, VOCAB_MAX, c->context, TOKENS_MAX);
    if (c->image_size < 1 || c->image_size > SIDE_MAX || c->patch_size < 1 || c->patch_size > c->image_size ||
        npr_clip_grid(c) * npr_clip_grid(c) >= TOKENS_MAX)
        return npr_fail(NPR_EDATA, "%s: images of %d pixels (to %d) in patches of %d: wanted 1 to %d patches",
                        origin, c->image_size, SIDE_MAX, c->patch_size, TOKENS_MAX - 1);
    NPR_TRY(check_transformer(origin, "vision_cfg", &c->vision));
    return check_transformer(origin, "text_cfg", &c->text);
}

npr_status npr_clip_config_parse(const char *text, size_t n, const char *origin, npr_clip_config *c)
{
    *c = (npr_clip_config){.mean = {0.48145466f, 0.4578275f, 0.40821073f},
                           .std = {0.26862954f, 0.26130258f, 0.27577711f}};
    npr_json *v = npr_json_parse(text, n, origin);
    if (!v) return npr_last();
    reader r = {origin, "the model", v};
    npr_status st;
    if (!npr_json_is_object(v))
        st = npr_fail(NPR_EDATA, "%s: a model configuration should be a JSON object", origin);
    else
        st = npr_json_get(v, "model_cfg") ? read_wrapper(&r, c) : read_model(&r, c);
    npr_json_free(v);
    return st ? st : npr_clip_config_check(origin, c);
}

npr_status npr_clip_config_read(const char *path, npr_clip_config *c)
{
    char *text = NULL;
    size_t n = 0;
    NPR_TRY(npr_file_read(path, FILE_MAX, &text, &n));
    npr_status st = npr_clip_config_parse(text, n, path, c);
    free(text);
    return st;
}

int npr_clip_grid(const npr_clip_config *c)
{
    return c->image_size / c->patch_size;
}

int npr_clip_image_tokens(const npr_clip_config *c)
{
    return npr_clip_grid(c) * npr_clip_grid(c) + 1;
}

/* Of `layers` blocks: queries, keys, values and output, 4 w^2; the hidden layer, 2 w m; attention, 2 w n a
 * row. */
static double blocks_flops(const npr_transformer *t, double rows)
{
    double w = t->width;
    return t->layers * rows * 2 * (4 * w * w + 2 * w * t->mlp + 2 * w * rows);
}

double npr_clip_image_flops(const npr_clip_config *c)
{
    double w = c->vision.width, patches = npr_clip_image_tokens(c) - 1, p = c->patch_size;
    return blocks_flops(&c->vision, patches + 1) + 2 * patches * 3 * p * p * w + 2 * w * c->embed_dim;
}

double npr_clip_text_flops(const npr_clip_config *c, int length)
{
    return blocks_flops(&c->text, length) + 2.0 * c->text.width * c->embed_dim;
}
