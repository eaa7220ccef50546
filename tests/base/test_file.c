/* Files: replacing, listing, folders, and what is said when it goes wrong. */
#include "test.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"

static void put(const char *name, const char *text)
{
    char *path = npr_path("%s/%s", test_folder(), name);
    CHECK_OK(npr_file_replace(path, text, strlen(text)));
    free(path);
}

static void reading(void)
{
    char *path = npr_path("%s/a file", test_folder()), *text = NULL;
    size_t n = 0;
    CHECK_OK(npr_file_replace(path, "one", 3));
    CHECK_OK(npr_file_replace(path, "two\0x", 5));
    CHECK_OK(npr_file_read(path, 100, &text, &n));
    CHECK(n == 5 && !memcmp(text, "two\0x", 6));
    free(text);
    CHECK_FAILS(npr_file_read(path, 4, &text, &n), NPR_EDATA, "5 bytes, more than the 4 allowed");
    CHECK_FAILS(npr_file_read("/nonexistent", 4, &text, &n), NPR_ENOINPUT, "No such file");
    CHECK_FAILS(npr_file_read(test_folder(), 4, &text, &n), NPR_ENOINPUT, "not a regular file");
    char *pipe = npr_path("%s/pipe", test_folder()); /* nobody writes into it */
    CHECK(!mkfifo(pipe, 0600));
    CHECK_FAILS(npr_file_read(pipe, 4, &text, &n), NPR_ENOINPUT, "pipe: not a regular file");
    unlink(pipe);
    free(pipe);
    CHECK_FAILS(npr_file_replace("/nonexistent/x", "x", 1), NPR_ECREATE, "/nonexistent/x");
    int64_t size;
    CHECK_OK(npr_file_size(path, &size));
    CHECK_INT(size, 5);
    CHECK(npr_file_exists(path) && !npr_file_exists("/nonexistent"));
    free(path);
}

static void finding(void)
{
    put("b2.npy", "");
    put("b10.npy", "");
    put("a.tsv", "");
    put(".hidden.npy", "");
    put("odd[1].npy", "");
    npr_paths found;
    CHECK_OK(npr_paths_find(test_folder(), ".npy", &found));
    CHECK_INT(found.count, 3);
    CHECK(strstr(found.path[0], "/b10.npy") && strstr(found.path[1], "/b2.npy") &&
          strstr(found.path[2], "/odd[1].npy"));
    npr_paths_free(&found);
    char *pattern = npr_path("%s/b*.npy", test_folder());
    CHECK_OK(npr_paths_find(pattern, "", &found));
    CHECK_INT(found.count, 2);
    npr_paths_free(&found);
    free(pattern);
    pattern = npr_path("%s/odd[1].npy", test_folder()); /* a name that looks like a pattern */
    CHECK_OK(npr_paths_find(pattern, "", &found));
    CHECK_INT(found.count, 1);
    npr_paths_free(&found);
    free(pattern);
    put("list.txt", "z.npy\r\n\ny.npy\n");
    pattern = npr_path("@%s/list.txt", test_folder());
    CHECK_OK(npr_paths_find(pattern, "", &found));
    CHECK(found.count == 2 && !strcmp(found.path[0], "z.npy") && !strcmp(found.path[1], "y.npy"));
    npr_paths_free(&found);
    free(pattern);
    CHECK_FAILS(npr_paths_find("/nonexistent/*.npy", "", &found), NPR_ENOINPUT, "no file matches");
    CHECK_FAILS(npr_paths_find("@/nonexistent", "", &found), NPR_ENOINPUT, "/nonexistent");
}

static void only_temporary_files_are_tidied_away(const char *folder)
{
    static const struct {
        const char *name;
        int stays;
    } file[] = {{"a.npy.tmp.17", 0}, {"a.tmp.b", 1}, {"notes.tmp.txt", 1}, {"a.tmp.", 1},
                {"a.tmp.1b", 1},     {".tmp.1", 1},  {"a.1", 1},           {"17", 1}};
    for (size_t i = 0; i < sizeof file / sizeof *file; i++) {
        char *path = npr_path("%s/%s", folder, file[i].name);
        CHECK_OK(npr_file_replace(path, "f", 1));
        free(path);
    }
    CHECK_OK(npr_folder_tidy(folder));
    for (size_t i = 0; i < sizeof file / sizeof *file; i++) {
        char *path = npr_path("%s/%s", folder, file[i].name);
        CHECK_INT(npr_file_exists(path), file[i].stays);
        free(path);
    }
}

static void folders(void)
{
    char *deep = npr_path("%s/x/y/z", test_folder()), *file = npr_path("%s/x/y/z/f", test_folder());
    CHECK_OK(npr_folder_make(deep));
    CHECK_OK(npr_folder_make(deep));
    CHECK_OK(npr_file_replace(file, "f", 1));
    CHECK_FAILS(npr_folder_make(file), NPR_ECREATE, "f");
    CHECK_FAILS(npr_folder_make("/proc/x"), NPR_ECREATE, "/proc/x: cannot make this folder");
    CHECK_INT(npr_status_from_create(ENOSPC), NPR_EIO); /* a full disk */
    CHECK_INT(npr_status_from_create(EDQUOT), NPR_EIO);
    CHECK_INT(npr_status_from_create(EROFS), NPR_ECREATE);
    char *temp = npr_file_temporary(file), *want = npr_path("%s.tmp.%ld", file, (long)getpid());
    CHECK_TEXT(temp, want);
    free(want);
    free(temp);
    only_temporary_files_are_tidied_away(deep);
    CHECK_OK(npr_folder_remove(deep));
    CHECK(!npr_file_exists(deep));
    CHECK_OK(npr_folder_remove(deep));
    int64_t bytes = 0;
    CHECK_OK(npr_folder_free_bytes(test_folder(), &bytes));
    CHECK(bytes > 0);
    char *clean = npr_file_escape("a\n\xff b");
    CHECK_TEXT(clean, "a\\x0a\\xff b");
    free(clean);
    free(deep);
    free(file);
}

static void a_failed_write_leaves_the_old_file(void)
{
    char *path = npr_path("%s/keep", test_folder()), *text = NULL;
    size_t n;
    setenv("NPR_FAULT", "file.write@0:2", 1);
    CHECK_OK(npr_file_replace(path, "old", 3));
    CHECK_FAILS(npr_file_replace(path, "new", 3), NPR_EIO, "No space left");
    CHECK_OK(npr_file_read(path, 10, &text, &n));
    CHECK_TEXT(text, "old");
    npr_paths found;
    char *temp = npr_path("%s/keep.tmp*", test_folder());
    CHECK_FAILS(npr_paths_find(temp, "", &found), NPR_ENOINPUT, "no file matches"); /* nothing left behind */
    free(temp);
    free(text);
    free(path);
}

/* A folder whose end cannot be read has no fewer files for that. The fault is injected in another process. */
static npr_status in_child(const char *folder, const char *fault)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        setenv("NPR_FAULT", fault, 1);
        execl("/proc/self/exe", "test_file", folder, (char *)NULL);
        _exit(99);
    }
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? (npr_status)WEXITSTATUS(status) : NPR_EINTERNAL;
}

static npr_status list_then_remove(const char *folder)
{
    npr_paths found;
    NPR_TRY(npr_paths_find(folder, ".x", &found));
    if (found.count != 3) return npr_fail(NPR_EDATA, "%zu files of 3", found.count);
    npr_paths_free(&found);
    return npr_folder_remove(folder);
}

static void an_unreadable_folder_is_no_short_one(void)
{
    char *folder = npr_path("%s/three", test_folder());
    npr_paths found;
    CHECK_OK(npr_folder_make(folder));
    for (int i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "three/%d.x", i);
        put(name, "");
    }
    CHECK_INT(in_child(folder, "folder.read@0:1"), NPR_EIO); /* three files, two dots, the end */
    CHECK_INT(in_child(folder, "folder.read@0:6"), NPR_EIO);
    char *some = npr_path("%s/*.x", folder);
    CHECK_INT(in_child(some, "folder.read@0:1"), NPR_EIO);
    CHECK_INT(in_child(some, "folder.read@0:3"), NPR_EIO);
    CHECK_INT(in_child(some, "folder.read@0:99"), NPR_OK); /* it would have been found, and is no folder */
    free(some);
    CHECK_INT(in_child(folder, "folder.read@0:9"), NPR_EIO); /* while it is removed */
    CHECK(npr_file_exists(folder));
    struct rlimit files, few;
    CHECK(!getrlimit(RLIMIT_NOFILE, &files));
    few = (struct rlimit){3, files.rlim_max};
    CHECK(!setrlimit(RLIMIT_NOFILE, &few)); /* so that no folder can be opened */
    char *pattern = npr_path("%s/t*/*.x", test_folder());
    CHECK_FAILS(npr_paths_find(pattern, "", &found), NPR_EIO, "cannot list: Too many open files");
    CHECK_FAILS(npr_paths_find(folder, ".x", &found), NPR_EIO, "cannot list: Too many open files");
    CHECK(!setrlimit(RLIMIT_NOFILE, &files));
    CHECK_OK(npr_paths_find(pattern, "", &found));
    CHECK(found.count > 0);
    npr_paths_free(&found);
    free(pattern);
    free(folder);
}

int main(int argc, char **argv)
{
    if (argc == 2) return list_then_remove(argv[1]);
    a_failed_write_leaves_the_old_file(); /* first: the fault is read from the environment once */
    reading();
    finding();
    an_unreadable_folder_is_no_short_one();
    folders();
    test_folder_remove();
    return TEST_END();
}
