/* Outputs are tried before the work: what can be written, what cannot, and that nothing is left behind. */
#include "test.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

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
    CHECK_OK(npr_output_file(in("new.txt"), NPR_OUTPUT_MAKE));
    CHECK_OK(npr_output_file(in("far/away/new.txt"), NPR_OUTPUT_LOOK));
    CHECK(!npr_file_exists(in("far")));
    CHECK_OK(npr_output_file(in("far/away//new.txt"), NPR_OUTPUT_MAKE));
    CHECK_INT(entries(in("far/away")), 0);
    CHECK_OK(npr_file_replace(in("there.txt"), "x", 1));
    CHECK_OK(npr_output_file(in("there.txt"), NPR_OUTPUT_MAKE));
    int64_t bytes = 0;
    CHECK_OK(npr_file_size(in("there.txt"), &bytes));
    CHECK_INT(bytes, 1); /* what is there stays until it is replaced */
    CHECK_FAILS(npr_output_file(in("far"), NPR_OUTPUT_MAKE), NPR_ECREATE,
                "is a folder, wanted the name of a file");
    CHECK_FAILS(npr_output_file(in("far/"), NPR_OUTPUT_MAKE), NPR_ECREATE,
                "is a folder, wanted the name of a file");
    CHECK_INT(mkfifo(in("pipe"), 0600), 0); /* as /dev/null: root could put a file in its place */
    CHECK_FAILS(npr_output_file(in("pipe"), NPR_OUTPUT_MAKE), NPR_ECREATE, "is no plain file");
    CHECK_FAILS(npr_file_replace(in("pipe"), "x", 1), NPR_ECREATE,
                "pipe: is no plain file, and is left alone");
    struct stat s;
    CHECK(stat(in("pipe"), &s) == 0 && S_ISFIFO(s.st_mode));
    for (npr_output_how how = NPR_OUTPUT_TRY; how <= NPR_OUTPUT_MAKE; how++) {
        CHECK_FAILS(npr_output_file(in("there.txt/x.txt"), how), NPR_ECREATE, "there.txt");
        CHECK_FAILS(npr_output_file(in("there.txt/far/x.txt"), how), NPR_ECREATE, "there.txt");
        CHECK_FAILS(npr_output_file("/proc/x.txt", how), NPR_ECREATE, "/proc: cannot create a file in it");
        CHECK_FAILS(npr_output_file("/proc/far/x.txt", how), NPR_ECREATE, "/proc");
    }
    char name[400];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = 0;
    CHECK_FAILS(npr_output_file(in(name), NPR_OUTPUT_MAKE), NPR_ECREATE, "File name too long");
}

static void folders(void)
{
    CHECK_OK(npr_output_folder(in("set"), NPR_OUTPUT_TRY));
    CHECK_OK(npr_output_folder(in("a/b/set/"), NPR_OUTPUT_TRY));
    CHECK_OK(npr_output_folder("a-bare-name", NPR_OUTPUT_TRY));
    CHECK_OK(npr_output_folder(".", NPR_OUTPUT_TRY));
    CHECK(!npr_file_exists(in("set")) && !npr_file_exists(in("a")) && !npr_file_exists("a-bare-name"));
    CHECK_FAILS(npr_output_folder(in("there.txt"), NPR_OUTPUT_TRY), NPR_ECREATE,
                "is a file, wanted a folder");
    CHECK_FAILS(npr_output_folder(in("there.txt/set"), NPR_OUTPUT_TRY), NPR_ECREATE, "there.txt");
    CHECK_FAILS(npr_output_folder("/proc", NPR_OUTPUT_TRY), NPR_ECREATE, "/proc: cannot create a file in it");
    CHECK_FAILS(npr_output_folder("/proc/a/set", NPR_OUTPUT_TRY), NPR_ECREATE,
                "/proc: cannot create a file in it");
}

/* Root may write into any folder: only other users are refused by its permissions. */
static void permissions(void)
{
    if (geteuid() == 0) return;
    CHECK_INT(mkdir(in("locked"), 0555), 0);
    CHECK_FAILS(npr_output_file(in("locked/x.txt"), NPR_OUTPUT_MAKE), NPR_ECREATE,
                "cannot create a file in it: Permission");
    CHECK_FAILS(npr_output_folder(in("locked/set"), NPR_OUTPUT_LOOK), NPR_ECREATE,
                "cannot create a file in it: Permission");
    CHECK_FAILS(npr_output_folder(in("locked/set"), NPR_OUTPUT_TRY), NPR_ECREATE,
                "cannot create a file in it: Permission");
}

static const char *place_of(const char *name)
{
    static char text[4096];
    char *place = npr_output_place(name);
    snprintf(text, sizeof text, "%s", place ? place : "nowhere");
    free(place);
    return text;
}

/* In the test's folder: all names of one place are the same text, whether it is there or not. */
static void places(void)
{
    char want[8192], here[4096];
    CHECK(getcwd(here, sizeof here - 32) != NULL);
    static const char *const names[] = {"new/x.csv",           "./new/x.csv",    "new//./x.csv/",
                                        "gone/../new/x.csv",   "new/y/../x.csv", "real/../new/x.csv",
                                        "link/../../new/x.csv"};
    CHECK_OK(npr_folder_make(in("real/deep")));
    CHECK_INT(symlink("real/deep", in("link")), 0);
    snprintf(want, sizeof want, "%s/new/x.csv", here);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) CHECK_TEXT(place_of(names[i]), want);
    CHECK_TEXT(place_of(in("new/x.csv")), want);
    snprintf(want, sizeof want, "%s/real/deep/x.csv", here);
    CHECK_TEXT(place_of("link/x.csv"), want);
    snprintf(want, sizeof want, "%s/there.txt", here);
    CHECK_TEXT(place_of("there.txt"), want);
    CHECK_INT(symlink("there.txt", in("alias.txt")), 0); /* the link would be replaced, not the file */
    snprintf(want, sizeof want, "%s/alias.txt", here);
    CHECK_TEXT(place_of("alias.txt"), want);
    CHECK_TEXT(place_of("."), here);
    CHECK_TEXT(place_of("/"), "/");
    CHECK_TEXT(place_of("/..//x"), "/x");
}

/* A look makes nothing, and sees what is of the wrong kind. */
static void looks(void)
{
    int before = entries(test_folder());
    CHECK_OK(npr_output_folder(in("looked/at"), NPR_OUTPUT_LOOK));
    CHECK_OK(npr_output_file(in("looked/at.txt"), NPR_OUTPUT_LOOK));
    CHECK_FAILS(npr_output_folder(in("there.txt"), NPR_OUTPUT_LOOK), NPR_ECREATE,
                "is a file, wanted a folder");
    CHECK_FAILS(npr_output_file(in("far"), NPR_OUTPUT_LOOK), NPR_ECREATE, "is a folder");
    CHECK_INT(entries(test_folder()), before);
}

int main(void)
{
    CHECK_INT(chdir(test_folder()), 0);
    files();
    folders();
    places();
    looks();
    permissions();
    CHECK_INT(chdir("/"), 0);
    test_folder_remove();
    return TEST_END();
}
