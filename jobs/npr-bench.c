/* npr-bench - measures the kernels against their peers and the machine's limits. */
#include <string.h>

#include "calibrate.h"
#include "job.h"
#include "npr/bench.h"
#include "scaling.h"

static npr_bench_search_job search = {.queries = "1,4,10,100,1000"};
static npr_bench_extract_job extract;
static npr_bench_captions_job captions;
static const char *what = "search", *precision = "fp32", *kind = "strong";
static const char *scratch = ".", *only;
static double l2;
static int64_t rows = 200000, dim = 512, k = 100, threads = 1, repeats = 5, classes = 1000, images = 1000;

static npr_opt options[] = {
    {"what", NPR_OPT_CHOICE, &what, "search|transductive|means|probe|captions|extract|calibrate|scaling",
     "search: exact nearest rows against FAISS IndexFlatIP\ntransductive: the k nearest rows of many images "
     "(the "
     "paper's size: --rows=1100000\n--images=10000 --k=10)\nmeans: class sums (the paper's: --rows=1100000)\n"
     "probe: the linear probe (--rows=20000 --classes=100)\n"
     "captions: captions made into tokens, and names found in them\n"
     "extract: JPEG decoding with preprocessing, and CLIP's image tower\n"
     "calibrate: the rates that npr-plan needs, measured on all ranks of a node at once: files, memory,\n"
     "messages, small runs of every stage. --rows per rank (50,000 is enough), --config for extraction\n"
     "scaling: the same search on 1, 2, 4, ... and all ranks (--kind)",
     0, 0, 0, 0, 0},
    {"rows", NPR_OPT_INT, &rows, "N", "made-up rows, in memory", 0, 0, 1, 1e9, 0},
    {"dim", NPR_OPT_INT, &dim, "N", "values of a row", 0, 0, 4, 65536, 0},
    {"queries", NPR_OPT_TEXT, &search.queries, "A,B,...", "search: queries per batch", 0, 0, 0, 0, 0},
    {"screen", NPR_OPT_TEXT, &search.screen, "NAME",
     "search: block-amx, few-avx512, block-bf16, block-f32, few-avx2, few-bytes,\n"
     "block-bytes, block-avx2 or gemm; without it the fastest of this CPU for so many",
     0, 0, 0, 0, 0},
    {"images", NPR_OPT_INT, &images, "N", "transductive: queries in all", 0, 0, 1, 1e7, 0},
    {"classes", NPR_OPT_INT, &classes, "N", "means, probe: classes", 0, 0, 1, 1 << 20, 0},
    {"captions", NPR_OPT_TEXT, &captions.captions, "FILE",
     "captions: a TSV file with a caption column, or others as --meta of npr-ingest", 0, 0, 0, 0, 0},
    {"names", NPR_OPT_TEXT, &captions.names, "FILE", "captions: class names, one a line", 0, 0, 0, 0, 0},
    {"k", NPR_OPT_INT, &k, "N", "rows kept per query", 0, 0, 1, 100000, 0},
    {"l2", NPR_OPT_REAL, &l2, "X", "probe: weight of |W|^2 / 2 against the mean loss; 0: 1 / rows", 0, 0, 0,
     1e9, 0},
    {"config", NPR_OPT_TEXT, &extract.config, "FILE",
     "extract: open_clip's JSON of the model; weights are made up", 0, 0, 0, 0, 0},
    {"jpegs", NPR_OPT_TEXT, &extract.images, "FILES",
     "extract: JPEG files; without them made-up ones of 640 x 480", 0, 0, 0, 0, 0},
    {"peer", NPR_OPT_TEXT, &extract.peer, "COMMAND",
     "extract, probe: a peer that runs the same work in alternation, for the ratio of both:\n"
     "\"PYTHON jobs/openclip_peer.py\" with open_clip, \"PYTHON jobs/sklearn_peer.py\" with\n"
     "scikit-learn (tests/oracles.sh)",
     0, 0, 0, 0, 0},
    {"precision", NPR_OPT_CHOICE, &precision, "fp32|bf16", "extract: of the tower", 0, 0, 0, 0, 0},
    {"kind", NPR_OPT_CHOICE, &kind, "strong|weak",
     "scaling: strong: the same rows on any number of ranks (--rows times all ranks); weak: --rows\nper rank",
     0, 0, 0, 0, 0},
    {"scratch", NPR_OPT_TEXT, &scratch, "FOLDER",
     "calibrate, scaling: folder for made-up files, which are removed afterwards; choose one that all\nranks "
     "see, on the file system to be measured",
     0, 0, 0, 0, 0},
    {"only", NPR_OPT_TEXT, &only, "A,B,...",
     "calibrate: machine, messages, ingest, reading, exact, faiss, captions, sums,\n"
     "training, pictures, images, text: these rates alone, for a part of npr-plan's stages",
     0, 0, 0, 0, 0},
    {"threads", NPR_OPT_INT, &threads, "N", "threads, of npr and its peer; calibrate: per rank", 0, 0, 1,
     4096, 0},
    {"repeats", NPR_OPT_INT, &repeats, "N", "runs of each, alternating; the median counts", 0, 0, 1, 99, 0},
};

static npr_status run_transductive(const npr_job *job)
{
    npr_bench_transductive_job bench = {rows, (int)dim, (int)k, (int)threads, (int)images};
    return npr_bench_transductive(&job->comm, &job->log, job->rec, &bench);
}

static npr_status run_means(const npr_job *job)
{
    npr_bench_means_job bench = {rows, (int)dim, (int)classes, (int)threads, (int)repeats};
    return npr_bench_means(&job->comm, &job->log, job->rec, &bench);
}

static npr_status run_probe(const npr_job *job)
{
    npr_bench_probe_job bench = {rows, (int)dim, (int)classes, (int)threads, (int)repeats, l2, extract.peer};
    return npr_bench_probe(&job->comm, &job->log, job->rec, &bench);
}

static npr_status run_captions(const npr_job *job)
{
    captions.rows = rows;
    captions.threads = (int)threads;
    captions.repeats = (int)repeats;
    return npr_bench_captions(&job->comm, &job->log, job->rec, &captions);
}

static npr_status run_extract(const npr_job *job)
{
    extract.threads = (int)threads;
    extract.repeats = (int)repeats;
    extract.bf16 = !strcmp(precision, "bf16");
    return npr_bench_extract(&job->comm, &job->log, job->rec, &extract);
}

static npr_status run_calibrate(const npr_job *job)
{
    npr_calibration c = {.scratch = scratch,
                         .config = extract.config,
                         .jpegs = extract.images,
                         .only = only,
                         .rows = rows,
                         .dim = (int)dim,
                         .threads = (int)threads,
                         .repeats = (int)repeats};
    return npr_calibrate(job, &c);
}

static npr_status run_scaling(const npr_job *job)
{
    enum { QUERIES = 100 };
    npr_scaling s = {scratch, kind, rows, (int)dim, QUERIES, (int)k, (int)threads};
    return npr_scale(job, &s);
}

static npr_status run(const npr_job *job)
{
    if (job->dry_run)
        return npr_fail(
            NPR_EUSAGE,
            "--dry-run: npr-bench has no plan to print, it only measures; npr-plan, and --dry-run of "
            "the stages, say what a job needs");
    if (!strcmp(what, "scaling")) return run_scaling(job);
    if (!strcmp(what, "calibrate")) return run_calibrate(job);
    if (!strcmp(what, "transductive")) return run_transductive(job);
    if (!strcmp(what, "means")) return run_means(job);
    if (!strcmp(what, "probe")) return run_probe(job);
    if (!strcmp(what, "captions")) return run_captions(job);
    if (!strcmp(what, "extract")) return run_extract(job);
    search.rows = rows;
    search.dim = (int)dim;
    search.k = (int)k;
    search.threads = (int)threads;
    search.repeats = (int)repeats;
    return npr_bench_search(&job->comm, &job->log, job->rec, &search);
}

int main(int argc, char **argv)
{
    npr_program program = {
        .name = "npr-bench",
        .purpose = "measure the kernels against their peers and this machine's limits",
        .notes = "bench.nqN.ratio is FAISS's time divided by ours; .differences counts places where the two\n"
                 "name different rows whose scores differ by more than float rounding (0 is right).\n\n"
                 "  npr-bench --rows=200000 --queries=10,1000 --record=search.txt\n"
                 "  mpirun -n 8 npr-bench --what=calibrate --rows=50000 --threads=8 --scratch=$SCRATCH "
                 "--record=node.txt\n"
                 "  srun npr-bench --what=scaling --kind=weak --rows=200000 --record=weak.txt\n",
        .options = options,
        .option_count = NPR_COUNT(options),
        .run = run};
    return npr_program_main(argc, argv, &program);
}
