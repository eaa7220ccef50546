/* bench_captions_mpi.c - npr_bench_captions(). See include/npr/bench.h. */
#include <math.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/measure.h"
#include "base/mem.h"
#include "io/rows.h"
#include "npr/bench.h"
#include "npr/source.h"
#include "search/caption/phrases.h"

enum { REPEATS_MAX = 99, NAMES_MAX = 256 << 20 };

typedef struct bench {
    const npr_bench_captions_job *job;
    npr_rows rows; /* captions and their tokens */
    char *tokens;  /* scratch of npr_rows_put_tokens() */
    size_t tokens_cap;
    npr_phrases *phrases;
    npr_matches *matches; /* [threads] */
    char **out;           /* [threads] tokens made while it is timed */
    double read;          /* bytes per second that only reading the tokens reaches */
} bench;

/* ---- captions ---- */

/* All rows of the file, but no more than are wanted. */
static npr_status read_once(bench *b, npr_meta *meta, int64_t first, int64_t in_file)
{
    NPR_TRY(npr_meta_seek(meta, first, 0));
    for (int64_t i = 0; i < in_file && b->rows.n < b->job->rows; i++) {
        uint32_t all = b->rows.columns;
        b->rows.columns = NPR_COL(NPR_CAPTION);
        npr_status st = npr_meta_next(meta, &b->rows);
        b->rows.columns = all;
        if (!st) st = npr_rows_put_tokens(&b->rows, &b->tokens, &b->tokens_cap);
        if (!st) st = npr_rows_next(&b->rows);
        NPR_TRY(st);
    }
    return NPR_OK;
}

/* The captions of the file, over and over. */
static npr_status read_captions(bench *b)
{
    npr_meta *meta = NULL;
    int64_t *mark = NULL, in_file = 0;
    NPR_TRY(npr_rows_make(&b->rows, NPR_COL(NPR_CAPTION) | NPR_COL(NPR_TOKENS), 1, b->job->rows));
    NPR_TRY(npr_meta_open(b->job->captions, NULL, &meta));
    npr_status st = NPR_OK;
    if (!(npr_meta_columns(meta) & NPR_COL(NPR_CAPTION)))
        st = npr_fail(NPR_EDATA, "%s: has no captions", b->job->captions);
    if (!st) st = npr_meta_count(meta, INT64_MAX, &mark, &in_file);
    if (!st && in_file == 0) st = npr_fail(NPR_EDATA, "%s: has no rows", b->job->captions);
    while (!st && b->rows.n < b->job->rows) st = read_once(b, meta, mark[0], in_file);
    free(mark);
    npr_meta_close(meta);
    return st;
}

static npr_status prepare(bench *b)
{
    char *names = NULL;
    size_t n, longest = 0, threads = (size_t)b->job->threads;
    NPR_TRY(read_captions(b));
    NPR_TRY(npr_file_read(b->job->names, NAMES_MAX, &names, &n));
    npr_status st = npr_phrases_make(names, &b->phrases);
    free(names);
    NPR_TRY(st);
    for (int64_t i = 0; i < b->rows.n; i++) {
        (void)npr_text_at(&b->rows.caption, i, &n);
        longest = n > longest ? n : longest;
    }
    b->matches = npr_alloc(threads, sizeof *b->matches, "matches");
    b->out = npr_alloc(threads, sizeof *b->out, "tokens");
    if (!b->matches || !b->out) return npr_last();
    for (size_t t = 0; t < threads; t++) {
        NPR_TRY(npr_matches_make(b->phrases, &b->matches[t]));
        if (!(b->out[t] = npr_alloc(npr_tokens_room(longest), 1, "tokens"))) return npr_last();
    }
    return NPR_OK;
}

/* ---- what is timed ---- */

/* Captions row0 .. row1-1 become tokens; returns how many bytes. */
static size_t make_tokens(const npr_text *captions, int64_t row0, int64_t row1, char *out)
{
    size_t made = 0, n;
    for (int64_t i = row0; i < row1; i++) {
        const char *caption = npr_text_at(captions, i, &n);
        made += npr_tokens_make(caption, n, out);
    }
    return made;
}

/* Every thread its share of the rows: seconds of tokens made, then of phrases found. */
static npr_status run_once(bench *b, double *making, double *finding, int64_t *matches)
{
    int threads = b->job->threads, failed = 0;
    int64_t rows = b->rows.n, found = 0;
    size_t made = 0;
    b->read =
        fmax(b->read, npr_measure_read(b->rows.tokens.bytes, (size_t)b->rows.tokens.offset[rows], threads));
    double start = npr_now();
#pragma omp parallel for num_threads(threads) schedule(static, 1) reduction(+ : made)
    for (int t = 0; t < threads; t++)
        made += make_tokens(&b->rows.caption, rows * t / threads, rows * (t + 1) / threads, b->out[t]);
    double between = npr_now();
#pragma omp parallel for num_threads(threads) schedule(static, 1) reduction(+ : found, failed)
    for (int t = 0; t < threads; t++) {
        failed += npr_phrases_scan(b->phrases, &b->rows.tokens, rows * t / threads, rows * (t + 1) / threads,
                                   &b->matches[t]) != NPR_OK;
        found += (int64_t)b->matches[t].count;
    }
    *finding = npr_now() - between;
    *making = between - start;
    *matches = found;
    if (failed)
        return npr_fail(NPR_EINTERNAL, "out of memory for the matches of %lld captions", (long long)rows);
    return made == (size_t)b->rows.tokens.offset[rows]
               ? NPR_OK
               : npr_fail(NPR_EINTERNAL, "the tokens of the captions are others than before");
}

static void report(const bench *b, npr_record *rec, const npr_log *log, double making, double finding,
                   int64_t matches)
{
    int threads = b->job->threads;
    double captions = (double)b->rows.caption.offset[b->rows.n],
           tokens = (double)b->rows.tokens.offset[b->rows.n];
    double made = captions / making / 1e9 / threads, found = tokens / finding / 1e9 / threads;
    npr_record_int(rec, "bench.captions.rows", b->rows.n);
    npr_record_real(rec, "bench.captions.bytes", captions);
    npr_record_real(rec, "bench.captions.token_bytes", tokens);
    npr_record_int(rec, "bench.captions.names", b->phrases->classes);
    npr_record_int(rec, "bench.captions.matches", matches);
    npr_record_real(rec, "bench.captions.make_seconds", making);
    npr_record_real(rec, "bench.captions.make_gb_per_s_per_thread", made);
    npr_record_real(rec, "bench.captions.scan_seconds", finding);
    npr_record_real(rec, "bench.captions.scan_gb_per_s_per_thread", found);
    npr_record_real(rec, "bench.captions.read_gb_per_s_per_thread", b->read / 1e9 / threads);
    npr_info(
        log,
        "%lld captions on %d threads: made into tokens at %.2f GB/s a thread; %d names found %lld times, "
        "%.2f GB/s of tokens a thread, which can be read at %.1f",
        (long long)b->rows.n, threads, made, b->phrases->classes, (long long)matches, found,
        b->read / 1e9 / threads);
}

static npr_status run(bench *b, npr_record *rec, const npr_log *log)
{
    double making[REPEATS_MAX], finding[REPEATS_MAX];
    int64_t matches = 0;
    int repeats = b->job->repeats;
    if (!b->job->captions || !b->job->names)
        return npr_fail(NPR_EUSAGE, "--what=captions needs --captions=FILE and --names=FILE");
    if (repeats > REPEATS_MAX) return npr_fail(NPR_EUSAGE, "more than %d repeats", REPEATS_MAX);
    NPR_TRY(prepare(b));
    for (int i = 0; i < repeats; i++) NPR_TRY(run_once(b, &making[i], &finding[i], &matches));
    report(b, rec, log, npr_measure_median(making, repeats), npr_measure_median(finding, repeats), matches);
    return NPR_OK;
}

npr_status npr_bench_captions(const npr_comm *comm, const npr_log *log, npr_record *rec,
                              const npr_bench_captions_job *job)
{
    bench b = {.job = job};
    npr_status st = comm->rank == 0 ? run(&b, rec, log) : NPR_OK;
    for (int t = 0; t < job->threads; t++) {
        if (b.matches) npr_matches_free(&b.matches[t]);
        if (b.out) free(b.out[t]);
    }
    free(b.matches);
    free(b.out);
    free(b.tokens);
    npr_phrases_free(b.phrases);
    npr_rows_free(&b.rows);
    return npr_agree(comm, st, "bench");
}
