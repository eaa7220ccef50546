/* clip.h - CLIP: its configuration and weights as open_clip publishes them, its two towers, its tokenizer, and
 * the collective stage that turns images or prompts into features. Methods: Radford et al., Learning
 * Transferable Visual Models From Natural Language Supervision, 2021, arXiv 2103.00020; the arithmetic is
 * open_clip 2.22's. Local unless the first argument is a const npr_comm *. */
#ifndef NPR_CLIP_H
#define NPR_CLIP_H

#include <stddef.h>
#include <stdint.h>

#include "npr/comm.h"
#include "npr/image.h"
#include "npr/log.h"
#include "npr/plan.h"
#include "npr/record.h"
#include "npr/status.h"

/* ---- configuration ------------------------------------------------------------------------------------ */

typedef struct npr_transformer {
    int width, layers, heads, mlp; /* mlp: width of the hidden layer */
} npr_transformer;

/* open_clip's model JSON ("model_cfg" or its content). */
typedef struct npr_clip_config {
    int embed_dim;  /* of the common space */
    int quick_gelu; /* 1: x * sigmoid(1.702 x), OpenAI's; 0: GELU */
    int image_size, patch_size;
    npr_transformer vision;
    int context, vocab; /* tokens of a text; tokens known */
    npr_transformer text;
    float mean[3], std[3]; /* of the pixels; OpenAI's unless "preprocess_cfg" says otherwise */
} npr_clip_config;

npr_status npr_clip_config_read(const char *path, npr_clip_config *c);

/* ---- towers ------------------------------------------------------------------------------------------- */

typedef enum npr_precision { NPR_FP32, NPR_BF16 } npr_precision;

/* Whether this build and this CPU can compute with it; opening a model with another is NPR_EENV. */
int npr_precision_available(npr_precision precision);

enum { NPR_TOWER_IMAGE = 1, NPR_TOWER_TEXT = 2 };

typedef struct npr_clip npr_clip; /* a model; shared by threads, never changed after opening */

/* Read a .safetensors file (open_clip's names; fp32, fp16 or bf16) and prepare the towers asked for (a mask of
 * NPR_TOWER_*). A missing, extra or misshapen tensor is named. */
npr_status npr_clip_open(const char *weights, const npr_clip_config *config, int towers,
                         npr_precision precision, npr_clip **out);
void npr_clip_close(npr_clip *m); /* NULL is fine */
const npr_clip_config *npr_clip_config_of(const npr_clip *m);

/* The same with made-up weights, for benchmarks and tests: no file is needed. */
npr_status npr_clip_make_up(const npr_clip_config *config, uint64_t seed, int towers, npr_precision precision,
                            npr_clip **out);

/* What a user should be told about the weights, to follow the name of their file, or NULL. At present: they
 * look like OpenAI's, which want QuickGELU, and the configuration has GELU. It cannot always be told: see
 * src/clip/README.md. */
const char *npr_clip_warning(const npr_clip *m);

/* XXH3-128 of the weights file (what xxh128sum prints), 32 digits and a zero: reads the whole file. */
npr_status npr_clip_digest(const npr_clip *m, char hex[33]);

/* Scratch memory of one thread. */
typedef struct npr_clip_work npr_clip_work;
npr_status npr_clip_work_make(const npr_clip *m, npr_clip_work **out);
void npr_clip_work_free(npr_clip_work *w); /* NULL is fine */

/* Floating-point operations (two to a multiply-add) of one image, or of one text of `length` tokens, in
 * the products and in attention of a tower: what a forward pass of all rows costs. npr does less: of the
 * last block it computes the one row that counts, and a text ends at its end token. */
double npr_clip_image_flops(const npr_clip_config *c);
double npr_clip_text_flops(const npr_clip_config *c, int length);

/* Images, and texts of usual length, that are worth a call: what keeps a layer's activations in cache. It depends
 * on the model only. Calls take any number; the features of an image or a text are the same bits whatever shares
 * the call with it. */
int npr_clip_image_batch(const npr_clip *m);
int npr_clip_text_batch(const npr_clip *m);

/* n images [n][3][size][size], normalised, to features [n][embed_dim], not normalised. On the calling thread. */
npr_status npr_clip_image(const npr_clip *m, npr_clip_work *w, const float *chw, int n, float *features);

/* n texts [n][context] of token ids (each pooled at its first token of the highest id, the end token) to
 * features [n][embed_dim], not normalised. */
npr_status npr_clip_text(const npr_clip *m, npr_clip_work *w, const int32_t *tokens, int n, float *features);

/* ---- tokenizer ---------------------------------------------------------------------------------------- */

typedef struct npr_tokenizer npr_tokenizer; /* shared by threads, never changed after opening */

/* A byte-pair vocabulary in OpenAI's format (bpe_simple_vocab_16e6.txt.gz: a comment line, then one merge a
 * line; gzip or plain). vocab: tokens in all, 2 x 256 bytes + merges + 2; further lines of the file are not
 * used, fewer are refused. */
npr_status npr_tokenizer_open(const char *path, int vocab, npr_tokenizer **out);
void npr_tokenizer_close(npr_tokenizer *t); /* NULL is fine */

/* n bytes of UTF-8, cleaned, split and merged as open_clip does, into out [context]: start, tokens, end, then
 * zeros; what does not fit is cut, the end stays. */
npr_status npr_tokenizer_encode(const npr_tokenizer *t, const char *text, size_t n, int context,
                                int32_t *out);

/* ---- prompts ------------------------------------------------------------------------------------------ */

/* The prompts of each class. */
typedef struct npr_prompts {
    int classes;
    char **name;     /* [classes] */
    int64_t *offset; /* [classes + 1] into text */
    char **text;
} npr_prompts;

/* Class names, one a line (synonyms after tabs are for search and not used here), each put into every line of a
 * file of templates where it says {} (or {c}). */
npr_status npr_prompts_from_templates(const char *names, const char *templates, npr_prompts *p);

/* CuPL's JSON: an object of class name -> array of prompts; `names` gives the order, and each of its names must
 * be there. */
npr_status npr_prompts_from_json(const char *names, const char *json, npr_prompts *p);
void npr_prompts_free(npr_prompts *p);

/* Classes that have the name of one before them, as one of ImageNet's two of "missile": *many of them, and of the
 * first one its own place (*second) and that of the name before (*first); -1 without. */
npr_status npr_prompts_same_names(const npr_prompts *p, int *many, int *first, int *second);

/* ---- what it costs ------------------------------------------------------------------------------------ */

/* Floating-point operations (a multiply-add is two) of one image, or one text of full length, through a tower
 * (NPR_TOWER_IMAGE or NPR_TOWER_TEXT): products only, as open_clip's table of models counts them. */
double npr_clip_flop(const npr_clip_config *c, int tower);

/* Bytes of the image tower as packed; of a thread: an image as decoded, and its batch as pixels and
 * activations. */
void npr_clip_image_memory(const npr_clip_config *c, double *weights, double *thread);

/* The same of the text tower with its table of tokens. */
void npr_clip_text_memory(const npr_clip_config *c, double *weights, double *thread);

/* ---- the collective stages ---------------------------------------------------------------------------- */

/* Which model: what both stages need to know of it. */
typedef struct npr_extract_model {
    const char *weights, *config; /* .safetensors; open_clip's JSON */
    const char *name; /* the set's model; NULL: "CONFIG-DIGEST", of the names of the file and its weights */
    const char *precision; /* "fp32", "bf16" or "auto": bf16 where there is hardware for it */
} npr_extract_model;

typedef struct npr_extract_job {
    npr_extract_model model;
    const char *images;   /* a folder, @LIST, tars, or a set: see io/images.h */
    const char *root;     /* where a set's containers, and relative paths of a list, lie; or NULL */
    const char *id_field; /* of the JSON members of tars; NULL: ids are row numbers, or with join "id" */
    const char *join;   /* a pool: the tars hold pictures that were downloaded for it, known by id; or NULL */
    const char *failed; /* join: TSV files of what could not be downloaded, or NULL */
    int drop_changed;   /* join: 1: leave out pictures that are not what the pool says of them */
    const char *out, *kind;
    const char *identity; /* options that shape the result */
    int64_t part_rows, max_pixels;
    int threads;
    int fast_decode; /* 1: decode at a fraction of the size where that is enough; pixels differ slightly */
    double max_bad;  /* share of images that may be left out before the job fails */
    npr_plan_dry_run *dry_run; /* plan only; NULL: work */
} npr_extract_job;

/* Turn images into a set of features: rows in the order of the images, each image that cannot be used left
 * out, counted by reason and listed in skipped.tsv. With `join` the rows are the pool's, in its order and
 * with its columns; only emb and source are new, and classes.tsv goes on with the pool's. Parts of
 * part_rows images are dealt out by a counter. Resumable. Collective. */
npr_status npr_extract_run(const npr_comm *comm, const npr_log *log, npr_record *rec,
                           const npr_extract_job *job);

typedef struct npr_text_job {
    npr_extract_model model;
    const char *classes, *templates, *prompts; /* names; {} sentences, and/or CuPL's JSON */
    const char *vocab;
    const char *out, *identity;
    int64_t part_rows;
    int threads;
    npr_plan_dry_run *dry_run; /* plan only; NULL: work */
} npr_text_job;

/* Turn prompts into a text head: per class the mean of its prompts' unit features, to unit norm again; with
 * both templates and JSON the plain average of the two (a weight that is not of unit norm), as Neural
 * Priming's reference does. Resumable. Collective. */
npr_status npr_text_run(const npr_comm *comm, const npr_log *log, npr_record *rec, const npr_text_job *job);

#endif
