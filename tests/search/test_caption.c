/* test_caption.c - caption search against a plain matcher, and against SQLite FTS5's MATCH '"phrase"' on the
 * same text. */
#include <math.h>
#include <sqlite3.h>

#include "base/file.h"
#include "base/rng.h"
#include "npr/search.h"
#include "npr/source.h"
#include "search/caption/phrases.h"
#include "small.h"

enum { DIM = 4, CAPTIONS = 6000 };

/* ---- words, and captions made of them ------------------------------------------------------------------ */

static const char *const NAMES = "jack-o'-lantern\tJack O Lantern\n"
                                 "potter's wheel\n"
                                 "T-shirt\ttee shirt\tt shirts\n"
                                 "great white shark\tgreat white\n"
                                 "great\n"
                                 "white shark\n"
                                 "caf\xc3\xa9\n"
                                 "na\xc3\xafve \xc3\x86on\n"
                                 "a\n"
                                 "7-Up\n"
                                 "\xe7\x8c\xab\n" /* a CJK character: one token with its neighbours */
                                 "stra\xc3\x9f"
                                 "e\tSTRASSE\n"
                                 "extraordinarily\textraordinary\n" /* equal in their first eight bytes */
                                 "shark shark\n"
                                 "\xce\xa3\xce\xaf\xcf\x83\xcf\x85\xcf\x86\xce\xbf\xcf\x82";

/* clang-format off */
static const char *const WORDS[] = {
    "jack", "o", "lantern", "Jack-O'-Lantern", "jack\xe2\x80\x99o lantern", "potter", "s", "wheel",
    "potter's", "POTTER'S", "wheels", "T-shirt", "t", "shirt", "tee", "shirts", "great", "Great", "white",
    "shark", "sharks", "caf\xc3\xa9", "cafe", "CAF\xc3\x89", "cafe\xcc\x81", "na\xc3\xafve", "\xc3\x86on",
    "\xc3\xa6on", "a", "A", "7", "Up", "7up", "\xe7\x8c\xab", "\xe7\x8c\xab\xe7\x8a\xac",
    "stra\xc3\x9f" "e", "Stra\xc3\x9f" "en", "strasse", "extraordinarily", "extraordinary",
    "extraordinaire", "\xce\xa3\xce\xaf\xcf\x83\xcf\x85\xcf\x86\xce\xbf\xcf\x82",
    "\xce\xa3\xce\x8a\xce\xa3\xce\xa5\xce\xa6\xce\x9f\xce\xa3", "\xf0\x9f\x98\x80", "_", "&amp;",
    "http://x.y/z.jpg", "\"", "'", "''", "12,5",
};
/* clang-format on */

static const char *const GLUE[] = {
    " ", " ", " ", " ", "-", "'", ", ", "  ", "\t", "/", ".", "_", "\xe2\x80\x99", "\xc2\xa0", "\"", ""};

enum { N_WORDS = sizeof WORDS / sizeof *WORDS, N_GLUE = sizeof GLUE / sizeof *GLUE };

static void make_caption(uint64_t *seed, char *text, size_t size)
{
    text[0] = 0;
    for (uint32_t n = small_random(seed) % 12; n > 0; n--) {
        size_t at = strlen(text);
        snprintf(text + at, size - at, "%s%s", WORDS[small_random(seed) % N_WORDS],
                 GLUE[small_random(seed) % N_GLUE]);
    }
}

static void make_rows(npr_rows *r)
{
    uint64_t seed = 11;
    uint32_t columns = NPR_COL(NPR_EMB) | NPR_COL(NPR_ID) | NPR_COL(NPR_CAPTION) | NPR_COL(NPR_TOKENS) |
                       NPR_COL(NPR_SIMILARITY) | NPR_COL(NPR_NSFW);
    CHECK_OK(npr_rows_make(r, columns, DIM, CAPTIONS));
    for (int i = 0; i < CAPTIONS; i++) {
        char text[1024], tokens[8192];
        make_caption(&seed, text, sizeof text);
        CHECK(npr_tokens_room(strlen(text)) <= sizeof tokens);
        size_t n = npr_tokens_make(text, strlen(text), tokens);
        small_vector(&seed, NULL, 1, DIM, r->emb + (size_t)i * DIM);
        r->id[i] = (int64_t)i * 3 + 1000000007;
        r->similarity[i] = i % 9 ? (float)(small_random(&seed) % 50) / 50 : NAN; /* with ties */
        r->nsfw[i] = (uint8_t)(i % 4);
        CHECK_OK(npr_rows_put_text(r, NPR_CAPTION, text, strlen(text)));
        CHECK_OK(npr_rows_put_text(r, NPR_TOKENS, tokens, n));
        CHECK_OK(npr_rows_next(r));
    }
}

/* ---- who matches: [CAPTIONS][classes] ------------------------------------------------------------------ */

static void found_by_scan(const npr_phrases *p, const npr_rows *r, int64_t step, unsigned char *found)
{
    npr_matches m;
    CHECK_OK(npr_matches_make(p, &m));
    memset(found, 0, (size_t)r->n * (size_t)p->classes);
    for (int64_t row = 0; row < r->n; row += step) {
        int64_t before = -1;
        CHECK_OK(npr_phrases_scan(p, &r->tokens, row, row + step < r->n ? row + step : r->n, &m));
        for (size_t i = 0; i < m.count; i++) {
            CHECK(m.match[i].row >= before);
            before = m.match[i].row;
            found[m.match[i].row * p->classes + m.match[i].label]++;
        }
    }
    npr_matches_free(&m);
}

/* " tok tok " stands in the text: nothing else is a phrase match. */
static int stands_in(const npr_text *tokens, int64_t row, const char *phrase)
{
    size_t n;
    const char *text = npr_text_at(tokens, row, &n);
    return n && memmem(text, n, phrase, strlen(phrase)) != NULL;
}

/* Every name and synonym of the class file: each(self, class, field) */
static void each_name(const char *names, void (*each)(void *self, int class, const char *field), void *self)
{
    int class = 0;
    for (const char *line = names; *line; class ++) {
        size_t length = strcspn(line, "\n");
        for (size_t at = 0; at <= length;) {
            size_t n = strcspn(line + at, "\t\n");
            char field[256];
            snprintf(field, sizeof field, "%.*s", (int)n, line + at);
            each(self, class, field);
            at += n + 1;
        }
        line += length + (line[length] == '\n');
    }
}

typedef struct oracle {
    const npr_rows *rows;
    int classes;
    unsigned char *found;
    sqlite3 *db;
} oracle;

static void plain_each(void *self, int class, const char *field)
{
    oracle *o = self;
    char phrase[1024];
    phrase[npr_tokens_make(field, strlen(field), phrase)] = 0;
    if (!phrase[0]) return;
    for (int64_t i = 0; i < o->rows->n; i++)
        if (stands_in(&o->rows->tokens, i, phrase)) o->found[i * o->classes + class] = 1;
}

static void fts_each(void *self, int class, const char *field)
{
    oracle *o = self;
    char match[600] = "\"", *to = match + 1;
    for (const char *c = field; *c; c++) {
        if (*c == '"') *to++ = '"';
        *to++ = *c;
    }
    strcpy(to, "\"");
    sqlite3_stmt *s;
    CHECK_INT(sqlite3_prepare_v2(o->db, "SELECT rowid FROM t WHERE t MATCH ?1", -1, &s, NULL), SQLITE_OK);
    sqlite3_bind_text(s, 1, match, -1, SQLITE_TRANSIENT);
    int rc;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW)
        o->found[sqlite3_column_int64(s, 0) * o->classes + class] = 1;
    CHECK_INT(rc, SQLITE_DONE);
    sqlite3_finalize(s);
}

static void fill_fts(oracle *o)
{
    CHECK_INT(sqlite3_open(":memory:", &o->db), SQLITE_OK);
    CHECK_INT(sqlite3_exec(o->db, "CREATE VIRTUAL TABLE t USING fts5(x); BEGIN", NULL, NULL, NULL),
              SQLITE_OK);
    sqlite3_stmt *s;
    CHECK_INT(sqlite3_prepare_v2(o->db, "INSERT INTO t(rowid, x) VALUES(?1, ?2)", -1, &s, NULL), SQLITE_OK);
    for (int64_t i = 0; i < o->rows->n; i++) {
        size_t n;
        const char *text = npr_text_at(&o->rows->caption, i, &n);
        sqlite3_bind_int64(s, 1, i);
        sqlite3_bind_text(s, 2, text, (int)n, SQLITE_STATIC);
        CHECK_INT(sqlite3_step(s), SQLITE_DONE);
        sqlite3_reset(s);
    }
    sqlite3_finalize(s);
    CHECK_INT(sqlite3_exec(o->db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
}

static void compare(const unsigned char *a, const unsigned char *b, int64_t rows, int classes,
                    const char *what)
{
    int64_t different = 0;
    for (int64_t i = 0; i < rows * classes; i++) different += a[i] != b[i];
    if (different)
        fprintf(stderr, "%s: %lld of %lld differ\n", what, (long long)different, (long long)(rows * classes));
    CHECK_INT(different, 0);
}

static unsigned char *test_matching(const npr_rows *r)
{
    npr_phrases *p;
    CHECK_OK(npr_phrases_make(NAMES, &p));
    CHECK_INT(p->classes, 15);
    CHECK_TEXT(p->name[3], "great white shark");
    size_t cells = (size_t)r->n * (size_t)p->classes;
    unsigned char *a = calloc(cells, 1), *b = calloc(cells, 1);
    static const int64_t steps[] = {CAPTIONS, 1, 7, 1000};
    oracle o = {r, p->classes, calloc(cells, 1), NULL};
    each_name(NAMES, plain_each, &o);
    for (int i = 0; i < 4; i++) {
        found_by_scan(p, r, steps[i], a);
        compare(a, o.found, r->n, p->classes, "plain matcher");
    }
    oracle fts = {r, p->classes, b, NULL};
    fill_fts(&fts);
    each_name(NAMES, fts_each, &fts);
    compare(a, b, r->n, p->classes, "FTS5");
    sqlite3_close(fts.db);
    for (int c = 0; c < p->classes; c++) {
        int64_t hits = 0;
        for (int64_t i = 0; i < r->n; i++) hits += a[i * p->classes + c];
        if (hits == 0) fprintf(stderr, "class %d (%s) is never met\n", c, p->name[c]);
        CHECK(hits > 0);
    }
    npr_phrases_free(p);
    free(b);
    free(a);
    return o.found;
}

/* ---- class files --------------------------------------------------------------------------------------- */

static void test_class_files(void)
{
    npr_phrases *p;
    CHECK_FAILS(npr_phrases_make("", &p), NPR_EDATA, "names no class");
    CHECK_FAILS(npr_phrases_make("cat\n\ndog\n", &p), NPR_EDATA, "line 2");
    CHECK_FAILS(npr_phrases_make("cat\ndog\n \"'--\t?!\n", &p), NPR_EDATA, "line 3");
    CHECK_OK(npr_phrases_make("cat\n\x1b[31m\x07\n",
                              &p)); /* "31m" is a token, and nothing here reaches a terminal */
    CHECK_TEXT(p->name[1], " [31m ");
    npr_phrases_free(p);
    CHECK_OK(npr_phrases_make("\"; DROP TABLE t; --\r\ncat\tkitty cat\tCat\t\t--\ncat\tkitten\r\n", &p));
    CHECK_INT(p->classes, 3);
    CHECK_INT(p->count, 4); /* drop table t, cat, kitty cat, kitten */
    CHECK_INT(p->empty, 2);
    CHECK_INT(p->shared, 1);
    const npr_phrase *f = &p->phrase[p->shared_first];
    CHECK(f->bytes == 4 && !memcmp(f->text, "cat ", 4) && f->owners == 2);
    CHECK_INT(p->owner[f->owner], 1);
    CHECK_INT(p->owner[f->owner + 1], 2);
    npr_phrases_free(p);
}

/* A line of 10 MB is a name like others: it matches the caption that has it, and nothing else. */
static void test_long_name(void)
{
    size_t n = 10 << 20;
    char *name = malloc(n + 1);
    for (size_t i = 0; i < n; i++) name[i] = i % 10 == 9 ? ' ' : (char)('a' + i * 7 % 26);
    name[n] = 0;
    npr_phrases *p;
    npr_matches m;
    CHECK_OK(npr_phrases_make(name, &p));
    npr_rows r = {0};
    char *tokens = malloc(npr_tokens_room(n));
    size_t bytes = npr_tokens_make(name, n, tokens);
    CHECK_OK(npr_rows_make(&r, NPR_COL(NPR_TOKENS), DIM, 2));
    CHECK_OK(npr_rows_put_text(&r, NPR_TOKENS, tokens, bytes / 2));
    CHECK_OK(npr_rows_next(&r));
    CHECK_OK(npr_rows_put_text(&r, NPR_TOKENS, tokens, bytes));
    CHECK_OK(npr_rows_next(&r));
    CHECK_OK(npr_matches_make(p, &m));
    CHECK_OK(npr_phrases_scan(p, &r.tokens, 0, 2, &m));
    CHECK_INT(m.count, 1);
    CHECK(m.count && m.match[0].row == 1);
    npr_matches_free(&m);
    npr_rows_free(&r);
    npr_phrases_free(p);
    free(tokens);
    free(name);
}

/* ---- the scanner --------------------------------------------------------------------------------------- */

enum { CAP = 20 };

static double key_of(const npr_rows *r, int64_t i, int by_similarity, uint64_t seed)
{
    if (!by_similarity) return (double)(npr_mix64((uint64_t)r->id[i] ^ seed) >> 11) / 9007199254740992.0;
    return isnan(r->similarity[i]) ? -1e6 : (double)r->similarity[i];
}

static int hit_order(const void *a, const void *b)
{
    return npr_hit_before(a, b) ? -1 : npr_hit_before(b, a);
}

/* The lists and the tally as they should be. */
static void check_lists(const npr_rows *r, const unsigned char *found, int classes, const npr_scan_options *o,
                        int64_t part_rows, npr_topk *lists, const npr_tally *tally)
{
    npr_hit *all = calloc((size_t)r->n, sizeof *all);
    for (int c = 0; c < classes; c++) {
        int64_t want[NPR_TALLY_FIELDS] = {0}, n = 0;
        for (int64_t i = 0; i < r->n; i++) {
            if (!found[i * classes + c]) continue;
            want[NPR_TALLY_MATCHED]++;
            if (r->similarity[i] < o->limits.min_similarity)
                want[NPR_TALLY_SIMILARITY]++;
            else if (r->nsfw[i] > o->limits.max_nsfw)
                want[NPR_TALLY_NSFW]++;
            else
                all[n++] = (npr_hit){key_of(r, i, !strcmp(o->cap_by, "similarity"), o->seed), r->id[i],
                                     npr_place((int)(i / part_rows), i % part_rows)};
        }
        for (int f = 0; f < NPR_TALLY_FIELDS; f++) CHECK_INT(tally->count[c * NPR_TALLY_FIELDS + f], want[f]);
        qsort(all, (size_t)n, sizeof *all, hit_order);
        if (n > CAP) n = CAP;
        CHECK_INT(npr_topk_count(lists, c), n);
        for (int64_t i = 0; i < n && i < npr_topk_count(lists, c); i++)
            CHECK(!memcmp(&npr_topk_list(lists, c)[i], &all[i], sizeof *all));
    }
    free(all);
}

static void scan(const npr_set *set, const npr_scan_options *o, const npr_rows *r, const unsigned char *found)
{
    npr_scanner *s;
    CHECK_OK(npr_scanner_caption(o, &s));
    npr_topk *lists = npr_topk_make(s->lists, CAP);
    npr_tally tally = {.lists = s->lists,
                       .count = calloc((size_t)s->lists * NPR_TALLY_FIELDS, sizeof(int64_t))};
    for (int p = set->parts - 1; p >= 0; p--) CHECK_OK(s->part(s, set, p, lists, &tally)); /* any order */
    npr_topk_sort(lists);
    CHECK_INT(tally.rows, r->n);
    CHECK(tally.bytes > r->tokens.offset[r->n]);
    check_lists(r, found, s->lists, o, set->part_rows, lists, &tally);
    free(tally.count);
    npr_topk_free(lists);
    s->free(s);
}

static void test_scanner(const npr_rows *r, const unsigned char *found)
{
    static const struct {
        int64_t part_rows, tile_rows;
        int threads, filtered;
        const char *cap_by;
        uint64_t seed;
    } cases[] = {{CAPTIONS, CAPTIONS, 1, 0, "hash", 0},
                 {CAPTIONS, 100, 2, 0, "hash", 77},
                 {1111, 1024, 2, 1, "hash", 0},
                 {1111, 37, 1, 1, "similarity", 0},
                 {2500, 1, 3, 0, "similarity", 5}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        npr_set set;
        npr_part_entry entry[16];
        char folder[128];
        snprintf(folder, sizeof folder, "%s/%zu", test_folder(), i);
        CHECK_OK(npr_folder_make(folder));
        small_set(folder, r, cases[i].part_rows, &set, entry);
        npr_scan_options o = {.names = NAMES,
                              .k = CAP,
                              .threads = cases[i].threads,
                              .tile_rows = cases[i].tile_rows,
                              .cap_by = cases[i].cap_by,
                              .seed = cases[i].seed,
                              .limits = {.min_similarity = cases[i].filtered ? 0.25f : -INFINITY,
                                         .max_nsfw = cases[i].filtered ? NPR_NSFW_UNSURE : NPR_NSFW_LIKELY}};
        scan(&set, &o, r, found);
    }
}

static void test_refusals(const npr_rows *r)
{
    npr_scanner *s;
    npr_scan_options o = {.names = "cat\n", .k = 1, .threads = 1, .tile_rows = 8, .cap_by = "age"};
    CHECK_FAILS(npr_scanner_caption(&o, &s), NPR_EUSAGE, "\"age\"");
    o.cap_by = "hash";
    o.limits.max_nsfw = NPR_NSFW_LIKELY;
    CHECK_OK(npr_scanner_caption(&o, &s));
    npr_set set = {.path = "x", .columns = r->columns & ~NPR_COL(NPR_TOKENS), .dim = DIM, .parts = 1};
    npr_tally tally = {0};
    CHECK_FAILS(s->part(s, &set, 0, NULL, &tally), NPR_EENV, "no column \"tokens\"");
    s->free(s);
}

int main(void)
{
    npr_rows rows = {0};
    make_rows(&rows);
    unsigned char *found = test_matching(&rows);
    test_class_files();
    test_long_name();
    test_scanner(&rows, found);
    test_refusals(&rows);
    free(found);
    npr_rows_free(&rows);
    test_folder_remove();
    return TEST_END();
}
