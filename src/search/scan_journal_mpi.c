/* scan_journal_mpi.c - see scan_journal.h.
 *
 * After each part a rank appends one record to its journal: the part's tally, and those of its hits that are
 * still in the rank's lists. A hit that is not there was pushed out by k better ones, which are in this or an
 * earlier record or will be found again; so the records together hold all that a later run needs, whoever
 * reads them. What this run appends it never reads: each of its passes comes once. */
#include "search/scan_journal.h"

#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/mem.h"
#include "io/journal.h"
#include "search/scan_record.h"

static const double DURABLE = 1; /* seconds of work that are lost with the machine; a kill loses none of it */

/* Where a record of an earlier run stands. */
typedef struct entry {
    uint64_t pass;      /* hash of its key */
    int32_t file, part; /* files.path[file] */
    int64_t at;
} entry;

struct npr_scan_journal {
    npr_journal *own;
    int pending;    /* it has records that may not be on the disk */
    double durable; /* when all records were, or, without any since, this pass began */
    char *record;   /* the one being made */
    size_t cap_record;
    int parts;
    npr_paths files; /* journals of earlier runs that this rank reads */
    entry *entry;    /* [entries] by pass, then as they are read */
    size_t entries, cap_entries;
    int64_t anywhere; /* most entries of a rank */
    int64_t read;
};

/* ---- what earlier runs have left --------------------------------------------------------------------- */

/* Names of all journals of scans, a line each, seen once for all ranks: for a while a folder looks
 * different from different nodes. */
static npr_status list_journals(const npr_comm *comm, const char *folder, char **list)
{
    npr_paths paths = {0};
    npr_status st = NPR_OK;
    *list = NULL;
    if (comm->rank == 0) {
        st = npr_paths_find(folder, ".log", &paths);
        if (st == NPR_ENOINPUT) st = NPR_OK; /* none yet */
        char *text = st ? NULL : npr_path("%s", "");
        for (size_t i = 0; text && i < paths.count; i++) {
            const char *name = strrchr(paths.path[i], '/') + 1;
            if (strncmp(name, "scan-", 5) != 0) continue;
            char *longer = npr_path("%s%s\n", text, name);
            free(text);
            text = longer;
        }
        if (!st && !text) st = npr_last();
        *list = text;
        npr_paths_free(&paths);
    }
    NPR_TRY(npr_agree(comm, st, "reading journals"));
    return npr_bcast_text(comm, list, 0);
}

/* What entries know of the pass. Two passes of one hash: what a record is of is compared when it is taken. */
static uint64_t hash_of(const npr_scan_key *key)
{
    return npr_hash64(key, sizeof *key, 0);
}

/* One record of the last of the files: well-formed, or passed over. */
static npr_status note_record(void *self, const char *type, int64_t at, const char *bytes, size_t n)
{
    npr_scan_journal *j = self;
    npr_scan_record head;
    j->read += (int64_t)n;
    if (strcmp(type, "scan") != 0 || !npr_scan_record_read(j->parts, bytes, n, &head)) return NPR_OK;
    NPR_TRY(npr_grow(&j->entry, &j->cap_entries, j->entries + 1, sizeof *j->entry, "records of parts"));
    j->entry[j->entries++] =
        (entry){hash_of(&head.pass), (int32_t)j->files.count - 1, (int32_t)head.part, at};
    return NPR_OK;
}

static int by_pass(const void *va, const void *vb)
{
    const entry *a = va, *b = vb;
    if (a->pass != b->pass) return a->pass < b->pass ? -1 : 1;
    if (a->file != b->file) return a->file < b->file ? -1 : 1;
    return (a->at > b->at) - (a->at < b->at);
}

/* Journals are dealt to ranks like parts. Local. */
static npr_status note_journals(const npr_comm *comm, npr_scan_journal *j, const char *folder,
                                const char *list)
{
    int64_t number = 0;
    for (const char *line = list, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        if (!npr_owns(comm, number++)) continue;
        char *path = npr_path("%s/%.*s", folder, (int)(end - line), line);
        npr_status st = path ? npr_paths_add(&j->files, path) : npr_last();
        if (!st) st = npr_journal_read(path, note_record, j, NULL, NULL);
        free(path);
        NPR_TRY(st);
    }
    if (j->entries) qsort(j->entry, j->entries, sizeof *j->entry, by_pass);
    j->anywhere = (int64_t)j->entries;
    return NPR_OK;
}

static npr_status open_all(const npr_comm *comm, npr_scan_journal *j, const char *folder, int run)
{
    char *list;
    NPR_TRY(list_journals(comm, folder, &list));
    npr_status st = note_journals(comm, j, folder, list);
    free(list);
    char *path = st ? NULL : npr_path("%s/scan-%d-%d.log", folder, run, comm->rank);
    if (!st) st = path ? npr_journal_open(path, &j->own) : npr_last();
    free(path);
    NPR_TRY(npr_agree(comm, st, "reading journals"));
    npr_max_i64(comm, &j->anywhere, 1);
    return NPR_OK;
}

npr_status npr_scan_journal_open(const npr_comm *comm, const char *folder, int run, int parts,
                                 npr_scan_journal **out)
{
    npr_scan_journal *j = npr_alloc(1, sizeof *j, "a journal");
    npr_status st = npr_agree(comm, j ? NPR_OK : npr_last(), "reading journals");
    if (j) j->parts = parts;
    if (!st) st = open_all(comm, j, folder, run);
    if (st)
        npr_scan_journal_close(j);
    else
        *out = j;
    return st;
}

void npr_scan_journal_close(npr_scan_journal *j)
{
    if (!j) return;
    npr_journal_close(j->own);
    npr_paths_free(&j->files);
    free(j->record);
    free(j->entry);
    free(j);
}

int64_t npr_scan_journal_bytes_read(const npr_scan_journal *j)
{
    return j->read;
}

/* ---- a pass that goes on ----------------------------------------------------------------------------- */

typedef struct taking {
    npr_scan_journal *j;
    npr_scan_key key;
    int64_t mine;    /* the owner of parts whose records of this key are this rank's to take */
    size_t from, to; /* entries of the key */
    const npr_scan_hits *hits;
    npr_tally *tally, *of_part;
} taking;

static npr_status take_record(void *self, const char *type, int64_t at, const char *bytes, size_t n)
{
    taking *t = self;
    npr_scan_record head;
    (void)type;
    t->j->read += (int64_t)n;
    if (!npr_scan_record_read(t->j->parts, bytes, n, &head) ||
        memcmp(&head.pass, &t->key, sizeof t->key) != 0)
        return npr_fail(NPR_EDATA, "a journal of the search has another record at byte %lld than before",
                        (long long)at);
    NPR_TRY(npr_scan_record_take(&head, bytes, t->hits, t->of_part));
    npr_search_tally_add(t->tally, t->of_part);
    return NPR_OK;
}

/* The entries of the key, and that this rank has them. */
static void find_entries(taking *t, int64_t *owner)
{
    const npr_scan_journal *j = t->j;
    uint64_t pass = hash_of(&t->key);
    size_t low = 0, high = j->entries;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (j->entry[middle].pass < pass)
            low = middle + 1;
        else
            high = middle;
    }
    t->from = low;
    for (; low < j->entries && j->entry[low].pass == pass; low++)
        if (owner[j->entry[low].part] < t->mine) owner[j->entry[low].part] = t->mine;
    t->to = low;
}

/* Take in the records of the parts that are this rank's, each part once; `at` has room for their places,
 * `taken` [parts] is zeros before the first. Local. */
static npr_status take_entries(taking *t, const int64_t *owner, int64_t *at, char *taken)
{
    const entry *e = t->j->entry;
    for (size_t i = t->from; i < t->to;) {
        int32_t file = e[i].file;
        size_t n = 0;
        for (; i < t->to && e[i].file == file; i++) {
            if (owner[e[i].part] != t->mine || taken[e[i].part]) continue;
            taken[e[i].part] = 1;
            at[n++] = e[i].at;
        }
        if (n) NPR_TRY(npr_journal_pick(t->j->files.path[file], at, n, take_record, t));
    }
    return NPR_OK;
}

npr_status npr_scan_journal_resume(const npr_comm *comm, npr_scan_journal *j, const npr_search_pass *pass,
                                   const npr_scan_hits *hits, npr_tally *tally, npr_tally *of_part,
                                   int64_t *owner)
{
    int64_t me = comm->size - comm->rank;
    taking t[] = {{j, npr_scan_key_of(pass), me, 0, 0, hits, tally, of_part},
                  {j, npr_scan_key_of(pass), me + comm->size, 0, 0, hits, tally, of_part}};
    t[1].key.kind = SEARCH_MORE;
    int keys = pass->kind == SEARCH_CANDIDATES ? 2 : 1;
    if (!j->pending) j->durable = npr_now();
    if (!j->anywhere) return NPR_OK;
    for (int i = 0; i < keys; i++) find_entries(&t[i], owner);
    npr_max_i64(comm, owner, (size_t)j->parts); /* all agree who has the record of a part */
    int64_t *at = npr_alloc((size_t)j->parts, sizeof *at, "records of parts");
    char *taken = npr_alloc((size_t)j->parts, 1, "records of parts");
    npr_status st = at && taken ? NPR_OK : npr_last();
    for (int i = 0; i < keys && !st; i++) st = take_entries(&t[i], owner, at, taken);
    free(at);
    free(taken);
    return npr_agree(comm, st, "reading journals");
}

/* ---- this run ---------------------------------------------------------------------------------------- */

npr_status npr_scan_journal_sync(npr_scan_journal *j)
{
    if (j->pending) NPR_TRY(npr_journal_sync(j->own));
    j->pending = 0;
    j->durable = npr_now();
    return NPR_OK;
}

npr_status npr_scan_journal_settle(npr_scan_journal *j)
{
    return j->pending && npr_now() - j->durable >= DURABLE ? npr_scan_journal_sync(j) : NPR_OK;
}

npr_status npr_scan_journal_add(npr_scan_journal *j, const npr_search_pass *pass, int part,
                                const npr_scan_hits *hits, const npr_tally *of_part)
{
    size_t n;
    NPR_TRY(npr_scan_record_make(pass, part, hits, of_part, &j->record, &j->cap_record, &n));
    if (npr_fault("search.part")) return npr_fail(NPR_EIO, "injected fault search.part");
    NPR_TRY(npr_journal_add(j->own, "scan", j->record, n));
    j->pending = 1;
    NPR_TRY(npr_scan_journal_settle(j));
    return npr_fault("search.journal") ? npr_fail(NPR_EIO, "injected fault search.journal") : NPR_OK;
}
