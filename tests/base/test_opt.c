/* Options: kinds, every way to be wrong, files and records, identity, help. */
#include "test.h"

#include "base/file.h"
#include "npr/opt.h"

static struct {
    int flag;
    int64_t rows;
    double alpha;
    const char *in, *mode;
} v;

static npr_opt table[5];

static void reset(void)
{
    memset(&v, 0, sizeof v);
    v.rows = 5;
    v.alpha = 0.9;
    v.mode = "exact";
    const npr_opt fresh[5] = {
        {"flag", NPR_OPT_FLAG, &v.flag, "", "a flag", 0, 1, 0, 0, 0},
        {"rows", NPR_OPT_INT, &v.rows, "N", "rows", 0, 1, 1, 1e12, 0},
        {"alpha", NPR_OPT_REAL, &v.alpha, "A", "weight\nof the text", 0, 1, 0, 1, 0},
        {"in", NPR_OPT_TEXT, &v.in, "DIR", "input set", 1, 1, 0, 0, 0},
        {"mode", NPR_OPT_CHOICE, &v.mode, "exact|faiss|caption", "how", 0, 0, 0, 0, 0},
    };
    memcpy(table, fresh, sizeof table);
}

static npr_status parse(const char *a, const char *b)
{
    static char copy[2][300];
    reset();
    char *argv[3] = {"prog", copy[0], copy[1]};
    snprintf(copy[0], sizeof copy[0], "%s", a);
    snprintf(copy[1], sizeof copy[1], "%s", b ? b : "");
    npr_status st = npr_opt_parse(table, 5, b ? 3 : 2, argv);
    return st ? st : npr_opt_missing(table, 5);
}

static char *kept;

static npr_status read_file(const char *path)
{
    free(kept);
    kept = NULL;
    return npr_opt_read(table, 5, path, &kept);
}

static void values(void)
{
    CHECK_OK(parse("--in=x", "--rows=1e6"));
    CHECK_INT(v.rows, 1000000);
    CHECK_TEXT(v.in, "x");
    CHECK_OK(parse("--in=x", "--rows=64K"));
    CHECK_INT(v.rows, 65536);
    CHECK_OK(parse("--in=a=b", "--rows=999999999999"));
    CHECK_INT(v.rows, 999999999999);
    CHECK_TEXT(v.in, "a=b");
    CHECK_OK(parse("--in=x", "--alpha=0.25"));
    CHECK_NEAR(v.alpha, 0.25, 0);
    CHECK_OK(parse("--in=x", "--flag"));
    CHECK_INT(v.flag, 1);
    CHECK_OK(parse("--in=x", "--flag=0"));
    CHECK_INT(v.flag, 0);
    CHECK_OK(parse("--in=x", "--mode=caption"));
    CHECK_TEXT(v.mode, "caption");
}

static void mistakes(void)
{
    static const char *bad[][2] = {
        {"--rows=1.5", "wanted a whole number"},
        {"--rows=", "needs a value"},
        {"--rows", "needs a value"},
        {"--rows=0", "wanted 1 to"},
        {"--rows=1e13", "wanted 1 to"},
        {"--rows=12x", "whole number"},
        {"--rows=1e400", "whole number"},
        {"--rows=nan", "whole number"},
        {"--alpha=1.5", "wanted 0 to 1"},
        {"--alpha=nan", "wanted a number"},
        {"--alpha=x", "wanted a number"},
        {"--mode=exac", "wanted one of exact|faiss"},
        {"--mode=exact|faiss", "one of"},
        {"--flag=2", "wanted 0 or 1"},
        {"--row=5", "unknown option --row;"},
        {"--rowsx=5", "unknown option"},
        {"rows=5", "all options are written"},
        {"-r", "all options"},
        {"--", "unknown option"},
        {"--in=y", "given twice"},
        {"--=5", "unknown option"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_FAILS(parse("--in=x", bad[i][0]), NPR_EUSAGE, bad[i][1]);
    CHECK_FAILS(parse("--flag", NULL), NPR_EUSAGE, "--in=DIR is needed");
}

static void files(void)
{
    char *path = npr_path("%s/opts", test_folder());
    const char *text =
        "# comment\nrun.host=n1\noption.rows=77\r\noption.mode=faiss\n\nalpha=0.5\nresult.top1=0.7\nin=\n";
    CHECK_OK(npr_file_replace(path, text, strlen(text)));
    CHECK_OK(parse("--in=x", "--alpha=0.125"));
    CHECK_OK(read_file(path));
    CHECK_INT(v.rows, 77);
    CHECK_TEXT(v.mode, "faiss");
    CHECK_NEAR(v.alpha, 0.125, 0); /* the command line goes first */
    CHECK_TEXT(v.in, "x");
    char buf[64];
    CHECK_TEXT(npr_opt_print(&table[2], buf, sizeof buf), "0.125");
    char *identity = npr_opt_identity(table, 5);
    CHECK_TEXT(identity, "flag=0\nrows=77\nalpha=0.125\nin=x\n");
    free(identity);
    CHECK_OK(npr_file_replace(path, "option.in=a\\x5cb\\x0a\n", 21));
    reset();
    CHECK_OK(read_file(path));
    CHECK_TEXT(v.in, "a\\b\n"); /* a record escapes, reading it back undoes it */
    CHECK_OK(npr_file_replace(path, "rows=7\nnope=1\n", 14));
    reset();
    CHECK_FAILS(read_file(path), NPR_EUSAGE, "opts:2: unknown option nope");
    CHECK_OK(npr_file_replace(path, "rows\n", 5));
    CHECK_FAILS(read_file(path), NPR_EUSAGE, "wanted name=value");
    CHECK_OK(npr_file_replace(path, "rows=x\n", 7));
    CHECK_FAILS(read_file(path), NPR_EUSAGE, "opts:1: --rows=x");
    free(path);
}

static void help(void)
{
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    reset();
    npr_opt_help(table, 5, f);
    fclose(f);
    CHECK(strstr(text, "--alpha=A") && strstr(text, "[0.9]") && strstr(text, "(required)"));
    CHECK(strstr(text, "--mode=exact|faiss|caption") != NULL);
    free(text);
}

int main(void)
{
    values();
    mistakes();
    files();
    help();
    free(kept);
    test_folder_remove();
    return TEST_END();
}
