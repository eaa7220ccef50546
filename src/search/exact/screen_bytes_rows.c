/* screen_bytes_rows.c - rows for the screen in bytes. See screen_bytes.h. */
#include <float.h>
#include <string.h>

#include "base/half.h"
#include "base/score.h"
#include "search/exact/screen_bytes.h"
#include "search/exact/screen_sample.h"
#include "search/exact/screen_sum.h"

#if defined(__x86_64__)
#include <immintrin.h>

enum {
    LANES = 8,
    MOST = 63,       /* of a row's integer */
    MOST_NORM = 125, /* of a sum's floats, of which rounding makes less than 128 */
    SAMPLE = 32,     /* rows of which mu is the mean */
};

#define AVX2 __attribute__((target("avx2,fma,f16c")))

/* b's arrays; returns the bytes of all of them. */
static size_t lay_out(const npr_packed *p, void *scratch, npr_bytes_block *b)
{
    size_t width = npr_bytes_width(p), rows = (size_t)p->block_rows, groups = rows / NPR_BYTES_ROWS, used = 0;
    b->x = npr_scratch_take(scratch, &used, rows * width, 1);
    b->mu = npr_scratch_take(scratch, &used, width, sizeof(float));
    b->y[0] = npr_scratch_take(scratch, &used, width, sizeof(float));
    b->y[1] = npr_scratch_take(scratch, &used, width, sizeof(float));
    b->norm = npr_scratch_take(scratch, &used, rows, sizeof(float));
    b->residual = npr_scratch_take(scratch, &used, rows, sizeof(float));
    b->unit = npr_scratch_take(scratch, &used, rows, sizeof(float));
    b->along = npr_scratch_take(scratch, &used, rows, sizeof(float));
    b->most_norm = npr_scratch_take(scratch, &used, groups, sizeof(float));
    b->most_residual = npr_scratch_take(scratch, &used, groups, sizeof(float));
    b->middle = npr_scratch_take(scratch, &used, (size_t)p->padded, sizeof(float));
    b->mean = npr_scratch_take(scratch, &used, 1, sizeof(float));
    b->half = npr_scratch_take(scratch, &used, width, sizeof *b->half);
    return npr_scratch_bytes(used);
}

size_t npr_bytes_scratch(const npr_packed *p)
{
    npr_bytes_block b;
    return lay_out(p, NULL, &b);
}

void npr_bytes_lay_out(const npr_packed *p, void *scratch, npr_bytes_block *b)
{
    (void)lay_out(p, scratch, b);
}

/* mu: the mean of some rows, in binary16, so that y is 0 or no less than 2^-24. */
void npr_bytes_find_mean(const npr_packed *p, const uint16_t *emb, npr_bytes_block *b)
{
    size_t dim = (size_t)p->dim, width = npr_bytes_width(p);
    float squares = 0;
    npr_sample_mean(emb, b->row, b->n, npr_sample_step(b->n, SAMPLE), dim, b->y[0], b->mu);
    memset(b->mu + dim, 0, (width - dim) * sizeof *b->mu);
    npr_half_from_float(b->mu, b->half, width);
    npr_half_to_float(b->half, b->mu, width);
    for (size_t j = 0; j < width; j++) squares += b->mu[j] * b->mu[j];
    float norm = npr_norm_above(squares, (int)width);
    for (int q = 0; q < p->nq; q++) {
        double score = npr_score_dot(b->half, p->vector + (size_t)q * dim, p->dim);
        b->middle[q] = (float)ldexp(score, p->shift[q]) + norm * npr_bytes_by_mean(p)[q];
    }
    for (int q = p->nq; q < p->padded; q++) b->middle[q] = 0;
    b->mean[0] = norm;
}

AVX2 static inline float most_of(__m256 v)
{
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

/* What is found of a row while it is read, by lane. One struct a row, and not arrays of rows: the compiler
 * keeps those in memory. */
typedef struct found {
    __m256 squares, along, most, sums;
} found;

/* y = x - mu of a segment of a row. */
AVX2 static inline __attribute__((always_inline)) void move_segment(const uint16_t *x, const float *mu,
                                                                    const float *nu, float *y, found *f)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    __m256 s = _mm256_setzero_ps();
#pragma GCC unroll 8
    for (int j = 0; j < NPR_BYTES_COLUMNS; j += LANES) {
        __m256 v = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(x + j)));
        v = _mm256_sub_ps(v, _mm256_loadu_ps(mu + j));
        _mm256_storeu_ps(y + j, v);
        s = _mm256_fmadd_ps(v, v, s);
        f->along = _mm256_fmadd_ps(v, _mm256_loadu_ps(nu + j), f->along);
        f->most = _mm256_max_ps(f->most, _mm256_andnot_ps(sign, v));
    }
    /* the two sums of a segment have columns 0 1 4 5 and 2 3 6 7 of 8 */
    __m256 both = _mm256_add_ps(s, _mm256_permute2f128_ps(s, s, 1));
    f->sums = _mm256_max_ps(f->sums, _mm256_hadd_ps(both, both));
    f->squares = _mm256_add_ps(f->squares, s);
}

/* The columns behind the last whole segment, and zeros. */
AVX2 static void move_rest(const uint16_t *x, int n, const float *mu, const float *nu, float *y, found *f)
{
    uint16_t rest[NPR_BYTES_COLUMNS] = {0};
    memcpy(rest, x, (size_t)n * sizeof *rest);
    move_segment(rest, mu, nu, y, f);
}

typedef struct facts {
    float norm, along, unit;
} facts;

AVX2 static facts sum_up(const found *f, int dim)
{
    float by_sum = sqrtf(most_of(f->sums)) / MOST_NORM, by_most = most_of(f->most) / MOST;
    return (facts){.norm = npr_norm_above(npr_sum_of_lanes(f->squares), dim),
                   .along = npr_sum_of_lanes(f->along),
                   .unit = fmaxf(by_sum, by_most)};
}

/* y = x - mu of two rows, of the two halves of a block: see screen_few.c for two streams of memory. */
AVX2 static void move(const npr_packed *p, const npr_bytes_block *b, const uint16_t *const *x, facts *f)
{
    const float *mu = b->mu, *nu = npr_bytes_nu(p);
    float *y0 = b->y[0], *y1 = b->y[1];
    const __m256 none = _mm256_setzero_ps();
    found f0 = {none, none, none, none}, f1 = f0;
    int dim = p->dim, from = 0;
    for (; dim - from >= NPR_BYTES_COLUMNS; from += NPR_BYTES_COLUMNS) {
        move_segment(x[0] + from, mu + from, nu + from, y0 + from, &f0);
        move_segment(x[1] + from, mu + from, nu + from, y1 + from, &f1);
    }
    if (from < dim) {
        move_rest(x[0] + from, dim - from, mu + from, nu + from, y0 + from, &f0);
        move_rest(x[1] + from, dim - from, mu + from, nu + from, y1 + from, &f1);
    }
    f[0] = sum_up(&f0, dim);
    f[1] = sum_up(&f1, dim);
}

/* y / unit as integers + 64; returns the norm of what rounding moves. Meanwhile a row is fetched: memory
 * would rest. */
AVX2 static float round_row(const float *y, size_t width, float unit, uint8_t *out, const uint16_t *fetch)
{
    const __m256 back = _mm256_set1_ps(unit), to = _mm256_set1_ps(unit > 0 ? 1 / unit : 0);
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7),
                  middle = _mm256_set1_epi8(NPR_BYTES_MIDDLE);
    __m256 r[4];
    for (int u = 0; u < 4; u++) r[u] = _mm256_setzero_ps();
    for (size_t j = 0; j < width; j += 4 * LANES) {
        __m256i i[4];
        __builtin_prefetch(fetch + j);
#pragma GCC unroll 4
        for (int u = 0; u < 4; u++) {
            __m256 value = _mm256_loadu_ps(y + j + (size_t)u * LANES);
            i[u] = _mm256_cvtps_epi32(_mm256_mul_ps(value, to));
            value = _mm256_fnmadd_ps(_mm256_cvtepi32_ps(i[u]), back, value);
            r[u] = _mm256_fmadd_ps(value, value, r[u]);
        }
        __m256i all = _mm256_packs_epi16(_mm256_packs_epi32(i[0], i[1]), _mm256_packs_epi32(i[2], i[3]));
        all = _mm256_add_epi8(_mm256_permutevar8x32_epi32(all, order), middle);
        _mm256_storeu_si256((__m256i *)(void *)(out + j), all);
    }
    __m256 sum = _mm256_add_ps(_mm256_add_ps(r[0], r[1]), _mm256_add_ps(r[2], r[3]));
    return npr_norm_above(npr_sum_of_lanes(sum), (int)width);
}

static void convert_row(npr_bytes_block *b, int i, const float *y, size_t width, const facts *f,
                        const uint16_t *fetch)
{
    uint8_t *out = b->x + (size_t)i * width;
    int finite = f->norm <= FLT_MAX;
    b->residual[i] = finite ? round_row(y, width, f->unit, out, fetch) + f->norm * 0x1p-22f : 0;
    if (!finite) memset(out, 0, width);
    b->unit[i] = finite ? f->unit : NAN;
    b->norm[i] = f->norm;
    b->along[i] = f->along;
}

/* The largest norm and residual of each group, of rows that are finite. */
static void find_most(npr_bytes_block *b, int groups)
{
    for (int g = 0; g < groups; g++) {
        float norm = 0, residual = 0;
        for (int i = g * NPR_BYTES_ROWS; i < (g + 1) * NPR_BYTES_ROWS; i++) {
            if (isnan(b->unit[i])) continue;
            norm = fmaxf(norm, b->norm[i]);
            residual = fmaxf(residual, b->residual[i]);
        }
        b->most_norm[g] = norm;
        b->most_residual[g] = residual;
    }
}

void npr_bytes_convert(const npr_packed *p, const uint16_t *emb, npr_bytes_block *b)
{
    size_t width = npr_bytes_width(p), dim = (size_t)p->dim;
    int half = (b->n + 1) / 2, groups = (b->n + NPR_BYTES_ROWS - 1) / NPR_BYTES_ROWS;
    for (int i = 0; i < half; i++) {
        int k = half + i < b->n ? half + i : i; /* an odd number: one row is done twice */
        int i1 = i + 1 < half ? i + 1 : i, k1 = k + 1 < b->n ? k + 1 : k;
        const uint16_t *x[2] = {emb + (size_t)b->row[i] * dim, emb + (size_t)b->row[k] * dim};
        facts f[2];
        move(p, b, x, f);
        convert_row(b, i, b->y[0], width, &f[0], emb + (size_t)b->row[i1] * dim);
        convert_row(b, k, b->y[1], width, &f[1], emb + (size_t)b->row[k1] * dim);
    }
    for (int i = b->n; i < groups * NPR_BYTES_ROWS; i++) {
        memset(b->x + (size_t)i * width, 0, width);
        b->norm[i] = b->residual[i] = b->along[i] = 0;
        b->unit[i] = NAN;
    }
    find_most(b, groups);
}
#endif
