/* Opening a model: a missing, extra or misshapen tensor is named; only the towers asked for are read; digest;
 * the warning about OpenAI's weights; no memory. */
#include "tiny.h"

#include "base/digest.h"
#include "base/file.h"
#include "clip/model.h"

enum { BOTH = NPR_TOWER_IMAGE | NPR_TOWER_TEXT };

static npr_status open_with(const char *path, const npr_clip_config *c, int towers)
{
    npr_clip *m = NULL;
    npr_status st = npr_clip_open(path, c, towers, NPR_FP32, &m);
    CHECK(st ? m == NULL : m != NULL);
    npr_clip_close(m);
    return st;
}

/* The tiny model with one text of its header replaced by another of the same length. */
static const char *edited(const char *from, const char *to)
{
    static char path[4096];
    char *bytes = NULL;
    size_t n = 0, m = strlen(from);
    int found = 0;
    CHECK_OK(npr_file_read(tiny_path("tiny_clip.safetensors"), 1 << 20, &bytes, &n));
    CHECK(strlen(to) == m);
    for (size_t i = 0; bytes && i + m < n && !found; i++)
        if (!memcmp(bytes + i, from, m)) {
            memcpy(bytes + i, to, m);
            found = 1;
        }
    CHECK(found);
    snprintf(path, sizeof path, "%s/edited.safetensors", test_folder());
    CHECK_OK(npr_file_replace(path, bytes, n));
    free(bytes);
    return path;
}

static void wrong_tensors(void)
{
    static const char *const bad[][3] = {
        {"\"visual.proj\"", "\"visual.pro2\"", "tensor visual.proj is missing, wanted with shape [48, 24]"},
        {"\"ln_final.bias\"", "\"ln_final.bia2\"", "tensor ln_final.bias is missing, wanted with shape [32]"},
        {"\"logit_scale\"", "\"logit_scal2\"", "tensor logit_scal2 of shape [] belongs to no part"},
        {"\"shape\": [48, 3, 8, 8]", "\"shape\": [48, 8, 3, 8]",
         "tensor visual.conv1.weight has shape [48, 8, 3, 8], the configuration wants [48, 3, 8, 8]"},
        {"resblocks.1.mlp.c_fc.weight", "resblocks.2.mlp.c_fc.weight",
         "resblocks.1.mlp.c_fc.weight is missing"}};
    npr_clip_config c;
    CHECK_OK(npr_clip_config_read(tiny_path("tiny_clip_gelu.json"), &c));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        for (int towers = 1; towers <= BOTH;
             towers++) /* names and shapes are checked of both towers always */
            CHECK_FAILS(open_with(edited(bad[i][0], bad[i][1]), &c, towers), NPR_EDATA, bad[i][2]);
    CHECK_OK(open_with(edited("\"logit_scale\"", "\"logit_bias\" "), &c, BOTH));
    /* a type that cannot be used matters where it is used */
    const char *odd = edited("\"F16\", \"shape\": [48, 3, 8, 8]", "\"I16\", \"shape\": [48, 3, 8, 8]");
    CHECK_FAILS(open_with(odd, &c, NPR_TOWER_IMAGE), NPR_EDATA, "visual.conv1.weight is of type I16");
    CHECK_OK(open_with(odd, &c, NPR_TOWER_TEXT));
    c.text.layers = 1;
    CHECK_FAILS(open_with(odd, &c, BOTH), NPR_EDATA, "belongs to no part"); /* said before a tensor is read */
    CHECK_FAILS(open_with(tiny_path("tiny_clip.safetensors"), &c, BOTH), NPR_EDATA, "belongs to no part");
    c.text.layers = 3;
    CHECK_FAILS(open_with(tiny_path("tiny_clip.safetensors"), &c, BOTH), NPR_EDATA,
                "transformer.resblocks.2.ln_1.weight is missing");
    c.text.layers = 2;
    c.vision.heads = 5;
    CHECK_FAILS(open_with(tiny_path("tiny_clip.safetensors"), &c, BOTH), NPR_EDATA, "heads 5");
}

static void digest_and_warning(void)
{
    npr_clip_config c;
    npr_clip *m = tiny_open("tiny_clip_gelu.json", NPR_TOWER_IMAGE, NPR_FP32);
    char ours[NPR_DIGEST_HEX], files[NPR_DIGEST_HEX];
    int64_t bytes;
    CHECK_OK(npr_clip_digest(m, ours));
    CHECK_OK(npr_digest_file(tiny_path("tiny_clip.safetensors"), files, &bytes));
    CHECK_TEXT(ours, files);
    CHECK(npr_clip_warning(m) == NULL);
    CHECK(npr_clip_config_of(m)->embed_dim == 24);
    npr_clip_close(m);

    char path[4096], *copy = NULL;
    size_t n = 0;
    snprintf(path, sizeof path, "%s/vit_OpenAI.safetensors", test_folder());
    CHECK_OK(npr_file_read(tiny_path("tiny_clip.safetensors"), 1 << 20, &copy, &n));
    CHECK_OK(npr_file_replace(path, copy, n));
    free(copy);
    for (int quick = 0; quick < 2; quick++) {
        CHECK_OK(
            npr_clip_config_read(tiny_path(quick ? "tiny_clip_quickgelu.json" : "tiny_clip_gelu.json"), &c));
        CHECK_OK(npr_clip_open(path, &c, BOTH, NPR_FP32, &m));
        CHECK(quick ? npr_clip_warning(m) == NULL
                    : strstr(npr_clip_warning(m), "its name says OpenAI") != NULL);
        npr_clip_close(m);
    }
}

/* Matrices stored as floats that hold binary16 values only, and others. */
static void weights_that_were_half(void)
{
    float w[2 * 3 * 4], one = 1.0f + 0x1p-20f;
    npr_tensor x = {.name = (char *)(uintptr_t) "visual.transformer.resblocks.0.attn.in_proj_weight",
                    .dtype = "F32"};
    npr_block block = {.qkv = {.in = 4, .out = 6, .w = w}};
    npr_clip m = {.towers = NPR_TOWER_IMAGE, .image = {.block = &block}, .file = {.tensor = &x, .count = 1}};
    for (int i = 0; i < 24; i++) w[i] = (float)i / 8 - 1;
    CHECK(npr_weights_were_half(&m));
    w[23] = one;
    CHECK(!npr_weights_were_half(&m));
}

static void made_up(void)
{
    npr_clip_config c;
    npr_clip *m = NULL;
    CHECK_OK(npr_clip_config_read(tiny_path("tiny_clip_gelu.json"), &c));
    c.vision.width = 0;
    CHECK_FAILS(npr_clip_make_up(&c, 1, BOTH, NPR_FP32, &m), NPR_EDATA, "width 0");
    CHECK(m == NULL);
    npr_clip_close(NULL);
    npr_clip_work_free(NULL);
}

int main(void)
{
    wrong_tensors();
    digest_and_warning();
    weights_that_were_half();
    made_up();
    test_folder_remove();
    return TEST_END();
}
