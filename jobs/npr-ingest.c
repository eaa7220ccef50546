/* npr-ingest - turns arrays of embeddings and their metadata into a set. */
#include <string.h>

#include "job.h"
#include "npr/source.h"

static npr_ingest_job ingest = {
    .kind = "index", .model = "unknown", .max_bad = 0.01, .part_rows = NPR_PART_ROWS};

enum { ALL = 1 }; /* shapes the result */

static npr_opt options[] = {
    {"emb", NPR_OPT_TEXT, &ingest.emb, "FILES",
     "vectors: .npy, float16 or float32, rows x values in C order\n(a pattern, a folder, or @LIST of files)",
     1, 0, 0, 0, 0},
    {"meta", NPR_OPT_TEXT, &ingest.meta, "FILES",
     "one metadata file per array, row n for row n of the array: TSV with a\n"
     "header line, JSON lines (.jsonl), or the reference's caption databases (SQLite).\n"
     "Known fields: url, caption or text, similarity, nsfw or punsafe, width, height,\n"
     "original_width, original_height, label. Parquet: see parquet2tsv.py",
     0, 0, 0, 0, 0},
    {"columns", NPR_OPT_TEXT, &ingest.columns, "A,B,...", "fields of a TSV without a header line, in order",
     0, ALL, 0, 0, 0},
    {"labels", NPR_OPT_TEXT, &ingest.labels, "FILE", "a class number per row (-1: none), one a line", 0, 0, 0,
     0, 0},
    {"out", NPR_OPT_OUT_FOLDER, &ingest.out, "SET", "the set to write", 1, 0, 0, 0, 0},
    {"kind", NPR_OPT_CHOICE, &ingest.kind, "index|head|pool|test|features",
     "what it is; head: row i is class i, its caption the class name, and rows are\nkept in full precision "
     "too",
     0, ALL, 0, 0, 0},
    {"model", NPR_OPT_TEXT, &ingest.model, "NAME",
     "who made the vectors; sets of different models are refused", 0, ALL, 0, 0, 0},
    {"normalize", NPR_OPT_FLAG, &ingest.normalize, "",
     "scale rows to unit norm; otherwise rows of another norm are left out", 0, ALL, 0, 0, 0},
    {"max-bad", NPR_OPT_REAL, &ingest.max_bad, "SHARE",
     "largest share of rows left out (not finite, zero, not of unit norm); rejected.tsv in\nthe set lists "
     "them",
     0, 0, 0, 1, 0},
    {"part-rows", NPR_OPT_INT, &ingest.part_rows, "N", "input rows per part", 0, ALL, 1, NPR_PART_ROWS, 0},
    {"id-base", NPR_OPT_INT, &ingest.id_base, "N", "id of the first row", 0, ALL, 0, 4e18, 0},
};

static npr_status run(const npr_job *job)
{
    ingest.identity = job->identity;
    ingest.dry_run = job->dry_run;
    ingest.head = !strcmp(ingest.kind, "head");
    return npr_ingest_run(&job->comm, &job->log, job->rec, &ingest);
}

int main(int argc, char **argv)
{
    npr_program program = {
        .name = "npr-ingest",
        .purpose = "turn arrays of embeddings and their metadata into a set",
        .notes =
            "Files are paired in the order of their names. Counts are checked before a row is written.\n"
            "A stopped or killed run resumes when the same command is run again, on any number of ranks.\n\n"
            "  mpirun -n 8 npr-ingest --emb=laion/img_emb --meta=laion/metadata --out=index\n"
            "  npr-ingest --emb=head.npy --meta=head.tsv --kind=head --out=head\n"
            "  npr-ingest --emb=test.npy --labels=labels.txt --kind=test --out=test\n",
        .options = options,
        .option_count = NPR_COUNT(options),
        .run = run,
        .forecasts = 1};
    return npr_program_main(argc, argv, &program);
}
