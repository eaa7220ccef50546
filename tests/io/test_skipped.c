/* test_skipped.c - rows left out: lists of parts, put together in order, counted by reason. */
#include "test.h"

#include "base/file.h"
#include "io/skipped.h"

static const char *reason(int i)
{
    static const char *const names[] = {"small", "too small", "odd"};
    return names[i];
}

int main(void)
{
    npr_skipped s = {.name = "left", .reason = reason, .reasons = 3};
    const char *folder = test_folder();
    char path[128], first[32], set[96], *text;
    size_t n;
    int64_t count[NPR_SKIP_REASONS] = {0};
    snprintf(set, sizeof set, "%s/set", folder);
    CHECK_OK(npr_folder_make(set));
    CHECK_OK(npr_skipped_add(&s, 1, "%d\ta\\tb", 7));
    CHECK_OK(npr_skipped_add(&s, 0, "%d\tsmall", 9)); /* only the last column is the reason */
    CHECK_OK(npr_skipped_keep(&s, folder, 3));
    CHECK_INT(s.used, 0);
    CHECK_OK(npr_skipped_keep(&s, folder, 4)); /* nothing: no file */
    CHECK_OK(npr_skipped_add(&s, 2, "5"));
    CHECK_OK(npr_skipped_keep(&s, folder, 0));
    CHECK_INT(s.count[0], 1);
    CHECK_INT(s.count[1], 1);
    CHECK_INT(s.count[2], 1);
    CHECK_OK(npr_skipped_merge(&s, folder, 5, count));
    for (int i = 0; i < 3; i++) CHECK_INT(count[i], 1);
    CHECK_OK(npr_skipped_publish(&s, folder, set));
    snprintf(path, sizeof path, "%s/left.tsv", set);
    CHECK_OK(npr_file_read(path, 1000, &text, &n));
    CHECK_TEXT(text, "5\todd\n7\ta\\tb\ttoo small\n9\tsmall\tsmall\n");
    free(text);
    memset(count, 0, sizeof count);
    CHECK_OK(npr_skipped_read(&s, set, count, first, sizeof first));
    CHECK_TEXT(first, "5, 7, 9");
    CHECK_INT(count[0] + 10 * count[1] + 100 * count[2], 111);
    CHECK_TEXT(npr_skipped_print(&s, count, first, sizeof first), "");
    char words[200];
    CHECK_TEXT(npr_skipped_print(&s, count, words, sizeof words), "1 small, 1 too small, 1 odd");
    /* nothing left out: an empty list is not published */
    unlink(path);
    memset(count, 0, sizeof count);
    CHECK_OK(npr_skipped_merge(&s, set, 5, count));
    CHECK_OK(npr_skipped_publish(&s, set, folder));
    snprintf(path, sizeof path, "%s/left.tsv", folder);
    CHECK(!npr_file_exists(path));
    free(s.text);
    test_folder_remove();
    return TEST_END();
}
