/* test_set_mpi.c - sets written by several ranks: the same bytes for every number of ranks, also after
 * interruptions. `test_io_set_mpi write DIR` and `... index DIR` do one such job and leave;
 * kill_and_resume.sh kills them. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/file.h"
#include "io/part.h"
#include "sample.h"

enum { DIM = 8, PART = 60, PARTS = 5, ROWS = 4 * PART + 7, COLUMNS = SAMPLE_ALL & ~(1 << NPR_WEIGHT) };

static npr_comm world;
static char root[64]; /* the test's folder, the same on all ranks */

static char *path_of(const char *name)
{
    static char path[64][160]; /* room for those in use at a time */
    static int next;
    next = (next + 1) % 64;
    snprintf(path[next], sizeof path[next], "%s/%s", root, name);
    return path[next];
}

/* The first n ranks of the world; others get a communicator without meaning. */
static npr_comm first_ranks(int n)
{
    MPI_Comm mpi;
    MPI_Comm_split(world.mpi, world.rank >= n, world.rank, &mpi);
    npr_comm comm = npr_comm_make(mpi);
    MPI_Comm_free(&mpi);
    return comm;
}

static npr_set_plan plan_of(const char *path)
{
    return (npr_set_plan){path, "pool", "ViT-B-32", "k=10\nseed=1", DIM, COLUMNS, PART};
}

/* Write a set, at most `most` parts on each rank; finished only if nothing is missing. *made: parts written
 * here. */
static npr_status write_set(const npr_comm *comm, const npr_set_plan *plan, int most, int64_t *made)
{
    npr_set_writer *w;
    int complete;
    *made = 0;
    npr_status st = npr_set_begin(comm, plan, &w, &complete);
    if (st || complete) return st;
    for (int p = 0; p < PARTS && !st; p++) {
        npr_part_entry e;
        if (!npr_owns(comm, p) || npr_set_done(w, p) || *made == most) continue;
        int64_t n = p < PARTS - 1 ? PART : ROWS - (PARTS - 1) * PART;
        st = sample_part(npr_set_folder(w), p, plan->columns, plan->dim, (int64_t)p * PART, n, 1 + p * 9, &e);
        if (!st) st = npr_set_commit_part(w, p, &e);
        ++*made;
    }
    st = npr_agree(comm, st, "write");
    if (!st && most >= PARTS) st = npr_set_finish(comm, w, PARTS);
    npr_set_end(w);
    return st;
}

static int64_t sum(const npr_comm *comm, int64_t v)
{
    npr_sum_i64(comm, &v, 1);
    return v;
}

static int same_file(const char *a, const char *b)
{
    size_t n = 0, m = 0;
    char *x = sample_slurp(a, &n), *y = sample_slurp(b, &m);
    int same = x && y && n == m && !memcmp(x, y, n);
    free(x);
    free(y);
    return same;
}

/* Do two sets have the same files with the same bytes? Looked at by one rank, known to all. */
static int same_set(const char *a, const char *b)
{
    int64_t same = 1, files = 0;
    char x[300], y[300];
    DIR *d = world.rank ? NULL : opendir(a);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        snprintf(x, sizeof x, "%s/%.100s", a, e->d_name);
        snprintf(y, sizeof y, "%s/%.100s", b, e->d_name);
        if (!same_file(x, y)) same = 0;
        files++;
    }
    if (d) closedir(d);
    if (world.rank == 0 && files != PARTS + 1) same = 0; /* the parts, the manifest, and nothing else */
    return sum(&world, same) == world.size;
}

/* ---- writing ---- */

static void test_same_bytes(void)
{
    int64_t made;
    for (int n = 1; n <= world.size; n++) {
        char name[32];
        snprintf(name, sizeof name, "by-%d", n);
        char *path = path_of(name);
        npr_set_plan plan = plan_of(path);
        npr_comm comm = first_ranks(n);
        if (world.rank < n) {
            CHECK_OK(write_set(&comm, &plan, PARTS, &made));
            CHECK_INT(sum(&comm, made), PARTS);
            CHECK_OK(write_set(&comm, &plan, PARTS, &made)); /* complete: nothing to do */
            CHECK_INT(made, 0);
        }
        npr_comm_free(&comm);
        CHECK(same_set(path, path_of("by-1")));
    }
    npr_set *set;
    npr_rows r;
    CHECK_OK(npr_set_open_all(&world, path_of("by-1"), &set));
    CHECK_OK(npr_set_read_all(set, COLUMNS, &r));
    CHECK_INT(r.n, ROWS);
    for (int64_t i = 0; i < r.n; i++) CHECK(sample_is(&r, i, i));
    npr_rows_free(&r);
    npr_set_free(set);
    CHECK_FAILS(npr_set_open_all(&world, path_of("absent"), &set), NPR_ENOINPUT, "no such folder");
}

static void spoil(const char *path, int how)
{
    size_t n = 0;
    if (world.rank) return;
    char *bytes = sample_slurp(path, &n);
    bytes[n / 2] ^= 1;
    if (how == 0) unlink(path);
    if (how == 1) sample_spill(path, bytes, n - 1);
    if (how == 2) sample_spill(path, bytes, n);
    free(bytes);
}

/* Abandoned on `first` ranks after one part each, a finished part spoilt or not, resumed on `second` ranks.
 */
static void resume(int first, int second, int how)
{
    int64_t made, done = first < PARTS ? first : PARTS;
    char name[48];
    snprintf(name, sizeof name, "resume-%d-%d-%d", first, second, how);
    npr_set_plan plan = plan_of(path_of(name));
    npr_comm comm = first_ranks(first);
    npr_set *set;
    if (world.rank < first) {
        CHECK_OK(write_set(&comm, &plan, 1, &made));
        CHECK_INT(sum(&comm, made), done);
    }
    npr_comm_free(&comm);
    MPI_Barrier(world.mpi);
    CHECK_FAILS(npr_set_open(plan.path, &set), NPR_ENOINPUT, "not finished");
    snprintf(name + strlen(name), 20, "/part-00000.h5");
    spoil(path_of(name), how);
    if (world.rank == 0) sample_spill(path_of(strcat(name, ".tmp.123")), "x", 1); /* of a dead run */
    MPI_Barrier(world.mpi);
    comm = first_ranks(second);
    if (world.rank < second) {
        CHECK_OK(write_set(&comm, &plan, PARTS, &made));
        CHECK_INT(sum(&comm, made), PARTS - done + (how < 3)); /* the spoilt part is made again, no other */
    }
    npr_comm_free(&comm);
    CHECK(same_set(plan.path, path_of("by-1")));
}

static void test_resume(void)
{
    int n = world.size;
    for (int how = 0; how < 4; how++) resume(n, 1 + n / 2, how);
    if (n > 1) resume(1, n, 3);
}

/* ---- refusals ---- */

static void check_refused(npr_set_plan plan, npr_status code, const char *words)
{
    npr_set_writer *w;
    int complete;
    CHECK_FAILS(npr_set_begin(&world, &plan, &w, &complete), code, words);
    CHECK(w == NULL);
}

static void test_other_commands(const char *path, const char *advice)
{
    npr_set_plan plan = plan_of(path);
    check_refused((plan.job = "k=10\nseed=2", plan), NPR_ECREATE, "found \"seed=1\", wanted \"seed=2\"");
    check_refused((plan.job = "k=10\nseed=1\nmore=1", plan), NPR_ECREATE, "found \"\", wanted \"more=1\"");
    check_refused(plan, NPR_ECREATE, advice);
    plan = plan_of(path);
    check_refused((plan.dim = 9, plan), NPR_ECREATE, "found \"dim=8\", wanted \"dim=9\"");
    plan = plan_of(path);
    check_refused((plan.model = "RN50", plan), NPR_ECREATE, "wanted \"model=RN50\"");
    plan = plan_of(path);
    check_refused((plan.columns = NPR_COL(NPR_EMB) | NPR_COL(NPR_ID), plan), NPR_ECREATE,
                  "wanted \"columns=emb id\"");
    plan = plan_of(path);
    check_refused((plan.part_rows = 61, plan), NPR_ECREATE, "wanted \"part_rows=61\"");
    plan = plan_of(path);
    check_refused((plan.dim = 0, plan), NPR_EINTERNAL, "dim 0");
}

static void test_refusals(void)
{
    int64_t made;
    npr_set_writer *w, *second;
    int complete;
    test_other_commands(path_of("by-1"), "name another folder, or remove this one");
    npr_set_plan plan = plan_of(path_of("open"));
    CHECK_OK(npr_set_begin(&world, &plan, &w, &complete));
    CHECK_INT(complete, 0);
    CHECK_INT(npr_set_run(w), 1);
    CHECK_FAILS(npr_set_begin(&world, &plan, &second, &complete), NPR_ECREATE, "in use by host ");
    CHECK_FAILS(npr_set_finish(&world, w, 1), NPR_EINTERNAL, "part 0 of 1 was committed by no rank");
    npr_set_end(w);
    CHECK_OK(write_set(&world, &plan, 1, &made));
    test_other_commands(plan.path, "run that command again");
    CHECK_OK(npr_set_begin(&world, &plan, &w, &complete)); /* nobody holds it any more */
    CHECK_INT(npr_set_run(w), 2);
    npr_set_end(w);

    MPI_Barrier(world.mpi);
    if (world.rank == 0) {
        mkdir(path_of("thesis"), 0777);
        sample_spill(path_of("thesis/chapter-1.tex"), "x", 1);
        sample_spill(path_of("file"), "x", 1);
    }
    MPI_Barrier(world.mpi);
    check_refused(plan_of(path_of("thesis")), NPR_ECREATE,
                  "neither empty nor a set (it holds chapter-1.tex)");
    check_refused(plan_of(path_of("file")), NPR_ECREATE, "file");
    check_refused(plan_of("/proc/nobody/writes/here"), NPR_ECREATE, "/proc/nobody");

    plan = plan_of(path_of("hurt"));
    CHECK_OK(write_set(&world, &plan, PARTS, &made));
    spoil(path_of("hurt/part-00003.h5"), 1);
    MPI_Barrier(world.mpi);
    check_refused(plan, NPR_EDATA, "hurt/part-00003.h5");
    check_refused(plan, NPR_EDATA, "remove the folder");
}

/* ---- indexes ---- */

static npr_status add_index(const npr_comm *comm, const char *path, const char *factory, int most,
                            int64_t *made)
{
    npr_set *set;
    npr_set_writer *w;
    int complete;
    char blob[5000];
    *made = 0;
    npr_status st = npr_set_open_all(comm, path, &set);
    if (st) return st;
    st = npr_set_begin_index(comm, set, factory, "sample=10", &w, &complete);
    for (int p = 0; !st && !complete && p < PARTS; p++) {
        if (!npr_owns(comm, p) || npr_set_done(w, p) || *made == most) continue;
        for (size_t i = 0; i < sizeof blob; i++) blob[i] = (char)(i * (size_t)(p + 3) + strlen(factory));
        st = npr_set_put_index(w, p, blob, sizeof blob);
        ++*made;
    }
    if (!complete) st = npr_agree(comm, st, "index");
    if (!st && !complete) {
        for (int p = 0; p < PARTS; p++) { /* the parts can be read whoever has changed them, also half-way */
            npr_part *part;
            if (!npr_owns(comm, p)) continue;
            CHECK_OK(npr_part_open(set, p, &part));
            npr_part_close(part);
        }
        if (most >= PARTS) st = npr_set_finish_index(comm, w);
        npr_set_end(w);
    }
    npr_set_free(set);
    return st;
}

static void make_set(const char *path)
{
    int64_t made;
    npr_set_plan plan = plan_of(path);
    CHECK_OK(write_set(&world, &plan, PARTS, &made));
}

static void test_index(void)
{
    int64_t made;
    npr_set *set;
    npr_part *part;
    char *straight = path_of("straight"), *broken = path_of("broken");
    make_set(straight);
    make_set(broken);
    CHECK_OK(add_index(&world, straight, "Flat", PARTS, &made));
    CHECK_INT(sum(&world, made), PARTS);
    CHECK_OK(add_index(&world, straight, "Flat", PARTS, &made));
    CHECK_INT(made, 0);
    CHECK_OK(add_index(&world, broken, "Flat", 1, &made)); /* interrupted */
    int64_t done = sum(&world, made);
    CHECK_OK(npr_set_open_all(&world, broken, &set));
    CHECK_FAILS(npr_part_open(set, 0, &part), NPR_EDATA,
                "npr-index was interrupted on this set: run it again");
    npr_set_free(set);
    CHECK_FAILS(add_index(&world, broken, "IVF4,Flat", PARTS, &made), NPR_ECREATE,
                "run that command again first");
    npr_comm comm = first_ranks(1 + world.size / 2);
    if (world.rank < 1 + world.size / 2) {
        CHECK_OK(add_index(&comm, broken, "Flat", PARTS, &made));
        CHECK_INT(sum(&comm, made), PARTS - done);
    }
    npr_comm_free(&comm);
    CHECK(same_set(broken, straight));
    CHECK_OK(npr_set_open_all(&world, broken, &set));
    CHECK_TEXT(set->index, "Flat");
    CHECK_TEXT(set->index_job, "sample=10");
    npr_set_free(set);
    if (world.rank == 0) { /* killed between the manifest and the removal of its scratch folder */
        mkdir(path_of("broken/.index"), 0777);
        sample_spill(path_of("broken/.index/identity"), "set=0\n", 6);
        sample_spill(path_of("broken/.index/parts-1-0.log"), "", 0);
    }
    MPI_Barrier(world.mpi);
    CHECK_OK(add_index(&world, broken, "IVF4,Flat", PARTS, &made)); /* another one in its place */
    CHECK_INT(sum(&world, made), PARTS);
    CHECK_OK(add_index(&world, broken, "Flat", PARTS, &made)); /* and back: no trace */
    CHECK(same_set(broken, straight));
    npr_set_plan plan = plan_of(straight);
    CHECK_OK(write_set(&world, &plan, PARTS, &made)); /* it is still the set that this command writes */
    CHECK_INT(made, 0);
}

/* ---- verification ---- */

static void test_verify(void)
{
    npr_log log = npr_log_make(&world, "test", 1);
    npr_record *rec = npr_record_make();
    char *path = path_of("by-1"), *bad = path_of("bad");
    CHECK_OK(npr_set_verify(&world, &log, rec, path, 0));
    CHECK_TEXT(npr_record_get(rec, "result.rows"), "247");
    CHECK_TEXT(npr_record_get(rec, "result.parts"), "5");
    CHECK_TEXT(npr_record_get(rec, "result.dim"), "8");
    CHECK_TEXT(npr_record_get(rec, "result.model"), "ViT-B-32");
    CHECK_TEXT(npr_record_get(rec, "result.columns"),
               "emb id label score caption url tokens source similarity nsfw width height count");
    CHECK_TEXT(npr_record_get(rec, "result.non_unit"), "0");
    CHECK_TEXT(npr_record_get(rec, "result.id_min"), "1000");
    CHECK_TEXT(npr_record_get(rec, "result.id_max"), "1738");
    CHECK_TEXT(npr_record_get(rec, "result.labelled"), "211");
    npr_set *set;
    CHECK_OK(npr_set_open_all(&world, path, &set));
    CHECK_TEXT(npr_record_get(rec, "check.digest"), set->digest);
    npr_set_free(set);
    CHECK_OK(npr_set_verify(&world, &log, rec, path, 1));
    make_set(bad);
    spoil(path_of("bad/part-00002.h5"), 2);
    spoil(path_of("bad/part-00003.h5"), 0);
    MPI_Barrier(world.mpi);
    CHECK_FAILS(npr_set_verify(&world, &log, rec, bad, 0), NPR_EDATA, "2 of 5 parts are bad, the first: ");
    CHECK(strstr(npr_status_text(), "bad/part-00002.h5: the file has digest") != NULL);
    CHECK_FAILS(npr_set_verify(&world, &log, rec, bad, 1), NPR_EDATA, "1 of 5 parts are bad, the first: ");
    CHECK(strstr(npr_status_text(), "bad/part-00003.h5") != NULL);
    npr_record_free(rec);
}

static int one_job(const char *what, const char *path)
{
    int64_t made;
    npr_set_plan plan = plan_of(path);
    npr_fault_rank(world.rank);
    npr_status st = !strcmp(what, "write") ? write_set(&world, &plan, PARTS, &made)
                                           : add_index(&world, path, "Flat", PARTS, &made);
    if (st && world.rank == 0) fprintf(stderr, "%s\n", npr_status_text());
    return (int)st;
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    world = npr_comm_make(MPI_COMM_WORLD);
    int code;
    if (argc == 3) {
        code = one_job(argv[1], argv[2]);
    } else {
        if (world.rank == 0) snprintf(root, sizeof root, "%s", test_folder());
        npr_bcast(&world, root, sizeof root, 0);
        test_same_bytes();
        test_resume();
        test_refusals();
        test_index();
        test_verify();
        MPI_Barrier(world.mpi);
        if (world.rank == 0) test_folder_remove();
        code = TEST_END();
    }
    npr_comm_free(&world);
    MPI_Finalize();
    return code;
}
