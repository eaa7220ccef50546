/* resample.c - see resample.h.
 *
 * The fast kernels multiply 16-bit pairs (madd): a weight w of up to 24 bits is split as w = 256 h + l with l
 * in 0..255, the sums of h p and of l p are kept apart and put together at the end. All of it is exact modulo
 * 2^32, and the sum itself fits 32 bits: the weights' absolute values add up to less than 2. */
#include "clip/resample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { BITS = 32 - 8 - 2, HALF = 1 << (BITS - 1), BLOCK = 4 };

/* ---- weights ---- */

/* Keys' cubic with a = -0.5, each polynomial evaluated in Pillow's order. */
static double cubic(double x)
{
    static const double a = -0.5;
    x = fabs(x);
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
    return 0;
}

static int32_t to_fixed(double w)
{
    return (int32_t)((w < 0 ? -0.5 : 0.5) + w * (1 << BITS));
}

/* Weights of output i, whose centre lies at `centre` on the axis of inputs. */
static void make_output(npr_taps *t, int i, double centre, double scale, double support)
{
    int begin = (int)(centre - support + 0.5), end = (int)(centre + support + 0.5);
    if (begin < 0) begin = 0;
    if (end > t->in) end = t->in;
    double sum = 0, step = 1 / scale;
    for (int j = begin; j < end; j++) sum += cubic((j - centre + 0.5) * step);
    int32_t *w = t->weight + (size_t)i * (size_t)t->most;
    for (int j = begin; j < end; j++) w[j - begin] = to_fixed(cubic((j - centre + 0.5) * step) / sum);
    t->begin[i] = begin;
    t->n[i] = end - begin;
}

static int32_t pack(int32_t low, int32_t high)
{
    return (int32_t)((uint32_t)high << 16 | ((uint32_t)low & 0xffff));
}

/* Of each four weights: h of the first two, h of the others, l of the first two, l of the others. */
static void make_pairs(npr_taps *t)
{
    size_t n = (size_t)t->count * (size_t)t->most;
    for (size_t i = 0; i < n; i += BLOCK) {
        const int32_t *w = t->weight + i;
        int32_t *p = t->pair + i;
        for (int j = 0; j < 2; j++) {
            p[j] = pack(w[2 * j] >> 8, w[2 * j + 1] >> 8);
            p[j + 2] = pack(w[2 * j] & 255, w[2 * j + 1] & 255);
        }
    }
}

npr_status npr_taps_make(npr_taps *t, int in, int out, int first, int count)
{
    if (t->in == in && t->out == out && t->first == first && t->count == count) return NPR_OK;
    double ratio = (double)in / out, scale = ratio > 1 ? ratio : 1, support = 2 * scale;
    int most = ((int)ceil(support) * 2 + 1 + BLOCK - 1) / BLOCK * BLOCK;
    size_t n = (size_t)count, weights = n * (size_t)most;
    t->count = 0;
    NPR_TRY(npr_grow(&t->begin, &t->begin_cap, n, sizeof *t->begin, "resampling"));
    NPR_TRY(npr_grow(&t->n, &t->n_cap, n, sizeof *t->n, "resampling"));
    NPR_TRY(npr_grow(&t->weight, &t->weight_cap, weights, sizeof *t->weight, "resampling weights"));
    NPR_TRY(npr_grow(&t->pair, &t->pair_cap, weights, sizeof *t->pair, "resampling weights"));
    *t = (npr_taps){in,        out,     first,    count,        most,          t->begin,   t->n,
                    t->weight, t->pair, t->n_cap, t->begin_cap, t->weight_cap, t->pair_cap};
    memset(t->weight, 0, weights * sizeof *t->weight);
    for (int i = 0; i < count; i++) make_output(t, i, (first + i + 0.5) * ratio, scale, support);
    make_pairs(t);
    return NPR_OK;
}

void npr_taps_free(npr_taps *t)
{
    free(t->begin);
    free(t->n);
    free(t->weight);
    free(t->pair);
    *t = (npr_taps){0};
}

/* ---- portable kernels ---- */

static uint8_t clamp(int32_t sum)
{
    int32_t x = sum >> BITS;
    return (uint8_t)(x < 0 ? 0 : x > 255 ? 255 : x);
}

static void horizontal_row(const npr_taps *t, const uint8_t *in, int channels, uint8_t *out)
{
    for (int i = 0; i < t->count; i++) {
        const int32_t *w = t->weight + (size_t)i * (size_t)t->most;
        const uint8_t *p = in + (size_t)t->begin[i] * (size_t)channels;
        for (int c = 0; c < channels; c++) {
            int32_t sum = HALF;
            for (int j = 0; j < t->n[i]; j++) sum += w[j] * p[j * channels + c];
            *out++ = clamp(sum);
        }
    }
}

static void horizontal_portable(const npr_taps *t, const npr_raster *in, uint8_t *out, size_t stride)
{
    for (int y = 0; y < in->rows; y++)
        horizontal_row(t, in->data + (size_t)y * in->stride, in->channels, out + (size_t)y * stride);
}

/* Bytes x0 .. width - 1 of output row i; in: the row's first input. */
static void vertical_row(const npr_taps *t, int i, const uint8_t *in, size_t stride, int x0, int width,
                         uint8_t *out)
{
    const int32_t *w = t->weight + (size_t)i * (size_t)t->most;
    for (int x = x0; x < width; x++) {
        int32_t sum = HALF;
        for (int j = 0; j < t->n[i]; j++) sum += w[j] * in[(size_t)j * stride + (size_t)x];
        out[x] = clamp(sum);
    }
}

static void vertical_portable(const npr_taps *t, const npr_raster *in, int row0, int width, uint8_t *out,
                              size_t stride)
{
    for (int i = 0; i < t->count; i++)
        vertical_row(t, i, in->data + (size_t)(t->begin[i] - row0) * in->stride, in->stride, 0, width,
                     out + (size_t)i * stride);
}

/* ---- AVX2 ---- */

#if defined(__x86_64__)
#include <immintrin.h>
#define AVX2        __attribute__((target("avx2")))
#define AVX2_INLINE AVX2 static inline __attribute__((always_inline))

AVX2_INLINE __m128i load16(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

/* Which of 16 bytes go where: pairs of 16-bit values (tap 0, tap 1) of four channels, then (tap 2, tap 3).
 * With one channel the bytes are four taps of each of four rows, and rows take the place of channels. */
AVX2_INLINE __m256i pair_mask(int channels)
{
    int8_t m[32];
    for (int tap = 0; tap < BLOCK; tap++)
        for (int c = 0; c < 4; c++) {
            int8_t *to = m + tap / 2 * 16 + c * 4 + tap % 2 * 2;
            to[0] = (int8_t)(channels == 1 ? c * BLOCK + tap : c < channels ? tap * channels + c : -1);
            to[1] = -1;
        }
    return _mm256_loadu_si256((const __m256i *)(const void *)m);
}

/* Four taps of 16 bytes into the two sums. */
AVX2_INLINE void add_block(__m128i bytes, __m256i mask, __m256i h, __m256i l, __m256i *high, __m256i *low)
{
    __m256i p = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(bytes), mask);
    *high = _mm256_add_epi32(*high, _mm256_madd_epi16(p, h));
    *low = _mm256_add_epi32(*low, _mm256_madd_epi16(p, l));
}

/* A block's weights, spread over the channels. */
AVX2_INLINE void spread(const int32_t *pair, __m256i *h, __m256i *l)
{
    __m256i four = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)pair));
    *h = _mm256_permutevar8x32_epi32(four, _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1));
    *l = _mm256_permutevar8x32_epi32(four, _mm256_setr_epi32(2, 2, 2, 2, 3, 3, 3, 3));
}

AVX2_INLINE __m256i combine(__m256i high, __m256i low)
{
    return _mm256_add_epi32(_mm256_slli_epi32(high, 8), low);
}

/* The sums' two halves added, rounded, shifted: [sum of a | sum of b]. */
AVX2_INLINE __m256i finish(__m256i a, __m256i b)
{
    __m256i sum =
        _mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31));
    return _mm256_srai_epi32(_mm256_add_epi32(sum, _mm256_set1_epi32(HALF)), BITS);
}

AVX2_INLINE void put(uint8_t *out, int value, int channels)
{
    memcpy(out, &value, channels == 3 ? 3 : 4);
}

/* Four rows of three or four channels. */
AVX2_INLINE void four_rows(const npr_taps *t, const uint8_t *in, size_t in_stride, int channels, uint8_t *out,
                           size_t stride)
{
    __m256i mask = pair_mask(channels);
    for (int i = 0; i < t->count; i++, out += channels) {
        const uint8_t *p = in + (size_t)t->begin[i] * (size_t)channels;
        const int32_t *pair = t->pair + (size_t)i * (size_t)t->most;
        __m256i high[4], low[4], h, l;
        for (int r = 0; r < 4; r++) high[r] = low[r] = _mm256_setzero_si256();
        for (int j = 0; j < t->n[i]; j += BLOCK, p += BLOCK * channels) {
            spread(pair + j, &h, &l);
#pragma GCC unroll 4
            for (int r = 0; r < 4; r++)
                add_block(load16(p + (size_t)r * in_stride), mask, h, l, high + r, low + r);
        }
        __m256i a = finish(combine(high[0], low[0]), combine(high[1], low[1]));
        __m256i b = finish(combine(high[2], low[2]), combine(high[3], low[3]));
        __m256i c = _mm256_packs_epi32(a, b), bytes = _mm256_packus_epi16(c, c);
        put(out, _mm256_extract_epi32(bytes, 0), channels);
        put(out + stride, _mm256_extract_epi32(bytes, 4), channels);
        put(out + 2 * stride, _mm256_extract_epi32(bytes, 1), channels);
        put(out + 3 * stride, _mm256_extract_epi32(bytes, 5), channels);
    }
}

AVX2 static void four_rows_3(const npr_taps *t, const uint8_t *in, size_t in_stride, uint8_t *out,
                             size_t stride)
{
    four_rows(t, in, in_stride, 3, out, stride);
}

AVX2 static void four_rows_4(const npr_taps *t, const uint8_t *in, size_t in_stride, uint8_t *out,
                             size_t stride)
{
    four_rows(t, in, in_stride, 4, out, stride);
}

AVX2_INLINE __m128i load_4x4(const uint8_t *p, size_t stride)
{
    int32_t v[4];
    for (int r = 0; r < 4; r++) memcpy(v + r, p + (size_t)r * stride, 4);
    return _mm_setr_epi32(v[0], v[1], v[2], v[3]);
}

AVX2 static void four_rows_1(const npr_taps *t, const uint8_t *in, size_t in_stride, uint8_t *out,
                             size_t stride)
{
    __m256i mask = pair_mask(1);
    for (int i = 0; i < t->count; i++, out++) {
        const uint8_t *p = in + t->begin[i];
        const int32_t *pair = t->pair + (size_t)i * (size_t)t->most;
        __m256i high = _mm256_setzero_si256(), low = high, h, l;
        for (int j = 0; j < t->n[i]; j += BLOCK) {
            spread(pair + j, &h, &l);
            add_block(load_4x4(p + j, in_stride), mask, h, l, &high, &low);
        }
        __m256i sum = combine(high, low), a = finish(sum, sum), b = _mm256_packs_epi32(a, a);
        int bytes = _mm256_extract_epi32(_mm256_packus_epi16(b, b), 0);
        for (int r = 0; r < 4; r++) out[(size_t)r * stride] = (uint8_t)((unsigned)bytes >> 8 * r);
    }
}

/* A block reads 16 bytes from a pixel of the row on, the last one behind its end: rows from which that may
 * leave the memory are done the plain way. */
static int rows_with_room(const npr_taps *t, const npr_raster *in)
{
    size_t reach = (size_t)(t->in + BLOCK) * (size_t)in->channels + 16;
    if (in->room < reach) return 0;
    size_t rows = in->stride ? (in->room - reach) / in->stride + 1 : 1;
    return rows < (size_t)in->rows ? (int)rows : in->rows;
}

static void horizontal_avx2(const npr_taps *t, const npr_raster *in, uint8_t *out, size_t stride)
{
    int fast = rows_with_room(t, in);
    for (int y = 0; y < in->rows;) {
        const uint8_t *from = in->data + (size_t)y * in->stride;
        uint8_t *to = out + (size_t)y * stride;
        if (fast - y < 4) {
            horizontal_row(t, from, in->channels, to);
            y++;
            continue;
        }
        if (in->channels == 1)
            four_rows_1(t, from, in->stride, to, stride);
        else if (in->channels == 3)
            four_rows_3(t, from, in->stride, to, stride);
        else
            four_rows_4(t, from, in->stride, to, stride);
        y += y + 4 < fast && y + 8 > fast ? fast - y - 4 : 4; /* the last four may overlap those before */
    }
}

/* Two rows of 16 bytes as 16-bit pairs. */
AVX2_INLINE void add_two(const uint8_t *p, const uint8_t *q, int h, int l, __m256i *high, __m256i *low)
{
    __m128i a = load16(p), b = load16(q);
    __m256i weight_h = _mm256_set1_epi32(h), weight_l = _mm256_set1_epi32(l);
    __m256i x = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(a, b)),
            y = _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(a, b));
    high[0] = _mm256_add_epi32(high[0], _mm256_madd_epi16(x, weight_h));
    high[1] = _mm256_add_epi32(high[1], _mm256_madd_epi16(y, weight_h));
    low[0] = _mm256_add_epi32(low[0], _mm256_madd_epi16(x, weight_l));
    low[1] = _mm256_add_epi32(low[1], _mm256_madd_epi16(y, weight_l));
}

/* 16 bytes of output row i. */
AVX2_INLINE void sixteen_bytes(const npr_taps *t, int i, const uint8_t *in, size_t stride, uint8_t *out)
{
    const int32_t *pair = t->pair + (size_t)i * (size_t)t->most;
    __m256i high[2], low[2], sum[2];
    for (int r = 0; r < 2; r++) high[r] = low[r] = _mm256_setzero_si256();
    for (int j = 0, n = t->n[i]; j < n; j += 2) {
        const int32_t *w = pair + j / BLOCK * BLOCK + j / 2 % 2;
        const uint8_t *p = in + (size_t)j * stride;
        add_two(p, j + 1 < n ? p + stride : p, w[0], w[2], high, low); /* behind the last: weight 0 */
    }
    for (int r = 0; r < 2; r++)
        sum[r] = _mm256_srai_epi32(_mm256_add_epi32(combine(high[r], low[r]), _mm256_set1_epi32(HALF)), BITS);
    /* packs works on the halves of its registers: [0-3 8-11 | 4-7 12-15] of the 16 values */
    __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(sum[0], sum[1]), 0xd8);
    __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128((__m128i *)(void *)out, bytes);
}

AVX2 static void vertical_avx2(const npr_taps *t, const npr_raster *in, int row0, int width, uint8_t *out,
                               size_t stride)
{
    for (int i = 0; i < t->count; i++, out += stride) {
        const uint8_t *from = in->data + (size_t)(t->begin[i] - row0) * in->stride;
        int x = 0;
        for (; x + 16 <= width; x += 16) sixteen_bytes(t, i, from + x, in->stride, out + x);
        if (x < width && width >= 16) /* again some of those before */
            sixteen_bytes(t, i, from + width - 16, in->stride, out + width - 16);
        else
            vertical_row(t, i, from, in->stride, x, width, out);
    }
}
#endif

const npr_resampler *npr_resampler_at(int i)
{
#if defined(__x86_64__)
    static const npr_resampler avx2 = {"avx2", horizontal_avx2, vertical_avx2};
    if (__builtin_cpu_supports("avx2") && i-- == 0) return &avx2;
#endif
    static const npr_resampler portable = {"portable", horizontal_portable, vertical_portable};
    return i == 0 ? &portable : NULL;
}
