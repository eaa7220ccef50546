/* measure.c - see measure.h. */
#include "base/measure.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/linalg.h"
#include "base/mem.h"

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double npr_measure_read(const void *bytes, size_t n, int threads)
{
    const uint64_t *word = bytes;
    size_t quarter = n / 32;
    uint64_t bits = 0;
    double start = now();
#pragma omp parallel for num_threads(threads) reduction(| : bits) schedule(static)
    for (size_t i = 0; i < quarter; i++)
        bits |= word[i] | word[i + quarter] | word[i + 2 * quarter] | word[i + 3 * quarter];
    double seconds = now() - start;
    /* the bits are used, so that they are computed */
    return bits == 1 ? 0 : 32.0 * (double)quarter / seconds;
}

double npr_measure_gemm(int dim, int threads)
{
    enum { M = 128, N = 1000, ROUNDS = 8 };
    size_t d = (size_t)dim;
    int failed = 0;
    double start = now();
#pragma omp parallel num_threads(threads)
    {
        float *c = npr_alloc_aligned((size_t)M * N, sizeof *c, "a product");
        float *x = npr_alloc_aligned((M + N) * d, sizeof *x, "rows");
        for (size_t i = 0; x && i < (M + N) * d; i++) x[i] = (float)(i % 7) - 3;
        for (int i = 0; c && x && i < ROUNDS; i++) npr_gemm_nt(M, N, dim, x, x + M * d, c, N);
        if (!c || !x) {
#pragma omp atomic write
            failed = 1;
        }
        free(c);
        free(x);
    }
    return failed ? 0 : 2.0 * M * N * dim * ROUNDS * threads / (now() - start);
}

enum { BLOCK = 4 << 20 };

static npr_status write_file(int fd, const char *path, const char *block, size_t bytes, double *seconds)
{
    double start = now();
    for (size_t at = 0; at < bytes; at += BLOCK)
        NPR_TRY(npr_file_write_all(fd, path, block, bytes - at < BLOCK ? bytes - at : BLOCK));
    if (fsync(fd)) return npr_fail(NPR_EIO, "%s: cannot be made durable: %s", path, strerror(errno));
    *seconds = now() - start;
    return NPR_OK;
}

static npr_status read_file(int fd, const char *path, char *block, double *seconds)
{
    ssize_t n;
    if (lseek(fd, 0, SEEK_SET) < 0) return npr_fail(NPR_EIO, "%s: %s", path, strerror(errno));
    double start = now();
    while ((n = read(fd, block, BLOCK)) > 0) {
    }
    if (n < 0) return npr_fail(NPR_EIO, "%s: cannot be read: %s", path, strerror(errno));
    *seconds = now() - start;
    return NPR_OK;
}

/* The share of a file's pages that are in memory; 1 where that cannot be told. */
static double resident_share(int fd, size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = (bytes + page - 1) / page, held = 0;
    void *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    unsigned char *in = npr_alloc(pages, 1, "pages of a file");
    double share = 1;
    if (map != MAP_FAILED && in && !mincore(map, bytes, in)) {
        for (size_t i = 0; i < pages; i++) held += in[i] & 1;
        share = (double)held / (double)pages;
    }
    if (map != MAP_FAILED) (void)munmap(map, bytes);
    free(in);
    return share;
}

static npr_status measure_file(int fd, const char *path, size_t bytes, char *block, npr_measure_disk *d)
{
    double seconds = 0;
    for (size_t i = 0; i < BLOCK; i++)
        block[i] = (char)(i * 2654435761u >> 13); /* nothing a disk could shrink */
    NPR_TRY(write_file(fd, path, block, bytes, &seconds));
    d->write = (double)bytes / seconds;
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); /* whether it was heeded is looked at */
    d->resident = resident_share(fd, bytes);
    NPR_TRY(read_file(fd, path, block, &seconds));
    d->cold = (double)bytes / seconds;
    NPR_TRY(read_file(fd, path, block, &seconds));
    d->cached = (double)bytes / seconds;
    return NPR_OK;
}

npr_status npr_measure_file(const char *path, size_t bytes, npr_measure_disk *d)
{
    char *block = npr_alloc_aligned(BLOCK, 1, "a block of a file");
    int fd = block ? open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
    if (fd < 0) {
        npr_status st =
            block ? npr_fail(NPR_ECREATE, "%s: cannot be made: %s", path, strerror(errno)) : npr_last();
        free(block);
        return st;
    }
    npr_status st = measure_file(fd, path, bytes, block, d);
    (void)close(fd); /* only measured */
    (void)unlink(path);
    free(block);
    return st;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double npr_measure_median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, by_value);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

int64_t npr_measure_memory(void)
{
    struct rusage use;
    return getrusage(RUSAGE_SELF, &use) ? 0 : (int64_t)use.ru_maxrss * 1024;
}
