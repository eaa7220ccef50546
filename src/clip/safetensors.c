/* safetensors.c - see safetensors.h. */
#include "clip/safetensors.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/half.h"
#include "base/json.h"
#include "base/mem.h"

enum { PREFIX = 8 };

/* Sizes of values in bytes, of all types the format knows. */
static size_t dtype_bytes(const char *dtype)
{
    static const struct {
        const char *name;
        size_t bytes;
    } known[] = {{"F32", 4}, {"F16", 2}, {"BF16", 2},    {"F64", 8},     {"I64", 8},
                 {"I32", 4}, {"I16", 2}, {"I8", 1},      {"U64", 8},     {"U32", 4},
                 {"U16", 2}, {"U8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"BOOL", 1}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(dtype, known[i].name)) return known[i].bytes;
    return 0;
}

const char *npr_tensor_shape_text(int rank, const int64_t *shape, char *text, size_t n)
{
    size_t o = (size_t)snprintf(text, n, "[");
    for (int i = 0; i < rank && o < n; i++)
        o += (size_t)snprintf(text + o, n - o, "%s%lld", i ? ", " : "", (long long)shape[i]);
    if (o < n) snprintf(text + o, n - o, "]");
    return text;
}

/* ---- one tensor of the header -------------------------------------------------------------------------- */

static npr_status read_shape(const char *origin, const npr_json *v, npr_tensor *x)
{
    npr_json *shape;
    NPR_TRY(npr_json_get_array(v, "shape", origin, &shape));
    size_t rank = npr_json_count(shape);
    if (rank > NPR_TENSOR_RANK)
        return npr_fail(NPR_EDATA, "%s: a shape of %zu dimensions, at most %d are allowed", origin, rank,
                        NPR_TENSOR_RANK);
    x->rank = (int)rank;
    x->values = 1;
    int empty = 0;
    for (size_t i = 0; i < rank; i++) {
        if (!npr_json_integer(npr_json_at(shape, i), &x->shape[i]) || x->shape[i] < 0)
            return npr_fail(NPR_EDATA, "%s: \"shape\" should hold integers from 0 on", origin);
        empty |= x->shape[i] == 0;
        if (x->shape[i] && __builtin_mul_overflow(x->values, x->shape[i], &x->values)) {
            char text[256];
            return npr_fail(NPR_EDATA, "%s: shape %s has more values than fit into 63 bits", origin,
                            npr_tensor_shape_text((int)rank, x->shape, text, sizeof text));
        }
    }
    if (empty) x->values = 0;
    return NPR_OK;
}

static npr_status read_offsets(const char *origin, const npr_json *v, int64_t *begin, int64_t *end)
{
    npr_json *offsets;
    NPR_TRY(npr_json_get_array(v, "data_offsets", origin, &offsets));
    if (npr_json_count(offsets) != 2 || !npr_json_integer(npr_json_at(offsets, 0), begin) ||
        !npr_json_integer(npr_json_at(offsets, 1), end) || *begin < 0 || *end < *begin)
        return npr_fail(NPR_EDATA, "%s: \"data_offsets\" should be two integers, 0 <= begin <= end", origin);
    return NPR_OK;
}

/* origin: "FILE: tensor NAME". data, left: where what lies behind the header begins, and how much it is. */
static npr_status read_tensor(const char *origin, const npr_json *v, size_t data, size_t left, npr_tensor *x)
{
    static const char *const known[] = {"dtype", "shape", "data_offsets"};
    const char *dtype;
    int64_t begin, end, want;
    NPR_TRY(npr_json_get_text(v, "dtype", origin, &dtype));
    size_t size = dtype_bytes(dtype);
    if (!size) return npr_fail(NPR_EDATA, "%s: unknown \"dtype\" \"%.40s\"", origin, dtype);
    snprintf(x->dtype, sizeof x->dtype, "%s", dtype);
    NPR_TRY(read_shape(origin, v, x));
    NPR_TRY(read_offsets(origin, v, &begin, &end));
    if (npr_json_count(v) != sizeof known / sizeof *known)
        return npr_fail(NPR_EDATA, "%s: has other keys than \"dtype\", \"shape\" and \"data_offsets\"",
                        origin);
    if (__builtin_mul_overflow(x->values, (int64_t)size, &want) || end - begin != want) {
        char text[256];
        return npr_fail(NPR_EDATA, "%s: %s of shape %s does not fill the %lld bytes of its \"data_offsets\"",
                        origin, x->dtype, npr_tensor_shape_text(x->rank, x->shape, text, sizeof text),
                        (long long)(end - begin));
    }
    if ((uint64_t)end > left)
        return npr_fail(NPR_EDATA, "%s: ends at byte %lld of the data, the file has %zu", origin,
                        (long long)end, left);
    x->at = data + (size_t)begin;
    x->bytes = (size_t)want;
    return NPR_OK;
}

/* ---- the header ---------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const npr_tensor *)a)->name, ((const npr_tensor *)b)->name);
}

static int by_place(const void *a, const void *b)
{
    const npr_tensor *x = a, *y = b;
    if (x->at != y->at) return x->at < y->at ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

/* Sorted by place, each tensor must begin where the one before it ends. */
static npr_status check_places(npr_tensors *t, size_t data)
{
    size_t at = data;
    const char *before = "the header";
    qsort(t->tensor, t->count, sizeof *t->tensor, by_place);
    for (size_t i = 0; i < t->count; i++) {
        const npr_tensor *x = &t->tensor[i];
        if (x->at != at)
            return npr_fail(NPR_EDATA, "%s: tensor %.200s %s %.200s at byte %zu of the data", t->path,
                            x->name, x->at < at ? "overlaps" : "leaves a hole behind", before,
                            (x->at < at ? x->at : at) - data);
        at = x->at + x->bytes;
        before = x->name;
    }
    if (at != t->size)
        return npr_fail(NPR_EDATA, "%s: %zu bytes behind the last tensor that belong to none", t->path,
                        t->size - at);
    qsort(t->tensor, t->count, sizeof *t->tensor, by_name);
    return NPR_OK;
}

static npr_status read_metadata(npr_tensors *t, npr_json *v)
{
    for (const char *key = npr_json_next_key(v, NULL); key; key = npr_json_next_key(v, key))
        if (!npr_json_text(npr_json_get(v, key)))
            return npr_fail(NPR_EDATA, "%s: \"__metadata__\" should hold texts only", t->path);
    t->metadata = npr_json_print(v, 0);
    return t->metadata ? NPR_OK : npr_last();
}

static npr_status read_entries(npr_tensors *t, npr_json *header, size_t data)
{
    for (const char *key = npr_json_next_key(header, NULL); key; key = npr_json_next_key(header, key)) {
        npr_json *v = npr_json_get(header, key);
        if (!strcmp(key, "__metadata__")) {
            NPR_TRY(read_metadata(t, v));
            continue;
        }
        char origin[768];
        snprintf(origin, sizeof origin, "%.400s: tensor %.300s", t->path, key);
        npr_tensor *x = &t->tensor[t->count];
        NPR_TRY(read_tensor(origin, v, data, t->size - data, x));
        if (!(x->name = npr_strdup(key))) return npr_last();
        t->count++;
    }
    return NPR_OK;
}

/* Upper bound of the values in a JSON text, from its commas and colons: a header within the limits has at
 * most 16 a tensor. What has more is refused before a parser takes memory for it. */
static int too_many_values(const char *text, size_t n)
{
    size_t marks = 0;
    for (size_t i = 0; i < n; i++) marks += (text[i] == ',') | (text[i] == ':');
    return marks > (size_t)NPR_TENSORS_MAX * 20;
}

static npr_status parse_header(npr_tensors *t, const char *text, size_t length)
{
    if (!length || text[0] != '{')
        return npr_fail(NPR_EDATA, "%s: not a .safetensors file: its header does not begin with {", t->path);
    if (too_many_values(text, length))
        return npr_fail(NPR_EDATA, "%s: a header of more values than %d tensors need", t->path,
                        NPR_TENSORS_MAX);
    npr_json *header = npr_json_parse(text, length, t->path);
    if (!header) return npr_last();
    size_t count = npr_json_count(header);
    npr_status st = NPR_OK;
    if (count > NPR_TENSORS_MAX)
        st = npr_fail(NPR_EDATA, "%s: %zu tensors, at most %d are allowed", t->path, count, NPR_TENSORS_MAX);
    if (!st && !(t->tensor = npr_alloc(count, sizeof *t->tensor, "a list of tensors"))) st = npr_last();
    if (!st) st = read_entries(t, header, PREFIX + length);
    if (!st) st = check_places(t, PREFIX + length);
    npr_json_free(header);
    return st;
}

static npr_status read_header(npr_tensors *t)
{
    unsigned char prefix[PREFIX];
    if (t->size < PREFIX)
        return npr_fail(NPR_EDATA, "%s: %zu bytes are no .safetensors file", t->path, t->size);
    NPR_TRY(npr_tensors_read(t, 0, prefix, PREFIX));
    uint64_t length = 0;
    for (int i = PREFIX - 1; i >= 0; i--) length = length << 8 | prefix[i];
    if (length > NPR_TENSORS_HEADER_MAX || length > t->size - PREFIX)
        return npr_fail(NPR_EDATA, "%s: a header of %llu bytes, at most %zu fit here", t->path,
                        (unsigned long long)length,
                        t->size - PREFIX < NPR_TENSORS_HEADER_MAX ? t->size - PREFIX
                                                                  : NPR_TENSORS_HEADER_MAX);
    char *text = npr_alloc((size_t)length, 1, "the header of a .safetensors file");
    npr_status st = text ? npr_tensors_read(t, PREFIX, text, (size_t)length) : npr_last();
    if (!st) st = parse_header(t, text, (size_t)length);
    free(text);
    return st;
}

npr_status npr_tensors_parse(const char *path, const void *bytes, size_t size, npr_tensors *t)
{
    *t = (npr_tensors){.bytes = bytes, .size = size, .fd = -1};
    t->path = npr_strdup(path);
    return t->path ? read_header(t) : npr_last();
}

/* ---- files --------------------------------------------------------------------------------------------- */

npr_status npr_tensors_open(const char *path, npr_tensors *t)
{
    int64_t bytes;
    *t = (npr_tensors){.fd = -1};
    if (!(t->path = npr_strdup(path))) return npr_last();
    NPR_TRY(npr_file_open(path, &t->fd, &bytes));
    t->size = (size_t)bytes;
    return read_header(t);
}

static npr_status has_changed(const npr_tensors *t, size_t end)
{
    return npr_fail(NPR_EIO, "%s: changed while it was being read: it ends at byte %zu, wanted %zu", t->path,
                    end, t->size);
}

npr_status npr_tensors_read(const npr_tensors *t, size_t at, void *to, size_t n)
{
    if (t->bytes) {
        memcpy(to, t->bytes + at, n);
        return NPR_OK;
    }
    for (size_t got = 0; got < n;) {
        ssize_t m = npr_fault("weights.read") ? (errno = EIO, -1)
                                              : pread(t->fd, (char *)to + got, n - got, (off_t)(at + got));
        if (m < 0 && errno == EINTR) continue;
        if (m < 0)
            return npr_fail(NPR_EIO, "%s: cannot read at byte %zu: %s", t->path, at + got, strerror(errno));
        if (m == 0) return has_changed(t, at + got);
        got += (size_t)m;
    }
    return NPR_OK;
}

npr_status npr_tensors_digest(const npr_tensors *t, char hex[NPR_DIGEST_HEX])
{
    int64_t bytes;
    NPR_TRY(npr_digest_open_file(t->fd, t->path, hex, &bytes));
    return (size_t)bytes == t->size ? NPR_OK : has_changed(t, (size_t)bytes);
}

void npr_tensors_close(npr_tensors *t)
{
    for (size_t i = 0; t->tensor && i < t->count; i++) free(t->tensor[i].name);
    free(t->tensor);
    free(t->metadata);
    if (t->path && !t->bytes && t->fd >= 0) close(t->fd);
    free(t->path);
    *t = (npr_tensors){.fd = -1};
}

const npr_tensor *npr_tensors_find(const npr_tensors *t, const char *name)
{
    size_t low = 0, high = t->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = strcmp(t->tensor[mid].name, name);
        if (!order) return &t->tensor[mid];
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

/* ---- values -------------------------------------------------------------------------------------------- */

/* bfloat16 is the upper half of a float. */
static npr_status widen(const npr_tensors *t, const npr_tensor *x, float *out)
{
    enum { BLOCK = 16384 };
    uint16_t block[BLOCK];
    int bf16 = x->dtype[0] == 'B';
    for (size_t i = 0, n = (size_t)x->values; i < n;) {
        size_t m = n - i < BLOCK ? n - i : BLOCK;
        NPR_TRY(npr_tensors_read(t, x->at + 2 * i, block, 2 * m));
        if (!bf16) npr_half_to_float(block, out + i, m);
        for (size_t j = 0; bf16 && j < m; j++) {
            uint32_t u = (uint32_t)block[j] << 16;
            memcpy(out + i + j, &u, sizeof u);
        }
        i += m;
    }
    return NPR_OK;
}

npr_status npr_tensor_floats(const npr_tensors *t, const npr_tensor *x, float **values)
{
    *values = NULL;
    int f32 = !strcmp(x->dtype, "F32");
    if (!f32 && strcmp(x->dtype, "F16") != 0 && strcmp(x->dtype, "BF16") != 0)
        return npr_fail(NPR_EDATA, "%s: tensor %.300s is of type %s, wanted F32, F16 or BF16", t->path,
                        x->name, x->dtype);
    float *copy = npr_alloc_aligned((size_t)x->values, sizeof *copy, x->name);
    if (!copy) return npr_last();
    npr_status st = f32 ? npr_tensors_read(t, x->at, copy, x->bytes) : widen(t, x, copy);
    if (st)
        free(copy);
    else
        *values = copy;
    return st;
}
