/* fetch.c - the bytes of an image from wherever it lies. See images.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "io/images.h"

static void close_file(npr_fetch *f)
{
    if (f->path) close(f->fd);
    free(f->path);
    f->path = NULL;
}

void npr_fetch_free(npr_fetch *f)
{
    close_file(f);
    free(f->bytes);
    *f = (npr_fetch){0};
}

/* Images of one archive follow one another: its file stays open. */
static npr_status open_file(npr_fetch *f, const char *path, int *good)
{
    *good = 1;
    if (f->path && !strcmp(f->path, path)) return NPR_OK;
    close_file(f);
    *good = 0;
    int fd;
    int64_t bytes;
    if (npr_file_open(path, &fd, &bytes)) return NPR_OK; /* an image that cannot be read is counted */
    if (!(f->path = npr_strdup(path))) {
        close(fd);
        return npr_last();
    }
    f->fd = fd;
    *good = 1;
    return NPR_OK;
}

static int read_all(npr_fetch *f, int64_t offset)
{
    for (size_t got = 0; got < f->n;) {
        ssize_t m = pread(f->fd, f->bytes + got, f->n - got, offset + (off_t)got);
        if (m < 0 && errno == EINTR) continue;
        if (m <= 0) return 0;
        got += (size_t)m;
    }
    return 1;
}

npr_status npr_fetch_image(npr_fetch *f, const npr_image_at *at, npr_image_fault *fault)
{
    struct stat s;
    int good;
    int64_t bytes = at->bytes;
    f->n = 0;
    *fault = NPR_IMAGE_UNREADABLE;
    NPR_TRY(open_file(f, at->path, &good));
    if (!good) return NPR_OK;
    if (bytes < 0) {
        if (fstat(f->fd, &s)) return NPR_OK;
        bytes = (int64_t)s.st_size;
    }
    *fault = bytes > NPR_IMAGE_BYTES ? NPR_IMAGE_TOO_LARGE : NPR_IMAGE_UNREADABLE;
    if (bytes > NPR_IMAGE_BYTES || at->offset < 0) return NPR_OK;
    NPR_TRY(npr_grow(&f->bytes, &f->cap, (size_t)bytes, 1, "an image file"));
    f->n = (size_t)bytes;
    if (read_all(f, at->offset)) *fault = NPR_IMAGE_OK;
    return NPR_OK;
}
