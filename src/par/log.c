/* log.c - messages and progress. See include/npr/log.h.
 *
 * Progress needs no collective while work runs: a rank now and then sends its running count to rank 0 as an
 * eager 8-byte message; rank 0 drains what has come whenever it reports its own progress, and in
 * npr_progress_end(). */
#include "npr/log.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "npr/watchdog.h"

double npr_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

const char *npr_clock(char text[NPR_CLOCK])
{
    time_t now = time(NULL);
    struct tm tm;
    strftime(text, NPR_CLOCK, "%H:%M:%S", localtime_r(&now, &tm));
    return text;
}

npr_log npr_log_make(const npr_comm *comm, const char *program, int quiet)
{
    return (npr_log){program, stderr, comm->rank, quiet, isatty(STDERR_FILENO)};
}

/* One write per line, so that lines of several ranks do not interleave. */
static void say(const npr_log *log, const char *label, const char *fmt, va_list ap)
{
    char text[2048], line[2304], clock[NPR_CLOCK];
    vsnprintf(text, sizeof text, fmt, ap);
    snprintf(line, sizeof line, "%s%s %s: %s%s\n", log->terminal ? "\r\033[K" : "", npr_clock(clock),
             log->program, label, text);
    fputs(line, log->to);
    fflush(log->to);
}

void npr_info(const npr_log *log, const char *fmt, ...)
{
    if (log->rank != 0 || log->quiet) return;
    va_list ap;
    va_start(ap, fmt);
    say(log, "", fmt, ap);
    va_end(ap);
}

void npr_warn(const npr_log *log, const char *fmt, ...)
{
    if (log->rank != 0) return;
    va_list ap;
    va_start(ap, fmt);
    say(log, "warning: ", fmt, ap);
    va_end(ap);
}

void npr_error(const npr_log *log, const char *fmt, ...)
{
    if (log->rank != 0) return;
    va_list ap;
    va_start(ap, fmt);
    say(log, "", fmt, ap);
    va_end(ap);
}

void npr_warn_here(const npr_log *log, const char *fmt, ...)
{
    char label[48];
    snprintf(label, sizeof label, "warning: rank %d: ", log->rank);
    va_list ap;
    va_start(ap, fmt);
    say(log, label, fmt, ap);
    va_end(ap);
}

struct npr_progress {
    npr_comm comm; /* own communicator: its messages cannot meet others */
    const npr_log *log;
    char what[32], unit[16];
    int64_t total, mine;
    int64_t *of_rank; /* [size], rank 0 only */
    int64_t sending;  /* the value in flight */
    MPI_Request request;
    double start, last_said, last_sent;
};

npr_progress *npr_progress_start(const npr_comm *comm, const npr_log *log, const char *what, const char *unit,
                                 int64_t total)
{
    npr_progress *p = npr_alloc(1, sizeof *p, "progress");
    int64_t *of_rank = npr_alloc((size_t)comm->size, sizeof *of_rank, "progress");
    if (npr_agree(comm, p && of_rank ? NPR_OK : NPR_EINTERNAL, what)) {
        free(p);
        free(of_rank);
        return NULL;
    }
    p->comm = npr_comm_make(comm->mpi);
    p->log = log;
    snprintf(p->what, sizeof p->what, "%s", what);
    snprintf(p->unit, sizeof p->unit, "%s", unit);
    p->total = total;
    npr_mark(p->what, 0);
    p->of_rank = of_rank;
    p->request = MPI_REQUEST_NULL;
    p->start = p->last_said = p->last_sent = npr_now();
    return p;
}

static void format_time(double s, char *buf, size_t size)
{
    long t = (long)(s + 0.5);
    if (t >= 3600)
        snprintf(buf, size, "%ldh%02ldm", t / 3600, t / 60 % 60);
    else if (t >= 60)
        snprintf(buf, size, "%ldm%02lds", t / 60, t % 60);
    else
        snprintf(buf, size, "%lds", t);
}

static void format_count(double n, char *buf, size_t size)
{
    const char *unit = "";
    if (n >= 1e9)
        n /= 1e9, unit = "G";
    else if (n >= 1e6)
        n /= 1e6, unit = "M";
    else if (n >= 1e4)
        n /= 1e3, unit = "k";
    snprintf(buf, size, *unit ? "%.2f%s" : "%.0f%s", n, unit);
}

static void show(npr_progress *p, int64_t done)
{
    const npr_log *log = p->log;
    double elapsed = npr_now() - p->start, share = p->total > 0 ? (double)done / (double)p->total : 1;
    if (log->quiet) return;
    char eta[32] = "?", n[32], of[32], rate[32];
    if (done > 0) format_time(share > 0 ? elapsed / share * (1 - share) : 0, eta, sizeof eta);
    format_count((double)done, n, sizeof n);
    format_count((double)p->total, of, sizeof of);
    format_count(elapsed > 0 ? (double)done / elapsed : 0, rate, sizeof rate);
    if (!log->terminal) {
        npr_info(log, "%s %3.0f %%  %s of %s %s, %s/s, ETA %s", p->what, 100 * share, n, of, p->unit, rate,
                 eta);
        return;
    }
    char bar[31];
    int full = (int)(30 * (share > 1 ? 1 : share));
    memset(bar, '#', (size_t)full);
    memset(bar + full, '.', (size_t)(30 - full));
    bar[30] = 0;
    fprintf(log->to, "\r\033[K%s %-8s [%s] %3.0f %%  %s of %s %s, %s/s, ETA %s", log->program, p->what, bar,
            100 * share, n, of, p->unit, rate, eta);
    fflush(log->to);
}

static void drain(npr_progress *p)
{
    for (;;) {
        int there = 0;
        MPI_Status from;
        MPI_Iprobe(MPI_ANY_SOURCE, 0, p->comm.mpi, &there, &from);
        if (!there) return;
        MPI_Recv(&p->of_rank[from.MPI_SOURCE], 1, MPI_INT64_T, from.MPI_SOURCE, 0, p->comm.mpi,
                 MPI_STATUS_IGNORE);
    }
}

static void show_if_due(npr_progress *p, double now, int last)
{
    double every = p->log->terminal ? 0.2 : 10;
    if (!last && now - p->last_said < every) return;
    drain(p);
    p->last_said = now;
    int64_t done = 0;
    for (int r = 0; r < p->comm.size; r++) done += p->of_rank[r];
    show(p, done);
}

void npr_progress_add(npr_progress *p, int64_t done)
{
    if (!p) return;
    npr_mark(p->what, 0);
    p->mine += done;
    double now = npr_now();
    if (p->comm.rank == 0) {
        p->of_rank[0] = p->mine;
        show_if_due(p, now, 0);
        return;
    }
    double every = p->log->terminal ? 0.5 : 5;
    if (now - p->last_sent < every) return;
    int free_again = 0;
    MPI_Test(&p->request, &free_again, MPI_STATUS_IGNORE);
    if (!free_again) return;
    p->last_sent = now;
    p->sending = p->mine;
    MPI_Isend(&p->sending, 1, MPI_INT64_T, 0, 0, p->comm.mpi, &p->request);
}

void npr_progress_end(const npr_comm *comm, npr_progress *p)
{
    (void)comm; /* it says that this call is collective; the messages run on the duplicate */
    if (!p) return;
    npr_mark(p->what, 1);
    MPI_Request barrier;
    MPI_Ibarrier(p->comm.mpi, &barrier);
    for (int done = 0; !done;) {
        if (p->comm.rank == 0) show_if_due(p, npr_now(), 0);
        MPI_Test(&barrier, &done, MPI_STATUS_IGNORE);
        if (!done) usleep(200);
    }
    /* all ranks have sent what they will send; rank 0 takes in what is still under way */
    if (p->comm.rank == 0) drain(p);
    MPI_Barrier(p->comm.mpi);
    if (p->comm.rank == 0) drain(p);
    MPI_Wait(&p->request, MPI_STATUS_IGNORE);
    int64_t sum = p->mine;
    npr_sum_i64(&p->comm, &sum, 1);
    if (p->comm.rank == 0) {
        int long_enough = npr_now() - p->start >= 10;
        if (p->log->terminal || long_enough) show(p, sum);
        if (p->log->terminal && !p->log->quiet) fputc('\n', p->log->to);
    }
    npr_comm_free(&p->comm);
    free(p->of_rank);
    free(p);
}
