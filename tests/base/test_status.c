/* Failures: codes, texts, escaping, context, injected faults. */
#include "test.h"

#include <errno.h>
#include <signal.h>

static volatile sig_atomic_t got_usr1;

static void on_usr1(int s)
{
    (void)s;
    got_usr1 = 1;
}

static void texts(void)
{
    CHECK_INT(npr_fail(NPR_EDATA, "%s: row %d", "a.npy", 7), NPR_EDATA);
    CHECK_INT(npr_last(), NPR_EDATA);
    CHECK(strstr(npr_status_text(), "a.npy: row 7 [") != NULL);
    npr_fail_at("../../jobs/job.c", 7, NPR_EIO, "x");
    CHECK_TEXT(npr_status_text(), "x [jobs/job.c:7]");
    npr_fail(NPR_EIO, "evil\n\033[31mname\x7f \xc3\xa9");
    CHECK(strstr(npr_status_text(), "evil\\x0a\\x1b[31mname\\x7f \xc3\xa9") != NULL);
    CHECK_INT(npr_context(NPR_EIO, "part %d", 3), NPR_EIO);
    CHECK(strncmp(npr_status_text(), "part 3: evil", 12) == 0);
    CHECK_INT(npr_context(NPR_OK, "not used"), NPR_OK);
    CHECK(strncmp(npr_status_text(), "part 3: evil", 12) == 0);
    char big[5000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = 0;
    npr_fail(NPR_EDATA, "%s", big); /* cut, not overrun */
    CHECK(strlen(npr_status_text()) < 2048);
}

static void errnos(void)
{
    CHECK_INT(npr_status_from_errno(ENOENT), NPR_ENOINPUT);
    CHECK_INT(npr_status_from_errno(EACCES), NPR_ENOINPUT);
    CHECK_INT(npr_status_from_errno(ENOSPC), NPR_EIO);
    CHECK_INT(npr_status_from_errno(ENOMEM), NPR_EINTERNAL);
}

static void faults(void)
{
    setenv("NPR_FAULT", "disk@2:3", 1); /* read at the first passage of any point */
    npr_fault_rank(1);
    for (int i = 0; i < 5; i++) CHECK_INT(npr_fault("disk"), 0);
    npr_fault_rank(2);
    CHECK_INT(npr_fault("disk"), 0);
    CHECK_INT(npr_fault("other"), 0);
    CHECK_INT(npr_fault("disk"), 0);
    CHECK_INT(npr_fault("disk"), 1);
    CHECK_INT(npr_fault("disk"), 0);
}

int main(void)
{
    signal(SIGUSR1, on_usr1);
    texts();
    errnos();
    faults();
    CHECK_INT(got_usr1, 0);
    return TEST_END();
}
