/* calibrate.c - see calibrate.h. No kernel is here: it runs the stages (calibrate_stages.c), and the
 * benchmarks of the modules.
 */
#include "calibrate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/measure.h"
#include "base/mem.h"
#include "calibrate_stages.h"
#include "npr/bench.h"

enum { DISK_LEAST = 4 << 20, DISK_MOST = 256 << 20 };

/* ---- the machine, and the other kernels ---- */

static npr_status machine_rates(npr_calibration_run *r)
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

/* ---- kernels: their benchmarks work on rank 0 of what they are given, and each rank is one ---- */

static npr_status sums_rate(npr_calibration_run *r, const npr_comm *self, npr_record *rec)
{
    npr_bench_means_job means = {r->c->rows, r->c->dim, NPR_CALIBRATE_CLASSES, r->c->threads, r->c->repeats};
    NPR_TRY(npr_bench_means(self, &r->quiet, rec, &means));
    r->m.sums = npr_calibrate_said(rec, "bench.means.sorted.gb_per_s") * 1e9;
    r->m.loo = npr_calibrate_said(rec, "bench.means.loo.gflops") * 1e9;
    return NPR_OK;
}

static npr_status training_rates(npr_calibration_run *r, const npr_comm *self, npr_record *rec)
{
    (void)rec;
    npr_bench_means_job rows = {r->c->rows, r->c->dim, NPR_CALIBRATE_CLASSES, r->c->threads, r->c->repeats};
    return npr_bench_training(self, &r->quiet, &rows, &r->m);
}

static npr_status image_rates(npr_calibration_run *r, const npr_comm *self, npr_record *rec)
{
    npr_bench_extract_job extract = {
        .config = r->c->config, .images = r->c->jpegs, .threads = r->c->threads, .repeats = r->c->repeats};
    NPR_TRY(npr_bench_extract(self, &r->quiet, rec, &extract));
    r->m.decode = npr_calibrate_said(rec, "bench.decode.images_per_s.median");
    r->m.tower = npr_calibrate_said(rec, "bench.vit.gflops.median") * 1e9;
    return NPR_OK;
}

static npr_status text_rate(npr_calibration_run *r, const npr_comm *self, npr_record *rec)
{
    (void)rec;
    npr_bench_text_job text = {r->c->config, r->c->threads, r->c->repeats};
    return npr_bench_text(self, &text, &r->m.text);
}

/* All ranks at once, each by itself. */
static npr_status alone(npr_calibration_run *r,
                        npr_status (*rate)(npr_calibration_run *r, const npr_comm *self, npr_record *rec))
{
    npr_comm self = npr_comm_split(&r->job->comm, r->job->comm.rank);
    npr_record *rec = npr_record_make();
    npr_status st = rec ? rate(r, &self, rec) : npr_last();
    npr_record_free(rec);
    npr_comm_free(&self);
    return npr_agree(&r->job->comm, st, "calibration");
}

/* ---- search ---- */

static npr_status reading_rates(npr_calibration_run *r)
{
    npr_bench_reading reading;
    NPR_TRY(npr_bench_reading_of(&r->job->comm, npr_calibrate_in(r, "index"), &reading));
    r->m.part_read = reading.bytes_per_s;
    r->m.part_pick = reading.seconds_per_row;
    return NPR_OK;
}

static npr_status search_rates(npr_calibration_run *r,
                               npr_status (*rates)(const npr_comm *comm, const npr_bench_rates_job *job,
                                                   npr_plan_machine *m))
{
    char index[4200], queries[4200];
    snprintf(index, sizeof index, "%s", npr_calibrate_in(r, "index"));
    snprintf(queries, sizeof queries, "%s", npr_calibrate_in(r, "queries"));
    npr_bench_rates_job job = {index, queries, 100, r->c->threads, r->c->repeats};
    return rates(&r->job->comm, &job, &r->m);
}

static npr_status exact_rates(npr_calibration_run *r)
{
    return search_rates(r, npr_bench_exact_rates);
}

static npr_status faiss_rates(npr_calibration_run *r)
{
    return search_rates(r, npr_bench_faiss_rates);
}

/* ---- all ---- */

static npr_status message_rates(npr_calibration_run *r)
{
    return npr_bench_messages(&r->job->comm, &r->m.latency, &r->m.bandwidth);
}

/* What is measured, in this order: in the world that is made first, or without one; on all ranks together, or
 * each alone. */
static const struct {
    const char *name, *what;
    npr_status (*together)(npr_calibration_run *r);
    npr_status (*alone)(npr_calibration_run *r, const npr_comm *self, npr_record *rec);
    int world, config;
} group[] = {{"machine", "the machine", machine_rates, NULL, 0, 0},
             {"messages", "messages", message_rates, NULL, 0, 0},
             {"ingest", "ingest", npr_calibrate_ingest, NULL, 1, 0},
             {"reading", "reading of parts", reading_rates, NULL, 1, 0},
             {"exact", "exact search", exact_rates, NULL, 1, 0},
             {"faiss", "FAISS", faiss_rates, NULL, 1, 0},
             {"captions", "captions", npr_calibrate_captions, NULL, 1, 0},
             {"sums", "class sums", NULL, sums_rate, 0, 0},
             {"training", "probe and fine-tuning", NULL, training_rates, 0, 0},
             {"pictures", "pictures in tars", npr_calibrate_pictures, NULL, 0, 0},
             {"images", "images", NULL, image_rates, 0, 1},
             {"text", "text tower", NULL, text_rate, 0, 1}};

/* Is a group's name in the list, commas between? The whole list is checked before. */
static int wanted(const npr_calibration *c, const char *name)
{
    size_t n = strlen(name);
    if (!c->only) return 1;
    for (const char *at = c->only; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        if (strcspn(at, ",") == n && !strncmp(at, name, n)) return 1;
    return 0;
}

static npr_status check_only(const npr_calibration *c)
{
    size_t names = 0, known = 0;
    for (const char *at = c->only; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) names++;
    for (size_t i = 0; i < NPR_COUNT(group); i++) known += c->only && wanted(c, group[i].name) ? 1 : 0;
    if (names != known)
        return npr_fail(
            NPR_EUSAGE,
            "--only=%s: wanted some of machine, messages, ingest, reading, exact, faiss, captions, sums, "
            "training, pictures, images, text, each once, commas between",
            c->only);
    return NPR_OK;
}

static npr_status measure(npr_calibration_run *r)
{
    npr_info(&r->job->log, "%d ranks of %d threads, a made-up world of %lld rows", r->job->comm.size,
             r->c->threads, (long long)r->rows);
    for (size_t i = 0; i < NPR_COUNT(group); i++) {
        if (!wanted(r->c, group[i].name) || (group[i].config && !r->c->config)) continue;
        if (group[i].world && !r->world) NPR_TRY(npr_calibrate_sets(r, !wanted(r->c, "ingest")));
        r->world |= group[i].world;
        npr_info(&r->job->log, "%s", group[i].what);
        NPR_TRY(group[i].together ? group[i].together(r) : alone(r, group[i].alone));
    }
    return NPR_OK;
}

static void record(const npr_calibration_run *r)
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
    npr_calibration_run r = {
        .job = job, .c = c, .m = npr_plan_machine_unknown(), .rows = c->rows * job->comm.size};
    r.quiet = npr_log_make(&job->comm, "npr-bench", 1);
    r.quiet.rank = -1; /* an empty pool is what some runs are for */
    r.folder = npr_path("%s/npr-calibration", c->scratch);
    r.m.threads = c->threads;
    r.m.ranks = job->comm.size;
    r.m.dim = c->dim;
    npr_status st = r.folder ? check_only(c) : npr_last();
    if (!st && job->comm.rank == 0) st = npr_folder_make(r.folder);
    st = npr_agree(&job->comm, st, "calibration");
    if (!st) st = measure(&r);
    if (r.folder && !st) st = npr_calibrate_clean(&r);
    if (!st) record(&r);
    free(r.folder);
    return st;
}
