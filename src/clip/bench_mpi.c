/* bench_mpi.c - npr_bench_extract(). See include/npr/bench.h. */
#include "npr/bench.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/linalg.h"
#include "base/mem.h"
#include "base/peer.h"
#include "base/rng.h"
#include "clip/dnn.h"
#include "clip/extract.h"
#include "clip/kernel.h"

enum { MADE_UP = 16, WIDTH = 640, HEIGHT = 480, QUALITY = 90, REPEATS_MAX = 99, ROUND = 2 };

/* What one thread works with. */
typedef struct worker {
    npr_jpeg *exact, *fast;
    npr_pixels pixels;
    npr_preprocess *preprocess;
    uint8_t *rgb;
    npr_clip_work *work;
    float *chw, *features, *a, *b, *c; /* a b^T = c: the product of the hidden layer */
    uint16_t *half;                    /* a in bfloat16 */
    void *scratch;                     /* of oneDNN's product */
} worker;

typedef struct bench {
    const npr_bench_extract_job *job;
    npr_clip_config config;
    npr_clip *clip;
    npr_dnn *product; /* a b^T in bfloat16; NULL: the tower is fp32 */
    int batch, tokens;
    char *jpeg[MADE_UP];
    size_t bytes[MADE_UP];
    int images;
    worker *worker;
    npr_peer *peer; /* NULL: none */
} bench;

/* ---- images: made up, with the detail of a photo ---- */

static npr_status make_image(uint64_t seed, char **jpeg, size_t *bytes)
{
    npr_rng rng = npr_rng_make(seed, 0);
    uint8_t *rgb = npr_alloc((size_t)WIDTH * HEIGHT, 3, "an image"), *out = NULL;
    size_t cap = 0;
    if (!rgb) return npr_last();
    float level[3] = {120, 110, 100};
    for (size_t i = 0; i < (size_t)WIDTH * HEIGHT; i++)
        for (int c = 0; c < 3; c++) {
            float up = i >= WIDTH ? (float)rgb[3 * (i - WIDTH) + (size_t)c] : level[c];
            level[c] =
                0.5F * level[c] + 0.5F * up + 4 * (float)npr_rng_normal(&rng) + 0.04F * (115 - level[c]);
            level[c] = level[c] < 0 ? 0 : level[c] > 255 ? 255 : level[c];
            rgb[3 * i + (size_t)c] = (uint8_t)level[c];
        }
    npr_status st = npr_jpeg_encode(rgb, WIDTH, HEIGHT, QUALITY, &out, &cap, bytes);
    *jpeg = (char *)out;
    free(rgb);
    return st;
}

static npr_status make_images(bench *b)
{
    npr_paths paths = {0};
    npr_status st = b->job->images ? npr_paths_find(b->job->images, ".jpg", &paths) : NPR_OK;
    b->images = paths.count && paths.count < MADE_UP ? (int)paths.count : MADE_UP;
    for (int i = 0; i < b->images && !st; i++)
        st = paths.count ? npr_file_read(paths.path[i], NPR_IMAGE_BYTES, &b->jpeg[i], &b->bytes[i])
                         : make_image((uint64_t)i, &b->jpeg[i], &b->bytes[i]);
    npr_paths_free(&paths);
    return st;
}

/* ---- what is measured, on each thread ---- */

/* Decode and preprocess images until `n` are done. */
static npr_status decode(const bench *b, worker *w, npr_jpeg *jpeg, int n)
{
    for (int i = 0; i < n; i++) {
        npr_image_fault fault;
        int k = i % b->images;
        NPR_TRY(npr_jpeg_decode(jpeg, b->jpeg[k], b->bytes[k], &w->pixels, &fault));
        if (fault) return npr_fail(NPR_EDATA, "image %d: %s", k, npr_image_fault_name(fault));
        NPR_TRY(npr_preprocess_crop(w->preprocess, &w->pixels, w->rgb));
        npr_preprocess_normalize(w->preprocess, w->rgb, w->chw);
    }
    return NPR_OK;
}

enum { EXACT, FAST, VIT, GEMM, BF16_GEMM, PEER_DECODE, PEER_VIT, TASKS };
static const char *const names[TASKS] = {"decode",    "fast_decode", "vit",     "sgemm",
                                         "bf16_gemm", "peer_decode", "peer_vit"};

static int is_product(int task)
{
    return task == GEMM || task == BF16_GEMM;
}

/* Some tasks are left out: the product in bfloat16 of a tower in fp32, and a peer's without one. */
static int next(const bench *b, int task)
{
    do task++;
    while ((task == BF16_GEMM && !b->product) || (task >= PEER_DECODE && task < TASKS && !b->peer));
    return task;
}

/* The units of work a thread does of a task in one turn. */
static int units(const bench *b, int task)
{
    return task == VIT || task == PEER_VIT || is_product(task) ? ROUND : 2 * b->images;
}

static npr_status work(const bench *b, worker *w, int task)
{
    const npr_transformer *t = &b->config.vision;
    if (task == EXACT || task == FAST) return decode(b, w, task == FAST ? w->fast : w->exact, units(b, task));
    for (int i = 0; i < ROUND; i++)
        if (task == VIT)
            NPR_TRY(npr_clip_image(b->clip, w->work, w->chw, b->batch, w->features));
        else if (task == BF16_GEMM)
            NPR_TRY(npr_dnn_run(b->product, w->half, w->c, w->scratch));
        else
            npr_gemm_nt(b->batch * b->tokens, t->mlp, t->width, w->a, w->b, w->c, t->mlp);
    return NPR_OK;
}

/* The same number of pictures or batches, by the peer. */
static npr_status ask(const bench *b, int task, double *seconds)
{
    char request[64];
    snprintf(request, sizeof request, "%s %d", task == PEER_VIT ? "vit" : "decode",
             units(b, task) * b->job->threads);
    return npr_peer_ask(b->peer, request, NULL, 0, seconds);
}

/* Seconds of one turn of a task on all threads. */
static npr_status turn(bench *b, int task, double *seconds)
{
    if (task >= PEER_DECODE) return ask(b, task, seconds);
    npr_status st = NPR_OK;
    double start = npr_now();
#pragma omp parallel num_threads(b->job->threads)
    {
        npr_status mine = work(b, &b->worker[omp_get_thread_num()], task);
#pragma omp critical(npr_bench)
        if (mine && !st) st = mine;
    }
    *seconds = npr_now() - start;
    return st ? npr_fail(st, "the bench failed at %s", names[task]) : NPR_OK;
}

/* ---- the run ---- */

static npr_status start_peer(bench *b)
{
    char request[4096];
    double seconds;
    int n = snprintf(request, sizeof request, "model %s %d %d", b->job->config, b->batch, b->job->threads);
    if (n >= (int)sizeof request) return npr_fail(NPR_EUSAGE, "--config: the path is too long");
    NPR_TRY(npr_peer_start(b->job->peer, &b->peer));
    NPR_TRY(npr_peer_ask(b->peer, request, NULL, 0, &seconds));
    for (int i = 0; i < b->images; i++) {
        snprintf(request, sizeof request, "jpeg %zu", b->bytes[i]);
        NPR_TRY(npr_peer_ask(b->peer, request, b->jpeg[i], b->bytes[i], &seconds));
    }
    return NPR_OK;
}

static npr_status make_worker(const bench *b, worker *w)
{
    const npr_clip_config *c = &b->config;
    size_t size = 3 * (size_t)c->image_size * (size_t)c->image_size,
           rows = (size_t)b->batch * (size_t)b->tokens;
    size_t width = (size_t)c->vision.width, mlp = (size_t)c->vision.mlp;
    NPR_TRY(npr_jpeg_make(NULL, &w->exact));
    NPR_TRY(npr_jpeg_make(&(npr_jpeg_limits){.fast_to = c->image_size}, &w->fast));
    NPR_TRY(npr_preprocess_make(c->image_size, c->mean, c->std, &w->preprocess));
    NPR_TRY(npr_clip_work_make(b->clip, &w->work));
    w->rgb = npr_alloc(size, 1, "an image");
    w->chw = npr_alloc_aligned((size_t)b->batch * size, sizeof(float), "images");
    w->features = npr_alloc_aligned((size_t)b->batch * (size_t)c->embed_dim, sizeof(float), "features");
    w->a = npr_alloc_aligned(rows * width, sizeof(float), "a matrix");
    w->b = npr_alloc_aligned(mlp * width, sizeof(float), "a matrix");
    w->c = npr_alloc_aligned(rows * mlp, sizeof(float), "a matrix");
    w->half = npr_alloc_aligned(rows * width, sizeof *w->half, "a matrix");
    if (!w->rgb || !w->chw || !w->features || !w->a || !w->b || !w->c || !w->half) return npr_last();
    for (size_t i = 0; i < (size_t)b->batch * size; i++) w->chw[i] = (float)(i % 251) / 100 - 1;
    for (size_t i = 0; i < rows * width; i++) w->a[i] = (float)(i % 17) / 17;
    for (size_t i = 0; i < mlp * width; i++) w->b[i] = (float)(i % 13) / 13;
    npr_kernel_bfloat(rows * width, w->a, w->half);
    return NPR_OK;
}

/* What oneDNN reaches on the hidden layer's product: nothing added, nothing activated, bfloat16 out of it. */
static npr_status make_product(bench *b)
{
    const npr_transformer *t = &b->config.vision;
    npr_dnn_layer l = {.rows = b->batch * b->tokens,
                       .in = t->width,
                       .out = t->mlp,
                       .w = b->worker[0].b,
                       .type = NPR_DNN_BF16,
                       .result = NPR_DNN_BF16};
    if (!b->job->bf16) return NPR_OK;
    NPR_TRY(npr_dnn_make(&l, &b->product));
    for (int i = 0; i < b->job->threads; i++) {
        worker *w = &b->worker[i];
        if (!(w->scratch = npr_alloc_aligned(npr_dnn_scratch(b->product) + 1, 1, "scratch memory")))
            return npr_last();
    }
    return NPR_OK;
}

static void free_worker(worker *w)
{
    npr_jpeg_free(w->exact);
    npr_jpeg_free(w->fast);
    npr_pixels_free(&w->pixels);
    npr_preprocess_free(w->preprocess);
    npr_clip_work_free(w->work);
    free(w->rgb);
    free(w->chw);
    free(w->features);
    free(w->a);
    free(w->b);
    free(w->c);
    free(w->half);
    free(w->scratch);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void record(const bench *b, npr_record *rec, double rate[TASKS][2])
{
    static const char *const which[2] = {"median", "best"};
    const npr_transformer *t = &b->config.vision;
    double image = npr_clip_image_flops(&b->config) * b->batch;
    double product = 2.0 * b->batch * b->tokens * t->mlp * t->width;
    char key[64];
    for (int task = 0; task < TASKS; task = next(b, task))
        for (int k = 0; k < 2; k++) {
            double per_s = rate[task][k] * (task == VIT || task == PEER_VIT ? b->batch : 1);
            snprintf(key, sizeof key, "bench.%s.%s.%s", names[task],
                     is_product(task) ? "gflops" : "images_per_s", which[k]);
            npr_record_real(rec, key, is_product(task) ? per_s * product / 1e9 : per_s);
        }
    for (int k = 0; k < 2; k++) {
        snprintf(key, sizeof key, "bench.vit.gflops.%s", which[k]);
        npr_record_real(rec, key, rate[VIT][k] * image / 1e9);
        snprintf(key, sizeof key, "bench.vit.share_of_sgemm.%s", which[k]);
        npr_record_real(rec, key, rate[VIT][k] * image / (rate[GEMM][k] * product));
        snprintf(key, sizeof key, "bench.vit.share_of_bf16_gemm.%s", which[k]);
        if (b->product) npr_record_real(rec, key, rate[VIT][k] * image / (rate[BF16_GEMM][k] * product));
        if (!b->peer) continue;
        snprintf(key, sizeof key, "bench.decode.ratio_to_peer.%s", which[k]);
        npr_record_real(rec, key, rate[EXACT][k] / rate[PEER_DECODE][k]);
        snprintf(key, sizeof key, "bench.vit.ratio_to_peer.%s", which[k]);
        npr_record_real(rec, key, rate[VIT][k] / rate[PEER_VIT][k]);
    }
}

/* All tasks in turn, so that a busy machine is so to all of them; units per second, median and best. */
static npr_status measure(bench *b, npr_record *rec)
{
    double seconds[TASKS][REPEATS_MAX], rate[TASKS][2], once;
    int repeats = b->job->repeats;
    for (int task = 0; task < TASKS; task = next(b, task))
        NPR_TRY(turn(b, task, &once)); /* memory is touched, pages are there */
    for (int r = 0; r < repeats; r++)
        for (int task = 0; task < TASKS; task = next(b, task)) NPR_TRY(turn(b, task, &seconds[task][r]));
    for (int task = 0; task < TASKS; task = next(b, task)) {
        qsort(seconds[task], (size_t)repeats, sizeof(double), by_value);
        double n = units(b, task) * (double)b->job->threads;
        rate[task][0] = n / seconds[task][repeats / 2];
        rate[task][1] = n / seconds[task][0];
    }
    record(b, rec, rate);
    return NPR_OK;
}

static npr_status run(bench *b, npr_record *rec)
{
    const npr_bench_extract_job *job = b->job;
    if (!job->config) return npr_fail(NPR_EUSAGE, "--config is missing: which model is to be measured?");
    NPR_TRY(npr_clip_config_read(job->config, &b->config));
    NPR_TRY(npr_clip_make_up(&b->config, 1, NPR_TOWER_IMAGE, job->bf16 ? NPR_BF16 : NPR_FP32, &b->clip));
    int side = b->config.image_size / b->config.patch_size;
    b->tokens = side * side + 1;
    b->batch = npr_clip_image_batch(b->clip);
    NPR_TRY(make_images(b));
    if (!(b->worker = npr_alloc((size_t)job->threads, sizeof *b->worker, "threads"))) return npr_last();
    for (int i = 0; i < job->threads; i++) NPR_TRY(make_worker(b, &b->worker[i]));
    NPR_TRY(make_product(b));
    if (job->peer) NPR_TRY(start_peer(b));
    npr_record_int(rec, "bench.batch", b->batch);
    npr_record_real(rec, "bench.gflop_per_image", npr_clip_image_flops(&b->config) / 1e9);
    npr_record_text(rec, "bench.precision", npr_precision_name(job->bf16 ? NPR_BF16 : NPR_FP32));
    return measure(b, rec);
}

npr_status npr_bench_extract(const npr_comm *comm, const npr_log *log, npr_record *rec,
                             const npr_bench_extract_job *job)
{
    bench b = {.job = job};
    npr_info(log, "measuring on rank 0, %d threads", job->threads);
    npr_status st = comm->rank ? NPR_OK : run(&b, rec);
    for (int i = 0; b.worker && i < job->threads; i++) free_worker(&b.worker[i]);
    free(b.worker);
    for (int i = 0; i < MADE_UP; i++) free(b.jpeg[i]);
    npr_clip_close(b.clip);
    npr_dnn_free(b.product);
    npr_peer_end(b.peer);
    return npr_agree(comm, st, "bench");
}
