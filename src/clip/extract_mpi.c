/* extract_mpi.c - npr_extract_run(): images become a set of features. What is here: the plan, what stands
 * beside the parts, and the record; see extract_parts_mpi.c for the parts. Images that cannot be used are
 * left out, counted by reason and listed in skipped.tsv. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "clip/extract.h"
#include "io/part.h"
#include "io/rows.h"
#include "npr/plan.h"

npr_extract_settings npr_extract_settings_of(const npr_extract *x)
{
    npr_extract_settings s = {.threads = x->job->threads, .limits.max_pixels = x->job->max_pixels};
    if (x->job->fast_decode) s.limits.fast_to = npr_clip_config_of(x->tower.clip)->image_size;
    return s;
}

int64_t npr_extract_part_begin(const npr_extract *x, int part)
{
    return npr_part_begin(x->images.rows, x->job->part_rows, part);
}

npr_status npr_extract_refuse(const npr_extract *x, const int64_t *bad, const char *at_least)
{
    int64_t all = 0;
    char reasons[256];
    for (int i = 0; i < NPR_SKIP_MISSING; i++) all += bad[i]; /* links die: that is no fault of the input */
    if ((double)all <= x->job->max_bad * (double)x->images.rows) return NPR_OK;
    const char *hint = "";
    if (bad[NPR_IMAGE_UNREADABLE] && x->images.kind == NPR_IMAGES_SET && !x->job->root)
        hint = "; --root says where the files lie that the set names";
    return npr_fail(NPR_EDATA,
                    "%s: %s%lld of %lld images cannot be used (%s), more than --max-bad=%g allows%s",
                    x->job->images, at_least, (long long)all, (long long)x->images.rows,
                    npr_skipped_print(&x->skipped, bad, reasons, sizeof reasons), x->job->max_bad, hint);
}

/* ---- what stands beside the parts ---- */

/* Names of the classes that labels count: classes.txt, a name a line. Numbers need none. */
static npr_status write_classes(const npr_extract *x)
{
    const npr_paths *class = &x->images.class;
    if (!class->count || x->images.numbered) return NPR_OK;
    char *text = NULL, *path = npr_path("%s/classes.txt", x->job->out);
    size_t n;
    FILE *f = path ? open_memstream(&text, &n) : NULL;
    npr_status st = f ? NPR_OK : npr_fail(NPR_EINTERNAL, "out of memory: names of classes");
    for (size_t i = 0; i < class->count && !st; i++)
        if (fprintf(f, "%s\n", class->path[i]) < 0)
            st = npr_fail(NPR_EINTERNAL, "out of memory: names of classes");
    if (f && fclose(f) && !st) st = npr_fail(NPR_EINTERNAL, "out of memory: names of classes");
    if (!st) st = npr_file_replace(path, text, n);
    free(text);
    free(path);
    return st;
}

/* The pool's table of classes, and what became of its rows here. */
static npr_status publish_join(const npr_extract *x, const char *scratch)
{
    char *skipped = npr_path("%s/%s.tsv", scratch, x->skipped.name);
    npr_status st =
        skipped ? npr_join_publish(&x->images.join, x->images.set, skipped, x->job->out) : npr_last();
    free(skipped);
    return st;
}

/* On rank 0, before the manifest. */
static npr_status publish(const npr_extract *x)
{
    int64_t count[NPR_SKIP_REASONS] = {0};
    const char *scratch = npr_set_scratch(x->writer);
    NPR_TRY(npr_skipped_merge(&x->skipped, scratch, x->parts, count));
    NPR_TRY(npr_extract_refuse(x, count, ""));
    if (x->images.kind == NPR_IMAGES_JOIN) NPR_TRY(publish_join(x, scratch));
    NPR_TRY(npr_skipped_publish(&x->skipped, scratch, x->job->out));
    return write_classes(x);
}

/* ---- the record ---- */

static void record_images(const npr_extract *x, npr_record *rec)
{
    npr_record_text(rec, "result.input", npr_images_kind_name(x->images.kind));
    npr_record_int(rec, "result.files", (int64_t)x->images.file.count);
    npr_record_int(rec, "result.seen", x->images.rows);
    npr_record_int(rec, "result.bytes_in", x->images.bytes);
    if (x->images.kind == NPR_IMAGES_TARS) npr_record_int(rec, "result.members_unused", x->images.unused);
    if (x->images.class.count) npr_record_int(rec, "result.classes", (int64_t)x->images.class.count);
    npr_record_int(rec, "result.dim", x->dim);
    npr_record_int(rec, "result.parts", x->parts);
    if (x->job->fast_decode)
        npr_record_text(rec, "result.decode",
                        "at 1/2, 1/4 or 1/8 where that is enough: pixels differ from open_clip's");
}

/* What became of the pool's rows, of the pictures, and what should make one look. */
static void record_join(const npr_extract *x, npr_record *rec)
{
    const npr_join *j = &x->images.join;
    static const char *const key[NPR_JOIN_FIELDS] = {"wanted",       "missing",      "dead",
                                                     "changed_size", "changed_text", "changed"};
    int64_t sum[NPR_JOIN_FIELDS] = {0};
    char name[48];
    for (int c = 0; c <= j->classes; c++)
        for (int f = 0; f < NPR_JOIN_FIELDS; f++) sum[f] += j->count[c * NPR_JOIN_FIELDS + f];
    for (int f = 0; f < NPR_JOIN_FIELDS; f++) {
        snprintf(name, sizeof name, "result.join.%s", key[f]);
        npr_record_int(rec, name, sum[f]);
    }
    npr_record_text(rec, "result.join.changed_are", j->options.drop_changed ? "left out" : "kept");
    npr_record_int(rec, "result.join.tars", (int64_t)j->tar.count);
    npr_record_int(rec, "result.join.pictures", j->pictures);
    npr_record_int(rec, "result.join.pictures_without_id", j->nameless);
    npr_record_int(rec, "result.join.pictures_repeated", j->repeated);
    npr_record_int(rec, "result.join.pictures_foreign", j->foreign);
    if (j->repeated) npr_record_text(rec, "result.join.repeated_first", j->repeated_first);
    if (j->foreign) npr_record_text(rec, "result.join.foreign_first", j->foreign_first);
    if (j->repeated)
        npr_warn(x->log, "%lld pictures have an id that another one has (%s): the first of each is taken",
                 (long long)j->repeated, j->repeated_first);
    if (j->foreign)
        npr_warn(x->log, "%lld pictures have an id that no row of %s has (%s)", (long long)j->foreign,
                 j->options.pool, j->foreign_first);
    if (j->nameless)
        npr_warn(x->log, "%lld pictures have no \"%s\" in their JSON: nothing tells whose they are",
                 (long long)j->nameless, j->options.id_field ? j->options.id_field : "id");
}

/* How many images were left out, why, and which were the first: from the list beside the set. Collective. */
static npr_status record_skipped(const npr_extract *x, npr_record *rec, int64_t ok)
{
    int64_t count[NPR_SKIP_REASONS] = {0}, all = 0;
    char key[48], first[64] = "";
    npr_status st = NPR_OK;
    if (x->comm->rank == 0 && ok < x->images.rows)
        st = npr_skipped_read(&x->skipped, x->job->out, count, first, sizeof first);
    NPR_TRY(npr_agree(x->comm, st, "reading skipped.tsv"));
    npr_bcast(x->comm, count, sizeof count, 0);
    for (int i = 1; i < NPR_SKIPS; i++) {
        snprintf(key, sizeof key, "result.skipped.%s", npr_skip_name(i));
        if (i < NPR_SKIP_MISSING || x->images.kind == NPR_IMAGES_JOIN) npr_record_int(rec, key, count[i]);
        all += count[i];
    }
    if (ok + all != x->images.rows)
        return npr_fail(NPR_EINTERNAL,
                        "%s: %lld images were seen, but %lld are in the set and %lld in its skipped.tsv",
                        x->job->out, (long long)x->images.rows, (long long)ok, (long long)all);
    if (all)
        npr_warn(x->log,
                 "%lld of %lld images were left out (rows %s, ...); %s/skipped.tsv lists them with reasons",
                 (long long)all, (long long)x->images.rows, first, x->job->out);
    return NPR_OK;
}

static npr_status record_set(const npr_extract *x, npr_record *rec)
{
    int64_t ok;
    NPR_TRY(npr_set_record(x->comm, rec, x->job->out, "ok", &ok));
    NPR_TRY(record_skipped(x, rec, ok));
    npr_info(x->log, "%s: %lld rows", x->job->out, (long long)ok);
    return NPR_OK;
}

/* What bfloat16 costs: features of some images in fp32 too, on rank 0. Collective. */
static npr_status record_precision(const npr_extract *x, npr_record *rec)
{
    npr_extract_cosines c = {0};
    if (x->tower.precision == NPR_FP32) return NPR_OK;
    NPR_TRY(npr_agree(x->comm, x->comm->rank ? NPR_OK : npr_extract_compare(x, &c), "comparing precisions"));
    npr_bcast(x->comm, &c, sizeof c, 0);
    double mean = c.images ? c.sum / (double)c.images : 0;
    npr_record_int(rec, "result.fp32.images", c.images);
    npr_record_real(rec, "result.fp32.cosine_lowest", c.lowest);
    npr_record_real(rec, "result.fp32.cosine_mean", mean);
    npr_info(x->log, "bf16 against fp32 on %lld images: cosine %.6f on average, %.6f at worst",
             (long long)c.images, mean, c.lowest);
    return NPR_OK;
}

/* ---- the plan ---- */

static int64_t row_bytes(const npr_extract *x)
{
    int64_t bytes = 0;
    for (int c = 0; c < NPR_COLUMNS; c++)
        if (x->columns & NPR_COL(c))
            bytes += npr_column_is_text(c) ? 40 : (int64_t)npr_column_bytes((npr_column)c, x->dim);
    return bytes;
}

static void record_plan(const npr_extract *x, npr_record *rec)
{
    const npr_clip_config *c = npr_clip_config_of(x->tower.clip);
    const npr_extract_job *job = x->job;
    double flop = npr_clip_flop(c, NPR_TOWER_IMAGE);
    npr_plan_extract_shape shape = {.images = (double)x->images.rows,
                                    .image_bytes = (double)x->images.bytes,
                                    .part_rows = (double)job->part_rows,
                                    .row_bytes = (double)row_bytes(x),
                                    .flop = flop,
                                    .joined =
                                        x->images.kind == NPR_IMAGES_JOIN ? (double)x->images.set->rows : 0};
    npr_plan_cluster here = npr_plan_here(job->dry_run, job->threads);
    npr_clip_image_memory(c, &shape.weights, &shape.thread);
    npr_plan_needs n = job->dry_run->needs = npr_plan_extract(&shape, &here, job->dry_run->machine);
    npr_record_int(rec, "plan.bytes_on_disk", (int64_t)n.disk);
    npr_record_int(rec, "plan.memory_per_rank", (int64_t)n.memory);
    npr_record_int(rec, "plan.ranks_with_work", (int64_t)n.busy);
    npr_record_real(rec, "plan.gflop_per_image", flop / 1e9);
    npr_info(x->log, "dry run: %lld images in %zu files (%.1f GB) become %d parts; %.2f GFLOP each",
             (long long)x->images.rows, x->images.file.count, (double)x->images.bytes / 1e9, x->parts,
             flop / 1e9);
}

static npr_status settle(npr_extract *x)
{
    const npr_extract_job *job = x->job;
    x->dim = npr_clip_config_of(x->tower.clip)->embed_dim;
    x->columns = x->images.columns | NPR_COL(NPR_EMB);
    NPR_TRY(npr_part_cut(x->images.rows, job->part_rows, &x->parts));
    if (job->id_field && x->images.kind != NPR_IMAGES_TARS && x->images.kind != NPR_IMAGES_JOIN)
        return npr_fail(NPR_EUSAGE, "--id-field=%s: only the JSON members of tars have fields",
                        job->id_field);
    return NPR_OK;
}

/* The identity: the options, then images and model. */
static npr_status describe(const npr_extract *x, char **text)
{
    size_t n;
    FILE *f = open_memstream(text, &n);
    if (!f) return npr_fail(NPR_EINTERNAL, "out of memory: the identity of the job");
    fprintf(f, "%simages=%s %zu %lld %s\n", x->job->identity ? x->job->identity : "",
            npr_images_kind_name(x->images.kind), x->images.file.count, (long long)x->images.rows,
            x->images.digest);
    npr_extract_print_model(f, &x->tower);
    int failed = ferror(f);
    return fclose(f) || failed ? npr_fail(NPR_EINTERNAL, "out of memory: the identity of the job") : NPR_OK;
}

/* ---- the stage ---- */

static npr_status write_set(npr_extract *x, const char *identity, npr_record *rec)
{
    npr_set_plan plan = {.path = x->job->out,
                         .kind = x->job->join ? "pool" : x->job->kind,
                         .model = x->tower.name,
                         .job = identity,
                         .dim = x->dim,
                         .columns = x->columns,
                         .part_rows = x->job->part_rows};
    int complete = 0;
    NPR_TRY(npr_set_begin(x->comm, &plan, &x->writer, &complete));
    if (complete) {
        npr_info(x->log, "%s is complete already", x->job->out);
        return NPR_OK;
    }
    double start = npr_now();
    npr_status st = npr_extract_parts(x);
    double seconds = npr_now() - start;
    if (!st) st = npr_agree(x->comm, x->comm->rank ? NPR_OK : publish(x), "extract");
    if (!st) st = npr_set_finish(x->comm, x->writer, x->parts);
    npr_set_end(x->writer);
    if (st) return st;
    npr_record_time(x->comm, rec, "extract", seconds);
    double flop = npr_clip_flop(npr_clip_config_of(x->tower.clip), NPR_TOWER_IMAGE) * (double)x->images.rows;
    int first = x->comm->rank == 0;
    npr_record_work(x->comm, rec, "extract", first ? (double)x->images.bytes : 0, first ? flop : 0);
    npr_max_f64(x->comm, &seconds, 1);
    if (seconds > 0) npr_record_real(rec, "time.extract.images_per_s", (double)x->images.rows / seconds);
    return NPR_OK;
}

static npr_status run(npr_extract *x, npr_record *rec)
{
    char *identity = NULL;
    NPR_TRY(settle(x));
    npr_extract_record_model(rec, &x->tower);
    record_images(x, rec);
    if (x->images.kind == NPR_IMAGES_JOIN) record_join(x, rec);
    if (x->job->dry_run) {
        record_plan(x, rec);
        return NPR_OK;
    }
    npr_status st = npr_agree(x->comm, describe(x, &identity), "extract");
    if (!st) st = write_set(x, identity, rec);
    if (!st) st = record_set(x, rec);
    if (!st) st = record_precision(x, rec);
    free(identity);
    return st;
}

npr_status npr_extract_run(const npr_comm *comm, const npr_log *log, npr_record *rec,
                           const npr_extract_job *job)
{
    npr_extract x = {.comm = comm,
                     .log = log,
                     .job = job,
                     .skipped = {.name = "skipped", .reason = npr_skip_name, .reasons = NPR_SKIPS}};
    const npr_images_options options = {
        job->images, job->root, job->id_field, {job->join, job->failed, job->id_field, job->drop_changed}};
    double start = npr_now();
    npr_status st = npr_images_plan_make(comm, log, &options, &x.images);
    npr_record_time(comm, rec, "inputs", npr_now() - start);
    if (!st) st = npr_extract_open(comm, log, &job->model, NPR_TOWER_IMAGE, &x.tower);
    if (!st) st = run(&x, rec);
    npr_extract_close(&x.tower);
    npr_images_plan_free(&x.images);
    free(x.skipped.text);
    return st;
}
