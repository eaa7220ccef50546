/* test_h5.c - HDF5 files made by other software (h5py): what has our shape is read, everything else is
 * refused. */
#include "io/h5.h"

#include "base/rng.h"
#include "test.h"

static const npr_h5_shape emb = {"emb", NPR_HALF, 8, 1024};
static const npr_h5_shape id = {"id", NPR_INT64, 1, 1024};

/* HDF5 loses some of its own memory when a file is damaged or a write fails. Asked by the leak sanitizer. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libhdf5";
}

static char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s.h5", test_folder(), name);
    return path;
}

/* Each file is one Python line that makes f["emb"] in its own way. */
static const char script[] =
    "import h5py, numpy as np, sys, os\n"
    "os.chdir(sys.argv[1])\n"
    "rows = (np.arange(3000 * 8) % 97).reshape(3000, 8).astype('<f2')\n"
    "good = dict(chunks=(1024, 8), maxshape=(None, 8), fletcher32=True)\n"
    "def make(name, how, libver='v110'):\n"
    "    with h5py.File(name + '.h5', 'w', libver=libver) as f: how(f)\n"
    "def put(data=rows, **more):\n"
    "    return lambda f: f.create_dataset('emb', data=data, **{**good, **more})\n"
    "make('good', put())\n"
    "make('old', put(), libver='earliest')\n"
    "make('float32', put(rows.astype('<f4')))\n"
    "make('big-endian', put(rows.astype('>f2')))\n"
    "make('int16', put(rows.astype('<i2')))\n"
    "make('contiguous', lambda f: f.create_dataset('emb', data=rows))\n"
    "make('gzip', put(compression='gzip'))\n"
    "make('shuffle', put(shuffle=True))\n"
    "make('no-check', put(fletcher32=False))\n"
    "make('chunk', put(chunks=(512, 8)))\n"
    "make('wide', put(np.zeros((3000, 9), '<f2'), chunks=(1024, 9), maxshape=(None, 9)))\n"
    "make('flat', put(rows.ravel(), chunks=(1024,), maxshape=(None,)))\n"
    "make('short', put(rows[:2999]))\n"
    "make('group', lambda f: f.create_group('emb'))\n"
    "make('nothing', lambda f: None)\n"
    "make('soft', lambda f: (put()(f), f.move('emb', 'real'), f.__setitem__('emb', "
    "h5py.SoftLink('/real'))))\n"
    "make('external', lambda f: f.__setitem__('emb', h5py.ExternalLink('good.h5', '/emb')))\n"
    "make('hole', lambda f: f.create_dataset('emb', shape=(3000, 8), dtype='<f2', **good))\n"
    "make('huge', lambda f: f.create_dataset('emb', shape=(1 << 50, 8), dtype='<f2', **good))\n"
    "def virtual(f):\n"
    "    layout = h5py.VirtualLayout(shape=(3000, 8), dtype='<f2')\n"
    "    layout[:] = h5py.VirtualSource('good.h5', 'emb', shape=(3000, 8))\n"
    "    f.create_virtual_dataset('emb', layout)\n"
    "make('virtual', virtual)\n"
    "def foreign(f):\n"
    "    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)\n"
    "    plist.set_external(b'/etc/passwd', 0, 3000 * 16)\n"
    "    h5py.h5d.create(f.id, b'emb', h5py.h5t.py_create(np.dtype('<f2')), h5py.h5s.create_simple((3000, "
    "8)), plist)\n"
    "make('foreign', foreign)\n";

static int make_files(void)
{
    char name[128], command[256];
    snprintf(name, sizeof name, "%s/make.py", test_folder());
    FILE *f = fopen(name, "w");
    if (!f || fputs(script, f) < 0 || fclose(f)) return 0;
    snprintf(command, sizeof command,
             "/usr/bin/python3 -c 'import h5py' 2>/dev/null && /usr/bin/python3 %s %s", name, test_folder());
    return system(command) == 0;
}

static void test_good(void)
{
    npr_h5 *f;
    npr_h5_column *c;
    uint16_t *rows = malloc(3000 * 8 * sizeof *rows);
    CHECK_OK(npr_h5_open(path_of("good"), &f));
    CHECK_INT(npr_h5_columns(f), 1);
    CHECK_OK(npr_h5_find(f, &emb, 3000, &c));
    CHECK_OK(npr_h5_read(c, 0, 3000, rows));
    CHECK_INT(rows[1], 0x3c00);            /* 1.0 */
    CHECK_INT(rows[2999 * 8 + 7], 0x5100); /* 23999 % 97 = 40 */
    npr_h5_column_free(c);
    CHECK_FAILS(npr_h5_find(f, &id, 3000, &c), NPR_EDATA, "has no dataset \"id\"");
    CHECK_OK(npr_h5_close(f));
    free(rows);
}

static void test_refused(void)
{
    static const struct {
        const char *file, *words;
    } cases[] = {
        {"old", "superblock version 0"},
        {"float32", "not of type float16"},
        {"big-endian", "not of type float16"},
        {"int16", "not of type float16"},
        {"contiguous", "not stored in chunks of 1024 x 8"},
        {"gzip", "2 filters or external storage"},
        {"shuffle", "2 filters or external storage"},
        {"no-check", "0 filters or external storage"},
        {"chunk", "not stored in chunks of 1024 x 8"},
        {"wide", "has 2 dimensions and 9 columns, wanted 2 and 8"},
        {"flat", "has 1 dimensions"},
        {"short", "has 2999 rows, wanted 3000"},
        {"group", "is not a dataset"},
        {"nothing", "has no dataset \"emb\""},
        {"soft", "is a link"},
        {"external", "is a link"},
        {"hole", "more than a file of"},
        {"huge", "has 1125899906842624 rows, wanted 3000"},
        {"virtual", "not stored in chunks"},
        {"foreign", "not stored in chunks"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        npr_h5 *f = NULL;
        npr_h5_column *c = NULL;
        npr_status st = npr_h5_open(path_of(cases[i].file), &f);
        if (!st) st = npr_h5_find(f, &emb, 3000, &c);
        if (st != NPR_EDATA || !strstr(npr_status_text(), cases[i].words)) {
            fprintf(stderr, "%s: %d %s; wanted ...%s...\n", cases[i].file, st, st ? npr_status_text() : "",
                    cases[i].words);
            test_failures++;
        }
        npr_h5_column_free(c);
        npr_h5_discard(f);
    }
    npr_h5 *f;
    npr_h5_column *c;
    CHECK_OK(npr_h5_open(path_of("huge"), &f));
    CHECK_FAILS(npr_h5_find(f, &emb, -1, &c), NPR_EDATA, "more than a file of");
    npr_h5_discard(f);
    CHECK_FAILS(npr_h5_open(path_of("absent"), &f), NPR_ENOINPUT, "absent.h5");
    CHECK_FAILS(npr_h5_open("/dev/null", &f), NPR_ENOINPUT, "not a regular file");
}

/* Whole chunks are read in place when the next one hides their checksum: nothing behind what was asked for is
 * written to, however little of the last chunk it is. */
static void test_ends(void)
{
    enum { CHUNK = 1024, ROWS = 3 * CHUNK, CANARY = 0xee };
    static const npr_h5_shape blob = {"blob", NPR_BYTE, 1, CHUNK};
    unsigned char rows[ROWS], got[ROWS + 8];
    npr_rng rng = npr_rng_make(3, 4);
    npr_h5 *f;
    npr_h5_column *c;
    for (int i = 0; i < ROWS; i++) rows[i] = (unsigned char)npr_rng_next(&rng);
    CHECK_OK(npr_h5_create(path_of("ends"), &f));
    CHECK_OK(npr_h5_add(f, &blob, &c));
    CHECK_OK(npr_h5_append(c, rows, ROWS));
    CHECK_OK(npr_h5_finish(c));
    npr_h5_column_free(c);
    CHECK_OK(npr_h5_close(f));
    CHECK_OK(npr_h5_open(path_of("ends"), &f));
    CHECK_OK(npr_h5_find(f, &blob, ROWS, &c));
    int wrong = 0;
    for (int first = 0; first < 3; first++)
        for (int n = CHUNK - 2; n <= 2 * CHUNK; n += n < CHUNK + 6 ? 1 : CHUNK - 6) {
            memset(got, CANARY, sizeof got);
            CHECK_OK(npr_h5_read(c, first * CHUNK / 2, n, got));
            wrong += memcmp(got, rows + first * CHUNK / 2, (size_t)n) != 0;
            for (int i = n; i < n + 8; i++) wrong += got[i] != CANARY;
        }
    CHECK_INT(wrong, 0);
    npr_h5_column_free(c);
    npr_h5_discard(f);
}

/* A chunk that is lost: the writer's disk was full and nobody looked at the return code. */
static void test_lost_chunk(void)
{
    npr_h5 *f;
    npr_h5_column *c;
    int64_t rows[2048] = {0};
    char command[512];
    snprintf(command, sizeof command,
             "/usr/bin/python3 -c \"import h5py\nwith h5py.File('%s', 'w', libver='v110') as f:\n"
             " d = f.create_dataset('id', shape=(2048,), dtype='<i8', chunks=(1024,), maxshape=(None,), "
             "fletcher32=True)\n"
             " d[:1024] = 5\n f['pad'] = list(range(9999))\"",
             path_of("lost"));
    CHECK_INT(system(command), 0);
    CHECK_OK(npr_h5_open(path_of("lost"), &f));
    CHECK_OK(npr_h5_find(f, &id, 2048, &c));
    CHECK_OK(npr_h5_read(c, 0, 1024, rows));
    CHECK_INT(rows[1023], 5);
    CHECK_FAILS(npr_h5_read(c, 0, 2048, rows), NPR_EDATA, "cannot read \"id\" from row 1024");
    CHECK_OK(npr_h5_read(c, 1000, 24, rows));
    npr_h5_column_free(c);
    npr_h5_discard(f);
}

/* Random metadata damage to a good file never crashes and never gives wrong values. */
static void test_mutations(void)
{
    enum { TRIALS = 1500 };
    npr_rng rng = npr_rng_make(8, 9);
    static uint16_t want[3000 * 8], got[3000 * 8];
    char name[128];
    npr_h5 *f;
    npr_h5_column *c;
    CHECK_OK(npr_h5_open(path_of("good"), &f));
    CHECK_OK(npr_h5_find(f, &emb, 3000, &c));
    CHECK_OK(npr_h5_read(c, 0, 3000, want));
    npr_h5_column_free(c);
    npr_h5_discard(f);
    snprintf(name, sizeof name, "%s", path_of("good"));
    FILE *in = fopen(name, "rb");
    static unsigned char bytes[1 << 17];
    size_t n = fread(bytes, 1, sizeof bytes, in);
    fclose(in);
    int silent = 0, noticed = 0;
    for (int t = 0; t < TRIALS; t++) {
        int64_t at = npr_rng_below(&rng, t % 2 ? (int64_t)n : 1024);
        unsigned char old = bytes[at];
        bytes[at] = (unsigned char)npr_rng_next(&rng);
        FILE *out = fopen(path_of("mutant"), "wb");
        if (!out || fwrite(bytes, 1, n, out) != n || fclose(out)) exit(1);
        bytes[at] = old;
        npr_status st = npr_h5_open(path_of("mutant"), &f);
        if (st) f = NULL;
        c = NULL;
        if (!st) st = npr_h5_find(f, &emb, 3000, &c);
        if (!st) st = npr_h5_read(c, 0, 3000, got);
        noticed += st != NPR_OK;
        silent += !st && memcmp(want, got, sizeof want) != 0;
        if (!st || c) npr_h5_column_free(c);
        npr_h5_discard(f);
    }
    CHECK_INT(silent, 0);
    CHECK(noticed > TRIALS / 3);
}

int main(void)
{
    if (!make_files()) SKIP("python3-h5py is not installed");
    test_good();
    test_refused();
    test_ends();
    test_lost_chunk();
    test_mutations();
    test_folder_remove();
    return TEST_END();
}
