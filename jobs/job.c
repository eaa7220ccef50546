/* job.c - see job.h. */
#include "job.h"

#include <errno.h>
#include <fcntl.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/mem.h"
#include "npr/watchdog.h"
#include "outputs.h"
#include "plan_report.h"

/* The options all programs share. */
typedef struct common_options {
    int help, version, dry_run, quiet;
    const char *opts, *record, *calibration;
    double watchdog;
} common_options;

enum { COMMON = 8 };

/* The first of them, --calibration, only where seconds are forecast. */
static size_t count_common(const npr_program *p)
{
    return p->forecasts ? COMMON : COMMON - 1;
}

static npr_opt *make_table(const npr_program *p, common_options *c)
{
    npr_opt common[COMMON] = {
        {"calibration", NPR_OPT_TEXT, &c->calibration, "FILE",
         "a record of npr-bench --what=calibrate on such a node: seconds are forecast too (by the stages\n"
         "with --dry-run)",
         0, 0, 0, 0, 0},
        {"dry-run", NPR_OPT_FLAG, &c->dry_run, "",
         "check the inputs, print the plan (rows, bytes, memory per rank) and stop; the only\n"
         "output that is written or tested is the record",
         0, 0, 0, 0, 0},
        {"record", NPR_OPT_OUT_FILE, &c->record, "FILE",
         "write the record to this file instead of standard output; missing folders are made", 0, 0, 0, 0, 0},
        {"opts", NPR_OPT_TEXT, &c->opts, "FILE",
         "read options from name=value lines, or from an earlier record", 0, 0, 0, 0, 0},
        {"watchdog", NPR_OPT_REAL, &c->watchdog, "SECONDS",
         "end the job with 70 and each rank's last phase if no rank makes progress for\nthis long; 0: never",
         0, 0, 0, 1e7, 0},
        {"quiet", NPR_OPT_FLAG, &c->quiet, "", "warnings and errors only, no progress", 0, 0, 0, 0, 0},
        {"version", NPR_OPT_FLAG, &c->version, "", "print the version and the libraries used", 0, 0, 0, 0, 0},
        {"help", NPR_OPT_FLAG, &c->help, "", "print this help", 0, 0, 0, 0, 0},
    };
    size_t n = count_common(p);
    npr_opt *table = npr_alloc(p->option_count + n, sizeof *table, "the options");
    if (!table) return NULL;
    memcpy(table, p->options, p->option_count * sizeof *table);
    memcpy(table + p->option_count, common + COMMON - n, n * sizeof *table);
    return table;
}

static void print_help(const npr_program *p, const npr_opt *table)
{
    printf(
        "%s - %s\n\nUse: mpirun -n RANKS %s --name=value ... (srun in a job of Slurm; alone it is one rank)\n"
        "Whole numbers may be written 1e6, 64K, 16M or 2G (powers of 1024).\n\n",
        p->name, p->purpose, p->name);
    npr_opt_help(table, p->option_count + count_common(p), stdout);
    printf("\n%s%sExit codes: 0 done, 64 usage, 65 bad data, 66 input missing, 70 out of memory, internal or "
           "watchdog,\n"
           "73 cannot create, 74 I/O or disk full, 75 stopped on request (run the same command again),\n"
           "78 environment or sets that do not fit together.\n",
           p->notes ? p->notes : "", p->notes ? "\n" : "");
}

/* Launchers tell a process its rank before MPI is up; NULL: nobody did. */
static const char *launched_rank(void)
{
    static const char *names[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID", "PMI_RANK"};
    const char *rank = NULL;
    for (size_t i = 0; i < NPR_COUNT(names) && !rank; i++) rank = getenv(names[i]);
    return rank;
}

/* --help of a job of 64 ranks is printed once. */
static int is_first_process(void)
{
    const char *rank = launched_rank();
    return !rank || !strcmp(rank, "0");
}

/* A standard stream that the caller has closed would be the next file that is opened: what is printed would
 * stand in a part of a set. It is put where nothing can be read or written, as nothing could before. */
static npr_status guard_streams(void)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            return npr_fail(NPR_EENV, "/dev/null: cannot open: %s", strerror(errno));
    return NPR_OK;
}

/* --help or --version, by one process. */
static npr_status print_about(const npr_program *p, const npr_opt *table, int help)
{
    if (!is_first_process()) return NPR_OK;
    help ? print_help(p, table) : npr_version_print(p->name, stdout);
    if (fflush(stdout) || ferror(stdout))
        return npr_fail(NPR_EIO, "cannot write to standard output: %s", strerror(errno));
    return NPR_OK;
}

/* What the machine calls its processor; "unknown" where it does not say. */
static void name_processor(char *name, size_t size)
{
    char line[256];
    FILE *f = fopen("/proc/cpuinfo", "re");
    snprintf(name, size, "unknown");
    while (f && fgets(line, sizeof line, f)) {
        char *value = strstr(line, ": ");
        if (strncmp(line, "model name", 10) != 0 || !value) continue;
        value[strcspn(value, "\n")] = 0;
        snprintf(name, size, "%s", value + 2);
        break;
    }
    if (f) fclose(f);
}

static void record_run(const npr_job *job, const npr_program *p, const npr_opt *table)
{
    char host[MPI_MAX_PROCESSOR_NAME], cpu[256], key[96], value[4096];
    int n;
    MPI_Get_processor_name(host, &n);
    npr_record_text(job->rec, "run.program", p->name);
    npr_record_text(job->rec, "run.version", NPR_VERSION);
    npr_record_text(job->rec, "run.host", host);
    name_processor(cpu, sizeof cpu);
    npr_record_text(job->rec, "run.cpu", cpu);
    npr_record_int(job->rec, "run.ranks", job->comm.size);
    npr_record_int(job->rec, "run.cores", omp_get_num_procs());
    if (job->calibration) npr_record_text(job->rec, "option.calibration", job->calibration);
    const char *slurm = getenv("SLURM_JOB_ID");
    if (slurm) npr_record_text(job->rec, "run.slurm_job", slurm);
    for (size_t i = 0; i < p->option_count; i++) {
        snprintf(key, sizeof key, "option.%s", table[i].name);
        npr_record_text(job->rec, key, npr_opt_print(&table[i], value, sizeof value));
    }
}

/* Of all options, where they were read from aside. */
static uint64_t hash_options(const npr_opt *table, size_t n)
{
    char value[4096];
    uint64_t h = 0;
    for (size_t i = 0; i < n; i++) {
        if (!strcmp(table[i].name, "opts")) continue;
        const char *v = npr_opt_print(&table[i], value, sizeof value);
        h = npr_hash64(v, strlen(v), h);
    }
    return h;
}

/* All ranks must run the same program with the same options: a stale binary, or file of options, on one node
 * would give wrong answers, not errors, or ranks that wait for others for ever: work is dealt out by options,
 * too. */
static npr_status check_same_program(const npr_comm *comm, const npr_opt *table, size_t n)
{
    char mine[256] = NPR_VERSION, first[256];
    uint64_t options = hash_options(table, n), others = options;
    memcpy(first, mine, sizeof first);
    npr_bcast(comm, first, sizeof first, 0);
    npr_bcast(comm, &others, sizeof others, 0);
    npr_status st = NPR_OK;
    if (strcmp(mine, first) != 0)
        st = npr_fail(NPR_EENV, "this rank runs version %s, rank 0 runs %s: install one version on all nodes",
                      mine, first);
    else if (options != others)
        st = npr_fail(NPR_EUSAGE,
                      "this rank has other options than rank 0: all want the same command line, and the "
                      "same file of --opts");
    return npr_agree(comm, st, "start");
}

/* With an MPI that was built without Slurm's support, or without the right --mpi, every task of srun is a job
 * of one rank: all would do all of the work, one beside the other. (Debian's Open MPI says so itself.) mpirun
 * tells its own number. */
static npr_status check_launcher(const npr_comm *comm)
{
    const char *tasks = getenv("SLURM_STEP_NUM_TASKS");
    if (comm->size > 1 || !tasks || atoi(tasks) < 2 || getenv("OMPI_COMM_WORLD_SIZE")) return NPR_OK;
    return npr_fail(
        NPR_EENV,
        "srun started %s tasks, but MPI finds each of them alone: wanted srun --mpi=pmix, or another "
        "that your MPI knows (srun --mpi=list); for tasks that are jobs of their own on purpose, env -u "
        "SLURM_STEP_NUM_TASKS before the program",
        tasks);
}

/* --dry-run: the machine, and how many of its nodes are here. Files are read and written at the rate of the
 * calibration. */
static npr_status prepare_plan(npr_job *job, npr_plan_machine *m, npr_plan_dry_run *dry)
{
    MPI_Comm node;
    int rank;
    MPI_Comm_split_type(job->comm.mpi, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
    MPI_Comm_rank(node, &rank);
    MPI_Comm_free(&node);
    int64_t nodes = rank == 0;
    npr_sum_i64(&job->comm, &nodes, 1);
    *m = npr_plan_machine_unknown();
    npr_status st = job->calibration ? npr_plan_machine_read(job->calibration, m) : NPR_OK;
    *dry = (npr_plan_dry_run){.machine = job->calibration ? m : NULL};
    dry->here = (npr_plan_cluster){.nodes = (double)nodes,
                                   .ranks = job->comm.size,
                                   .threads = 1,
                                   .read = m->file_read,
                                   .write = m->file_write,
                                   .latency = m->latency,
                                   .bandwidth = m->bandwidth};
    job->dry_run = dry;
    return npr_agree(&job->comm, st, "plan");
}

/* The largest resident memory of any rank so far, so that a job's --memory can be set from its last record.
 */
static void record_memory(const npr_job *job)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    int64_t bytes = (int64_t)use.ru_maxrss * 1024;
    npr_max_i64(&job->comm, &bytes, 1);
    npr_record_int(job->rec, "run.peak_bytes_per_rank", bytes);
}

/* A rank without memory for a line of its record: results may stand in none, so it is said once. */
static void warn_of_lost(const npr_job *job)
{
    struct {
        double lines;
        int rank;
    } mine = {(double)npr_record_lost(job->rec), job->comm.rank}, most;
    MPI_Allreduce(&mine, &most, 1, MPI_DOUBLE_INT, MPI_MAXLOC, job->comm.mpi);
    if (most.lines > 0)
        npr_warn(&job->log,
                 "rank %d had no memory for lines of its record (%.0f of them): the work is done, but not "
                 "all of it is recorded",
                 most.rank, most.lines);
}

static npr_status write_record(const npr_job *job, const char *path)
{
    warn_of_lost(job);
    npr_status st = NPR_OK;
    if (job->comm.rank == 0 && !path) st = npr_record_print(job->rec, stdout);
    if (job->comm.rank == 0 && path) {
        char *text = NULL;
        size_t n = 0;
        FILE *f = open_memstream(&text, &n);
        st = f ? npr_record_print(job->rec, f) : npr_fail(NPR_EINTERNAL, "out of memory: the record");
        if (f) fclose(f);
        if (!st) st = npr_file_replace(path, text, n);
        free(text);
    }
    return npr_agree(&job->comm, st, "record");
}

static npr_status parse_options(npr_opt *table, size_t n, int argc, char **argv, const common_options *c,
                                char **keep)
{
    NPR_TRY(npr_opt_parse(table, n, argc, argv));
    if (c->help || c->version) return NPR_OK;
    if (c->opts) NPR_TRY(npr_opt_read(table, n, c->opts, keep));
    return npr_opt_missing(table, n);
}

/* st: whether this rank could read its options. */
static npr_status run(const npr_program *p, npr_opt *table, const common_options *c, const npr_comm *comm,
                      npr_status st)
{
    NPR_TRY(npr_agree(comm, st, "options"));
    npr_job job = {
        .comm = *comm, .log = npr_log_make(comm, p->name, c->quiet), .calibration = c->calibration};
    npr_plan_machine machine;
    npr_plan_dry_run dry;
    char *identity = npr_opt_identity(table, p->option_count);
    job.rec = npr_record_make();
    job.identity = identity;
    st = npr_agree(comm, identity && job.rec ? NPR_OK : npr_last(), "start");
    double start = npr_now();
    size_t options = p->option_count + count_common(p);
    if (!st) st = check_same_program(comm, table, options);
    if (!st) st = npr_outputs_check(comm, &job.log, table, p->option_count, options, c->dry_run);
    if (!st) st = npr_watchdog_start(comm, p->name, c->watchdog);
    if (!st) record_run(&job, p, table);
    if (!st && c->dry_run) st = prepare_plan(&job, &machine, &dry);
    if (!st) st = p->run(&job);
    if (!st && c->dry_run) npr_plan_report_seconds(&job.log, job.rec, &dry.needs);
    if (!st) {
        npr_record_time(comm, job.rec, "total", npr_now() - start);
        record_memory(&job);
        st = write_record(&job, c->record);
    }
    npr_record_free(job.rec);
    free(identity);
    return st;
}

int npr_program_main(int argc, char **argv, const npr_program *p)
{
    common_options c = {0};
    char *file = NULL; /* text of --opts */
    npr_status st = guard_streams();
    npr_opt *table = make_table(p, &c);
    size_t n = p->option_count + count_common(p);
    if (!st) st = table ? parse_options(table, n, argc, argv, &c, &file) : npr_last();
    int about = !st && (c.help || c.version);
    if (about) st = print_about(p, table, c.help);
    /* All are given --help or --version, and leave without MPI. Anything else may have failed on one of several
     * alone, which the others would wait for: they say it together. */
    if (about || (st && !launched_rank())) {
        if (st) fprintf(stderr, "%s: %s\n", p->name, npr_status_text());
        free(table);
        free(file);
        return st;
    }
    npr_stop_install();
    int provided;
    MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided);
    npr_comm comm = npr_comm_make(MPI_COMM_WORLD);
    npr_fault_rank(comm.rank);
    npr_status refused = check_launcher(&comm);
    st = refused ? refused : run(p, table, &c, &comm, st);
    npr_log log = npr_log_make(&comm, p->name, c.quiet);
    if (st && (!refused || is_first_process())) /* of so many tasks one says it */
        npr_error(&log, "%s", npr_status_text());
    npr_comm_free(&comm);
    npr_mark("leaving", 1);
    MPI_Finalize();
    npr_watchdog_stop();
    free(table);
    free(file);
    return st;
}
