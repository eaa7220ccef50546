/* record.c - see include/npr/record.h. */
#include "npr/record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

typedef struct line {
    char *key, *value;
} line;

struct npr_record {
    line *line;
    size_t count, cap;
    int64_t lost; /* lines dropped without memory */
};

npr_record *npr_record_make(void)
{
    return npr_alloc(1, sizeof(npr_record), "the record");
}

void npr_record_free(npr_record *r)
{
    if (!r) return;
    for (size_t i = 0; i < r->count; i++) {
        free(r->line[i].key);
        free(r->line[i].value);
    }
    free(r->line);
    free(r);
}

/* Backslash and control bytes escaped, so that every line of the record is one key and one value. */
static char *escaped(const char *s)
{
    char *out = npr_alloc(4 * strlen(s) + 1, 1, "a record line");
    if (!out) return NULL;
    char *o = out;
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c < 0x20 || c == 0x7f || c == '\\')
            o += sprintf(o, "\\x%02x", c);
        else
            *o++ = (char)c;
    }
    return out;
}

void npr_record_text(npr_record *r, const char *key, const char *text)
{
    line l = {npr_strdup(key), npr_fault("record.line") ? NULL : escaped(text)};
    if (!l.key || !l.value || npr_grow(&r->line, &r->cap, r->count + 1, sizeof *r->line, "the record")) {
        free(l.key);
        free(l.value);
        r->lost++;
        return;
    }
    r->line[r->count++] = l;
}

void npr_record_int(npr_record *r, const char *key, int64_t v)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)v);
    npr_record_text(r, key, text);
}

void npr_record_real(npr_record *r, const char *key, double v)
{
    char text[40];
    snprintf(text, sizeof text, strncmp(key, "check.", 6) == 0 ? "%.17g" : "%.9g", v);
    npr_record_text(r, key, text);
}

void npr_record_time(const npr_comm *comm, npr_record *r, const char *phase, double seconds)
{
    struct {
        double seconds;
        int rank;
    } mine = {seconds, comm->rank}, worst;
    double least, sum;
    MPI_Allreduce(&mine, &worst, 1, MPI_DOUBLE_INT, MPI_MAXLOC, comm->mpi);
    MPI_Allreduce(&seconds, &least, 1, MPI_DOUBLE, MPI_MIN, comm->mpi);
    MPI_Allreduce(&seconds, &sum, 1, MPI_DOUBLE, MPI_SUM, comm->mpi);
    char key[96];
    snprintf(key, sizeof key, "time.%s.min", phase);
    npr_record_real(r, key, least);
    snprintf(key, sizeof key, "time.%s.avg", phase);
    npr_record_real(r, key, sum / comm->size);
    snprintf(key, sizeof key, "time.%s.max", phase);
    npr_record_real(r, key, worst.seconds);
    snprintf(key, sizeof key, "time.%s.slowest", phase);
    npr_record_int(r, key, worst.rank);
}

void npr_record_work(const npr_comm *comm, npr_record *r, const char *phase, double bytes, double flops)
{
    double mine[2] = {bytes, flops}, all[2];
    static const char *const what[2] = {"bytes", "flops"};
    MPI_Allreduce(mine, all, 2, MPI_DOUBLE, MPI_SUM, comm->mpi);
    for (int i = 0; i < 2; i++) {
        char key[96];
        snprintf(key, sizeof key, "work.%s.%s", phase, what[i]);
        if (all[i] > 0) npr_record_real(r, key, all[i]);
    }
}

const char *npr_record_get(const npr_record *r, const char *key)
{
    for (size_t i = 0; i < r->count; i++)
        if (!strcmp(r->line[i].key, key)) return r->line[i].value;
    return NULL;
}

int64_t npr_record_lost(const npr_record *r)
{
    return r->lost;
}

npr_status npr_record_print(const npr_record *r, FILE *to)
{
    for (size_t i = 0; i < r->count; i++) fprintf(to, "%s=%s\n", r->line[i].key, r->line[i].value);
    if (r->lost) fprintf(to, "run.lines_lost=%lld\n", (long long)r->lost);
    if (fflush(to) || ferror(to)) return npr_fail(NPR_EIO, "cannot write the record: %s", strerror(errno));
    return NPR_OK;
}
