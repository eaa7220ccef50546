/* Outputs are tried before the work: what can be written, what cannot, and that nothing is left behind. */
#include "test.h"

#include <sys/stat.h>

#include "base/file.h"
#include "base/output.h"

static char path[4096];

static const char *in(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", test_folder(), name);
    return path;
}

static int entries(const char *folder)
{
    DIR *d = opendir(folder);
    int n = 0;
    if (!d) return -1;
    for (struct dirent *e; !npr_folder_next(d, folder, &e) && e;) n++;
    closedir(d);
    return n;
}

static void files(void)
{
    CHECK_OK(npr_output_file(in("new.txt"), 1));
    CHECK_OK(npr_output_file(in("far/away/new.txt"), 0));
    CHECK(!npr_file_exists(in("far")));
    CHECK_OK(npr_output_file(in("far/away//new.txt"), 1));
    CHECK_INT(entries(in("far/away")), 0);
    CHECK_OK(npr_file_replace(in("there.txt"), "x", 1));
    CHECK_OK(npr_output_file(in("there.txt"), 1));
    int64_t bytes = 0;
    CHECK_OK(npr_file_size(in("there.txt"), &bytes));
    CHECK_INT(bytes, 1); /* what is there stays until it is replaced */
    CHECK_FAILS(npr_output_file(in("far"), 1), NPR_ECREATE, "is a folder, wanted the name of a file");
    CHECK_FAILS(npr_output_file(in("far/"), 1), NPR_ECREATE, "is a folder, wanted the name of a file");
    CHECK_INT(mkfifo(in("pipe"), 0600), 0); /* as /dev/null: root could put a file in its place */
    CHECK_FAILS(npr_output_file(in("pipe"), 1), NPR_ECREATE, "is no plain file");
    CHECK_FAILS(npr_file_replace(in("pipe"), "x", 1), NPR_ECREATE,
                "pipe: is no plain file, and is left alone");
    struct stat s;
    CHECK(stat(in("pipe"), &s) == 0 && S_ISFIFO(s.st_mode));
    for (int make = 0; make < 2; make++) {
        CHECK_FAILS(npr_output_file(in("there.txt/x.txt"), make), NPR_ECREATE, "there.txt");
        CHECK_FAILS(npr_output_file(in("there.txt/far/x.txt"), make), NPR_ECREATE, "there.txt");
        CHECK_FAILS(npr_output_file("/proc/x.txt", make), NPR_ECREATE, "/proc: cannot create a file in it");
        CHECK_FAILS(npr_output_file("/proc/far/x.txt", make), NPR_ECREATE, "/proc");
    }
    char name[400];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = 0;
    CHECK_FAILS(npr_output_file(in(name), 1), NPR_ECREATE, "File name too long");
}

static void folders(void)
{
    CHECK_OK(npr_output_folder(in("set")));
    CHECK_OK(npr_output_folder(in("a/b/set/")));
    CHECK_OK(npr_output_folder("a-bare-name"));
    CHECK_OK(npr_output_folder("."));
    CHECK(!npr_file_exists(in("set")) && !npr_file_exists(in("a")) && !npr_file_exists("a-bare-name"));
    CHECK_FAILS(npr_output_folder(in("there.txt")), NPR_ECREATE, "is a file, wanted a folder");
    CHECK_FAILS(npr_output_folder(in("there.txt/set")), NPR_ECREATE, "there.txt");
    CHECK_FAILS(npr_output_folder("/proc"), NPR_ECREATE, "/proc: cannot create a file in it");
    CHECK_FAILS(npr_output_folder("/proc/a/set"), NPR_ECREATE, "/proc: cannot create a file in it");
}

/* Root may write into any folder: only other users are refused by its permissions. */
static void permissions(void)
{
    if (geteuid() == 0) return;
    CHECK_INT(mkdir(in("locked"), 0555), 0);
    CHECK_FAILS(npr_output_file(in("locked/x.txt"), 1), NPR_ECREATE,
                "cannot create a file in it: Permission");
    CHECK_FAILS(npr_output_folder(in("locked/set")), NPR_ECREATE, "cannot create a file in it: Permission");
}

int main(void)
{
    CHECK_INT(chdir(test_folder()), 0);
    files();
    folders();
    permissions();
    CHECK_INT(chdir("/"), 0);
    test_folder_remove();
    return TEST_END();
}
