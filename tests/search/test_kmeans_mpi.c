/* Centroids trained on all ranks against a plain loop over all rows, bit for bit, on any number of ranks and
 * however rows are dealt to them: also where some have none, lists stay empty, and values are as large as
 * binary16 has them. */
#include "search/faiss/kmeans.h"

#include <signal.h>

#include "base/half.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/score.h"
#include "test.h"

enum { DIM = 20, ROUNDS = 4 };

typedef struct layout {
    int64_t rows;
    int lists, kinds; /* different rows; 0: all are different */
    int only;         /* the rank that has all rows; -1: they are dealt by a hash, and rank 1 gets none */
    double length;    /* of a row */
} layout;

static uint16_t *make_rows(const layout *l)
{
    uint16_t *emb = npr_alloc((size_t)l->rows * DIM, sizeof *emb, "rows");
    for (int64_t i = 0; i < l->rows; i++) {
        npr_rng r = npr_rng_make(3, (uint64_t)(l->kinds ? i % l->kinds : i));
        double v[DIM], norm = 0;
        for (int j = 0; j < DIM; j++) {
            v[j] = npr_rng_normal(&r) + (j == (int)((uint64_t)i % 6)) * 2;
            norm += v[j] * v[j];
        }
        for (int j = 0; j < DIM; j++)
            emb[i * DIM + j] = npr_half_round((float)(v[j] / sqrt(norm) * l->length));
    }
    return emb;
}

/* The same rows every rank makes; this rank's are copied out. */
static kmeans_rows deal(const npr_comm *c, const layout *l, const uint16_t *all)
{
    uint16_t *mine = npr_alloc((size_t)l->rows * DIM, sizeof *mine, "rows");
    int64_t n = 0;
    for (int64_t i = 0; i < l->rows; i++) {
        int rank = (int)(npr_mix64((uint64_t)i + 77) % (uint64_t)c->size);
        if (rank == 1) rank = 0;
        if (l->only >= 0) rank = l->only % c->size;
        if (rank == c->rank) memcpy(mine + n++ * DIM, all + i * DIM, DIM * sizeof *mine);
    }
    return (kmeans_rows){n, DIM, mine};
}

/* ---- the plain loop ------------------------------------------------------------------------------------ */

static void unit(const double *x, float *to)
{
    double squares = 0;
    for (int j = 0; j < DIM; j++) squares += x[j] * x[j];
    for (int j = 0; squares > 0 && j < DIM; j++) to[j] = (float)(x[j] / sqrt(squares));
}

static int nearest(const uint16_t *row, const float *centroid, int lists)
{
    int best = 0;
    for (int l = 1; l < lists; l++)
        if (npr_score_dot(row, centroid + l * DIM, DIM) > npr_score_dot(row, centroid + best * DIM, DIM))
            best = l;
    return best;
}

/* The fullest list that is not marked yet. */
static int fullest(int64_t *count, const char *used, int lists)
{
    int best = -1;
    for (int l = 0; l < lists; l++)
        if (!used[l] && (best < 0 || count[l] > count[best])) best = l;
    return best;
}

static int plain_round(const layout *l, const uint16_t *emb, float *centroid)
{
    int empty = 0;
    long double *sum = npr_alloc((size_t)l->lists * DIM, sizeof *sum, "sums"); /* 64 bits: exact here */
    int64_t *count = npr_alloc((size_t)l->lists, sizeof *count, "counts");
    char *used = npr_alloc((size_t)l->lists, 1, "lists that were split");
    for (int64_t i = 0; i < l->rows; i++) {
        int list = nearest(emb + i * DIM, centroid, l->lists);
        count[list]++;
        for (int j = 0; j < DIM; j++) sum[list * DIM + j] += (long double)npr_half_value(emb[i * DIM + j]);
    }
    double mean[DIM];
    for (int c = 0; c < l->lists; c++) {
        for (int j = 0; j < DIM; j++) mean[j] = (double)(sum[c * DIM + j] * 0x1p24L);
        unit(mean, centroid + c * DIM);
    }
    for (int c = 0; c < l->lists; c++) {
        if (count[c]) continue;
        int large = fullest(count, used, l->lists);
        float *a = centroid + large * DIM, *b = centroid + c * DIM;
        double up[DIM], down[DIM];
        used[large] = 1;
        empty++;
        if (count[large] < 2) continue;
        for (int j = 0; j < DIM; j++) {
            up[j] = (double)a[j] * (1 + (j % 2 ? -1 : 1) / 1024.0);
            down[j] = (double)a[j] * (1 - (j % 2 ? -1 : 1) / 1024.0);
        }
        unit(up, b);
        unit(down, a);
    }
    free(sum), free(count), free(used);
    return empty;
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static float *first_rows(const layout *l, const uint16_t *emb)
{
    float *centroid = npr_alloc((size_t)l->lists * DIM, sizeof *centroid, "centroids");
    for (int c = 0; c < l->lists; c++)
        if (l->rows) npr_half_to_float(emb + c % l->rows * DIM, centroid + c * DIM, DIM);
    return centroid;
}

static npr_status keep(void *self, int done, const float *centroid)
{
    (void)centroid;
    *(int *)self = done;
    return NPR_OK;
}

static int check(const npr_comm *c, const npr_log *log, const layout *l)
{
    uint16_t *emb = make_rows(l);
    float *want = first_rows(l, emb), *got = first_rows(l, emb);
    kmeans_rows mine = deal(c, l, emb);
    int empty = 0;
    for (int i = 0; i < ROUNDS; i++) empty += plain_round(l, emb, want);
    int kept = 0;
    kmeans_job job = {
        .lists = l->lists, .threads = 1 + c->rank % 2, .rounds = ROUNDS, .keep = keep, .self = &kept};
    CHECK_OK(kmeans_train(c, log, &mine, &job, got));
    CHECK_INT(kept, 0); /* not yet a minute */
    CHECK(!memcmp(want, got, (size_t)l->lists * DIM * sizeof *got));
    free(emb), free(want), free(got), free((void *)(uintptr_t)mine.emb);
    return empty;
}

/* Asked to stop after every round, and begun again where it stopped. Comes last: a stop cannot be taken back.
 */
static void check_stop(const npr_comm *c, const npr_log *log)
{
    static const layout l = {600, 11, 0, -1, 1};
    uint16_t *emb = make_rows(&l);
    float *want = first_rows(&l, emb), *got = first_rows(&l, emb);
    kmeans_rows mine = deal(c, &l, emb);
    int kept = 0;
    kmeans_job job = {.lists = l.lists, .threads = 1, .rounds = ROUNDS, .keep = keep, .self = &kept};
    for (int i = 0; i < ROUNDS; i++) (void)plain_round(&l, emb, want);
    npr_stop_install();
    if (c->rank == c->size - 1) raise(SIGUSR1);
    for (job.done = 0; job.done < ROUNDS; job.done++) {
        CHECK_INT(kmeans_train(c, log, &mine, &job, got), NPR_ESTOP);
        if (c->rank == 0 && job.done < ROUNDS - 1) CHECK_INT(kept, job.done + 1);
    }
    CHECK(!memcmp(want, got, (size_t)l.lists * DIM * sizeof *got));
    free(emb), free(want), free(got), free((void *)(uintptr_t)mine.emb);
}

/* Asked to stop while rows are left to assign, on one rank alone: all leave in the first round, and nothing
 * is changed. After check_stop(), whose request stands. */
static void check_stop_in_round(const npr_comm *c, const npr_log *log)
{
    layout l = {9000, 5, 0, c->size - 1, 1}; /* three blocks of rows, on the rank that was asked */
    uint16_t *emb = make_rows(&l);
    float *begun = first_rows(&l, emb), *got = first_rows(&l, emb);
    kmeans_rows mine = deal(c, &l, emb);
    int kept = 0;
    kmeans_job job = {.lists = l.lists, .threads = 1, .rounds = ROUNDS, .keep = keep, .self = &kept};
    CHECK_INT(kmeans_train(c, log, &mine, &job, got), NPR_ESTOP);
    CHECK_INT(kept, 0);
    CHECK(!memcmp(begun, got, (size_t)l.lists * DIM * sizeof *got));
    free(emb), free(begun), free(got), free((void *)(uintptr_t)mine.emb);
}

/* More lists than are scored together: as a plain search. */
static void check_many_lists(void)
{
    enum { LISTS = 4500, ROWS = 40 };
    layout l = {.rows = LISTS, .lists = LISTS, .length = 1};
    uint16_t *emb = make_rows(&l);
    float *centroid = first_rows(&l, emb);
    memcpy(centroid + 4400 * DIM, centroid + 7 * DIM, DIM * sizeof *centroid); /* of equal ones the first */
    int32_t list[ROWS];
    kmeans_rows rows = {ROWS, DIM, emb + (4390 - ROWS / 2) * DIM};
    CHECK_OK(kmeans_assign(&rows, centroid, LISTS, 2, list));
    for (int i = 0; i < ROWS; i++) CHECK_INT(list[i], nearest(rows.emb + i * DIM, centroid, LISTS));
    rows = (kmeans_rows){1, DIM, emb + 7 * DIM};
    CHECK_OK(kmeans_assign(&rows, centroid, LISTS, 1, list));
    CHECK_INT(list[0], nearest(rows.emb, centroid, LISTS));
    free(emb), free(centroid);
}

int main(void)
{
    MPI_Init(NULL, NULL);
    npr_comm c = npr_comm_make(MPI_COMM_WORLD);
    npr_log log = {0};
    static const layout layouts[] = {{900, 13, 0, -1, 1}, {900, 13, 0, 2, 1},   {400, 40, 9, -1, 1},
                                     {30, 30, 0, -1, 1},  {700, 8, 0, -1, 6e4}, {0, 3, 0, -1, 1}};
    int empty = 0;
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) empty += check(&c, &log, &layouts[i]);
    CHECK(empty > 40); /* 40 lists for 9 different rows */
    if (c.rank == 0) check_many_lists();
    check_stop(&c, &log);
    check_stop_in_round(&c, &log);
    npr_comm_free(&c);
    MPI_Finalize();
    return TEST_END();
}
