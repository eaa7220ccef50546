/* npr-search - recall the priming pool from an index. The work is npr_search_run() in
 * src/search/search_mpi.c. */
#include <limits.h>
#include <math.h>
#include <string.h>

#include "job.h"
#include "npr/search.h"

static npr_search_job search = {.mode = "exact",
                                .pool = "class",
                                .cap_by = "hash",
                                .part_rows = NPR_PART_ROWS,
                                .tile_rows = 16384,
                                .min_score = -INFINITY};
static const char *max_nsfw = "likely";
static double min_similarity = -INFINITY, resident = 0;
static int64_t k = 100, min_side = 0, threads = 1, seed = 0, nprobe = 16, refine = 4, recall_queries = -1;

enum { ALL = 1 /* shapes the result */, RECALL_QUERIES = 20 /* unless the user says more or none */ };

static npr_opt options[] = {
    {"index", NPR_OPT_TEXT, &search.index, "SET", "the rows to recall from", 1, 0, 0, 0, 0},
    {"out", NPR_OPT_OUT_FOLDER, &search.out, "SET", "the pool to write", 1, 0, 0, 0, 0},
    {"urls", NPR_OPT_OUT_FILE, &search.urls, "FILE",
     "write the pool's URLs too: a TSV of url, caption and id, as img2dataset reads it;\nnpr-extract --join "
     "takes what was downloaded back to the pool",
     0, 0, 0, 0, 0},
    {"mode", NPR_OPT_CHOICE, &search.mode, "exact|faiss|caption",
     "nearest rows exactly, through the index of npr-index, or rows whose caption\nhas a class name in it", 0,
     ALL, 0, 0, 0},
    {"head", NPR_OPT_TEXT, &search.head, "SET",
     "text head: the queries (unless --queries), the class names (unless --names)\nand the classes of "
     "--clip-filter",
     0, 0, 0, 0, 0},
    {"queries", NPR_OPT_TEXT, &search.queries, "SET",
     "exact, faiss: vectors to search with, such as test images", 0, 0, 0, 0, 0},
    {"names", NPR_OPT_TEXT, &search.names, "FILE", "caption: one class a line, synonyms after tabs", 0, 0, 0,
     0, 0},
    {"k", NPR_OPT_INT, &k, "N", "rows kept per query (exact, faiss) or per class (caption)", 0, ALL, 1,
     INT_MAX, 0},
    {"pool", NPR_OPT_CHOICE, &search.pool, "class|row",
     "class: a row's label is the class that recalled it;\nrow: each recalled row once, with the label it "
     "has "
     "in the index, if any\n(transductive priming)",
     0, ALL, 0, 0, 0},
    {"min-similarity", NPR_OPT_REAL, &min_similarity, "X",
     "drop rows whose published similarity is below X; rows without one are kept", 0, ALL, 0, 0, 0},
    {"max-nsfw", NPR_OPT_CHOICE, &max_nsfw, "unlikely|unsure|likely",
     "keep rows up to this published rating; likely keeps all; rows without one are kept", 0, ALL, 0, 0, 0},
    {"min-side", NPR_OPT_INT, &min_side, "PIXELS",
     "drop rows whose shorter side is below this; rows of unknown size are kept", 0, ALL, 0, INT_MAX, 0},
    {"clip-filter", NPR_OPT_FLAG, &search.limits.clip, "",
     "keep a row only for the class that the head predicts for it", 0, ALL, 0, 0, 0},
    {"clip-threshold", NPR_OPT_REAL, &search.limits.clip_threshold, "P",
     "--clip-filter: ... and only if softmax(100 x scores) of that class is at least P", 0, ALL, 0, 1, 0},
    {"keep-per-class", NPR_OPT_INT, &search.keep, "N",
     "after all other filters, keep only the N rows of each class that are most similar\nto the class's own "
     "row of "
     "--head; 0: all",
     0, ALL, 0, INT_MAX, 0},
    {"min-score", NPR_OPT_REAL, &search.min_score, "X",
     "exact, faiss: recall only rows that score at least X, such as near-duplicates\nof the queries", 0, ALL,
     0, 0, 0},
    {"cap-by", NPR_OPT_CHOICE, &search.cap_by, "hash|similarity|head",
     "caption: a class with more than k rows keeps a random sample (by a hash of\nthe id), the most similar "
     "as published, or the most similar to the class's\nown row of --head",
     0, ALL, 0, 0, 0},
    {"seed", NPR_OPT_INT, &seed, "N", "caption: seed of the hash of --cap-by", 0, ALL, 0, 0, 0},
    {"nprobe", NPR_OPT_INT, &nprobe, "N", "faiss: inverted lists searched per query", 0, ALL, 1, 1 << 24, 0},
    {"refine", NPR_OPT_INT, &refine, "N",
     "faiss: take N times k candidates per query from FAISS, over all parts together;\nthey are then "
     "filtered "
     "and rescored exactly. N times k is at most 2^19",
     0, ALL, 1, 1 << 20, 0},
    {"target-recall", NPR_OPT_REAL, &search.target_recall, "R",
     "faiss: choose --nprobe and --refine (their values are ignored) so that the share R\nof the exact "
     "answers is found, such as 0.95; tuned on up to 64 queries. 0: off",
     0, ALL, 0, 1, 0},
    {"strict", NPR_OPT_FLAG, &search.strict, "",
     "--target-recall: end with 78 before the search if R cannot be reached; without\n--strict npr warns and "
     "uses the setting that finds most",
     0, ALL, 0, 0, 0},
    {"recall-queries", NPR_OPT_INT, &recall_queries, "N",
     "faiss: also answer this many queries exactly and print the recall@k measured on\nthem; -1: 20. It "
     "costs "
     "a pass of exact search; 0 saves it",
     0, ALL, -1, INT_MAX, 0},
    {"part-rows", NPR_OPT_INT, &search.part_rows, "N", "rows per part of the pool", 0, ALL, 1, NPR_PART_ROWS,
     0},
    {"threads", NPR_OPT_INT, &threads, "N", "threads per rank", 0, 0, 1, 4096, 0},
    {"tile-rows", NPR_OPT_INT, &search.tile_rows, "N",
     "rows read and scored at a time; best a multiple of 1024", 0, 0, 1, NPR_PART_ROWS, 0},
    {"resident", NPR_OPT_REAL, &resident, "GIB",
     "exact: keep so much of the index in the memory of a rank, part by part, from\nbatch to batch of "
     "queries",
     0, 0, 0, 1e6, 0},
    {"query-batch", NPR_OPT_INT, &search.query_batch, "N",
     "queries or classes per pass over the index; 0: as many as keep their lists\nbelow 1 GiB; with FAISS "
     "rounded up to whole blocks of 64 to 1,024",
     0, 0, 0, INT_MAX, 0},
};

static int nsfw_limit(const char *word)
{
    if (!strcmp(word, "unlikely")) return NPR_NSFW_UNLIKELY;
    return !strcmp(word, "unsure") ? NPR_NSFW_UNSURE : NPR_NSFW_LIKELY;
}

static npr_status run(const npr_job *job)
{
    search.identity = job->identity;
    search.dry_run = job->dry_run;
    search.k = (int)k;
    search.resident = resident * (1 << 30);
    search.threads = (int)threads;
    search.nprobe = (int)nprobe;
    search.refine = (int)refine;
    search.recall_queries = (int)recall_queries;
    if (recall_queries < 0) search.recall_queries = strcmp(search.mode, "faiss") ? 0 : RECALL_QUERIES;
    search.seed = (uint64_t)seed;
    search.limits.min_similarity = (float)min_similarity;
    search.limits.max_nsfw = nsfw_limit(max_nsfw);
    search.limits.min_side = (int)min_side;
    return npr_search_run(&job->comm, &job->log, job->rec, &search);
}

static const char notes[] =
    "The pool's rows carry id, label, score and embedding, and whatever the index knows of them\n"
    "(caption, url, source, similarity, ...). Score: the inner product; in caption search the row's\n"
    "similarity, or where that is unknown the key it was chosen by; with --keep-per-class or\n"
    "--cap-by=head the similarity to the class's row of the head.\n"
    "Beside the parts lie classes.tsv (per class: rows matched, dropped by each filter, capped,\n"
    "outranked, kept) and result.txt (the record's results).\n"
    "A stopped or killed search resumes when the same command is run again, on any number of ranks.\n\n"
    "  mpirun -n 8 npr-search --index=index --head=head --names=classes.txt --mode=caption --clip-filter \\\n"
    "      --k=1000 --threads=8 --out=pool\n"
    "  mpirun -n 8 npr-search --index=index --head=head --k=100 --threads=8 --out=nearest\n"
    "  mpirun -n 8 npr-search --index=pool --queries=test --pool=row --k=10 --threads=8 --out=transductive\n";

int main(int argc, char **argv)
{
    npr_program program = {.name = "npr-search",
                           .purpose = "recall the priming pool from an index",
                           .notes = notes,
                           .options = options,
                           .option_count = NPR_COUNT(options),
                           .run = run,
                           .forecasts = 1};
    return npr_program_main(argc, argv, &program);
}
