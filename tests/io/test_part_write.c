/* test_part_write.c - writing that fails: injected faults, no memory, a full disk. Nothing is left, nothing
 * crashes. */
#include <sys/mount.h>
#include <sys/wait.h>

#include "io/part.h"
#include "sample.h"

enum { DIM = 8, ROWS = 3000, FEW = 1 << NPR_EMB | 1 << NPR_ID | 1 << NPR_URL | 1 << NPR_SOURCE };

/* HDF5 loses some of its own memory when a file is damaged or a write fails. Asked by the leak sanitizer. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libhdf5";
}

static int write_part(const char *folder)
{
    npr_part_entry e;
    return (int)sample_part(folder, 0, SAMPLE_ALL, DIM, 0, ROWS, 700, &e);
}

static int write_and_read_part(const char *folder)
{
    npr_part_entry e;
    npr_part_report report;
    npr_status st = sample_part(folder, 0, FEW, DIM, 0, 40, 40, &e);
    if (st) return (int)st;
    npr_set *set = npr_set_new(folder, "test", "unknown", "job");
    if (!set) return NPR_EINTERNAL;
    set->columns = FEW;
    set->dim = DIM;
    st = npr_set_put_parts(set, &e, 1);
    if (!st) st = npr_part_verify(set, 0, &report);
    if (!st) st = sample_index(set, "blob", 4);
    return (int)st;
}

/* A job with a fault injected; its exit status as wait() gives it. The child is as a program just begun: this
 * process, its parent, never comes by a fault's point, nor into HDF5. */
static int in_child(const char *fault, int (*job)(const char *folder), const char *folder)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        setenv("NPR_FAULT", fault, 1);
        _exit(job(folder));
    }
    waitpid(child, &status, 0);
    return status;
}

static void test_faults(void)
{
    static const struct {
        const char *fault;
        npr_status code;
    } cases[] = {{"part.create@0", NPR_ECREATE}, {"part.write@0", NPR_EIO},    {"part.write@0:2", NPR_EIO},
                 {"part.write@0:13", NPR_EIO},   {"part.write@0:25", NPR_EIO}, {"part.close@0", NPR_EIO},
                 {"part.verify@0", NPR_EIO},     {"part.verify@0:5", NPR_EIO}, {"part.rename@0", NPR_EIO},
                 {"file.sync@0", NPR_EIO},       {"file.rename@0", NPR_EIO}};
    char *folder = sample_folder("faults");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int status = in_child(cases[i].fault, write_part, folder);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != (int)cases[i].code) {
            fprintf(stderr, "%s: status %#x, wanted exit %d\n", cases[i].fault, status, cases[i].code);
            test_failures++;
        }
        CHECK_INT(sample_files(folder), 0);
    }
    static const char *const kills[] = {"part.write@0:7=kill", "part.close@0=kill", "part.verify@0=kill",
                                        "file.sync@0=kill"};
    for (size_t i = 0; i < sizeof kills / sizeof *kills; i++) {
        int status = in_child(kills[i], write_part, folder);
        char path[256];
        snprintf(path, sizeof path, "%s/part-00000.h5", folder);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        CHECK(access(path, F_OK) != 0); /* only a temporary file is left */
    }
}

/* Memory fails at the first, second, ... allocation, until there are no more: always a status, never a crash.
 */
static void test_out_of_memory(void)
{
    char *folder = sample_folder("memory");
    int n = 1, status;
    do {
        char fault[64];
        snprintf(fault, sizeof fault, "alloc@0:%d", n++);
        status = in_child(fault, write_and_read_part, folder);
        if (!WIFEXITED(status) || (WEXITSTATUS(status) && WEXITSTATUS(status) != NPR_EINTERNAL)) {
            fprintf(stderr, "%s: status %#x\n", fault, status);
            test_failures++;
            break;
        }
    } while (WEXITSTATUS(status) && n < 1000);
    CHECK(n > 50 && n < 1000);
}

/* A file system too small: every size of it, so that every write meets its end once. */
static void test_disk_full(void)
{
    char *folder = sample_folder("full"), options[32];
    for (int kib = 4; kib <= 8192; kib += 4 + kib / 5) {
        snprintf(options, sizeof options, "size=%dk", kib);
        if (mount("tmpfs", folder, "tmpfs", 0, options)) {
            fprintf(stderr, "no small file system here (needs root): writing to a full disk is not tested\n");
            return;
        }
        int status = in_child("none@0", write_part, folder), left = sample_files(folder);
        CHECK(WIFEXITED(status));
        int code = WEXITSTATUS(status);
        CHECK(code == NPR_OK || code == NPR_EIO);
        CHECK_INT(left, code == NPR_OK);
        if (kib < 2000) CHECK(code != NPR_OK);
        if (umount2(folder, MNT_DETACH)) perror(folder);
        if (code == NPR_OK) break;
        CHECK(kib < 6000); /* it must fit some day */
    }
}

int main(void)
{
    test_faults();
    test_out_of_memory();
    test_disk_full();
    test_folder_remove();
    return TEST_END();
}
