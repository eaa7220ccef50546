/* Log and progress: who speaks, one line each, and progress that ends whatever the ranks did. */
#include "test.h"

#include "npr/log.h"

int main(void)
{
    MPI_Init(NULL, NULL);
    npr_comm c = npr_comm_make(MPI_COMM_WORLD);
    npr_log log = npr_log_make(&c, "test", 0);
    log.terminal = 0;
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    log.to = f;
    npr_info(&log, "hello %d", 1);
    npr_warn(&log, "careful");
    npr_warn_here(&log, "mine");
    fflush(f);
    CHECK((strstr(text, "test: hello 1\n") != NULL) == (c.rank == 0));
    CHECK((strstr(text, "warning: careful\n") != NULL) == (c.rank == 0));
    char mine[64];
    snprintf(mine, sizeof mine, "warning: rank %d: mine\n", c.rank);
    CHECK(strstr(text, mine) != NULL);

    log.terminal = 1; /* redrawn often, so that this short test sees it */
    npr_progress *p = npr_progress_start(&c, &log, "scan", "rows", 1000 * c.size);
    for (int i = 0; i < 1000; i += 100) {
        if (c.rank != 1) npr_progress_add(p, 100); /* rank 1 does nothing at all */
        usleep(1000 * (unsigned)(c.rank % 3));
    }
    npr_progress_end(&c, p);
    fflush(f);
    if (c.rank == 0) {
        char want[64];
        snprintf(want, sizeof want, "%3.0f %%", c.size > 1 ? 100.0 * (c.size - 1) / c.size : 100.0);
        CHECK(strstr(text, want) != NULL);
        CHECK(strstr(text, "ETA") != NULL);
    } else {
        CHECK(strstr(text, "scan") == NULL);
    }
    npr_progress_add(NULL, 5);
    npr_progress_end(&c, NULL);
    fclose(f);
    free(text);
    npr_comm_free(&c);
    MPI_Finalize();
    return TEST_END();
}
