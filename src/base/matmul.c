/* matmul.c - see matmul.h.
 *
 * The order of loops is that of Goto and van de Geijn, Anatomy of high-performance matrix multiplication,
 * 2008: DEPTH values of every row of x are copied side by side for the kernel; BLOCK of these rows stay in
 * the second cache while STRIP panels of w pass by, each of which stays in the first. */
#include "base/matmul.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum {
    DEPTH = 256,     /* of a step along rows */
    BLOCK = 168,     /* rows; a multiple of the rows of any kernel */
    STRIP = 768,     /* outputs; likewise */
    ROWS_MOST = 14,  /* of a kernel */
    WIDTH_MOST = 32, /* outputs of a panel */
    ROUND = 84       /* least common multiple of the kernels' rows */
};

/* c [rows][width], row stride `stride`, continues its chains by `depth` steps: a [depth][rows], b
 * [depth][width]. */
typedef void (*tile_function)(int depth, const float *a, const float *b, float *c, int stride);

typedef struct kernel {
    const char *name;
    int (*usable)(void);
    int rows, width;
    tile_function run;
} kernel;

struct npr_matrix {
    const kernel *k;
    int out, in, padded; /* padded: outputs, a multiple of the kernel's width */
    float *w;            /* for each step of DEPTH: panels [padded / width][depth][width] */
};

/* ---- kernels ------------------------------------------------------------------------------------------- */

static void tile_portable(int depth, const float *a, const float *b, float *c, int stride)
{
    for (int k = 0; k < depth; k++, a += 6, b += 16)
        for (int r = 0; r < 6; r++)
            for (int j = 0; j < 16; j++)
                c[(size_t)r * (size_t)stride + (size_t)j] =
                    fmaf(a[r], b[j], c[(size_t)r * (size_t)stride + (size_t)j]);
}

static int always(void)
{
    return 1;
}

#if defined(__x86_64__)
#include <immintrin.h>

/* Loops are unrolled so that the sums live in registers. */
#define EACH(i, n) _Pragma("GCC unroll 16") for (int i = 0; i < (n); i++)

#define TILE(name, features, rows, vector, lanes, loadu, load, set1, fmadd, storeu)                          \
    __attribute__((target(features))) static void name(int depth, const float *a, const float *b, float *c,  \
                                                       int stride)                                           \
    {                                                                                                        \
        vector s[rows][2];                                                                                   \
        EACH(r, rows) EACH(u, 2) s[r][u] = loadu(c + (size_t)r * (size_t)stride + u * (lanes));              \
        for (int k = 0; k < depth; k++, a += (rows), b += 2 * (lanes)) {                                     \
            vector b0 = load(b), b1 = load(b + (lanes));                                                     \
            EACH(r, rows)                                                                                    \
            {                                                                                                \
                vector x = set1(a[r]);                                                                       \
                s[r][0] = fmadd(x, b0, s[r][0]);                                                             \
                s[r][1] = fmadd(x, b1, s[r][1]);                                                             \
            }                                                                                                \
        }                                                                                                    \
        EACH(r, rows) EACH(u, 2) storeu(c + (size_t)r * (size_t)stride + u * (lanes), s[r][u]);              \
    }

TILE(tile_avx2, "avx2,fma", 6, __m256, 8, _mm256_loadu_ps, _mm256_load_ps, _mm256_set1_ps, _mm256_fmadd_ps,
     _mm256_storeu_ps)
TILE(tile_avx512, "avx512f", 14, __m512, 16, _mm512_loadu_ps, _mm512_load_ps, _mm512_set1_ps, _mm512_fmadd_ps,
     _mm512_storeu_ps)

static int has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static int has_avx512(void)
{
    return __builtin_cpu_supports("avx512f");
}
#endif

static const kernel kernels[] = {
#if defined(__x86_64__)
    {"avx512", has_avx512, 14, 32, tile_avx512},
    {"avx2", has_avx2, 6, 16, tile_avx2},
#endif
    {"portable", always, 6, 16, tile_portable}};

enum { KERNELS = sizeof kernels / sizeof *kernels };

static const kernel *forced; /* by a test */

static const kernel *fastest(void)
{
    int i = 0;
    while (!kernels[i].usable()) i++;
    return &kernels[i];
}

const char *npr_matmul_use(int i)
{
    forced = i > 0 && i <= KERNELS && kernels[i - 1].usable() ? &kernels[i - 1] : NULL;
    if (i) return forced ? forced->name : NULL;
    return fastest()->name;
}

/* ---- packing ------------------------------------------------------------------------------------------- */

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* Panels of one step: k0 .. k0 + depth - 1 of each row of w. */
static void pack_step(const npr_matrix *m, int transposed, const float *w, int k0, int depth)
{
    int width = m->k->width;
    float *to = m->w + (size_t)k0 * (size_t)m->padded;
    for (int j0 = 0; j0 < m->padded; j0 += width)
        for (int k = k0; k < k0 + depth; k++)
            for (int j = j0; j < j0 + width; j++)
                *to++ = j >= m->out  ? 0
                        : transposed ? w[(size_t)k * (size_t)m->out + (size_t)j]
                                     : w[(size_t)j * (size_t)m->in + (size_t)k];
}

npr_status npr_matrix_pack(int out, int in, int transposed, const float *w, npr_matrix **packed)
{
    npr_matrix *m = *packed = npr_alloc(1, sizeof *m, "a matrix");
    if (!m) return npr_last();
    m->k = forced ? forced : fastest();
    m->out = out;
    m->in = in;
    m->padded = (out + m->k->width - 1) / m->k->width * m->k->width;
    m->w = npr_alloc_aligned((size_t)m->padded * (size_t)in, sizeof *m->w, "a matrix");
    if (!m->w) {
        free(m);
        *packed = NULL;
        return npr_last();
    }
    for (int k0 = 0; k0 < in; k0 += DEPTH) pack_step(m, transposed, w, k0, least(DEPTH, in - k0));
    return NPR_OK;
}

void npr_matrix_free(npr_matrix *m)
{
    if (!m) return;
    free(m->w);
    free(m);
}

/* ---- products ------------------------------------------------------------------------------------------ */

size_t npr_product_scratch(int rows)
{
    return ((size_t)rows + ROUND) * DEPTH;
}

/* Values k0 .. of all rows of x into scratch: [rows / kernel's rows][depth][kernel's rows], zeros behind the
 * last. */
static void pack_rows(const npr_product *p, int k0, int depth)
{
    static const float zeros[DEPTH];
    int group = p->w->k->rows;
    float *to = p->scratch;
    const float *x[ROWS_MOST];
    for (int r0 = 0; r0 < p->rows; r0 += group) {
        for (int r = 0; r < group; r++)
            x[r] = r0 + r < p->rows ? p->x + (size_t)(r0 + r) * (size_t)p->w->in + (size_t)k0 : zeros;
        for (int k = 0; k < depth; k++, to += group)
            for (int r = 0; r < group; r++) to[r] = x[r][k];
    }
}

/* Where the chains of a piece of y begin. */
static void begin(const npr_product *p, int r0, int rows, int j0, int width)
{
    for (int r = r0; r < r0 + rows; r++) {
        float *y = p->y + (size_t)r * (size_t)p->w->out + (size_t)j0;
        if (!p->add && !p->bias)
            memset(y, 0, (size_t)width * sizeof *y);
        else if (!p->add)
            memcpy(y, p->bias + j0, (size_t)width * sizeof *y);
        else if (p->bias)
            for (int j = 0; j < width; j++) y[j] += p->bias[j0 + j];
    }
}

/* A tile that is not whole goes by way of a whole one. */
static void run_edge(const npr_product *p, int depth, const float *a, const float *b, float *y, int rows,
                     int width)
{
    float c[ROWS_MOST * WIDTH_MOST] = {0};
    int full = p->w->k->width;
    for (int r = 0; r < rows; r++)
        memcpy(c + r * full, y + (size_t)r * (size_t)p->w->out, (size_t)width * sizeof *c);
    p->w->k->run(depth, a, b, c, full);
    for (int r = 0; r < rows; r++)
        memcpy(y + (size_t)r * (size_t)p->w->out, c + r * full, (size_t)width * sizeof *c);
}

/* One step of rows r0 .. r1-1 with one panel, the outputs from j0 on. */
static void run_panel(const npr_product *p, int depth, int r0, int r1, int j0, const float *panel)
{
    const kernel *k = p->w->k;
    int width = least(k->width, p->w->out - j0);
    for (int r = r0; r < r1; r += k->rows) {
        const float *a = p->scratch + (size_t)r * (size_t)depth;
        float *y = p->y + (size_t)r * (size_t)p->w->out + (size_t)j0;
        int rows = least(k->rows, p->rows - r);
        for (int i = 0; i < k->rows; i++) /* of the next tile */
            __builtin_prefetch(y + (size_t)(k->rows + i) * (size_t)p->w->out, 1);
        if (rows == k->rows && width == k->width)
            k->run(depth, a, panel, y, p->w->out);
        else
            run_edge(p, depth, a, panel, y, rows, width);
    }
}

/* One step of a block of rows with a strip of panels; the first step begins the chains, the last one
 * activates. */
static void run_block(const npr_product *p, int k0, int depth, int r0, int j0)
{
    const npr_matrix *m = p->w;
    int r1 = least(r0 + BLOCK, p->rows), j1 = least(j0 + STRIP, m->padded), width = least(j1, m->out) - j0;
    const float *panels = m->w + (size_t)k0 * (size_t)m->padded;
    if (!k0) begin(p, r0, r1 - r0, j0, width);
    for (int j = j0; j < j1; j += m->k->width)
        run_panel(p, depth, r0, r1, j, panels + (size_t)j * (size_t)depth);
    if (p->activate && k0 + depth == m->in)
        for (int r = r0; r < r1; r++)
            p->activate((size_t)width, p->y + (size_t)r * (size_t)m->out + (size_t)j0);
}

void npr_product_run(const npr_product *p)
{
    for (int k0 = 0; k0 < p->w->in; k0 += DEPTH) {
        int depth = least(DEPTH, p->w->in - k0);
        pack_rows(p, k0, depth);
        for (int j0 = 0; j0 < p->w->padded; j0 += STRIP)
            for (int r0 = 0; r0 < p->rows; r0 += BLOCK) run_block(p, k0, depth, r0, j0);
    }
}
