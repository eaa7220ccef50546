/* screen_few_bytes.c - the screen for some ten queries on CPUs with AVX2 alone: rows are streamed as by
 * screen_few_avx2.c, but made into bytes in passing, of which AVX2 multiplies four for one float. Floats are
 * faster for a few queries, for which that does not pay, and blocks (screen_bytes.c) for many, which leave
 * the first cache. See screen_few_bytes.h for what is computed and its bound.
 *
 * What bytes let through is scored in floats at once. While lists are not full, and where data let too many
 * through, blocks go to the screen in floats. */
#include "base/half.h"
#include "search/exact/screen_few_bytes.h"

#if defined(__x86_64__)
#include <immintrin.h>

enum {
    MOST = 48,       /* queries up to which blocks are slower, measured */
    GROUP = 4,       /* queries multiplied at once */
    ROWS = 2,        /* rows */
    SAME_SCALE = 64, /* blocks for which scale and c are kept */
    TOO_MANY = 8,    /* of so many pairs one let through: floats take less time */
};

#define AVX2 __attribute__((target("avx2,fma,f16c")))

/* The sums of the lanes of four registers. */
AVX2 static inline __m128i sum4(__m256i a, __m256i b, __m256i c, __m256i d)
{
    __m256i ab = _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
    __m256i cd = _mm256_add_epi32(_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
    __m256i s = _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
    return _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
}

/* One query's two sums, with i + 128 of two rows in registers 14 and 15. */
#define QUERY(at, s, t)                                                                                      \
    "vmovdqa " at ", %%ymm12\n"                                                                              \
    "vpmaddubsw %%ymm12, %%ymm14, %%ymm13\n"                                                                 \
    "vpmaddubsw %%ymm12, %%ymm15, %%ymm12\n"                                                                 \
    "vpaddw %%ymm13, %[" s "], %[" s "]\n"                                                                   \
    "vpaddw %%ymm12, %[" t "], %[" t "]\n"

#define TWO_ROWS(at)                                                                                         \
    "vmovdqu " at "(%[x]), %%ymm14\n"                                                                        \
    "vmovdqu " at "(%[x],%[w]), %%ymm15\n"
#define TWO(at)   TWO_ROWS(at) QUERY(at "(%[q])", "a", "b") QUERY(at "(%[q],%[n])", "c", "d")
#define THREE(at) TWO(at) QUERY(at "(%[q],%[n],2)", "e", "f")
#define FOUR(at)  THREE(at) QUERY(at "(%[q],%[n3])", "g", "h")

/* Add four lines of two rows at x and x + width with four, three or two queries, in the order of instructions
 * and in the registers that the compiler does not find when it unrolls. */
AVX2 static inline __attribute__((always_inline)) void
add_four(const uint8_t *x, size_t width, const char *query, size_t bytes, int nq, __m256i s[GROUP][ROWS])
{
#define SUM(n, g, u) [n] "+x"(s[g][u])
    if (nq == 4)
        __asm__(FOUR("0") FOUR("32") FOUR("64") FOUR("96")
                : SUM(a, 0, 0), SUM(b, 0, 1), SUM(c, 1, 0), SUM(d, 1, 1), SUM(e, 2, 0), SUM(f, 2, 1),
                  SUM(g, 3, 0), SUM(h, 3, 1)
                : [x] "r"(x), [w] "r"(width), [q] "r"(query), [n] "r"(bytes), [n3] "r"(3 * bytes)
                : "memory", "xmm12", "xmm13", "xmm14", "xmm15");
    else if (nq == 3)
        __asm__(THREE("0") THREE("32") THREE("64") THREE("96")
                : SUM(a, 0, 0), SUM(b, 0, 1), SUM(c, 1, 0), SUM(d, 1, 1), SUM(e, 2, 0), SUM(f, 2, 1)
                : [x] "r"(x), [w] "r"(width), [q] "r"(query), [n] "r"(bytes)
                : "memory", "xmm12", "xmm13", "xmm14", "xmm15");
    else
        __asm__(TWO("0") TWO("32") TWO("64") TWO("96")
                : SUM(a, 0, 0), SUM(b, 0, 1), SUM(c, 1, 0), SUM(d, 1, 1)
                : [x] "r"(x), [w] "r"(width), [q] "r"(query), [n] "r"(bytes)
                : "memory", "xmm12", "xmm13", "xmm14", "xmm15");
#undef SUM
}

/* One line. */
AVX2 static inline __attribute__((always_inline)) void
add_one(const uint8_t *x, size_t width, const char *query, size_t bytes, int nq, __m256i s[GROUP][ROWS])
{
    for (int u = 0; u < ROWS; u++) {
        __m256i row = _mm256_loadu_si256((const __m256i *)(const void *)(x + (size_t)u * width));
        for (int g = 0; g < nq; g++) {
            const void *k = query + (size_t)g * bytes;
            s[g][u] = _mm256_add_epi16(s[g][u], _mm256_maddubs_epi16(row, _mm256_load_si256(k)));
        }
    }
}

/* sum[u] = i.k of row u of two at x, and nq queries (two to four). Meanwhile a row of the next turn is
 * fetched: its streams of memory would rest. */
AVX2 static inline __attribute__((always_inline)) void multiply(const npr_packed *p, const uint8_t *x, int q0,
                                                                int nq, const uint16_t *fetch, __m128i *sum)
{
    enum { FOUR_LINES = 4 };
    size_t width = npr_few_width(p), bytes = npr_few_query(p), lines = npr_few_lines(p);
    const char *query = (const char *)p->values + (size_t)q0 * bytes;
    const __m256i one = _mm256_set1_epi16(1);
    __m256i t[GROUP][ROWS];
    for (int g = 0; g < GROUP; g++)
        for (int u = 0; u < ROWS; u++) t[g][u] = _mm256_setzero_si256();
    for (size_t from = 0; from < lines; from += NPR_FEW_SEGMENT) {
        size_t n = lines - from < NPR_FEW_SEGMENT ? lines - from : NPR_FEW_SEGMENT, i = 0;
        __m256i s[GROUP][ROWS];
#pragma GCC unroll 4
        for (int g = 0; g < nq; g++)
            s[g][0] = s[g][1] = _mm256_load_si256((const __m256i *)(const void *)(query + (size_t)g * bytes));
        query += NPR_FEW_LINE;
        for (; i + FOUR_LINES <= n; i += FOUR_LINES) {
#pragma GCC unroll 4
            for (size_t k = 0; k < FOUR_LINES; k++) __builtin_prefetch(fetch + k * NPR_FEW_LINE);
            add_four(x, width, query, bytes, nq, s);
            x += FOUR_LINES * NPR_FEW_LINE;
            query += FOUR_LINES * NPR_FEW_LINE;
            fetch += FOUR_LINES * NPR_FEW_LINE;
        }
        for (; i < n; i++, x += NPR_FEW_LINE, query += NPR_FEW_LINE) add_one(x, width, query, bytes, nq, s);
#pragma GCC unroll 4
        for (int g = 0; g < nq; g++)
            for (int u = 0; u < ROWS; u++)
                t[g][u] = _mm256_add_epi32(t[g][u], _mm256_madd_epi16(s[g][u], one));
    }
    for (int u = 0; u < ROWS; u++) sum[u] = sum4(t[0][u], t[1][u], t[2][u], t[3][u]);
}

/* Offer what may reach the bounds; returns how many. */
AVX2 static inline int sift(npr_sieve *v, const npr_few_rows *r, const npr_few_turn *t, int u, int q0, int nq,
                            __m128i sum)
{
    const npr_packed *wide = v->p->wide;
    __m128 score =
        _mm_fmadd_ps(_mm_cvtepi32_ps(sum), _mm_loadu_ps(r->unit + q0), _mm_loadu_ps(r->middle + q0));
    __m128 e =
        _mm_fmadd_ps(_mm_set1_ps(r->length[u]), _mm_loadu_ps(r->by_length + q0), _mm_loadu_ps(r->fixed + q0));
    __m128 reaches = _mm_cmpge_ps(_mm_add_ps(score, e), _mm_loadu_ps(v->least + q0));
    int hits = _mm_movemask_ps(reaches) & ((1 << nq) - 1), found = 0;
    for (; hits; hits &= hits - 1, found++) npr_few_offer(v, wide, q0 + __builtin_ctz((unsigned)hits), t, u);
    return found;
}

/* Queries q0 .. q0+nq-1 with a turn of rows; returns how many pairs came through. */
AVX2 static int64_t take_group(npr_sieve *v, const npr_few_rows *r, const npr_few_turn *t, int q0, int nq,
                               const uint16_t *const *fetch)
{
    int64_t found = 0;
    for (int u = 0; u < t->rows; u += ROWS) {
        const uint8_t *x = r->i + (size_t)u * npr_few_width(v->p);
        __m128i sum[ROWS];
        if (nq == 4) multiply(v->p, x, q0, 4, fetch[u], sum);
        if (nq == 3) multiply(v->p, x, q0, 3, fetch[u], sum);
        if (nq <= 2) multiply(v->p, x, q0, 2, fetch[u], sum); /* a single one has zeros behind it */
        for (int k = 0; k < ROWS && u + k < t->rows; k++) found += sift(v, r, t, u + k, q0, nq, sum[k]);
    }
    return found;
}

/* All queries with a turn of rows. The first two groups fetch a row of each pair of the next turn. */
static int64_t take_turn(npr_sieve *v, const npr_few_rows *r, const npr_few_turn *t, const npr_few_turn *next)
{
    int nq = v->p->nq, passes = (nq + GROUP - 1) / GROUP;
    int64_t found = 0;
    for (int k = 0, q = 0; k < passes; k++) { /* groups of about one size */
        int m = (nq - q + passes - k - 1) / (passes - k);
        found += take_group(v, r, t, q, m, (k < 2 ? next : t)->row + k % 2);
        q += m;
    }
    for (int u = 0; u < t->rows; u++) {
        if (!isnan(r->length[u])) continue;
        for (int q = 0; q < nq; q++) npr_few_offer(v, v->p->wide, q, t, u);
        found += nq;
    }
    return found;
}

static void pass_on(npr_sieve *v, const uint16_t *emb, const uint32_t *row, int n, int ahead)
{
    const npr_packed *p = v->p;
    v->p = p->wide;
    p->wide->screen->scan(p->wide, v, emb, row, n, ahead);
    v->p = p;
}

static void scan(const npr_packed *p, npr_sieve *v, const uint16_t *emb, const uint32_t *row, int n,
                 int ahead)
{
    int64_t found = 0;
    if (v->least[0] <= -FLT_MAX || v->skip > 0) { /* no bound yet: all rows come through */
        v->skip -= v->skip > 0;
        pass_on(v, emb, row, n, ahead);
        return;
    }
    npr_few_rows *r = npr_few_lay_out(p, v->scratch);
    if (v->same_mean-- == 0) {
        npr_few_find_scale(p, emb, row, n, r);
        v->same_mean = SAME_SCALE;
    }
    int turns = (n + NPR_FEW_TURN - 1) / NPR_FEW_TURN;
    npr_few_turn turn[2] = {npr_few_start(p, emb, row, 0, n, NPR_FEW_TURN)};
    for (int i = 0; i < turns; i++) {
        npr_few_turn *t = &turn[i % 2], *next = &turn[(i + 1) % 2];
        *next = npr_few_start(p, emb, row, i + 1 < turns ? i + 1 : i, n, NPR_FEW_TURN);
        npr_few_convert(p, t->row, r);
        found += take_turn(v, r, t, next);
    }
    npr_sieve_judge(v, (int64_t)n * p->nq / TOO_MANY, found);
    if (v->skip) v->same_mean = 0; /* the scale may be that of other rows */
}

static int usable(void)
{
    return npr_screen_few_avx2.usable();
}

const npr_screen npr_screen_few_bytes = {
    "few-bytes", usable, 0, MOST, GROUP, npr_few_bytes_pack, scan, &npr_screen_few_avx2};
#endif
