/* Configurations: open_clip's own files, the wrapper of published models, and what is refused, by name. */
#include "test.h"

#include "clip/config.h"

static npr_status parse(const char *text, npr_clip_config *c)
{
    return npr_clip_config_parse(text, strlen(text), "t.json", c);
}

static void published(void)
{
    static const struct {
        const char *name;
        double gflop;
        int embed, quick, image, patch, width, layers, heads, mlp, text_width, text_heads, text_layers;
    } known[] = {{"ViT-B-32", 8.82, 512, 0, 224, 32, 768, 12, 12, 3072, 512, 8, 12},
                 {"ViT-B-32-quickgelu", 8.82, 512, 1, 224, 32, 768, 12, 12, 3072, 512, 8, 12},
                 {"ViT-B-16", 35.13, 512, 0, 224, 16, 768, 12, 12, 3072, 512, 8, 12},
                 {"ViT-L-14", 162.03, 768, 0, 224, 14, 1024, 24, 16, 4096, 768, 12, 12},
                 {"ViT-H-14", 334.6, 1024, 0, 224, 14, 1280, 32, 16, 5120, 1024, 16, 24}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        char name[64];
        npr_clip_config c;
        snprintf(name, sizeof name, "clip/%s.json", known[i].name);
        const char *path = test_data(name);
        if (!path) continue;
        CHECK_OK(npr_clip_config_read(path, &c));
        CHECK(c.embed_dim == known[i].embed && c.quick_gelu == known[i].quick &&
              c.image_size == known[i].image && c.patch_size == known[i].patch &&
              c.vision.width == known[i].width && c.vision.layers == known[i].layers &&
              c.vision.heads == known[i].heads && c.vision.mlp == known[i].mlp &&
              c.text.width == known[i].text_width && c.text.heads == known[i].text_heads &&
              c.text.layers == known[i].text_layers && c.context == 77 && c.vocab == 49408 &&
              c.text.mlp == 4 * c.text.width);
        /* open_clip's docs/model_profile.csv */
        CHECK_NEAR(npr_clip_image_flops(&c) / 1e9, known[i].gflop, 0.05);
        CHECK_NEAR((double)c.mean[0], 0.48145466, 3e-8);
    }
}

#define V "\"vision_cfg\":{\"width\":64,\"head_width\":16,\"image_size\":30,\"patch_size\":7,\"layers\":2}"
#define T "\"text_cfg\":{\"width\":32,\"heads\":2,\"layers\":1}"

static void wrapped(void)
{
    npr_clip_config c;
    CHECK_OK(parse("{\"model_cfg\":{\"embed_dim\":8," V "," T
                   "},\"preprocess_cfg\":{\"mean\":[0.5,0.25,0.125],"
                   "\"std\":[1,2,3],\"size\":[30,30],\"interpolation\":\"bicubic\",\"mode\":\"RGB\"}}",
                   &c));
    CHECK(c.mean[1] == 0.25f && c.std[2] == 3.0f && c.vision.heads == 4 && npr_clip_grid(&c) == 4 &&
          npr_clip_image_tokens(&c) == 17);
    /* bigG's hidden layer: 4.9231 times 1664, without the fraction */
    CHECK_OK(parse("{\"embed_dim\":1280,\"vision_cfg\":{\"image_size\":224,\"layers\":48,\"width\":1664,"
                   "\"head_width\":104,\"mlp_ratio\":4.9231,\"patch_size\":14,\"patch_dropout\":0.5,"
                   "\"ls_init_value\":null,\"global_average_pool\":false}," T "}",
                   &c));
    CHECK(c.vision.mlp == 8192 && c.vision.heads == 16 && c.quick_gelu == 0);
}

static void refused(void)
{
    static const char *const bad[][2] = {
        {"[]", "should be a JSON object"},
        {"{", "not valid JSON"},
        {"{}", "\"embed_dim\" in the model should be an integer from 1 to 8192, it is missing"},
        {"{\"embed_dim\":8}", "\"vision_cfg\" in the model should be an object"},
        {"{\"embed_dim\":8.5," V "," T "}", "\"embed_dim\" in the model should be an integer"},
        {"{\"embed_dim\":8193," V "," T "}", "\"embed_dim\""},
        {"{\"embed_dim\":9223372036854775807," V "," T "}", "\"embed_dim\""},
        {"{\"embed_dim\":8,\"quick_gelu\":1," V "," T "}", "\"quick_gelu\" should be true or false"},
        {"{\"embed_dim\":8,\"surprise\":1," V "," T "}", "\"surprise\" in the model is not known"},
        {"{\"embed_dim\":8,\"custom_text\":true," V "," T "}", "\"custom_text\" in the model asks"},
        {"{\"embed_dim\":8,\"multimodal_cfg\":{}," V "," T "}", "\"multimodal_cfg\""},
        {"{\"embed_dim\":8,\"vision_cfg\":{\"timm_model_name\":\"x\"}," T "}",
         "\"timm_model_name\" in vision_cfg asks"},
        {"{\"embed_dim\":8,\"vision_cfg\":{\"layers\":[3,4,6,3]}," T "}", "a ResNet"},
        {"{\"embed_dim\":8,\"vision_cfg\":{\"ls_init_value\":1e-5}," T "}", "\"ls_init_value\""},
        {"{\"embed_dim\":8,\"vision_cfg\":{\"attentional_pool\":true}," T "}", "\"attentional_pool\""},
        {"{\"embed_dim\":8,\"vision_cfg\":{\"global_average_pool\":true}," T "}", "\"global_average_pool\""},
        {"{\"embed_dim\":8,\"vision_cfg\":{\"input_patchnorm\":true}," T "}", "\"input_patchnorm\""},
        {"{\"embed_dim\":8,\"vision_cfg\":{\"pool_type\":\"avg\"}," T "}", "\"pool_type\""},
        {"{\"embed_dim\":8,\"vision_cfg\":{\"image_size\":[224,224]}," T "}", "\"image_size\" in vision_cfg"},
        {"{\"embed_dim\":8,\"vision_cfg\":{\"patch_size\":300,\"image_size\":224}," T "}", "patches of 300"},
        {"{\"embed_dim\":8,\"vision_cfg\":{\"patch_size\":1,\"image_size\":2048}," T "}",
         "1 to 16383 patches"},
        {"{\"embed_dim\":8,\"vision_cfg\":{\"width\":160,\"head_width\":50}," T "}",
         "heads 3 (to 512, a divisor"},
        {"{\"embed_dim\":8,\"vision_cfg\":{\"width\":32}," T "}", "heads 0"},
        {"{\"embed_dim\":8,\"vision_cfg\":{\"mlp_ratio\":1e300}," T "}", "\"mlp_ratio\" in vision_cfg"},
        {"{\"embed_dim\":8,\"vision_cfg\":{\"mlp_ratio\":-1}," T "}", "\"mlp_ratio\" in vision_cfg"},
        {"{\"embed_dim\":8,\"vision_cfg\":{\"layers\":0}," T "}", "\"layers\""},
        {"{\"embed_dim\":8," V ",\"text_cfg\":{\"hf_model_name\":\"roberta\"}}", "\"hf_model_name\""},
        {"{\"embed_dim\":8," V ",\"text_cfg\":{\"embed_cls\":true}}", "\"embed_cls\""},
        {"{\"embed_dim\":8," V ",\"text_cfg\":{\"heads\":7}}", "text_cfg: width 512"},
        {"{\"embed_dim\":8," V ",\"text_cfg\":{\"vocab_size\":0}}", "\"vocab_size\""},
        {"{\"embed_dim\":8," V ",\"text_cfg\":[]}", "\"text_cfg\" in the model should be an object"},
        {"{\"model_cfg\":{\"embed_dim\":8," V "," T "},\"preprocess_cfg\":{\"std\":[1,0,1]}}", "\"std\""},
        {"{\"model_cfg\":{\"embed_dim\":8," V "," T "},\"preprocess_cfg\":{\"mean\":[1,1]}}", "\"mean\""},
        {"{\"model_cfg\":{\"embed_dim\":8," V "," T "},\"preprocess_cfg\":{\"size\":224}}", "\"size\""},
        {"{\"model_cfg\":{\"embed_dim\":8," V "," T "},\"preprocess_cfg\":{\"interpolation\":\"bilinear\"}}",
         "\"interpolation\""},
        {"{\"model_cfg\":{\"embed_dim\":8," V "," T "},\"other\":1}", "\"other\""}};
    npr_clip_config c;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_FAILS(parse(bad[i][0], &c), NPR_EDATA, bad[i][1]);
    CHECK_FAILS(npr_clip_config_read("/nowhere/x.json", &c), NPR_ENOINPUT, "/nowhere/x.json");
}

/* Every beginning of a good text ends in words. */
static void cut_short(void)
{
    static const char good[] =
        "{\"model_cfg\":{\"embed_dim\":8," V "," T "},\"preprocess_cfg\":{\"std\":[1,1,1]}}";
    npr_clip_config c;
    for (size_t n = 0; n < strlen(good); n++)
        CHECK(npr_clip_config_parse(good, n, "t.json", &c) == NPR_EDATA);
    CHECK_OK(npr_clip_config_parse(good, strlen(good), "t.json", &c));
}

int main(void)
{
    published();
    wrapped();
    refused();
    cut_short();
    return TEST_END();
}
