/* outputs.c - see outputs.h. */
#include "outputs.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/output.h"
#include "io/manifest.h"

static const char *path_of(const npr_opt *o)
{
    return *(const char **)o->to;
}

static int is_output(const npr_opt *o)
{
    return (o->kind == NPR_OPT_OUT_FILE || o->kind == NPR_OPT_OUT_FOLDER) && path_of(o);
}

/* What of a place is left behind that of a folder; NULL: it does not lie in it. */
static const char *behind(const char *place, const char *folder)
{
    size_t n = strlen(folder);
    if (n == 1) n = 0; /* "/" */
    return !strncmp(place, folder, n) && place[n] == '/' && place[n + 1] ? place + n + 1 : NULL;
}

/* May output o lie in `other`, or be the same? A folder that holds something else is refused as a new set,
 * and one of two files of the same name would be lost. */
static npr_status check_pair(const npr_opt *o, const char *place, const npr_opt *other, const char *there)
{
    const char *rest = behind(place, there), *wrong = NULL;
    if (!strcmp(place, there))
        return npr_fail(NPR_EUSAGE, "--%s=%s: --%s is the same; wanted another name", o->name, path_of(o),
                        other->name);
    if (rest && other->kind == NPR_OPT_OUT_FILE)
        wrong = "is a file";
    else if (rest && strchr(rest, '/'))
        wrong = "is filled by the job alone";
    else if (rest && npr_manifest_owns(rest))
        wrong = "has a file of this name itself";
    return wrong ? npr_fail(NPR_EUSAGE, "--%s=%s: lies in --%s=%s, which %s: name another place", o->name,
                            path_of(o), other->name, path_of(other), wrong)
                 : NPR_OK;
}

/* A set that is there, such as an input. */
static npr_status check_set(const npr_opt *o, const char *place)
{
    const char *name = strrchr(place, '/') + 1;
    if (o->kind != NPR_OPT_OUT_FILE || !npr_manifest_owns(name)) return NPR_OK;
    char *folder = npr_path("%.*s", (int)(name - place), place);
    npr_status st = folder ? NPR_OK : npr_last();
    if (!st && npr_manifest_exists(folder))
        st = npr_fail(NPR_EUSAGE, "--%s=%s: is a file of the set there: name another place", o->name,
                      path_of(o));
    free(folder);
    return st;
}

static npr_status check_names(const npr_opt *table, size_t n)
{
    char **place = npr_alloc(n, sizeof *place, "the outputs");
    npr_status st = place ? NPR_OK : npr_last();
    for (size_t i = 0; i < n && !st; i++) {
        if (!is_output(&table[i])) continue;
        place[i] = npr_output_place(path_of(&table[i]));
        st = place[i] ? check_set(&table[i], place[i]) : npr_last();
        for (size_t j = 0; j < i && !st; j++) {
            if (!place[j]) continue;
            st = check_pair(&table[i], place[i], &table[j], place[j]);
            if (!st) st = check_pair(&table[j], place[j], &table[i], place[i]);
        }
    }
    for (size_t i = 0; place && i < n; i++) free(place[i]);
    free(place);
    return st;
}

static npr_status check_one(const npr_opt *o, npr_output_how how)
{
    const char *path = path_of(o);
    if (o->kind == NPR_OPT_OUT_FILE) return npr_context(npr_output_file(path, how), "--%s=%s", o->name, path);
    if (npr_manifest_exists(path)) return NPR_OK; /* a finished set, which may be read only */
    return npr_context(npr_output_folder(path, how), "--%s=%s", o->name, path);
}

npr_status npr_outputs_check(const npr_comm *comm, const npr_log *log, const npr_opt *table, size_t own,
                             size_t n, int dry_run)
{
    npr_status st = comm->rank == 0 ? check_names(table, n) : NPR_OK;
    for (size_t i = 0; i < n && !st && comm->rank == 0; i++) {
        if (!is_output(&table[i])) continue;
        int look = dry_run && i < own;
        st = check_one(&table[i], look ? NPR_OUTPUT_LOOK : NPR_OUTPUT_TRY);
        if (!st || !look) continue;
        npr_warn(log, "the job itself would be refused here: %s", npr_status_text());
        st = NPR_OK;
    }
    /* all are found right: no folder is made for nothing */
    for (size_t i = dry_run ? own : 0; i < n && !st && comm->rank == 0; i++)
        if (is_output(&table[i]) && table[i].kind == NPR_OPT_OUT_FILE)
            st = check_one(&table[i], NPR_OUTPUT_MAKE);
    return npr_agree(comm, st, "output");
}
