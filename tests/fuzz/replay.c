/* replay.c - main() of a fuzz target in the ordinary suite: every file of a folder as it is, cut off at every
 * length, and with each byte changed in two ways. Crashes, sanitizers and the test's timeout do the judging.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static long runs;

/* From memory of just this size, so that a sanitizer sees a step beyond. */
static void run(const uint8_t *bytes, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    if (!copy) abort();
    if (n) memcpy(copy, bytes, n);
    LLVMFuzzerTestOneInput(copy, n);
    free(copy);
    runs++;
}

static void run_file(const char *path)
{
    enum { MOST = 1 << 16 };
    static uint8_t bytes[MOST];
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        exit(1);
    }
    size_t n = fread(bytes, 1, MOST, f);
    fclose(f);
    for (size_t i = 0; i <= n; i++) run(bytes, i);
    for (size_t i = 0; i < n; i++)
        for (int way = 0; way < 2; way++) {
            uint8_t change = (uint8_t)(way ? 0xff : 1 << i % 8);
            bytes[i] ^= change;
            run(bytes, n);
            bytes[i] ^= change;
        }
}

int main(int argc, char **argv)
{
    char path[4096];
    DIR *d = argc == 2 ? opendir(argv[1]) : NULL;
    if (!d) {
        fprintf(stderr, "usage: %s FOLDER (that can be read)\n", argv[0]);
        return 64;
    }
    int files = 0;
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", argv[1], e->d_name);
        run_file(path);
        files++;
    }
    closedir(d);
    printf("%d seeds, %ld runs\n", files, runs);
    return files ? 0 : 1;
}
