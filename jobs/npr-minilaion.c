/* npr-minilaion.c - writes a made-up, LAION-like world of pictures and captions, or of vectors and captions.
 * See npr/minilaion.h. */
#include "job.h"

#include "npr/minilaion.h"

static npr_minilaion_job job = {0};
static int embeddings = 0;
static int64_t rows = 40000, file_rows = 0, seed = 1, classes = 200, tests = 25, val = 15, shots = 30,
               dim = 512;

static npr_opt options[] = {
    {"out", NPR_OPT_OUT_FOLDER, &job.out, "FOLDER", "where to write; a run that was interrupted goes on", 1,
     0, 0, 0, 0},
    {"embeddings", NPR_OPT_FLAG, &embeddings, "", "vectors instead of pictures, for scaling studies", 0, 1, 0,
     0, 0},
    {"rows", NPR_OPT_INT, &rows, "N", "image-text pairs, 1 to 1e10", 0, 1, 1, 1e10, 0},
    {"rows-per-file", NPR_OPT_INT, &file_rows, "N",
     "rows in each file; 0: a sixteenth of them, at most 10,000 pictures or a million vectors", 0, 1, 0, 1e9,
     0},
    {"classes", NPR_OPT_INT, &classes, "N", "classes, half of them phrases, half coined names", 0, 1, 2,
     NPR_WORLD_CLASSES_MAX, 0},
    {"tests", NPR_OPT_INT, &tests, "N", "per class in each test set", 0, 1, 1, 10000, 0},
    {"val", NPR_OPT_INT, &val, "N", "pictures per class to choose parameters by", 0, 1, 1, 10000, 0},
    {"shots", NPR_OPT_INT, &shots, "N", "pictures per class to learn from", 0, 1, 1, 10000, 0},
    {"dim", NPR_OPT_INT, &dim, "N", "with --embeddings: values per vector, a multiple of 32", 0, 1,
     NPR_WORLD_DIM_MIN, NPR_WORLD_DIM_MAX, 0},
    {"seed", NPR_OPT_INT, &seed, "N", "another seed is another world", 0, 1, 0, 0x1p53, 0},
};

static const char notes[] =
    "The world is SYNTHETIC: pictures of shapes, textures and colours painted from random numbers, captions "
    "made from\n"
    "a list of words. It stands in for LAION in first steps, tests and scaling studies; accuracies on it are "
    "no claims.\n"
    "\n"
    "Written as img2dataset lays out its output (FOLDER/...):\n"
    "  pictures/00000.tar ...          KEY.jpg (48 x 48), KEY.txt, KEY.json: the pre-training set\n"
    "  templates.txt, classes.txt      prompt templates with {}, all class names\n"
    "  phrases/, coined/               two families of classes, each with classes.txt, prompts.json (CuPL's "
    "form) and\n"
    "    shots/ val/                   labelled pictures in a folder per class, styles as in the tars\n"
    "    test/ sketch/ dusk/ smear/    test sets: one of normal pictures, three of other styles\n"
    "  world.txt                       the options that made it\n"
    "With --embeddings as clip-retrieval does:\n"
    "  img_emb/img_emb_0000.npy    image vectors, float16, unit norm       metadata/metadata_0000.tsv  one "
    "line each\n"
    "  text/head.npy, head.tsv     one text vector per class and its name  text/classes.txt            with "
    "synonyms\n"
    "  test/test.npy, test_labels.txt    labelled vectors, shifted styles  test/test_id.*, shots.*     "
    "styles as "
    "crawled\n";

static npr_status run(const npr_job *j)
{
    job.identity = j->identity;
    job.rows = rows;
    job.file_rows = file_rows;
    job.seed = seed;
    job.classes = (int)classes;
    job.tests = (int)tests;
    job.val = (int)val;
    job.shots = (int)shots;
    job.dim = (int)dim;
    job.dry_run = j->dry_run != NULL;
    return (embeddings ? npr_minilaion_embed : npr_minilaion_paint)(&j->comm, &j->log, j->rec, &job);
}

int main(int argc, char **argv)
{
    static const npr_program program = {.name = "npr-minilaion",
                                        .purpose =
                                            "write a made-up, LAION-like world of pictures and captions",
                                        .notes = notes,
                                        .options = options,
                                        .option_count = NPR_COUNT(options),
                                        .run = run};
    return npr_program_main(argc, argv, &program);
}
