/* safetensors.c - see safetensors.h. */
#include "clip/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* origin: "FILE: tensor NAME". data, left: what lies behind the header. */
static npr_status read_tensor(const char *origin, const npr_json *v, const unsigned char *data, size_t left,
                              npr_tensor *x)
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
    x->data = data + begin;
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
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

/* Sorted by place, each tensor must begin where the one before it ends. */
static npr_status check_places(npr_tensors *t, const unsigned char *data, size_t left)
{
    const unsigned char *at = data;
    const char *before = "the header";
    qsort(t->tensor, t->count, sizeof *t->tensor, by_place);
    for (size_t i = 0; i < t->count; i++) {
        const npr_tensor *x = &t->tensor[i];
        if (x->data != at)
            return npr_fail(NPR_EDATA, "%s: tensor %.200s %s %.200s at byte %zu of the data", t->path,
                            x->name, x->data < at ? "overlaps" : "leaves a hole behind", before,
                            (size_t)((x->data < at ? x->data : at) - data));
        at = x->data + x->bytes;
        before = x->name;
    }
    if (at != data + left)
        return npr_fail(NPR_EDATA, "%s: %zu bytes behind the last tensor that belong to none", t->path,
                        (size_t)(data + left - at));
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

static npr_status read_entries(npr_tensors *t, npr_json *header, const unsigned char *data, size_t left)
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
        NPR_TRY(read_tensor(origin, v, data, left, x));
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

npr_status npr_tensors_parse(const char *path, const void *bytes, size_t size, npr_tensors *t)
{
    *t = (npr_tensors){.bytes = bytes, .size = size};
    if (!(t->path = npr_strdup(path))) return npr_last();
    if (size < PREFIX) return npr_fail(NPR_EDATA, "%s: %zu bytes are no .safetensors file", path, size);
    uint64_t length = 0;
    for (int i = PREFIX - 1; i >= 0; i--) length = length << 8 | t->bytes[i];
    if (length > NPR_TENSORS_HEADER_MAX || length > size - PREFIX)
        return npr_fail(NPR_EDATA, "%s: a header of %llu bytes, at most %zu fit here", path,
                        (unsigned long long)length,
                        size - PREFIX < NPR_TENSORS_HEADER_MAX ? size - PREFIX : NPR_TENSORS_HEADER_MAX);
    const char *text = (const char *)t->bytes + PREFIX;
    if (!length || text[0] != '{')
        return npr_fail(NPR_EDATA, "%s: not a .safetensors file: its header does not begin with {", path);
    if (too_many_values(text, (size_t)length))
        return npr_fail(NPR_EDATA, "%s: a header of more values than %d tensors need", path, NPR_TENSORS_MAX);
    npr_json *header = npr_json_parse(text, (size_t)length, path);
    if (!header) return npr_last();
    size_t count = npr_json_count(header), left = size - PREFIX - (size_t)length;
    npr_status st = NPR_OK;
    if (count > NPR_TENSORS_MAX)
        st = npr_fail(NPR_EDATA, "%s: %zu tensors, at most %d are allowed", path, count, NPR_TENSORS_MAX);
    if (!st && !(t->tensor = npr_alloc(count, sizeof *t->tensor, "a list of tensors"))) st = npr_last();
    if (!st) st = read_entries(t, header, t->bytes + PREFIX + length, left);
    if (!st) st = check_places(t, t->bytes + PREFIX + length, left);
    npr_json_free(header);
    return st;
}

/* ---- files --------------------------------------------------------------------------------------------- */

static npr_status map_file(const char *path, const void **bytes, size_t *size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return npr_fail(npr_status_from_errno(errno), "%s: cannot open: %s", path, strerror(errno));
    struct stat s;
    npr_status st = NPR_OK;
    void *map = MAP_FAILED;
    if (fstat(fd, &s))
        st = npr_fail(NPR_EIO, "%s: %s", path, strerror(errno));
    else if (!S_ISREG(s.st_mode))
        st = npr_fail(NPR_ENOINPUT, "%s: not a regular file", path);
    else if (s.st_size < PREFIX)
        st = npr_fail(NPR_EDATA, "%s: %lld bytes are no .safetensors file", path, (long long)s.st_size);
    else if ((map = mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_PRIVATE, fd, 0)) == MAP_FAILED)
        st = npr_fail(npr_status_from_errno(errno), "%s: cannot map: %s", path, strerror(errno));
    close(fd);
    if (st) return st;
    *bytes = map;
    *size = (size_t)s.st_size;
    return NPR_OK;
}

npr_status npr_tensors_open(const char *path, npr_tensors *t)
{
    const void *bytes = NULL;
    size_t size = 0;
    *t = (npr_tensors){0};
    NPR_TRY(map_file(path, &bytes, &size));
    npr_status st = npr_tensors_parse(path, bytes, size, t);
    t->mapped = 1;
    return st;
}

void npr_tensors_close(npr_tensors *t)
{
    for (size_t i = 0; t->tensor && i < t->count; i++) free(t->tensor[i].name);
    free(t->tensor);
    free(t->metadata);
    free(t->path);
    if (t->mapped) munmap((void *)(uintptr_t)t->bytes, t->size);
    *t = (npr_tensors){0};
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
static void widen(const npr_tensor *x, float *out)
{
    uint16_t block[1024];
    int bf16 = x->dtype[0] == 'B';
    for (size_t i = 0, n = (size_t)x->values; i < n;) {
        size_t m = n - i < 1024 ? n - i : 1024;
        memcpy(block, x->data + 2 * i, 2 * m);
        if (!bf16) npr_half_to_float(block, out + i, m);
        for (size_t j = 0; bf16 && j < m; j++) {
            uint32_t u = (uint32_t)block[j] << 16;
            memcpy(out + i + j, &u, sizeof u);
        }
        i += m;
    }
}

npr_status npr_tensor_floats(const npr_tensors *t, const npr_tensor *x, const float **values, float **owned)
{
    *owned = NULL;
    int f32 = !strcmp(x->dtype, "F32");
    if (!f32 && strcmp(x->dtype, "F16") != 0 && strcmp(x->dtype, "BF16") != 0)
        return npr_fail(NPR_EDATA, "%s: tensor %.300s is of type %s, wanted F32, F16 or BF16", t->path,
                        x->name, x->dtype);
    if (f32 && (uintptr_t)x->data % sizeof(float) == 0) {
        *values = (const float *)(const void *)x->data;
        return NPR_OK;
    }
    float *copy = npr_alloc_aligned((size_t)x->values, sizeof *copy, x->name);
    if (!copy) return npr_last();
    if (f32)
        memcpy(copy, x->data, x->bytes);
    else
        widen(x, copy);
    *values = *owned = copy;
    return NPR_OK;
}
