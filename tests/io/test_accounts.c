/* test_accounts.c - the table of classes that stages hand on: read, cut, printed; what is no such table. */
#include "test.h"

#include <sys/stat.h>

#include "base/file.h"
#include "io/accounts.h"

static char folder[64], path[96];

static void put(const char *table)
{
    CHECK_OK(npr_file_replace(path, table, strlen(table)));
}

/* What is printed of the header and of the classes -1 to 3. */
static const char *print(const npr_accounts *a)
{
    static char got[256];
    FILE *f = fmemopen(got, sizeof got, "w");
    npr_accounts_print_header(a, f);
    for (int c = -1; c < 4; c++) {
        fputc('|', f);
        npr_accounts_print(a, c, f);
    }
    fclose(f);
    return got;
}

static void check(const char *table, const char *want)
{
    npr_accounts a;
    put(table);
    CHECK_OK(npr_accounts_read(folder, &a));
    CHECK_TEXT(print(&a), want);
    npr_accounts_free(&a);
}

static void refused(const char *table, const char *words)
{
    npr_accounts a;
    put(table);
    CHECK_FAILS(npr_accounts_read(folder, &a), NPR_EDATA, words);
    npr_accounts_free(&a);
}

int main(void)
{
    npr_accounts a;
    snprintf(folder, sizeof folder, "/tmp/npr-accounts-%d", (int)getpid());
    snprintf(path, sizeof path, "%s/classes.tsv", folder);
    CHECK(mkdir(folder, 0777) == 0);
    CHECK_OK(npr_accounts_read(folder, &a)); /* there is none */
    CHECK_TEXT(print(&a), "|||||");
    npr_accounts_free(&a);

    check("class\tname\tkept\n0\ta\t5\n2\tb c\t7\n", "\tkept|\t-|\t5|\t-|\t7|\t-");
    check("class\tname\tx\tkept\n3\t\t1\t2\n0\ta\t5\t6\n-1\t\t9\t9",
          "\tx\tkept|\t-\t-|\t5\t6|\t-\t-|\t-\t-|\t1\t2");
    put("class\tname\tx\tkept\n1\tn\t1\t2\n");
    CHECK_OK(npr_accounts_read(folder, &a));
    npr_accounts_cut(&a, "other");
    CHECK_TEXT(print(&a), "\tx\tkept|\t-\t-|\t-\t-|\t1\t2|\t-\t-|\t-\t-");
    npr_accounts_cut(&a, "kept");
    CHECK_TEXT(print(&a), "\tx|\t-|\t-|\t1|\t-|\t-");
    CHECK_TEXT(a.name[1], "n");
    CHECK(a.name[0] == NULL && a.classes == 2);
    npr_accounts_free(&a);

    refused("", "wanted a table with a header");
    refused("label\tname\tx\n", "wanted a table with a header");
    refused("class\tname\tx", "wanted a table with a header");
    refused("class\tname\tx\n0\ta\n", "line 2: wanted a class, its name and 1 values");
    refused("class\tname\tx\n0\ta\t1\nb\ta\t1\n", "line 3: wanted a class");
    refused("class\tname\tx\n99999999999\ta\t1\n", "line 2: wanted a class");
    refused("class\tname\tx\n1\ta\t1\n1\tb\t1\n", "line 3: class 1 again");
    CHECK(unlink(path) == 0 && rmdir(folder) == 0);
    return TEST_END();
}
