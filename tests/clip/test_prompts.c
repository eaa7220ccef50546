/* test_prompts.c - prompts from templates and from CuPL's JSON; what is wrong with a file is named with its
 * place. */
#include "base/file.h"
#include "npr/clip.h"
#include "test.h"

static char names_path[96], other_path[96];

static void write_file(const char *path, const char *bytes, size_t n)
{
    CHECK_OK(npr_file_replace(path, bytes, n));
}

/* Both files, of literals. */
#define FILES(names, other)                                                                                  \
    (write_file(names_path, names, sizeof names - 1), write_file(other_path, other, sizeof other - 1))

#define TEMPLATES_FAIL(names, templates, words)                                                              \
    do {                                                                                                     \
        npr_prompts p_;                                                                                      \
        FILES(names, templates);                                                                             \
        CHECK_FAILS(npr_prompts_from_templates(names_path, other_path, &p_), NPR_EDATA, words);              \
        CHECK(p_.classes == 0 && !p_.name && !p_.text);                                                      \
    } while (0)

#define JSON_FAILS(names, json, words)                                                                       \
    do {                                                                                                     \
        npr_prompts p_;                                                                                      \
        FILES(names, json);                                                                                  \
        CHECK_FAILS(npr_prompts_from_json(names_path, other_path, &p_), NPR_EDATA, words);                   \
        CHECK(p_.classes == 0 && !p_.name && !p_.text);                                                      \
    } while (0)

static void check_same(const npr_prompts *p, int many, int first, int second)
{
    int n, a, b;
    CHECK_OK(npr_prompts_same_names(p, &n, &a, &b));
    CHECK_INT(n, many);
    CHECK_INT(a, first);
    CHECK_INT(b, second);
}

static void test_same_names(void)
{
    npr_prompts p;
    FILES("zebra\ncrane\nmissile\ncrane\nmissile\ncrane\nCrane\nant\n", "{}");
    CHECK_OK(npr_prompts_from_templates(names_path, other_path, &p));
    check_same(&p, 3, 1, 3);
    npr_prompts_free(&p);
    FILES("crane\ncranes\tcrane\n", "{}");
    CHECK_OK(npr_prompts_from_templates(names_path, other_path, &p));
    check_same(&p, 0, -1, -1);
    npr_prompts_free(&p);
}

static void test_templates(void)
{
    npr_prompts p;
    FILES("\xef\xbb\xbfgreat white shark\tsharky\r\nmissile\nmissile\n",
          "a photo of a {c}.\r\n{}: {} {d} {c} {\n{}");
    CHECK_OK(npr_prompts_from_templates(names_path, other_path, &p));
    CHECK_INT(p.classes, 3);
    CHECK_TEXT(p.name[0], "great white shark");
    CHECK_INT(p.offset[1], 3);
    CHECK_INT(p.offset[3], 9);
    CHECK_TEXT(p.text[0], "a photo of a great white shark.");
    CHECK_TEXT(p.text[4], "missile: missile {d} missile {");
    CHECK_TEXT(p.text[8], "missile"); /* ImageNet has two classes of this name */
    check_same(&p, 1, 1, 2);
    npr_prompts_free(&p);
    npr_prompts_free(&p);
    CHECK_FAILS(npr_prompts_from_templates("/nowhere/names", other_path, &p), NPR_ENOINPUT, "/nowhere/names");
    CHECK_FAILS(npr_prompts_from_templates(names_path, "/nowhere/t", &p), NPR_ENOINPUT, "/nowhere/t");
}

static void test_wrong_lines(void)
{
    TEMPLATES_FAIL("", "{}", "empty: wanted one class name a line");
    TEMPLATES_FAIL("\xef\xbb\xbf", "{}", "empty: wanted one class name a line");
    TEMPLATES_FAIL("cat\n", "", "empty: wanted one template a line");
    TEMPLATES_FAIL("cat\n\ndog\n", "{}", "line 2: the class name is empty");
    TEMPLATES_FAIL("cat\n\tkitty\n", "{}", "line 2: the class name is empty");
    TEMPLATES_FAIL("cat\ndog\n \xc2\xa0\n", "{}", "line 3: the class name is empty");
    TEMPLATES_FAIL("cat\n\x1b[31m\n", "{}", "line 2: the class name has a control character");
    TEMPLATES_FAIL("cat\rdog\n", "{}", "line 1: the class name has a control character");
    TEMPLATES_FAIL("cat\xc2\x85\n", "{}", "line 1: the class name has a control character");
    TEMPLATES_FAIL("caf\xe9\n", "{}", "line 1: the class name is not UTF-8");
    TEMPLATES_FAIL("cat\nd\0g\n", "{}", "zero byte at offset 5");
    TEMPLATES_FAIL("cat\n", "{}\n\n{}", "line 2: the template is empty");
    TEMPLATES_FAIL("cat\n", "{}\na photo of a {name}",
                   "line 2: the template \"a photo of a {name}\" says neither");
    TEMPLATES_FAIL("cat\n", "a\t{}\n", "line 1: the template has a control character");
    char *text = malloc(5001);
    memset(text, 'x', 5000);
    npr_prompts p;
    write_file(names_path, text, 5000);
    CHECK_FAILS(npr_prompts_from_templates(names_path, other_path, &p), NPR_EDATA,
                "line 1: the class name is longer");
    free(text);
}

/* More prompts than there may be are refused before they are made. */
static void test_too_many(void)
{
    enum { LINES = 12000 };
    char *text = malloc(3 * LINES);
    npr_prompts p;
    for (int i = 0; i < LINES; i++) memcpy(text + 3 * i, "{}\n", 3);
    write_file(names_path, text, 3 * LINES);
    CHECK_FAILS(npr_prompts_from_templates(names_path, names_path, &p), NPR_EDATA,
                "12000 classes x 12000 templates");
    free(text);
}

static void test_json(void)
{
    npr_prompts p;
    FILES("dog\tpuppy\ncat\ndog\n",
          "{\"cat\": [\"a cat purrs.\", \"caf\\u00e9 cat\"], \"dog\": [\"a dog barks.\"]}");
    CHECK_OK(npr_prompts_from_json(names_path, other_path, &p));
    CHECK_INT(p.classes, 3);
    CHECK_INT(p.offset[1], 1);
    CHECK_INT(p.offset[2], 3);
    CHECK_INT(p.offset[3], 4);
    CHECK_TEXT(p.name[1], "cat");
    CHECK_TEXT(p.text[0], "a dog barks.");
    CHECK_TEXT(p.text[2], "caf\xc3\xa9 cat");
    CHECK_TEXT(p.text[3], "a dog barks.");
    npr_prompts_free(&p);
    JSON_FAILS("cat\ndog\n", "{\"cat\": [\"x\"]}", "no prompts for the class \"dog\" of");
    JSON_FAILS("cat\ndog\n", "{\"cat\": [\"x\"], \"dog\": null}", "no prompts for the class \"dog\"");
    JSON_FAILS("cat\n", "{\"cat\": [\"x\"], \"cow\": [\"y\"]}", "prompts for the class \"cow\", which");
    JSON_FAILS("cat\n", "{\"cat\": []}", "no prompt in the list of class \"cat\"");
    JSON_FAILS("cat\n", "{\"cat\": \"x\"}", "an array");
    JSON_FAILS("cat\n", "{\"cat\": [\"x\", 7]}", "class \"cat\", prompt 2: not a string");
    JSON_FAILS("cat\n", "{\"cat\": [\"x\", \"\"]}", "class \"cat\", prompt 2: empty");
    JSON_FAILS("cat\n", "[\"cat\"]", "wanted an object");
    JSON_FAILS("cat\n", "{\"cat\": [\"x\"", "names");
    JSON_FAILS("cat\n", "{\"cat\": [\"x\"], \"cat\": [\"y\"]}", "duplicate");
}

int main(void)
{
    snprintf(names_path, sizeof names_path, "%s/names.txt", test_folder());
    snprintf(other_path, sizeof other_path, "%s/names-other", test_folder());
    test_templates();
    test_same_names();
    test_wrong_lines();
    test_too_many();
    test_json();
    test_folder_remove();
    return TEST_END();
}
