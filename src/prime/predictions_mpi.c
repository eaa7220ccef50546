/* predictions_mpi.c - what two heads say of every test row: a digest in the record, and a file if one is
 * wanted. See solve.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/mem.h"
#include "prime/solve.h"

/* Rank 0's end of the predictions: a digest, and a file if one is wanted. */
typedef struct sink {
    const char *path; /* NULL: no file */
    char *temporary;
    FILE *file;
    npr_digest *digest;
} sink;

static npr_status sink_put(sink *k, const char *bytes, size_t n)
{
    npr_digest_add(k->digest, bytes, n);
    if (k->file && fwrite(bytes, 1, n, k->file) != n)
        return npr_fail(NPR_EIO, "%s: cannot write: %s", k->temporary, strerror(errno));
    return NPR_OK;
}

static npr_status sink_open(sink *k)
{
    static const char header[] = "id\tlabel\tzero_shot\tprimed\n";
    k->digest = npr_digest_new();
    if (!k->digest) return NPR_EINTERNAL;
    if (k->path) {
        k->temporary = npr_file_temporary(k->path);
        if (!k->temporary) return NPR_EINTERNAL;
        k->file = fopen(k->temporary, "wb");
        if (!k->file)
            return npr_fail(npr_status_from_create(errno), "%s: cannot create: %s", k->temporary,
                            strerror(errno));
    }
    return sink_put(k, header, sizeof header - 1);
}

static npr_status sink_close(sink *k, npr_status st, npr_record *rec)
{
    char hex[NPR_DIGEST_HEX];
    if (k->file && fclose(k->file) && !st)
        st = npr_fail(NPR_EIO, "%s: cannot write: %s", k->temporary, strerror(errno));
    if (k->file && !st) st = npr_file_publish(k->temporary, k->path);
    if (k->file && st) remove(k->temporary); /* a failure is already on its way */
    if (k->digest) {
        npr_digest_hex(k->digest, hex);
        npr_record_text(rec, "check.predictions", hex);
    }
    npr_digest_free(k->digest);
    free(k->temporary);
    return st;
}

/* Slices of at most 4 MiB travel, so rank 0 needs no memory for all. */
npr_status npr_predictions_write(const npr_comm *comm, const npr_solve *s, const npr_trial *t)
{
    enum { SLICE = 4 << 20 };
    sink k = {.path = s->job->predictions};
    npr_status st = comm->rank == 0 ? sink_open(&k) : NPR_OK;
    int64_t *bytes = npr_alloc((size_t)comm->size, sizeof *bytes, "gathering predictions");
    npr_status moved = npr_agree(comm, bytes ? NPR_OK : NPR_EINTERNAL, "predictions");
    if (!moved) npr_gather_i64(comm, (int64_t)t->used, bytes);
    for (int r = 0; r < comm->size && !moved; r++)
        for (int64_t at = 0; at < bytes[r] && !moved; at += SLICE) {
            size_t n = (size_t)(bytes[r] - at < SLICE ? bytes[r] - at : SLICE);
            char *all = NULL;
            int64_t *offset = NULL;
            int mine = r == comm->rank;
            moved = npr_gather_bytes(comm, mine ? t->lines + at : NULL, mine ? n : 0, 0, &all, &offset);
            if (!moved && !st && comm->rank == 0) st = sink_put(&k, all, n);
            free(all);
            free(offset);
        }
    free(bytes);
    if (comm->rank == 0) st = sink_close(&k, st ? st : moved, s->rec);
    return moved ? moved : npr_agree(comm, st, "predictions");
}
