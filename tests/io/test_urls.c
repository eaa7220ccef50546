/* test_urls.c - texts as a table of URLs says them: UTF-8 without control characters, whatever came. The table itself:
 * tests/clip/join.sh. */
#include "test.h"

#include "io/urls.h"

static char *text;
static size_t cap;

static const char *clean(const char *from, size_t n)
{
    size_t used;
    CHECK_OK(npr_urls_clean(from, n, &text, &cap, &used));
    text[used] = 0; /* there is room: three bytes for each, and one */
    return text;
}

#define CLEAN(s) clean(s, sizeof(s) - 1)
#define BAD      "\xef\xbf\xbd"

int main(void)
{
    CHECK_TEXT(CLEAN(""), "");
    CHECK_TEXT(CLEAN("a \"b\"\tc\r\nd\x01\x7f"), "a \"b\" c  d  ");
    CHECK_TEXT(CLEAN("\0x"), " x");
    CHECK_TEXT(CLEAN("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"),
               "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
    CHECK_TEXT(CLEAN("\x80|\xc3|\xe2\x82|\xf0\x9f\x98"), BAD "|" BAD "|" BAD BAD "|" BAD BAD BAD);
    CHECK_TEXT(
        CLEAN(
            "\xc0\xaf|\xe0\x80\xaf|\xed\xa0\x80|\xf4\x90\x80\x80|\xff"), /* overlong, surrogate, beyond U+10FFFF */
        BAD BAD "|" BAD BAD BAD "|" BAD BAD BAD "|" BAD BAD BAD BAD "|" BAD);
    CHECK_TEXT(CLEAN("\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf"), "\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf");
    for (int i = 0; i < 3; i++)
        CHECK_TEXT(clean(text, strlen(text)), "\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf");
    free(text);
    return TEST_END();
}
