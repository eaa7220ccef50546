/* test_tar.c - tar archives: what is written is found again, every truncation, hostile headers. With the
 * argument FILE it prints the archive's members, for tar_python.py, which compares them with Python's
 * tarfile. */
#include "test.h"

#include <sys/wait.h>
#include <time.h>

#include "base/file.h"
#include "io/tar.h"

static char path[128];

/* ---- archives made by hand ---- */

enum { RECORD = 512, ROOM = 1 << 18 };
static unsigned char file[ROOM];
static size_t used;

static void seal(unsigned char *h)
{
    unsigned sum = 0;
    memset(h + 148, ' ', 8);
    for (int i = 0; i < RECORD; i++) sum += h[i];
    snprintf((char *)h + 148, 8, "%06o", sum);
}

/* A header of this type, with the text of its size field, and n bytes behind it. */
static unsigned char *put(const char *name, char type, const char *size, const void *bytes, size_t n)
{
    unsigned char *h = file + used;
    memset(h, 0, RECORD + (n + RECORD - 1) / RECORD * RECORD);
    memcpy(h, name, strlen(name) < 100 ? strlen(name) : 100);
    memcpy(h + 100, "0000644", 8);
    memcpy(h + 108, "0000000", 8);
    memcpy(h + 116, "0000000", 8);
    memcpy(h + 124, size, strlen(size) < 12 ? strlen(size) : 12);
    memcpy(h + 136, "00000000000", 12);
    h[156] = (unsigned char)type;
    memcpy(h + 257, "ustar\00000", 8);
    seal(h);
    if (n) memcpy(h + RECORD, bytes, n);
    used += RECORD + (n + RECORD - 1) / RECORD * RECORD;
    return h;
}

static void put_plain(const char *name, const char *text)
{
    char size[24];
    snprintf(size, sizeof size, "%011zo", strlen(text));
    put(name, '0', size, text, strlen(text));
}

static void put_end(void)
{
    memset(file + used, 0, 2 * RECORD);
    used += 2 * RECORD;
}

static void save(size_t n)
{
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(file, 1, n, f) == n);
    CHECK(f && fclose(f) == 0);
}

/* Read the whole archive: members, and the plain ones among them. */
static npr_status walk(int *members, int *plain)
{
    npr_tar *t;
    npr_tar_member m;
    int there;
    *members = *plain = 0;
    NPR_TRY(npr_tar_open(path, &t));
    npr_status st;
    while (!(st = npr_tar_next(t, &m, &there)) && there) {
        ++*members;
        *plain += m.plain;
    }
    npr_tar_close(t);
    return st;
}

static npr_status walk_made(void)
{
    int members, plain;
    save(used);
    return walk(&members, &plain);
}

/* ---- tests ---- */

static void test_round_trip(void)
{
    enum { N = 100 };
    npr_tar_writer *w;
    npr_tar *t;
    npr_tar_member m;
    char name[64], again[160];
    unsigned char in[3000], out[3000];
    int there;
    int64_t header[N];
    snprintf(again, sizeof again, "%s.2", path);
    for (int copy = 0; copy < 2; copy++) {
        CHECK_OK(npr_tar_create(copy ? again : path, &w));
        CHECK(!npr_file_exists(copy ? again : path)); /* visible only when whole */
        for (int i = 0; i < N; i++) {
            memset(in, i, sizeof in);
            snprintf(name, sizeof name, "%09d.jpg", i);
            CHECK_OK(npr_tar_append(w, name, in, (size_t)i * 29));
        }
        CHECK_OK(npr_tar_finish(w));
    }
    CHECK_OK(npr_tar_open(path, &t));
    for (int i = 0; i < N; i++) {
        CHECK_OK(npr_tar_next(t, &m, &there));
        CHECK(there && m.plain);
        snprintf(name, sizeof name, "%09d.jpg", i);
        CHECK_TEXT(m.name, name);
        CHECK_INT(m.bytes, i * 29);
        memset(in, i, sizeof in);
        CHECK_OK(npr_tar_read(t, m.offset, out, (size_t)m.bytes));
        CHECK(!memcmp(in, out, (size_t)m.bytes));
        header[i] = m.header;
    }
    CHECK_OK(npr_tar_next(t, &m, &there));
    CHECK(!there);
    for (int i = N - 1; i >= 0; i -= 7) { /* from any member on */
        CHECK_OK(npr_tar_seek(t, header[i]));
        CHECK_OK(npr_tar_next(t, &m, &there));
        CHECK_INT(m.header, header[i]);
        CHECK_INT(m.bytes, i * 29);
    }
    npr_tar_close(t);
    char a[1 << 18], b[1 << 18];
    FILE *f = fopen(path, "rb"), *g = fopen(again, "rb");
    size_t n = fread(a, 1, sizeof a, f), k = fread(b, 1, sizeof b, g);
    CHECK(n == k && n < sizeof a && n % (20 * RECORD) == 0 && !memcmp(a, b, n));
    fclose(f);
    fclose(g);
    unlink(again);
}

static void test_writing_fails(void)
{
    npr_tar_writer *w;
    char name[300];
    CHECK_FAILS(npr_tar_create("/nowhere/x.tar", &w), NPR_ECREATE, "cannot create");
    unlink(path);
    memset(name, 'a', sizeof name);
    name[sizeof name - 1] = 0;
    CHECK_OK(npr_tar_create(path, &w));
    CHECK_FAILS(npr_tar_append(w, name, "x", 1), NPR_ECREATE, "cannot add \"aaa");
    CHECK_FAILS(npr_tar_append(w, "b", "x", 1), NPR_ECREATE, "cannot add \"aaa");
    CHECK_FAILS(npr_tar_finish(w), NPR_ECREATE, "an earlier write failed");
    CHECK(!npr_file_exists(path));
    CHECK_OK(npr_tar_create(path, &w));
    npr_tar_abandon(w);
    npr_tar_abandon(NULL);
    CHECK(!npr_file_exists(path));
}

/* Cut anywhere, an archive is refused, unless the mark of its end is whole. */
static void test_truncations(void)
{
    int members, plain;
    used = 0;
    put_plain("a.jpg", "some bytes");
    put_plain("b.jpg", "more bytes, none of them an image");
    size_t end = used + RECORD;
    put_end();
    for (size_t n = 0; n <= used; n++) {
        save(n);
        npr_status st = walk(&members, &plain);
        if (st != (n >= end ? NPR_OK : NPR_EDATA)) {
            fprintf(stderr, "%zu of %zu bytes gave %d %s\n", n, used, st, npr_status_text());
            CHECK(0);
        }
    }
}

/* Names are bytes to us: no file appears, none is opened. */
static void test_other_members(void)
{
    int members, plain;
    used = 0;
    put_plain("../../etc/x.jpg", "1");
    put_plain("/etc/passwd", "2");
    put("link", '2', "00000000000", "", 0);
    memcpy(file + used - RECORD + 157, "/etc/passwd", 11);
    seal(file + used - RECORD);
    put("hard", '1', "00000000000", "", 0);
    memcpy(file + used - RECORD + 157, "a.jpg", 5);
    seal(file + used - RECORD);
    put("char", '3', "00000000000", "", 0);
    put("block", '4', "00000000000", "", 0);
    put("folder/", '5', "00000000000", "", 0);
    put("fifo", '6', "00000000000", "", 0);
    put_plain("", "no name");
    put_plain("a.jpg", "first");
    put_plain("a.jpg", "second of the same name");
    put_end();
    save(used);
    CHECK_OK(walk(&members, &plain));
    CHECK_INT(members, 11);
    CHECK_INT(plain, 5);
}

static void test_hostile(void)
{
    used = 0;
    put("a", '0', "37777777000", "", 0); /* 0xFFFFFE00 */
    put_end();
    CHECK_FAILS(walk_made(), NPR_EDATA, "cut short or damaged");
    used = 0;
    put("a", '0', "77777777777", "", 0);
    put_end();
    CHECK_FAILS(walk_made(), NPR_EDATA, "cut short or damaged");
    used = 0;
    put("a", '0', "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff", "", 0);
    memcpy(file + 124, "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff", 12); /* 2^63 - 1 in base 256 */
    seal(file);
    put_end();
    CHECK_FAILS(walk_made(), NPR_EDATA, "");
    memset(file + 124, 0xff, 12); /* -1 */
    seal(file);
    CHECK_FAILS(walk_made(), NPR_EDATA, "");
    used = 0;
    put_plain("a", "x");
    file[0] = 'b'; /* its checksum is wrong now */
    put_end();
    CHECK_FAILS(walk_made(), NPR_EDATA, "");
    used = 0;
    put_plain("a", "x");
    put("b", '0', "00000000001", "y", 1)[0] = 'c';
    put_end();
    CHECK_FAILS(walk_made(), NPR_EDATA, "damaged near byte");
    used = 0;
    put("././@LongLink", 'L', "37777777777", "", 0);
    put_end();
    CHECK_FAILS(walk_made(), NPR_EDATA, "");
    used = 0;
    static const char pax[] = "25 size=9999999999999999\n";
    put("pax", 'x', "00000000031", pax, strlen(pax));
    put_plain("a", "x");
    put_end();
    CHECK_FAILS(walk_made(), NPR_EDATA, "");
    used = 0;
    static const char lie[] = "99999999999 path=x\n";
    put("pax", 'x', "00000000023", lie, strlen(lie));
    put_plain("a", "x");
    put_end();
    CHECK_OK(walk_made()); /* the field is ignored, the place is right */
    used = 0;
    for (int i = 0; i < 100; i++)
        put("././@LongLink", 'L', "00000000001", "x", 1); /* names of names of ... */
    put_end();
    CHECK_FAILS(walk_made(), NPR_EDATA, "");
}

static void test_no_archive(void)
{
    static const struct {
        const char *bytes, *words;
        size_t n;
    } cases[] = {{"", "empty, not a tar archive", 0},
                 {"\x1f\x8b\x08\x00 anything", "compressed (gzip)", 12},
                 {"\xfd"
                  "7zXZ\x00 more",
                  "compressed (xz)", 10},
                 {"\x28\xb5\x2f\xfd more", "compressed (zstd)", 9},
                 {"BZh9 more", "compressed (bzip2)", 9},
                 {"PK\x03\x04 more", "compressed (zip)", 9},
                 {"just a text that is no archive", "damaged near byte 0", 30}};
    npr_tar *t;
    int members, plain;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memcpy(file, cases[i].bytes, cases[i].n);
        save(cases[i].n);
        CHECK_FAILS(walk(&members, &plain), NPR_EDATA, cases[i].words);
    }
    CHECK_FAILS(npr_tar_open("/nowhere/x.tar", &t), NPR_ENOINPUT, "/nowhere/x.tar");
    CHECK_FAILS(npr_tar_open("/tmp", &t), NPR_ENOINPUT, "not a regular file");
}

/* A million empty members take a moment, not minutes, and no memory each. */
static void test_many(void)
{
    enum { N = 1000000 };
    int members, plain;
    used = 0;
    put_plain("a", "");
    FILE *f = fopen(path, "wb");
    for (int i = 0; i < N; i++) CHECK(fwrite(file, 1, RECORD, f) == RECORD);
    memset(file, 0, RECORD);
    CHECK(fwrite(file, 1, RECORD, f) == RECORD && fwrite(file, 1, RECORD, f) == RECORD);
    fclose(f);
    clock_t start = clock();
    CHECK_OK(walk(&members, &plain));
    CHECK_INT(members, N);
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    if (seconds > 20) fprintf(stderr, "%.1f s for a million members\n", seconds);
    CHECK(seconds < 20);
}

/* Write an archive of one member and read it. */
static int write_and_read(const char *archive)
{
    npr_tar_writer *w;
    int members, plain;
    snprintf(path, sizeof path, "%s", archive);
    npr_status st = npr_tar_create(path, &w);
    if (!st && (st = npr_tar_append(w, "a", "x", 1)))
        npr_tar_abandon(w);
    else if (!st)
        st = npr_tar_finish(w);
    return (int)(st ? st : walk(&members, &plain));
}

/* Run this program again with a fault injected; its exit code. */
static int in_child(const char *fault)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        setenv("NPR_FAULT", fault, 1);
        execl("/proc/self/exe", "test_tar", "write", path, (char *)NULL);
        _exit(99);
    }
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_faults(void)
{
    static const char *const writing[] = {"file.write@0", "file.sync@0", "file.rename@0"};
    for (size_t i = 0; i < 3; i++) {
        unlink(path);
        CHECK_INT(in_child(writing[i]), NPR_EIO);
        CHECK(!npr_file_exists(path));
    }
    CHECK_INT(in_child("tar.read@0:1"), NPR_EIO);
    CHECK_INT(in_child("tar.read@0:2"), NPR_EIO);
    CHECK_INT(in_child("alloc@0:1"), NPR_EINTERNAL);
    CHECK_INT(in_child("none@0"), NPR_OK);
}

static int list(const char *archive)
{
    npr_tar *t;
    npr_tar_member m;
    int there = 0;
    npr_status st = npr_tar_open(archive, &t);
    if (!st) {
        while (!(st = npr_tar_next(t, &m, &there)) && there)
            printf("%lld %lld %lld %d %s\n", (long long)m.header, (long long)m.offset, (long long)m.bytes,
                   m.plain, m.name);
        npr_tar_close(t);
    }
    if (st) fprintf(stderr, "%s\n", npr_status_text());
    return st;
}

int main(int argc, char **argv)
{
    if (argc == 2) return list(argv[1]);
    if (argc == 3) return write_and_read(argv[2]);
    snprintf(path, sizeof path, "%s/t.tar", test_folder());
    test_round_trip();
    test_writing_fails();
    test_truncations();
    test_other_members();
    test_hostile();
    test_no_archive();
    test_many();
    test_faults();
    test_folder_remove();
    return TEST_END();
}
