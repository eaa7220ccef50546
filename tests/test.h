/* test.h - a unit test in one header. A test program lists functions in TESTS(); each CHECK that fails prints
 * file, line and values, the program goes on and exits 1. A test without its data ends with SKIP("why"): exit
 * code 77. */
#ifndef NPR_TEST_H
#define NPR_TEST_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "npr/status.h"

static int test_failures;

#define CHECK(cond)                                                                                          \
    do {                                                                                                     \
        if (!(cond)) {                                                                                       \
            fprintf(stderr, "%s:%d: CHECK failed: %s\n", __FILE__, __LINE__, #cond);                         \
            test_failures++;                                                                                 \
        }                                                                                                    \
    } while (0)

#define CHECK_INT(a, b)                                                                                      \
    do {                                                                                                     \
        long long a_ = (long long)(a), b_ = (long long)(b);                                                  \
        if (a_ != b_) {                                                                                      \
            fprintf(stderr, "%s:%d: %s is %lld, %s is %lld\n", __FILE__, __LINE__, #a, a_, #b, b_);          \
            test_failures++;                                                                                 \
        }                                                                                                    \
    } while (0)

#define CHECK_NEAR(a, b, tol)                                                                                \
    do {                                                                                                     \
        double a_ = (a), b_ = (b);                                                                           \
        if (!(fabs(a_ - b_) <= (tol))) {                                                                     \
            fprintf(stderr, "%s:%d: %s is %.17g, %s is %.17g\n", __FILE__, __LINE__, #a, a_, #b, b_);        \
            test_failures++;                                                                                 \
        }                                                                                                    \
    } while (0)

#define CHECK_TEXT(a, b)                                                                                     \
    do {                                                                                                     \
        const char *a_ = (a), *b_ = (b);                                                                     \
        if (strcmp(a_, b_) != 0) {                                                                           \
            fprintf(stderr, "%s:%d: %s is \"%s\", wanted \"%s\"\n", __FILE__, __LINE__, #a, a_, b_);         \
            test_failures++;                                                                                 \
        }                                                                                                    \
    } while (0)

/* The call must succeed; its message is shown if it does not. */
#define CHECK_OK(call)                                                                                       \
    do {                                                                                                     \
        npr_status st_ = (call);                                                                             \
        if (st_) {                                                                                           \
            fprintf(stderr, "%s:%d: %s failed with %d: %s\n", __FILE__, __LINE__, #call, st_,                \
                    npr_status_text());                                                                      \
            test_failures++;                                                                                 \
        }                                                                                                    \
    } while (0)

/* The call must fail with this code and a text that contains these words. */
#define CHECK_FAILS(call, code, words)                                                                       \
    do {                                                                                                     \
        npr_status st_ = (call);                                                                             \
        if (st_ != (code) || !strstr(npr_status_text(), words)) {                                            \
            fprintf(stderr, "%s:%d: %s gave %d \"%s\", wanted %d \"...%s...\"\n", __FILE__, __LINE__, #call, \
                    st_, st_ ? npr_status_text() : "", code, words);                                         \
            test_failures++;                                                                                 \
        }                                                                                                    \
    } while (0)

#define SKIP(why)                                                                                            \
    do {                                                                                                     \
        fprintf(stderr, "skipped: %s\n", why);                                                               \
        exit(77);                                                                                            \
    } while (0)

/* Path of a reference file, or NULL if this machine has none. The buffer is static. */
static inline const char *test_data(const char *name)
{
    static char path[4096];
    const char *root = getenv("NPR_TEST_DATA");
    snprintf(path, sizeof path, "%s/%s", root ? root : "../shared/data", name);
    return access(path, R_OK) == 0 ? path : NULL;
}

/* NPR_TEST_SHARE=N, where a CPU is emulated (tests/emulated_cpu.sh) and so thousands of times slower: a test
 * that would take long takes one in N of its cases. Otherwise 1: all of them. */
static inline int test_share(void)
{
    const char *share = getenv("NPR_TEST_SHARE");
    int n = share ? atoi(share) : 1;
    return n > 1 ? n : 1;
}

/* A fresh empty folder for this process, kept under the same name until exit. */
static inline const char *test_folder(void)
{
    static char path[64];
    if (!path[0]) {
        const char *root = getenv("TMPDIR");
        snprintf(path, sizeof path, "%s/npr-test-XXXXXX", root && strlen(root) < 40 ? root : "/tmp");
        if (!mkdtemp(path)) {
            perror(path);
            exit(1);
        }
    }
    return path;
}

/* Remove it again (call at the end of main). */
static inline void test_folder_remove(void)
{
    char command[96];
    snprintf(command, sizeof command, "rm -rf '%s'", test_folder());
    if (system(command) != 0) fprintf(stderr, "cannot remove %s\n", test_folder());
}

#define TEST_END() (test_failures ? (fprintf(stderr, "%d checks failed\n", test_failures), 1) : 0)

#endif
