/* screen_few_rows.c - rows for the screen of few queries in bytes. See screen_few_bytes.h. */
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "search/exact/screen_few_bytes.h"
#include "search/exact/screen_sample.h"

#if defined(__x86_64__)
#include <immintrin.h>

enum {
    LANES = 8,
    SAMPLE = 64,      /* rows of which c is the mean */
    MOST = 126,       /* of an integer */
    MOST_C = 1 << 12, /* of a column's */
    USUAL_MOST = 96,  /* of the sample's integers: some rows have larger ones */
    USUAL = 30,       /* their root mean square at most: the norm of 32 is then far below 256 */
};

#define AVX2 __attribute__((target("avx2,fma,f16c")))

/* r's arrays, behind itself at the beginning of the scratch; returns the bytes of all. */
static size_t lay_out(const npr_packed *p, void *scratch, npr_few_rows *r)
{
    size_t width = npr_few_width(p), padded = (size_t)p->padded, used = npr_scratch_bytes(sizeof *r);
    r->i = npr_scratch_take(scratch, &used, NPR_FEW_TURN * width, 1);
    r->c = npr_scratch_take(scratch, &used, width, sizeof(float));
    r->x = npr_scratch_take(scratch, &used, width, sizeof(float));
    r->unit = npr_scratch_take(scratch, &used, padded, sizeof(float));
    r->middle = npr_scratch_take(scratch, &used, padded, sizeof(float));
    r->fixed = npr_scratch_take(scratch, &used, padded, sizeof(float));
    r->by_length = npr_scratch_take(scratch, &used, padded, sizeof(float));
    return npr_scratch_bytes(used);
}

size_t npr_few_scratch(const npr_packed *p)
{
    npr_few_rows r;
    return lay_out(p, NULL, &r);
}

npr_few_rows *npr_few_lay_out(const npr_packed *p, void *scratch)
{
    (void)lay_out(p, scratch, scratch);
    return scratch;
}

/* The mean of some rows in r->c; returns their scale. */
static float look_at_some(const npr_packed *p, const uint16_t *emb, const uint32_t *row, int n,
                          npr_few_rows *r)
{
    size_t dim = (size_t)p->dim;
    int step = npr_sample_step(n, SAMPLE), rows = (n + step - 1) / step;
    float most = 0, most_c = 0;
    double squares = 0;
    npr_sample_mean(emb, row, n, step, dim, r->x, r->c);
    memset(r->c + dim, 0, (npr_few_width(p) - dim) * sizeof *r->c);
    for (size_t j = 0; j < dim; j++) most_c = fmaxf(most_c, fabsf(r->c[j]));
    for (int i = 0; i < n; i += step) {
        float sum = 0;
        npr_half_to_float(emb + (size_t)row[i] * dim, r->x, dim);
        for (size_t j = 0; j < dim; j++) {
            float y = npr_sample_value(r->x[j]) - r->c[j];
            most = fmaxf(most, fabsf(y));
            sum += y * y;
        }
        squares += (double)sum;
    }
    float usual = (float)sqrt(squares / ((double)rows * p->dim));
    return fmaxf(fmaxf(most / USUAL_MOST, usual / USUAL), fmaxf(most_c / MOST_C, 0x1p-30f));
}

void npr_few_find_scale(const npr_packed *p, const uint16_t *emb, const uint32_t *row, int n, npr_few_rows *r)
{
    float s = r->s = look_at_some(p, emb, row, n, r);
    for (int j = 0; j < p->dim; j++) r->c[j] = fmaxf(fminf(rintf(r->c[j] / s), MOST_C), -MOST_C);
    for (int q = 0; q < p->padded; q++) r->unit[q] = r->middle[q] = r->fixed[q] = r->by_length[q] = 0;
    for (int q = 0; q < p->nq; q++) {
        const float *vector = p->vector + (size_t)q * (size_t)p->dim;
        double sum = 0;
        for (int j = 0; j < p->dim; j++) sum += (double)r->c[j] * (double)vector[j];
        r->unit[q] = s * npr_few_units(p)[q];
        r->middle[q] = (float)(ldexp(sum, p->shift[q]) * (double)s);
        r->fixed[q] = (s * p->by_residual[q] + fabsf(r->middle[q]) * 0x1p-20f) * (1 + 0x1p-20f);
        r->by_length[q] = s * p->by_norm[q] * (1 + 0x1p-20f);
    }
}

/* Eight values as integers, once scale and c are known. */
AVX2 static inline __m256i round8(const uint16_t *x, __m256 scale, const float *c)
{
    __m256 value = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)x));
    return _mm256_cvtps_epi32(_mm256_fmsub_ps(value, scale, _mm256_loadu_ps(c)));
}

/* A line of a row. Integers beyond -126 .. 126 do not fit; those that packing clips are -128 or 127. */
AVX2 static inline __m256i round_line(const uint16_t *x, __m256 scale, const float *c)
{
    __m256i a = _mm256_packs_epi32(round8(x, scale, c), round8(x + LANES, scale, c + LANES));
    __m256i b = _mm256_packs_epi32(round8(x + 2 * LANES, scale, c + 2 * LANES),
                                   round8(x + 3 * LANES, scale, c + 3 * LANES));
    return _mm256_packs_epi16(a, b);
}

/* What is found of a turn's rows while they become integers. */
typedef struct found {
    __m256i most;                                     /* of all rows: the largest magnitudes */
    __m256i segment[NPR_FEW_TURN], sum[NPR_FEW_TURN]; /* squares: in a segment, 16 bits; of all, 32 bits */
    __m256i full;                                     /* not 0 where a segment's reached 2^16 - 1 */
} found;

/* A line of integers of row u. */
AVX2 static inline __attribute__((always_inline)) void put(found *f, size_t u, __m256i i, uint8_t *out)
{
    __m256i size = _mm256_abs_epi8(i);
    f->most = _mm256_max_epu8(f->most, size);
    f->segment[u] = _mm256_adds_epu16(f->segment[u], _mm256_maddubs_epi16(size, size));
    _mm256_storeu_si256((__m256i *)(void *)out, _mm256_xor_si256(i, _mm256_set1_epi8(-128)));
}

AVX2 static inline __attribute__((always_inline)) void end_segment(found *f)
{
    const __m256i low = _mm256_set1_epi32(0xffff), all = _mm256_set1_epi16(-1);
#pragma GCC unroll 6
    for (size_t u = 0; u < NPR_FEW_TURN; u++) {
        __m256i s = f->segment[u];
        f->full = _mm256_or_si256(f->full, _mm256_cmpeq_epi16(s, all));
        f->sum[u] =
            _mm256_add_epi32(f->sum[u], _mm256_add_epi32(_mm256_and_si256(s, low), _mm256_srli_epi32(s, 16)));
        f->segment[u] = _mm256_setzero_si256();
    }
}

/* Whether a row fits, looked at alone: what put() and end_segment() see of all. */
static int fits(const uint8_t *x, size_t lines)
{
    for (size_t j = 0; j < lines * NPR_FEW_LINE; j++)
        if (abs(x[j] - NPR_FEW_MIDDLE) > MOST) return 0;
    for (size_t from = 0; from < lines; from += NPR_FEW_SEGMENT)
        for (size_t place = 0; place < NPR_FEW_LINE; place += 2) {
            int squares = 0;
            for (size_t i = from; i < from + NPR_FEW_SEGMENT && i < lines; i++) {
                const uint8_t *two = x + i * NPR_FEW_LINE + place;
                int a = two[0] - NPR_FEW_MIDDLE, b = two[1] - NPR_FEW_MIDDLE;
                squares += a * a + b * b;
            }
            if (squares >= UINT16_MAX) return 0;
        }
    return 1;
}

AVX2 static float length_of(__m256i squares)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(squares), _mm256_extracti128_si256(squares, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
    return sqrtf((float)_mm_cvtsi128_si32(s)) * (1 + 0x1p-20f);
}

AVX2 void npr_few_convert(const npr_packed *p, const uint16_t *const *row, npr_few_rows *r)
{
    size_t dim = (size_t)p->dim, lines = npr_few_lines(p), width = npr_few_width(p),
           whole = dim / NPR_FEW_LINE;
    const __m256 scale = _mm256_set1_ps(1 / r->s);
    const uint16_t *x[NPR_FEW_TURN];
    const float *c = r->c;
    uint8_t *out = r->i;
    found f;
    f.most = f.full = _mm256_setzero_si256();
#pragma GCC unroll 6
    for (size_t u = 0; u < NPR_FEW_TURN; u++) {
        x[u] = row[u];
        f.segment[u] = f.sum[u] = _mm256_setzero_si256();
    }
    for (size_t i = 0; i < whole; i++) {
        size_t j = i * NPR_FEW_LINE;
#pragma GCC unroll 6
        for (size_t u = 0; u < NPR_FEW_TURN; u++)
            put(&f, u, round_line(x[u] + j, scale, c + j), out + u * width + j);
        if (i % NPR_FEW_SEGMENT == NPR_FEW_SEGMENT - 1) end_segment(&f);
    }
    for (size_t u = 0, j = whole * NPR_FEW_LINE; whole < lines && u < NPR_FEW_TURN; u++) {
        uint16_t rest[NPR_FEW_LINE] = {0};
        memcpy(rest, row[u] + j, (dim - j) * sizeof *rest);
        put(&f, u, round_line(rest, scale, c + j), out + u * width + j);
    }
    end_segment(&f);
    __m256i over = _mm256_or_si256(f.full, _mm256_subs_epu8(f.most, _mm256_set1_epi8(MOST)));
    int all_fit = _mm256_testz_si256(over, over);
    for (size_t u = 0; u < NPR_FEW_TURN; u++)
        r->length[u] = all_fit || fits(out + u * width, lines) ? length_of(f.sum[u]) : NAN;
}
#endif
