/* npr-solve - primes a text head with a pool and says what that does to accuracy. */
#include "job.h"
#include "npr/prime.h"

static npr_solve_job job = {.alpha = "0.9", .empty = "text", .weight = "rows", .sigma = 1000, .step = 0.05};
static int64_t threads = 1, tile_rows = 16384;

static npr_opt options[] = {
    {"head", NPR_OPT_TEXT, &job.head, "SET", "text head: one row per class, its label the class", 1, 0, 0, 0,
     0},
    {"pool", NPR_OPT_TEXT, &job.pool, "SET", "priming pool: rows labelled with their class", 1, 0, 0, 0, 0},
    {"shots", NPR_OPT_TEXT, &job.shots, "SET", "labelled training rows, added to the pool with equal weight",
     0, 0, 0, 0, 0},
    {"test", NPR_OPT_TEXT, &job.test, "SET", "labelled test rows; without them nothing is evaluated", 0, 0, 0,
     0, 0},
    {"out", NPR_OPT_TEXT, &job.out, "SET", "the primed head is written there", 1, 0, 0, 0, 0},
    {"alpha", NPR_OPT_TEXT, &job.alpha, "A",
     "weight of the text head in A text + (1-A) image: a number in [0, 1],\n\"rule\" (of pool size, see "
     "--sigma) or "
     "\"loo\" (leave-one-out on the pool).\nNone of them looks at the test set",
     0, 1, 0, 0, 0},
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
    {"sweep", NPR_OPT_FLAG, &job.sweep, "",
     "evaluate every alpha of the grid too: result.sweep.* and sweep.tsv.\nUses test labels, so it picks "
     "nothing: the "
     "head is that of --alpha",
     0, 0, 0, 0, 0},
    {"predictions", NPR_OPT_TEXT, &job.predictions, "FILE",
     "write one line per test row: id, label, zero-shot, primed", 0, 0, 0, 0, 0},
    {"threads", NPR_OPT_INT, &threads, "N", "OpenMP threads of a rank, for scores", 0, 0, 1, 4096, 0},
    {"tile-rows", NPR_OPT_INT, &tile_rows, "N", "rows read at a time", 0, 0, 1, 1 << 20, 0},
};

static const char notes[] =
    "Result: the head set (emb: unit rows; weight: the head itself; classes.tsv in its folder: rows per "
    "class and\n"
    "classes without any) and a record with zero-shot, image-only and primed accuracy side by side: top-1 "
    "with its\n"
    "95 % Wilson interval, the mean over classes, and the difference to zero-shot on the same rows.\n"
    "To evaluate on another test set run the same command with another --test: the head is found "
    "complete.\n\n"
    "  mpirun -n 4 npr-solve --head=head --pool=pool --test=test --alpha=loo --out=primed\n";

static npr_status run(const npr_job *j)
{
    job.identity = j->identity;
    job.dry_run = j->dry_run;
    job.threads = (int)threads;
    job.tile_rows = tile_rows;
    return npr_solve_run(&j->comm, &j->log, j->rec, &job);
}

int main(int argc, char **argv)
{
    npr_program program = {.name = "npr-solve",
                           .purpose = "prime a text head with a pool of embeddings and evaluate it",
                           .notes = notes,
                           .options = options,
                           .option_count = NPR_COUNT(options),
                           .run = run};
    return npr_program_main(argc, argv, &program);
}
