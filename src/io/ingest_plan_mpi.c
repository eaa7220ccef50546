/* ingest_plan_mpi.c - all inputs found, counted and checked against one another before a row is written.
 * Files are dealt to ranks for counting; what each rank learns is gathered on all. See ingest.h. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/mem.h"
#include "io/field.h"
#include "io/ingest.h"
#include "io/lines.h"

/* XXH3 of the first and last 64 KiB: says whether this is the file it was, without reading terabytes. */
static npr_status hash_ends(const char *path, int64_t bytes, int64_t *hash)
{
    enum { END = 1 << 16 };
    char *ends = npr_alloc(2, END, "the ends of a file");
    if (!ends) return npr_last();
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t a = fd < 0 ? -1 : pread(fd, ends, END, 0);
    ssize_t b = a < 0 ? -1 : pread(fd, ends + a, END, bytes > END ? bytes - END : 0);
    npr_status st = b < 0 ? npr_fail(NPR_EIO, "%s: cannot read: %s", path, strerror(errno)) : NPR_OK;
    if (!st) *hash = (int64_t)npr_hash64(ends, (size_t)(a + b), 0);
    if (fd >= 0) close(fd);
    free(ends);
    return st;
}

static npr_status count_meta(const npr_ingest_job *job, const char *path, npr_ingest_file *f, int64_t *rows)
{
    npr_meta *m;
    NPR_TRY(npr_meta_open(path, job->columns, &m));
    f->columns = npr_meta_columns(m);
    npr_status st = npr_meta_count(m, NPR_META_MARK, &f->mark, rows);
    f->marks = (*rows + NPR_META_MARK - 1) / NPR_META_MARK;
    npr_meta_close(m);
    return st;
}

static npr_status examine(const npr_ingest_job *job, const npr_ingest_plan *plan, size_t i,
                          npr_ingest_file *f)
{
    const char *path = plan->emb.path[i];
    npr_npy *npy;
    NPR_TRY(npr_npy_open(path, &npy));
    f->rows = npr_npy_rows(npy);
    f->dim = npr_npy_dim(npy);
    f->value_bytes = npr_npy_value_bytes(npy);
    npr_npy_close(npy);
    NPR_TRY(npr_file_size(path, &f->bytes));
    NPR_TRY(hash_ends(path, f->bytes, &f->hash));
    if (!plan->meta.count) return NPR_OK;
    int64_t rows = 0;
    NPR_TRY(count_meta(job, plan->meta.path[i], f, &rows));
    if (rows == f->rows) return NPR_OK;
    return npr_fail(NPR_EDATA,
                    "%s has %lld rows, but its metadata %s has %lld: row n of one must be row n of the other",
                    path, (long long)f->rows, plan->meta.path[i], (long long)rows);
}

static npr_status examine_mine(const npr_comm *comm, const npr_ingest_job *job, npr_ingest_plan *plan)
{
    for (size_t i = (size_t)comm->rank; i < plan->emb.count; i += (size_t)comm->size)
        NPR_TRY(examine(job, plan, i, &plan->file[i]));
    return NPR_OK;
}

static npr_status find_files(const npr_ingest_job *job, npr_ingest_plan *plan)
{
    if (!job->emb)
        return npr_fail(NPR_EUSAGE, "--emb is needed: captions without vectors cannot be primed with");
    NPR_TRY(npr_paths_find(job->emb, ".npy", &plan->emb));
    if (job->meta) NPR_TRY(npr_paths_find(job->meta, "", &plan->meta));
    if (job->meta && plan->meta.count != plan->emb.count)
        return npr_fail(
            NPR_EDATA,
            "%zu arrays (%s) but %zu metadata files (%s): they are paired in the order of their names",
            plan->emb.count, job->emb, plan->meta.count, job->meta);
    plan->file = npr_alloc(plan->emb.count, sizeof *plan->file, "a list of inputs");
    return plan->file ? NPR_OK : npr_last();
}

/* What this rank has learned of its files, as bytes: index, the file's facts, its marks. */
static npr_status pack(const npr_comm *comm, const npr_ingest_plan *plan, char **bytes, size_t *n)
{
    size_t cap = 0;
    *bytes = NULL;
    *n = 0;
    for (size_t i = (size_t)comm->rank; i < plan->emb.count; i += (size_t)comm->size) {
        const npr_ingest_file *f = &plan->file[i];
        size_t marks = (size_t)f->marks * sizeof *f->mark;
        NPR_TRY(npr_grow(bytes, &cap, *n + sizeof i + sizeof *f + marks, 1, "facts of inputs"));
        memcpy(*bytes + *n, &i, sizeof i);
        memcpy(*bytes + *n + sizeof i, f, sizeof *f);
        if (marks) memcpy(*bytes + *n + sizeof i + sizeof *f, f->mark, marks);
        *n += sizeof i + sizeof *f + marks;
    }
    return NPR_OK;
}

static npr_status unpack(const npr_comm *comm, npr_ingest_plan *plan, const char *all, size_t n)
{
    for (size_t at = 0; at < n;) {
        size_t i;
        npr_ingest_file f;
        memcpy(&i, all + at, sizeof i);
        memcpy(&f, all + at + sizeof i, sizeof f);
        at += sizeof i + sizeof f;
        size_t marks = (size_t)f.marks * sizeof *f.mark;
        if (i % (size_t)comm->size != (size_t)comm->rank) { /* my own are there already */
            f.mark = npr_alloc(marks, 1, "marks in metadata");
            if (!f.mark) return npr_last();
            if (marks) memcpy(f.mark, all + at, marks);
            plan->file[i] = f;
        }
        at += marks;
    }
    return NPR_OK;
}

static npr_status share(const npr_comm *comm, npr_ingest_plan *plan)
{
    char *mine, *all = NULL;
    size_t n;
    int64_t *offset = NULL;
    npr_status st = npr_agree(comm, pack(comm, plan, &mine, &n), "inputs");
    if (!st) st = npr_gather_bytes(comm, mine, n, -1, &all, &offset);
    if (!st) st = npr_agree(comm, unpack(comm, plan, all, (size_t)offset[comm->size]), "inputs");
    free(mine);
    free(all);
    free(offset);
    return st;
}

/* Number the rows, check the widths, and settle the columns. */
static npr_status settle(const npr_ingest_job *job, npr_ingest_plan *plan)
{
    uint32_t columns = NPR_COL(NPR_EMB) | NPR_COL(NPR_ID) | NPR_COL(NPR_SOURCE);
    for (size_t i = 0; i < plan->emb.count; i++) {
        npr_ingest_file *f = &plan->file[i];
        if (f->dim != plan->file[0].dim)
            return npr_fail(NPR_EDATA, "%s: rows of %lld values, but %s has %lld", plan->emb.path[i],
                            (long long)f->dim, plan->emb.path[0], (long long)plan->file[0].dim);
        f->row0 = plan->rows;
        plan->rows += f->rows;
        columns |= (uint32_t)f->columns;
    }
    if (columns & NPR_COL(NPR_CAPTION)) columns |= NPR_COL(NPR_TOKENS);
    if (job->head) columns |= NPR_COL(NPR_WEIGHT);
    if (job->head || job->labels) columns |= NPR_COL(NPR_LABEL);
    if (job->head && job->labels)
        return npr_fail(NPR_EUSAGE, "--labels: row i of a head is class i; labels are for other sets");
    if (job->head && plan->rows > INT32_MAX)
        return npr_fail(NPR_EDATA, "a head of %lld classes, at most %d", (long long)plan->rows, INT32_MAX);
    plan->columns = columns & ~NPR_COL(NPR_SCORE);
    plan->dim = (int)plan->file[0].dim;
    int64_t parts = (plan->rows + job->part_rows - 1) / job->part_rows;
    if (parts > INT32_MAX / 2)
        return npr_fail(NPR_EUSAGE, "--part-rows=%lld gives too many parts", (long long)job->part_rows);
    plan->parts = parts ? (int)parts : 1;
    return NPR_OK;
}

static npr_status read_labels(const char *path, int64_t rows, int32_t *label)
{
    npr_lines *l;
    NPR_TRY(npr_lines_open(path, &l));
    const char *line;
    size_t n;
    npr_status st = NPR_OK;
    int64_t i = 0;
    for (; !(st = npr_lines_next(l, &line, &n)) && line; i++) {
        double x;
        if (!npr_field_number(line, n, &x) || x != (double)(int32_t)x || x < -1) {
            st = npr_fail(NPR_EDATA, "%s:%lld: wanted a class number or -1, found \"%.*s\"", path,
                          (long long)i + 1, (int)(n < 60 ? n : 60), line);
            break;
        }
        if (i < rows) label[i] = (int32_t)x;
    }
    npr_lines_close(l);
    if (!st && i != rows)
        st = npr_fail(NPR_EDATA, "%s has %lld labels for %lld rows", path, (long long)i, (long long)rows);
    return st;
}

static npr_status share_labels(const npr_comm *comm, const char *path, npr_ingest_plan *plan)
{
    plan->label = npr_alloc((size_t)plan->rows, sizeof *plan->label, "labels");
    npr_status st = plan->label ? NPR_OK : npr_last();
    if (!st && comm->rank == 0) st = read_labels(path, plan->rows, plan->label);
    st = npr_agree(comm, st, "labels");
    if (!st) npr_bcast(comm, plan->label, (size_t)plan->rows * sizeof *plan->label, 0);
    return st;
}

/* The identity: the options, then a line per input. Base names only: moving the inputs changes nothing. */
static npr_status describe(const npr_ingest_job *job, npr_ingest_plan *plan)
{
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    if (!f) return npr_fail(NPR_EINTERNAL, "out of memory: the identity of the job");
    fputs(job->identity ? job->identity : "", f);
    for (size_t i = 0; i < plan->emb.count; i++) {
        char *emb = npr_strdup(plan->emb.path[i]),
             *meta = plan->meta.count ? npr_strdup(plan->meta.path[i]) : NULL;
        if (emb)
            fprintf(f, "input=%s bytes=%lld rows=%lld hash=%016llx%s%s\n", basename(emb),
                    (long long)plan->file[i].bytes, (long long)plan->file[i].rows,
                    (unsigned long long)plan->file[i].hash, meta ? " metadata=" : "",
                    meta ? basename(meta) : "");
        free(emb);
        free(meta);
    }
    if (plan->label)
        fprintf(f, "labels=%016llx\n",
                (unsigned long long)npr_hash64(plan->label, (size_t)plan->rows * sizeof *plan->label, 0));
    int failed = ferror(f);
    if (fclose(f) || failed) {
        free(text);
        return npr_fail(NPR_EINTERNAL, "out of memory: the identity of the job");
    }
    plan->job = text;
    return NPR_OK;
}

npr_status npr_ingest_read_plan(const npr_comm *comm, const npr_ingest_job *job, npr_ingest_plan *plan)
{
    *plan = (npr_ingest_plan){0};
    npr_status st = npr_agree(comm, find_files(job, plan), "inputs");
    if (!st) st = npr_agree(comm, examine_mine(comm, job, plan), "inputs");
    if (!st) st = share(comm, plan);
    if (!st) st = npr_agree(comm, settle(job, plan), "inputs");
    if (!st && job->labels) st = share_labels(comm, job->labels, plan);
    if (!st) st = npr_agree(comm, describe(job, plan), "inputs");
    if (st) npr_ingest_plan_free(plan);
    return st;
}

void npr_ingest_plan_free(npr_ingest_plan *plan)
{
    for (size_t i = 0; plan->file && i < plan->emb.count; i++) free(plan->file[i].mark);
    free(plan->file);
    npr_paths_free(&plan->emb);
    npr_paths_free(&plan->meta);
    free(plan->label);
    free(plan->job);
    *plan = (npr_ingest_plan){0};
}
