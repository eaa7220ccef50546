/* test_captions.c - npr_tokens_make() against the tokenizer it stands for, asked through SQLite's own
 * interface: every code point in every position that matters, made-up strings of any bytes (200,000 of them,
 * or as many as NPR_CAPTIONS says: `tests/nightly.sh captions` takes 10^7), and real captions.
 *
 * `test_io_captions --tables` prints src/io/captions_table.h, made from what the tokenizer says. */
#include "test.h"

#include <sqlite3.h>

#include "base/file.h"
#include "base/rng.h"
#include "npr/log.h"
#include "npr/source.h"

enum { CODES = 0x110000, ROOM = 1 << 16 };

/* ---- the oracle ---- */

typedef struct oracle {
    sqlite3 *db;
    fts5_tokenizer tokenizer;
    Fts5Tokenizer *unicode61;
    char *out; /* [ROOM] */
    size_t n;
    int tokens;
} oracle;

static int keep_token(void *to, int flags, const char *token, int n, int start, int end)
{
    oracle *o = to;
    (void)flags, (void)start, (void)end;
    if (o->n + (size_t)n + 2 > ROOM) return SQLITE_TOOBIG;
    o->out[o->n++] = ' ';
    memcpy(o->out + o->n, token, (size_t)n);
    o->n += (size_t)n;
    o->tokens++;
    return SQLITE_OK;
}

static int oracle_open(oracle *o)
{
    fts5_api *api = NULL;
    sqlite3_stmt *ask = NULL;
    void *context;
    *o = (oracle){.out = malloc(ROOM)};
    int ok = o->out && sqlite3_open(":memory:", &o->db) == SQLITE_OK &&
             sqlite3_prepare_v2(o->db, "SELECT fts5(?1)", -1, &ask, NULL) == SQLITE_OK &&
             sqlite3_bind_pointer(ask, 1, &api, "fts5_api_ptr", NULL) == SQLITE_OK &&
             sqlite3_step(ask) == SQLITE_ROW && api &&
             api->xFindTokenizer(api, "unicode61", &context, &o->tokenizer) == SQLITE_OK &&
             o->tokenizer.xCreate(context, NULL, 0, &o->unicode61) == SQLITE_OK;
    sqlite3_finalize(ask);
    return ok;
}

static void oracle_close(oracle *o)
{
    if (o->unicode61) o->tokenizer.xDelete(o->unicode61);
    sqlite3_close(o->db);
    free(o->out);
}

/* What npr_tokens_make() must give, in o->out. */
static void oracle_ask(oracle *o, const char *text, size_t n)
{
    o->n = 0;
    o->tokens = 0;
    if (o->tokenizer.xTokenize(o->unicode61, o, FTS5_TOKENIZE_DOCUMENT, text, (int)n, keep_token)) {
        fprintf(stderr, "SQLite failed\n");
        exit(1);
    }
    if (o->n) o->out[o->n++] = ' ';
}

/* The text in a block of exactly its size, the result in one of exactly npr_tokens_room(): a sanitizer sees
 * every byte too many. */
static void compare(oracle *o, const char *text, size_t n)
{
    char *in = malloc(n ? n : 1), *out = malloc(npr_tokens_room(n));
    if (!in || !out) exit(1);
    memcpy(in, text, n);
    size_t m = npr_tokens_make(in, n, out);
    oracle_ask(o, text, n);
    if ((m != o->n || memcmp(out, o->out, m) != 0) && test_failures++ < 20) {
        fprintf(stderr, "tokens of");
        for (size_t i = 0; i < n; i++) fprintf(stderr, " %02x", (unsigned char)text[i]);
        fprintf(stderr, "\n are    \"%.*s\"\n wanted \"%.*s\"\n", (int)m, out, (int)o->n, o->out);
    }
    free(in);
    free(out);
}

static size_t encode(uint32_t c, char *s)
{
    if (c < 0x80) return s[0] = (char)c, 1;
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n; --i > 0; c >>= 6) s[i] = (char)(0x80 | (c & 0x3f));
    s[0] = (char)(0xf00 >> n | c);
    return n;
}

/* ---- the tables, printed ---- */

/* The code point c becomes inside a token, 0 = none (a diacritic); -1: c separates tokens. */
static int32_t ask_code(oracle *o, uint32_t c, int inside)
{
    char text[8] = "a";
    size_t n = (size_t)inside;
    n += encode(c, text + n);
    if (inside) text[n++] = 'b';
    oracle_ask(o, text, n);
    if (o->tokens != 1) return -1;
    const unsigned char *p = (const unsigned char *)o->out + 1 + inside;
    size_t left = o->n - 2 - 2 * (size_t)inside;
    if (!left) return 0;
    if (*p < 0x80) return *p;
    int32_t code = *p & (left == 2 ? 0x1f : left == 3 ? 0x0f : 0x07);
    for (size_t i = 1; i < left; i++) code = code << 6 | (p[i] & 0x3f);
    return code;
}

static void print_item(int *column, const char *item)
{
    *column += (int)strlen(item) + 1;
    if (*column > 105) printf("\n   "), *column = 4 + (int)strlen(item);
    printf(" %s", item);
}

/* Runs of code points that separate tokens (inside = 0) or that separate them even inside of one (inside =
 * 1): the difference of the two are the diacritics. */
static void print_separators(oracle *o)
{
    char item[64];
    int column = 200;
    printf("/* Code points from 0x80 on that separate tokens: first, last. */\n"
           "static const struct separator {\n    uint32_t first, last;\n} separators[] = {");
    for (uint32_t c = 0x80; c < CODES; c++) {
        if (ask_code(o, c, 1) >= 0) continue;
        uint32_t first = c;
        while (c + 1 < CODES && ask_code(o, c + 1, 1) < 0) c++;
        snprintf(item, sizeof item, "{0x%x, 0x%x},", first, c);
        print_item(&column, item);
    }
    printf("\n};\n\n");
    column = 200;
    printf("/* Diacritics: dropped inside of a token, separators elsewhere. */\n"
           "static const struct separator diacritics[] = {");
    for (uint32_t c = 0x80; c < CODES; c++) {
        if (ask_code(o, c, 0) >= 0 || ask_code(o, c, 1) < 0) continue;
        uint32_t first = c;
        while (ask_code(o, c + 1, 0) < 0 && ask_code(o, c + 1, 1) >= 0) c++;
        snprintf(item, sizeof item, "{0x%x, 0x%x},", first, c);
        print_item(&column, item);
    }
    printf("\n};\n\n");
}

/* How far the run goes that begins at c: code points `step` apart become f(c), f(c) + rise, ... */
static uint32_t run_end(const int32_t *fold, uint32_t c, uint32_t step, uint32_t rise)
{
    uint32_t end = c;
    int32_t to = fold[c];
    while (end + step < CODES && fold[end + step] == (to += (int32_t)rise)) {
        for (uint32_t between = end + 1; between < end + step; between++)
            if (fold[between] != (int32_t)between) return end;
        if (fold[end + step] == (int32_t)(end + step)) return end;
        end += step;
    }
    return end;
}

static void print_folds(oracle *o)
{
    int32_t *fold = malloc(CODES * sizeof *fold);
    if (!fold) exit(1);
    for (uint32_t c = 0; c < CODES; c++) {
        fold[c] = ask_code(o, c, 1);
        if (fold[c] <= 0) fold[c] = (int32_t)c;
    }
    char item[64];
    int column = 200;
    printf(
        "/* Code points from 0x80 on that become others: first, last, what first becomes; the others of the "
        "run "
        "lie `step`\n * apart and become the next ones (rise 1), the next but one (rise 2), or the same "
        "(rise 0). "
        "*/\n"
        "static const struct fold {\n    uint32_t first, last, to;\n    uint8_t step, rise;\n} folds[] = {");
    for (uint32_t c = 0x80; c < CODES; c++) {
        static const uint8_t shape[][2] = {{1, 1}, {1, 0}, {2, 2}, {2, 0}};
        if (fold[c] == (int32_t)c) continue;
        uint32_t last = c;
        int best = 0;
        for (int i = 0; i < 4; i++) {
            uint32_t end = run_end(fold, c, shape[i][0], shape[i][1]);
            if (end > last) last = end, best = i;
        }
        snprintf(item, sizeof item, "{0x%x, 0x%x, 0x%x, %d, %d},", c, last, (unsigned)fold[c], shape[best][0],
                 shape[best][1]);
        print_item(&column, item);
        c = last;
    }
    printf("\n};\n");
    free(fold);
}

static void print_tables(oracle *o)
{
    printf(
        "/* captions_table.h - what the tokenizer unicode61 of SQLite's FTS5 does with code points beyond "
        "ASCII "
        "(its\n * Unicode is 6.1: later letters and signs are parts of tokens, as all that was unassigned). "
        "Printed "
        "by\n * `test_io_captions --tables`, which asks SQLite; the same test compares every code point. */\n"
        "#include <stdint.h>\n\n/* clang-format off */\n");
    print_separators(o);
    print_folds(o);
    printf("/* clang-format on */\n");
}

/* ---- tests ---- */

/* Each code point alone, between letters, before and after one, before a space, after a diacritic, doubled.
 */
static void test_every_code_point(oracle *o)
{
    static const char *const before[] = {"", "a", "", "a", " ", "e\xcc\x81", "\xd0\x96"},
                             *const after[] = {"", "b", "b", "", " z", "Z", "\xcc\x81-x"};
    for (uint32_t c = 0; c < CODES; c++) {
        char code[4], text[32];
        size_t n = encode(c, code);
        for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
            size_t m = strlen(before[i]), k = strlen(after[i]);
            memcpy(text, before[i], m);
            memcpy(text + m, code, n);
            memcpy(text + m + n, after[i], k);
            compare(o, text, m + n + k);
        }
        memcpy(text, code, n);
        memcpy(text + n, code, n);
        compare(o, text, 2 * n);
    }
}

/* Every string of up to two bytes, and every sequence of a leading byte and up to five others of the kinds
 * that matter: encodings too long, too short, broken and beyond Unicode. */
static void test_bytes(oracle *o)
{
    static const unsigned char follow[] = {'a', ' ', 0, 0x80, 0x8f, 0x9f, 0xaa, 0xbf, 0xc3, 0xff};
    enum { KINDS = sizeof follow };
    char text[8];
    for (int a = 0; a < 256; a++) {
        text[0] = (char)a;
        compare(o, text, 1);
        for (int b = 0; b < 256; b++) {
            text[1] = (char)b;
            compare(o, text, 2);
        }
        if (a < 0x80) continue;
        for (int k = 0; k < KINDS * KINDS * KINDS * KINDS; k++) {
            for (int i = 0, rest = k; i < 4; i++, rest /= KINDS) text[i + 1] = (char)follow[rest % KINDS];
            text[5] = text[6] = (char)0xbf;
            compare(o, text, 5 + (size_t)(k % 3));
        }
    }
}

/* A made-up text: words, accents, signs, other scripts, emoji, broken bytes, any bytes. */
static size_t make_text(npr_rng *r, char *text, size_t room)
{
    static const uint32_t block[] = {0x20,    0x41,    0x61,    0xa0,    0x100,   0x300,   0x370,
                                     0x400,   0x530,   0x5d0,   0x620,   0x900,   0x1e00,  0x1f00,
                                     0x2000,  0x2100,  0x2460,  0x2c00,  0x3040,  0x4e00,  0xa640,
                                     0xac00,  0xd7f0,  0xe000,  0xfb00,  0xff00,  0x10400, 0x1d400,
                                     0x1f300, 0x1f600, 0x20000, 0xe0000, 0xf0000, 0x10fff0};
    enum { BLOCKS = sizeof block / sizeof *block };
    size_t n = 0, want = (size_t)npr_rng_below(r, (int64_t)room - 8);
    int kind = (int)npr_rng_below(r, 4);
    while (n < want) {
        int64_t what = npr_rng_below(r, 16);
        if (kind == 0 || what == 0)
            text[n++] = (char)npr_rng_below(r, 256);
        else if (kind == 1 || what < 8)
            text[n++] = (char)(what < 3 ? 0x20 + npr_rng_below(r, 0x60) : 0x61 + npr_rng_below(r, 26));
        else
            n += encode(block[npr_rng_below(r, BLOCKS)] + (uint32_t)npr_rng_below(r, 96), text + n);
    }
    return n;
}

static void test_made_up_texts(oracle *o)
{
    const char *many = getenv("NPR_CAPTIONS");
    long texts = many ? strtol(many, NULL, 10) : 200000;
    CHECK(texts > 0);
    char text[512];
    for (long i = 0; i < texts; i++) {
        npr_rng r = npr_rng_make(61, (uint64_t)i);
        compare(o, text, make_text(&r, text, i % 100 ? 96 : sizeof text));
    }
}

static void test_known(void)
{
    static const char *const known[][2] = {
        {"", ""},
        {" ,;- ", ""},
        {"Jack-o'-Lantern", " jack o lantern "},
        {"na\xc3\xafve CAF\xc3\x89 cafe\xcc\x81", " naive cafe cafe "},
        {"\xcc\x81x", " x "},
        {"\xd0\x9f\xd0\xa0\xd0\x98\xd0\x92\xd0\x95\xd0\xa2",
         " \xd0\xbf\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82 "},
        {"\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e", " \xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e "},
        {"a\xf0\x9f\x98\x80"
         "b",
         " a b "},
        {"snake_case 3.5mm", " snake case 3 5mm "}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        char out[128] = "";
        size_t n = npr_tokens_make(known[i][0], strlen(known[i][0]), out);
        out[n] = 0;
        CHECK_TEXT(out, known[i][1]);
    }
    char out[16];
    CHECK_INT(npr_tokens_make("a\0b", 3, out), 5);
    CHECK(!memcmp(out, " a b ", 5));
}

static void test_real_captions(oracle *o)
{
    const char *path = test_data("captions/web_10000.tsv");
    if (!path) {
        fprintf(stderr, "no real captions here\n");
        return;
    }
    char *text;
    size_t n, captions = 0, bytes = 0;
    CHECK_OK(npr_file_read(path, 1 << 26, &text, &n));
    char *all = malloc(n), *out = malloc(npr_tokens_room(n));
    for (char *line = text, *end; line < text + n; line = end + 1, captions++) {
        end = memchr(line, '\n', (size_t)(text + n - line));
        char *tab = memchr(line, '\t', (size_t)(end - line));
        compare(o, tab + 1, (size_t)(end - tab - 1));
        memcpy(all + bytes, tab + 1, (size_t)(end - tab));
        bytes += (size_t)(end - tab);
    }
    CHECK_INT(captions, 10000);
    double start = npr_now();
    enum { ROUNDS = 20 };
    size_t made = 0;
    for (int i = 0; i < ROUNDS; i++) made += npr_tokens_make(all, bytes, out);
    printf("%zu real captions, %zu bytes: %.2f GB/s (%zu bytes of tokens)\n", captions, bytes,
           (double)bytes * ROUNDS / (npr_now() - start) / 1e9, made / ROUNDS);
    free(text);
    free(all);
    free(out);
}

int main(int argc, char **argv)
{
    oracle o;
    if (!oracle_open(&o)) SKIP("this SQLite has no FTS5");
    if (argc > 1 && !strcmp(argv[1], "--tables")) {
        print_tables(&o);
        oracle_close(&o);
        return 0;
    }
    test_known();
    test_real_captions(&o);
    test_every_code_point(&o);
    test_bytes(&o);
    test_made_up_texts(&o);
    oracle_close(&o);
    return TEST_END();
}
