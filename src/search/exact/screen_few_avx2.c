/* screen_few_avx2.c - the screen for few queries (screen_few.c) on CPUs with AVX2 alone. See screen.h.
 *
 * Three to eight rows go together, so many that their sums with a group of queries fit the registers. None is
 * left for the rows' squares: the bits that any of their values has bound their norms, one instruction for 16
 * values; where a row passes, the largest value of the turn's rows bounds them less widely, and a row that
 * still passes is scored with its own.
 *
 * They are rows of so many pieces of a block, a hundred kilobytes and more apart, a cache line of each in
 * turn: as many streams of memory. Zen 3 reads one stream at 0.6 of the speed of a plain loop that has four
 * of them, three at 0.9, eight at 1.0. It fetches ahead by itself, 5 lines behind the first one of a page and
 * 12 behind the eighth. Instructions that do so, too, even one at the end of a row or of a page, at any
 * distance and into any cache, take a fifth to two fifths of the speed away; one for every line, 2 to 20 %.
 */
#include <string.h>

#include "base/half.h"
#include "search/exact/screen_few.h"
#include "search/exact/screen_sum.h"

#if defined(__x86_64__)
#include <immintrin.h>

enum {
    MOST = 7,  /* queries up to which bytes are slower, measured */
    GROUP = 4, /* queries in one pass over a row */
    LINE = 32, /* values of a row in a cache line */
};

#define AVX2 __attribute__((target("avx2,fma,f16c")))

/* The sums of the lanes of four registers. */
AVX2 static inline __m128 sum4_256(__m256 a, __m256 b, __m256 c, __m256 d)
{
    __m256 ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    __m256 cd = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
    __m256 s = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xee));
    return _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
}

/* Eight values of a row from column j on, zeros behind its end. */
AVX2 static inline __m128i load8(const uint16_t *row, int j, int dim)
{
    uint16_t end[8] = {0};
    if (dim - j < 8) {
        memcpy(end, row + j, (size_t)(dim - j) * sizeof *end);
        row = end;
        j = 0;
    }
    return _mm_loadu_si128((const __m128i *)(const void *)(row + j));
}

/* Rows of a turn for so many queries: their sums take at most 12 of 16 registers. */
#define ROWS_FOR(nq) ((nq) == 1 ? 8 : (nq) == 2 ? 6 : (nq) == 3 ? 4 : 3)

/* Sums of a turn's rows with up to GROUP queries. */
typedef struct sums256 {
    __m256 dot[GROUP][NPR_FEW_ROWS];
} sums256;

/* Add 8 columns from j on of rows at[] and queries q[]. */
AVX2 static inline __attribute__((always_inline)) void add256(sums256 *s, const uint16_t *const *at, int j,
                                                              const float *q, size_t stride, int nq, int rows)
{
    __m256 y[GROUP];
#pragma GCC unroll 4
    for (int g = 0; g < nq; g++) y[g] = _mm256_loadu_ps(q + (size_t)g * stride + j);
#pragma GCC unroll 8
    for (int u = 0; u < rows; u++) {
        __m256 x = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(at[u] + j)));
#pragma GCC unroll 4
        for (int g = 0; g < nq; g++) s->dot[g][u] = _mm256_fmadd_ps(x, y[g], s->dot[g][u]);
    }
}

/* Three rows and four queries, or four rows and three queries: the sums, one side's values and one value of
 * the other take all 16 registers, which the compiler does not see and moves half of them to memory and back.
 * Hence a line of 32 columns in instructions. ONE: one side's next value, with those of the other in
 * registers 12 to 14. */
#define ONE(load, at, a, b, c)                                                                               \
    load " " at ", %%ymm15\n"                                                                                \
         "vfmadd231ps %%ymm12, %%ymm15, %[" a "]\n"                                                          \
         "vfmadd231ps %%ymm13, %%ymm15, %[" b "]\n"                                                          \
         "vfmadd231ps %%ymm14, %%ymm15, %[" c "]\n"

#define THREE(load, x, y, z) load " " x ", %%ymm12\n" load " " y ", %%ymm13\n" load " " z ", %%ymm14\n"

#define FOUR(load, x, y, z, w)                                                                               \
    ONE(load, x, "a", "b", "c")                                                                              \
    ONE(load, y, "d", "e", "f") ONE(load, z, "g", "h", "i") ONE(load, w, "j", "k", "l")

#define FOUR_QUERIES(row, query)                                                                             \
    THREE("vcvtph2ps", row "(%[x])", row "(%[y])", row "(%[z])")                                             \
    FOUR("vmovups", query "(%[q])", query "(%[q],%[s])", query "(%[q],%[s],2)", query "(%[q],%[s3])")
#define FOUR_ROWS(row, query)                                                                                \
    THREE("vmovups", query "(%[q])", query "(%[q],%[s])", query "(%[q],%[s],2)")                             \
    FOUR("vcvtph2ps", row "(%[x])", row "(%[y])", row "(%[z])", row "(%[w])")

/* Add a line of 32 columns from j on. */
AVX2 static inline __attribute__((always_inline)) void
add_line(sums256 *s, const uint16_t *const *at, int j, const float *q, size_t stride, int nq, int rows)
{
#define SUM(n, g, u) [n] "+x"(s->dot[g][u])
    if (nq == 4 && rows == 3)
        __asm__(FOUR_QUERIES("0", "0") FOUR_QUERIES("16", "32") FOUR_QUERIES("32", "64")
                    FOUR_QUERIES("48", "96")
                : SUM(a, 0, 0), SUM(b, 0, 1), SUM(c, 0, 2), SUM(d, 1, 0), SUM(e, 1, 1), SUM(f, 1, 2),
                  SUM(g, 2, 0), SUM(h, 2, 1), SUM(i, 2, 2), SUM(j, 3, 0), SUM(k, 3, 1), SUM(l, 3, 2)
                : [x] "r"(at[0] + j), [y] "r"(at[1] + j), [z] "r"(at[2] + j), [q] "r"(q + j),
                  [s] "r"(stride * sizeof *q), [s3] "r"(3 * stride * sizeof *q)
                : "memory", "xmm12", "xmm13", "xmm14", "xmm15");
    else if (nq == 3 && rows == 4)
        __asm__(FOUR_ROWS("0", "0") FOUR_ROWS("16", "32") FOUR_ROWS("32", "64") FOUR_ROWS("48", "96")
                : SUM(a, 0, 0), SUM(b, 1, 0), SUM(c, 2, 0), SUM(d, 0, 1), SUM(e, 1, 1), SUM(f, 2, 1),
                  SUM(g, 0, 2), SUM(h, 1, 2), SUM(i, 2, 2), SUM(j, 0, 3), SUM(k, 1, 3), SUM(l, 2, 3)
                : [x] "r"(at[0] + j), [y] "r"(at[1] + j), [z] "r"(at[2] + j), [w] "r"(at[3] + j),
                  [q] "r"(q + j), [s] "r"(stride * sizeof *q)
                : "memory", "xmm12", "xmm13", "xmm14", "xmm15");
    else
#pragma GCC unroll 4
        for (int k = j; k < j + LINE; k += 8) add256(s, at, k, q, stride, nq, rows);
#undef SUM
}

/* A bound of the norm of a row of which no value's bits, without the sign, are a larger number than `most`:
 * binary16 grows with them. */
AVX2 static float norm_of_bits(int most, int dim)
{
    if (most >= 0x7c00) return INFINITY;
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(most))) * sqrtf((float)dim) * (1 + 0x1p-20f);
}

/* That of all rows whose values went into `any`, bit by bit: no value has a bit that is not there. */
AVX2 static inline float norm_of_any(__m256i any, int dim)
{
    __m128i b = _mm_or_si128(_mm256_castsi256_si128(any), _mm256_extracti128_si256(any, 1));
    uint64_t four = (uint64_t)_mm_cvtsi128_si64(b) | (uint64_t)_mm_extract_epi64(b, 1);
    four |= four >> 32;
    return norm_of_bits((int)((four | four >> 16) & 0x7fff), dim);
}

/* That of a turn's rows by their largest value, which is far narrower: values of 0.004 to 0.1 have the bits
 * of nearly 2 together. */
AVX2 static __attribute__((noinline)) float norm_of_largest(const npr_few_turn *t, int dim)
{
    __m128i largest = _mm_setzero_si128();
    for (int u = 0; u < t->rows; u++)
        for (int j = 0; j < dim; j += 8)
            largest = _mm_max_epu16(largest, _mm_slli_epi16(load8(t->row[u], j, dim), 1));
    int least = _mm_extract_epi16(_mm_minpos_epu16(_mm_xor_si128(largest, _mm_set1_epi16(-1))), 0);
    return norm_of_bits((0xffff ^ least) >> 1, dim);
}

/* A bound of the norms of a turn's rows, and whether it is norm_of_largest(). */
typedef struct bound {
    float norm;
    int near;
} bound;

/* The row's norm as near as floats allow, and its score. */
AVX2 void npr_few_offer(npr_sieve *v, const npr_packed *p, int q, const npr_few_turn *t, int u)
{
    const float *query = (const float *)p->values + (size_t)q * npr_few_stride(p);
    __m256 squares = _mm256_setzero_ps(), dot = squares;
    for (int j = 0; j < p->dim; j += 8) {
        __m256 x = _mm256_cvtph_ps(load8(t->row[u], j, p->dim));
        squares = _mm256_fmadd_ps(x, x, squares);
        dot = _mm256_fmadd_ps(x, _mm256_loadu_ps(query + j), dot);
    }
    float norm = npr_norm_above(npr_sum_of_lanes(squares), p->dim);
    npr_sieve_offer(v, q, t->number[u], npr_sum_of_lanes(dot), norm * p->by_norm[q]);
}

/* Offer what may reach the bounds: seen with the bound of all rows' norms, which is made narrow when
 * something is seen with the wide one, and scored again with the row's own. Four sums are looked at together:
 * of as many queries, or of two rows and queries, or of four rows. */
AVX2 static inline __attribute__((always_inline)) void sift256(npr_sieve *v, const npr_few_turn *t, int q0,
                                                               int nq, int rows, const sums256 *s, bound *b)
{
    const npr_packed *p = v->p;
    int across = nq > 2 ? 4 : nq;
    __m128 least = _mm_loadu_ps(v->least + q0), by_norm = _mm_loadu_ps(p->by_norm + q0);
    if (across < 4) {
        least = across == 1 ? _mm_shuffle_ps(least, least, 0) : _mm_movelh_ps(least, least);
        by_norm = across == 1 ? _mm_shuffle_ps(by_norm, by_norm, 0) : _mm_movelh_ps(by_norm, by_norm);
    }
    __m128 e = _mm_mul_ps(_mm_set1_ps(b->norm), by_norm);
#pragma GCC unroll 8
    for (int u = 0; u < rows; u += 4 / across) {
        __m256 four[4];
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++)
            four[k] = k % across < nq && u + k / across < rows ? s->dot[k % across][u + k / across]
                                                               : _mm256_setzero_ps();
        __m128 sum = sum4_256(four[0], four[1], four[2], four[3]);
        int hits = _mm_movemask_ps(_mm_cmpge_ps(_mm_add_ps(sum, e), least));
        if (!hits) continue;
        if (!b->near) {
            *b = (bound){norm_of_largest(t, p->dim), 1};
            e = _mm_mul_ps(_mm_set1_ps(b->norm), by_norm);
            hits = _mm_movemask_ps(_mm_cmpge_ps(_mm_add_ps(sum, e), least));
        }
        for (; hits; hits &= hits - 1) {
            int k = __builtin_ctz((unsigned)hits), g = k % across, at = u + k / across;
            if (g < nq && at < t->rows) npr_few_offer(v, p, q0 + g, t, at);
        }
    }
}

/* Queries q0 .. q0+nq-1 with a turn of rows (both constants where this is inlined). The first of a turn's
 * calls leaves the bound of the rows' norms in *b for the others. */
AVX2 static inline __attribute__((always_inline)) void
few256(const npr_packed *p, npr_sieve *v, const npr_few_turn *t, int q0, int nq, int rows, bound *b)
{
    size_t stride = npr_few_stride(p);
    const float *q = (const float *)p->values + (size_t)q0 * stride;
    const uint16_t *at[NPR_FEW_ROWS];
    uint16_t end[NPR_FEW_ROWS][8];
    sums256 s;
    __m256i any = _mm256_setzero_si256();
    for (int u = 0; u < rows; u++) at[u] = t->row[u];
    for (int g = 0; g < nq; g++)
        for (int u = 0; u < rows; u++) s.dot[g][u] = _mm256_setzero_ps();
    int j = 0;
    for (; j + LINE <= p->dim; j += LINE) {
        __asm__("" : "+m"(any)); /* is left in memory: the sums take all registers */
        __m256i bits = any;
#pragma GCC unroll 8
        for (int u = 0; u < rows; u++)
            for (int k = j; k < j + LINE; k += 16)
                bits = _mm256_or_si256(bits, _mm256_loadu_si256((const __m256i *)(const void *)(at[u] + k)));
        any = bits;
        __asm__("" : "+m"(any));
        add_line(&s, at, j, q, stride, nq, rows);
    }
    for (; j < p->dim; j += 8) {
        for (int u = 0; u < rows; u++) {
            __m128i bits = load8(t->row[u], j, p->dim);
            any = _mm256_or_si256(any, _mm256_zextsi128_si256(bits));
            _mm_storeu_si128((__m128i *)(void *)end[u], bits);
            at[u] = end[u];
        }
        add256(&s, at, 0, q + j, stride, nq, rows);
    }
    if (q0 == 0) *b = (bound){norm_of_any(any, p->dim), 0};
    sift256(v, t, q0, nq, rows, &s, b);
}

/* All rows, with more queries than a group has. */
AVX2 static void scan_many(const npr_packed *p, npr_sieve *v, const uint16_t *emb, const uint32_t *row, int n)
{
    enum { ROWS = ROWS_FOR(GROUP) };
    int passes = (p->nq + GROUP - 1) / GROUP;
    for (int i = 0; i < (n + ROWS - 1) / ROWS; i++) {
        npr_few_turn t = npr_few_start(p, emb, row, i, n, ROWS);
        bound b;
        for (int k = 0, q = 0; k < passes; k++) { /* groups of about one size */
            int m = (p->nq - q + passes - k - 1) / (passes - k);
            if (m == 4) few256(p, v, &t, q, 4, ROWS, &b);
            if (m == 3) few256(p, v, &t, q, 3, ROWS, &b);
            if (m == 2) few256(p, v, &t, q, 2, ROWS, &b);
            q += m;
        }
    }
}

/* All rows with so many queries, at most a group (a constant, as in few256()). */
AVX2 static inline __attribute__((always_inline)) void
scan_with(const npr_packed *p, npr_sieve *v, const uint16_t *emb, const uint32_t *row, int n, int nq)
{
    int rows = ROWS_FOR(nq);
    for (int i = 0; i < (n + rows - 1) / rows; i++) {
        npr_few_turn t = npr_few_start(p, emb, row, i, n, rows);
        bound b;
        few256(p, v, &t, 0, nq, rows, &b);
    }
}

AVX2 static void scan(const npr_packed *p, npr_sieve *v, const uint16_t *emb, const uint32_t *row, int n,
                      int ahead)
{
    (void)ahead;
    if (p->nq == 1) scan_with(p, v, emb, row, n, 1);
    if (p->nq == 2) scan_with(p, v, emb, row, n, 2);
    if (p->nq == 3) scan_with(p, v, emb, row, n, 3);
    if (p->nq == 4) scan_with(p, v, emb, row, n, 4);
    if (p->nq > 4) scan_many(p, v, emb, row, n);
}

static int usable(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && npr_half_in_hardware();
}

const npr_screen npr_screen_few_avx2 = {"few-avx2", usable, 0, MOST, GROUP, npr_few_pack, scan, NULL};
#endif
