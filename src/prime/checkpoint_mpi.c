/* checkpoint_mpi.c - the state of a training, kept so that a run that is killed or stopped goes on where it
 * was. See train.h. The file is a line "npr-training BYTES XXH3-128" and the bytes; one that is torn or
 * damaged is as good as none. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/mem.h"
#include "prime/train.h"

enum { HEADER = 80 };

static void write_header(const npr_checkpoint *c, const void *state, char header[HEADER])
{
    char hex[NPR_DIGEST_HEX];
    npr_digest_block(state, c->bytes, hex);
    memset(header, ' ', HEADER);
    int n = snprintf(header, HEADER, "npr-training %zu %s", c->bytes, hex);
    header[n] = ' ';
    header[HEADER - 1] = '\n';
}

/* Rank 0: the state that was kept, if there is a good one. */
static npr_status read_state(npr_checkpoint *c, int64_t *found)
{
    char *bytes = NULL, header[HEADER];
    size_t n = 0;
    if (!npr_file_exists(c->path)) return NPR_OK;
    NPR_TRY(npr_file_read(c->path, HEADER + c->bytes, &bytes, &n));
    if (n == HEADER + c->bytes) {
        write_header(c, bytes + HEADER, header);
        *found = !memcmp(header, bytes, HEADER);
    }
    if (*found)
        memcpy(c->state, bytes + HEADER, c->bytes);
    else
        npr_warn(c->log, "%s is damaged: the training begins anew", c->path);
    free(bytes);
    return NPR_OK;
}

npr_status npr_checkpoint_read(const npr_comm *comm, npr_checkpoint *c, int *found)
{
    int64_t got = 0;
    *found = 0;
    c->saved = npr_now();
    if (!c->path) return NPR_OK;
    NPR_TRY(npr_agree(comm, comm->rank ? NPR_OK : read_state(c, &got), "training"));
    npr_bcast(comm, &got, sizeof got, 0);
    if (got) npr_bcast(comm, c->state, c->bytes, 0);
    *found = got != 0;
    return NPR_OK;
}

static npr_status write_state(npr_checkpoint *c)
{
    if (!c->path || c->log->rank) return NPR_OK;
    char *bytes = npr_alloc(HEADER + c->bytes, 1, "a training's state");
    if (!bytes) return npr_last();
    write_header(c, c->state, bytes);
    memcpy(bytes + HEADER, c->state, c->bytes);
    npr_status st = npr_file_replace(c->path, bytes, HEADER + c->bytes);
    free(bytes);
    c->saved = npr_now();
    return st;
}

npr_status npr_checkpoint_keep(npr_checkpoint *c)
{
    return npr_now() - c->saved < c->every ? NPR_OK : write_state(c);
}

void npr_checkpoint_leave(npr_checkpoint *c)
{
    if (write_state(c)) npr_warn(c->log, "the training's state was not kept: %s", npr_status_text());
}
