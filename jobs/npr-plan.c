/* npr-plan - what a search will need, before it is queued. The formulas are in src/search/forecast.c. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "job.h"
#include "npr/plan.h"

static double rows, dim = 512, queries = 1000, k = 1000, nodes = 1, ranks_per_node = 1, cores = 1, memory;
static double read_rate = 2, latency = 2, network = 12.5, tile_rows = 16384;
static const char *calibration;

static npr_opt options[] = {
    {"rows", NPR_OPT_REAL, &rows, "N", "rows of the index", 1, 0, 1, 1e13, 0},
    {"dim", NPR_OPT_REAL, &dim, "N", "values of a row", 0, 0, 1, 65536, 0},
    {"queries", NPR_OPT_REAL, &queries, "N", "queries", 0, 0, 1, 1e9, 0},
    {"k", NPR_OPT_REAL, &k, "N", "rows kept per query", 0, 0, 1, 1e9, 0},
    {"nodes", NPR_OPT_REAL, &nodes, "N", "nodes", 0, 0, 1, 1e6, 0},
    {"ranks-per-node", NPR_OPT_REAL, &ranks_per_node, "N", "MPI ranks on each", 0, 0, 1, 4096, 0},
    {"cores", NPR_OPT_REAL, &cores, "N", "cores of a node", 0, 0, 1, 4096, 0},
    {"memory", NPR_OPT_REAL, &memory, "GIB", "memory of a node; 0: not checked", 0, 0, 0, 1e6, 0},
    {"tile-rows", NPR_OPT_REAL, &tile_rows, "N", "as of npr-search", 0, 0, 1, 1048576, 0},
    {"calibration", NPR_OPT_TEXT, &calibration, "FILE",
     "a record of npr-bench --what=search on such a node; without it there are no\ntimes", 0, 0, 0, 0, 0},
    {"read", NPR_OPT_REAL, &read_rate, "GB/S", "what a node reads from the file system", 0, 0, 1e-3, 1e4, 0},
    {"latency", NPR_OPT_REAL, &latency, "US", "of the network, microseconds", 0, 0, 0, 1e6, 0},
    {"network", NPR_OPT_REAL, &network, "GB/S", "of the network, per rank", 0, 0, 1e-3, 1e4, 0},
};

static void put_gib(npr_record *rec, const char *key, double bytes)
{
    npr_record_real(rec, key, bytes / (1 << 30));
}

static void put_sbatch(const npr_job *job, double seconds)
{
    char line[256];
    long hours = seconds > 0 ? (long)ceil(1.5 * seconds / 3600) : 24; /* half as long again */
    snprintf(line, sizeof line,
             "--nodes=%.0f --ntasks-per-node=%.0f --cpus-per-task=%.0f --time=%ld:00:00 --signal=B:USR1@300",
             nodes, ranks_per_node, floor(cores / ranks_per_node), hours);
    npr_record_text(job->rec, "plan.sbatch", line);
}

static void put_fit(const npr_job *job, double node)
{
    double room = memory * (1 << 30);
    if (!(memory > 0)) return;
    npr_record_int(job->rec, "plan.fits", node <= room);
    if (node > room)
        npr_warn(&job->log,
                 "does not fit: a node needs %.1f GiB, %.1f GiB more than it has; fewer ranks per node, or "
                 "--query-batch",
                 node / (1 << 30), (node - room) / (1 << 30));
}

static npr_status run(const npr_job *job)
{
    npr_plan_shape s = {
        .rows = rows, .dim = dim, .lists = queries, .k = k, .tile_rows = tile_rows, .vectors = 1};
    npr_plan_needs n = npr_plan_search(&s);
    npr_plan_machine m = {.read = read_rate * 1e9, .latency = latency * 1e-6, .bandwidth = network * 1e9};
    double ranks = nodes * ranks_per_node, parts = ceil(rows / (1 << 20));
    npr_record_real(job->rec, "plan.index_parts", parts);
    npr_record_real(job->rec, "plan.parts_per_rank", ceil(parts / ranks));
    put_gib(job->rec, "plan.index_gib", rows * dim * 2);
    npr_record_real(job->rec, "plan.batches", n.batches);
    put_gib(job->rec, "plan.read_gib", n.read);
    put_gib(job->rec, "plan.memory_gib_per_rank", n.memory);
    put_gib(job->rec, "plan.memory_gib_per_node", n.memory * ranks_per_node);
    put_gib(job->rec, "plan.merge_gib", n.merged);
    put_fit(job, n.memory * ranks_per_node);
    if (parts < ranks)
        npr_warn(&job->log,
                 "%.0f of %.0f ranks have no part of 2^20 rows to scan: --part-rows of npr-ingest makes "
                 "smaller ones",
                 ranks - parts, ranks);
    double seconds = 0;
    if (calibration) {
        npr_status st = job->comm.rank == 0 ? npr_plan_calibrate(calibration, &m) : NPR_OK;
        NPR_TRY(npr_agree(&job->comm, st, "calibration"));
        if (job->comm.rank != 0) return NPR_OK;
        /* the rank with most parts is the last: parts are dealt out whole */
        double uneven = ceil(parts / ranks) * ranks / parts;
        npr_plan_times t = npr_plan_time(&s, &m, nodes, ranks, cores / ranks_per_node);
        npr_record_real(job->rec, "plan.seconds.read", t.read * uneven);
        npr_record_real(job->rec, "plan.seconds.screen", t.screen * uneven);
        npr_record_real(job->rec, "plan.seconds.scan", t.scan * uneven);
        npr_record_real(job->rec, "plan.seconds.merge", t.merge);
        seconds = t.scan * uneven + t.merge;
    }
    put_sbatch(job, seconds);
    return NPR_OK;
}

int main(int argc, char **argv)
{
    npr_program program = {
        .name = "npr-plan",
        .purpose = "what an exact search needs, before it is queued: bytes, memory, seconds",
        .notes =
            "A pass over the index reads and screens at once; the slower of the two counts. The merge sends "
            "the lists\n"
            "twice over a link. plan.sbatch are the options for sbatch, with half as much time again.\n\n"
            "  npr-bench --what=search --threads=64 --record=node.txt\n"
            "  npr-plan --rows=2.3e9 --queries=1000 --k=1000 --nodes=32 --ranks-per-node=8 --cores=64 "
            "--memory=256 \\\n"
            "      --read=3 --calibration=node.txt\n",
        .options = options,
        .option_count = NPR_COUNT(options),
        .run = run};
    return npr_program_main(argc, argv, &program);
}
