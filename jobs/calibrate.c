/* calibrate.c - see calibrate.h. No kernel is here: it runs the stages, and the benchmarks of the modules. */
#include "calibrate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/measure.h"
#include "base/mem.h"
#include "npr/bench.h"
#include "npr/minilaion.h"
#include "npr/search.h"
#include "npr/source.h"

enum { CLASSES = 1000, NAME_LENGTH = 16, FILES_PER_RANK = 4, DISK_LEAST = 4 << 20, DISK_MOST = 256 << 20 };

typedef struct run {
    const npr_job *job;
    const npr_calibration *c;
    npr_plan_machine m;
    npr_log quiet;
    char *folder; /* of everything that is made */
    int64_t rows; /* over all ranks */
} run;

/* ---- folders ---- */

/* "folder/name"; leaks nothing: kept in a ring that outlives its use in one call. */
static const char *in(const run *r, const char *name)
{
    static char ring[8][4096];
    static int next;
    char *at = ring[next++ % 8];
    snprintf(at, sizeof ring[0], "%s/%s", r->folder, name);
    return at;
}

/* A set or a folder of plain files, by rank 0. Collective. */
static npr_status drop(const run *r, const char *name)
{
    npr_status st = NPR_OK;
    if (r->job->comm.rank == 0) {
        char *work = npr_path("%s/%s/.work", r->folder, name);
        st = work ? npr_folder_remove(work) : npr_last();
        if (!st) st = npr_folder_remove(in(r, name));
        free(work);
    }
    return npr_agree(&r->job->comm, st, "calibration");
}

static npr_status clean(const run *r)
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
static double said(const npr_record *rec, const char *key)
{
    const char *text = npr_record_get(rec, key);
    return text ? strtod(text, NULL) : NAN;
}

static npr_status make_world(const run *r)
{
    npr_minilaion_job world = {.out = in(r, "world"),
                               .identity = "calibration",
                               .rows = r->rows,
                               .file_rows = r->c->rows / FILES_PER_RANK,
                               .classes = CLASSES,
                               .tests = 1,
                               .dim = r->c->dim};
    npr_record *rec = npr_record_make();
    npr_status st = npr_agree(&r->job->comm, rec ? NPR_OK : npr_last(), "calibration");
    if (!st) st = npr_minilaion_embed(&r->job->comm, &r->quiet, rec, &world);
    npr_record_free(rec);
    return st;
}

/* The least seconds of an ingest, of the slowest rank: neighbours only add. The set of the last one stays. */
static npr_status time_ingest(const run *r, npr_ingest_job *job, const char *name, double *seconds)
{
    npr_status st = NPR_OK;
    *seconds = INFINITY;
    job->out = in(r, name);
    job->identity = name;
    if (!job->model) job->model = "npr-minilaion";
    for (int i = 0; i < r->c->repeats && !st; i++) {
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
static npr_status list_some(const run *r)
{
    char *text = npr_path("%s", "");
    for (int i = 0; text && i < r->job->comm.size; i++) {
        char *longer = npr_path("%s%s/world/img_emb/img_emb_%04d.npy\n", text, r->folder, i);
        free(text);
        text = longer;
    }
    npr_status st = text ? NPR_OK : npr_last();
    if (!st && r->job->comm.rank == 0) st = npr_file_replace(in(r, "some.txt"), text, strlen(text));
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
static npr_status ingest_rates(run *r)
{
    double small, large, texts, text = 0, ranks = r->job->comm.size;
    double bytes = 2.0 * (double)r->c->rows * r->c->dim; /* of a rank */
    npr_ingest_job job = {.kind = "index", .max_bad = 0};
    char list[4200];
    snprintf(list, sizeof list, "@%s", in(r, "some.txt"));
    NPR_TRY(list_some(r));
    job.emb = list;
    job.part_rows = r->c->rows / FILES_PER_RANK;
    NPR_TRY(time_ingest(r, &job, "small", &small));
    char vectors[4200], metadata[4200];
    snprintf(vectors, sizeof vectors, "%s", in(r, "world/img_emb"));
    snprintf(metadata, sizeof metadata, "%s", in(r, "world/metadata"));
    job.emb = vectors;
    job.part_rows = r->c->rows;
    NPR_TRY(time_ingest(r, &job, "vectors", &large));
    job.meta = metadata;
    NPR_TRY(time_ingest(r, &job, "index", &texts));
    NPR_TRY(npr_agree(&r->job->comm, bytes_of(metadata, ".tsv", &text), "calibration"));
    double share = 1.0 / FILES_PER_RANK;
    /* differences of small sizes may be noise: at least a tenth of the whole */
    r->m.ingest_vectors = bytes * (1 - share) / fmax(large - small, 0.1 * large);
    r->m.ingest_part = fmax(small - bytes * share / r->m.ingest_vectors, 0);
    r->m.ingest_text = text / ranks / fmax(texts - large, 0.1 * texts);
    return NPR_OK;
}

/* The head and the queries of the world as sets; the head's vectors are both. */
static npr_status make_heads(const run *r)
{
    double seconds;
    char emb[4200], meta[4200];
    snprintf(emb, sizeof emb, "%s", in(r, "world/text/head.npy"));
    snprintf(meta, sizeof meta, "%s", in(r, "world/text/head.tsv"));
    npr_ingest_job head = {.kind = "head", .head = 1, .emb = emb, .meta = meta, .part_rows = NPR_PART_ROWS};
    NPR_TRY(time_ingest(r, &head, "head", &seconds));
    npr_ingest_job test = {.kind = "test", .part_rows = NPR_PART_ROWS};
    snprintf(meta, sizeof meta, "%s", in(r, "world/test/test.npy"));
    test.emb = meta;
    return time_ingest(r, &test, "queries", &seconds);
}

/* ---- captions and pools ---- */

typedef struct found {
    double total, scan, matched, rows, bytes;
} found;

/* A caption search, the fastest of the repeats. */
static npr_status time_captions(const run *r, const char *index, const char *names, int filter, int k,
                                found *f)
{
    npr_search_job job = {
        .index = in(r, index),
        .out = in(r, "pool"),
        .mode = "caption",
        .head = in(r, "head"),
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
            *f = (found){total, said(rec, "time.scan.max"), said(rec, "result.matched"),
                         said(rec, "result.pool_rows"), said(rec, "run.bytes_scanned")};
        npr_record_free(rec);
    }
    /* results are rank 0's: the others' numbers of a record are not written */
    npr_bcast(&r->job->comm, f, sizeof *f, 0);
    return st;
}

/* As many names as the world has, of words that no caption holds. */
static npr_status write_strangers(const run *r)
{
    char *text = npr_alloc(CLASSES, NAME_LENGTH, "names"), *at = text;
    if (!text) return npr_last();
    for (int i = 0; i < CLASSES; i++) at += sprintf(at, "zzqx%d qqy%d\n", i, i);
    npr_status st = npr_file_replace(in(r, "strangers.txt"), text, (size_t)(at - text));
    free(text);
    return st;
}

/* In a tiny set, without a match, with matches, with the filter: what any search, a byte, a match and a row
 * of the pool cost. */
static npr_status caption_rates(run *r)
{
    found base, none, some, all, filtered;
    char strangers[4200], names[4200];
    npr_plan_machine *m = &r->m;
    double ranks = r->job->comm.size;
    NPR_TRY(npr_agree(&r->job->comm, r->job->comm.rank ? NPR_OK : write_strangers(r), "calibration"));
    snprintf(strangers, sizeof strangers, "%s", in(r, "strangers.txt"));
    snprintf(names, sizeof names, "%s", in(r, "world/text/classes.txt"));
    NPR_TRY(time_captions(r, "head", strangers, 0, 100, &base));
    NPR_TRY(time_captions(r, "index", strangers, 0, 100, &none));
    NPR_TRY(time_captions(r, "index", names, 0, 1, &some));
    NPR_TRY(time_captions(r, "index", names, 0, 1000, &all));
    NPR_TRY(time_captions(r, "index", names, 1, 1000, &filtered));
    m->pool_start = base.total;
    m->caption = (none.bytes - base.bytes) / ranks / fmax(none.scan - base.scan, 1e-9);
    m->caption_match = fmax(all.scan - none.scan, 0) * ranks / all.matched;
    m->caption_filter =
        fmax(filtered.scan - none.scan, 0) * ranks / filtered.matched / (CLASSES * (double)r->c->dim);
    m->pool_row = fmax((all.total - all.scan) - (some.total - some.scan), 0) / (all.rows - some.rows);
    return NPR_OK;
}

/* ---- the machine, and the other kernels ---- */

static npr_status machine_rates(run *r)
{
    npr_measure_disk d = {0};
    size_t bytes = (size_t)r->c->rows * (size_t)r->c->dim * 2;
    bytes = bytes < DISK_LEAST ? DISK_LEAST : bytes > DISK_MOST ? DISK_MOST : bytes;
    char *path = npr_path("%s/disk-%d", r->folder, r->job->comm.rank),
         *memory = npr_alloc_aligned(bytes, 1, "bytes");
    npr_status st = npr_agree(&r->job->comm, path && memory ? NPR_OK : npr_last(), "calibration");
    if (!st) {
        memset(memory, 1, bytes);
        r->m.memory_read = npr_measure_read(memory, bytes, r->c->threads);
        r->m.memory_read = fmax(r->m.memory_read, npr_measure_read(memory, bytes, r->c->threads));
        r->m.sgemm = npr_measure_gemm(r->c->dim, r->c->threads);
        st = npr_agree(&r->job->comm, npr_measure_file(path, bytes, &d), "calibration");
    }
    free(path);
    free(memory);
    if (st) return st;
    double slowest[3] = {-d.write, -d.cold, -d.cached};
    npr_max_f64(&r->job->comm, slowest, 3);
    npr_max_f64(&r->job->comm, &d.resident, 1);
    r->m.file_write = -slowest[0] * r->job->comm.size;
    r->m.file_read = -slowest[1] * r->job->comm.size;
    r->m.file_read_cached = -slowest[2] * r->job->comm.size;
    npr_record_real(r->job->rec, "calibration.file_resident", d.resident);
    if (d.resident > 0.1)
        npr_warn(&r->job->log,
                 "%.0f %% of a file stayed in the page cache of %s: file_read is partly memory's; --read of "
                 "npr-plan "
                 "says what the file system gives",
                 100 * d.resident, r->c->scratch);
    return NPR_OK;
}

/* The benchmarks of clip and prime work on rank 0 of what they are given: each rank is one. */
static npr_status kernel_rates(run *r)
{
    npr_comm self = npr_comm_split(&r->job->comm, r->job->comm.rank);
    npr_record *rec = npr_record_make();
    npr_status st = rec ? NPR_OK : npr_last();
    npr_bench_means_job means = {r->c->rows, r->c->dim, CLASSES, r->c->threads, r->c->repeats};
    npr_bench_extract_job extract = {
        .config = r->c->config, .images = r->c->jpegs, .threads = r->c->threads, .repeats = r->c->repeats};
    if (!st) st = npr_bench_means(&self, &r->quiet, rec, &means);
    if (!st && r->c->config) st = npr_bench_extract(&self, &r->quiet, rec, &extract);
    if (!st) {
        r->m.sums = said(rec, "bench.means.sorted.gb_per_s") * 1e9;
        r->m.decode = said(rec, "bench.decode.images_per_s.median");
        r->m.tower = said(rec, "bench.vit.gflops.median") * 1e9;
    }
    npr_record_free(rec);
    npr_comm_free(&self);
    return npr_agree(&r->job->comm, st, "calibration");
}

static npr_status search_rates(run *r)
{
    char index[4200], queries[4200];
    snprintf(index, sizeof index, "%s", in(r, "index"));
    snprintf(queries, sizeof queries, "%s", in(r, "queries"));
    npr_bench_rates_job job = {index, queries, 100, r->c->threads, r->c->repeats};
    npr_bench_reading reading;
    NPR_TRY(npr_bench_reading_of(&r->job->comm, index, &reading));
    r->m.part_read = reading.bytes_per_s;
    r->m.part_pick = reading.seconds_per_row;
    npr_info(&r->job->log, "exact search");
    NPR_TRY(npr_bench_exact_rates(&r->job->comm, &job, &r->m));
    npr_info(&r->job->log, "FAISS");
    return npr_bench_faiss_rates(&r->job->comm, &job, &r->m);
}

/* ---- all ---- */

static npr_status measure(run *r)
{
    const npr_log *log = &r->job->log;
    npr_info(log, "the machine, on %d ranks of %d threads", r->job->comm.size, r->c->threads);
    NPR_TRY(machine_rates(r));
    NPR_TRY(npr_bench_messages(&r->job->comm, &r->m.latency, &r->m.bandwidth));
    npr_info(log, "ingest, of a made-up world of %lld rows", (long long)r->rows);
    NPR_TRY(make_world(r));
    NPR_TRY(ingest_rates(r));
    NPR_TRY(make_heads(r));
    NPR_TRY(search_rates(r));
    npr_info(log, "captions");
    NPR_TRY(caption_rates(r));
    npr_info(log, "class sums%s", r->c->config ? ", images" : "");
    return kernel_rates(r);
}

static void record(const run *r)
{
    char key[96];
    for (size_t i = 0; i < npr_plan_rate_count; i++) {
        double v = *(const double *)(const void *)((const char *)&r->m + npr_plan_rates[i].offset);
        if (isnan(v)) continue;
        snprintf(key, sizeof key, "calibration.%s", npr_plan_rates[i].name);
        npr_record_real(r->job->rec, key, v);
    }
}

npr_status npr_calibrate(const npr_job *job, const npr_calibration *c)
{
    run r = {.job = job, .c = c, .m = npr_plan_machine_unknown(), .rows = c->rows * job->comm.size};
    r.quiet = npr_log_make(&job->comm, "npr-bench", 1);
    r.quiet.rank = -1; /* an empty pool is what some runs are for */
    r.folder = npr_path("%s/npr-calibration", c->scratch);
    r.m.threads = c->threads;
    r.m.ranks = job->comm.size;
    r.m.dim = c->dim;
    npr_status st = r.folder ? NPR_OK : npr_last();
    if (!st && job->comm.rank == 0) st = npr_folder_make(r.folder);
    st = npr_agree(&job->comm, st, "calibration");
    if (!st) st = measure(&r);
    if (r.folder && !st) st = clean(&r);
    if (!st) record(&r);
    free(r.folder);
    return st;
}
