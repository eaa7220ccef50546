/* bench_probe_mpi.c - npr_bench_probe(). See include/npr/bench.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/linalg.h"
#include "base/measure.h"
#include "base/mem.h"
#include "base/peer.h"
#include "base/rng.h"
#include "npr/bench.h"
#include "prime/train.h"

enum { TESTS = 5000, BLOCK = 500, REPEATS_MAX = 99, ITERATIONS = 1000 };

static const double TOLERANCE = 1e-6; /* npr-solve's */

typedef struct bench {
    const npr_bench_probe_job *job;
    npr_record *rec;
    const npr_log *log;
    npr_train train;
    npr_gradient gradient;
    uint16_t *test;      /* [TESTS][dim] */
    int32_t *test_label; /* [TESTS] */
    float *head;         /* [classes][dim] */
    npr_peer *peer;      /* NULL: none */
} bench;

/* ---- rows: a direction all share, as CLIP's have, one of the class, and noise -------------------------- */

static void make_unit(float *x, int dim)
{
    double squares = 0;
    for (int j = 0; j < dim; j++) squares += (double)x[j] * x[j];
    float factor = (float)(1 / sqrt(squares));
    for (int j = 0; j < dim; j++) x[j] *= factor;
}

/* n rows of streams first, first + 1, ...: so close to one another that some are taken for another class. */
static npr_status make_rows(const bench *b, uint64_t first, int64_t n, uint16_t *emb, int32_t *label)
{
    int dim = b->job->dim;
    float *x = npr_alloc(3 * (size_t)dim, sizeof *x, "a row"), *common = x ? x + dim : NULL,
          *concept = x ? common + dim : NULL;
    if (!x) return npr_last();
    npr_rng all = npr_rng_make(1, 0);
    npr_rng_normals(&all, common, (size_t)dim);
    make_unit(common, dim);
    float noise = 1.5F / sqrtf((float)dim);
    for (int64_t i = 0; i < n; i++) {
        npr_rng r = npr_rng_make(2, first + (uint64_t)i);
        label[i] = (int32_t)npr_rng_below(&r, b->job->classes);
        npr_rng of = npr_rng_make(3, (uint64_t)label[i]);
        npr_rng_normals(&of, concept, (size_t)dim);
        make_unit(concept, dim);
        npr_rng_normals(&r, x, (size_t)dim);
        for (int j = 0; j < dim; j++) x[j] = common[j] + 0.25F * concept[j] + noise * x[j];
        make_unit(x, dim);
        npr_half_from_float(x, emb + i * dim, (size_t)dim);
    }
    free(x);
    return NPR_OK;
}

static npr_status make_data(bench *b)
{
    npr_train *t = &b->train;
    size_t dim = (size_t)b->job->dim, rows = (size_t)b->job->rows;
    *t = (npr_train){.dim = b->job->dim, .rows = b->job->rows};
    t->last = t->atoms = (t->rows + NPR_ATOM_ROWS - 1) / NPR_ATOM_ROWS;
    t->emb = npr_alloc_aligned(rows * dim, sizeof *t->emb, "rows");
    t->label = npr_alloc(rows, sizeof *t->label, "labels");
    t->start = npr_alloc((size_t)t->atoms + 1, sizeof *t->start, "rows");
    b->test = npr_alloc_aligned(TESTS * dim, sizeof *b->test, "rows");
    b->test_label = npr_alloc(TESTS, sizeof *b->test_label, "labels");
    b->head = npr_alloc_aligned((size_t)b->job->classes * dim, sizeof *b->head, "a head");
    if (!t->emb || !t->label || !t->start || !b->test || !b->test_label || !b->head) return npr_last();
    for (int64_t a = 0; a <= t->atoms; a++)
        t->start[a] = a * NPR_ATOM_ROWS < t->rows ? a * NPR_ATOM_ROWS : t->rows;
    NPR_TRY(make_rows(b, 0, t->rows, t->emb, t->label));
    NPR_TRY(make_rows(b, (uint64_t)t->rows, TESTS, b->test, b->test_label));
    return npr_gradient_make(t, b->job->classes, b->job->threads, 1, &b->gradient);
}

/* ---- ours ---------------------------------------------------------------------------------------------- */

static double l2(const bench *b)
{
    return b->job->l2 > 0 ? b->job->l2 : 1 / (double)b->job->rows;
}

static npr_status fit(const npr_comm *alone, bench *b, int told, double *seconds)
{
    npr_solve_job job = {.training = {.l2 = l2(b), .iterations = ITERATIONS, .tolerance = TOLERANCE}};
    npr_solve solve = {.log = b->log, .rec = b->rec, .job = &job};
    npr_checkpoint none = {.log = b->log};
    double start = npr_now();
    NPR_TRY(npr_train_probe(alone, &solve, &b->gradient, told, &none, b->head));
    *seconds = npr_now() - start;
    return NPR_OK;
}

/* Share of the test rows whose best class is theirs. */
static npr_status accuracy(const bench *b, double *share)
{
    int dim = b->job->dim, classes = b->job->classes, right = 0;
    float *x = npr_alloc_aligned(BLOCK * (size_t)dim, sizeof *x, "rows"),
          *score = npr_alloc_aligned(BLOCK * (size_t)classes, sizeof *score, "scores");
    npr_status st = x && score ? NPR_OK : npr_last();
    for (int at = 0; at < TESTS && !st; at += BLOCK) {
        npr_half_to_float(b->test + (size_t)at * (size_t)dim, x, BLOCK * (size_t)dim);
        npr_gemm_nt(BLOCK, classes, dim, x, b->head, score, classes);
        for (int i = 0; i < BLOCK; i++) {
            const float *s = score + (size_t)i * (size_t)classes;
            int best = 0;
            for (int c = 1; c < classes; c++) best = s[c] > s[best] ? c : best;
            right += best == b->test_label[at + i];
        }
    }
    *share = (double)right / TESTS;
    free(x);
    free(score);
    return st;
}

/* ---- the peer's ---------------------------------------------------------------------------------------- */

static npr_status send(bench *b, const char *what, const void *bytes, size_t n)
{
    char request[64];
    double seconds;
    snprintf(request, sizeof request, "%s %zu", what, n);
    return npr_peer_ask(b->peer, request, bytes, n, &seconds);
}

static npr_status start_peer(bench *b)
{
    char request[128];
    double seconds;
    const npr_train *t = &b->train;
    size_t row = (size_t)t->dim * sizeof *t->emb, rows = (size_t)t->rows;
    NPR_TRY(npr_peer_start(b->job->peer, &b->peer));
    snprintf(request, sizeof request, "shape %d %d %d", t->dim, b->job->classes, b->job->threads);
    NPR_TRY(npr_peer_ask(b->peer, request, NULL, 0, &seconds));
    NPR_TRY(send(b, "rows", t->emb, rows * row));
    NPR_TRY(send(b, "labels", t->label, rows * sizeof *t->label));
    NPR_TRY(send(b, "test_rows", b->test, TESTS * row));
    return send(b, "test_labels", b->test_label, TESTS * sizeof *b->test_label);
}

/* One figure of one head, as the peer works it out in double: of "ours", "float32", "float64". */
static npr_status figure(bench *b, const char *what, const char *whose)
{
    char request[64], key[96];
    double value;
    snprintf(request, sizeof request, "%s %s", what, whose);
    NPR_TRY(npr_peer_ask(b->peer, request, NULL, 0, &value));
    snprintf(key, sizeof key, "bench.probe.%s%s.%s", strcmp(whose, "ours") ? "peer_" : "", whose, what);
    npr_record_real(b->rec, key, value);
    return NPR_OK;
}

/* ---- the run ------------------------------------------------------------------------------------------- */

enum { OURS, FLOAT32, FLOAT64, FITS };
static const char *const names[FITS] = {"ours", "float32", "float64"};

/* Fits in turn; without a peer only ours. */
static npr_status take_turns(const npr_comm *alone, bench *b, double seconds[FITS][REPEATS_MAX])
{
    char request[96];
    for (int i = 0; i < b->job->repeats; i++) {
        NPR_TRY(fit(alone, b, i == 0, &seconds[OURS][i]));
        for (int k = FLOAT32; b->peer && k < FITS; k++) {
            snprintf(request, sizeof request, "fit %s %.17g %.17g %d", names[k], l2(b), TOLERANCE,
                     ITERATIONS);
            NPR_TRY(npr_peer_ask(b->peer, request, NULL, 0, &seconds[k][i]));
        }
    }
    return NPR_OK;
}

static npr_status report(bench *b, double seconds[FITS][REPEATS_MAX])
{
    char key[64];
    double share, ours = npr_measure_median(seconds[OURS], b->job->repeats);
    NPR_TRY(accuracy(b, &share));
    npr_record_real(b->rec, "bench.probe.seconds", ours);
    npr_record_real(b->rec, "bench.probe.top1", share);
    npr_info(b->log, "linear probe of %lld rows: %.2f s, top-1 %.2f %%", (long long)b->job->rows, ours,
             100 * share);
    if (!b->peer) return NPR_OK;
    NPR_TRY(send(b, "head", b->head, (size_t)b->job->classes * (size_t)b->job->dim * sizeof *b->head));
    for (int k = 0; k < FITS; k++) {
        NPR_TRY(figure(b, "loss", names[k]));
        NPR_TRY(figure(b, "accuracy", names[k]));
        if (k == OURS) continue;
        NPR_TRY(figure(b, "iterations", names[k]));
        double theirs = npr_measure_median(seconds[k], b->job->repeats);
        snprintf(key, sizeof key, "bench.probe.peer_%s.seconds", names[k]);
        npr_record_real(b->rec, key, theirs);
        snprintf(key, sizeof key, "bench.probe.ratio_to_peer_%s", names[k]);
        npr_record_real(b->rec, key, theirs / ours);
        npr_info(b->log, "the peer in %s: %.2f s, %.2f of ours", names[k], theirs, theirs / ours);
    }
    return NPR_OK;
}

static npr_status run(const npr_comm *alone, bench *b)
{
    double seconds[FITS][REPEATS_MAX];
    if (b->job->repeats > REPEATS_MAX || b->job->classes < 2)
        return npr_fail(NPR_EUSAGE, "more than %d repeats, or fewer than two classes", REPEATS_MAX);
    if (b->job->peer && b->job->classes < 3)
        return npr_fail(NPR_EUSAGE,
                        "--peer: wanted 3 classes or more, found %d: of two scikit-learn fits one row",
                        b->job->classes);
    NPR_TRY(make_data(b));
    if (b->job->peer) NPR_TRY(start_peer(b));
    NPR_TRY(take_turns(alone, b, seconds));
    return report(b, seconds);
}

npr_status npr_bench_probe(const npr_comm *comm, const npr_log *log, npr_record *rec,
                           const npr_bench_probe_job *job)
{
    npr_comm alone = npr_comm_split(comm, comm->rank > 0);
    bench b = {.job = job, .rec = rec, .log = log};
    npr_status st = comm->rank ? NPR_OK : run(&alone, &b);
    npr_peer_end(b.peer);
    npr_gradient_free(&b.gradient);
    npr_train_free(&b.train);
    free(b.test);
    free(b.test_label);
    free(b.head);
    npr_comm_free(&alone);
    return npr_agree(comm, st, "bench");
}
