/* npr-extract - turns images into features, and prompts into a text head. */
#include "job.h"
#include "npr/clip.h"
#include "npr/set.h"

static npr_extract_job extract = {.kind = "features", .max_bad = 0.01};
static npr_text_job text;
static npr_extract_model model = {.precision = "auto"};
static const char *out;
static int64_t part_rows, threads = 1;

enum { ALL = 1 }; /* shapes the result */

static npr_opt options[] = {
    {"images", NPR_OPT_TEXT, &extract.images, "WHERE",
     "images: a folder (a sub-folder per class, or images alone; sub-folders called 0, 1, 2,\n"
     "10 are labels, else labels count their names, sorted); @LIST of files, one a\n"
     "line, with a tab and a label or class name behind each or none; webdataset tars (a\n"
     "pattern, a folder, or @LIST of .tar); or a set, whose `source` says where they lie",
     0, 0, 0, 0, 0},
    {"root", NPR_OPT_TEXT, &extract.root, "FOLDER",
     "folder of the files that a set names, and of relative paths in a list", 0, 0, 0, 0, 0},
    {"id-field", NPR_OPT_TEXT, &extract.id_field, "NAME",
     "the integer field of the tars' JSON members to use as id; otherwise ids are row numbers", 0, ALL, 0, 0,
     0},
    {"join", NPR_OPT_TEXT, &extract.join, "POOL",
     "the tars hold pictures that img2dataset downloaded for this pool (npr-search --urls), known\n"
     "by --id-field (id): the result is the pool again, with these pictures' vectors",
     0, 0, 0, 0, 0},
    {"failed", NPR_OPT_TEXT, &extract.failed, "FILES",
     "--join: TSVs of id and status from img2dataset's own tables (jobs/parquet2tsv.py\n"
     "--columns=id,status): rows it failed to download count as dead, other rows without a\n"
     "picture as missing",
     0, 0, 0, 0, 0},
    {"drop-changed", NPR_OPT_FLAG, &extract.drop_changed, "",
     "--join: leave out pictures whose size, URL or caption differs from the pool's; otherwise\n"
     "they are counted and kept",
     0, ALL, 0, 0, 0},
    {"kind", NPR_OPT_CHOICE, &extract.kind, "features|test|index", "what the set of images is", 0, ALL, 0, 0,
     0},
    {"classes", NPR_OPT_TEXT, &text.classes, "FILE", "for a text head: class names, one a line", 0, 0, 0, 0,
     0},
    {"templates", NPR_OPT_TEXT, &text.templates, "FILE", "sentences with {} for the name, one a line", 0, 0,
     0, 0, 0},
    {"prompts", NPR_OPT_TEXT, &text.prompts, "FILE",
     "CuPL's JSON, name to sentences; with --templates too, the head is the average of both", 0, 0, 0, 0, 0},
    {"vocab", NPR_OPT_TEXT, &text.vocab, "FILE", "bpe_simple_vocab_16e6.txt.gz", 0, 0, 0, 0, 0},
    {"model", NPR_OPT_TEXT, &model.weights, "FILE", "weights: open_clip's .safetensors", 1, 0, 0, 0, 0},
    {"config", NPR_OPT_TEXT, &model.config, "FILE", "open_clip's JSON of the model", 1, 0, 0, 0, 0},
    {"model-name", NPR_OPT_TEXT, &model.name, "NAME",
     "what sets call the model; sets of different models are refused. Default: the name of\n"
     "the configuration and a few digits of the weights' digest",
     0, ALL, 0, 0, 0},
    {"precision", NPR_OPT_CHOICE, &model.precision, "auto|fp32|bf16",
     "auto: bf16 if oneDNN and the CPUs have it; the record says which, and what it costs", 0, 0, 0, 0, 0},
    {"out", NPR_OPT_OUT_FOLDER, &out, "SET", "the set to write", 1, 0, 0, 0, 0},
    {"threads", NPR_OPT_INT, &threads, "N", "threads per rank", 0, 0, 1, 4096, 0},
    {"part-rows", NPR_OPT_INT, &part_rows, "N",
     "images per part, default 4096; for a text head classes per part, default 64. Ranks take\n"
     "whole parts",
     0, ALL, 0, NPR_PART_ROWS, 0},
    {"max-bad", NPR_OPT_REAL, &extract.max_bad, "SHARE",
     "largest share of images left out (unreadable, not JPEG, truncated, too large, damaged,\n"
     "bad metadata); skipped.tsv in the set lists them",
     0, 0, 0, 1, 0},
    {"max-pixels", NPR_OPT_INT, &extract.max_pixels, "N", "a larger image is left out; 0: 89478485", 0, ALL,
     0, 4e9, 0},
    {"fast-decode", NPR_OPT_FLAG, &extract.fast_decode, "",
     "decode at 1/2, 1/4 or 1/8 of the size where that is enough: pixels, and so features,\n"
     "then differ slightly from open_clip's",
     0, ALL, 0, 0, 0},
};

static npr_status run_text(const npr_job *job)
{
    text.model = model;
    text.out = out;
    text.identity = job->identity;
    text.dry_run = job->dry_run;
    text.part_rows = part_rows ? part_rows : 64;
    text.threads = (int)threads;
    return npr_text_run(&job->comm, &job->log, job->rec, &text);
}

static npr_status run(const npr_job *job)
{
    if (!extract.images == !text.classes)
        return npr_fail(NPR_EUSAGE, "wanted either --images, for features, or --classes, for a text head");
    if (text.classes) return run_text(job);
    if (text.templates || text.prompts || text.vocab)
        return npr_fail(NPR_EUSAGE,
                        "--templates, --prompts and --vocab go with --classes, not with --images");
    if (!extract.join && (extract.failed || extract.drop_changed))
        return npr_fail(NPR_EUSAGE, "--failed and --drop-changed go with --join");
    extract.model = model;
    extract.out = out;
    extract.identity = job->identity;
    extract.dry_run = job->dry_run;
    extract.part_rows = part_rows ? part_rows : 4096;
    extract.threads = (int)threads;
    return npr_extract_run(&job->comm, &job->log, job->rec, &extract);
}

int main(int argc, char **argv)
{
    npr_program program = {
        .name = "npr-extract",
        .purpose = "turn images into features, and prompts into a text head, with CLIP",
        .notes =
            "Rows stand in the order of the images: folders and tars by name, lists as they are. Parts are "
            "dealt\n"
            "out as ranks ask for them. A stopped or killed run resumes when the same command is run again, "
            "on any\n"
            "number of ranks.\n\n"
            "  mpirun -n 8 npr-extract --images='shards/*.tar' --model=w.safetensors --config=ViT-B-16.json "
            "--out=feat\n"
            "  npr-extract --images=val --kind=test --model=w.safetensors --config=ViT-B-16.json --out=test\n"
            "  npr-extract --classes=names.txt --templates=t.txt --vocab=bpe_simple_vocab_16e6.txt.gz\n"
            "      --model=w.safetensors --config=ViT-B-16.json --out=head\n",
        .options = options,
        .option_count = NPR_COUNT(options),
        .run = run,
        .forecasts = 1};
    return npr_program_main(argc, argv, &program);
}
