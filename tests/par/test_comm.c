/* Agreement: who fails, whose text, on how many ranks; collectives against what they must give. */
#include "test.h"

#include <signal.h>

#include "npr/comm.h"

static void agreement(const npr_comm *c)
{
    CHECK_OK(npr_agree(c, NPR_OK, "nothing"));
    int last = c->size - 1;
    npr_status st = c->rank == last ? npr_fail(NPR_EIO, "disk full on %d", c->rank) : NPR_OK;
    char words[64];
    snprintf(words, sizeof words, "scan failed on 1 of %d ranks; rank %d (", c->size, last);
    CHECK_FAILS(npr_agree(c, st, "scan"), NPR_EIO, words);
    CHECK(strstr(npr_status_text(), "disk full on") != NULL);
    /* all fail: the first rank's text */
    CHECK_FAILS(npr_agree(c, npr_fail(NPR_EDATA, "bad row of %d", c->rank), "read"), NPR_EDATA,
                "bad row of 0");
    /* a request to stop gives way to a real failure, and alone is not called one */
    st = c->rank == 0 ? npr_fail(NPR_ESTOP, "asked") : NPR_OK;
    if (c->rank == last && c->size > 1) st = npr_fail(NPR_EDATA, "truncated");
    if (c->size > 1) CHECK_FAILS(npr_agree(c, st, "scan"), NPR_EDATA, "truncated");
    st = c->rank == 0 ? npr_fail(NPR_ESTOP, "asked to stop") : NPR_OK;
    CHECK_FAILS(npr_agree(c, st, "scan"), NPR_ESTOP, "asked to stop");
    CHECK(strstr(npr_status_text(), "failed on") == NULL);
}

/* Odd and even ranks apart. */
static void parts(const npr_comm *c)
{
    npr_comm part = npr_comm_split(c, c->rank % 2);
    int64_t one = 1;
    CHECK_INT(part.size, (c->size + 1 - c->rank % 2) / 2);
    CHECK_INT(part.rank, c->rank / 2);
    npr_sum_i64(&part, &one, 1);
    CHECK_INT(one, part.size);
    npr_comm_free(&part);
}

static void sums(const npr_comm *c)
{
    int64_t n = c->size, v[2] = {c->rank, 1}, m = c->rank, all[64];
    npr_sum_i64(c, v, 2);
    CHECK_INT(v[0], n * (n - 1) / 2);
    CHECK_INT(v[1], n);
    npr_max_i64(c, &m, 1);
    CHECK_INT(m, n - 1);
    double d = -c->rank, e = 0x1p-24 * (c->rank + 1);
    npr_max_f64(c, &d, 1);
    CHECK_NEAR(d, 0, 0);
    npr_sum_f64_exact(c, &e, 1);
    CHECK_NEAR(e, 0x1p-24 * (double)(n * (n + 1) / 2), 0);
    npr_gather_i64(c, 10 + c->rank, all);
    for (int r = 0; r < n; r++) CHECK_INT(all[r], 10 + r);
    int owned = 0;
    for (int p = 0; p < 100; p++) owned += npr_owns(c, p);
    int64_t total = owned;
    npr_sum_i64(c, &total, 1);
    CHECK_INT(total, 100);
}

static void gathered(const npr_comm *c, int root)
{
    char mine[64], *all;
    memset(mine, 'a' + c->rank, sizeof mine);
    size_t n = (size_t)(c->rank * 3 % 5); /* some ranks give nothing */
    int64_t *offset;
    CHECK_OK(npr_gather_bytes(c, mine, n, root, &all, &offset));
    int here = root < 0 || c->rank == root;
    CHECK((all != NULL) == here);
    for (int r = 0; r < c->size; r++) {
        CHECK_INT(offset[r + 1] - offset[r], r * 3 % 5);
        for (int64_t i = offset[r]; here && i < offset[r + 1]; i++) CHECK_INT(all[i], 'a' + r);
    }
    free(all);
    free(offset);
}

static void texts(const npr_comm *c)
{
    char *text = c->rank == 0 ? strdup("a \xc3\xa9 text") : NULL;
    CHECK_OK(npr_bcast_text(c, &text, 0));
    CHECK_TEXT(text, "a \xc3\xa9 text");
    free(text);
    text = NULL;
    CHECK_OK(npr_bcast_text(c, &text, 0));
    CHECK(text == NULL);
}

static void stopping(const npr_comm *c)
{
    npr_stop_install();
    CHECK_OK(npr_agree_stop(c, "scan"));
    MPI_Barrier(c->mpi);
    if (c->rank == c->size - 1) raise(SIGUSR1);
    CHECK_FAILS(npr_agree_stop(c, "scan"), NPR_ESTOP, "run the same command again");
}

int main(void)
{
    MPI_Init(NULL, NULL);
    npr_comm c = npr_comm_make(MPI_COMM_WORLD);
    agreement(&c);
    parts(&c);
    sums(&c);
    gathered(&c, 0);
    gathered(&c, c.size - 1);
    gathered(&c, -1);
    texts(&c);
    stopping(&c);
    npr_comm_free(&c);
    MPI_Finalize();
    return TEST_END();
}
