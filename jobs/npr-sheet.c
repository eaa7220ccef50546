/* npr-sheet - a contact sheet of a set's pictures, to look at what was recalled. See npr/sheet.h. */
#include "job.h"
#include "npr/sheet.h"

static npr_sheet_job job = {0};
static int64_t columns = 16, side = 48;

static npr_opt options[] = {
    {"set", NPR_OPT_TEXT, &job.set, "SET",
     "a pool, features or test set whose rows have `label` and `source`", 1, 0, 0, 0, 0},
    {"root", NPR_OPT_TEXT, &job.root, "FOLDER", "where the tars or files lie that `source` names", 0, 0, 0, 0,
     0},
    {"classes", NPR_OPT_TEXT, &job.classes, "A,B,...", "numbers of classes, a line of the sheet for each", 1,
     0, 0, 0, 0},
    {"columns", NPR_OPT_INT, &columns, "N", "pictures per class, in the order of the set", 0, 0, 1, 200, 0},
    {"side", NPR_OPT_INT, &side, "PIXELS", "of a picture, cropped square", 0, 0, 8, 300, 0},
    {"out", NPR_OPT_OUT_FILE, &job.out, "FILE", "the JPEG to write", 1, 0, 0, 0, 0},
};

static npr_status run(const npr_job *j)
{
    job.columns = (int)columns;
    job.side = (int)side;
    job.dry_run = j->dry_run != NULL;
    return npr_sheet_run(&j->comm, &j->log, j->rec, &job);
}

int main(int argc, char **argv)
{
    static const npr_program program = {
        .name = "npr-sheet",
        .purpose = "a contact sheet of a set's pictures, a line per class",
        .notes = "A picture that cannot be read is a grey square.\n\n"
                 "  npr-sheet --set=pool --root=shards --classes=0,7,42 --out=recalled.jpg\n",
        .options = options,
        .option_count = NPR_COUNT(options),
        .run = run};
    return npr_program_main(argc, argv, &program);
}
