/* yield.c - ranks of tests sleep while they wait. Open MPI waits in a loop that calls sched_yield()
 * (mpi_yield_when_idle), but Linux gives a process that yields as much of the cores as one that works: of
 * seven ranks on two cores the one that the others wait for has two sevenths. This sched_yield(), which
 * tests/CMakeLists.txt loads into ranks, sleeps when some calls in a row came to nothing, longer each time.
 */
#include <sched.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { YIELDS = 20, SLEEP_NS = 20000, LONGEST_NS = 500000, WORK_NS = 20000 };

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int sched_yield(void)
{
    static _Thread_local int64_t last;
    static _Thread_local int calls, sleep_ns = SLEEP_NS;
    if (!last) prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);       /* else 50 us are added to each sleep */
    if (now_ns() - last > WORK_NS) calls = 0, sleep_ns = SLEEP_NS; /* who comes late has done something */
    if (calls < YIELDS) {
        calls++;
        syscall(SYS_sched_yield);
    } else {
        nanosleep(&(struct timespec){0, sleep_ns}, NULL);
        if (sleep_ns < LONGEST_NS) sleep_ns *= 2;
    }
    last = now_ns();
    return 0;
}
