/* vocabulary_read.c - the file of a vocabulary, gzip or plain, through zlib. See vocabulary.h.
 *
 * A comment line, then one merge a line; those beyond what the model has are not used, but read, so that
 * gzip's checksum is compared. What a file may cost is bounded: its lines, and all that it inflates to. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "base/file.h"
#include "base/mem.h"
#include "clip/vocabulary.h"

enum { BLOCK = 1 << 16, LINE_MAX_BYTES = 1024, INFLATED_MAX = 64 << 20 };

typedef struct reader {
    const char *path;
    gzFile file;
    char *block;           /* [BLOCK] */
    size_t at, end, total; /* of the block; all bytes so far */
    char line[LINE_MAX_BYTES];
    size_t n;
    int number; /* of the line, from 1 */
} reader;

static npr_status open_file(const char *path, gzFile *file)
{
    int fd;
    int64_t bytes;
    NPR_TRY(npr_file_open(path, &fd, &bytes));
    if ((*file = gzdopen(fd, "rb"))) return NPR_OK;
    close(fd);
    return npr_fail(NPR_EINTERNAL, "%s: zlib: out of memory", path);
}

/* More bytes, none at the end. */
static npr_status refill(reader *r)
{
    int error = Z_OK;
    int n = gzread(r->file, r->block, BLOCK);
    r->at = r->end = 0;
    const char *why = gzerror(r->file, &error);
    if (n < 0 || error != Z_OK)
        return npr_fail(error == Z_ERRNO ? NPR_EIO : NPR_EDATA, "%s: cannot be inflated: %s", r->path,
                        error == Z_BUF_ERROR ? "it ends early"
                        : error == Z_ERRNO   ? strerror(errno)
                                             : why);
    r->end = (size_t)n;
    r->total += r->end;
    if (r->total > INFLATED_MAX)
        return npr_fail(NPR_EDATA, "%s: longer than %d MiB: no vocabulary", r->path, INFLATED_MAX >> 20);
    return NPR_OK;
}

/* The next line, without its line break; 0 to *found at the end. */
static npr_status next_line(reader *r, int *found)
{
    r->n = 0;
    r->number++;
    for (*found = 0;;) {
        if (r->at == r->end) {
            NPR_TRY(refill(r));
            if (r->end == 0) break;
        }
        *found = 1;
        const char *from = r->block + r->at, *stop = memchr(from, '\n', r->end - r->at);
        size_t n = stop ? (size_t)(stop - from) : r->end - r->at;
        if (n > LINE_MAX_BYTES - r->n)
            return npr_fail(NPR_EDATA, "%s, line %d: longer than %d bytes", r->path, r->number,
                            LINE_MAX_BYTES);
        memcpy(r->line + r->n, from, n);
        r->n += n;
        r->at += n + (stop != NULL);
        if (stop) break;
    }
    if (r->n && r->line[r->n - 1] == '\r') r->n--;
    return NPR_OK;
}

/* The first line is a comment: a file that has none would lose its first merge. */
static npr_status read_comment(reader *r)
{
    int found;
    NPR_TRY(next_line(r, &found));
    if (!found) return npr_fail(NPR_EDATA, "%s: empty: no vocabulary", r->path);
    if (memchr(r->line, '#', r->n) == NULL || r->n < 4)
        return npr_fail(NPR_EDATA, "%s, line 1: wanted a comment (\"#version: ...\"), found \"%.*s\"",
                        r->path, (int)(r->n < 40 ? r->n : 40), r->line);
    return NPR_OK;
}

static npr_status read_merges(reader *r, int merges, npr_vocabulary *v)
{
    int found = 1;
    NPR_TRY(npr_vocabulary_begin(v));
    NPR_TRY(read_comment(r));
    while (v->merges < merges) {
        NPR_TRY(next_line(r, &found));
        if (!found)
            return npr_fail(NPR_EDATA, "%s: %d merges, the model's vocabulary of %d tokens has %d", r->path,
                            v->merges, merges + NPR_VOCAB_FIXED, merges);
        NPR_TRY(npr_vocabulary_add(v, r->line, r->n, r->path, r->number));
    }
    while (r->end) NPR_TRY(refill(r));
    return npr_vocabulary_end(v);
}

npr_status npr_vocabulary_read(const char *path, int vocab, npr_vocabulary *v)
{
    reader r = {.path = path};
    if (vocab < NPR_VOCAB_FIXED || vocab > NPR_VOCAB_MAX)
        return npr_fail(NPR_EDATA, "%s: a vocabulary has %d to %d tokens, the model wants %d", path,
                        NPR_VOCAB_FIXED, NPR_VOCAB_MAX, vocab);
    NPR_TRY(open_file(path, &r.file));
    npr_status st = NPR_OK;
    if (!(r.block = npr_alloc(BLOCK, 1, "a vocabulary"))) st = npr_last();
    if (!st) st = read_merges(&r, vocab - NPR_VOCAB_FIXED, v);
    if (gzclose_r(r.file) != Z_OK && !st) st = npr_fail(NPR_EDATA, "%s: it ends early", path);
    free(r.block);
    return st;
}

const char *npr_vocabulary_zlib_version(void)
{
    static char text[48];
    snprintf(text, sizeof text, "zlib %s", zlibVersion());
    return text;
}
