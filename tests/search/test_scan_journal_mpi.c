/* The journals of a search: each pass gets its own records of earlier runs, each part once, on any number of
 * ranks; what is read does not grow with the number of passes; and what is added is on the disk after a
 * second of work, by a clock that the test sets. */
#include "test.h"

#include "base/file.h"
#include "io/journal.h"
#include "search/scan_journal.h"
#include "search/scan_record.h"

enum { PARTS = 9, LISTS = 3, K = 2 };

/* ---- the clock, and how often the disk is asked ------------------------------------------------------- */

double __real_npr_now(void);
double __wrap_npr_now(void);
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
static double seconds; /* > 0: the time */
static int synced;

double __wrap_npr_now(void)
{
    return seconds > 0 ? seconds : __real_npr_now();
}

int __wrap_fdatasync(int fd)
{
    synced++;
    return __real_fdatasync(fd);
}

/* ---- passes and their hits ---------------------------------------------------------------------------- */

static npr_search_pass pass_of(int number)
{
    static const int kind[] = {SEARCH_MAIN, SEARCH_MAIN, SEARCH_CANDIDATES, SEARCH_TRUTH};
    return (npr_search_pass){.kind = kind[number % 4],
                             .list0 = number * LISTS,
                             .list1 = (number + 1) * LISTS,
                             .mode = "exact",
                             .k = K};
}

/* The one hit that a part has for each list of a pass. */
static npr_hit hit_of(int number, int part, int list)
{
    return (npr_hit){number * 100 + (part * 7 + list) % PARTS, part * 1000 + list, npr_place(part, list)};
}

typedef struct room {
    npr_topk *lists;
    npr_scan_hits hits;
    npr_tally tally, of_part;
    int64_t asked[PARTS];
    int64_t owner[PARTS + 1]; /* the last one: of a part that there is not */
} room;

static void room_make(room *r, const npr_search_pass *pass)
{
    int proposes = pass->kind == SEARCH_CANDIDATES;
    *r = (room){.lists = npr_topk_make(proposes ? 0 : LISTS, PARTS)};
    r->hits.lists = r->lists;
    if (proposes) r->hits.candidates = npr_proposals_make(LISTS, PARTS);
    if (proposes) r->hits.asked = r->asked;
    CHECK_OK(npr_search_tally_make(LISTS, &r->tally));
    CHECK_OK(npr_search_tally_make(LISTS, &r->of_part));
}

static void room_free(room *r)
{
    npr_topk_free(r->lists);
    npr_proposals_free(r->hits.candidates);
    npr_search_tally_free(&r->tally);
    npr_search_tally_free(&r->of_part);
}

/* What candidates of a part were asked for: 0, all, of every third. */
static int64_t asked_of(int part)
{
    return part % 3 ? 20 + part : 0;
}

/* Where list 1 of candidates was cut among equal scores, of these parts; -1: nowhere. */
static void check_tie(const npr_comm *c, const room *r, unsigned done)
{
    double want = -1, tie = -1;
    if (!r->hits.candidates) return;
    for (int p = 1; p < PARTS; p += 3)
        if (done >> p & 1) want = p;
    if (r->hits.candidates->list[1].tied) tie = r->hits.candidates->list[1].tie;
    npr_max_f64(c, &tie, 1);
    CHECK(tie == want);
    CHECK(!r->hits.candidates->list[0].tied);
}

static int64_t hits_in(const room *r, int list)
{
    return r->hits.candidates ? r->hits.candidates->list[list].n : npr_topk_count(r->lists, list);
}

/* The i-th hit of a list; a candidate has no id, and gets the one it should have. */
static npr_hit hit_in(const room *r, int number, int list, int i)
{
    if (!r->hits.candidates) return npr_topk_list(r->lists, list)[i];
    const npr_proposed *l = &r->hits.candidates->list[list];
    return (npr_hit){l->score[i], hit_of(number, npr_place_part(l->place[i]), list).id, l->place[i]};
}

/* Scan a part: all of its hits are found. */
static void scan_part(room *r, int number, int part)
{
    npr_search_pass pass = pass_of(number);
    room_make(r, &pass);
    for (int q = 0; q < LISTS; q++) {
        npr_hit hit = hit_of(number, part, q);
        CHECK_OK(r->hits.candidates ? npr_proposals_push(r->hits.candidates, q, (float)hit.score, hit.place)
                                    : npr_topk_push(r->lists, q, hit));
        r->of_part.count[q * NPR_TALLY_FIELDS] = part + 1;
    }
    r->asked[part] = asked_of(part);
    if (r->hits.candidates && part % 3 == 1) npr_proposed_tie(&r->hits.candidates->list[1], (float)part);
    r->of_part.rows = 10 + part;
}

/* The same, and they go into the journal. */
static void add_part(npr_scan_journal *j, int number, int part)
{
    npr_search_pass pass = pass_of(number);
    room r;
    scan_part(&r, number, part);
    CHECK_OK(npr_scan_journal_add(j, &pass, part, &r.hits, &r.of_part));
    room_free(&r);
}

/* Begin a pass of which these parts (bits) are done: they are told to all ranks, and their hits and tallies,
 * what candidates were asked for and where their lists were cut, are there once, over all ranks. */
static void check_pass(const npr_comm *c, npr_scan_journal *j, int number, unsigned done)
{
    npr_search_pass pass = pass_of(number);
    room r;
    room_make(&r, &pass);
    CHECK_OK(npr_scan_journal_resume(c, j, &pass, &r.hits, &r.tally, &r.of_part, r.owner));
    int64_t rows = 0, parts = 0;
    npr_sum_i64(c, r.asked, PARTS);
    CHECK_INT(r.owner[PARTS], 0);
    for (int p = 0; p < PARTS; p++) {
        int is_done = done >> p & 1;
        CHECK_INT(r.owner[p] != 0, is_done);
        CHECK_INT(r.asked[p], is_done && r.hits.candidates ? asked_of(p) : 0);
        rows += is_done ? 10 + p : 0, parts += is_done;
    }
    check_tie(c, &r, done);
    npr_sum_i64(c, &r.tally.rows, 1);
    CHECK_INT(r.tally.rows, rows);
    for (int q = 0; q < LISTS; q++) {
        int64_t hits = hits_in(&r, q), wrong = 0, *matched = &r.tally.count[q * NPR_TALLY_FIELDS];
        for (int i = 0; i < hits; i++) {
            npr_hit hit = hit_in(&r, number, q, i), want = hit_of(number, npr_place_part(hit.place), q);
            wrong += memcmp(&hit, &want, sizeof hit) != 0 || !(done >> npr_place_part(hit.place) & 1);
        }
        npr_sum_i64(c, &hits, 1);
        npr_sum_i64(c, matched, 1);
        int64_t want = 0;
        for (int p = 0; p < PARTS; p++) want += done >> p & 1 ? p + 1 : 0;
        CHECK_INT(wrong, 0);
        CHECK_INT(hits, parts);
        CHECK_INT(*matched, want);
    }
    room_free(&r);
}

/* ---- a folder of all ranks ---------------------------------------------------------------------------- */

/* Fresh, and made by rank 0. */
static const char *make_folder(const npr_comm *c, const char *name)
{
    static char path[128];
    char *root = c->rank ? NULL : strdup(test_folder());
    CHECK_OK(npr_bcast_text(c, &root, 0));
    snprintf(path, sizeof path, "%s/%s", root, name);
    free(root);
    if (c->rank == 0) CHECK_OK(npr_folder_make(path));
    CHECK_OK(npr_agree(c, NPR_OK, "test"));
    return path;
}

static npr_scan_journal *open_run(const npr_comm *c, const char *folder, int run)
{
    npr_scan_journal *j = NULL;
    CHECK_OK(npr_scan_journal_open(c, folder, run, PARTS, &j));
    return j;
}

static int64_t all_read(const npr_comm *c, const npr_scan_journal *j)
{
    int64_t n = npr_scan_journal_bytes_read(j);
    npr_sum_i64(c, &n, 1);
    return n;
}

/* ---- tests -------------------------------------------------------------------------------------------- */

/* Three runs. The first does pass 0 wholly, of pass 1 the even parts, of pass 3 (another kind) part 2; the
 * second the rest of pass 1, with part 4 again; the third takes them in. */
static void test_passes(const npr_comm *c)
{
    enum { ALL = (1 << PARTS) - 1, EVEN = 0x155 };
    const char *folder = make_folder(c, "passes");
    npr_scan_journal *j = open_run(c, folder, 1);
    check_pass(c, j, 0, 0);
    for (int p = 0; p < PARTS; p++)
        if (npr_owns(c, p)) add_part(j, 0, p);
    check_pass(c, j, 1, 0);
    for (int p = 0; p < PARTS; p += 2)
        if (npr_owns(c, p)) add_part(j, 1, p);
    if (c->rank == c->size - 1) add_part(j, 3, 2);
    check_pass(c, j, 0, 0); /* a run does not read what it writes */
    CHECK_INT(all_read(c, j), 0);
    npr_scan_journal_close(j);

    j = open_run(c, folder, 2);
    check_pass(c, j, 1, EVEN);
    for (int p = 1; p < PARTS; p += 2)
        if (npr_owns(c, p)) add_part(j, 1, p);
    if (c->rank == 0) add_part(j, 1, 4);
    npr_scan_journal_close(j);

    j = open_run(c, folder, 3);
    int64_t known = all_read(c, j), each = known / (PARTS + 5 + 1 + 4 + 1);
    check_pass(c, j, 0, ALL);
    check_pass(c, j, 1, ALL);
    check_pass(c, j, 2, 0);
    check_pass(c, j, 3, 1 << 2);
    CHECK_INT(all_read(c, j), known + (2 * PARTS + 1) * each); /* each part's record once more */
    check_pass(c, j, 4, 0);
    CHECK_INT(all_read(c, j), known + (2 * PARTS + 1) * each);
    npr_scan_journal_close(j);
}

/* As many passes as there may be batches, of each a part or two, in more than one journal: each finds its
 * own. */
static void test_many(const npr_comm *c)
{
    enum { MANY = 300 };
    const char *folder = make_folder(c, "many");
    for (int run = 1; run <= 2; run++) {
        npr_scan_journal *j = open_run(c, folder, run);
        for (int i = 0; i < MANY; i += run)
            if (npr_owns(c, i + run)) add_part(j, i, (i + run) % PARTS);
        npr_scan_journal_close(j);
    }
    npr_scan_journal *j = open_run(c, folder, 3);
    for (int i = 0; i < MANY; i++)
        check_pass(c, j, i, 1U << (i + 1) % PARTS | (i % 2 ? 0 : 1U << (i + 2) % PARTS));
    check_pass(c, j, MANY, 0);
    npr_scan_journal_close(j);
}

/* Candidates: the first run does the even parts and part 3, the second the others; the third takes all in. */
static void test_candidates(const npr_comm *c)
{
    enum { ALL = (1 << PARTS) - 1, FIRST = 0x155 | 1 << 3 };
    const char *folder = make_folder(c, "candidates");
    unsigned done = 0;
    for (int run = 1; run <= 3; run++) {
        npr_scan_journal *j = open_run(c, folder, run);
        check_pass(c, j, 6, done);
        unsigned now = (run == 1 ? FIRST : ALL) & ~done;
        for (int p = 0; p < PARTS; p++)
            if (now >> p & 1 && npr_owns(c, p)) add_part(j, 6, p);
        npr_scan_journal_close(j);
        done |= now;
    }
}

/* Append the record of a part, but for the part that it names. */
static void append_record(npr_journal *log, int number, int part, int64_t named)
{
    npr_search_pass pass = pass_of(number);
    npr_scan_record head;
    char *record = NULL;
    size_t cap = 0, n;
    room r;
    scan_part(&r, number, part);
    CHECK_OK(npr_scan_record_make(&pass, part, &r.hits, &r.of_part, &record, &cap, &n));
    memcpy(&head, record, sizeof head);
    head.part = named;
    memcpy(record, &head, sizeof head);
    CHECK_OK(npr_journal_append(log, "scan", record, n));
    free(record);
    room_free(&r);
}

/* Bytes that are no record of a pass are passed over; a record behind a torn one is not trusted; a journal
 * that changes while the job runs is refused by all ranks. */
static void test_damage(const npr_comm *c)
{
    const char *folder = make_folder(c, "damage");
    char path[256];
    npr_scan_journal *j = open_run(c, folder, 1);
    if (c->rank == 0)
        for (int p = 0; p < 4; p++) add_part(j, 5, p);
    npr_scan_journal_close(j);
    snprintf(path, sizeof path, "%s/scan-1-0.log", folder);
    if (c->rank == 0) {
        npr_journal *log;
        CHECK_OK(npr_journal_open(path, &log));
        CHECK_OK(npr_journal_append(log, "scan", "short", 5));
        append_record(log, 5, 4, 4);     /* a good one, or the next would show nothing */
        append_record(log, 5, 5, PARTS); /* no such part */
        CHECK_OK(npr_journal_append(log, "other", "", 0));
        npr_journal_close(log);
    }
    CHECK_OK(npr_agree(c, NPR_OK, "test"));
    j = open_run(c, folder, 2);
    check_pass(c, j, 5, 0x1f);
    npr_scan_journal_close(j);
    j = open_run(c, folder, 3);
    if (c->rank == 0) CHECK_INT(truncate(path, 300), 0); /* within the first record */
    CHECK_OK(npr_agree(c, NPR_OK, "test"));
    npr_search_pass pass = pass_of(5);
    room r;
    room_make(&r, &pass);
    CHECK_FAILS(npr_scan_journal_resume(c, j, &pass, &r.hits, &r.tally, &r.of_part, r.owner), NPR_EDATA,
                "was good before");
    room_free(&r);
    npr_scan_journal_close(j);
    j = open_run(c, folder, 4);
    check_pass(c, j, 5, 0);
    npr_scan_journal_close(j);
}

/* The disk is asked at the first record that comes a second or more after all were on it, be it of the next
 * pass; at the end of a pass if it is so late; and when a run ends if something was added. */
static void test_sync(const npr_comm *c)
{
    npr_scan_journal *j = open_run(c, make_folder(c, "sync"), 1);
    static const struct {
        double at;
        int synced;
    } added[] = {{100.5, 0},  {100.98, 0}, {101, 1},    {101.5, 1}, {101.99, 1},
                 {102.01, 2}, {103, 2},    {103.02, 3}, {200, 4},   {200.9, 4}};
    seconds = 100;
    check_pass(c, j, 0, 0);
    synced = 0;
    for (size_t i = 0; i < sizeof added / sizeof *added; i++) {
        seconds = added[i].at;
        add_part(j, 0, (int)i % PARTS);
        CHECK_INT(synced, added[i].synced);
    }
    CHECK_OK(npr_scan_journal_settle(j)); /* the end of a pass */
    CHECK_INT(synced, 4);
    check_pass(c, j, 2, 0); /* the next one: what waits since 200 is late at 201 */
    seconds = 201.01;
    add_part(j, 2, 0);
    CHECK_INT(synced, 5);
    add_part(j, 2, 1);
    seconds = 202.02;
    CHECK_OK(npr_scan_journal_settle(j));
    CHECK_INT(synced, 6);
    seconds = 300;
    CHECK_OK(npr_scan_journal_settle(j)); /* a pass that found all done */
    CHECK_OK(npr_scan_journal_sync(j));
    CHECK_INT(synced, 6);
    check_pass(c, j, 1, 0); /* one that begins when nothing waits: its first record is not late */
    add_part(j, 1, 0);
    CHECK_INT(synced, 6);
    seconds = 301;
    add_part(j, 1, 1);
    CHECK_INT(synced, 7);
    add_part(j, 1, 2);
    CHECK_OK(npr_scan_journal_sync(j)); /* the end of a run */
    CHECK_INT(synced, 8);
    npr_scan_journal_close(j);
    CHECK_INT(synced, 8);
    seconds = 0;
}

int main(void)
{
    MPI_Init(NULL, NULL);
    npr_comm c = npr_comm_make(MPI_COMM_WORLD);
    test_passes(&c);
    test_many(&c);
    test_candidates(&c);
    test_damage(&c);
    test_sync(&c);
    if (c.rank == 0) {
        char command[160];
        snprintf(command, sizeof command, "rm -rf '%s'", test_folder());
        CHECK_INT(system(command), 0);
    }
    npr_comm_free(&c);
    MPI_Finalize();
    return TEST_END();
}
