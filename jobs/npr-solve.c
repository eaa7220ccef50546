/* npr-solve - primes a text head with a pool and says what that does to accuracy. */
#include "job.h"
#include "npr/prime.h"

static npr_solve_job job = {
    .method = "mean",
    .alpha = "0.9",
    .empty = "text",
    .weight = "rows",
    .sigma = 1000,
    .step = 0.05,
    .training = {.tolerance = 1e-6, .rate = 0.001, .momentum = 0.9, .decay = 1e-4, .scale = 100, .keep = 60}};
static int64_t threads = 1, tile_rows = 16384, seeds = 3, seed = 0, iterations = 500, epochs = 10,
               batch = 512;

static npr_opt options[] = {
    {"head", NPR_OPT_TEXT, &job.head, "SET", "text head: one row per class, its label the class", 1, 0, 0, 0,
     0},
    {"pool", NPR_OPT_TEXT, &job.pool, "SET", "priming pool: rows labelled with their class", 0, 0, 0, 0, 0},
    {"shots", NPR_OPT_TEXT, &job.shots, "SET", "labelled training rows, added to the pool with equal weight",
     0, 0, 0, 0, 0},
    {"exclude", NPR_OPT_TEXT, &job.exclude, "SET",
     "leave out the pool rows whose ids are in SET, such as copies of test images\n(npr-search --min-score), "
     "and report their effect on accuracy",
     0, 0, 0, 0, 0},
    {"test", NPR_OPT_TEXT, &job.test, "SET", "labelled test rows; without them nothing is evaluated", 0, 0, 0,
     0, 0},
    {"out", NPR_OPT_OUT_FOLDER, &job.out, "SET", "the primed head is written there", 1, 0, 0, 0, 0},
    {"method", NPR_OPT_CHOICE, &job.method, "mean|probe|finetune|wise",
     "class means blended with the text head; a linear probe alone; the text head\nfine-tuned; that one "
     "blended "
     "with the text head (WiSE-FT)",
     0, 1, 0, 0, 0},
    {"alpha", NPR_OPT_TEXT, &job.alpha, "A",
     "weight of the text head in A text + (1-A) image: a number in [0, 1],\n\"rule\" (of pool size, see "
     "--sigma), "
     "\"loo\" (leave-one-out on the pool)\nor \"val\" (--validation). None of them looks at the test set",
     0, 1, 0, 0, 0},
    {"validation", NPR_OPT_TEXT, &job.validation, "SET",
     "--alpha=val: labelled rows, other than the test set's", 0, 0, 0, 0, 0},
    {"sigma", NPR_OPT_REAL, &job.sigma, "N", "--alpha=rule: A = exp(-(pool rows per class)^2 / N^2)", 0, 1,
     1e-6, 1e12, 0},
    {"grid-step", NPR_OPT_REAL, &job.step, "S", "alphas tried by --alpha=loo and --sweep: 0, S, 2 S, ... 1",
     0, 1, 0.001, 1, 0},
    {"weight", NPR_OPT_CHOICE, &job.weight, "rows|count",
     "a pool row counts once, or as often as its column count says: how many\nqueries recalled it "
     "(transductive pools)",
     0, 1, 0, 0, 0},
    {"empty", NPR_OPT_CHOICE, &job.empty, "text|zero",
     "a class without rows keeps its text row, or is blended with a zero\nvector as the reference "
     "implementation does",
     0, 1, 0, 0, 0},
    {"shots-per-class", NPR_OPT_TEXT, &job.shots_per_class, "A,B,...",
     "draw this many of --shots for each class; result.fewshot.* and fewshot.tsv say\nwhat each number "
     "gives, "
     "with "
     "and without the pool. The head written is that\nof the last number and the first draw",
     0, 1, 0, 0, 0},
    {"seeds", NPR_OPT_INT, &seeds, "N", "draws of each number, for mean and standard deviation", 0, 0, 1,
     1000, 0},
    {"seed", NPR_OPT_INT, &seed, "N",
     "seed of the first draw (the next draws use the next seeds) and of training shuffles", 0, 1, 0, 0, 0},
    {"l2", NPR_OPT_REAL, &job.training.l2, "X",
     "probe: weight of |W|^2/2 against the mean loss; 0: 1/rows (scikit-learn's C=1)", 0, 1, 0, 1e6, 0},
    {"iterations", NPR_OPT_INT, &iterations, "N", "probe: most iterations of L-BFGS", 0, 1, 1, 1 << 20, 0},
    {"tolerance", NPR_OPT_REAL, &job.training.tolerance, "X",
     "probe: stop when no value of the gradient exceeds this", 0, 1, 1e-12, 1, 0},
    {"epochs", NPR_OPT_INT, &epochs, "N", "finetune: passes over the rows", 0, 1, 1, 1 << 20, 0},
    {"batch", NPR_OPT_INT, &batch, "N", "finetune: rows per step, rounded down to a multiple of 32", 0, 1, 32,
     1 << 24, 0},
    {"rate", NPR_OPT_REAL, &job.training.rate, "X",
     "finetune: learning rate at the start; a cosine brings it to 0 (the paper\ngives none)", 0, 1, 1e-12,
     1e6, 0},
    {"momentum", NPR_OPT_REAL, &job.training.momentum, "X", "finetune: momentum of SGD", 0, 1, 0, 0.9999, 0},
    {"decay", NPR_OPT_REAL, &job.training.decay, "X", "finetune: weight decay", 0, 1, 0, 1, 0},
    {"logit-scale", NPR_OPT_REAL, &job.training.scale, "X", "finetune: logits are X times cosines", 0, 1,
     1e-3, 1e4, 0},
    {"checkpoint", NPR_OPT_REAL, &job.training.keep, "SECONDS",
     "probe, finetune: save the training's state at this interval (and when stopped);\nthe same command "
     "resumes from it",
     0, 0, 0, 1e9, 0},
    {"baseline", NPR_OPT_TEXT, &job.baseline, "SET,...", "other heads of the same classes, to compare with",
     0, 0, 0, 0, 0},
    {"classes-subset", NPR_OPT_TEXT, &job.classes_subset, "FILE",
     "evaluate among these classes too (names or numbers, one a line), on the\nrows that are of them", 0, 0,
     0, 0, 0},
    {"sweep", NPR_OPT_FLAG, &job.sweep, "",
     "evaluate every alpha of the grid too: result.sweep.* and sweep.tsv.\nUses test labels, so it picks "
     "nothing: the "
     "head is that of --alpha",
     0, 0, 0, 0, 0},
    {"sweep-table", NPR_OPT_OUT_FILE, &job.sweep_table, "FILE", "write the --sweep as CSV", 0, 0, 0, 0, 0},
    {"per-class", NPR_OPT_OUT_FILE, &job.per_class, "FILE",
     "write as CSV the accuracy of each class with its interval, per head", 0, 0, 0, 0, 0},
    {"predictions", NPR_OPT_OUT_FILE, &job.predictions, "FILE",
     "write one line per test row: id, label, zero-shot, primed", 0, 0, 0, 0, 0},
    {"threads", NPR_OPT_INT, &threads, "N", "threads per rank", 0, 0, 1, 4096, 0},
    {"tile-rows", NPR_OPT_INT, &tile_rows, "N", "rows read at a time", 0, 0, 1, 1 << 20, 0},
};

static const char notes[] =
    "Result: the head set (emb: unit rows; weight: the head itself; in its folder classes.tsv: rows per\n"
    "class, classes without any, and the pool's own account) and a record with zero-shot, image-only and\n"
    "primed accuracy side by side: top-1 with its 95 % Wilson interval, the mean over classes, and the\n"
    "difference to zero-shot on the same rows.\n"
    "To evaluate on another test set run the same command with another --test: the head is found "
    "complete.\n\n"
    "  mpirun -n 4 npr-solve --head=head --pool=pool --test=test --alpha=loo --out=primed\n";

static npr_status run(const npr_job *j)
{
    job.identity = j->identity;
    job.dry_run = j->dry_run;
    job.threads = (int)threads;
    job.tile_rows = tile_rows;
    job.seeds = (int)seeds;
    job.seed = (uint64_t)seed;
    job.training.iterations = (int)iterations;
    job.training.epochs = (int)epochs;
    job.training.batch = (int)batch;
    return npr_solve_run(&j->comm, &j->log, j->rec, &job);
}

int main(int argc, char **argv)
{
    npr_program program = {.name = "npr-solve",
                           .purpose = "prime a text head with a pool of embeddings and evaluate it",
                           .notes = notes,
                           .options = options,
                           .option_count = NPR_COUNT(options),
                           .run = run,
                           .forecasts = 1};
    return npr_program_main(argc, argv, &program);
}
