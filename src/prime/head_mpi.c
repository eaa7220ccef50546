/* head_mpi.c - the text head given to all ranks, and the primed head written as a set by rank 0. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/half.h"
#include "base/mem.h"
#include "io/accounts.h"
#include "prime/solve.h"

npr_status npr_head_read_all(const npr_comm *comm, const npr_set *set, npr_head *h)
{
    npr_status st = comm->rank == 0 ? npr_head_read(set, h) : NPR_OK;
    NPR_TRY(npr_agree(comm, st, "reading the head"));
    if (comm->rank != 0) {
        *h = (npr_head){.classes = (int)set->rows, .dim = set->dim};
        h->w = npr_alloc_aligned((size_t)h->classes * (size_t)h->dim, sizeof *h->w, "a head");
        if (!h->w) st = NPR_EINTERNAL;
    }
    st = npr_agree(comm, st, "reading the head");
    if (!st) npr_bcast(comm, h->w, (size_t)h->classes * (size_t)h->dim * sizeof *h->w, 0);
    return st;
}

char *npr_solve_identity(const npr_solve *s)
{
    return npr_path("%shead=%s\npool=%s\nshots=%s\nvalidation=%s\nexclude=%s\n", s->job->identity,
                    s->head->digest, s->pool ? s->pool->digest : "", s->shots ? s->shots->digest : "",
                    s->validation ? s->validation->digest : "", s->exclude ? s->exclude->digest : "");
}

/* ---- classes.tsv --------------------------------------------------------------------------------------- */

/* A name on one line of a table: control bytes and backslashes as \xNN. */
static void put_name(FILE *f, const char *name)
{
    for (; *name; name++) {
        unsigned char c = (unsigned char)*name;
        if (c < 0x20 || c == 0x7f || c == '\\')
            fprintf(f, "\\x%02x", c);
        else
            fputc(c, f);
    }
}

/* Rows behind each class, and the account that search and extract gave of the pool: rows that matched, were
 * dropped by each filter, could not be downloaded, could not be read. */
static npr_status write_classes(const npr_solve *s, const char *folder)
{
    const npr_learned *l = &s->main;
    npr_accounts pool = {0};
    char *text = NULL, *path = npr_path("%s/classes.tsv", folder);
    size_t n = 0;
    npr_status st = path ? NPR_OK : npr_last();
    if (!st && s->pool) st = npr_accounts_read(s->pool->path, &pool);
    FILE *f = st ? NULL : open_memstream(&text, &n);
    if (!st && !f) st = npr_fail(NPR_EINTERNAL, "out of memory: the table of classes");
    if (f) {
        fprintf(f, "class\tname\tpool\tshots\tfallback");
        npr_accounts_print_header(&pool, f);
        for (int c = 0; c < s->text.classes; c++) {
            fprintf(f, "\n%d\t", c);
            put_name(f, s->text.name[c]);
            fprintf(f, "\t%lld\t%lld\t%d", (long long)l->pool_count[c],
                    (long long)(l->means.count[c] - l->pool_count[c]), l->keep && !l->keep[c]);
            npr_accounts_print(&pool, c, f);
        }
        fputc('\n', f);
        if (fclose(f)) st = npr_fail(NPR_EINTERNAL, "out of memory: the table of classes");
    }
    if (!st) st = npr_file_replace(path, text, n);
    npr_accounts_free(&pool);
    free(text);
    free(path);
    return st;
}

/* ---- the set ------------------------------------------------------------------------------------------- */

/* emb of a class: the unit vector along w; along the text row where w is zero (alpha 0 and no image mean). */
static void put_unit(const float *w, const float *text, int dim, uint16_t *emb)
{
    const float *from[2] = {w, text};
    for (int k = 0; k < 2; k++) {
        double squares = 0;
        for (int j = 0; j < dim; j++) squares += (double)from[k][j] * (double)from[k][j];
        double norm = sqrt(squares);
        for (int j = 0; j < dim; j++)
            emb[j] = npr_half_round(norm > 0 ? (float)((double)from[k][j] / norm) : 0);
        if (norm > 0) return;
    }
}

static npr_status write_rows(const npr_solve *s, const npr_set_plan *plan, npr_set_writer *writer)
{
    int dim = s->text.dim, classes = s->text.classes;
    npr_part_writer *part = NULL;
    npr_part_entry entry;
    npr_rows r = {0};
    npr_status st = npr_rows_make(&r, plan->columns, dim, classes);
    for (int c = 0; c < classes && !st; c++) {
        const float *w = s->main.primed + (size_t)c * (size_t)dim;
        put_unit(w, s->text.w + (size_t)c * (size_t)dim, dim, r.emb + (size_t)c * (size_t)dim);
        memcpy(r.weight + (size_t)c * (size_t)dim, w, (size_t)dim * sizeof *w);
        r.id[c] = r.label[c] = c;
        st = npr_rows_put_text(&r, NPR_CAPTION, s->text.name[c], strlen(s->text.name[c]));
        if (!st) st = npr_rows_next(&r);
    }
    if (!st) st = npr_part_create(npr_set_folder(writer), 0, plan->columns, dim, &part);
    if (!st) st = npr_part_append(part, &r);
    npr_rows_free(&r);
    if (st) {
        npr_part_abandon(part);
        return st;
    }
    NPR_TRY(npr_part_commit(part, &entry));
    return npr_set_commit_part(writer, 0, &entry);
}

npr_status npr_solve_write(const npr_comm *comm, const npr_solve *s, const npr_set_plan *plan,
                           npr_set_writer *writer)
{
    npr_status st = NPR_OK;
    if (comm->rank == 0) {
        if (!npr_set_done(writer, 0)) st = write_rows(s, plan, writer);
        if (!st) st = write_classes(s, npr_set_folder(writer));
    }
    NPR_TRY(npr_agree(comm, st, "writing the head"));
    return npr_set_finish(comm, writer, 1);
}
