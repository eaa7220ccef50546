/* memory_file.h - a file in memory with a path, for what reads files. */
#ifndef NPR_TEST_MEMORY_FILE_H
#define NPR_TEST_MEMORY_FILE_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Its path, with these bytes in it. There is one at a time. */
static inline const char *memory_file(const void *bytes, size_t n)
{
    static int fd = -1;
    static char path[32];
    if (fd < 0 && (fd = memfd_create("input", MFD_CLOEXEC)) < 0) abort();
    if (ftruncate(fd, 0) || pwrite(fd, bytes, n, 0) != (ssize_t)n) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return path;
}

#endif
