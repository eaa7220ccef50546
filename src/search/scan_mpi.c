/* scan_mpi.c - one pass over the parts of the index: who scans what, the journal, the merge. See
 * search_stage.h.
 *
 * A pass starts by taking in what earlier runs have journalled of it, on any number of ranks, and deals out
 * the parts without a record. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "npr/watchdog.h"
#include "search/beside.h"
#include "search/faiss/proposals.h"
#include "search/resident.h"
#include "search/scan_journal.h"
#include "search/search_stage.h"

enum {
    ROUND_PARTS = 8,       /* parts a rank scans, at most, before it asks how the others are */
    ROUNDS = 8,            /* but it asks about so often: the last round's hits are merged after the scan */
    ROUND_ROWS = 32 << 10, /* and not after fewer rows than this */
};

typedef struct scan {
    const npr_comm *comm;
    const npr_set *index;
    const npr_search_pass *pass;
    npr_scanner *scanner;
    npr_scan_hits hits; /* lists: those that are not being merged yet */
    npr_beside *beside; /* the others */
    npr_tally *tally;   /* of the parts this rank answers for: scanned now, or read from a journal */
    npr_tally of_part;
    npr_scan_journal *journal;
    int64_t *owner;      /* [parts] not 0: done by an earlier run, its record is taken in */
    int64_t bytes, rows; /* read, scanned in this run */
    double waited;       /* seconds, for the other ranks at the end of rounds; */
    double cut;          /* in which candidates of all ranks were cut between them */
    int rounds;
} scan;

/* ---- scanning ---------------------------------------------------------------------------------------- */

static npr_status scan_part(scan *s, int part)
{
    npr_search_tally_clear(&s->of_part);
    npr_scanner *by = s->scanner;
    NPR_TRY(s->hits.candidates ? by->propose(by, s->index, part, s->hits.candidates, &s->of_part)
                               : by->part(by, s->index, part, s->hits.lists, &s->of_part));
    if (s->hits.candidates) s->hits.asked[part] = by->asked;
    NPR_TRY(npr_scan_journal_add(s->journal, s->pass, part, &s->hits, &s->of_part));
    s->bytes += s->of_part.bytes, s->rows += s->of_part.rows;
    npr_search_tally_add(s->tally, &s->of_part);
    return NPR_OK;
}

/* Parts that stay in memory and that this pass has not dealt to this rank: after a resumed pass, whose parts
 * were dealt anew, nobody would ask for them again. Local. */
static void forget_others(const scan *s, npr_resident *resident)
{
    int64_t turn = 0;
    for (int p = 0; resident && p < s->index->parts; p++)
        if (s->owner[p] || !npr_owns(s->comm, turn++)) npr_resident_drop(resident, p);
}

/* The next `most` parts of every rank; *part and *turn are the same on all. Local. */
static npr_status scan_round(scan *s, npr_progress *progress, int64_t most, int *part, int64_t *turn)
{
    npr_status st = NPR_OK;
    int64_t end = *turn + most * s->comm->size;
    for (; *part < s->index->parts && *turn < end; ++*part) {
        if (s->owner[*part] || !npr_owns(s->comm, (*turn)++) || st) continue;
        st = scan_part(s, *part);
        if (st) continue;
        npr_beside_enter(s->beside);
        npr_progress_add(progress, s->index->part[*part].rows);
        npr_beside_leave(s->beside);
    }
    return st;
}

/* After rounds 1, 2, 4, 8 ..: candidates roughly to the k best of all ranks, for the floors. */
static npr_status cut_candidates(scan *s)
{
    double start = npr_now();
    npr_status st = NPR_OK;
    if (s->comm->size > 1 && !(s->rounds & (s->rounds - 1)))
        st = npr_proposals_cut_all(s->comm, s->hits.candidates, 1);
    s->cut += npr_now() - start;
    return st;
}

/* After a pass less than a second of work may not be on the disk yet; a run that ends, syncs (search_mpi.c). */
static npr_status keep_records(scan *s, npr_status st, int last)
{
    return !st && last ? npr_scan_journal_settle(s->journal) : st;
}

/* How the others are, after a round; then what it has found is merged while the next one is scanned. */
static npr_status end_round(scan *s, npr_status st, const char *what, int last)
{
    st = npr_beside_finish(s->beside, st, s->hits.lists);
    st = keep_records(s, st, last);
    double start = npr_now();
    st = npr_agree(s->comm, st, what);
    int worth = !st && !last && !s->hits.candidates && npr_beside_worth(s->comm, s->beside);
    s->waited += npr_now() - start;
    s->rounds++;
    if (worth) npr_beside_start(s->beside, &s->hits.lists);
    return s->hits.candidates && !st && !last ? cut_candidates(s) : st;
}

/* Parts of a rank in a round, of so many parts and rows in all. */
static int64_t parts_of_round(int size, int64_t parts, int64_t rows)
{
    int64_t most = parts / size / ROUNDS, least = rows ? parts * ROUND_ROWS / rows : 1;
    if (most < least) most = least;
    return most < 1 ? 1 : most > ROUND_PARTS ? ROUND_PARTS : most;
}

/* Scan the parts without a record, dealt out in turn. All ranks agree now and then, so that one that fails
 * or is asked to stop does not leave the others working for hours. */
static npr_status scan_parts(scan *s, const npr_log *log)
{
    int64_t left = 0, rows = 0, turn = 0, again = 0;
    for (int p = 0; p < s->index->parts; p++) {
        left += !s->owner[p];
        again += s->owner[p] > s->comm->size;
        rows += s->owner[p] ? 0 : s->index->part[p].rows;
    }
    if (left < s->index->parts)
        npr_info(log, "%lld of %d parts were scanned by an earlier run", (long long)(s->index->parts - left),
                 s->index->parts);
    if (again) npr_info(log, "%lld of them had been asked for more candidates", (long long)again);
    static const char *const name[] = {
        [SEARCH_MAIN] = "scan", [SEARCH_TRUTH] = "recall", [SEARCH_CANDIDATES] = "candidates"};
    const char *what = name[s->pass->kind];
    npr_progress *progress = npr_progress_start(s->comm, log, what, "rows", rows);
    npr_status st = NPR_OK;
    int64_t most = parts_of_round(s->comm->size, left, rows);
    for (int part = 0; !st && part < s->index->parts;) {
        st = scan_round(s, progress, most, &part, &turn);
        st = end_round(s, st, what, turn == left);
    }
    npr_progress_end(s->comm, progress);
    return st;
}

/* Lines list0 .. list1-1 of a class file. */
static npr_status slice_names(const char *text, int list0, int list1, char **slice)
{
    const char *from = text;
    for (int i = 0; i < list0; i++) from = strchr(from, '\n') + 1;
    const char *to = from;
    for (int i = list0; i < list1; i++) to += strcspn(to, "\n") + (strchr(to, '\n') != NULL);
    *slice = npr_path("%.*s", (int)(to - from), from);
    return *slice ? NPR_OK : npr_last();
}

/* Queries that FAISS answers together. */
static int block_of(const npr_search_pass *pass)
{
    return npr_plan_faiss_block(pass->by ? pass->by->nq : 0, pass->k);
}

/* Does the pass score candidates? */
static int scores(const npr_search_pass *pass)
{
    return pass->kind == SEARCH_MAIN && pass->candidates;
}

static npr_status make_scanner(const npr_search_job *job, const npr_search_inputs *in,
                               const npr_search_pass *pass, npr_queries *view, char **names,
                               npr_scanner **out)
{
    npr_scan_options o = {.head = in->head_set ? &in->head : NULL,
                          .limits = job->limits,
                          .labels_from_index = !strcmp(job->pool, "row"),
                          .k = pass->k,
                          .threads = job->threads,
                          .tile_rows = job->tile_rows,
                          .cap_by = job->cap_by,
                          .seed = job->seed,
                          .nprobe = pass->nprobe,
                          .rows = in->index->rows,
                          .block = block_of(pass),
                          .candidates = pass->candidates,
                          .resident = in->resident};
    o.queries = view;
    if (!strcmp(pass->mode, "caption")) {
        NPR_TRY(slice_names(in->names, pass->list0, pass->list1, names));
        o.names = *names;
        *view = (npr_queries){.nq = pass->list1 - pass->list0, .label = in->label + pass->list0};
        return npr_scanner_caption(&o, out);
    }
    *view = npr_search_queries_view(pass->by, pass->list0, pass->list1);
    if (scores(pass)) return npr_scanner_rescore(&o, out);
    return strcmp(pass->mode, "faiss") ? npr_scanner_exact(&o, out) : npr_scanner_faiss(&o, out);
}

static npr_status prepare(scan *s)
{
    int lists = s->pass->list1 - s->pass->list0, proposes = s->pass->kind == SEARCH_CANDIDATES;
    size_t parts = (size_t)s->index->parts;
    s->hits.lists = npr_topk_make(proposes ? 0 : lists, s->pass->k);
    if (proposes) s->hits.candidates = npr_proposals_make(lists, s->pass->k);
    if (proposes) s->hits.asked = npr_alloc(parts, sizeof *s->hits.asked, "records of parts");
    s->owner = npr_alloc(parts, sizeof *s->owner, "records of parts");
    if (!s->hits.lists || !s->owner || (proposes && !(s->hits.candidates && s->hits.asked)))
        return npr_last();
    NPR_TRY(npr_beside_make(s->comm, s->hits.lists, &s->beside));
    NPR_TRY(npr_search_tally_make(lists, s->tally));
    return npr_search_tally_make(lists, &s->of_part);
}

/* Candidates to the ranks that will scan their parts. */
static npr_status deal_candidates(const scan *s)
{
    int *reader = npr_alloc((size_t)s->index->parts, sizeof *reader, "candidates by part");
    npr_status st = npr_agree(s->comm, reader ? NPR_OK : npr_last(), "candidates");
    int64_t turn = 0;
    for (int p = 0; p < s->index->parts && !st; p++)
        reader[p] = s->owner[p] ? -1 : (int)(turn++ % s->comm->size);
    if (!st) st = npr_chosen_deal(s->comm, s->pass->candidates, reader, NPR_CHOSEN_PIECE);
    free(reader);
    return st;
}

static npr_status scan_all(scan *s, const npr_log *log, npr_resident *resident)
{
    NPR_TRY(npr_scan_journal_resume(s->comm, s->journal, s->pass, &s->hits, s->tally, &s->of_part, s->owner));
    forget_others(s, resident);
    if (scores(s->pass)) NPR_TRY(deal_candidates(s));
    return scan_parts(s, log);
}

/* Ask a part again, for the blocks of queries that may lack candidates of it. */
static npr_status complete_part(scan *s, int part, const char *open)
{
    npr_search_pass again = *s->pass;
    again.kind = SEARCH_MORE;
    npr_search_tally_clear(&s->of_part);
    NPR_TRY(s->scanner->complete(s->scanner, s->index, part, s->hits.asked[part], open, s->hits.candidates,
                                 &s->of_part));
    s->hits.asked[part] = 0;
    s->bytes += s->of_part.bytes;
    return npr_scan_journal_add(s->journal, &again, part, &s->hits, &s->of_part);
}

/* The next ROUND_PARTS of this rank's parts of which a block is open. Local. */
static npr_status complete_round(scan *s, npr_progress *progress, size_t blocks, const char *open, int *part)
{
    for (int done = 0; *part < s->index->parts && done < ROUND_PARTS; ++*part) {
        const char *of_part = open + (size_t)*part * blocks;
        if (!memchr(of_part, 1, blocks)) continue;
        NPR_TRY(complete_part(s, *part, of_part));
        npr_progress_add(progress, s->index->part[*part].rows);
        done++;
    }
    return NPR_OK;
}

/* Ask parts again; ranks agree now and then, as in scan_parts(). */
static npr_status complete_parts(scan *s, const npr_log *log, size_t blocks, const char *open)
{
    int64_t rows = 0, left = 0;
    for (int p = 0; p < s->index->parts; p++) {
        if (!memchr(open + (size_t)p * blocks, 1, blocks)) continue;
        rows += s->index->part[p].rows;
        left++;
    }
    npr_sum_i64(s->comm, &rows, 1);
    npr_max_i64(s->comm, &left, 1);
    npr_progress *progress = npr_progress_start(s->comm, log, "more candidates", "rows", rows);
    npr_status st = NPR_OK;
    for (int part = 0; left > 0 && !st; left -= ROUND_PARTS) {
        st = complete_round(s, progress, blocks, open, &part);
        st = npr_agree(s->comm, keep_records(s, st, left <= ROUND_PARTS), "candidates");
    }
    npr_progress_end(s->comm, progress);
    return st;
}

/* The bounds of the lists of all ranks, after parts that may have more to say were asked again: what they say
 * raises bounds, so the others remain complete. */
static npr_status find_bounds(scan *s, const npr_log *log, int block, npr_bound *bound, char *open)
{
    size_t blocks = (size_t)((s->hits.candidates->nq + block - 1) / block);
    double start = npr_now();
    npr_status st = npr_agree(s->comm, npr_proposals_bounds(s->comm, s->hits.candidates, 0, bound), "merge");
    if (st) return st;
    int64_t n = npr_proposals_open(s->hits.candidates, bound, s->index->parts, s->hits.asked, block, open);
    npr_sum_i64(s->comm, &n, 1);
    s->cut += npr_now() - start;
    if (!n) return NPR_OK;
    /* Of equal scores all stay: what a part says when it is asked for more may name others of them. */
    for (int q = 0; q < s->hits.candidates->nq; q++) bound[q].last = INT64_MAX;
    npr_proposals_raise(s->hits.candidates, bound);
    NPR_TRY(complete_parts(s, log, blocks, open));
    start = npr_now();
    st = npr_proposals_bounds(s->comm, s->hits.candidates, 0, bound);
    s->cut += npr_now() - start;
    return npr_agree(s->comm, st, "merge");
}

/* The k best of all ranks, by part. */
static npr_status finish_candidates(scan *s, const npr_log *log, int block)
{
    size_t nq = (size_t)s->hits.candidates->nq, blocks = (nq + (size_t)block - 1) / (size_t)block;
    npr_bound *bound = npr_alloc(nq, sizeof *bound, "candidates of all ranks");
    char *open = npr_alloc((size_t)s->index->parts * blocks, 1, "candidates of all ranks");
    npr_status st = npr_agree(s->comm, bound && open ? NPR_OK : npr_last(), "merge");
    if (!st) st = find_bounds(s, log, block, bound, open);
    double start = npr_now();
    if (!st) {
        npr_proposals_raise(s->hits.candidates, bound);
        st = npr_chosen_make(s->hits.candidates, s->index->parts, s->pass->candidates);
        st = npr_agree(s->comm, st, "merge");
    }
    s->cut += npr_now() - start;
    free(bound);
    free(open);
    return st;
}

npr_status npr_search_pass_run(const npr_comm *comm, const npr_log *log, const npr_search_job *job,
                               const npr_search_inputs *in, npr_scan_journal *journal,
                               const npr_search_pass *pass, npr_topk **lists, npr_tally *tally,
                               npr_search_times *times)
{
    double start = npr_now();
    scan s = {.comm = comm, .index = in->index, .pass = pass, .journal = journal, .tally = tally};
    npr_queries view;
    char *names = NULL;
    npr_beside_times took = {0};
    npr_status st = prepare(&s);
    if (!st) st = make_scanner(job, in, pass, &view, &names, &s.scanner);
    st = npr_agree(comm, st, "scan");
    if (!st) st = scan_all(&s, log, in->resident);
    if (!st && s.hits.candidates) st = finish_candidates(&s, log, block_of(pass));
    if (s.beside) took = npr_beside_took(s.beside);
    times->scan += npr_now() - start - took.exposed - s.cut;
    times->bytes += s.bytes;
    times->pairs += (double)s.rows * (pass->list1 - pass->list0);
    times->waited += s.waited;
    if (s.scanner) times->rows_waited += s.scanner->waited, times->reading += s.scanner->reading;
    if (!st && !s.hits.candidates) st = npr_beside_all(comm, s.beside, &s.hits.lists);
    if (s.beside) took = npr_beside_took(s.beside);
    times->merge += took.merge + s.cut;
    times->exposed += took.exposed + s.cut;
    times->beside += took.started;
    if (!st) {
        npr_sum_i64(comm, tally->count, (size_t)tally->lists * NPR_TALLY_FIELDS);
        npr_sum_i64(comm, &tally->non_finite, 1);
    }
    if (lists)
        *lists = s.hits.lists;
    else
        npr_topk_free(s.hits.lists);
    npr_proposals_free(s.hits.candidates);
    free(s.hits.asked);
    if (s.scanner) s.scanner->free(s.scanner);
    npr_beside_free(s.beside);
    npr_search_tally_free(&s.of_part);
    free(s.owner);
    free(names);
    return st;
}
