/* tune_mpi.c - how much of the exact answers an index finds at so many probes, and the least that finds
 * enough. See search_stage.h.
 *
 * Nothing is rescored here: an exact hit is found if it is among the candidates, which all parts' indexes
 * propose together, and the place at which it stands there says which refine factor would have fetched it. So
 * one search of the indexes tells recall for every factor at once. The lists of candidates are the same on
 * all ranks, and what is counted are integers: the choice is the same for any number of ranks. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "npr/plan.h"
#include "npr/watchdog.h"
#include "search/faiss/faiss.h"
#include "search/faiss/index_stage.h"
#include "search/faiss/proposals.h"
#include "search/search_stage.h"

enum {
    REFINES = 14,                /* factors 1, 2, 4 .. 8192 */
    STEPS = 3,                   /* halvings between too few probes and enough */
    FIRST = 4096,                /* candidates of a query that are tried first; */
    MORE = 8,                    /* so many times more while the target is out of reach */
    CANDIDATES_BYTES = 512 << 20 /* of the lists of candidates, which bounds the factors */
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
    int first, factors;    /* factors tried */
    int64_t most;          /* candidates of a query */
    int64_t *found;        /* [nq][REFINES] exact hits that this factor fetches, and no smaller one */
    int64_t *place;        /* [k] of the exact hits of a query */
    npr_topk *best;        /* candidates */
} tuning;

/* ---- one number of probes ------------------------------------------------------------------------------ */

/* The least factor with which candidate `at` of a part is fetched. */
static int factor_of(const tuning *t, int64_t at)
{
    int f = 0;
    while (f < t->factors && at >= (int64_t)t->job->k << f) f++;
    return f;
}

static int place_compare(const void *va, const void *vb)
{
    int64_t a = *(const int64_t *)va, b = *(const int64_t *)vb;
    return (a > b) - (a < b);
}

/* Which factors fetch the exact hits of query q. */
static void count_query(tuning *t, int q)
{
    const npr_hit *exact = npr_topk_list(t->truth, t->first + q), *proposed = npr_topk_list(t->best, q);
    int n = npr_topk_count(t->truth, t->first + q);
    for (int i = 0; i < n; i++) t->place[i] = exact[i].place;
    if (n) qsort(t->place, (size_t)n, sizeof *t->place, place_compare);
    for (int at = 0; n && at < npr_topk_count(t->best, q); at++) {
        if (!bsearch(&proposed[at].place, t->place, (size_t)n, sizeof *t->place, place_compare)) continue;
        int f = factor_of(t, at);
        if (f < t->factors) t->found[q * REFINES + f]++;
    }
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

/* The `most` best of all parts for each query, with so many probes; the same lists on all ranks. On one
 * thread: FAISS counts what it scans for the whole process. Collective. */
static npr_status propose(const npr_comm *comm, const npr_set *index, const npr_queries *by, int nprobe,
                          int most, npr_topk **best, int64_t *scanned)
{
    npr_scan_options o = {.queries = by, .k = most, .threads = 1, .nprobe = nprobe};
    npr_scanner *scanner = NULL;
    npr_tally tally = {0};
    npr_proposals *mine = npr_proposals_make(by->nq, most);
    npr_status st = mine ? npr_scanner_faiss(&o, &scanner) : npr_last();
    for (int p = comm->rank; !st && p < index->parts; p += comm->size) {
        st = scanner->propose(scanner, index, p, mine, &tally);
        npr_mark("tuning", 0);
    }
    *scanned = scanner ? scanner->scanned : 0;
    if (scanner) scanner->free(scanner);
    st = npr_agree(comm, st, "tuning");
    if (!st) st = npr_proposals_cut_all(comm, mine, 0); /* fewer to be merged */
    *best = st ? NULL : npr_proposals_hits(mine);
    npr_proposals_free(mine);
    if (st) return st;
    NPR_TRY(npr_agree(comm, *best ? NPR_OK : npr_last(), "tuning"));
    npr_sum_i64(comm, scanned, 1);
    return npr_topk_allmerge(comm, *best, NULL);
}

/* Search all parts with so many probes. Collective. */
static npr_status try_probes(tuning *t, int nprobe, tried *r)
{
    int64_t scanned;
    size_t cells = (size_t)t->by->nq * REFINES;
    memset(t->found, 0, cells * sizeof *t->found);
    npr_status st = propose(t->comm, t->index, t->by, nprobe, (int)t->most, &t->best, &scanned);
    for (int q = t->comm->rank; !st && q < t->by->nq; q += t->comm->size) count_query(t, q);
    npr_topk_free(t->best);
    t->best = NULL;
    if (st) return st;
    npr_sum_i64(t->comm, t->found, cells);
    *r = (tried){.nprobe = nprobe, .scanned = t->by->nq ? (double)scanned / t->by->nq : 0};
    take_means(t, r);
    return NPR_OK;
}

npr_status npr_search_scanned(const npr_comm *comm, const npr_set *index, const npr_queries *by, int nprobe,
                              double *share)
{
    npr_topk *best = NULL;
    int64_t scanned;
    npr_status st = propose(comm, index, by, nprobe, 1, &best, &scanned);
    npr_topk_free(best);
    if (st) return st;
    double lists = npr_plan_factory_read(index->index, index->dim).lists;
    *share = index->rows && by->nq ? (double)scanned / by->nq / (double)index->rows : 0;
    if (!(lists > 0)) *share = strstr(index->index, "HNSW") ? -1 : 1; /* a graph does not tell */
    return NPR_OK;
}

/* Candidates of a query that the lists have memory for, and are of any use. */
static int64_t candidates_bound(const tuning *t)
{
    int64_t k = t->job->k, nq = t->by->nq > 0 ? t->by->nq : 1;
    int64_t fit = CANDIDATES_BYTES / (NPR_PLAN_LIST * nq), rows = t->index->rows;
    if (fit > SEARCH_CANDIDATES_MAX) fit = SEARCH_CANDIDATES_MAX;
    if (fit > rows) fit = rows;
    return fit > k ? fit : k;
}

/* Try the factors that `most` candidates allow. */
static void set_factors(tuning *t, int64_t most)
{
    int64_t k = t->job->k;
    for (t->factors = 1; t->factors < REFINES && k << t->factors <= most;) t->factors++;
    if (t->factors < REFINES && most >= t->index->rows && k << (t->factors - 1) < most)
        t->factors++; /* all rows */
    t->most = npr_search_candidates(k, 1 << (t->factors - 1), t->index->rows);
}

static npr_status tuning_make(tuning *t)
{
    int64_t k = t->job->k, rows = t->index->rows > 0 ? t->index->rows : 1;
    size_t nq = (size_t)t->by->nq;
    t->found = npr_alloc(nq * REFINES, sizeof *t->found, "tuning");
    t->place = npr_alloc((size_t)(k < rows ? k : rows), sizeof *t->place, "tuning");
    return npr_agree(t->comm, t->found && t->place ? NPR_OK : npr_last(), "tuning");
}

static void tuning_free(tuning *t)
{
    free(t->found);
    free(t->place);
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
    double rows = fmin((double)((int64_t)t->job->k << f), r->scanned);
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
    (void)npr_fault("search.tune"); /* a job can be killed here */
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
    int64_t bound = candidates_bound(&t), most = FIRST < bound ? FIRST : bound;
    int before = 0;
    for (best->reached = 0; !st && !best->reached; most = most * MORE < bound ? most * MORE : bound) {
        set_factors(&t, most > job->k ? most : job->k);
        if (t.factors > before) st = find(&t, lists > 1 ? (int)lists : 1, job->target_recall, best);
        before = t.factors;
        if (most >= bound) break;
    }
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
    index_sample sample;
    int wanted = q->nq - have;
    NPR_TRY(index_sample_take(comm, log, index, wanted, wanted, 1, &sample));
    int64_t n = sample.n;
    npr_bcast(comm, &n, sizeof n, 0);
    for (int64_t i = 0; comm->rank == 0 && i < n; i++) disturb(sample.rows + i * q->dim, q->dim, (uint64_t)i);
    float *to = q->vector + (size_t)have * (size_t)q->dim;
    if (comm->rank == 0) memcpy(to, sample.rows, (size_t)n * (size_t)q->dim * sizeof *to);
    npr_bcast(comm, to, (size_t)n * (size_t)q->dim * sizeof *to, 0);
    index_sample_free(&sample);
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
