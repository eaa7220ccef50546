/* The record: order, escaping, formats, time reduction. */
#include "test.h"

#include "npr/record.h"

/* A line for which there is no memory is left out, and counted. Comes first: a fault is read once. */
static void check_lost(void)
{
    setenv("NPR_FAULT", "record.line@0:2", 1);
    npr_record *r = npr_record_make();
    npr_record_int(r, "result.one", 1);
    npr_record_int(r, "result.two", 2);
    npr_record_int(r, "result.three", 3);
    CHECK_INT(npr_record_lost(r), 1);
    CHECK(npr_record_get(r, "result.two") == NULL);
    CHECK_TEXT(npr_record_get(r, "result.three"), "3");
    npr_record_free(r);
}

int main(void)
{
    MPI_Init(NULL, NULL);
    npr_comm c = npr_comm_make(MPI_COMM_WORLD);
    check_lost();
    npr_record *r = npr_record_make();
    npr_record_text(r, "option.in", "a\nb=\\c");
    npr_record_int(r, "result.rows", 1234567890123);
    npr_record_real(r, "result.share", 0.1);
    npr_record_real(r, "check.sum", 0.1);
    npr_record_time(&c, r, "scan", (double)c.rank);
    CHECK_TEXT(npr_record_get(r, "time.scan.min"), "0");
    char want[32];
    snprintf(want, sizeof want, "%d", c.size - 1);
    CHECK_TEXT(npr_record_get(r, "time.scan.max"), want);
    CHECK_TEXT(npr_record_get(r, "time.scan.slowest"), want);
    CHECK(npr_record_get(r, "absent") == NULL);
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    CHECK_OK(npr_record_print(r, f));
    fclose(f);
    const char *head = "option.in=a\\x0ab=\\x5cc\nresult.rows=1234567890123\nresult.share=0.1\ncheck.sum=0."
                       "10000000000000001\n";
    CHECK(strncmp(text, head, strlen(head)) == 0);
    free(text);
    FILE *full = fopen("/dev/full", "w");
    if (full) {
        CHECK_FAILS(npr_record_print(r, full), NPR_EIO, "cannot write the record");
        fclose(full);
    }
    npr_record_free(r);
    npr_comm_free(&c);
    MPI_Finalize();
    return TEST_END();
}
