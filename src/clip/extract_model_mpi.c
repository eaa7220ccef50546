/* extract_model_mpi.c - one model on all ranks. See extract.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/mem.h"
#include "clip/extract.h"

const char *npr_precision_name(npr_precision precision)
{
    return precision == NPR_BF16 ? "bf16" : "fp32";
}

/* "ViT-B-16" of "models/ViT-B-16.json", then digits of the weights' digest. */
static char *name_model(const char *config, const char *digest)
{
    const char *slash = strrchr(config, '/'), *name = slash ? slash + 1 : config, *dot = strrchr(name, '.');
    int n = dot && dot != name ? (int)(dot - name) : (int)strlen(name);
    return npr_path("%.*s-%.12s", n, name, digest);
}

/* bf16 if all ranks can: their features belong to one set. What is said if not, once. Collective. */
static npr_precision choose(const npr_comm *comm, const npr_log *log, const char *precision)
{
    int64_t lacking = !npr_precision_available(NPR_BF16);
    npr_sum_i64(comm, &lacking, 1);
    if (!strcmp(precision, "fp32")) return NPR_FP32;
    if (!strcmp(precision, "bf16") || !lacking) return NPR_BF16;
    npr_info(
        log,
        "--precision=auto: fp32, since %lld of %d ranks lack bfloat16 (oneDNN in the build, and a CPU with "
        "AVX512-BF16 or AMX)",
        (long long)lacking, comm->size);
    return NPR_FP32;
}

/* A copy of the model that is old on one node would put two models' features into one set. */
static npr_status check_same(const npr_comm *comm, const char *path, const char hex[NPR_DIGEST_HEX])
{
    char first[NPR_DIGEST_HEX];
    memcpy(first, hex, sizeof first);
    npr_bcast(comm, first, sizeof first, 0);
    npr_status st = NPR_OK;
    if (strcmp(hex, first) != 0)
        st = npr_fail(NPR_EENV, "%s: has the digest %s on this rank, %s on rank 0: one model for all", path,
                      hex, first);
    return npr_agree(comm, st, "model");
}

/* Each rank reads all of both files; the weights have just been read, so they come from the page cache. */
static npr_status digest(const npr_comm *comm, const npr_extract_model *model, npr_extract_tower *t)
{
    int64_t bytes;
    NPR_TRY(npr_agree(comm, npr_clip_digest(t->clip, t->weights), "model"));
    NPR_TRY(npr_agree(comm, npr_digest_file(model->config, t->config, &bytes), "model"));
    NPR_TRY(check_same(comm, model->weights, t->weights));
    NPR_TRY(check_same(comm, model->config, t->config));
    t->name = model->name ? npr_strdup(model->name) : name_model(model->config, t->weights);
    return npr_agree(comm, t->name ? NPR_OK : npr_last(), "model");
}

npr_status npr_extract_open(const npr_comm *comm, const npr_log *log, const npr_extract_model *model,
                            int towers, npr_extract_tower *t)
{
    npr_clip_config config;
    *t = (npr_extract_tower){.precision = choose(comm, log, model->precision)};
    npr_status st = npr_clip_config_read(model->config, &config);
    if (!st) st = npr_clip_open(model->weights, &config, towers, t->precision, &t->clip);
    st = npr_agree(comm, st, "model");
    if (!st) st = digest(comm, model, t);
    if (!st && npr_clip_warning(t->clip)) npr_warn(log, "%s", npr_clip_warning(t->clip));
    if (st) npr_extract_close(t);
    return st;
}

void npr_extract_close(npr_extract_tower *t)
{
    npr_clip_close(t->clip);
    free(t->name);
    *t = (npr_extract_tower){0};
}

void npr_extract_record_model(npr_record *rec, const npr_extract_tower *t)
{
    npr_record_text(rec, "result.model", t->name);
    npr_record_text(rec, "result.precision", npr_precision_name(t->precision));
    npr_record_text(rec, "check.weights", t->weights);
}

void npr_extract_print_model(void *file, const npr_extract_tower *t)
{
    fprintf(file, "weights=%s\nconfig=%s\nprecision=%s\n", t->weights, t->config,
            npr_precision_name(t->precision));
}
