/* test_classes.c - lines and fields of class files. */
#include "io/classes.h"
#include "test.h"

/* All of a text as "1:field|field|2:field|". */
static const char *take(const char *text)
{
    static char out[256];
    size_t o = 0, n;
    npr_class_line line = {0};
    out[0] = 0;
    while (npr_class_line_next(text, &line)) {
        o += (size_t)snprintf(out + o, sizeof out - o, "%ld:", line.number);
        for (const char *f = npr_class_field(&line, NULL, &n); f; f = npr_class_field(&line, f, &n))
            o += (size_t)snprintf(out + o, sizeof out - o, "%.*s|", (int)n, f);
    }
    CHECK(!npr_class_line_next(text, &line)); /* the end stays the end */
    return out;
}

int main(void)
{
    CHECK_TEXT(take(""), "");
    CHECK_TEXT(take("\xef\xbb\xbf"), "");
    CHECK_TEXT(take("cat"), "1:cat|");
    CHECK_TEXT(take("cat\n"), "1:cat|");
    CHECK_TEXT(take("\xef\xbb\xbf"
                    "cat\tkitty\r\n\r\ndog\t\tpup\t"),
               "1:cat|kitty|2:|3:dog||pup||");
    CHECK_TEXT(take("\n\n"), "1:|2:|");
    CHECK_TEXT(take("a\rb\n\xef\xbb\xbf"
                    "c\r"),
               "1:a\rb|2:\xef\xbb\xbf"
               "c|");
    return TEST_END();
}
