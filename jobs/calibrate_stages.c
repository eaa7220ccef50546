/* calibrate_stages.c - see calibrate_stages.h. */
#include "calibrate_stages.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "npr/bench.h"
#include "npr/minilaion.h"
#include "npr/search.h"
#include "npr/source.h"

enum { NAME_LENGTH = 16, FILES_PER_RANK = 4, PICTURES = 500 };

/* ---- folders ---- */

/* "folder/name"; leaks nothing: kept in a ring that outlives its use in one call. */
const char *npr_calibrate_in(const npr_calibration_run *r, const char *name)
{
    static char ring[8][4096];
    static int next;
    char *at = ring[next++ % 8];
    snprintf(at, sizeof ring[0], "%s/%s", r->folder, name);
    return at;
}

/* A set or a folder of plain files, by rank 0. Collective. */
static npr_status drop(const npr_calibration_run *r, const char *name)
{
    npr_status st = NPR_OK;
    if (r->job->comm.rank == 0) {
        char *work = npr_path("%s/%s/.work", r->folder, name);
        st = work ? npr_folder_remove(work) : npr_last();
        if (!st) st = npr_folder_remove(npr_calibrate_in(r, name));
        free(work);
    }
    return npr_agree(&r->job->comm, st, "calibration");
}

npr_status npr_calibrate_clean(const npr_calibration_run *r)
{
    static const char *const made[] = {"world/img_emb", "world/metadata", "world/text", "world/test",
                                       "world",         "small",          "vectors",    "index",
                                       "head",          "queries",        "pool",       ""};
    npr_status st = NPR_OK;
    for (size_t i = 0; i < NPR_COUNT(made) && !st; i++) st = drop(r, made[i]);
    return st;
}

/* ---- stages, timed ---- */

/* A number a stage has recorded; NaN without it. */
double npr_calibrate_said(const npr_record *rec, const char *key)
{
    const char *text = npr_record_get(rec, key);
    return text ? strtod(text, NULL) : NAN;
}

static npr_status make_world(const npr_calibration_run *r)
{
    npr_minilaion_job world = {.out = npr_calibrate_in(r, "world"),
                               .identity = "calibration",
                               .rows = r->rows,
                               .file_rows = r->c->rows / FILES_PER_RANK,
                               .classes = NPR_CALIBRATE_CLASSES,
                               .tests = 1,
                               .dim = r->c->dim};
    npr_record *rec = npr_record_make();
    npr_status st = npr_agree(&r->job->comm, rec ? NPR_OK : npr_last(), "calibration");
    if (!st) st = npr_minilaion_embed(&r->job->comm, &r->quiet, rec, &world);
    npr_record_free(rec);
    return st;
}

/* The least seconds of an ingest, of the slowest rank: neighbours only add. The set of the last one stays. */
static npr_status time_ingest(const npr_calibration_run *r, npr_ingest_job *job, const char *name,
                              int repeats, double *seconds)
{
    npr_status st = NPR_OK;
    *seconds = INFINITY;
    job->out = npr_calibrate_in(r, name);
    job->identity = name;
    if (!job->model) job->model = "npr-minilaion";
    for (int i = 0; i < repeats && !st; i++) {
        npr_record *rec = npr_record_make();
        st = npr_agree(&r->job->comm, rec ? NPR_OK : npr_last(), "calibration");
        if (!st) st = drop(r, name);
        double start = npr_now();
        if (!st) st = npr_ingest_run(&r->job->comm, &r->quiet, rec, job);
        double took = npr_now() - start;
        npr_max_f64(&r->job->comm, &took, 1);
        *seconds = fmin(*seconds, took);
        npr_record_free(rec);
    }
    return st;
}

/* The first file of every rank, as a list. */
static npr_status list_some(const npr_calibration_run *r)
{
    char *text = npr_path("%s", "");
    for (int i = 0; text && i < r->job->comm.size; i++) {
        char *longer = npr_path("%s%s/world/img_emb/img_emb_%04d.npy\n", text, r->folder, i);
        free(text);
        text = longer;
    }
    npr_status st = text ? NPR_OK : npr_last();
    if (!st && r->job->comm.rank == 0)
        st = npr_file_replace(npr_calibrate_in(r, "some.txt"), text, strlen(text));
    free(text);
    return npr_agree(&r->job->comm, st, "calibration");
}

static npr_status bytes_of(const char *folder, const char *suffix, double *bytes)
{
    npr_paths paths = {0};
    npr_status st = npr_paths_find(folder, suffix, &paths);
    *bytes = 0;
    for (size_t i = 0; i < paths.count && !st; i++) {
        int64_t n;
        st = npr_file_size(paths.path[i], &n);
        *bytes += st ? 0 : (double)n;
    }
    npr_paths_free(&paths);
    return st;
}

/* Vectors in two sizes with one part per rank in each, then with metadata. */
npr_status npr_calibrate_ingest(npr_calibration_run *r)
{
    double small, large, texts, text = 0, ranks = r->job->comm.size;
    double bytes = 2.0 * (double)r->c->rows * r->c->dim; /* of a rank */
    npr_ingest_job job = {.kind = "index", .max_bad = 0};
    char list[4200];
    snprintf(list, sizeof list, "@%s", npr_calibrate_in(r, "some.txt"));
    NPR_TRY(list_some(r));
    job.emb = list;
    job.part_rows = r->c->rows / FILES_PER_RANK;
    NPR_TRY(time_ingest(r, &job, "small", r->c->repeats, &small));
    char vectors[4200], metadata[4200];
    snprintf(vectors, sizeof vectors, "%s", npr_calibrate_in(r, "world/img_emb"));
    snprintf(metadata, sizeof metadata, "%s", npr_calibrate_in(r, "world/metadata"));
    job.emb = vectors;
    job.part_rows = r->c->rows;
    NPR_TRY(time_ingest(r, &job, "vectors", r->c->repeats, &large));
    job.meta = metadata;
    NPR_TRY(time_ingest(r, &job, "index", r->c->repeats, &texts));
    NPR_TRY(npr_agree(&r->job->comm, bytes_of(metadata, ".tsv", &text), "calibration"));
    double share = 1.0 / FILES_PER_RANK;
    /* differences of small sizes may be noise: at least a tenth of the whole */
    r->m.ingest_vectors = bytes * (1 - share) / fmax(large - small, 0.1 * large);
    r->m.ingest_part = fmax(small - bytes * share / r->m.ingest_vectors, 0);
    r->m.ingest_text = text / ranks / fmax(texts - large, 0.1 * texts);
    return NPR_OK;
}

/* The head and the queries of the world as sets; the head's vectors are both. */
static npr_status make_heads(const npr_calibration_run *r)
{
    double seconds;
    char emb[4200], meta[4200];
    snprintf(emb, sizeof emb, "%s", npr_calibrate_in(r, "world/text/head.npy"));
    snprintf(meta, sizeof meta, "%s", npr_calibrate_in(r, "world/text/head.tsv"));
    npr_ingest_job head = {.kind = "head", .head = 1, .emb = emb, .meta = meta, .part_rows = NPR_PART_ROWS};
    NPR_TRY(time_ingest(r, &head, "head", 1, &seconds));
    npr_ingest_job test = {.kind = "test", .part_rows = NPR_PART_ROWS};
    snprintf(meta, sizeof meta, "%s", npr_calibrate_in(r, "world/test/test.npy"));
    test.emb = meta;
    return time_ingest(r, &test, "queries", 1, &seconds);
}

/* The world's set, head and queries; without `index` no set: npr_calibrate_ingest() makes it. */
npr_status npr_calibrate_sets(npr_calibration_run *r, int index)
{
    char vectors[4200], metadata[4200];
    double seconds;
    snprintf(vectors, sizeof vectors, "%s", npr_calibrate_in(r, "world/img_emb"));
    snprintf(metadata, sizeof metadata, "%s", npr_calibrate_in(r, "world/metadata"));
    npr_ingest_job job = {.kind = "index", .emb = vectors, .meta = metadata, .part_rows = r->c->rows};
    NPR_TRY(make_world(r));
    NPR_TRY(make_heads(r));
    return index ? time_ingest(r, &job, "index", 1, &seconds) : NPR_OK;
}

/* ---- captions and pools ---- */

/* What a row costs whose URL is written, of a pool that is complete: nothing else is done. */
static npr_status time_urls(const npr_calibration_run *r, npr_search_job job, double rows, double *per_row)
{
    char *urls = npr_path("%s", npr_calibrate_in(r, "urls.tsv"));
    double least[2] = {INFINITY, INFINITY};
    npr_status st = npr_agree(&r->job->comm, urls ? NPR_OK : npr_last(), "calibration");
    for (int i = 0; i < 2 * r->c->repeats && !st; i++) {
        npr_record *rec = npr_record_make();
        st = npr_agree(&r->job->comm, rec ? NPR_OK : npr_last(), "calibration");
        job.urls = i % 2 ? urls : NULL;
        double start = npr_now();
        if (!st) st = npr_search_run(&r->job->comm, &r->quiet, rec, &job);
        double took = npr_now() - start;
        npr_max_f64(&r->job->comm, &took, 1);
        least[i % 2] = fmin(least[i % 2], took);
        npr_record_free(rec);
    }
    *per_row = fmax(least[1] - least[0], 0) / rows;
    free(urls);
    return st;
}

typedef struct found {
    double total, scan, matched, rows, bytes;
} found;

static npr_search_job caption_job(const npr_calibration_run *r, const char *index, const char *names,
                                  int filter, int k)
{
    return (npr_search_job){
        .index = npr_calibrate_in(r, index),
        .out = npr_calibrate_in(r, "pool"),
        .mode = "caption",
        .head = npr_calibrate_in(r, "head"),
        .names = names,
        .pool = "class",
        .identity = "calibration",
        .limits = {.min_similarity = -INFINITY, .max_nsfw = NPR_NSFW_LIKELY, .clip = filter},
        .k = k,
        .threads = r->c->threads,
        .min_score = -INFINITY,
        .cap_by = "hash",
        .tile_rows = 16384,
        .part_rows = NPR_PART_ROWS};
}

/* A caption search, the fastest of the repeats. */
static npr_status time_captions(const npr_calibration_run *r, const char *index, const char *names,
                                int filter, int k, found *f)
{
    npr_search_job job = caption_job(r, index, names, filter, k);
    npr_status st = NPR_OK;
    *f = (found){.total = INFINITY};
    for (int i = 0; i < r->c->repeats && !st; i++) {
        npr_record *rec = npr_record_make();
        st = npr_agree(&r->job->comm, rec ? NPR_OK : npr_last(), "calibration");
        if (!st) st = drop(r, "pool");
        double start = npr_now();
        if (!st) st = npr_search_run(&r->job->comm, &r->quiet, rec, &job);
        double total = npr_now() - start;
        npr_max_f64(&r->job->comm, &total, 1);
        if (!st && total < f->total)
            *f = (found){
                total, npr_calibrate_said(rec, "time.scan.max"), npr_calibrate_said(rec, "result.matched"),
                npr_calibrate_said(rec, "result.pool_rows"), npr_calibrate_said(rec, "run.bytes_scanned")};
        npr_record_free(rec);
    }
    /* results are rank 0's: the others' numbers of a record are not written */
    npr_bcast(&r->job->comm, f, sizeof *f, 0);
    return st;
}

/* As many names as the world has, of words that no caption holds. */
static npr_status write_strangers(const npr_calibration_run *r)
{
    char *text = npr_alloc(NPR_CALIBRATE_CLASSES, NAME_LENGTH, "names"), *at = text;
    if (!text) return npr_last();
    for (int i = 0; i < NPR_CALIBRATE_CLASSES; i++) at += sprintf(at, "zzqx%d qqy%d\n", i, i);
    npr_status st = npr_file_replace(npr_calibrate_in(r, "strangers.txt"), text, (size_t)(at - text));
    free(text);
    return st;
}

/* In a tiny set, without a match, with matches, with the filter: what any search, a byte, a match and a row
 * of the pool cost. */
npr_status npr_calibrate_captions(npr_calibration_run *r)
{
    found base, none, some, all, filtered;
    char strangers[4200], names[4200];
    npr_plan_machine *m = &r->m;
    double ranks = r->job->comm.size;
    NPR_TRY(npr_agree(&r->job->comm, r->job->comm.rank ? NPR_OK : write_strangers(r), "calibration"));
    snprintf(strangers, sizeof strangers, "%s", npr_calibrate_in(r, "strangers.txt"));
    snprintf(names, sizeof names, "%s", npr_calibrate_in(r, "world/text/classes.txt"));
    NPR_TRY(time_captions(r, "head", strangers, 0, 100, &base));
    NPR_TRY(time_captions(r, "index", strangers, 0, 100, &none));
    NPR_TRY(time_captions(r, "index", names, 0, 1, &some));
    NPR_TRY(time_captions(r, "index", names, 0, 1000, &all));
    NPR_TRY(time_urls(r, caption_job(r, "index", names, 0, 1000), all.rows, &m->url_row));
    NPR_TRY(time_captions(r, "index", names, 1, 1000, &filtered));
    m->pool_start = base.total;
    m->caption = (none.bytes - base.bytes) / ranks / fmax(none.scan - base.scan, 1e-9);
    m->caption_match = fmax(all.scan - none.scan, 0) * ranks / all.matched;
    m->caption_filter = fmax(filtered.scan - none.scan, 0) * ranks / filtered.matched /
                        (NPR_CALIBRATE_CLASSES * (double)r->c->dim);
    m->pool_row = fmax((all.total - all.scan) - (some.total - some.scan), 0) / (all.rows - some.rows);
    return NPR_OK;
}

/* ---- downloaded pictures ---- */

/* A folder of the painted world, and what is in it (one level). */
static npr_status drop_painted(const npr_calibration_run *r, const char *name)
{
    char *path = npr_path("%s/painted%s", r->folder, name);
    npr_status st = path ? npr_folder_remove(path) : npr_last();
    free(path);
    return st;
}

/* The labelled pictures lie three folders deep, a class in each. Local. */
static npr_status drop_samples(const npr_calibration_run *r, const npr_painted *world)
{
    for (int class = 0; class < npr_painted_classes(world); class ++) {
        char name[NPR_PAINTED_NAME], folder[128];
        const char *family = class < npr_painted_phrases(world) ? "phrases" : "coined";
        snprintf(name, sizeof name, "%s", npr_painted_name(world, class));
        for (char *c = name; *c; c++) *c = *c == ' ' ? '_' : *c;
        for (int set = 0; set < NPR_PAINTED_SETS; set++) {
            snprintf(folder, sizeof folder, "/%s/%s/%s", family, npr_painted_set_name(set), name);
            NPR_TRY(drop_painted(r, folder));
            *strrchr(folder, '/') = 0;
            NPR_TRY(drop_painted(r, folder));
        }
        *strrchr(folder, '/') = 0;
        NPR_TRY(drop_painted(r, folder));
    }
    NPR_TRY(drop_painted(r, "/pictures"));
    return drop_painted(r, "");
}

/* Painted pictures lie in tars as img2dataset leaves them. */
npr_status npr_calibrate_pictures(npr_calibration_run *r)
{
    npr_minilaion_job world = {.out = npr_calibrate_in(r, "painted"),
                               .identity = "calibration",
                               .rows = (int64_t)PICTURES * r->job->comm.size,
                               .file_rows = PICTURES,
                               .classes = 2,
                               .tests = 1,
                               .val = 1,
                               .shots = 1};
    double least = INFINITY, took;
    npr_record *rec = npr_record_make();
    npr_status st = npr_agree(&r->job->comm, rec ? NPR_OK : npr_last(), "calibration");
    if (!st) st = npr_minilaion_paint(&r->job->comm, &r->quiet, rec, &world);
    npr_record_free(rec);
    for (int i = 0; i < r->c->repeats && !st; i++) {
        st = npr_bench_pictures(&r->job->comm, npr_calibrate_in(r, "painted/pictures"), &took);
        npr_max_f64(&r->job->comm, &took, 1);
        least = fmin(least, took);
    }
    r->m.picture = least;
    npr_painted *painted = NULL;
    if (!st && r->job->comm.rank == 0) {
        st = npr_painted_make((uint64_t)world.seed, world.classes, &painted);
        if (!st) st = drop_samples(r, painted);
        npr_painted_free(painted);
    }
    return npr_agree(&r->job->comm, st, "calibration");
}
