/* test_samples.c - samples of a webdataset tar: grouping, what belongs to no image, any place to begin. */
#include "test.h"

#include "io/samples.h"

static char path[128];

/* Members separated by spaces; each holds its own name. */
static void make(const char *members)
{
    npr_tar_writer *w;
    char copy[1024], *save = NULL;
    snprintf(copy, sizeof copy, "%s", members);
    CHECK_OK(npr_tar_create(path, &w));
    for (char *m = strtok_r(copy, " ", &save); m; m = strtok_r(NULL, " ", &save))
        CHECK_OK(npr_tar_append(w, m, m, strlen(m)));
    CHECK_OK(npr_tar_finish(w));
}

static void check_member(npr_samples *s, npr_span at, const char *want)
{
    const char *bytes = "";
    if (at.bytes >= 0) CHECK_OK(npr_samples_read(s, at, &bytes));
    CHECK_TEXT(bytes, want);
}

/* What a tar gives: for each sample its members, "image text json class;". */
static void check(const char *members, const char *want, int64_t unused)
{
    npr_samples *s;
    const npr_sample *sample;
    char got[1024] = "";
    make(members);
    CHECK_OK(npr_samples_open(path, &s));
    npr_status st;
    while (!(st = npr_samples_next(s, &sample)) && sample) {
        const npr_span part[4] = {sample->image, sample->text, sample->json, sample->class};
        for (int i = 0; i < 4; i++) {
            const char *bytes = "-";
            if (part[i].bytes >= 0) CHECK_OK(npr_samples_read(s, part[i], &bytes));
            snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s", bytes, i < 3 ? " " : ";");
        }
    }
    CHECK_OK(st);
    CHECK_TEXT(got, want);
    CHECK_INT(npr_samples_unused(s), unused);
    npr_samples_close(s);
}

static void test_groups(void)
{
    check("1.jpg 1.txt 1.json 1.cls 2.json 2.JPG", "1.jpg 1.txt 1.json 1.cls;2.JPG - 2.json -;", 0);
    check("a/1.jpg b/1.jpg", "a/1.jpg - - -;b/1.jpg - - -;", 0);
    check("a.b/1.jpg a.b/1.txt", "a.b/1.jpg a.b/1.txt - -;", 0); /* a dot in a folder's name ends no key */
    check("1.txt 1.json", "", 2);
    check("1.txt 2.jpg 3.txt", "2.jpg - - -;", 2);
    check("1.jpg 1.seg.png 1.npy 1.webp.txt", "1.jpg - - -;",
          0); /* what a sample has besides is nothing to us */
    check("noname", "", 1);
    check("1.png 2.webp 3.gif", "1.png - - -;2.webp - - -;3.gif - - -;", 0); /* judged when they are read */
    check("1.jpg 2.jpg 1.txt", "1.jpg - - -;2.jpg - - -;", 1);               /* samples are in one piece */
    check(".jpg", ".jpg - - -;", 0);
}

static void test_twice(void)
{
    npr_samples *s;
    const npr_sample *sample;
    make("1.jpg 1.jpeg");
    CHECK_OK(npr_samples_open(path, &s));
    CHECK_FAILS(npr_samples_next(s, &sample), NPR_EDATA, "\"1.jpeg\" at byte");
    npr_samples_close(s);
    make("0.jpg 1.json 1.jpg 1.json");
    CHECK_OK(npr_samples_open(path, &s));
    CHECK_OK(npr_samples_next(s, &sample));
    CHECK_FAILS(npr_samples_next(s, &sample), NPR_EDATA, "second of its kind");
    npr_samples_close(s);
}

static void test_seek(void)
{
    npr_samples *s;
    const npr_sample *sample;
    int64_t header[3];
    make("1.txt 1.jpg x 2.jpg 2.txt 3.jpg");
    CHECK_OK(npr_samples_open(path, &s));
    for (int i = 0; i < 3; i++) {
        CHECK_OK(npr_samples_next(s, &sample));
        header[i] = sample->header;
    }
    for (int i = 2; i >= 0; i--) {
        static const char *const names[] = {"1.jpg", "2.jpg", "3.jpg"};
        CHECK_OK(npr_samples_seek(s, header[i]));
        CHECK_OK(npr_samples_next(s, &sample));
        CHECK_TEXT(sample->name, names[i]);
        check_member(s, sample->image, names[i]);
        check_member(s, sample->text, i == 2 ? "" : i == 1 ? "2.txt" : "1.txt");
    }
    npr_samples_close(s);
    npr_samples_close(NULL);
    CHECK_FAILS(npr_samples_open("/nowhere.tar", &s), NPR_ENOINPUT, "/nowhere.tar");
}

int main(void)
{
    snprintf(path, sizeof path, "%s/s.tar", test_folder());
    test_groups();
    test_twice();
    test_seek();
    test_folder_remove();
    return TEST_END();
}
