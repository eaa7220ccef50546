/* fuzz_tar.c - bytes as a tar archive: its members, its samples, and what they say. */
#include <stdint.h>
#include <stdlib.h>

#include "fuzz/memory_file.h"
#include "io/images.h"
#include "io/samples.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* A member lies inside of the file, behind the one before it. */
static void walk(const char *path, int64_t n)
{
    npr_tar *t;
    npr_tar_member m;
    int64_t before = 0, last = -1;
    int there;
    if (npr_tar_open(path, &t)) return;
    while (!npr_tar_next(t, &m, &there) && there) {
        if (m.header < before || m.offset < m.header || m.bytes < 0 || m.offset + m.bytes > n) abort();
        before = m.offset + m.bytes;
        last = m.header;
    }
    if (last >= 0 && !npr_tar_seek(t, last)) (void)npr_tar_next(t, &m, &there);
    npr_tar_close(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    npr_samples *s;
    const npr_sample *sample;
    const char *text;
    npr_images_file facts = {0};
    const char *path = memory_file(bytes, n);
    walk(path, (int64_t)n);
    (void)npr_images_scan_tar(path, &facts);
    free(facts.mark);
    if (npr_samples_open(path, &s)) return 0;
    while (!npr_samples_next(s, &sample) && sample) {
        const npr_span part[4] = {sample->image, sample->text, sample->json, sample->class};
        for (int i = 0; i < 4; i++)
            if (part[i].bytes >= 0 && npr_samples_read(s, part[i], &text)) abort();
    }
    npr_samples_close(s);
    return 0;
}
