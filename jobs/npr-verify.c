/* npr-verify - reads a set wholly and says what is in it. */
#include "job.h"
#include "npr/set.h"

static const char *set;
static int quick;

static npr_opt options[] = {
    {"set", NPR_OPT_TEXT, &set, "SET", "the set to check", 1, 0, 0, 0, 0},
    {"quick", NPR_OPT_FLAG, &quick, "", "sizes and structure only, no digests and no columns", 0, 0, 0, 0, 0},
};

/* --dry-run: what would be read, by the manifest alone. */
static npr_status plan(const npr_job *job)
{
    npr_set *s;
    int64_t bytes = 0;
    NPR_TRY(npr_set_open_all(&job->comm, set, &s));
    for (int i = 0; i < s->parts; i++) bytes += s->part[i].bytes;
    npr_record_int(job->rec, "plan.parts", s->parts);
    npr_record_int(job->rec, "plan.rows", s->rows);
    if (!quick) npr_record_int(job->rec, "plan.bytes", bytes); /* --quick opens the parts and reads no rows */
    npr_set_free(s);
    return NPR_OK;
}

static npr_status run(const npr_job *job)
{
    if (job->dry_run) return plan(job);
    return npr_set_verify(&job->comm, &job->log, job->rec, set, quick);
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
