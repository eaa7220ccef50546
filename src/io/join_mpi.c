/* join_mpi.c - all downloaded pictures known on every rank, and what became of a pool's rows counted, before
 * one picture is decoded. Tars are dealt to ranks, then the parts of the pool. See join.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/mem.h"
#include "io/join.h"
#include "io/share.h"

enum { BATCH = 4 * NPR_CHUNK_ROWS, CLASSES_MAX = 1 << 24 };

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int by_name(const void *va, const void *vb)
{
    const char *a = *(char *const *)va, *b = *(char *const *)vb;
    int order = strcmp(base_name(a), base_name(b));
    return order ? order : strcmp(a, b);
}

/* The order in which tars are named must not matter. */
static void sort_tars(npr_join *j)
{
    if (j->tar.count) qsort(j->tar.path, j->tar.count, sizeof *j->tar.path, by_name);
    for (size_t i = 1; i < j->tar.count; i++)
        j->same_names |= !strcmp(base_name(j->tar.path[i - 1]), base_name(j->tar.path[i]));
}

/* ---- what the files hold ---- */

/* Hashes of the files, for the digest: [files][2] bytes and hash of a file's ends. */
typedef struct inputs {
    npr_paths failed;
    size_t files;
    int64_t *fact;
} inputs;

static npr_status scan_mine(const npr_comm *comm, const npr_log *log, npr_join *j, inputs *in)
{
    npr_progress *progress = npr_progress_start(comm, log, "joining", "files", (int64_t)in->files);
    npr_status st = NPR_OK;
    for (size_t i = (size_t)comm->rank; !st && i < in->files; i += (size_t)comm->size) {
        size_t tars = j->tar.count;
        const char *path = i < tars ? j->tar.path[i] : in->failed.path[i - tars];
        uint64_t hash;
        st = npr_digest_ends(path, &in->fact[2 * i], &hash);
        in->fact[2 * i + 1] = st ? 0 : (int64_t)hash;
        if (!st) st = i < tars ? npr_join_scan_tar(j, (int)i) : npr_join_scan_failed(j, path);
        npr_progress_add(progress, 1);
        if (!st && npr_stop_requested())
            st = npr_fail(NPR_ESTOP,
                          "stopped on request before an image was read; run the same command again");
    }
    npr_progress_end(comm, progress);
    return npr_agree(comm, st, "joining");
}

/* The pictures of all ranks on all of them. */
static npr_status share(const npr_comm *comm, npr_join *j, inputs *in)
{
    int64_t sum[] = {j->pictures, j->nameless, j->unused, j->bytes}, *offset = NULL;
    char *all = NULL;
    npr_status st = npr_gather_bytes(comm, j->row, (size_t)j->rows * sizeof *j->row, -1, &all, &offset);
    if (st) return st;
    free(j->row);
    j->row = (npr_joined *)(void *)all;
    j->rows = offset[comm->size] / (int64_t)sizeof *j->row;
    j->cap = (size_t)j->rows;
    free(offset);
    npr_sum_i64(comm, sum, sizeof sum / sizeof *sum);
    npr_sum_i64(comm, in->fact, 2 * in->files);
    j->pictures = sum[0];
    j->nameless = sum[1];
    j->unused = sum[2];
    j->bytes = sum[3];
    npr_join_sort(j);
    return NPR_OK;
}

static npr_status name_inputs(npr_join *j, const inputs *in)
{
    npr_digest *g = npr_digest_new();
    if (!g) return npr_last();
    for (size_t i = 0; i < in->files; i++) {
        size_t tars = j->tar.count;
        const char *name = base_name(i < tars ? j->tar.path[i] : in->failed.path[i - tars]);
        npr_digest_add(g, name, strlen(name) + 1);
        npr_digest_add(g, in->fact + 2 * i, 2 * sizeof *in->fact);
    }
    npr_digest_add(g, &j->options.drop_changed, sizeof j->options.drop_changed);
    npr_digest_hex(g, j->digest);
    npr_digest_free(g);
    return NPR_OK;
}

static npr_status read_files(const npr_comm *comm, const npr_log *log, npr_join *j)
{
    inputs in = {.fact = NULL};
    npr_status st = NPR_OK;
    if (comm->rank == 0 && j->options.failed) st = npr_paths_find(j->options.failed, ".tsv", &in.failed);
    st = npr_agree(comm, st, "joining");
    if (!st) st = npr_share_paths(comm, &in.failed);
    if (!st) {
        in.files = j->tar.count + in.failed.count;
        in.fact = npr_alloc(2 * in.files, sizeof *in.fact, "a list of files");
        st = npr_agree(comm, in.fact ? NPR_OK : npr_last(), "joining");
    }
    if (!st) st = scan_mine(comm, log, j, &in);
    if (!st) st = share(comm, j, &in);
    if (!st) st = npr_agree(comm, name_inputs(j, &in), "joining");
    npr_paths_free(&in.failed);
    free(in.fact);
    return st;
}

/* ---- what became of the pool's rows ---- */

typedef struct account {
    npr_join *j;
    const npr_set *pool;
    npr_rows rows;
    int64_t *found; /* [j->rows]: rows that got it */
    size_t cap;     /* of j->count */
    char *scratch;
    size_t scratch_cap;
} account;

static npr_status room_for(account *a, int classes)
{
    npr_join *j = a->j;
    if (classes <= j->classes && j->count) return NPR_OK;
    if (classes > CLASSES_MAX)
        return npr_fail(NPR_EDATA, "%s: a row has the label %d", a->pool->path, classes - 1);
    size_t before = j->count ? ((size_t)j->classes + 1) * NPR_JOIN_FIELDS : 0;
    size_t after = ((size_t)classes + 1) * NPR_JOIN_FIELDS;
    NPR_TRY(npr_grow(&j->count, &a->cap, after, sizeof *j->count, "classes of a pool"));
    memset(j->count + before, 0, (after - before) * sizeof *j->count);
    j->classes = classes;
    return NPR_OK;
}

static npr_status count_row(account *a, int64_t i)
{
    const npr_joined *e;
    int state, changes, label = a->rows.label[i];
    if (label < -1 || label >= CLASSES_MAX)
        return npr_fail(NPR_EDATA, "%s: the row of id %lld has label %d, wanted a class or -1", a->pool->path,
                        (long long)a->rows.id[i], label);
    NPR_TRY(npr_join_row(a->j, &a->rows, i, &e, &state, &changes, &a->scratch, &a->scratch_cap));
    NPR_TRY(room_for(a, label + 1));
    int64_t *n = a->j->count + (label + 1) * NPR_JOIN_FIELDS;
    n[NPR_JOIN_WANTED]++;
    n[NPR_JOIN_N_MISSING] += state == NPR_JOIN_MISSING;
    n[NPR_JOIN_N_DEAD] += state == NPR_JOIN_DEAD;
    n[NPR_JOIN_N_SIZE] += changes & NPR_JOIN_SIZE ? 1 : 0;
    n[NPR_JOIN_N_TEXT] += changes & NPR_JOIN_TEXT ? 1 : 0;
    n[NPR_JOIN_CHANGED] += changes != 0;
    if (e) a->found[e - a->j->row]++;
    return NPR_OK;
}

static npr_status count_part(account *a, int part)
{
    npr_part *p;
    NPR_TRY(npr_part_open(a->pool, part, &p));
    npr_status st = NPR_OK;
    for (int64_t row = 0, n; !st && row < npr_part_rows(p); row += n) {
        n = npr_part_rows(p) - row < BATCH ? npr_part_rows(p) - row : BATCH;
        st = npr_part_read(p, row, n, &a->rows);
        for (int64_t i = 0; !st && i < n; i++) st = count_row(a, i);
    }
    npr_part_close(p);
    return st;
}

static npr_status count_mine(const npr_comm *comm, account *a)
{
    a->found = npr_alloc((size_t)a->j->rows + 1, sizeof *a->found, "pictures that were found");
    if (!a->found) return npr_last();
    NPR_TRY(npr_rows_make(&a->rows, npr_join_columns(a->pool), a->pool->dim, BATCH));
    NPR_TRY(room_for(a, 0));
    for (int part = 0; part < a->pool->parts; part++)
        if (npr_owns(comm, part)) NPR_TRY(count_part(a, part));
    return NPR_OK;
}

/* Pictures that no row wants: how many, and which are the first. */
static void count_foreign(account *a)
{
    npr_join *j = a->j;
    size_t used = 0;
    for (int64_t i = 0; i < j->rows; i++) {
        if (a->found[i] || j->row[i].bytes < 0) continue;
        j->foreign++;
        if (used + 24 < sizeof j->foreign_first)
            used += (size_t)snprintf(j->foreign_first + used, sizeof j->foreign_first - used, "%s%lld",
                                     used ? ", " : "", (long long)j->row[i].id);
    }
}

/* More pictures with another text than with the pool's own: of another pool, or another index. */
static npr_status check_texts(const npr_join *j, const npr_set *pool)
{
    int64_t here = 0, other = 0;
    for (int c = 0; c <= j->classes; c++) {
        const int64_t *n = j->count + c * NPR_JOIN_FIELDS;
        here += n[NPR_JOIN_WANTED] - n[NPR_JOIN_N_MISSING] - n[NPR_JOIN_N_DEAD];
        other += n[NPR_JOIN_N_TEXT];
    }
    if (j->pictures && !here)
        return npr_fail(
            NPR_EDATA,
            "%s: %lld pictures, and none is of a row of it: wrong tars, or --id-field names no id of theirs",
            pool->path, (long long)j->pictures);
    if (2 * other <= here) return NPR_OK;
    return npr_fail(NPR_EDATA,
                    "%s: of %lld rows that have a picture by id, %lld have another URL or caption than the "
                    "picture: the tars are of another pool",
                    pool->path, (long long)here, (long long)other);
}

static npr_status account_for(const npr_comm *comm, npr_join *j, const npr_set *pool)
{
    account a = {.j = j, .pool = pool};
    npr_status st = npr_agree(comm, count_mine(comm, &a), "joining");
    if (!st) {
        int64_t classes = j->classes;
        npr_max_i64(comm, &classes, 1);
        st = npr_agree(comm, room_for(&a, (int)classes), "joining");
    }
    if (!st) {
        npr_sum_i64(comm, j->count, ((size_t)j->classes + 1) * NPR_JOIN_FIELDS);
        npr_sum_i64(comm, a.found, (size_t)j->rows);
        count_foreign(&a);
        st = npr_agree(comm, check_texts(j, pool), "joining");
    }
    npr_rows_free(&a.rows);
    free(a.found);
    free(a.scratch);
    return st;
}

npr_status npr_join_make(const npr_comm *comm, const npr_log *log, const npr_join_options *options,
                         const npr_set *pool, npr_paths *tars, npr_join *j)
{
    *j = (npr_join){.options = *options, .tar = *tars};
    *tars = (npr_paths){0};
    sort_tars(j);
    npr_status st = NPR_OK;
    if (!(pool->columns & NPR_COL(NPR_LABEL)))
        st = npr_fail(NPR_EDATA, "%s: its rows have no labels: wanted a pool of npr-search", pool->path);
    if (!st) st = read_files(comm, log, j);
    if (!st) st = account_for(comm, j, pool);
    if (st) npr_join_free(j);
    return st;
}

void npr_join_free(npr_join *j)
{
    npr_paths_free(&j->tar);
    free(j->row);
    free(j->count);
    *j = (npr_join){0};
}
