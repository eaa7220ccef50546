/* The watchdog leaves a job alone in which only one rank moves, or one is inside a long call. With an
 * argument this is a job that hangs (tests/par/watchdog.sh): "lost": rank 1 leaves out a collective; "deaf":
 * ranks 0 and 1 are stopped. */
#include "test.h"

#include <signal.h>

#include "npr/watchdog.h"

static void wait_for(double seconds)
{
    usleep((useconds_t)(1e6 * seconds));
}

/* For five times the patience. */
static void slow_rank(const npr_comm *c)
{
    CHECK_OK(npr_watchdog_start(c, "test_watchdog", 0.4));
    for (int i = 0; i < 20 && c->rank == c->size - 1; i++) {
        wait_for(0.1);
        npr_mark("alone", 0);
    }
    CHECK_OK(npr_agree(c, NPR_OK, "slow"));
    npr_watchdog_stop();
}

static void long_call(const npr_comm *c)
{
    CHECK_OK(npr_watchdog_start(c, "test_watchdog", 0.4));
    if (c->rank == c->size - 1) {
        npr_mark_hold("a long call");
        wait_for(2);
        npr_mark_hold(NULL);
    }
    CHECK_OK(npr_agree(c, NPR_OK, "hold"));
    npr_watchdog_stop();
}

static void off(const npr_comm *c)
{
    CHECK_OK(npr_watchdog_start(c, "test_watchdog", 0));
    npr_watchdog_stop();
    npr_watchdog_stop();
}

static void hang(const npr_comm *c, const char *how)
{
    CHECK_OK(npr_watchdog_start(c, "test_watchdog", 1));
    wait_for(0.5); /* the first beats are out */
    npr_mark("counting", 0);
    if (!strcmp(how, "deaf") && c->rank < 2) raise(SIGSTOP);
    if (!strcmp(how, "lost") && c->rank == 1) wait_for(60);
    (void)npr_agree(c, NPR_OK, "a sum");
}

int main(int argc, char **argv)
{
    MPI_Init(NULL, NULL);
    npr_comm c = npr_comm_make(MPI_COMM_WORLD);
    if (argc > 1) {
        hang(&c, argv[1]);
    } else {
        off(&c);
        slow_rank(&c);
        long_call(&c);
    }
    npr_comm_free(&c);
    MPI_Finalize();
    return TEST_END();
}
