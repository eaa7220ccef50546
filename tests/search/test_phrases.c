/* test_phrases.c - the scan for phrases against a plain matcher: every kernel this CPU has, on made-up
 * captions whose words begin alike, with the text between two pages that cannot be read. */
#include <sys/mman.h>

#include "io/rows.h"
#include "npr/source.h"
#include "search/caption/phrases_block.h"
#include "small.h"

/* ---- a text that ends, or begins, where memory does ---- */

typedef struct fenced {
    char *map;
    size_t mapped;
    npr_text text;
} fenced;

/* Copies of a text's bytes and offsets, of exactly their size. */
static fenced fence(const npr_text *t, int64_t rows, int at_the_end)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), n = (size_t)t->offset[rows],
           inner = (n + page - 1) / page * page;
    fenced f = {.mapped = inner + 2 * page};
    f.map = mmap(NULL, f.mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(f.map != MAP_FAILED);
    if (inner) CHECK_INT(mprotect(f.map + page, inner, PROT_READ | PROT_WRITE), 0);
    f.text.bytes = f.map + page + (at_the_end ? inner - n : 0);
    f.text.offset = malloc(((size_t)rows + 1) * sizeof *f.text.offset);
    if (n) memcpy(f.text.bytes, t->bytes, n);
    memcpy(f.text.offset, t->offset, ((size_t)rows + 1) * sizeof *f.text.offset);
    return f;
}

static void fence_free(fenced *f)
{
    munmap(f->map, f->mapped);
    free(f->text.offset);
}

/* ---- words, captions and names ---- */

/* Few letters, so that words begin alike; one byte, more than eight, more than a block; not all of them
 * ASCII. */
static size_t make_word(uint64_t *seed, char *to)
{
    static const char *const letter[] = {
        "a", "a", "b", "c", "1", "\xe7\x8c\xab", "\xd1\x8f", "\xf0\xa0\x80\x80"};
    uint32_t kind = small_random(seed) % 200;
    size_t letters = 1 + small_random(seed) % (kind < 90 ? 3 : kind < 198 ? 10 : 90), n = 0;
    if (kind == 199 && small_random(seed) % 20 == 0) letters = 3000;
    for (size_t i = 0; i < letters; i++) {
        const char *c = letter[small_random(seed) % (kind < 150 ? 5 : 8)];
        memcpy(to + n, c, strlen(c));
        n += strlen(c);
    }
    return n;
}

enum { WORD = 4 * 3000 + 1, VOCABULARY = 300 };

static char *vocabulary[VOCABULARY];

static void make_vocabulary(uint64_t *seed)
{
    static char word[WORD];
    for (int i = 0; i < VOCABULARY; i++) {
        size_t n = make_word(seed, word);
        vocabulary[i] = strndup(word, n);
    }
}

/* Mostly the first of them. */
static const char *some_word(uint64_t *seed)
{
    uint32_t i = small_random(seed) % VOCABULARY;
    return vocabulary[i * (small_random(seed) % VOCABULARY) / VOCABULARY];
}

static void make_captions(uint64_t *seed, npr_rows *r, int64_t rows, uint32_t words)
{
    CHECK_OK(npr_rows_make(r, NPR_COL(NPR_TOKENS), 4, rows));
    static char text[40 * WORD];
    for (int64_t i = 0; i < rows; i++) {
        uint32_t n = small_random(seed) % 5 == 0 ? 0 : small_random(seed) % (words + 1);
        size_t at = 0;
        if (n) text[at++] = ' ';
        for (uint32_t w = 0; w < n; w++) {
            int bytes = snprintf(text + at, sizeof text - at, "%s ", some_word(seed));
            at += (size_t)bytes;
        }
        CHECK_OK(npr_rows_put_text(r, NPR_TOKENS, text, at));
        CHECK_OK(npr_rows_next(r));
    }
}

/* Class files: lines of up to four words, some of them out of a caption, some with one word more than another
 * one. */
static char *make_names(uint64_t *seed, const npr_rows *r, int classes)
{
    char *names = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&names, &size);
    for (int c = 0; c < classes; c++) {
        size_t n = 0;
        const char *row = r->n ? npr_text_at(&r->tokens, small_random(seed) % (uint32_t)r->n, &n) : "";
        if (n && small_random(seed) % 2) { /* from some space of it on, or its end */
            size_t from = small_random(seed) % (uint32_t)n, words = 1 + small_random(seed) % 4, to;
            while (row[from] != ' ') from--;
            if (from + 1 == n) from = 0;
            for (to = from + 1; to < n && words > 0; to++) words -= row[to] == ' ';
            fwrite(row + from + 1, 1, to - from - 2, f);
        } else {
            for (uint32_t w = small_random(seed) % 4 + 1; w > 0; w--)
                fprintf(f, "%s%s", some_word(seed), w > 1 ? " " : "");
        }
        fputc('\n', f);
    }
    fclose(f);
    return names;
}

/* ---- who matches: [rows][classes] ---- */

static void plainly(const char *names, const npr_text *t, int64_t rows, int classes, unsigned char *found)
{
    int c = 0;
    for (const char *line = names; *line; c++) {
        size_t n = strcspn(line, "\n"), bytes;
        char *phrase = malloc(n + 3);
        snprintf(phrase, n + 3, " %.*s ", (int)n, line);
        for (int64_t i = 0; i < rows; i++) {
            const char *row = npr_text_at(t, i, &bytes);
            found[i * classes + c] = bytes && memmem(row, bytes, phrase, n + 2) != NULL;
        }
        free(phrase);
        line += n + 1;
    }
    CHECK_INT(c, classes);
}

static void scan(npr_block_kernel *kernel, const npr_phrases *p, const npr_text *t, int64_t rows,
                 int64_t step, unsigned char *found)
{
    npr_matches m;
    CHECK_OK(npr_matches_make(p, &m));
    memset(found, 0, (size_t)rows * (size_t)p->classes);
    for (int64_t row = 0; row < rows; row += step) {
        int64_t before = row, end = row + step < rows ? row + step : rows;
        CHECK_OK(npr_phrases_scan_with(kernel, p, t, row, end, &m));
        for (size_t i = 0; i < m.count; i++) {
            CHECK(m.match[i].row >= before && m.match[i].row < end);
            before = m.match[i].row;
            found[m.match[i].row * p->classes + m.match[i].label]++;
        }
    }
    npr_matches_free(&m);
}

/* All kernels, both ends fenced, in one piece and in several. Returns how many matches there are. */
static int64_t compare(const char *names, const npr_text *t, int64_t rows)
{
    npr_phrases *p;
    CHECK_OK(npr_phrases_make(names, &p));
    size_t cells = (size_t)rows * (size_t)p->classes;
    unsigned char *want = calloc(cells + 1, 1), *have = calloc(cells + 1, 1);
    plainly(names, t, rows, p->classes, want);
    npr_block_kernel *kernel;
    const char *name;
    for (int k = 0; (kernel = npr_block_kernel_at(k, &name)); k++)
        for (int at_the_end = 0; at_the_end < 2; at_the_end++) {
            fenced f = fence(t, rows, at_the_end);
            for (int64_t step = rows; step > 0; step /= 12) {
                scan(kernel, p, &f.text, rows, step, have);
                if (memcmp(want, have, cells) != 0)
                    fprintf(stderr, "%s, steps of %lld\n", name, (long long)step);
                CHECK(memcmp(want, have, cells) == 0);
            }
            fence_free(&f);
        }
    int64_t n = 0;
    for (size_t i = 0; i < cells; i++) n += want[i];
    free(want);
    free(have);
    npr_phrases_free(p);
    return n;
}

/* ---- tests ---- */

static void test_random(void)
{
    uint64_t seed = 7;
    make_vocabulary(&seed);
    static const struct {
        int64_t rows;
        uint32_t words;
        int classes;
    } sizes[] = {{1, 1, 3},      {1, 30, 20},   {3, 4, 5},      {40, 2, 30},
                 {400, 12, 200}, {1500, 10, 1}, {900, 14, 1500}};
    int64_t matches = 0;
    const int share = test_share();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int again = 0, large = sizes[i].rows >= 100; again < (large ? 2 : 40); again += share) {
            npr_rows r = {0};
            make_captions(&seed, &r, large ? sizes[i].rows / share : sizes[i].rows, sizes[i].words);
            char *names = make_names(&seed, &r, sizes[i].classes);
            matches += compare(names, &r.tokens, r.n);
            free(names);
            npr_rows_free(&r);
        }
    CHECK(matches > 10000 / (share * share));
    for (int i = 0; i < VOCABULARY; i++) free(vocabulary[i]);
}

/* One text of each length around that of a block, and of words of each length. */
static void test_lengths(void)
{
    npr_rows r = {0};
    CHECK_OK(npr_rows_make(&r, NPR_COL(NPR_TOKENS), 4, 1));
    static char text[3 * NPR_BLOCK];
    const size_t share = (size_t)test_share();
    for (size_t bytes = 3; bytes < 2 * NPR_BLOCK + 40;
         bytes += bytes <= 40 ? 1 : share * (bytes < NPR_BLOCK - 70 ? 61 : 1)) {
        size_t word = 1 + bytes % 9;
        for (size_t i = 0; i < bytes; i++) text[i] = i % (word + 1) ? 'x' : ' ';
        memcpy(text + bytes - 2, "z ", 2); /* a last word of its own */
        text[bytes - 3] = ' ';
        npr_rows_clear(&r);
        CHECK_OK(npr_rows_put_text(&r, NPR_TOKENS, text, bytes));
        CHECK_OK(npr_rows_next(&r));
        compare("z\nx z\nxx z\nxxxxxxxxx\nx\nxxxx xxxx\nxxxxxxx xxxxxxx xxxxxxx\n", &r.tokens, 1);
    }
    npr_rows_free(&r);
}

/* Many phrases behind one key: all begin with the same eight bytes. Some begin others, and stand before and
 * behind what is in the text, or end where it does. */
static void test_one_key(void)
{
    enum { NAMES = 1300 };
    char *names = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&names, &size);
    for (int i = 0; i < NAMES; i++) fprintf(f, "accession%04d\n", i);
    for (int i = 0; i < NAMES; i++) fprintf(f, "common words accession%04d\n", i);
    for (int i = 0; i < NAMES; i += 100) fprintf(f, "common words accession%04d common words\n", i);
    for (int i = 0; i < NAMES; i += 50) fprintf(f, "common words accession%04d common\n", i);
    for (int i = 0; i < NAMES; i += 50) fprintf(f, "words accession%04d\n", i);
    fclose(f);
    npr_rows r = {0};
    CHECK_OK(npr_rows_make(&r, NPR_COL(NPR_TOKENS), 4, 5));
    static const char *const text[] = {
        " accession0007 ", "", " accession1299 accession0000 common words accession1298 ",
        " common words accession0100 common words accession0150 common ",
        " x common words accession common words accession9999 words accession0050 "};
    for (int i = 0; i < 5; i++) {
        CHECK_OK(npr_rows_put_text(&r, NPR_TOKENS, text[i], strlen(text[i])));
        CHECK_OK(npr_rows_next(&r));
    }
    CHECK_INT(compare(names, &r.tokens, 5), 5 + 9 + 2);
    npr_phrases *p;
    CHECK_OK(npr_phrases_make(names, &p));
    uint32_t most = 0;
    for (uint32_t i = 0; i < p->keys.slots; i++)
        most = p->keys.rest[i].others > most ? p->keys.rest[i].others : most;
    CHECK(most >= NAMES - 1);
    CHECK_INT(p->keys.alone, 8); /* half of the names at most are one token */
    npr_phrases_free(p);
    npr_rows_free(&r);
    free(names);
}

/* So many names that hashes meet in one bit; a caption for each, and one of all. */
static void test_many_names(void)
{
    enum { NAMES = 12000 };
    char *names = NULL, *all = malloc(NAMES * 16);
    size_t size = 0, at = 0;
    FILE *f = open_memstream(&names, &size);
    npr_rows r = {0};
    CHECK_OK(npr_rows_make(&r, NPR_COL(NPR_TOKENS), 4, NAMES + 1));
    for (int i = 0; i < NAMES; i++) {
        char text[40];
        int n = snprintf(text, sizeof text, i % 3 ? " w%xq " : " w%x %x ", (unsigned)i * 2654435761u >> 8,
                         (unsigned)i);
        fprintf(f, "%.*s\n", n - 2, text + 1);
        CHECK_OK(npr_rows_put_text(&r, NPR_TOKENS, text, (size_t)n));
        CHECK_OK(npr_rows_next(&r));
        at += (size_t)sprintf(all + at, "%s", text + (i > 0));
    }
    fclose(f);
    CHECK_OK(npr_rows_put_text(&r, NPR_TOKENS, all, at));
    CHECK_OK(npr_rows_next(&r));
    npr_phrases *p;
    npr_matches m;
    CHECK_OK(npr_phrases_make(names, &p));
    CHECK_OK(npr_matches_make(p, &m));
    int mixed = 0;
    for (uint32_t i = 0; i < p->keys.slots; i++) mixed += p->keys.slot[i].tag == 0;
    CHECK(mixed > 20);
    CHECK_INT(p->keys.alone, 16);
    npr_block_kernel *kernel;
    const char *name;
    for (int k = 0; (kernel = npr_block_kernel_at(k, &name)); k++) {
        CHECK_OK(npr_phrases_scan_with(kernel, p, &r.tokens, 0, r.n, &m));
        CHECK_INT(m.count, 2 * NAMES);
        for (size_t i = 0; i < m.count; i++) {
            if (i < NAMES) CHECK(m.match[i].row == (int64_t)i && m.match[i].label == (int32_t)i);
            if (i >= NAMES) CHECK(m.match[i].row == NAMES && m.match[i].label == (int32_t)i - NAMES);
        }
    }
    npr_matches_free(&m);
    npr_phrases_free(p);
    npr_rows_free(&r);
    free(names);
    free(all);
}

/* Bytes that npr-ingest would not write: nothing outside is read, and all kernels agree. */
static void test_any_bytes(void)
{
    enum { ROWS = 300 };
    npr_phrases *p;
    CHECK_OK(npr_phrases_make("a\nb a\na a\nb\naa b\n", &p));
    uint64_t seed = 3;
    unsigned char *first = malloc(ROWS * 5), *found = malloc(ROWS * 5);
    for (int again = 0; again < 30; again += test_share()) {
        static const char byte[] = {' ', ' ', ' ', 'a', 'a', 'b', 0, 10, (char)0xff, (char)0x80};
        char bytes[ROWS * 30];
        int64_t offset[ROWS + 1] = {0};
        for (int i = 0; i < ROWS; i++) {
            int64_t end = offset[i] + small_random(&seed) % 30;
            for (int64_t at = offset[i]; at < end; at++)
                bytes[at] = byte[small_random(&seed) % (again % 2 ? 6 : 10)];
            offset[i + 1] = end;
        }
        npr_text t = {bytes, offset, sizeof bytes};
        npr_block_kernel *kernel;
        const char *name;
        for (int k = 0; (kernel = npr_block_kernel_at(k, &name)); k++) {
            fenced f = fence(&t, ROWS, again / 2 % 2);
            scan(kernel, p, &f.text, ROWS, ROWS, k ? found : first);
            if (k) CHECK(memcmp(found, first, ROWS * 5) == 0);
            fence_free(&f);
        }
    }
    free(first);
    free(found);
    npr_phrases_free(p);
}

int main(void)
{
    const char *name;
    for (int k = 0; npr_block_kernel_at(k, &name); k++) fprintf(stderr, "kernel %s\n", name);
    test_random();
    test_lengths();
    test_one_key();
    test_many_names();
    test_any_bytes();
    return TEST_END();
}
