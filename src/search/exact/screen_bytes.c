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
#include "search/exact/screen_bytes.h"
#include "search/exact/screen_sum.h"

#if defined(__x86_64__)
#include <immintrin.h>

enum {
    LANES = 8,
    ROWS = NPR_BYTES_ROWS,
    PASSED = 512,   /* pairs that wait */
    FETCH = 4,      /* pairs ahead for which rows are fetched */
    LINE = 32,      /* values of a row in a cache line */
    SAME_MEAN = 16, /* blocks for which mu is kept */
    USUAL = 20,     /* powers of two that a query is scaled by */
    TOO_MANY = 40,  /* of so many pairs one let through: 16 bits take less time */
};

#define AVX2 __attribute__((target("avx2,fma,f16c")))

/* ---- scores ------------------------------------------------------------------------------------------- */

/* Add a step: four columns of ROWS rows with the queries of a panel, or of its first half. */
AVX2 static inline __attribute__((always_inline)) void
add_step(const uint8_t *x, size_t width, const uint32_t *y, int halves, __m256i s[ROWS][2])
{
    __m256i query[2];
    for (int h = 0; h < halves; h++)
        query[h] = _mm256_load_si256((const __m256i *)(const void *)(y + h * LANES));
#pragma GCC unroll 6
    for (int i = 0; i < ROWS; i++) {
        int32_t four;
        memcpy(&four, x + (size_t)i * width, sizeof four);
        __m256i row = _mm256_set1_epi32(four);
#pragma GCC unroll 2
        for (int h = 0; h < halves; h++)
            s[i][h] = _mm256_add_epi16(s[i][h], _mm256_maddubs_epi16(row, query[h]));
    }
}

/* One row's two sums, in the step whose columns are at `row` and whose queries are in %ymm12 and %ymm13. */
#define ROW(row, s, t)                                                                                       \
    "vpbroadcastd " row ", %%ymm14\n"                                                                        \
    "vpmaddubsw %%ymm12, %%ymm14, %%ymm15\n"                                                                 \
    "vpmaddubsw %%ymm13, %%ymm14, %%ymm14\n"                                                                 \
    "vpaddw %%ymm15, %[" s "], %[" s "]\n"                                                                   \
    "vpaddw %%ymm14, %[" t "], %[" t "]\n"

#define STEP(x, y)                                                                                           \
    "vmovdqa " y "(%[y]), %%ymm12\n"                                                                         \
    "vmovdqa 32+" y "(%[y]), %%ymm13\n" ROW(x "(%[x])", "a", "b") ROW(x "(%[x],%[w])", "c", "d")             \
        ROW(x "(%[x],%[w],2)", "e", "f") ROW(x "(%[x],%[w3])", "g", "h") ROW(x "(%[x],%[w],4)", "i", "j")    \
            ROW(x "(%[x],%[w5])", "k", "l")

/* Four steps with a whole panel: add_step() four times, in an order and in registers that the compiler does
 * not find when it unrolls. Nothing but the instructions that are needed: a neighbour on the same core takes
 * every other slot for instructions, and this loop fills all of them. */
AVX2 static inline __attribute__((always_inline)) void add_four(const uint8_t *x, size_t width,
                                                                const uint32_t *y, __m256i s[ROWS][2])
{
    __asm__(STEP("0", "0") STEP("4", "64") STEP("8", "128") STEP("12", "192")
            : [a] "+x"(s[0][0]), [b] "+x"(s[0][1]), [c] "+x"(s[1][0]), [d] "+x"(s[1][1]), [e] "+x"(s[2][0]),
              [f] "+x"(s[2][1]), [g] "+x"(s[3][0]), [h] "+x"(s[3][1]), [i] "+x"(s[4][0]), [j] "+x"(s[4][1]),
              [k] "+x"(s[5][0]), [l] "+x"(s[5][1])
            : [x] "r"(x), [y] "r"(y), [w] "r"(width), [w3] "r"(3 * width), [w5] "r"(5 * width)
            : "memory", "xmm12", "xmm13", "xmm14", "xmm15");
}

/* t [ROWS][2] = sums of ROWS rows x [ROWS][width] with a panel of queries (halves: 2, or 1 for its first
 * half). */
AVX2 static inline __attribute__((always_inline)) void
multiply(const uint8_t *x, size_t width, const uint32_t *panel, int steps, int halves, __m256i t[ROWS][2])
{
    enum { FOUR = 4 };
    const __m256i one = _mm256_set1_epi16(1);
    for (int from = 0; from < steps; from += NPR_BYTES_SEGMENT) {
        int n = steps - from < NPR_BYTES_SEGMENT ? steps - from : NPR_BYTES_SEGMENT, i = 0;
        __m256i s[ROWS][2];
#pragma GCC unroll 6
        for (int r = 0; r < ROWS; r++)
            for (int h = 0; h < halves; h++)
                s[r][h] = _mm256_load_si256((const __m256i *)(const void *)(panel + h * LANES));
        panel += NPR_BYTES_PANEL;
        for (; halves == 2 && i + FOUR <= n; i += FOUR, panel += FOUR * NPR_BYTES_PANEL)
            add_four(x + i * NPR_BYTES_STEP, width, panel, s);
        for (; i < n; i++, panel += NPR_BYTES_PANEL)
            add_step(x + i * NPR_BYTES_STEP, width, panel, halves, s);
        x += n * NPR_BYTES_STEP;
        if (from == 0) { /* what t has is of the call before */
#pragma GCC unroll 6
            for (int r = 0; r < ROWS; r++)
                for (int h = 0; h < halves; h++) t[r][h] = _mm256_madd_epi16(s[r][h], one);
            continue;
        }
#pragma GCC unroll 6
        for (int r = 0; r < ROWS; r++)
            for (int h = 0; h < halves; h++)
                t[r][h] = _mm256_add_epi32(t[r][h], _mm256_madd_epi16(s[r][h], one));
    }
}

AVX2 static void multiply_panel(const uint8_t *x, size_t width, const uint32_t *panel, int steps,
                                __m256i t[ROWS][2])
{
    multiply(x, width, panel, steps, 2, t);
}

AVX2 static void multiply_half(const uint8_t *x, size_t width, const uint32_t *panel, int steps,
                               __m256i t[ROWS][2])
{
    multiply(x, width, panel, steps, 1, t);
}

/* Pairs let through, which wait for their scores until there are many: then the next rows are fetched
 * while one is scored. */
typedef struct passed {
    int n, q[PASSED], i[PASSED]; /* query, and row of the block */
    int64_t all;
} passed;

/* The score of a row and a query in floats. */
AVX2 static float score_in_floats(const uint16_t *row, const float *query, int dim)
{
    __m256 s[4];
    for (int u = 0; u < 4; u++) s[u] = _mm256_setzero_ps();
    int j = 0;
    for (; j + 4 * LANES <= dim; j += 4 * LANES)
#pragma GCC unroll 4
        for (int u = 0; u < 4; u++) {
            __m256 x = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(row + j + u * LANES)));
            s[u] = _mm256_fmadd_ps(x, _mm256_loadu_ps(query + j + u * LANES), s[u]);
        }
    float sum = npr_sum_of_lanes(_mm256_add_ps(_mm256_add_ps(s[0], s[1]), _mm256_add_ps(s[2], s[3])));
    for (; j < dim; j++) sum += npr_half_value(row[j]) * query[j];
    return sum;
}

/* Queries of a usual size as they are: nothing overflows, and what is lost below the least normal float is as
 * small as in screen.h when the result is scaled. The bound of 16 bits holds, and is wide enough, as is
 * ||y|| + ||mu|| for the row's norm. */
static void offer(npr_sieve *v, const npr_bytes_block *b, int q, const uint16_t *emb, int i)
{
    const npr_packed *p = v->p;
    int shift = p->shift[q];
    if (shift < -USUAL || shift > USUAL) {
        npr_sieve_offer_exact(v, q, emb, b->row[i]);
        return;
    }
    float t = score_in_floats(emb + (size_t)b->row[i] * (size_t)p->dim,
                              p->vector + (size_t)q * (size_t)p->dim, p->dim);
    float norm = (b->norm[i] + b->mean[0]) * (1 + 0x1p-20f);
    npr_sieve_offer(v, q, b->row[i], t * ldexpf(1, shift), norm * p->wide->by_norm[q]);
}

static void score(npr_sieve *v, const npr_bytes_block *b, const uint16_t *emb, passed *w)
{
    size_t dim = (size_t)v->p->dim;
    for (int k = 0; k < w->n; k++) {
        int next = k + FETCH < w->n ? k + FETCH : k;
        const uint16_t *row = emb + (size_t)b->row[w->i[next]] * dim;
        if (k == 0 || w->i[next] != w->i[next - 1])
            for (size_t j = 0; j < dim; j += LINE) __builtin_prefetch(row + j);
        offer(v, b, w->q[k], emb, w->i[k]);
    }
    w->all += w->n;
    w->n = 0;
}

/* What eight queries' sums become scores and bounds with. */
typedef struct eight {
    __m256 least, unit, by_norm, by_residual;
} eight;

AVX2 static inline eight load_eight(const npr_sieve *v, const npr_bytes_block *b, int q)
{
    const npr_packed *p = v->p;
    __m256 least = _mm256_loadu_ps(v->least + q), size = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), least);
    least = _mm256_sub_ps(least, _mm256_loadu_ps(b->middle + q));
    least = _mm256_fnmadd_ps(size, _mm256_set1_ps(0x1p-22f), least); /* the rounding of the difference */
    return (eight){least, _mm256_loadu_ps(npr_bytes_units(p) + q), _mm256_loadu_ps(p->by_norm + q),
                   _mm256_loadu_ps(p->by_residual + q)};
}

/* y.w + y.nu of row i. */
AVX2 static inline __m256 score_of(const npr_bytes_block *b, int i, __m256i t, const eight *e)
{
    __m256 s = _mm256_mul_ps(_mm256_cvtepi32_ps(t), e->unit);
    return _mm256_fmadd_ps(s, _mm256_set1_ps(b->unit[i]), _mm256_set1_ps(b->along[i]));
}

/* Bits of queries that reach their bounds with s, a norm and a residual. */
AVX2 static inline unsigned reach(__m256 s, float norm, float residual, const eight *e)
{
    s = _mm256_fmadd_ps(_mm256_set1_ps(norm), e->by_norm, s);
    s = _mm256_fmadd_ps(_mm256_set1_ps(residual), e->by_residual, s);
    return (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(s, e->least, _CMP_GE_OQ));
}

/* Look at the sums of the rows from i0 on with eight queries from q on: first at the largest score of the
 * group with the largest bound, which seldom reaches. */
AVX2 static inline void sift(const npr_sieve *v, const npr_bytes_block *b, int i0, int q, __m256i t[ROWS][2],
                             int h, passed *w)
{
    eight e = load_eight(v, b, q);
    __m256 most = _mm256_set1_ps(-FLT_MAX);
#pragma GCC unroll 6
    for (int i = 0; i < ROWS; i++) /* the second one where the first is NaN */
        most = _mm256_max_ps(score_of(b, i0 + i, t[i][h], &e), most);
    unsigned any = reach(most, b->most_norm[i0 / ROWS], b->most_residual[i0 / ROWS], &e);
    if (!any) return;
    for (int i = 0; i < ROWS; i++) {
        unsigned hits =
            reach(score_of(b, i0 + i, t[i][h], &e), b->norm[i0 + i], b->residual[i0 + i], &e) & any;
        for (; hits; hits &= hits - 1) {
            int u = __builtin_ctz(hits);
            if (q + u >= v->p->nq) break;
            w->q[w->n] = q + u;
            w->i[w->n++] = i0 + i;
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

/* All panels with the block's rows. */
AVX2 static void screen_block(const npr_packed *p, npr_sieve *v, const uint16_t *emb,
                              const npr_bytes_block *b)
{
    size_t width = npr_bytes_width(p), words = npr_bytes_panel(p);
    int steps = npr_bytes_steps(p);
    __m256i t[ROWS][2];
    passed w = {0};
    for (int q = 0; q < p->padded; q += NPR_BYTES_PANEL) {
        const uint32_t *panel = p->values + (size_t)(q / NPR_BYTES_PANEL) * words;
        int halves = p->nq - q > LANES ? 2 : 1;
        for (int i = 0; i < b->n; i += ROWS) {
            (halves == 2 ? multiply_panel : multiply_half)(b->x + (size_t)i * width, width, panel, steps, t);
            for (int h = 0; h < halves; h++) sift(v, b, i, q + h * LANES, t, h, &w);
            if (w.n > PASSED - ROWS * NPR_BYTES_PANEL) score(v, b, emb, &w);
        }
    }
    score(v, b, emb, &w);
    npr_sieve_judge(v, (int64_t)b->n * p->nq, w.all * TOO_MANY);
}

static void scan(const npr_packed *p, npr_sieve *v, const uint16_t *emb, const uint32_t *row, int n,
                 int ahead)
{
    (void)ahead; /* as in screen_avx2.c */
    npr_bytes_block b = {.row = row, .n = n};
    if (v->least[0] <= -FLT_MAX || v->skip > 0) { /* no bound yet: all rows come through */
        v->skip -= v->skip > 0;
        pass_on(v, emb, row, n);
        return;
    }
    npr_bytes_lay_out(p, v->scratch, &b);
    if (v->same_mean-- == 0) {
        npr_bytes_find_mean(p, emb, &b);
        v->same_mean = SAME_MEAN;
    }
    npr_bytes_convert(p, emb, &b);
    screen_block(p, v, emb, &b);
}

static int usable(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && npr_half_in_hardware();
}

const npr_screen npr_screen_block_bytes = {"block-bytes",   usable,         0,    INT_MAX,
                                           NPR_BYTES_PANEL, npr_bytes_pack, scan, &npr_screen_block_avx2};
#endif
