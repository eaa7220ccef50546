/* npr-verify - reads a set wholly and says what is in it. */
#include "job.h"
#include "npr/set.h"

static const char *set;
static int quick;

static npr_opt options[] = {
    {"set", NPR_OPT_TEXT, &set, "SET", "the set to check", 1, 0, 0, 0, 0},
    {"quick", NPR_OPT_FLAG, &quick, "", "sizes and structure only, no digests and no columns", 0, 0, 0, 0, 0},
};

static npr_status run(const npr_job *job)
{
    return npr_set_verify(&job->comm, &job->log, job->rec, set, quick || job->dry_run != NULL);
}

int main(int argc, char **argv)
{
    npr_program program = {.name = "npr-verify",
                           .purpose = "check every byte of a set and say what is in it",
                           .notes = "A damaged set ends with exit code 65 and names the first bad part.\n\n"
                                    "  mpirun -n 8 npr-verify --set=index\n",
                           .options = options,
                           .option_count = NPR_COUNT(options),
                           .run = run};
    return npr_program_main(argc, argv, &program);
}
