/* screen.h - the inside of exact search: how the few rows worth an exact score are found.
 *
 * A screen computes, for a block of rows and all queries, an approximate score t and a bound e of its error,
 * so that the exact score lies in [t - e, t + e]. A pair with t + e < L cannot be among the k best, ties
 * included, if L is a lower bound of the k-th best score. Such bounds are: the floor of the hit list (k exact
 * scores are that high), and the k-th largest t - e seen so far (k exact scores are at least that high). All
 * other pairs become candidates (sieve.c) and are scored by npr_score_dot (rescore.c). So the answer is the
 * same whatever screens, and whatever it computes within its bound. Local.
 *
 * Queries are scaled by a power of two, which is exact, to a largest value in [1, 2): then no finite row
 * overflows a float sum, so a row with an approximate score that is not finite is not finite itself, and is
 * dropped; and what is lost below the least normal float is far below the bound. */
#ifndef NPR_SEARCH_SCREEN_H
#define NPR_SEARCH_SCREEN_H

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "npr/search.h"

typedef struct npr_screen npr_screen;

/* Queries in a screen's own layout; read-only while scanning, shared by threads. */
typedef struct npr_packed {
    const npr_screen *screen;
    int nq, padded, dim; /* padded: a multiple of the screen's width */
    const float *vector; /* [nq][dim] the caller's */
    int *shift;          /* [nq] the screen has query x 2^shift */
    float *by_norm;      /* [padded] e = ||x|| by_norm + ||x - bf16(x)|| by_residual */
    float *by_residual;
    uint32_t *values;        /* the screen's */
    int block_rows;          /* rows that npr_screen.scan takes at most; pack() may lower it */
    size_t scratch;          /* bytes it needs per thread */
    struct npr_packed *wide; /* the same queries for screen->wide, or NULL */
} npr_packed;

/* Candidates of one query: intervals that hold the exact (scaled) score. */
typedef struct npr_candidates {
    float *low, *high; /* [cap] */
    uint32_t *row;     /* [cap] in the tile */
    size_t n, cap;
} npr_candidates;

enum {
    NPR_SIEVE_HELD = 4 << 20, /* candidates a thread holds before they are scored: 48 MiB */
    NPR_BLOCK_ROWS = 1008,
};

/* One thread's candidates. */
typedef struct npr_sieve {
    const npr_packed *p;
    float *least;         /* [padded] a candidate's high must reach it; FLT_MAX for padding */
    npr_candidates *list; /* [nq] */
    size_t room;          /* candidates of a list before it is pruned */
    int64_t held;         /* candidates in all lists */
    int k;
    float *select; /* scratch of the selection */
    size_t cap_select;
    npr_candidates joined; /* scratch of the rescoring */
    uint32_t *open;        /* [3 block_rows] rows collected for the screen */
    int opened;
    void *scratch;
    int same_mean, skip, skipped; /* blocks: of screens in bytes, of npr_sieve_judge() */
    int turn, ready;              /* of screen_amx.h: which block is next, rows of it that are converted */
    npr_status st;
} npr_sieve;

struct npr_screen {
    const char *name;
    int (*usable)(void);               /* on this CPU */
    int least, most;                   /* numbers of queries for which it is the fastest */
    int width;                         /* queries are padded to a multiple of it */
    npr_status (*pack)(npr_packed *p); /* makes values, bounds, block_rows, scratch */
    /* Rows row[0 .. n) of emb with all queries; the next ones will be row[n .. n + ahead). */
    void (*scan)(const npr_packed *p, npr_sieve *v, const uint16_t *emb, const uint32_t *row, int n,
                 int ahead);
    const npr_screen *wide; /* one with narrower bounds, to which it may pass rows on; or NULL */
};

/* All screens, NULL after the last; the one for this many queries on this CPU. */
const npr_screen *npr_screen_at(int i);
const npr_screen *npr_screen_choose(int nq);

/* The screen of this name. NPR_EUSAGE names all there are; NPR_EENV: not on this CPU. */
npr_status npr_screen_named(const char *name, const npr_screen **out);

/* The screens' homes. */
extern const npr_screen npr_screen_few_avx512;                       /* screen_few.c */
extern const npr_screen npr_screen_few_avx2;                         /* screen_few_avx2.c */
extern const npr_screen npr_screen_few_bytes;                        /* screen_few_bytes.c */
extern const npr_screen npr_screen_block_amx;                        /* screen_amx.c */
extern const npr_screen npr_screen_block_bf16, npr_screen_block_f32; /* screen_block.c */
extern const npr_screen npr_screen_block_avx2;                       /* screen_avx2.c */
extern const npr_screen npr_screen_block_bytes;                      /* screen_bytes.c */
extern const npr_screen npr_screen_gemm;                             /* screen_gemm.c */

/* ---- for screens ------------------------------------------------------------------------------------- */

/* Query j scaled, out [dim]. Returns its norm, rounded up. */
double npr_packed_scale(const npr_packed *p, int j, float *out);

/* Set the error bound of query j, of norm `norm`, of which the screen has a rounding that is `moved` away
 * from it. See sieve.c for the proof. */
void npr_packed_bound(npr_packed *p, int j, double norm, double moved);

/* An upper bound of a row's norm from the float sum of its squares, in any order. */
static inline float npr_norm_above(float squares, int dim)
{
    return sqrtf(squares) * (1 + (float)dim * 0x1p-23f + 0x1p-20f);
}

/* The next n values of `size` bytes of a thread's scratch: where they lie behind the *used bytes before them,
 * which grow by them. Without a scratch they are only counted, so that its size and what lies in it are said
 * once. */
static inline void *npr_scratch_take(void *scratch, size_t *used, size_t n, size_t size)
{
    void *at = scratch ? (char *)scratch + *used : NULL;
    *used += n * size;
    return at;
}

/* What is used of it, up to the end of a line of the cache. */
static inline size_t npr_scratch_bytes(size_t used)
{
    return (used + 63) / 64 * 64;
}

void npr_sieve_push(npr_sieve *v, int q, uint32_t row, float low, float high);

/* Offer a pair: kept if it may be among the k best. */
static inline void npr_sieve_offer(npr_sieve *v, int q, uint32_t row, float t, float e)
{
    if (t + e >= v->least[q] && fabsf(t) <= FLT_MAX) npr_sieve_push(v, q, row, t - e, t + e);
}

/* After a block of which more pairs came through than are worth it, the next ones go to the screen with
 * narrower bounds: each time twice as many, up to 64. */
static inline void npr_sieve_judge(npr_sieve *v, int64_t worth, int64_t found)
{
    enum { MOST_SKIPPED = 64 };
    v->skipped = found <= worth ? 0 : !v->skipped ? 1 : 2 * v->skipped;
    if (v->skipped > MOST_SKIPPED) v->skipped = MOST_SKIPPED;
    v->skip = v->skipped;
}

/* Offer a pair by its exact score. emb: the tile's. */
void npr_sieve_offer_exact(npr_sieve *v, int q, const uint16_t *emb, uint32_t row);

/* ---- for exact.c -------------------------------------------------------------------------------------- */

npr_status npr_packed_make(const npr_screen *screen, const npr_queries *q, npr_packed **out);
void npr_packed_free(npr_packed *p);

npr_status npr_sieve_make(const npr_packed *p, int k, npr_sieve *v);
void npr_sieve_free(npr_sieve *v);
void npr_sieve_clear(npr_sieve *v); /* forget the candidates; memory of lists that grew large is returned */

/* The k-th largest of n floats; 1 <= k <= n. Fails only without memory. */
npr_status npr_sieve_kth(npr_sieve *v, const float *x, size_t n, size_t k, float *kth);

npr_status npr_candidates_reserve(npr_candidates *c, size_t n);
void npr_candidates_free(npr_candidates *c);

/* Largest float <= x, as a bound for candidates (finite). */
static inline float npr_float_below(double x)
{
    if (!(x > -FLT_MAX)) return -FLT_MAX;
    float f = (float)x;
    return (double)f > x ? nextafterf(f, -INFINITY) : f;
}

/* Score the candidates of query q of all threads exactly and offer them to its list. */
npr_status npr_rescore(npr_sieve *sieve, int threads, npr_sieve *own, const npr_tile *tile, int q,
                       npr_topk *into);

/* npr_exact_make() with a given screen. */
npr_status npr_exact_make_with(const npr_screen *screen, const npr_queries *q, int k, int threads,
                               npr_exact **out);

#endif
