/* npr-minilaion.c - writes a made-up, LAION-like world of embeddings and captions. See npr/minilaion.h. */
#include "job.h"

#include "npr/minilaion.h"

static npr_minilaion_job job = {0};
static int64_t rows = 200000, file_rows = 0, seed = 1, dim = 512, classes = 200, tests = 50;

static npr_opt options[] = {
    {"out", NPR_OPT_TEXT, &job.out, "FOLDER", "where to write; a run that was interrupted goes on", 1, 0, 0,
     0, 0},
    {"rows", NPR_OPT_INT, &rows, "N", "image-text pairs, 1 to 1e10", 0, 1, 1, 1e10, 0},
    {"rows-per-file", NPR_OPT_INT, &file_rows, "N",
     "rows in each .npy and .tsv; 0: a million, in small worlds a sixteenth of the rows", 0, 1, 0, 1e9, 0},
    {"dim", NPR_OPT_INT, &dim, "N", "values per vector, a multiple of 32", 0, 1, NPR_WORLD_DIM_MIN,
     NPR_WORLD_DIM_MAX, 0},
    {"classes", NPR_OPT_INT, &classes, "N", "classes of the text head and the tests", 0, 1, 2,
     NPR_WORLD_CLASSES_MAX, 0},
    {"tests", NPR_OPT_INT, &tests, "N", "labelled test vectors per class", 0, 1, 1, 10000, 0},
    {"seed", NPR_OPT_INT, &seed, "N", "another seed is another world", 0, 1, 0, 0x1p53, 0},
};

static const char notes[] = "The world is SYNTHETIC: random numbers with the structure of CLIP embeddings of "
                            "web images, made-up class names\n"
                            "and captions. It stands in for LAION in first steps, tests and scaling studies; "
                            "accuracies on it are no claims.\n"
                            "\n"
                            "Written as clip-retrieval lays out its output (FOLDER/...):\n"
                            "  img_emb/img_emb_0000.npy    image vectors, float16, unit norm       "
                            "metadata/metadata_0000.tsv  one line each\n"
                            "  text/head.npy, head.tsv     one text vector per class and its name  "
                            "text/classes.txt            with synonyms\n"
                            "  test/test.npy, test_labels.txt    labelled vectors, shifted styles  "
                            "test/test_id.*, shots.*     styles as crawled\n"
                            "  world.txt                   the options that made it\n";

static npr_status run(const npr_job *j)
{
    job.identity = j->identity;
    job.rows = rows;
    job.file_rows = file_rows;
    job.seed = seed;
    job.dim = (int)dim;
    job.classes = (int)classes;
    job.tests = (int)tests;
    job.dry_run = j->dry_run;
    return npr_minilaion_run(&j->comm, &j->log, j->rec, &job);
}

int main(int argc, char **argv)
{
    static const npr_program program = {"npr-minilaion",
                                        "write a made-up, LAION-like world of embeddings and captions",
                                        notes,
                                        options,
                                        NPR_COUNT(options),
                                        run};
    return npr_program_main(argc, argv, &program);
}
