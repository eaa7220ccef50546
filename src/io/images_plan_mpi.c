/* images_plan_mpi.c - all images counted and numbered before one is decoded. Files are dealt to ranks; what
 * each rank learns is gathered on all. See images.h. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "base/mem.h"
#include "io/images.h"
#include "io/lines.h"
#include "io/manifest.h"
#include "io/share.h"

const char *npr_images_kind_name(npr_images_kind kind)
{
    static const char *const names[] = {"folder", "list", "tars", "set", "join"};
    return names[kind];
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

const char *npr_images_container(const npr_images_plan *plan, size_t i)
{
    return plan->same_names ? plan->file.path[i] : base_name(plan->file.path[i]);
}

/* ---- the files ---- */

static int ends_in_tar(const char *name)
{
    size_t n = strlen(name);
    return n > 4 && !strcmp(name + n - 4, ".tar");
}

/* @LIST: of tars, or of images? */
static npr_status find_list(const char *list, npr_images_plan *plan)
{
    npr_lines *l;
    const char *line;
    size_t n;
    NPR_TRY(npr_lines_open(list + 1, &l));
    npr_status st;
    do st = npr_lines_next(l, &line, &n);
    while (!st && line && !n);
    int tars = !st && line && n > 4 && !memcmp(line + n - 4, ".tar", 4);
    npr_lines_close(l);
    if (st) return st;
    plan->kind = tars ? NPR_IMAGES_TARS : NPR_IMAGES_LIST;
    return tars ? npr_paths_find(list, ".tar", &plan->file) : npr_paths_add(&plan->file, list + 1);
}

/* A folder of class folders, of images, of tars, or a set. */
static npr_status find_folder(const char *folder, npr_images_plan *plan)
{
    npr_paths images = {0};
    if (npr_manifest_exists(folder)) {
        plan->kind = NPR_IMAGES_SET;
        return NPR_OK;
    }
    plan->kind = NPR_IMAGES_FOLDER;
    npr_status st = npr_images_list_folder(folder, &images, &plan->class);
    size_t found = images.count, classes = plan->class.count;
    npr_paths_free(&images);
    if (st) return st;
    if (found && classes)
        return npr_fail(NPR_EDATA,
                        "%s: has images beside folders (\"%.200s\"): it is unclear what their class is",
                        folder, plan->class.path[0]);
    for (size_t i = 0; i < classes && !st; i++) {
        char *path = npr_path("%s/%s", folder, plan->class.path[i]);
        st = path ? npr_paths_add(&plan->file, path) : npr_last();
        free(path);
    }
    if (st || classes) return st;
    if (found) return npr_paths_add(&plan->file, folder);
    plan->kind = NPR_IMAGES_TARS;
    return npr_context(npr_paths_find(folder, ".tar", &plan->file), "no images, no class folders, no tars");
}

static npr_status find_files(npr_images_plan *plan)
{
    const char *images = plan->options.images;
    struct stat s;
    if (images[0] == '@') return find_list(images, plan);
    if (!stat(images, &s) && S_ISDIR(s.st_mode)) return find_folder(images, plan);
    plan->kind = NPR_IMAGES_TARS;
    NPR_TRY(npr_paths_find(images, ".tar", &plan->file));
    for (size_t i = 0; i < plan->file.count; i++)
        if (!ends_in_tar(plan->file.path[i]))
            return npr_fail(NPR_EUSAGE,
                            "%s is no tar: images are given as a folder, as @LIST of files, as tars or "
                            "as a set",
                            plan->file.path[i]);
    return NPR_OK;
}

/* The parts of a set: what their images are is in the manifest. */
static npr_status take_set(const npr_comm *comm, npr_images_plan *plan)
{
    npr_status st = npr_set_open_all(comm, plan->options.images, &plan->set);
    if (st) {
        plan->set = NULL;
        return st;
    }
    if (!(plan->set->columns & NPR_COL(NPR_SOURCE)))
        return npr_fail(NPR_EDATA, "%s: this set does not say where its images lie: it has no column source",
                        plan->options.images);
    for (int i = 0; i < plan->set->parts && !st; i++)
        st = npr_paths_add(&plan->file, plan->set->part[i].file);
    return npr_agree(comm, st, "images");
}

/* The tars hold pictures that were downloaded for a pool: its rows are the images. */
static npr_status take_pool(const npr_comm *comm, const npr_log *log, npr_images_plan *plan)
{
    if (plan->kind != NPR_IMAGES_TARS)
        return npr_fail(NPR_EUSAGE, "--join=%s: --images=%s are no tars, as img2dataset writes them",
                        plan->options.join.pool, plan->options.images);
    npr_status st = npr_set_open_all(comm, plan->options.join.pool, &plan->set);
    if (st) {
        plan->set = NULL;
        return st;
    }
    NPR_TRY(npr_join_make(comm, log, &plan->options.join, plan->set, &plan->file, &plan->join));
    plan->kind = NPR_IMAGES_JOIN;
    plan->bytes = plan->join.bytes;
    plan->unused = plan->join.unused;
    for (int i = 0; i < plan->set->parts && !st; i++)
        st = npr_paths_add(&plan->file, plan->set->part[i].file);
    return npr_agree(comm, st, "images");
}

/* ---- what is in them ---- */

static npr_status scan(npr_images_plan *plan, size_t i)
{
    const char *path = plan->file.path[i];
    npr_images_file *f = &plan->facts[i];
    switch (plan->kind) {
    case NPR_IMAGES_FOLDER:
        return npr_images_scan_folder(path, f);
    case NPR_IMAGES_LIST:
        return npr_images_scan_list(path, f, &plan->class, &plan->labelled);
    case NPR_IMAGES_TARS:
        return npr_images_scan_tar(path, f);
    default:
        f->rows = plan->set->part[i].rows;
        return NPR_OK;
    }
}

static npr_status scan_mine(const npr_comm *comm, const npr_log *log, npr_images_plan *plan)
{
    npr_progress *progress = npr_progress_start(comm, log, "counting", "files", (int64_t)plan->file.count);
    npr_status st = NPR_OK;
    for (size_t i = (size_t)comm->rank; !st && i < plan->file.count; i += (size_t)comm->size) {
        st = scan(plan, i);
        npr_progress_add(progress, 1);
        if (!st && npr_stop_requested())
            st = npr_fail(NPR_ESTOP,
                          "stopped on request before an image was read; run the same command again");
    }
    npr_progress_end(comm, progress);
    return npr_agree(comm, st, "images");
}

static npr_status share_facts(const npr_comm *comm, npr_images_plan *plan)
{
    const npr_share_items facts = {.item = plan->facts,
                                   .count = plan->file.count,
                                   .bytes = sizeof *plan->facts,
                                   .list = offsetof(npr_images_file, mark),
                                   .length = offsetof(npr_images_file, marks),
                                   .entry = sizeof *plan->facts->mark,
                                   .what = "images"};
    NPR_TRY(npr_share_facts(comm, &facts));
    if (plan->kind != NPR_IMAGES_LIST) return NPR_OK;
    npr_bcast(comm, &plan->labelled, sizeof plan->labelled, 0); /* rank 0 has read it */
    return npr_share_paths(comm, &plan->class);
}

/* ---- all of them together; every rank knows the same and comes to the same result ---- */

static int by_base_name(const void *a, const void *b)
{
    return strcmp(base_name(*(char *const *)a), base_name(*(char *const *)b));
}

/* Do two tars have one base name? */
static npr_status compare_names(npr_images_plan *plan)
{
    if (plan->kind != NPR_IMAGES_TARS) return NPR_OK;
    char **sorted = npr_alloc(plan->file.count, sizeof *sorted, "a list of files");
    if (!sorted) return npr_last();
    memcpy(sorted, plan->file.path, plan->file.count * sizeof *sorted);
    qsort(sorted, plan->file.count, sizeof *sorted, by_base_name);
    for (size_t i = 1; i < plan->file.count; i++)
        plan->same_names |= !by_base_name(&sorted[i - 1], &sorted[i]);
    free(sorted);
    return NPR_OK;
}

/* Folders called 0, 1, 10, 2, as ImageNet-V2's: sorted as texts their places are not their numbers, which are
 * what was meant. As in a list, labels that are numbers need no names. Numbers filled up with zeros are
 * names. */
static int are_numbers(const npr_paths *class)
{
    for (size_t i = 0; i < class->count; i++) {
        const char *name = class->path[i];
        size_t digits = strspn(name, "0123456789");
        if (name[digits] || digits == 0 || digits > 9 || (name[0] == '0' && digits > 1)) return 0;
    }
    return class->count > 0;
}

static uint32_t settle_columns(const npr_images_plan *plan, uint32_t columns)
{
    uint32_t always = NPR_COL(NPR_ID) | NPR_COL(NPR_SOURCE);
    if (plan->set) return (plan->set->columns | always) & ~(NPR_COL(NPR_EMB) | NPR_COL(NPR_WEIGHT));
    if (plan->labelled || (plan->kind == NPR_IMAGES_FOLDER && plan->class.count))
        columns |= NPR_COL(NPR_LABEL);
    if (columns & NPR_COL(NPR_CAPTION)) columns |= NPR_COL(NPR_TOKENS);
    return columns | always;
}

/* Number the rows, and say in a few digits who the input is. */
static npr_status settle(npr_images_plan *plan)
{
    uint32_t columns = 0;
    npr_digest *g = npr_digest_new();
    if (!g) return npr_last();
    for (size_t i = 0; i < plan->file.count; i++) {
        npr_images_file *f = &plan->facts[i];
        const char *name = base_name(plan->file.path[i]);
        f->row0 = plan->rows;
        plan->rows += f->rows;
        plan->bytes += f->bytes;
        plan->unused += f->unused;
        columns |= f->columns;
        const int64_t facts[] = {f->rows, f->bytes, (int64_t)f->hash};
        npr_digest_add(g, name, strlen(name) + 1);
        npr_digest_add(g, facts, sizeof facts);
    }
    if (plan->set) npr_digest_add(g, plan->set->digest, strlen(plan->set->digest));
    if (plan->kind == NPR_IMAGES_JOIN) npr_digest_add(g, plan->join.digest, strlen(plan->join.digest));
    npr_digest_hex(g, plan->digest);
    npr_digest_free(g);
    plan->columns = settle_columns(plan, columns);
    if (!plan->rows) return npr_fail(NPR_EDATA, "%s: no images", plan->options.images);
    return compare_names(plan);
}

npr_status npr_images_plan_make(const npr_comm *comm, const npr_log *log, const npr_images_options *options,
                                npr_images_plan *plan)
{
    *plan = (npr_images_plan){.options = *options};
    npr_status st = npr_agree(comm, comm->rank ? NPR_OK : find_files(plan), "images");
    if (!st) {
        npr_bcast(comm, &plan->kind, sizeof plan->kind, 0);
        if (plan->kind == NPR_IMAGES_SET) st = take_set(comm, plan);
    }
    if (!st && plan->kind != NPR_IMAGES_SET) st = npr_share_paths(comm, &plan->file);
    if (!st && options->join.pool) st = take_pool(comm, log, plan);
    if (!st) st = npr_share_paths(comm, &plan->class);
    if (!st && plan->kind == NPR_IMAGES_FOLDER) plan->numbered = are_numbers(&plan->class);
    if (!st) {
        plan->facts = npr_alloc(plan->file.count, sizeof *plan->facts, "a list of images");
        st = npr_agree(comm, plan->facts ? NPR_OK : npr_last(), "images");
    }
    if (!st) st = scan_mine(comm, log, plan);
    if (!st) st = share_facts(comm, plan);
    if (!st) st = npr_agree(comm, settle(plan), "images");
    if (st) npr_images_plan_free(plan);
    return st;
}

void npr_images_plan_free(npr_images_plan *plan)
{
    for (size_t i = 0; plan->facts && i < plan->file.count; i++) free(plan->facts[i].mark);
    free(plan->facts);
    npr_paths_free(&plan->file);
    npr_paths_free(&plan->class);
    npr_set_free(plan->set);
    npr_join_free(&plan->join);
    *plan = (npr_images_plan){0};
}
