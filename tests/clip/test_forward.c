/* Towers against open_clip on the tiny model: every block and the features, GELU and QuickGELU; and features
 * that do not depend on what shares a call, nor on the thread. */
#include "tiny.h"

#include <omp.h>

#include "clip/work.h"

enum { IMAGES = 2, TEXTS = 5, SIDE = 36, CONTEXT = 12, EMBED = 24 };

/* ---- against the reference ----------------------------------------------------------------------------- */

typedef struct watcher {
    const npr_tensors *expected;
    char prefix[32]; /* "gelu.image" */
    int n, tokens, layers;
    const npr_clip_work *w;
    int seen;
    double worst; /* largest difference of a block, relative to its largest value */
} watcher;

/* Rows of the reference lie [sequence][token]; ours are ragged, and pooled rows only behind the last block.
 */
static void compare_block(void *context, int block, const float *x, int rows, int width)
{
    watcher *v = context;
    char name[64];
    float *owned;
    snprintf(name, sizeof name, "%s.block.%d", v->prefix, block);
    const float *want = tiny_floats(v->expected, name, &owned);
    double most = 0, differ = 0;
    int pooled = block == v->layers - 1;
    for (int s = 0; s < v->n; s++) {
        int at = v->w->pool[s] - v->w->first[s];
        for (int t = pooled ? at : 0; t < (pooled ? at + 1 : v->w->length[s]); t++) {
            int i = pooled ? s : v->w->first[s] + t;
            CHECK(i < rows);
            for (int j = 0; j < width; j++) {
                double a = x[(size_t)i * (size_t)width + (size_t)j];
                double b = want[(size_t)(s * v->tokens + t) * (size_t)width + (size_t)j];
                most = fmax(most, fabs(b));
                differ = fmax(differ, fabs(a - b));
            }
        }
    }
    v->worst = fmax(v->worst, differ / most);
    v->seen++;
    free(owned);
}

/* Allowed differences: of blocks, relative to the block's largest value; of features, as cosine distance. */
typedef struct tolerance {
    double block, cosine;
} tolerance;

static void check_features(const npr_tensors *expected, const char *prefix, const float *features,
                           const tolerance *allowed)
{
    char name[64];
    float *owned;
    snprintf(name, sizeof name, "%s.features", prefix);
    const float *want = tiny_floats(expected, name, &owned);
    const npr_tensor *x = npr_tensors_find(expected, name);
    int n = (int)x->shape[0], embed = (int)x->shape[1];
    double worst = 0;
    for (int i = 0; i < n; i++)
        worst = fmax(worst, cosine_distance(features + i * embed, want + i * embed, embed));
    fprintf(stderr, "%s: features within %.2g (cosine distance)\n", prefix, worst);
    CHECK_NEAR(worst, 0, allowed->cosine);
    for (int i = 0; i < n * embed; i++)
        CHECK_NEAR((double)features[i], (double)want[i], 1e-4 * (1 + fabs((double)want[i])));
    free(owned);
}

/* One tower: every block and the features. */
static void check_tower(const npr_clip *m, npr_clip_work *w, const npr_tensors *t, const char *activation,
                        int image, const tolerance *allowed)
{
    const npr_tower *tower = image ? &m->image : &m->text;
    const npr_tensor *x = npr_tensors_find(t, image ? "images" : "tokens");
    watcher v = {t, "", x ? (int)x->shape[0] : 0, tower->tokens, tower->shape.layers, w, 0, 0};
    float *features = calloc((size_t)v.n * (size_t)m->config.embed_dim, sizeof *features), *owned = NULL;
    int32_t *tokens = malloc(x->bytes);
    snprintf(v.prefix, sizeof v.prefix, "%s.%s", activation, image ? "image" : "text");
    w->trace = compare_block;
    w->context = &v;
    CHECK_OK(npr_tensors_read(t, x->at, tokens, x->bytes));
    if (image)
        CHECK_OK(npr_clip_image(m, w, tiny_floats(t, "images", &owned), v.n, features));
    else
        CHECK_OK(npr_clip_text(m, w, tokens, v.n, features));
    fprintf(stderr, "%s: blocks within %.2g\n", v.prefix, v.worst);
    CHECK_INT(v.seen, tower->shape.layers + 1);
    CHECK_NEAR(v.worst, 0, allowed->block);
    check_features(t, v.prefix, features, allowed);
    free(features);
    free(owned);
    free(tokens);
}

/* A model and what open_clip computes with it, of both towers. */
static void compare(const npr_clip *m, const npr_tensors *t, const char *activation, const tolerance *allowed)
{
    npr_clip_work *w;
    CHECK_OK(npr_clip_work_make(m, &w));
    check_tower(m, w, t, activation, 1, allowed);
    check_tower(m, w, t, activation, 0, allowed);
    npr_clip_work_free(w);
}

static void against_open_clip(const char *activation, int precision)
{
    static const tolerance allowed = {2e-6, 1e-10};
    char config[64];
    npr_tensors t = tiny_expected();
    snprintf(config, sizeof config, "tiny_clip_%s.json", activation);
    npr_clip *m = tiny_open(config, NPR_TOWER_IMAGE | NPR_TOWER_TEXT, (npr_precision)precision);
    compare(m, &t, activation, &allowed);
    npr_clip_close(m);
    npr_tensors_close(&t);
}

/* The same of any files: CONFIG WEIGHTS EXPECTED (tower_openclip.py makes them). */
static int compare_files(char **path)
{
    static const tolerance allowed = {1e-4, 1e-5};
    npr_clip_config c;
    npr_clip *m = NULL;
    npr_tensors t;
    CHECK_OK(npr_clip_config_read(path[0], &c));
    CHECK_OK(npr_clip_open(path[1], &c, NPR_TOWER_IMAGE | NPR_TOWER_TEXT, NPR_FP32, &m));
    CHECK_OK(npr_tensors_open(path[2], &t));
    if (m) compare(m, &t, c.quick_gelu ? "quickgelu" : "gelu", &allowed);
    npr_clip_close(m);
    npr_tensors_close(&t);
    return TEST_END();
}

/* bfloat16 where the CPU has it: near fp32, and not the same. Elsewhere it is refused. */
static void bfloat16(void)
{
    npr_clip_config c;
    npr_clip *m[2] = {NULL, NULL};
    float features[2][IMAGES * EMBED], *owned;
    npr_tensors t = tiny_expected();
    const float *images = tiny_floats(&t, "images", &owned);
    CHECK_OK(npr_clip_config_read(tiny_path("tiny_clip_gelu.json"), &c));
    CHECK(npr_precision_available(NPR_FP32));
    int available = npr_precision_available(NPR_BF16);
    fprintf(stderr, "kernel bfloat16: %s\n", available ? "of the CPU" : "refused");
    if (!available) {
        CHECK_FAILS(npr_clip_open(tiny_path("tiny_clip.safetensors"), &c, NPR_TOWER_IMAGE, NPR_BF16, &m[0]),
                    NPR_EENV, "bfloat16 needs");
        CHECK(m[0] == NULL);
    } else {
        for (int i = 0; i < 2; i++) {
            npr_clip_work *w;
            m[i] = tiny_open("tiny_clip_gelu.json", NPR_TOWER_IMAGE, i ? NPR_BF16 : NPR_FP32);
            CHECK_OK(npr_clip_work_make(m[i], &w));
            CHECK_OK(npr_clip_image(m[i], w, images, IMAGES, features[i]));
            npr_clip_work_free(w);
        }
        for (int i = 0; i < IMAGES; i++)
            CHECK_NEAR(cosine_distance(features[0] + i * EMBED, features[1] + i * EMBED, EMBED), 0,
                       1e-4); /* as test_bfloat.c */
        CHECK(memcmp(features[0], features[1], sizeof features[0]) != 0);
    }
    npr_clip_close(m[0]);
    npr_clip_close(m[1]);
    free(owned);
    npr_tensors_close(&t);
}

/* ---- company does not matter --------------------------------------------------------------------------- */

static npr_clip *wide_model(void)
{
    npr_clip_config c = {.embed_dim = 100,
                         .image_size = 28,
                         .patch_size = 7,
                         .vision = {160, 2, 5, 600},
                         .context = 20,
                         .vocab = 300,
                         .text = {144, 2, 3, 500}};
    npr_clip *m = NULL;
    CHECK_OK(npr_clip_make_up(&c, 3, NPR_TOWER_IMAGE | NPR_TOWER_TEXT, NPR_FP32, &m));
    if (!m) exit(1);
    return m;
}

static void fill_images(float *chw, int n, int values)
{
    for (int i = 0; i < n * values; i++) chw[i] = (float)((i * 7919 + i / 13) % 1001) / 500 - 1;
}

/* Every image alone, in a full call, and in calls of every size in between, each at another place. */
static void images_alone_and_together(const npr_clip *m, npr_clip_work *w)
{
    enum { VALUES = 3 * 28 * 28 };
    int batch = npr_clip_image_batch(m), n = batch + 3, embed = m->config.embed_dim;
    float *chw = malloc((size_t)(n * VALUES) * sizeof *chw), *all = malloc((size_t)(n * embed) * sizeof *all),
          *one = malloc((size_t)(n * embed) * sizeof *one);
    fill_images(chw, n, VALUES);
    CHECK_OK(npr_clip_image(m, w, chw, n, all));
    CHECK(n > 20);
    for (int k = 1; k <= batch; k += k < 4 ? 1 : 9) {
        int first = (k * 5) % (n - k + 1);
        CHECK_OK(npr_clip_image(m, w, chw + first * VALUES, k, one));
        CHECK(!memcmp(one, all + first * embed, (size_t)(k * embed) * sizeof *one));
    }
    for (int i = 0; i < n; i += 7) {
        CHECK_OK(npr_clip_image(m, w, chw + i * VALUES, 1, one));
        CHECK(!memcmp(one, all + i * embed, (size_t)embed * sizeof *one));
    }
    CHECK(memcmp(all, all + embed, (size_t)embed * sizeof *all) != 0);
    free(chw);
    free(all);
    free(one);
}

static void texts_alone_and_together(const npr_clip *m, npr_clip_work *w)
{
    enum { CTX = 20, N = 200 };
    int embed = m->config.embed_dim;
    int32_t *tokens = calloc(N * CTX, sizeof *tokens);
    float *all = malloc((size_t)(N * embed) * sizeof *all), *one = malloc((size_t)embed * sizeof *one);
    for (int i = 0; i < N; i++) {
        int length = 2 + i * 5 % (CTX - 1);
        for (int j = 0; j < length; j++) tokens[i * CTX + j] = (i * 31 + j * 17) % 298;
        tokens[i * CTX + length - 1] = 299;
    }
    CHECK_OK(npr_clip_text(m, w, tokens, N, all));
    for (int i = 0; i < N; i += 11) {
        CHECK_OK(npr_clip_text(m, w, tokens + i * CTX, 1, one));
        CHECK(!memcmp(one, all + i * embed, (size_t)embed * sizeof *one));
    }
    /* what is behind the end token does not count */
    int end = 2 + 4 * 5 % (CTX - 1);
    for (int j = end; j < CTX; j++) tokens[4 * CTX + j] = j;
    CHECK_OK(npr_clip_text(m, w, tokens + 4 * CTX, 1, one));
    CHECK(!memcmp(one, all + 4 * embed, (size_t)embed * sizeof *one));
    free(tokens);
    free(all);
    free(one);
}

/* Four threads at once, each with its own memory, on the same model. */
static void threads_do_not_matter(const npr_clip *m)
{
    enum { VALUES = 3 * 28 * 28, N = 9, THREADS = 4 };
    int embed = m->config.embed_dim, differ = 0;
    float *chw = malloc((size_t)(N * VALUES) * sizeof *chw);
    float *out = malloc((size_t)(THREADS * N * embed) * sizeof *out);
    fill_images(chw, N, VALUES);
#pragma omp parallel for num_threads(THREADS) schedule(static, 1) reduction(+ : differ)
    for (int i = 0; i < THREADS; i++) {
        npr_clip_work *w;
        differ += npr_clip_work_make(m, &w) != NPR_OK;
        for (int round = 0; round < 3; round++)
            differ += npr_clip_image(m, w, chw, N, out + (size_t)(i * N * embed)) != NPR_OK;
        npr_clip_work_free(w);
    }
    for (int i = 1; i < THREADS; i++)
        differ += memcmp(out, out + (size_t)(i * N * embed), (size_t)(N * embed) * sizeof *out) != 0;
    CHECK_INT(differ, 0);
    free(chw);
    free(out);
}

static void company_does_not_matter(void)
{
    npr_clip_work *w;
    npr_clip *m = wide_model();
    CHECK_OK(npr_clip_work_make(m, &w));
    images_alone_and_together(m, w);
    texts_alone_and_together(m, w);
    npr_clip_work_free(w);
    threads_do_not_matter(m);
    npr_clip_close(m);
}

static void refused(void)
{
    npr_clip_work *w;
    float features[EMBED];
    int32_t tokens[CONTEXT] = {5, 96};
    npr_clip *m = tiny_open("tiny_clip_gelu.json", NPR_TOWER_TEXT, NPR_FP32);
    CHECK_OK(npr_clip_work_make(m, &w));
    CHECK_FAILS(npr_clip_text(m, w, tokens, 1, features), NPR_EDATA,
                "text 0: token 96 is not in a vocabulary of 96");
    tokens[1] = -1;
    CHECK_FAILS(npr_clip_text(m, w, tokens, 1, features), NPR_EDATA, "token -1");
    CHECK_FAILS(npr_clip_image(m, w, features, 1, features), NPR_EINTERNAL, "without its image tower");
    npr_clip_work_free(w);
    npr_clip_close(m);
}

int main(int argc, char **argv)
{
    if (argc == 4) return compare_files(argv + 1);
    against_open_clip("gelu", NPR_FP32);
    against_open_clip("quickgelu", NPR_FP32);
    if (npr_dnn_built()) { /* the way of bfloat16, in fp32 */
        against_open_clip("gelu", NPR_DNN_FP32);
        against_open_clip("quickgelu", NPR_DNN_FP32);
    }
    bfloat16();
    if (test_share() == 1) company_does_not_matter();
    refused();
    return TEST_END();
}
