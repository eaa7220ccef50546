/* JSON: access with words for what is wrong, depth and duplicate limits, round trip. */
#include "test.h"

#include "base/json.h"

static npr_json *parse(const char *text)
{
    return npr_json_parse(text, strlen(text), "test.json");
}

static void bad_texts(void)
{
    static const char *bad[] = {"",    "{",     "{\"a\":1,\"a\":2}", "[1,]",         "{\"a\" 1}",
                                "nul", "[1] x", "\"\\ud800\"",       "{\"a\":1e999}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        npr_json *v = parse(bad[i]);
        CHECK(v == NULL && npr_last() == NPR_EDATA && strstr(npr_status_text(), "test.json"));
        npr_json_free(v);
    }
    enum { DEEP = 1000000 };
    char *deep = malloc(DEEP);
    memset(deep, '[', DEEP);
    CHECK(npr_json_parse(deep, DEEP, "deep.json") == NULL && strstr(npr_status_text(), "nested deeper"));
    free(deep);
    npr_json *v =
        parse("{\"brackets in strings\": "
              "\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[\"}");
    CHECK(v != NULL);
    npr_json_free(v);
}

static void access_by_key(void)
{
    npr_json *v =
        parse("{\"name\":\"x\",\"rows\":12345678901234,\"share\":0.25,\"list\":[1,2,3],\"none\":null}");
    const char *text;
    int64_t n;
    double x;
    npr_json *list;
    CHECK_OK(npr_json_get_text(v, "name", "t", &text));
    CHECK_TEXT(text, "x");
    CHECK_OK(npr_json_get_int(v, "rows", "t", &n));
    CHECK_INT(n, 12345678901234);
    CHECK_OK(npr_json_get_real(v, "share", "t", &x));
    CHECK_NEAR(x, 0.25, 0);
    CHECK_OK(npr_json_get_array(v, "list", "t", &list));
    CHECK_INT(npr_json_count(list), 3);
    CHECK_FAILS(npr_json_get_int(v, "name", "t.json", &n), NPR_EDATA, "\"name\" should be an integer");
    CHECK_FAILS(npr_json_get_text(v, "absent", "t.json", &text), NPR_EDATA,
                "t.json: \"absent\" should be a string, it is missing");
    CHECK(npr_json_get(v, "none") == NULL && npr_json_get(v, "absent") == NULL);
    char keys[64] = "";
    for (const char *k = npr_json_next_key(v, NULL); k; k = npr_json_next_key(v, k))
        strcat(strcat(keys, k), ",");
    CHECK_TEXT(keys, "name,rows,share,list,none,");
    npr_json_free(v);
}

static void round_trip(void)
{
    npr_json *o = npr_json_object(), *a = npr_json_array();
    CHECK_OK(npr_json_append_text(a, "b\"\\\n\xc3\xa9"));
    CHECK_OK(npr_json_set(o, "a", a));
    CHECK_OK(npr_json_set_real(o, "x", 0.1));
    CHECK_OK(npr_json_set_int(o, "n", -5));
    CHECK_OK(npr_json_set_text(o, "bytes", "\xff\xfe"));
    char *text = npr_json_print(o, 0);
    CHECK_TEXT(
        text,
        "{\"a\":[\"b\\\"\\\\\\n\xc3\xa9\"],\"x\":0.10000000000000001,\"n\":-5,\"bytes\":\"\\\\xff\\\\xfe\"}");
    npr_json *again = parse(text);
    char *text2 = npr_json_print(again, 0);
    CHECK_TEXT(text2, text);
    free(text);
    free(text2);
    npr_json_free(again);
    npr_json_free(o);
}

/* The allocation before which so many others succeed fails; -1: none. */
static int allowed = -1;

void *__real_malloc(size_t n);
void *__wrap_malloc(size_t n);

void *__wrap_malloc(size_t n)
{
    if (allowed < 0) return __real_malloc(n);
    return allowed-- ? __real_malloc(n) : NULL;
}

/* Whichever allocation fails: short memory is never a bad text, nor a text of other content, nor a bad one
 * short memory. */
static void no_memory(void)
{
    static const char text[] =
        "{\"a\": [1, 2.5, \"a string that is longer than the first piece of memory for "
        "it \\u00e9\"], \"b\": {\"c\": \"d\"}, \"e\": null}";
    int at = 0;
    npr_json *v = NULL;
    for (; at < 1000 && !v; at++) {
        allowed = at;
        v = parse(text);
        int failed = allowed < 0;
        allowed = -1;
        if (!v) CHECK(npr_last() == NPR_EINTERNAL && strstr(npr_status_text(), "test.json: out of memory"));
        if (failed == (v != NULL)) CHECK(!"a failure of memory that nobody noticed");
    }
    CHECK(v != NULL && at > 10);
    npr_json_free(v);
    CHECK(parse("[1,") == NULL && npr_last() == NPR_EDATA);
    npr_json *o = npr_json_object();
    allowed = 0;
    npr_status st = npr_json_set_text(o, "key", "\xc3\xa9"); /* not escaped: it is UTF-8 */
    allowed = -1;
    CHECK(st == NPR_EINTERNAL && npr_json_count(o) == 0);
    npr_json_free(o);
}

int main(void)
{
    no_memory();
    bad_texts();
    access_by_key();
    round_trip();
    return TEST_END();
}
