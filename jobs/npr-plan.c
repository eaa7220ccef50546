/* npr-plan - what every stage will need, before it is queued. The formulas are in src/plan. */
#include <math.h>
#include <string.h>

#include "job.h"
#include "npr/clip.h"
#include "npr/plan.h"
#include "plan_report.h"
#include "search/faiss/faiss.h"

static npr_plan_pipeline plan = {.dim = 512,
                                 .part_rows = 1 << 20,
                                 .pool_part_rows = 1 << 20,
                                 .mode = "exact",
                                 .queries = 1000,
                                 .k = 1000,
                                 .tile_rows = 16384,
                                 .tokens = 60,
                                 .text = 180,
                                 .matches = 0.15,
                                 .probes = 16,
                                 .refine = 4,
                                 .recall_queries = 20,
                                 .classes = 1000,
                                 .test = 50000,
                                 .image_bytes = 40e3,
                                 .image_part_rows = 4096};
static npr_plan_cluster cluster = {.nodes = 1};
static double ranks_per_node = 1, cores = 1, read_rate, write_rate, latency = 2, network = 12.5;
static int cached;
static const char *memory, *limit, *config, *method = "mean", *alpha = "given";
static double prompts, prompt_tokens = 12, resident;
static npr_plan_training training = {.iterations = 500, .epochs = 10, .batch = 512};

static npr_opt options[] = {
    {"rows", NPR_OPT_REAL, &plan.rows, "N", "rows of the index", 0, 0, 0, 1e13, 0},
    {"dim", NPR_OPT_REAL, &plan.dim, "N", "values of a row", 0, 0, 1, 65536, 0},
    {"mode", NPR_OPT_TEXT, &plan.mode, "MODE",
     "exact, caption, or the factory string of an index: IVF262144,PQ64", 0, 0, 0, 0, 0},
    {"queries", NPR_OPT_REAL, &plan.queries, "N", "queries; caption: classes that are named", 0, 0, 1, 1e9,
     0},
    {"k", NPR_OPT_REAL, &plan.k, "N", "rows kept of each", 0, 0, 1, 1e9, 0},
    {"query-batch", NPR_OPT_REAL, &plan.batch, "N", "as of npr-search", 0, 0, 0, 1e9, 0},
    {"tile-rows", NPR_OPT_REAL, &plan.tile_rows, "N", "as of npr-search", 0, 0, 1, 1048576, 0},
    {"resident", NPR_OPT_REAL, &resident, "GIB", "as of npr-search", 0, 0, 0, 1e6, 0},
    {"urls", NPR_OPT_FLAG, &plan.urls, "", "npr-search writes the pool's URLs", 0, 0, 0, 0, 0},
    {"part-rows", NPR_OPT_REAL, &plan.part_rows, "N", "rows of a part of the index", 0, 0, 1, 1048576, 0},
    {"text", NPR_OPT_REAL, &plan.text, "BYTES", "of metadata per row (LAION: about 180); 0: vectors alone", 0,
     0, 0, 1e6, 0},
    {"tokens", NPR_OPT_REAL, &plan.tokens, "BYTES", "of a caption as tokens", 0, 0, 0, 1e6, 0},
    {"matches", NPR_OPT_REAL, &plan.matches, "SHARE",
     "caption: of all rows that name a class (LAION-2B and ImageNet: 0.15)", 0, 0, 0, 1e3, 0},
    {"clip-filter", NPR_OPT_FLAG, &plan.filter, "", "as of npr-search", 0, 0, 0, 0, 0},
    {"nprobe", NPR_OPT_REAL, &plan.probes, "N", "as of npr-search", 0, 0, 1, 1e9, 0},
    {"refine", NPR_OPT_REAL, &plan.refine, "N", "as of npr-search", 0, 0, 1, 1e6, 0},
    {"recall-queries", NPR_OPT_REAL, &plan.recall_queries, "N", "as of npr-search", 0, 0, 0, 1e9, 0},
    {"sample", NPR_OPT_REAL, &plan.sample, "N", "as of npr-index; 0: 64 a list, 65,536 at least", 0, 0, 0,
     1e12, 0},
    {"pool-rows", NPR_OPT_REAL, &plan.pool_rows, "N", "of the pool; 0: queries x k, the most there can be", 0,
     0, 0, 1e13, 0},
    {"pool-part-rows", NPR_OPT_REAL, &plan.pool_part_rows, "N", "--part-rows of npr-search", 0, 0, 1, 1048576,
     0},
    {"classes", NPR_OPT_REAL, &plan.classes, "N", "of the head", 0, 0, 1, 1e9, 0},
    {"test", NPR_OPT_REAL, &plan.test, "N", "labelled rows to evaluate on", 0, 0, 0, 1e12, 0},
    {"prompts", NPR_OPT_REAL, &prompts, "N",
     "prompts of a class, for a text head (with --config); 0: none is made", 0, 0, 0, 1e6, 0},
    {"prompt-tokens", NPR_OPT_REAL, &prompt_tokens, "N", "tokens of a prompt, start and end too", 0, 0, 2,
     1e4, 0},
    {"method", NPR_OPT_CHOICE, &method, "mean|probe|finetune|wise", "as of npr-solve", 0, 0, 0, 0, 0},
    {"alpha", NPR_OPT_CHOICE, &alpha, "given|loo",
     "of npr-solve. given: a number, or its rule, which takes no time. loo: another pass\nover the pool. "
     "(npr-solve --dry-run knows --alpha=val and --sweep)",
     0, 0, 0, 0, 0},
    {"iterations", NPR_OPT_REAL, &training.iterations, "N",
     "probe: of L-BFGS, the most that npr-solve makes; the data decides how many", 0, 0, 1, 1 << 20, 0},
    {"evaluations", NPR_OPT_REAL, &training.evaluations, "N",
     "probe: of the gradient, one an iteration or more; 0: --iterations", 0, 0, 0, 1 << 24, 0},
    {"epochs", NPR_OPT_REAL, &training.epochs, "N", "as of npr-solve", 0, 0, 1, 1 << 20, 0},
    {"batch", NPR_OPT_REAL, &training.batch, "N", "as of npr-solve", 0, 0, 32, 1 << 24, 0},
    {"images", NPR_OPT_REAL, &plan.images, "N", "images to extract (with --config); 0: none", 0, 0, 0, 1e13,
     0},
    {"join", NPR_OPT_FLAG, &plan.join, "",
     "these images were downloaded for the pool: npr-extract --join after the search", 0, 0, 0, 0, 0},
    {"image-bytes", NPR_OPT_REAL, &plan.image_bytes, "N", "of an image", 0, 0, 1, 1e9, 0},
    {"image-part-rows", NPR_OPT_REAL, &plan.image_part_rows, "N", "--part-rows of npr-extract", 0, 0, 1,
     1048576, 0},
    {"config", NPR_OPT_TEXT, &config, "FILE", "open_clip's JSON of the model that extracts", 0, 0, 0, 0, 0},
    {"nodes", NPR_OPT_REAL, &cluster.nodes, "N", "nodes", 0, 0, 1, 1e6, 0},
    {"ranks-per-node", NPR_OPT_REAL, &ranks_per_node, "N", "MPI ranks on each", 0, 0, 1, 4096, 0},
    {"cores", NPR_OPT_REAL, &cores, "N", "cores of a node", 0, 0, 1, 4096, 0},
    {"memory", NPR_OPT_TEXT, &memory, "SIZE",
     "of a node: 256G (GiB, as Slurm counts), 2T; not given: not checked", 0, 0, 0, 0, 0},
    {"time", NPR_OPT_TEXT, &limit, "HH:MM:SS", "longest job that the partition takes; not given: not checked",
     0, 0, 0, 0, 0},
    {"read", NPR_OPT_REAL, &read_rate, "GB/S", "what a node reads from the file system; 0: as calibrated", 0,
     0, 0, 1e6, 0},
    {"write", NPR_OPT_REAL, &write_rate, "GB/S", "and writes", 0, 0, 0, 1e6, 0},
    {"cached", NPR_OPT_FLAG, &cached, "", "files are in the page cache and stay there: no file system", 0, 0,
     0, 0, 0},
    {"latency", NPR_OPT_REAL, &latency, "US", "of the network, microseconds", 0, 0, 0, 1e6, 0},
    {"network", NPR_OPT_REAL, &network, "GB/S",
     "of the network, per rank; 0: latency and bandwidth as calibrated (ranks of one node)", 0, 0, 0, 1e4, 0},
};

/* The model that extracts, if one does. */
static npr_status read_model(void)
{
    npr_clip_config c;
    if (!(plan.images > 0) && !(prompts > 0)) return NPR_OK;
    if (!config)
        return npr_fail(NPR_EUSAGE, "--%s without --config: which model extracts?",
                        plan.images > 0 ? "images" : "prompts");
    NPR_TRY(npr_clip_config_read(config, &c));
    plan.flop = npr_clip_flop(&c, NPR_TOWER_IMAGE);
    npr_clip_image_memory(&c, &plan.weights, &plan.thread);
    plan.prompts = prompts;
    plan.text_flop = npr_clip_text_flops(&c, (int)fmin(prompt_tokens, c.context));
    npr_clip_text_memory(&c, &plan.text_weights, &plan.text_thread);
    return NPR_OK;
}

/* A mode that is misspelt would be planned as an index of a kind that is not known, or one that npr-index
 * refuses: it trains on as many rows as there are, at most. */
static npr_status check_mode(void)
{
    if (!(plan.rows > 0) || !strcmp(plan.mode, "exact") || !strcmp(plan.mode, "caption")) return NPR_OK;
    double sample = plan.sample > 0 ? fmin(plan.sample, plan.rows) : plan.rows;
    return npr_context(npr_faiss_check(plan.mode, (int)plan.dim, (int64_t)sample),
                       "--mode=%s is not exact, nor caption, nor an index of these rows", plan.mode);
}

static npr_status prepare(const npr_job *job, npr_plan_machine *m)
{
    if (job->calibration) NPR_TRY(npr_plan_machine_read(job->calibration, m));
    if (!(plan.rows > 0) && !(plan.images > 0) && !(prompts > 0))
        return npr_fail(NPR_EUSAGE, "nothing to plan: wanted --rows, --images, --prompts, or several");
    if (plan.join && !(plan.rows > 0 && plan.images > 0))
        return npr_fail(NPR_EUSAGE, "--join without --rows and --images: what is joined to what?");
    NPR_TRY(check_mode());
    NPR_TRY(read_model());
    plan.resident = resident * (1 << 30);
    plan.loo = !strcmp(alpha, "loo");
    plan.training = training;
    plan.training.trainings = strcmp(method, "mean") != 0;
    if (!(training.evaluations > 0)) plan.training.evaluations = training.iterations;
    plan.training.probe = !strcmp(method, "probe");
    cluster.ranks = cluster.nodes * ranks_per_node;
    cluster.threads = fmax(floor(cores / ranks_per_node), 1);
    cluster.read = cached ? INFINITY : read_rate > 0 ? read_rate * 1e9 : m->file_read;
    cluster.write = cached ? INFINITY : write_rate > 0 ? write_rate * 1e9 : m->file_write;
    cluster.latency = network > 0 ? latency * 1e-6 : m->latency;
    cluster.bandwidth = network > 0 ? network * 1e9 : m->bandwidth;
    return NPR_OK;
}

static npr_status run(const npr_job *job)
{
    npr_plan_machine m = npr_plan_machine_unknown();
    npr_plan_limits limits = {0};
    npr_status st = job->comm.rank == 0 ? prepare(job, &m) : NPR_OK;
    if (!st) st = npr_plan_limits_read(memory, limit, &limits);
    NPR_TRY(npr_agree(&job->comm, st, "plan"));
    if (job->comm.rank != 0) return NPR_OK;
    npr_plan_stage stage[NPR_PLAN_STAGES], again[NPR_PLAN_STAGES];
    const npr_plan_machine *machine = job->calibration ? &m : NULL;
    int n = npr_plan_stages(&plan, &cluster, machine, stage);
    for (int i = 0; i < n; i++) {
        npr_plan_cluster busy = npr_plan_busy_nodes(&stage[i].needs, &cluster);
        npr_plan_stages(&plan, &busy, machine, again);
        npr_plan_report(&job->log, job->rec, &stage[i], &cluster, &again[i].needs, &busy, &limits);
    }
    return NPR_OK;
}

int main(int argc, char **argv)
{
    npr_program program = {
        .name = "npr-plan",
        .purpose = "what every stage needs, before it is queued: files, bytes, memory, seconds",
        .notes = "plan.STAGE.model.PHASE says what a phase's seconds are computed from; the rates are those "
                 "of the\n"
                 "calibration. plan.STAGE.sbatch is a line for the head of a batch script: no more nodes "
                 "than have "
                 "work,\n"
                 "a fifth more memory, half as much time again (no --time where seconds are not known).\n\n"
                 "  mpirun -n 8 npr-bench --what=calibrate --threads=8 --scratch=$SCRATCH --record=node.txt\n"
                 "  npr-plan --rows=2.3e9 --dim=512 --queries=1000 --k=1000 --nodes=32 --ranks-per-node=8 "
                 "--cores=64 \\\n"
                 "      --memory=256G --mode=IVF262144,PQ64 --calibration=node.txt\n",
        .options = options,
        .option_count = NPR_COUNT(options),
        .run = run,
        .forecasts = 1};
    return npr_program_main(argc, argv, &program);
}
