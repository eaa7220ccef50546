/* text_mpi.c - npr_text_run(): prompts become a text head. Parts of some classes are dealt out by a counter;
 * a row does not depend on who computed it. See include/npr/clip.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/mem.h"
#include "clip/extract.h"
#include "clip/text.h"
#include "io/part.h"
#include "io/unit.h"

enum { SETS = 2 };

typedef struct stage {
    const npr_comm *comm;
    const npr_log *log;
    const npr_text_job *job;
    npr_extract_tower tower;
    npr_tokenizer *tokenizer;
    npr_prompts prompts[SETS];
    int sets, classes, dim, parts;
    npr_set_writer *writer;
    npr_counter *counter;
    npr_progress *progress;
    npr_texter *texter;
    float *weight; /* [part_rows][dim] */
    npr_rows rows;
    int64_t said;
} stage;

static const uint32_t columns =
    NPR_COL(NPR_EMB) | NPR_COL(NPR_ID) | NPR_COL(NPR_LABEL) | NPR_COL(NPR_CAPTION) | NPR_COL(NPR_WEIGHT);

static int64_t part_begin(const stage *s, int part)
{
    return npr_part_begin(s->classes, s->job->part_rows, part);
}

/* ---- one part ---- */

/* Between two classes, on the thread that talks MPI. */
static npr_status between(void *context, int64_t done)
{
    stage *s = context;
    npr_counter_serve(s->counter);
    npr_progress_add(s->progress, done - s->said);
    s->said = done;
    if (npr_fault("text.class")) return npr_fail(NPR_EIO, "%s: injected fault at text.class", s->job->out);
    if (npr_stop_requested())
        return npr_fail(NPR_ESTOP, "stopped on request; finished parts are kept, run the same command again");
    return NPR_OK;
}

/* The rows of classes first .. first + n - 1. */
static npr_status fill_rows(stage *s, int64_t first, int64_t n)
{
    npr_rows *r = &s->rows;
    size_t dim = (size_t)s->dim;
    npr_rows_clear(r);
    for (int64_t i = 0; i < n; i++) {
        float *weight = s->weight + (size_t)i * dim;
        const char *name = s->prompts[0].name[first + i];
        memcpy(r->weight + (size_t)i * dim, weight, dim * sizeof *weight);
        npr_unit_scale(weight, r->emb + (size_t)i * dim, s->dim);
        if (npr_unit_judge(r->emb + (size_t)i * dim, s->dim) != NPR_BAD_REASONS)
            return npr_fail(NPR_EDATA, "class \"%.100s\": its templates and its JSON cancel out", name);
        r->id[i] = first + i;
        r->label[i] = (int32_t)(first + i);
        NPR_TRY(npr_rows_put_text(r, NPR_CAPTION, name, strlen(name)));
        NPR_TRY(npr_rows_next(r));
    }
    return NPR_OK;
}

static npr_status write_part(stage *s, int part)
{
    int64_t first = part_begin(s, part), n = part_begin(s, part + 1) - first;
    npr_part_writer *w;
    npr_part_entry entry;
    s->said = 0;
    NPR_TRY(npr_texter_run(s->texter, first, n, s->weight, between, s));
    npr_progress_add(s->progress, n - s->said);
    NPR_TRY(fill_rows(s, first, n));
    NPR_TRY(npr_part_create(npr_set_folder(s->writer), part, columns, s->dim, &w));
    npr_status st = npr_part_append(w, &s->rows);
    if (st) {
        npr_part_abandon(w);
        return st;
    }
    NPR_TRY(npr_part_commit(w, &entry));
    return npr_set_commit_part(s->writer, part, &entry);
}

/* ---- all parts ---- */

static npr_status write_mine(stage *s)
{
    size_t dim = (size_t)s->dim;
    int64_t n = s->classes < s->job->part_rows ? s->classes : s->job->part_rows, part;
    npr_status st =
        npr_texter_make(s->tower.clip, s->tokenizer, s->prompts, s->sets, s->job->threads, &s->texter);
    if (!st) st = npr_rows_make(&s->rows, columns, s->dim, n);
    if (!st && !(s->weight = npr_alloc((size_t)n * dim, sizeof *s->weight, "rows of a head")))
        st = npr_last();
    while (!st && (part = npr_counter_next(s->counter)) < s->parts)
        if (!npr_set_done(s->writer, (int)part)) st = write_part(s, (int)part);
    npr_texter_free(s->texter);
    npr_rows_free(&s->rows);
    free(s->weight);
    return st;
}

static npr_status write_parts(stage *s)
{
    NPR_TRY(npr_counter_make(s->comm, &s->counter));
    int64_t left = 0;
    for (int part = 0; part < s->parts; part++)
        if (!npr_set_done(s->writer, part)) left += part_begin(s, part + 1) - part_begin(s, part);
    s->progress = npr_progress_start(s->comm, s->log, "prompts", "classes", left);
    npr_status st = write_mine(s);
    npr_progress_end(s->comm, s->progress);
    npr_counter_free(s->comm, s->counter);
    return npr_agree(s->comm, st, "text");
}

/* ---- inputs ---- */

static npr_status check_job(const npr_text_job *job)
{
    if (!job->vocab) return npr_fail(NPR_EUSAGE, "--vocab is missing: prompts are made of its tokens");
    if (!job->templates && !job->prompts)
        return npr_fail(NPR_EUSAGE,
                        "--templates or --prompts (CuPL's JSON) is missing: what is said of a class?");
    return NPR_OK;
}

/* Not refused: ImageNet's list is like that. Their rows of the head are equal, so the lower one gets all. */
static npr_status warn_of_same_names(const stage *s)
{
    const npr_prompts *p = &s->prompts[0];
    int many, first, second;
    NPR_TRY(npr_prompts_same_names(p, &many, &first, &second));
    if (many)
        npr_warn(s->log,
                 "%s: %d of %d classes have the name of another, such as classes %d and %d, both \"%.60s\": "
                 "no prompt tells them apart",
                 s->job->classes, many, p->classes, first, second, p->name[first]);
    return NPR_OK;
}

static npr_status read_prompts(stage *s)
{
    const npr_text_job *job = s->job;
    NPR_TRY(check_job(job));
    if (job->templates)
        NPR_TRY(npr_prompts_from_templates(job->classes, job->templates, &s->prompts[s->sets++]));
    if (job->prompts) NPR_TRY(npr_prompts_from_json(job->classes, job->prompts, &s->prompts[s->sets++]));
    s->classes = s->prompts[0].classes;
    NPR_TRY(warn_of_same_names(s));
    return npr_part_cut(s->classes, job->part_rows, &s->parts);
}

static npr_status open_inputs(stage *s)
{
    npr_status st = npr_agree(s->comm, read_prompts(s), "prompts");
    if (!st) st = npr_extract_open(s->comm, s->log, &s->job->model, NPR_TOWER_TEXT, &s->tower);
    if (st) return st;
    const npr_clip_config *c = npr_clip_config_of(s->tower.clip);
    s->dim = c->embed_dim;
    return npr_agree(s->comm, npr_tokenizer_open(s->job->vocab, c->vocab, &s->tokenizer), "vocabulary");
}

/* The identity: the options, then texts and model. */
static npr_status describe(const stage *s, char **text)
{
    const struct {
        const char *what, *path;
    } file[] = {{"classes", s->job->classes},
                {"templates", s->job->templates},
                {"prompts", s->job->prompts},
                {"vocab", s->job->vocab}};
    size_t n;
    FILE *f = open_memstream(text, &n);
    if (!f) return npr_fail(NPR_EINTERNAL, "out of memory: the identity of the job");
    fputs(s->job->identity ? s->job->identity : "", f);
    npr_status st = NPR_OK;
    for (size_t i = 0; i < sizeof file / sizeof *file && !st; i++) {
        char digest[NPR_DIGEST_HEX];
        if (!file[i].path) continue;
        st = npr_digest_file(file[i].path, digest, NULL);
        if (!st) fprintf(f, "%s=%s\n", file[i].what, digest);
    }
    npr_extract_print_model(f, &s->tower);
    int failed = ferror(f);
    if ((fclose(f) || failed) && !st) st = npr_fail(NPR_EINTERNAL, "out of memory: the identity of the job");
    return st;
}

/* ---- the stage ---- */

/* Operations of all prompts: a text ends at its end token, the highest. */
static npr_status count_flop(const stage *s, double *flop)
{
    const npr_clip_config *c = npr_clip_config_of(s->tower.clip);
    int32_t *token = npr_alloc((size_t)c->context, sizeof *token, "tokens");
    npr_status st = token ? NPR_OK : npr_last();
    *flop = 0;
    for (int i = 0; i < s->sets; i++)
        for (int64_t k = 0; k < s->prompts[i].offset[s->classes] && !st; k++) {
            const char *text = s->prompts[i].text[k];
            st = npr_tokenizer_encode(s->tokenizer, text, strlen(text), c->context, token);
            int end = 0;
            for (int j = 1; j < c->context && !st; j++)
                if (token[j] > token[end]) end = j;
            *flop += npr_clip_text_flops(c, end + 1);
        }
    free(token);
    return st;
}

static npr_status plan_text(const stage *s, int64_t prompts, npr_record *rec)
{
    npr_plan_dry_run *dry = s->job->dry_run;
    npr_plan_cluster here = npr_plan_here(dry, s->job->threads);
    npr_plan_text_shape shape = {.classes = s->classes,
                                 .prompts = (double)prompts,
                                 .dim = s->dim,
                                 .part_rows = (double)s->job->part_rows};
    npr_clip_text_memory(npr_clip_config_of(s->tower.clip), &shape.weights, &shape.thread);
    NPR_TRY(count_flop(s, &shape.flop));
    npr_plan_needs n = dry->needs = npr_plan_text(&shape, &here, dry->machine);
    npr_record_int(rec, "plan.bytes_on_disk", (int64_t)n.disk);
    npr_record_int(rec, "plan.memory_per_rank", (int64_t)n.memory);
    npr_record_int(rec, "plan.ranks_with_work", (int64_t)n.busy);
    npr_record_real(rec, "plan.gflop", shape.flop / 1e9);
    return NPR_OK;
}

static npr_status record_plan(const stage *s, npr_record *rec)
{
    int64_t prompts = 0;
    for (int i = 0; i < s->sets; i++) prompts += s->prompts[i].offset[s->classes];
    npr_extract_record_model(rec, &s->tower);
    npr_record_int(rec, "result.classes", s->classes);
    npr_record_int(rec, "result.prompts", prompts);
    npr_record_int(rec, "result.dim", s->dim);
    npr_record_int(rec, "result.parts", s->parts);
    return s->job->dry_run ? npr_agree(s->comm, plan_text(s, prompts, rec), "plan") : NPR_OK;
}

static npr_status write_head(stage *s, const char *identity, npr_record *rec)
{
    npr_set_plan plan = {.path = s->job->out,
                         .kind = "head",
                         .model = s->tower.name,
                         .job = identity,
                         .dim = s->dim,
                         .columns = columns,
                         .part_rows = s->job->part_rows};
    int complete = 0;
    NPR_TRY(npr_set_begin(s->comm, &plan, &s->writer, &complete));
    if (complete) {
        npr_info(s->log, "%s is complete already", s->job->out);
        return NPR_OK;
    }
    double start = npr_now();
    npr_status st = write_parts(s);
    if (!st) st = npr_set_finish(s->comm, s->writer, s->parts);
    npr_set_end(s->writer);
    if (!st) npr_record_time(s->comm, rec, "text", npr_now() - start);
    return st;
}

static npr_status run(stage *s, npr_record *rec)
{
    char *identity = NULL;
    NPR_TRY(open_inputs(s));
    NPR_TRY(record_plan(s, rec));
    if (s->job->dry_run) return NPR_OK;
    npr_status st = npr_agree(s->comm, describe(s, &identity), "text");
    if (!st) st = write_head(s, identity, rec);
    free(identity);
    int64_t classes;
    if (!st) st = npr_set_record(s->comm, rec, s->job->out, NULL, &classes);
    if (!st) npr_info(s->log, "%s: %lld classes", s->job->out, (long long)classes);
    return st;
}

npr_status npr_text_run(const npr_comm *comm, const npr_log *log, npr_record *rec, const npr_text_job *job)
{
    stage s = {.comm = comm, .log = log, .job = job};
    npr_status st = run(&s, rec);
    npr_tokenizer_close(s.tokenizer);
    for (int i = 0; i < SETS; i++) npr_prompts_free(&s.prompts[i]);
    npr_extract_close(&s.tower);
    return st;
}
