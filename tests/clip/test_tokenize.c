/* test_tokenize.c - the tokenizer against ids that open_clip 2.22 gave (tests/data/clip_tokens.tsv, made by
 * tests/clip/tokenize_openclip.py --golden), cleaning and splitting with a vocabulary of bytes only, texts
 * that cost too much elsewhere, and failing memory.
 *
 * For that script, `test_clip_tokenize --encode VOCABULARY TOKENS CONTEXT` reads texts from standard input,
 * each behind its length (4 bytes), and writes their tokens. */
#include <sys/wait.h>
#include <time.h>

#include "base/file.h"
#include "base/json.h"
#include "npr/clip.h"
#include "test.h"

enum { CONTEXT = 77, VOCAB = 49408 };

static int read_text(char **text, size_t *n)
{
    uint32_t length;
    if (fread(&length, sizeof length, 1, stdin) != 1) return 0;
    *n = length;
    *text = realloc(*text, *n + 1);
    return *text && fread(*text, 1, *n, stdin) == *n;
}

static int serve(const char *vocabulary, int vocab, int context)
{
    npr_tokenizer *t = NULL;
    char *text = NULL;
    size_t n;
    int32_t *ids = calloc((size_t)context, sizeof *ids);
    CHECK_OK(npr_tokenizer_open(vocabulary, vocab, &t));
    while (!test_failures && read_text(&text, &n)) {
        CHECK_OK(npr_tokenizer_encode(t, text, n, context, ids));
        fwrite(ids, sizeof *ids, (size_t)context, stdout);
    }
    free(text);
    free(ids);
    npr_tokenizer_close(t);
    return TEST_END();
}

/* ---- against open_clip --------------------------------------------------------------------------------- */

static int check_line(const npr_tokenizer *t, char *line)
{
    int32_t want[CONTEXT] = {VOCAB - 2}, got[CONTEXT];
    int n = 1;
    char *tab = strchr(line, '\t'), *at = tab + 1;
    while (*at && n < CONTEXT - 1) want[n++] = (int32_t)strtol(at, &at, 10);
    want[n] = VOCAB - 1;
    *tab = 0;
    char *list = npr_path("[%s]", line);
    npr_json *json = npr_json_parse(list, strlen(list), "clip_tokens.tsv");
    const npr_json *text = json ? npr_json_at(json, 0) : NULL;
    CHECK(text != NULL);
    if (text) CHECK_OK(npr_tokenizer_encode(t, npr_json_text(text), npr_json_text_bytes(text), CONTEXT, got));
    int wrong = text && memcmp(want, got, sizeof want) != 0;
    if (wrong) fprintf(stderr, "other tokens: %s\n", line);
    npr_json_free(json);
    free(list);
    return wrong;
}

static void test_golden(const npr_tokenizer *t)
{
    const char *source = getenv("NPR_SOURCE");
    char *path = npr_path("%s/tests/data/clip_tokens.tsv", source ? source : "."), *text = NULL;
    size_t n = 0;
    int lines = 0, wrong = 0;
    CHECK_OK(npr_file_read(path, 1 << 20, &text, &n));
    for (char *line = text, *end; line && (end = strchr(line, '\n')); line = end + 1, lines++) {
        *end = 0;
        wrong += check_line(t, line);
    }
    CHECK(lines > 1400);
    CHECK_INT(wrong, 0);
    free(text);
    free(path);
}

static void test_borders(const npr_tokenizer *t)
{
    int32_t ids[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    CHECK_OK(npr_tokenizer_encode(t, "", 0, 8, ids));
    CHECK(ids[0] == VOCAB - 2 && ids[1] == VOCAB - 1 && ids[2] == 0 && ids[7] == 0);
    CHECK_OK(npr_tokenizer_encode(t, "a cat sat on a mat", 18, 4, ids));
    CHECK(ids[0] == VOCAB - 2 && ids[1] == 320 && ids[2] == 2368 && ids[3] == VOCAB - 1);
    CHECK_OK(npr_tokenizer_encode(t, "a cat", 5, 1, ids));
    CHECK_INT(ids[0], VOCAB - 1);
    CHECK_FAILS(npr_tokenizer_encode(t, "a", 1, 0, ids), NPR_EINTERNAL, "context of 0");
}

/* ---- cleaning and splitting: a vocabulary without merges, tokens are bytes ----------------------------- */

/* Tokens as text: bytes, with a | behind each word. */
static const char *split(const npr_tokenizer *bytes, const char *text, size_t n)
{
    static char out[1024];
    int32_t ids[256];
    size_t o = 0;
    CHECK_OK(npr_tokenizer_encode(bytes, text, n, 256, ids));
    for (int i = 1; ids[i] != 513; i++) {
        int id = ids[i] % 256;
        int b = id < 94    ? id + 33
                : id < 106 ? id + 67
                : id < 188 ? id + 68
                : id < 221 ? id - 188
                : id < 255 ? id - 94
                           : 173;
        if (ids[i] == 512) {
            o += (size_t)sprintf(out + o, "START|");
            continue;
        }
        out[o++] = (char)b;
        if (ids[i] >= 256) out[o++] = '|';
    }
    out[o] = 0;
    return out;
}

#define SPLITS(text, want) CHECK_TEXT(split(t, text, sizeof text - 1), want)

static void test_split(const npr_tokenizer *t)
{
    SPLITS("It's 42!? <START_OF_TEXT> x", "it|'s|4|2|!?|START|x|");
    SPLITS("a&amp;amp;eacute;\n&#X41;&copy", "a\xc3\xa9|a|\xc2\xa9|");
    SPLITS("\xef\xbc\xa1\xe3\x80\x80\xef\xac\x81 \xe2\x80\x9cx\xe2\x80\x99",
           "a|fi|\"|x|'|"); /* width, ligature, quotes */
    SPLITS("\x1b[31mred\x1b[0m\x07!\xef\xbb\xbf", "red|!|");
    SPLITS("e\xcc\x81 \xce\xa3\xce\x91\xce\xa3 \xc4\xb0", "\xc3\xa9|\xcf\x83\xce\xb1\xcf\x82|i|\xcc\x87|");
    SPLITS("caf\xc3\x83\xc2\xa9 it\xc3\xa2\xe2\x82\xac\xe2\x84\xa2s", "caf\xc3\xa9|it|'s|"); /* mojibake */
    SPLITS("a\xff\xe2\x82z\xed\xa0\x80",
           "a|\xef\xbf\xbd\xef\xbf\xbd|z|\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd|"); /* no UTF-8 */
    SPLITS("a\0b", "ab|");
    SPLITS("a\xcd\x85", "a|"); /* a lone iota below is in no class of the pattern */
}

/* ---- what must not take long, and failing memory ------------------------------------------------------- */

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void test_hostile(const npr_tokenizer *t)
{
    enum { N = 1 << 20 };
    static const char *const part[] = {"a",
                                       "ab",
                                       "&amp;",
                                       "amp;",
                                       "&",
                                       "\xc3\x83\xc2\x83",
                                       "\xcc\x81\xcc\xa3",
                                       "\xce\xa3.",
                                       "\xe6\xbc\xa2",
                                       "\x1b[1",
                                       "\xc3\x83",
                                       "\xe2\x82\xac\xc3\xa2",
                                       "\xef\xbf\xbd",
                                       "<",
                                       "'s",
                                       "\n",
                                       "\xff",
                                       "\xf0\x9f\x98\x80",
                                       "\xc2\x85",
                                       "&#x110000;",
                                       "\xc3\xa2\xe2\x82\xac\xe2\x84\xa2 ",
                                       "\xc2\x9d\xc3\xad"};
    int32_t ids[CONTEXT];
    char *text = malloc(N);
    for (size_t p = 0; p < sizeof part / sizeof *part; p++) {
        size_t n = strlen(part[p]);
        for (size_t i = 0; i < N; i++) text[i] = part[p][i % n];
        if (p == 3)
            memmove(text + 1, text, N - 1), text[0] = '&'; /* one reference, a quarter of a million deep */
        double began = seconds();
        CHECK_OK(npr_tokenizer_encode(t, text, N, CONTEXT, ids));
        double took = seconds() - began;
        if (took > 20 || getenv("NPR_TEST_TIMES")) fprintf(stderr, "part %zu: %.1f s\n", p, took);
        CHECK(took <= 20);
    }
    free(text);
}

static const char damaged[] = "caf\xc3\x83\xc2\xa9 &amp; supercalifragilistic e\xcc\x81 \xe2\x80\x9cx";

/* The nth allocation of this process fails (NPR_FAULT): exit code 0 if it did not come to that. */
static int fail_once(const char *vocabulary)
{
    npr_tokenizer *t = NULL;
    int32_t ids[CONTEXT];
    npr_status st = npr_tokenizer_open(vocabulary, 514, &t);
    if (!st) st = npr_tokenizer_encode(t, damaged, sizeof damaged - 1, CONTEXT, ids);
    if (st && !strstr(npr_status_text(), "out of memory")) st = NPR_EDATA;
    npr_tokenizer_close(t);
    return (int)st;
}

static void test_no_memory(const char *self, const char *vocabulary)
{
    int n = 1, code = 1;
    for (; n < 200 && code != 0; n++) {
        char *command = npr_path("NPR_FAULT=alloc@0:%d '%s' --fail '%s'", n, self, vocabulary);
        code = system(command);
        if (code != 0) CHECK_INT(WEXITSTATUS(code), NPR_EINTERNAL);
        free(command);
    }
    CHECK(n > 20 && n < 200);
}

int main(int argc, char **argv)
{
    if (argc == 5 && !strcmp(argv[1], "--encode")) return serve(argv[2], atoi(argv[3]), atoi(argv[4]));
    if (argc == 3 && !strcmp(argv[1], "--fail")) return fail_once(argv[2]);
    npr_tokenizer *t = NULL;
    char *path = npr_path("%s/bytes.txt", test_folder());
    CHECK_OK(npr_file_replace(path, "#version: 0.2\n", 14));
    CHECK_OK(npr_tokenizer_open(path, 514, &t));
    if (t) test_split(t);
    if (t) test_hostile(t);
    npr_tokenizer_close(t);
    t = NULL;
    test_no_memory(argv[0], path);
    free(path);
    test_folder_remove();
    const char *vocabulary = test_data("clip/bpe_simple_vocab_16e6.txt.gz");
    if (!vocabulary && !test_failures)
        SKIP("no clip/bpe_simple_vocab_16e6.txt.gz: only splitting was tested");
    if (vocabulary) CHECK_OK(npr_tokenizer_open(vocabulary, VOCAB, &t));
    if (t) {
        test_golden(t);
        test_borders(t);
        test_hostile(t);
    }
    npr_tokenizer_close(t);
    return TEST_END();
}
