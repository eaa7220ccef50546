/* tune_mpi.c - how much of the exact answers an index finds at so many probes, and the least that finds
 * enough. See search_stage.h.
 *
 * Nothing is rescored here: an exact hit is found if it is among the candidates of its part, and the place at
 * which it stands there says which refine factor would have fetched it. So one search of a part's index tells
 * recall for every factor at once. What is counted are integers, summed over parts: the choice is the same
 * for any number of ranks. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "npr/plan.h"
#include "npr/watchdog.h"
#include "search/faiss.h"
#include "search/index_stage.h"
#include "search/search_stage.h"

enum {
    REFINES = 7,           /* factors 1, 2, 4 .. 64 */
    CANDIDATES_MAX = 4096, /* of a query and a part, unless --refine asks for more */
    STEPS = 3              /* halvings between too few probes and enough */
};

/* What was found at one number of probes. */
typedef struct tried {
    int nprobe;
    double scanned; /* rows whose codes were compared, per query */
    double recall[REFINES], error[REFINES];
} tried;

typedef struct tuning {
    const npr_comm *comm;
    const npr_search_job *job;
    const npr_set *index;
    const npr_queries *by;
    const npr_topk *truth; /* list `first` + i is of query i */
    int first, factors;    /* factors tried: what CANDIDATES_MAX allows */
    int64_t most;          /* candidates */
    int64_t *found;        /* [nq][REFINES] exact hits that this factor fetches, and no smaller one */
    float *score;
    int64_t *id;
} tuning;

int npr_search_faiss_batch(int batch)
{
    return (batch + NPR_FAISS_BLOCK - 1) / NPR_FAISS_BLOCK * NPR_FAISS_BLOCK;
}

/* ---- one number of probes ------------------------------------------------------------------------------ */

/* The least factor with which candidate `at` of a part is fetched. */
static int factor_of(const tuning *t, int64_t at)
{
    int f = 0;
    while (f < t->factors && at >= (int64_t)t->job->k << f) f++;
    return f;
}

static void count_part(tuning *t, int part, int64_t per_query)
{
    for (int q = 0; q < t->by->nq; q++) {
        const npr_hit *exact = npr_topk_list(t->truth, t->first + q);
        for (int i = 0; i < npr_topk_count(t->truth, t->first + q); i++) {
            if (npr_place_part(exact[i].place) != part) continue;
            int64_t row = npr_place_row(exact[i].place);
            const int64_t *id = t->id + q * per_query;
            for (int64_t at = 0; at < per_query && id[at] >= 0; at++) {
                if (id[at] != row) continue;
                int f = factor_of(t, at);
                if (f < t->factors) t->found[q * REFINES + f]++;
                break;
            }
        }
    }
}

static npr_status try_part(tuning *t, int part, int nprobe, int64_t *scanned)
{
    npr_faiss *index = NULL;
    NPR_TRY(npr_faiss_of_part(t->index, part, &index));
    int64_t per_query = npr_faiss_rows(index) < t->most ? npr_faiss_rows(index) : t->most;
    npr_status st = npr_faiss_set_probes(index, nprobe);
    if (!st && per_query)
        st = npr_faiss_search(index, t->by->vector, t->by->nq, per_query, 1, t->score, t->id, scanned);
    if (!st && per_query) count_part(t, part, per_query);
    npr_faiss_free(index);
    return npr_context(st, "%s/%s", t->index->path, t->index->part[part].file);
}

/* Mean and its standard error over the queries that have an exact answer. */
static void take_means(const tuning *t, tried *r)
{
    for (int f = 0; f < t->factors; f++) {
        double sum = 0, squares = 0;
        int n = 0;
        for (int q = 0; q < t->by->nq; q++) {
            int want = npr_topk_count(t->truth, t->first + q);
            if (!want) continue;
            int64_t hits = 0;
            for (int g = 0; g <= f; g++) hits += t->found[q * REFINES + g];
            double share = (double)hits / want;
            sum += share;
            squares += share * share;
            n++;
        }
        r->recall[f] = n ? sum / n : 1;
        double variance = n > 1 ? (squares - sum * sum / n) / (n - 1) : 0;
        r->error[f] = n > 1 && variance > 0 ? sqrt(variance / n) : 0;
    }
}

/* Search all parts with so many probes. Collective. */
static npr_status try_probes(tuning *t, int nprobe, tried *r)
{
    int64_t scanned = 0;
    npr_status st = NPR_OK;
    size_t cells = (size_t)t->by->nq * REFINES;
    memset(t->found, 0, cells * sizeof *t->found);
    for (int p = t->comm->rank; !st && p < t->index->parts; p += t->comm->size) {
        st = try_part(t, p, nprobe, &scanned);
        npr_mark("tuning", 0);
        if (!st && npr_stop_requested())
            st = npr_fail(NPR_ESTOP, "stopped on request while tuning; run the same command again");
    }
    NPR_TRY(npr_agree(t->comm, st, "tuning"));
    npr_sum_i64(t->comm, t->found, cells);
    npr_sum_i64(t->comm, &scanned, 1);
    *r = (tried){.nprobe = nprobe, .scanned = t->by->nq ? (double)scanned / t->by->nq : 0};
    take_means(t, r);
    return NPR_OK;
}

static npr_status tuning_make(tuning *t)
{
    int64_t longest = 0, wanted = (int64_t)t->job->k * t->job->refine;
    for (int p = 0; p < t->index->parts; p++)
        if (t->index->part[p].rows > longest) longest = t->index->part[p].rows;
    t->most = wanted > CANDIDATES_MAX ? wanted : CANDIDATES_MAX;
    if (t->most > (int64_t)t->job->k << (REFINES - 1)) t->most = (int64_t)t->job->k << (REFINES - 1);
    for (t->factors = 1; t->factors < REFINES && (int64_t)t->job->k << t->factors <= t->most;) t->factors++;
    if (t->most > longest) t->most = longest;
    size_t nq = (size_t)t->by->nq, pairs = nq * (size_t)t->most;
    t->found = npr_alloc(nq * REFINES, sizeof *t->found, "tuning");
    t->score = npr_alloc_aligned(pairs, sizeof *t->score, "tuning");
    t->id = npr_alloc_aligned(pairs, sizeof *t->id, "tuning");
    return npr_agree(t->comm, t->found && t->score && t->id ? NPR_OK : npr_last(), "tuning");
}

static void tuning_free(tuning *t)
{
    free(t->found);
    free(t->score);
    free(t->id);
}

/* ---- the choice ---------------------------------------------------------------------------------------- */

/* Enough also if the truth is one standard error below what the sample shows. */
static int is_enough(const tried *r, int f, double target)
{
    return r->recall[f] - r->error[f] >= target;
}

/* Bytes that a query touches: codes, and the rows that are fetched out of order, which count four times. */
static double bytes_touched(const tuning *t, const tried *r, int f)
{
    double code = npr_plan_factory_read(t->index->index, t->index->dim).code_bytes;
    double rows = fmin((double)((int64_t)t->job->k << f) * t->index->parts, r->scanned);
    return r->scanned * fmax(code, 1) + 4 * rows * 2 * t->index->dim;
}

/* The cheapest factor that is enough, or, where none is, the first that finds the most. Is it better than the
 * best so far? */
static int improve(const tuning *t, const tried *r, double target, npr_search_tuned *best)
{
    int better = 0;
    for (int f = 0; f < t->factors; f++) {
        int enough = is_enough(r, f, target);
        double cost = bytes_touched(t, r, f);
        if (best->reached ? !enough || cost >= best->cost : !enough && r->recall[f] <= best->recall) continue;
        *best = (npr_search_tuned){.queries = t->by->nq,
                                   .rows = best->rows,
                                   .nprobe = r->nprobe,
                                   .refine = 1 << f,
                                   .recall = r->recall[f],
                                   .error = r->error[f],
                                   .reached = enough,
                                   .cost = cost};
        better = 1;
    }
    return better;
}

/* Twice the probes until they are enough and more of them cost more; then the space below is halved. */
static npr_status find(tuning *t, int lists, double target, npr_search_tuned *best)
{
    tried r;
    int nprobe = 1, below = 0, enough;
    *best = (npr_search_tuned){.recall = -1, .rows = best->rows};
    for (;; nprobe = 2 * nprobe < lists ? 2 * nprobe : lists) {
        NPR_TRY(try_probes(t, nprobe, &r));
        enough = improve(t, &r, target, best);
        if ((best->reached && !enough) || nprobe >= lists) break;
        if (!best->reached) below = nprobe;
    }
    if (!best->reached) return NPR_OK;
    for (int i = 0, high = best->nprobe; i < STEPS && high - below > 1; i++) {
        int middle = below + (high - below) / 2;
        NPR_TRY(try_probes(t, middle, &r));
        int any = 0;
        for (int f = 0; f < t->factors; f++) any |= is_enough(&r, f, target);
        improve(t, &r, target, best);
        *(any ? &high : &below) = middle;
    }
    return NPR_OK;
}

npr_status npr_search_tune(const npr_comm *comm, const npr_search_job *job, const npr_search_inputs *in,
                           const npr_queries *by, const npr_topk *truth, int first, npr_search_tuned *best)
{
    tuning t = {.comm = comm, .job = job, .index = in->index, .by = by, .truth = truth, .first = first};
    double lists = npr_plan_factory_read(in->index->index, in->index->dim).lists;
    npr_status st = tuning_make(&t);
    if (!st) st = find(&t, lists > 1 ? (int)lists : 1, job->target_recall, best);
    tuning_free(&t);
    return st;
}

npr_status npr_search_scanned(const npr_comm *comm, const npr_search_job *job, const npr_search_inputs *in,
                              const npr_queries *by, const npr_topk *truth, double *share)
{
    tuning t = {.comm = comm, .job = job, .index = in->index, .by = by, .truth = truth};
    tried r = {0};
    npr_status st = tuning_make(&t);
    if (!st) st = try_probes(&t, job->nprobe, &r);
    double lists = npr_plan_factory_read(in->index->index, in->index->dim).lists;
    *share = in->index->rows ? r.scanned / (double)in->index->rows : 0;
    if (!(lists > 0)) *share = strstr(in->index->index, "HNSW") ? -1 : 1; /* a graph does not tell */
    tuning_free(&t);
    return st;
}

/* ---- queries to tune by -------------------------------------------------------------------------------- */

enum { TUNE_QUERIES = 64, TUNE_LEAST = 16 };
static const double NOISE = 0.5; /* length of what is added to a row of unit length: a cosine of 0.89 */

/* Queries of the job that are not among the `n` at which recall is measured; evenly spread. */
static int pick_others(const npr_queries *from, int n, int *list)
{
    int others = from->nq - n, count = 0, seen = 0;
    int most = others < TUNE_QUERIES ? others : TUNE_QUERIES;
    for (int q = 0, i = 0; q < from->nq && count < most; q++) {
        if (i < n && (int)((int64_t)i * from->nq / n) == q) {
            i++;
            continue;
        }
        if (seen++ == (int)((int64_t)count * others / most)) list[count++] = q;
    }
    return count;
}

/* A row moved in a random direction, of unit length again. */
static void disturb(float *x, int dim, uint64_t stream)
{
    npr_rng r = npr_rng_make(1, stream);
    double norm = 0;
    for (int j = 0; j < dim; j++) {
        double v = (double)x[j] + NOISE / sqrt(dim) * npr_rng_normal(&r);
        x[j] = (float)v;
        norm += v * v;
    }
    for (int j = 0; j < dim; j++) x[j] = (float)((double)x[j] / sqrt(norm > 0 ? norm : 1));
}

/* Fill q up with disturbed rows of the index. Collective. */
static npr_status add_rows(const npr_comm *comm, const npr_log *log, const npr_set *index, npr_queries *q,
                           int have)
{
    float *rows = NULL;
    int64_t n = 0;
    int wanted = q->nq - have;
    NPR_TRY(index_sample_take(comm, log, index, wanted, 1, &rows, &n));
    npr_bcast(comm, &n, sizeof n, 0);
    for (int64_t i = 0; comm->rank == 0 && i < n; i++) disturb(rows + i * q->dim, q->dim, (uint64_t)i);
    float *to = q->vector + (size_t)have * (size_t)q->dim;
    if (comm->rank == 0) memcpy(to, rows, (size_t)n * (size_t)q->dim * sizeof *to);
    npr_bcast(comm, to, (size_t)n * (size_t)q->dim * sizeof *to, 0);
    free(rows);
    for (int i = have; i < q->nq; i++) {
        q->label[i] = 0;
        q->id[i] = -1 - i;
    }
    q->nq = have + (int)n;
    return NPR_OK;
}

npr_status npr_search_tune_queries(const npr_comm *comm, const npr_log *log, const npr_search_inputs *in,
                                   int measured, npr_queries *q, int *rows)
{
    int list[TUNE_QUERIES], have = pick_others(in->by, measured, list);
    int nq = have < TUNE_LEAST ? TUNE_LEAST : have;
    size_t dim = (size_t)in->by->dim;
    *q = (npr_queries){.nq = nq, .dim = in->by->dim, .classes = in->by->classes};
    q->vector = npr_alloc_aligned((size_t)nq * dim, sizeof *q->vector, "queries to tune by");
    q->label = npr_alloc((size_t)nq, sizeof *q->label, "queries to tune by");
    q->id = npr_alloc((size_t)nq, sizeof *q->id, "queries to tune by");
    NPR_TRY(npr_agree(comm, q->vector && q->label && q->id ? NPR_OK : npr_last(), "tuning"));
    for (int i = 0; i < have; i++) {
        memcpy(q->vector + (size_t)i * dim, in->by->vector + (size_t)list[i] * dim, dim * sizeof *q->vector);
        q->label[i] = in->by->label[list[i]];
        q->id[i] = in->by->id[list[i]];
    }
    npr_status st = have < nq ? add_rows(comm, log, in->index, q, have) : NPR_OK;
    *rows = q->nq - have;
    return st;
}
