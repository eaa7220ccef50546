/* .safetensors: what is read, every rule a header can break, every truncation, random damage, values of all
 * types. */
#include "tiny.h"

#include "base/digest.h"
#include "base/file.h"
#include "base/rng.h"

enum { MOST = 4096 };

/* A file in memory: 8 bytes of length, header, `data` bytes of data. Returns its size. */
static size_t file_of(const char *header, size_t data, unsigned char out[MOST])
{
    size_t n = strlen(header);
    for (size_t i = 0; i < 8; i++) out[i] = (unsigned char)(n >> 8 * i);
    memcpy(out + 8, header, n);
    for (size_t i = 0; i < data; i++) out[8 + n + i] = (unsigned char)i;
    return 8 + n + data;
}

/* The bytes end where memory ends, so that a sanitizer sees what reads behind. */
static npr_status parse_exactly(const unsigned char *bytes, size_t n)
{
    npr_tensors t;
    unsigned char *copy = malloc(n ? n : 1);
    memcpy(copy, bytes, n);
    npr_status st = npr_tensors_parse("t.safetensors", copy, n, &t);
    for (size_t i = 0; !st && i < t.count; i++) {
        float *values;
        if (npr_tensor_floats(&t, &t.tensor[i], &values)) continue;
        volatile float sum = 0;
        for (int64_t j = 0; j < t.tensor[i].values; j++) sum += values[j];
        free(values);
    }
    npr_tensors_close(&t);
    free(copy);
    return st;
}

static void broken_rules(void)
{
    static const struct {
        const char *header;
        size_t data;
        const char *words;
    } bad[] = {
        {"", 0, "does not begin with {"},
        {"[]", 0, "does not begin with {"},
        {" {}", 0, "does not begin with {"},
        {"{", 0, "not valid JSON"},
        {"{}", 4, "4 bytes behind the last tensor"},
        {"{\"a\":1}", 0, "tensor a: \"dtype\" should be a string"},
        {"{\"a\":{\"dtype\":\"F33\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "unknown \"dtype\" \"F33\""},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":4,\"data_offsets\":[0,4]}}", 4, "\"shape\" should be an array"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "integers from 0 on"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", 4, "integers from 0 on"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4,
         "9 dimensions"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4194305,4194305,211106198978564],\"data_offsets\":[0,4]}}", 4,
         "[4194305, 4194305, 211106198978564] has more values than fit into 63 bits"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}", 0,
         "does not fill"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[99999999999999999999],\"data_offsets\":[0,0]}}", 0,
         "not valid JSON"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, "does not fill the 4 bytes"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, "0 <= begin <= end"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 4, "0 <= begin <= end"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "two integers"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4, "two integers"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,\"4\"]}}", 4, "two integers"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4,
         "\"data_offsets\" should be an array, it is missing"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 3, "ends at byte 4 of the data"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":0}}", 4, "has other keys"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]}}",
         12, "tensor b leaves a hole behind a at byte 4"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
         8, "tensor b overlaps a at byte 4"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
         4, "overlaps"},
        {"{\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8,
         "leaves a hole behind the header"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
         "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
         8, "duplicate"},
        {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
         "duplicate"},
        {"{\"__metadata__\":{\"a\":1}}", 0, "\"__metadata__\" should hold texts only"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[[[1]]],\"data_offsets\":[0,4]}}", 4, "integers from 0 on"}};
    unsigned char bytes[MOST];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        size_t n = file_of(bad[i].header, bad[i].data, bytes);
        CHECK_FAILS(parse_exactly(bytes, n), NPR_EDATA, bad[i].words);
        CHECK(strstr(npr_status_text(), "t.safetensors"));
    }
}

static void broken_lengths(void)
{
    unsigned char bytes[MOST];
    size_t n = file_of("{}", 0, bytes);
    static const uint64_t length[] = {UINT64_C(1) << 63, UINT64_MAX, 100000001, 3, UINT64_MAX - 7};
    for (size_t k = 0; k < sizeof length / sizeof *length; k++) {
        for (size_t i = 0; i < 8; i++) bytes[i] = (unsigned char)(length[k] >> 8 * i);
        CHECK_FAILS(parse_exactly(bytes, n), NPR_EDATA, "a header of");
    }
    for (n = 0; n < 8; n++) CHECK_FAILS(parse_exactly(bytes, n), NPR_EDATA, "no .safetensors file");
}

/* Headers made to cost memory or time: many tensors, many values, deep nesting. */
static void costly(void)
{
    enum { BIG = 40000000 };
    unsigned char *bytes = malloc(BIG + 8);
    static const struct {
        char begin[8], fill[4];
        const char *words;
    } bad[] = {{"{\"a\":[0", ",0", "more values than"}, {"{\"a\":[", "[", "nested deeper"}};
    for (size_t k = 0; k < 2; k++) {
        size_t at = 8 + strlen(bad[k].begin), m = strlen(bad[k].fill);
        for (size_t i = 0; i < 8; i++) bytes[i] = (unsigned char)((size_t)BIG >> 8 * i);
        memcpy(bytes + 8, bad[k].begin, strlen(bad[k].begin));
        for (; at + m <= BIG + 8; at += m) memcpy(bytes + at, bad[k].fill, m);
        memset(bytes + at, ' ', BIG + 8 - at);
        CHECK_FAILS(parse_exactly(bytes, BIG + 8), NPR_EDATA, bad[k].words);
    }
    size_t at = 8;
    bytes[at++] = '{';
    for (int i = 0; i <= NPR_TENSORS_MAX; i++)
        at += (size_t)sprintf((char *)bytes + at,
                              "%s\"%x\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}",
                              i ? "," : "", i);
    bytes[at++] = '}';
    for (size_t i = 0; i < 8; i++) bytes[i] = (unsigned char)((at - 8) >> 8 * i);
    CHECK_FAILS(parse_exactly(bytes, at), NPR_EDATA, "65537 tensors, at most 65536");
    free(bytes);
}

static void good(void)
{
    static const char header[] = "{\"__metadata__\":{\"format\":\"pt\"},"
                                 "\"z\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[8,12]},"
                                 "\"half\":{\"dtype\":\"F16\",\"shape\":[1,2],\"data_offsets\":[0,4]},"
                                 "\"brain\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[4,8]},"
                                 "\"none\":{\"dtype\":\"F64\",\"shape\":[0,7],\"data_offsets\":[8,8]},"
                                 "\"long\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[12,20]}}  ";
    unsigned char bytes[MOST];
    size_t n = file_of(header, 20, bytes);
    static const uint16_t raw[] = {0x3c00, 0xc100, 0x3f80, 0xc020}; /* 1, -2.5 in each type */
    const float f = 1234.5f;
    float *values;
    npr_tensors t;
    memcpy(bytes + n - 20, raw, sizeof raw);
    memcpy(bytes + n - 12, &f, sizeof f);
    CHECK_OK(npr_tensors_parse("t.safetensors", bytes, n, &t));
    CHECK_INT(t.count, 5);
    CHECK_TEXT(t.metadata, "{\"format\":\"pt\"}");
    CHECK(npr_tensors_find(&t, "absent") == NULL && npr_tensors_find(&t, "__metadata__") == NULL);
    CHECK(npr_tensors_find(&t, "none")->values == 0 && npr_tensors_find(&t, "none")->rank == 2);
    for (int i = 0; i < 2; i++) {
        CHECK_OK(npr_tensor_floats(&t, npr_tensors_find(&t, i ? "brain" : "half"), &values));
        CHECK(values[0] == 1.0f && values[1] == -2.5f);
        free(values);
    }
    CHECK_OK(npr_tensor_floats(&t, npr_tensors_find(&t, "z"), &values));
    CHECK(values[0] == f && npr_tensors_find(&t, "z")->rank == 0);
    free(values);
    CHECK_FAILS(npr_tensor_floats(&t, npr_tensors_find(&t, "long"), &values), NPR_EDATA,
                "tensor long is of type I64, wanted F32, F16 or BF16");
    npr_tensors_close(&t);
    /* every beginning, and one byte too many */
    for (size_t k = 0; k < n; k++) CHECK(parse_exactly(bytes, k) == NPR_EDATA);
    CHECK_OK(parse_exactly(bytes, n));
    CHECK_FAILS(parse_exactly(bytes, n + 1), NPR_EDATA, "1 bytes behind");
    /* damage anywhere: words or a file that can be read, never more */
    npr_rng r = npr_rng_make(21, 0);
    for (int round = 0; round < 20000; round++) {
        unsigned char damaged[MOST];
        memcpy(damaged, bytes, n);
        for (int64_t k = npr_rng_below(&r, 4); k >= 0; k--)
            damaged[npr_rng_below(&r, (int64_t)n)] = (unsigned char)npr_rng_next(&r);
        npr_status st = parse_exactly(damaged, n);
        CHECK(st == NPR_OK || st == NPR_EDATA);
    }
}

static void files(void)
{
    npr_tensors t = tiny_expected();
    CHECK(t.count > 10 && npr_tensors_find(&t, "gelu.image.features"));
    npr_tensors_close(&t);
    CHECK_FAILS(npr_tensors_open("/nowhere.safetensors", &t), NPR_ENOINPUT, "/nowhere.safetensors");
    npr_tensors_close(&t);
    CHECK_FAILS(npr_tensors_open("/tmp", &t), NPR_ENOINPUT, "not a regular file");
    npr_tensors_close(&t);
    CHECK_FAILS(npr_tensors_open(tiny_path("tiny_clip_gelu.json"), &t), NPR_EDATA, "tiny_clip_gelu.json");
    npr_tensors_close(&t);
}

/* A file that becomes shorter after it was opened ends nothing but the reading of what is gone. */
static void becomes_shorter(void)
{
    static const char header[] =
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[30000],\"data_offsets\":[0,120000]},"
        "\"b\":{\"dtype\":\"F16\",\"shape\":[30000],\"data_offsets\":[120000,180000]}}";
    static unsigned char bytes[MOST + 180000];
    char path[256], hex[NPR_DIGEST_HEX], want[NPR_DIGEST_HEX];
    float *values;
    npr_tensors t;
    size_t n = file_of(header, 180000, bytes);
    snprintf(path, sizeof path, "%s/shorter.safetensors", test_folder());
    CHECK_OK(npr_file_replace(path, bytes, n));
    CHECK_OK(npr_tensors_open(path, &t));
    CHECK_OK(npr_tensors_digest(&t, hex));
    npr_digest_block(bytes, n, want);
    CHECK_TEXT(hex, want);
    CHECK_INT(truncate(path, (off_t)n - 30000), 0); /* a page of b is left */
    CHECK_OK(npr_tensor_floats(&t, npr_tensors_find(&t, "a"), &values));
    CHECK(!memcmp(values, bytes + n - 180000, 120000));
    free(values);
    CHECK_FAILS(npr_tensor_floats(&t, npr_tensors_find(&t, "b"), &values), NPR_EIO,
                "shorter.safetensors: changed while it was being read: it ends at byte");
    CHECK(values == NULL);
    CHECK_INT(truncate(path, 0), 0);
    CHECK_FAILS(npr_tensor_floats(&t, npr_tensors_find(&t, "a"), &values), NPR_EIO, "ends at byte");
    CHECK_FAILS(npr_tensors_digest(&t, hex), NPR_EIO, "it ends at byte 0, wanted");
    npr_tensors_close(&t);
}

int main(void)
{
    broken_rules();
    broken_lengths();
    costly();
    good();
    files();
    becomes_shorter();
    test_folder_remove();
    return TEST_END();
}
