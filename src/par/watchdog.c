/* watchdog.c - see include/npr/watchdog.h. The thread below is the only one of ours that writes to standard
 * error on its own, and it does so once. */
#include "npr/watchdog.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "npr/log.h"
#include "par/beat.h"
#include "par/verdict.h"

/* What this process is doing. A process has one rank and one watchdog. */
static struct {
    pthread_mutex_t lock;
    npr_beat now;
    int hold;
} mark = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct watchdog {
    pthread_t thread;
    atomic_int running, stop;
    npr_beats beats;
    npr_verdict verdict;
    double answered; /* when a watcher was heard of last */
    double told;     /* when the main thread told a new phase last */
} dog;

/* A new phase is told at once, so that a process that stops in it has told it; but large jobs tell at most
 * about 1,000 of them a second, all ranks together. */
static void tell_phase(const npr_beat *beat)
{
    double now = npr_now();
    if (!atomic_load(&dog.running) || (dog.verdict.size > 64 && now - dog.told < dog.verdict.size / 1000.0))
        return;
    dog.told = now;
    for (int w = 0; w < dog.beats.watchers; w++)
        if (w != dog.verdict.rank) npr_beats_send(&dog.beats, w, beat);
}

static void make_step(const char *phase, int waiting, int hold)
{
    pthread_mutex_lock(&mark.lock);
    int other = phase && strncmp(mark.now.phase, phase, sizeof mark.now.phase - 1) != 0;
    if (other) snprintf(mark.now.phase, sizeof mark.now.phase, "%s", phase);
    mark.now.waiting = waiting;
    mark.now.steps++;
    mark.hold = hold;
    npr_beat beat = mark.now;
    pthread_mutex_unlock(&mark.lock);
    if (other) tell_phase(&beat);
}

void npr_mark(const char *phase, int waiting)
{
    make_step(phase, waiting, 0);
}

void npr_mark_hold(const char *phase)
{
    make_step(phase, 0, phase != NULL);
}

static npr_beat read_mark(void)
{
    pthread_mutex_lock(&mark.lock);
    if (mark.hold) mark.now.steps++;
    npr_beat beat = mark.now;
    pthread_mutex_unlock(&mark.lock);
    return beat;
}

/* Tell the watchers; a watcher tells itself without the network. */
static void tell(struct watchdog *d, double now)
{
    npr_beat beat = read_mark();
    npr_verdict_hear(&d->verdict, &beat, now);
    for (int w = 0; w < d->beats.watchers; w++)
        if (w != d->verdict.rank) npr_beats_send(&d->beats, w, &beat);
}

/* Take in what comes until `end`. */
static void listen_until(struct watchdog *d, double end)
{
    for (double now; (now = npr_now()) < end && !atomic_load(&d->stop);) {
        npr_beat beat;
        struct sockaddr_in from;
        double wait = end - now < 0.1 ? end - now : 0.1; /* how long stopping may take */
        if (!npr_beats_receive(&d->beats, 1 + (int)(1000 * wait), &beat, &from)) continue;
        if (beat.answer && beat.rank >= 0 && beat.rank < d->beats.watchers) {
            npr_beats_keep(&d->beats, beat.rank, &from);
            d->answered = npr_now();
        } else if (!beat.answer && d->verdict.rank < d->beats.watchers) {
            npr_verdict_hear(&d->verdict, &beat, npr_now());
            npr_beats_answer(&d->beats, d->verdict.rank, &from);
        }
    }
}

/* Say why, and leave: MPI_Abort is not for this thread; the launcher ends the others. srun gives its caller
 * the highest code of all ranks, those it killed too: so scripts name a file for the verdict. */
static void end_job(const struct watchdog *d)
{
    const char *path = getenv("NPR_VERDICT");
    double now = npr_now();
    int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : -1;
    npr_verdict_print(&d->verdict, now, STDERR_FILENO);
    if (fd >= 0) npr_verdict_print(&d->verdict, now, fd);
    _exit(NPR_EINTERNAL);
}

static void *watch(void *self)
{
    struct watchdog *d = self;
    double tick = d->verdict.patience / 8 < 10 ? d->verdict.patience / 8 : 10;
    while (!atomic_load(&d->stop)) {
        double now = npr_now();
        tell(d, now);
        listen_until(d, now + tick);
        if (atomic_load(&d->stop)) break;
        double late = npr_now() - now;
        if (late > 3 * tick + 0.5) { /* this process was stopped itself: what it knows is old */
            npr_verdict_forgive(&d->verdict, npr_now());
            d->answered = npr_now();
        } else if (npr_verdict_stuck(&d->verdict, d->answered, npr_now())) {
            end_job(d);
        }
    }
    return NULL;
}

/* Signals are for the main thread. */
static npr_status start_thread(struct watchdog *d)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    int rc = pthread_create(&d->thread, NULL, watch, d);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    atomic_store(&d->running, rc == 0);
    return rc ? npr_fail(NPR_EINTERNAL, "the watchdog's thread: %s", strerror(rc)) : NPR_OK;
}

npr_status npr_watchdog_start(const npr_comm *comm, const char *program, double seconds)
{
    if (seconds <= 0) return NPR_OK;
    struct watchdog *d = &dog;
    NPR_TRY(npr_beats_open(comm, &d->beats));
    pthread_mutex_lock(&mark.lock);
    mark.now.job = d->beats.job;
    mark.now.rank = comm->rank;
    mark.now.process = (int32_t)getpid();
    gethostname(mark.now.host, sizeof mark.now.host - 1);
    pthread_mutex_unlock(&mark.lock);
    d->answered = npr_now();
    npr_status st =
        npr_verdict_make(&d->verdict, program, comm->rank, comm->size, d->beats.watchers, seconds);
    if (!st) st = start_thread(d);
    st = npr_agree(comm, st, "watchdog");
    if (st) npr_watchdog_stop();
    return st;
}

void npr_watchdog_stop(void)
{
    struct watchdog *d = &dog;
    atomic_store(&d->stop, 1);
    int running = atomic_exchange(&d->running, 0);
    if (running) pthread_join(d->thread, NULL);
    if (running || d->verdict.of) npr_beats_close(&d->beats);
    npr_verdict_free(&d->verdict);
    atomic_store(&d->stop, 0);
}
