/* scaling.c - see scaling.h. */
#include "scaling.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "npr/minilaion.h"
#include "npr/search.h"
#include "npr/source.h"

enum { PARTS_PER_RANK = 4 };

typedef struct study {
    const npr_job *job;
    const npr_scaling *s;
    npr_log quiet;
    char *folder, first[40]; /* digest of the first point's pool */
    npr_comm few;            /* the ranks of the point at hand */
    npr_record *rec;         /* of it */
} study;

static const char *const kept[] = {"time.scan.min",          "time.scan.avg",        "time.scan.max",
                                   "time.scan.slowest",      "time.scan_waited.max", "time.merge.max",
                                   "time.merge_exposed.max", "time.pool.max",        "work.scan.bytes",
                                   "work.scan.flops",        "work.merge.bytes",     "check.pool"};

static npr_status ingest(const study *t, const char *emb, const char *out, const char *kind,
                         int64_t part_rows)
{
    npr_ingest_job job = {.emb = emb,
                          .kind = kind,
                          .out = out,
                          .model = "npr-minilaion",
                          .identity = "scaling",
                          .head = !strcmp(kind, "head"),
                          .part_rows = part_rows};
    return npr_ingest_run(&t->few, &t->quiet, t->rec, &job);
}

/* The rows of the first n ranks' files. */
static npr_status make_index(const study *t, int n, const char *out)
{
    char *text = npr_path("%s", ""), *list = npr_path("%s/files.txt", t->folder),
         *emb = npr_path("@%s/files.txt", t->folder);
    for (int i = 0; text && i < n; i++) {
        char *longer = npr_path("%s%s/world/img_emb/img_emb_%04d.npy\n", text, t->folder, i);
        free(text);
        text = longer;
    }
    npr_status st = text && list && emb ? NPR_OK : npr_last();
    if (!st && t->few.rank == 0) st = npr_file_replace(list, text, strlen(text));
    st = npr_agree(&t->few, st, "scaling");
    if (!st) st = ingest(t, emb, out, "index", t->s->rows / PARTS_PER_RANK);
    free(text);
    free(list);
    free(emb);
    return st;
}

static npr_status search(const study *t, const char *index, const char *out)
{
    char *head = npr_path("%s/head", t->folder);
    npr_search_job job = {.index = index,
                          .out = out,
                          .head = head,
                          .mode = "exact",
                          .pool = "class",
                          .identity = "scaling",
                          .limits = {.min_similarity = -INFINITY, .max_nsfw = NPR_NSFW_LIKELY},
                          .k = t->s->k,
                          .threads = t->s->threads,
                          .min_score = -INFINITY,
                          .cap_by = "hash",
                          .tile_rows = 16384,
                          .part_rows = NPR_PART_ROWS};
    npr_status st = npr_agree(&t->few, head ? NPR_OK : npr_last(), "scaling");
    if (!st) st = npr_search_run(&t->few, &t->quiet, t->rec, &job);
    free(head);
    return st;
}

/* What a point left, under its own name. */
static npr_status keep(study *t, int n, double seconds)
{
    char key[96];
    npr_record *rec = t->job->rec;
    snprintf(key, sizeof key, "scaling.%s.%d.time.total.max", t->s->kind, n);
    npr_record_real(rec, key, seconds);
    for (size_t i = 0; i < NPR_COUNT(kept); i++) {
        const char *value = npr_record_get(t->rec, kept[i]);
        snprintf(key, sizeof key, "scaling.%s.%d.%s", t->s->kind, n, kept[i]);
        if (value) npr_record_text(rec, key, value);
    }
    const char *digest = npr_record_get(t->rec, "check.pool");
    if (strcmp(t->s->kind, "strong") != 0 || !digest) return NPR_OK;
    if (!t->first[0]) snprintf(t->first, sizeof t->first, "%s", digest);
    if (!strncmp(t->first, digest, sizeof t->first - 1)) return NPR_OK;
    return npr_fail(NPR_EINTERNAL, "%d ranks found another pool (%s) than 1 rank (%s)", n, digest, t->first);
}

static npr_status remove_set(const char *path)
{
    char *work = npr_path("%s/.work", path);
    npr_status st = work ? npr_folder_remove(work) : npr_last();
    free(work);
    return st ? st : npr_folder_remove(path);
}

/* The first n ranks search. Collective over all. */
static npr_status point(study *t, int n)
{
    int strong = !strcmp(t->s->kind, "strong"), in = t->job->comm.rank < n;
    char *index = npr_path("%s/index", t->folder), *out = npr_path("%s/pool", t->folder);
    npr_status st = index && out ? NPR_OK : npr_last();
    t->few = npr_comm_split(&t->job->comm, !in);
    t->rec = npr_record_make();
    if (!st && t->job->comm.rank == 0) st = remove_set(out); /* what a study that failed left behind */
    if (!st && t->job->comm.rank == 0 && !strong) st = remove_set(index);
    st = npr_agree(&t->job->comm, st ? st : t->rec ? NPR_OK : npr_last(), "scaling");
    if (!st && in && !strong) st = make_index(t, n, index);
    double start = npr_now();
    if (!st && in) st = search(t, index, out);
    double seconds = npr_now() - start;
    if (!st && t->job->comm.rank == 0) {
        st = keep(t, n, seconds);
        if (!st) st = remove_set(out);
        if (!st && !strong) st = remove_set(index);
    }
    npr_record_free(t->rec);
    npr_comm_free(&t->few);
    free(index);
    free(out);
    st = npr_agree(&t->job->comm, st, "scaling");
    if (!st) npr_info(&t->job->log, "%s, %d ranks: %.2f s", t->s->kind, n, seconds);
    return st;
}

static npr_status prepare(study *t)
{
    char *world = npr_path("%s/world", t->folder), *text = npr_path("%s/world/text/head.npy", t->folder);
    char *head = npr_path("%s/head", t->folder), *index = npr_path("%s/index", t->folder);
    npr_minilaion_job job = {.out = world,
                             .identity = "scaling",
                             .rows = t->s->rows * t->job->comm.size,
                             .file_rows = t->s->rows,
                             .classes = t->s->queries,
                             .tests = 1,
                             .dim = t->s->dim};
    t->few = t->job->comm; /* all of them */
    t->rec = npr_record_make();
    npr_status st =
        npr_agree(&t->few, world && text && head && index && t->rec ? NPR_OK : npr_last(), "scaling");
    if (!st) st = npr_minilaion_embed(&t->few, &t->quiet, t->rec, &job);
    if (!st) st = ingest(t, text, head, "head", NPR_PART_ROWS);
    if (!st && !strcmp(t->s->kind, "strong")) st = make_index(t, t->few.size, index);
    npr_record_free(t->rec);
    free(world);
    free(text);
    free(head);
    free(index);
    return st;
}

static npr_status clean(const study *t)
{
    static const char *const made[] = {"world/img_emb", "world/metadata", "world/text", "world/test",
                                       "world",         "head",           "index",      ""};
    npr_status st = NPR_OK;
    for (size_t i = 0; i < NPR_COUNT(made) && !st; i++) {
        char *path = npr_path("%s/%s", t->folder, made[i]);
        st = path ? remove_set(path) : npr_last();
        free(path);
    }
    return st;
}

npr_status npr_scale(const npr_job *job, const npr_scaling *s)
{
    study t = {.job = job, .s = s, .folder = npr_path("%s/npr-scaling", s->scratch)};
    t.quiet = npr_log_make(&job->comm, "npr-bench", 1);
    npr_status st = t.folder ? NPR_OK : npr_last();
    if (!st && job->comm.rank == 0) st = npr_folder_make(t.folder);
    st = npr_agree(&job->comm, st, "scaling");
    if (!st) st = prepare(&t);
    for (int n = 1; !st && n < job->comm.size; n *= 2) st = point(&t, n);
    if (!st) st = point(&t, job->comm.size);
    if (!st) st = npr_agree(&job->comm, job->comm.rank ? NPR_OK : clean(&t), "scaling");
    free(t.folder);
    return st;
}
