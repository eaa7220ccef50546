/* test_npy.c - .npy arrays: round trips, blocks, hostile headers, every truncation of a small file. */
#include "test.h"

#include <sys/stat.h>

#include "base/file.h"
#include "base/half.h"
#include "npr/source.h"

static char path[128];

/* Not durable: there are thousands of them. */
static void put_file(const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(bytes, 1, n, f) == n);
    CHECK(f && fclose(f) == 0);
}

/* A file of version 1.0 with this header text and so many bytes of data. */
static size_t make_file(char *file, int version, const char *header, size_t n, size_t data)
{
    memcpy(file, "\x93NUMPY", 6);
    file[6] = (char)version;
    file[7] = 0;
    file[8] = (char)(n & 0xff);
    file[9] = (char)(n >> 8 & 0xff);
    size_t at = 10;
    if (version > 1) file[at++] = (char)(n >> 16 & 0xff), file[at++] = (char)(n >> 24 & 0xff);
    memcpy(file + at, header, n);
    memset(file + at + n, 0, data);
    return at + n + data;
}

static const char good[] = "{'descr': '<f2', 'fortran_order': False, 'shape': (3, 2), }   \n";

static void test_round_trip(void)
{
    enum { ROWS = 1000, DIM = 77 };
    static uint16_t in[ROWS * DIM], out[ROWS * DIM];
    static float single[ROWS * DIM];
    for (int i = 0; i < ROWS * DIM; i++) in[i] = (uint16_t)((uint32_t)i * 2654435761u >> 17);
    npr_npy_writer *w;
    npr_npy *f;
    CHECK_OK(npr_npy_create(path, ROWS, DIM, &w));
    CHECK(!npr_file_exists(path)); /* visible only when whole */
    for (int64_t at = 0, n = 1; at < ROWS; at += n, n = 2 * n < ROWS - at ? 2 * n : ROWS - at)
        CHECK_OK(npr_npy_append(w, in + at * DIM, n));
    CHECK_OK(npr_npy_finish(w));
    CHECK_OK(npr_npy_open(path, &f));
    CHECK_INT(npr_npy_rows(f), ROWS);
    CHECK_INT(npr_npy_dim(f), DIM);
    CHECK_INT(npr_npy_value_bytes(f), 2);
    CHECK_INT(npr_npy_offset(f, 3), 128 + 3 * DIM * 2);
    for (int64_t at = 0; at < ROWS; at += 137)
        CHECK_OK(npr_npy_read_half(f, at, at + 137 < ROWS ? 137 : ROWS - at, out + at * DIM));
    CHECK(!memcmp(in, out, sizeof in));
    CHECK_OK(npr_npy_read_float(f, 0, ROWS, single));
    for (int i = 0; i < ROWS * DIM; i++)
        if (isnan(npr_half_value(in[i])) ? !isnan(single[i]) : single[i] != npr_half_value(in[i]))
            CHECK_INT(i, -1);
    CHECK_OK(npr_npy_read_half(f, ROWS, 0, out));
    CHECK_FAILS(npr_npy_read_half(f, ROWS - 1, 2, out), NPR_EINTERNAL, "rows 999 to 1001 of 1000");
    npr_npy_close(f);
    npr_npy_close(NULL);
}

/* float32 beyond one block of conversion, rounded as npr_half_round() does. */
static void test_float32(void)
{
    enum { ROWS = 300, DIM = 512, VALUES = ROWS * DIM };
    static const char header[] = "{\"shape\": (300, 512), 'fortran_order':False,'descr':'<f4'}";
    static char file[256 + 4 * VALUES];
    static float value[VALUES], back[VALUES];
    static uint16_t out[VALUES];
    for (int i = 0; i < VALUES; i++) value[i] = (float)(((uint32_t)i * 2654435761u) % 20011) / 10005.5f - 1;
    size_t n = make_file(file, 2, header, strlen(header), sizeof value);
    memcpy(file + n - sizeof value, value, sizeof value);
    put_file(file, n);
    npr_npy *f;
    CHECK_OK(npr_npy_open(path, &f));
    CHECK_INT(npr_npy_value_bytes(f), 4);
    CHECK_INT(npr_npy_offset(f, 1), (int64_t)(12 + strlen(header) + 4 * DIM));
    CHECK_OK(npr_npy_read_half(f, 0, ROWS, out));
    for (int i = 0; i < VALUES; i++)
        if (out[i] != npr_half_round(value[i])) CHECK_INT(i, -1);
    CHECK_OK(npr_npy_read_float(f, 1, ROWS - 1, back));
    CHECK(!memcmp(back, value + DIM, sizeof value - DIM * sizeof *value));
    npr_npy_close(f);
}

static void test_empty(void)
{
    static const char header[] = "{'descr': '<f2', 'fortran_order': False, 'shape': (0, 512), }\n";
    char file[256];
    put_file(file, make_file(file, 3, header, strlen(header), 0));
    npr_npy *f;
    CHECK_OK(npr_npy_open(path, &f));
    CHECK_INT(npr_npy_rows(f), 0);
    npr_npy_close(f);
}

/* Headers that must be refused, and a word of the reason. 12 bytes of data follow. */
#define REST ", 'fortran_order': False, 'shape': (3, 2), }\n"
static const char *const hostile_header[][2] = {
    {"{'descr': '>f2'" REST, "an array of '>f2', wanted '<f2' or '<f4'"},
    {"{'descr': '<f8'" REST, "'<f8'"},
    {"{'descr': '|O'" REST, "'|O'"},
    {"{'descr': '=f2'" REST, "'=f2'"},
    {"{'descr': 'float16'" REST, "'float16'"},
    {"{'descr': ''" REST, "an array of ''"},
    {"{'descr': [('a', '<f2'), ('b', '<f2')]" REST, "an array of records"},
    {"{'descr': '<f2" REST, "an array of '<f2, '"},
    {"{'descr': '<f\\x32'" REST, "damaged header"},
    {"{'descr': 2" REST, "wanted a type such as '<f2' at byte 10 of its text, found '2'"},
    {"{'descr': None" REST, "damaged header"},
    {"{'descr': '<f2' 'fortran_order': False, 'shape': (3, 2), }", "wanted a comma"},
    {"{'descr' '<f2'" REST, "wanted a colon"},
    {"{descr: '<f2'" REST, "wanted a key in quotes"},
    {"{'descr': '<f2', 'descr': '<f2'" REST, "key 'descr' is there twice"},
    {"{'descr': '<f2', 'more': 1" REST, "key 'more' is none of"},
    {"{'descr': '<f2', 'fortran_order': True, 'shape': (3, 2), }", "Fortran order"},
    {"{'descr': '<f2', 'fortran_order': 0, 'shape': (3, 2), }", "wanted True or False"},
    {"{'descr': '<f2', 'fortran_order': Fals", "wanted True or False"},
    {"{'descr': '<f2', 'shape': (3, 2), }", "no fortran_order"},
    {"{'descr': '<f2', 'fortran_order': False, }", "no shape"},
    {"{'fortran_order': False, 'shape': (3, 2), }", "no descr"},
    {"{}", "no descr"},
    {"", "it ends where a dictionary is wanted"},
    {"{", "it ends where a key in quotes is wanted"},
    {"(3, 2)", "wanted a dictionary at byte 0"},
    {"{'descr': '<f2', 'fortran_order': False, 'shape': (), }", "an array of 0 dimensions, wanted 2"},
    {"{'descr': '<f2', 'fortran_order': False, 'shape': (6,), }", "an array of 1 dimension, wanted 2"},
    {"{'descr': '<f2', 'fortran_order': False, 'shape': (1, 3, 2), }", "an array of 3 dimensions"},
    {"{'descr': '<f2', 'fortran_order': False, 'shape': [3, 2], }", "wanted a shape"},
    {"{'descr': '<f2', 'fortran_order': False, 'shape': (-3, 2), }", "wanted a length"},
    {"{'descr': '<f2', 'fortran_order': False, 'shape': (3, 2L), }",
     "wanted a comma or the end of the shape"},
    {"{'descr': '<f2', 'fortran_order': False, 'shape': (3 2), }", "wanted a comma or the end of the shape"},
    {"{'descr': '<f2', 'fortran_order': False, 'shape': (3, 2", "wanted"},
    {"{'descr': '<f2', 'fortran_order': False, 'shape': (3, 0), }", "rows of 0 values, wanted 1 to 65536"},
    {"{'descr': '<f2', 'fortran_order': False, 'shape': (1, 65537), }", "rows of 65537 values"},
    {"{'descr': '<f2', 'fortran_order': False, 'shape': (99999999999999999999, 2), }", "beyond 2^63"},
    {"{'descr': '<f2', 'fortran_order': False, 'shape': (9223372036854775807, 2), }", "more than 2^63 bytes"},
    {"{'descr': '<f2', 'fortran_order': False, 'shape': (4611686018427387904, 4), }", "more than 2^63 bytes"},
    {"{'descr': '<f2', 'fortran_order': False, 'shape': (4611686018427387810, 1), }", "truncated"},
    {"{'descr': '<f2', 'fortran_order': False, 'shape': (4, 2), }", "shape (4, 2) of float16 make"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }", "truncated"},
    {"{'descr': '<f2', 'fortran_order': False, 'shape': (3, 1), }", "too long"},
    {"{'descr': '<f2', 'fortran_order': False, 'shape': (3, 2), } x", "wanted nothing more"},
};

static void test_hostile_headers(void)
{
    static char file[1024];
    for (size_t i = 0; i < sizeof hostile_header / sizeof *hostile_header; i++) {
        npr_npy *f;
        put_file(file, make_file(file, 1, hostile_header[i][0], strlen(hostile_header[i][0]), 12));
        CHECK_FAILS(npr_npy_open(path, &f), NPR_EDATA, hostile_header[i][1]);
    }
    static const char zero[] = "{'descr': '<f2\0', 'fortran_order': False, 'shape': (3, 2), }";
    npr_npy *f;
    put_file(file, make_file(file, 1, zero, sizeof zero - 1, 12));
    CHECK_FAILS(npr_npy_open(path, &f), NPR_EDATA, "damaged header");
}

static void test_hostile_prefixes(void)
{
    char file[256];
    size_t n = make_file(file, 1, good, strlen(good), 12);
    npr_npy *f;
    put_file(file, n);
    CHECK_OK(npr_npy_open(path, &f));
    npr_npy_close(f);
    static const struct {
        int at, byte;
        const char *words;
    } change[] = {
        {0, 'x', "not a .npy file"}, {5, 'y', "not a .npy file"}, {6, 0, "version 0.0"},
        {6, 4, "version 4.0"},       {7, 1, "version 1.1"},       {9, 0xff, "truncated in its header"},
        {8, 0, "it ends where"},     {6, 2, "are allowed"},       {10, 0, "wanted a dictionary"}};
    for (size_t i = 0; i < sizeof change / sizeof *change; i++) {
        char changed[256];
        memcpy(changed, file, n);
        changed[change[i].at] = (char)change[i].byte;
        put_file(changed, n);
        CHECK_FAILS(npr_npy_open(path, &f), NPR_EDATA, change[i].words);
    }
    CHECK_FAILS(npr_npy_open("/nowhere/x.npy", &f), NPR_ENOINPUT, "/nowhere/x.npy: cannot open");
    CHECK_FAILS(npr_npy_open(test_folder(), &f), NPR_ENOINPUT, "not a regular file");
    char pipe[256];
    snprintf(pipe, sizeof pipe, "%s/pipe", test_folder());
    CHECK(mkfifo(pipe, 0600) == 0);
    CHECK_FAILS(npr_npy_open(pipe, &f), NPR_ENOINPUT, "not a regular file");
}

/* A file cut at any length, or with bytes behind it, is refused with both sizes once the header is whole. */
static void test_every_length(void)
{
    char file[300], sizes[64];
    size_t n = make_file(file, 1, good, strlen(good), 12), header = n - 12;
    memset(file + n, 0, sizeof file - n);
    for (size_t length = 0; length < sizeof file; length++) {
        npr_npy *f;
        put_file(file, length);
        if (length == n) continue;
        snprintf(sizes, sizeof sizes, length < header ? "" : "it has %zu bytes, its header", length);
        CHECK_FAILS(npr_npy_open(path, &f), NPR_EDATA, sizes);
        if (length >= header)
            CHECK_FAILS(npr_npy_open(path, &f), NPR_EDATA, length < n ? "truncated" : "too long");
    }
}

/* Any one byte changed: refused, or an array of the same size; never a crash. */
static void test_every_byte(void)
{
    char file[256];
    size_t n = make_file(file, 1, good, strlen(good), 12);
    int opened = 0;
    for (size_t at = 0; at < n - 12; at++) {
        for (int bit = 0; bit < 8; bit++) {
            npr_npy *f;
            file[at] = (char)(file[at] ^ 1 << bit);
            put_file(file, n);
            if (npr_npy_open(path, &f) == NPR_OK) {
                CHECK_INT(npr_npy_rows(f) * npr_npy_dim(f) * npr_npy_value_bytes(f), 12);
                opened++;
                npr_npy_close(f);
            }
            file[at] = (char)(file[at] ^ 1 << bit);
        }
    }
    CHECK(opened < 12); /* bits that change nothing, or swap spaces */
}

static void test_became_shorter(void)
{
    uint16_t rows[6];
    char file[256];
    npr_npy *f;
    put_file(file, make_file(file, 1, good, strlen(good), 12));
    CHECK_OK(npr_npy_open(path, &f));
    CHECK(truncate(path, 75) == 0);
    CHECK_FAILS(npr_npy_read_half(f, 0, 3, rows), NPR_EIO,
                "became shorter while being read: it ends at byte 75");
    npr_npy_close(f);
}

static void test_writer_refuses(void)
{
    static const uint16_t rows[8];
    npr_npy_writer *w;
    unlink(path);
    CHECK_FAILS(npr_npy_create("/nowhere/x.npy", 1, 1, &w), NPR_ECREATE, "cannot create");
    CHECK_FAILS(npr_npy_create(path, INT64_MAX, 8, &w), NPR_EINTERNAL, "9223372036854775807 rows");
    CHECK_OK(npr_npy_create(path, 2, 2, &w));
    CHECK_OK(npr_npy_append(w, rows, 1));
    CHECK_FAILS(npr_npy_finish(w), NPR_EINTERNAL, "1 of 2 rows were written");
    CHECK_OK(npr_npy_create(path, 2, 3, &w));
    npr_npy_abandon(w);
    npr_npy_abandon(NULL);
    CHECK_OK(npr_npy_create(path, 2, 2, &w));
    CHECK_FAILS(npr_npy_append(w, rows, 3), NPR_EINTERNAL, "3 rows beyond the 0 of its 2");
    CHECK_FAILS(npr_npy_finish(w), NPR_EINTERNAL, "an earlier write failed");
    CHECK(!npr_file_exists(path));
    char command[256];
    snprintf(command, sizeof command, "test -z \"$(ls %s | grep tmp)\"", test_folder());
    CHECK_INT(system(command), 0);
}

int main(void)
{
    snprintf(path, sizeof path, "%s/a.npy", test_folder());
    test_round_trip();
    test_float32();
    test_empty();
    test_hostile_headers();
    test_hostile_prefixes();
    test_every_length();
    test_every_byte();
    test_became_shorter();
    test_writer_refuses();
    test_folder_remove();
    return TEST_END();
}
