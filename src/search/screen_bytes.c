/* screen_bytes.c - the screen for many queries on CPUs with AVX2 alone: in integers of 8 bits, with half as
 * many multiplications as 16 bits take (screen_avx2.c). See screen_bytes.h for what is computed and its
 * bound.
 *
 * What bytes let through is scored in floats at once, so that lists hold what they hold with the other
 * screens. While lists are not full, and where data let too many through, blocks go to the screen of 16 bits.
 */
#include <limits.h>
#include <string.h>

#include "base/half.h"
#include "base/score.h"
#include "search/screen_bytes.h"

#if defined(__x86_64__)
#include <immintrin.h>

enum {
    LANES = 8,
    ROWS = NPR_BYTES_ROWS,
    MOST = 63,         /* of a row's integer */
    MOST_NORM = 125,   /* of a sum's floats, of which rounding makes less than 128 */
    PASSED = 512,      /* pairs that wait */
    FETCH = 4,         /* pairs ahead for which rows are fetched */
    LINE = 32,         /* values of a row in a cache line */
    SAMPLE = 32,       /* rows of which mu is the mean */
    SAME_MEAN = 16,    /* blocks for which it is kept */
    USUAL = 20,        /* powers of two that a query is scaled by */
    TOO_MANY = 40,     /* of so many pairs one let through: 16 bits take less time */
    MOST_SKIPPED = 64, /* blocks until bytes are tried again */
};

#define AVX2 __attribute__((target("avx2,fma,f16c")))

/* A thread's scratch, for p->block_rows rows. */
typedef struct block {
    const uint32_t *row; /* [n] numbers */
    int n;
    float *mu, *y[2];                      /* [width] */
    float *norm, *residual, *unit, *along; /* [block_rows] N, r, s (NaN for a row that is not finite), y.nu */
    float *middle;                         /* [padded] mu.q, and the bound of what follows from it */
    uint16_t *half;                        /* [width] mu */
    uint8_t *x;                            /* [block_rows][width] i + 64 */
} block;

size_t npr_bytes_scratch(const npr_packed *p)
{
    size_t width = npr_bytes_width(p), rows = (size_t)p->block_rows;
    size_t bytes = (4 * rows + 3 * width + (size_t)p->padded) * sizeof(float) + 2 * width + rows * width;
    return (bytes + 63) / 64 * 64;
}

static void lay_out(const npr_packed *p, void *scratch, block *b)
{
    size_t width = npr_bytes_width(p), rows = (size_t)p->block_rows;
    b->mu = scratch;
    b->y[0] = b->mu + width;
    b->y[1] = b->y[0] + width;
    b->norm = b->y[1] + width;
    b->residual = b->norm + rows;
    b->unit = b->residual + rows;
    b->along = b->unit + rows;
    b->middle = b->along + rows;
    b->half = (uint16_t *)(void *)(b->middle + p->padded);
    b->x = (uint8_t *)(b->half + width);
}

/* ---- rows --------------------------------------------------------------------------------------------- */

/* mu: the mean of some rows, in binary16, so that y is 0 or no less than 2^-24. Values that are not finite
 * count for nothing. */
static void find_mean(const npr_packed *p, npr_sieve *v, const uint16_t *emb, block *b)
{
    size_t dim = (size_t)p->dim, width = npr_bytes_width(p);
    int step = (b->n + SAMPLE - 1) / SAMPLE, rows = (b->n + step - 1) / step;
    float *x = b->y[0], squares = 0;
    memset(b->mu, 0, width * sizeof *b->mu);
    for (int i = 0; i < b->n; i += step) {
        npr_half_to_float(emb + (size_t)b->row[i] * dim, x, dim);
        for (size_t j = 0; j < dim; j++) b->mu[j] += fabsf(x[j]) <= FLT_MAX ? x[j] : 0;
    }
    for (size_t j = 0; j < width; j++) b->mu[j] /= (float)rows;
    npr_half_from_float(b->mu, b->half, width);
    npr_half_to_float(b->half, b->mu, width);
    for (size_t j = 0; j < width; j++) squares += b->mu[j] * b->mu[j];
    float norm = npr_norm_above(squares, (int)width);
    for (int q = 0; q < p->nq; q++) {
        double score = npr_score_dot(b->half, p->vector + (size_t)q * dim, p->dim);
        b->middle[q] = (float)ldexp(score, p->shift[q]) + norm * npr_bytes_by_mean(p)[q];
    }
    for (int q = p->nq; q < p->padded; q++) b->middle[q] = 0;
    v->same_mean = SAME_MEAN;
}

AVX2 static inline float sum_of(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

AVX2 static inline float most_of(__m256 v)
{
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

/* Eight values from column j on, zeros behind the end. */
AVX2 static inline __m256 load_floats(const uint16_t *row, int j, int dim)
{
    uint16_t rest[LANES] = {0};
    const uint16_t *from = rest;
    if (dim - j >= LANES)
        from = row + j;
    else if (dim > j)
        memcpy(rest, row + j, (size_t)(dim - j) * sizeof *rest);
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)from));
}

/* What is found of two rows while they are read. */
typedef struct facts {
    float norm, along, unit;
} facts;

/* y = x - mu of two rows, of the two halves of a block: see screen_few.c for two streams of memory. */
AVX2 static void move(const npr_packed *p, const block *b, const uint16_t *const *x, facts *f)
{
    const float *nu = npr_bytes_nu(p);
    const __m256 sign = _mm256_set1_ps(-0.0f);
    __m256 squares[2], along[2], most[2], sums[2];
    for (int u = 0; u < 2; u++) squares[u] = along[u] = most[u] = sums[u] = _mm256_setzero_ps();
    for (int from = 0; from < p->dim; from += NPR_BYTES_COLUMNS) {
        __m256 s[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
        for (int j = from; j < from + NPR_BYTES_COLUMNS; j += LANES) {
            __m256 mu = _mm256_loadu_ps(b->mu + j), n = _mm256_loadu_ps(nu + j);
#pragma GCC unroll 2
            for (int u = 0; u < 2; u++) {
                __m256 y = _mm256_sub_ps(load_floats(x[u], j, p->dim), mu);
                _mm256_storeu_ps(b->y[u] + j, y);
                s[u] = _mm256_fmadd_ps(y, y, s[u]);
                along[u] = _mm256_fmadd_ps(y, n, along[u]);
                most[u] = _mm256_max_ps(most[u], _mm256_andnot_ps(sign, y));
            }
        }
        for (int u = 0; u < 2; u++) { /* the two sums of a segment have columns 0 1 4 5 and 2 3 6 7 of 8 */
            __m256 both = _mm256_add_ps(s[u], _mm256_permute2f128_ps(s[u], s[u], 1));
            sums[u] = _mm256_max_ps(sums[u], _mm256_hadd_ps(both, both));
            squares[u] = _mm256_add_ps(squares[u], s[u]);
        }
    }
    for (int u = 0; u < 2; u++) {
        float by_sum = sqrtf(most_of(sums[u])) / MOST_NORM, by_most = most_of(most[u]) / MOST;
        f[u].norm = npr_norm_above(sum_of(squares[u]), p->dim);
        f[u].along = sum_of(along[u]);
        f[u].unit = fmaxf(by_sum, by_most);
    }
}

/* y / unit as integers + 64; returns the norm of what rounding moves. */
AVX2 static float round_row(const float *y, size_t width, float unit, uint8_t *out)
{
    const __m256 back = _mm256_set1_ps(unit), to = _mm256_set1_ps(unit > 0 ? 1 / unit : 0);
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7),
                  middle = _mm256_set1_epi8(NPR_BYTES_MIDDLE);
    __m256 r[4];
    for (int u = 0; u < 4; u++) r[u] = _mm256_setzero_ps();
    for (size_t j = 0; j < width; j += 4 * LANES) {
        __m256i i[4];
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
    return npr_norm_above(sum_of(sum), (int)width);
}

static void convert_row(block *b, int i, const float *y, size_t width, const facts *f)
{
    uint8_t *out = b->x + (size_t)i * width;
    int finite = f->norm <= FLT_MAX;
    b->residual[i] = finite ? round_row(y, width, f->unit, out) + f->norm * 0x1p-22f : 0;
    if (!finite) memset(out, 0, width);
    b->unit[i] = finite ? f->unit : NAN;
    b->norm[i] = f->norm;
    b->along[i] = f->along;
}

static void convert_block(const npr_packed *p, const uint16_t *emb, block *b)
{
    size_t width = npr_bytes_width(p), dim = (size_t)p->dim;
    int half = (b->n + 1) / 2, whole = (b->n + ROWS - 1) / ROWS * ROWS;
    for (int i = 0; i < half; i++) {
        int k = half + i < b->n ? half + i : i; /* an odd number: one row is done twice */
        const uint16_t *x[2] = {emb + (size_t)b->row[i] * dim, emb + (size_t)b->row[k] * dim};
        facts f[2];
        move(p, b, x, f);
        convert_row(b, i, b->y[0], width, &f[0]);
        convert_row(b, k, b->y[1], width, &f[1]);
    }
    memset(b->x + (size_t)b->n * width, 0,
           (size_t)(whole - b->n) * width); /* rows the kernel reads besides */
}

/* ---- scores ------------------------------------------------------------------------------------------- */

/* t [ROWS][2] = sums of ROWS rows x [ROWS][width] with a panel of queries. */
AVX2 static void multiply(const uint8_t *x, size_t width, const uint32_t *panel, int steps, __m256i *t)
{
    const __m256i one = _mm256_set1_epi16(1);
    for (int j = 0; j < steps;) {
        int end = j + NPR_BYTES_SEGMENT < steps ? j + NPR_BYTES_SEGMENT : steps;
        __m256i s[ROWS][2];
#pragma GCC unroll 6
        for (int i = 0; i < ROWS; i++) {
            s[i][0] = _mm256_load_si256((const __m256i *)(const void *)panel);
            s[i][1] = _mm256_load_si256((const __m256i *)(const void *)(panel + LANES));
        }
        for (panel += NPR_BYTES_PANEL; j < end; j++, panel += NPR_BYTES_PANEL) {
            __m256i y0 = _mm256_load_si256((const __m256i *)(const void *)panel);
            __m256i y1 = _mm256_load_si256((const __m256i *)(const void *)(panel + LANES));
#pragma GCC unroll 6
            for (int i = 0; i < ROWS; i++) {
                int32_t four;
                memcpy(&four, x + (size_t)i * width + (size_t)j * NPR_BYTES_STEP, sizeof four);
                __m256i a = _mm256_set1_epi32(four);
                s[i][0] = _mm256_add_epi16(s[i][0], _mm256_maddubs_epi16(a, y0));
                s[i][1] = _mm256_add_epi16(s[i][1], _mm256_maddubs_epi16(a, y1));
            }
        }
        __m256i first =
            _mm256_set1_epi32(j <= NPR_BYTES_SEGMENT ? 0 : -1); /* what t has is of the call before */
#pragma GCC unroll 6
        for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 2
            for (int h = 0; h < 2; h++)
                t[2 * i + h] =
                    _mm256_add_epi32(_mm256_and_si256(t[2 * i + h], first), _mm256_madd_epi16(s[i][h], one));
    }
}

/* Pairs let through, which wait for their scores until there are many: then the next rows are fetched
 * while one is scored. */
typedef struct passed {
    int n, q[PASSED];
    uint32_t row[PASSED];
    int64_t all;
} passed;

/* The score of a row and a query in floats, and a bound of the row's norm. */
AVX2 static float score_in_floats(const uint16_t *row, const float *query, int dim, float *norm)
{
    __m256 s[2], squares[2];
    for (int u = 0; u < 2; u++) s[u] = squares[u] = _mm256_setzero_ps();
    int j = 0;
    for (; j + 2 * LANES <= dim; j += 2 * LANES)
#pragma GCC unroll 2
        for (int u = 0; u < 2; u++) {
            __m256 x = load_floats(row, j + u * LANES, dim);
            s[u] = _mm256_fmadd_ps(x, _mm256_loadu_ps(query + j + u * LANES), s[u]);
            squares[u] = _mm256_fmadd_ps(x, x, squares[u]);
        }
    float sum = sum_of(_mm256_add_ps(s[0], s[1])), square = sum_of(_mm256_add_ps(squares[0], squares[1]));
    for (; j < dim; j++) {
        float x = npr_half_value(row[j]);
        sum += x * query[j];
        square += x * x;
    }
    *norm = npr_norm_above(square, dim);
    return sum;
}

/* Queries of a usual size as they are: nothing overflows, and what is lost below the least normal float is as
 * small as in screen.h when the result is scaled. The bound of 16 bits holds, and is wide enough. */
static void offer(npr_sieve *v, int q, const uint16_t *emb, uint32_t row)
{
    const npr_packed *p = v->p;
    int shift = p->shift[q];
    if (shift < -USUAL || shift > USUAL) {
        npr_sieve_offer_exact(v, q, emb, row);
        return;
    }
    float norm, t = score_in_floats(emb + (size_t)row * (size_t)p->dim,
                                    p->vector + (size_t)q * (size_t)p->dim, p->dim, &norm);
    npr_sieve_offer(v, q, row, t * ldexpf(1, shift), norm * p->wide->by_norm[q]);
}

static void score(npr_sieve *v, const uint16_t *emb, passed *w)
{
    size_t dim = (size_t)v->p->dim;
    for (int i = 0; i < w->n; i++) {
        int next = i + FETCH < w->n ? i + FETCH : i;
        if (i == 0 || w->row[next] != w->row[next - 1])
            for (size_t j = 0; j < dim; j += LINE) __builtin_prefetch(emb + (size_t)w->row[next] * dim + j);
        offer(v, w->q[i], emb, w->row[i]);
    }
    w->all += w->n;
    w->n = 0;
}

/* Look at the sums of the rows from i0 on with the panel from q0 on. */
AVX2 static void sift(const npr_sieve *v, const block *b, int i0, int q0, const __m256i *t, passed *w)
{
    const npr_packed *p = v->p;
    int rows = b->n - i0 < ROWS ? b->n - i0 : ROWS;
    for (int h = 0; h < 2; h++) {
        int q = q0 + h * LANES;
        __m256 least = _mm256_loadu_ps(v->least + q), unit = _mm256_loadu_ps(npr_bytes_units(p) + q),
               by_norm = _mm256_loadu_ps(p->by_norm + q), by_residual = _mm256_loadu_ps(p->by_residual + q),
               size = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), least);
        least = _mm256_sub_ps(least, _mm256_loadu_ps(b->middle + q));
        least = _mm256_fnmadd_ps(size, _mm256_set1_ps(0x1p-22f), least); /* the rounding of the difference */
        for (int i = i0; i < i0 + rows; i++) {
            __m256 s = _mm256_mul_ps(_mm256_cvtepi32_ps(t[2 * (i - i0) + h]), unit);
            s = _mm256_fmadd_ps(s, _mm256_set1_ps(b->unit[i]), _mm256_set1_ps(b->along[i]));
            s = _mm256_fmadd_ps(_mm256_set1_ps(b->norm[i]), by_norm, s);
            s = _mm256_fmadd_ps(_mm256_set1_ps(b->residual[i]), by_residual, s);
            unsigned hits = (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(s, least, _CMP_GE_OQ));
            for (; hits; hits &= hits - 1) {
                int u = __builtin_ctz(hits);
                if (q + u >= p->nq) break;
                w->q[w->n] = q + u;
                w->row[w->n++] = b->row[i];
            }
        }
    }
}

/* Rows for the screen of 16 bits. */
static void pass_on(npr_sieve *v, const uint16_t *emb, const uint32_t *row, int n)
{
    const npr_packed *p = v->p, *wide = p->wide;
    void *scratch = v->scratch;
    v->p = wide;
    v->scratch = (char *)scratch + npr_bytes_scratch(p);
    for (int i = 0; i < n; i += wide->block_rows)
        wide->screen->scan(wide, v, emb, row + i, n - i < wide->block_rows ? n - i : wide->block_rows, 0);
    v->p = p;
    v->scratch = scratch;
}

/* After a block of which too many pairs came through bytes wait, each time twice as long. */
static void judge(npr_sieve *v, int64_t pairs, int64_t found)
{
    if (found * TOO_MANY <= pairs) {
        v->skipped = 0;
        return;
    }
    v->skipped = v->skipped ? 2 * v->skipped : 1;
    if (v->skipped > MOST_SKIPPED) v->skipped = MOST_SKIPPED;
    v->skip = v->skipped;
}

AVX2 static void scan(const npr_packed *p, npr_sieve *v, const uint16_t *emb, const uint32_t *row, int n,
                      int ahead)
{
    (void)ahead; /* as in screen_avx2.c */
    block b = {.row = row, .n = n};
    if (v->least[0] <= -FLT_MAX || v->skip > 0) { /* no bound yet: all rows come through */
        v->skip -= v->skip > 0;
        pass_on(v, emb, row, n);
        return;
    }
    lay_out(p, v->scratch, &b);
    if (v->same_mean-- == 0) find_mean(p, v, emb, &b);
    convert_block(p, emb, &b);
    __m256i t[ROWS * 2] = {0};
    passed w = {0};
    for (int q0 = 0; q0 < p->padded; q0 += NPR_BYTES_PANEL) {
        const uint32_t *panel = p->values + (size_t)(q0 / NPR_BYTES_PANEL) * npr_bytes_panel(p);
        for (int i = 0; i < n; i += ROWS) {
            multiply(b.x + (size_t)i * npr_bytes_width(p), npr_bytes_width(p), panel, npr_bytes_steps(p), t);
            sift(v, &b, i, q0, t, &w);
            if (w.n > PASSED - ROWS * NPR_BYTES_PANEL) score(v, emb, &w);
        }
    }
    score(v, emb, &w);
    judge(v, (int64_t)n * p->nq, w.all);
}

static int usable(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && npr_half_in_hardware();
}

const npr_screen npr_screen_block_bytes = {
    "block-bytes", usable, INT_MAX, NPR_BYTES_PANEL, npr_bytes_pack, scan, &npr_screen_block_avx2};
#endif
