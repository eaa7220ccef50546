/* faiss.c - FAISS through its C API. The only file that includes its headers. See src/search/faiss/faiss.h,
 * npr/search.h.
 *
 * What FAISS answers must not depend on threads or on which queries are searched together, but its own
 * batches do: they take another code path from 20 queries on, and slice the batch by the number of threads.
 * So queries are searched in blocks of one size, cut by the number of the query and each on one thread, in a
 * parallel loop of ours; and BLAS runs on one thread while training and adding. */
#include "search/faiss/faiss.h"

#include <errno.h>
#include <omp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/heap.h"
#include "base/linalg.h"
#include "base/mem.h"
#include "npr/search.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wstrict-prototypes" /* theirs, not ours */
#include <faiss/c_api/AutoTune_c.h>
#include <faiss/c_api/IndexIVF_c.h>
#include <faiss/c_api/Index_c.h>
#include <faiss/c_api/error_c.h>
#include <faiss/c_api/index_factory_c.h>
#include <faiss/c_api/index_io_c.h>
#pragma GCC diagnostic pop

enum { NUMBER_MAX = 1 << 24, BESIDE = 64 << 20 /* bytes of heap that a search takes beside its index */ };

struct npr_faiss {
    FaissIndex *index;
    int dim;
};

/* FAISS's last message on this thread, without the place in its own source that it begins with. */
static const char *said(void)
{
    const char *text = faiss_get_last_error();
    if (!text) return "no message";
    const char *place = strstr(text, ".cpp:"), *message = place ? strstr(place, ": ") : NULL;
    return message ? message + 2 : text;
}

/* ---- when FAISS crashes -------------------------------------------------------------------------- */

/* Signals know no arguments: what is to be said lies here before FAISS is called. */
static char last_words[1024] = "FAISS crashed: an index is damaged\n";

static void on_crash(int signal_number)
{
    (void)signal_number;
    ssize_t n = write(STDERR_FILENO, last_words, strlen(last_words));
    _exit(n < 0 ? NPR_EINTERNAL : NPR_EDATA);
}

void npr_faiss_name(const char *folder, const char *file)
{
    snprintf(last_words, sizeof last_words,
             "%s: %.500s/%.300s: FAISS crashed in the index of this part: it is damaged or not of npr-index; "
             "ingest the set and build its index anew\n",
             program_invocation_short_name, folder, file);
}

/* A damaged index makes FAISS read what is not there, or throw where nobody can catch. Whoever handled these
 * signals before (Open MPI, a sanitizer) handles them again afterwards. */
static void guard(int on)
{
    static const int deadly[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    static struct sigaction before[sizeof deadly / sizeof *deadly];
    struct sigaction a = {.sa_handler = on_crash};
    sigemptyset(&a.sa_mask);
    for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++)
        on ? sigaction(deadly[i], &a, &before[i]) : sigaction(deadly[i], &before[i], NULL);
}

static npr_status wrap(FaissIndex *index, int dim, npr_faiss **out)
{
    npr_faiss *f = npr_alloc(1, sizeof *f, "an index");
    if (!f) {
        faiss_Index_free(index);
        return NPR_EINTERNAL;
    }
    *f = (npr_faiss){index, dim};
    *out = f;
    return NPR_OK;
}

/* FAISS divides by some of the numbers in a factory string without looking at them. */
static npr_status check_numbers(const char *factory)
{
    for (const char *p = factory; *p;) {
        char *end = NULL;
        unsigned long v = *p >= '0' && *p <= '9' ? strtoul(p, &end, 10) : 1;
        if (v == 0 || v > NUMBER_MAX)
            return npr_fail(NPR_EUSAGE, "index factory \"%s\": \"%s\" begins with a number outside 1 to %d",
                            factory, p, NUMBER_MAX);
        p = end ? end : p + 1;
    }
    return NPR_OK;
}

npr_status npr_faiss_make(const char *factory, int dim, npr_faiss **out)
{
    if (!factory[0] || strlen(factory) > NPR_FACTORY_MAX)
        return npr_fail(NPR_EUSAGE, "an index factory string has 1 to %d characters, this one %zu",
                        NPR_FACTORY_MAX, strlen(factory));
    NPR_TRY(check_numbers(factory));
    if (strstr(factory, "NSG"))
        return npr_fail(
            NPR_EUSAGE,
            "index factory \"%s\": an NSG graph cannot grow, which filling a part in batches needs; use HNSW",
            factory);
    /* Only an index with inverted lists keeps row numbers by itself. */
    char full[NPR_FACTORY_MAX + 8];
    int keeps_ids = strstr(factory, "IVF") && !strstr(factory, "RFlat") && !strstr(factory, "Refine");
    snprintf(full, sizeof full, "%s%s", factory, keeps_ids || strstr(factory, "IDMap") ? "" : ",IDMap");
    FaissIndex *index = NULL;
    if (faiss_index_factory(&index, dim, full, METRIC_INNER_PRODUCT))
        return npr_fail(NPR_EUSAGE, "FAISS cannot make an index \"%s\" of %d columns: %s", factory, dim,
                        said());
    return wrap(index, dim, out);
}

npr_status npr_faiss_load(const char *blob, size_t bytes, int dim, const char *origin, npr_faiss **out)
{
    FILE *file = bytes ? fmemopen((void *)(uintptr_t)blob, bytes, "rb") : NULL;
    if (!file) return npr_fail(NPR_EDATA, "%s: an index of %zu bytes cannot be read", origin, bytes);
    FaissIndex *index = NULL;
    npr_heap_ahead(bytes + BESIDE);
    guard(1);
    int rc = faiss_read_index(file, 0, &index);
    guard(0);
    long read = ftell(file);
    (void)fclose(file); /* memory, opened for reading: nothing can be lost */
    if (rc) return npr_fail(NPR_EDATA, "%s: FAISS cannot read the index: %s", origin, said());
    npr_status st = NPR_OK;
    if (read < 0 || (size_t)read != bytes)
        st = npr_fail(NPR_EDATA, "%s: the index ends after %ld of its %zu bytes", origin, read, bytes);
    else if (faiss_Index_d(index) != dim)
        st = npr_fail(NPR_EDATA, "%s: the index has %d columns, emb has %d", origin, faiss_Index_d(index),
                      dim);
    else if (faiss_Index_metric_type(index) != METRIC_INNER_PRODUCT || !faiss_Index_is_trained(index))
        st = npr_fail(NPR_EDATA, "%s: the index is not a trained inner-product index", origin);
    if (!st) return wrap(index, dim, out);
    faiss_Index_free(index);
    return st;
}

npr_status npr_faiss_save(const npr_faiss *f, char **blob, size_t *bytes)
{
    *blob = NULL;
    FILE *file = open_memstream(blob, bytes);
    if (!file) return npr_fail(NPR_EINTERNAL, "out of memory for an index");
    int failed = faiss_write_index(f->index, file);
    if (failed) npr_fail(NPR_EINTERNAL, "FAISS cannot write an index to memory: %s", said());
    if (fclose(file) && !failed) {
        failed = 1;
        npr_fail(NPR_EINTERNAL, "out of memory for an index");
    }
    if (!failed) return NPR_OK;
    free(*blob);
    *blob = NULL;
    return NPR_EINTERNAL;
}

void npr_faiss_free(npr_faiss *f)
{
    if (!f) return;
    faiss_Index_free(f->index);
    free(f);
}

int64_t npr_faiss_rows(const npr_faiss *f)
{
    return faiss_Index_ntotal(f->index);
}

npr_status npr_faiss_add(npr_faiss *f, const float *rows, const int64_t *id, int64_t n, int threads)
{
    if (n == 0) return NPR_OK;
    omp_set_num_threads(threads);
    npr_linalg_threads(1);
    if (faiss_Index_add_with_ids(f->index, n, rows, id))
        return npr_fail(NPR_EINTERNAL, "FAISS cannot add %lld rows: %s", (long long)n, said());
    return NPR_OK;
}

npr_status npr_faiss_set_probes(npr_faiss *f, int nprobe)
{
    FaissParameterSpace *space = NULL;
    if (faiss_ParameterSpace_new(&space))
        return npr_fail(NPR_EINTERNAL, "FAISS cannot set nprobe: %s", said());
    int rc = faiss_ParameterSpace_set_index_parameter(space, f->index, "nprobe", nprobe);
    npr_status st = NPR_OK;
    /* FAISS_EXCEPT is its way to say that this index has no lists to probe. */
    if (rc && rc != FAISS_EXCEPT) st = npr_fail(NPR_EINTERNAL, "FAISS cannot set nprobe: %s", said());
    faiss_ParameterSpace_free(space);
    return st;
}

int npr_faiss_nests(const char *factory)
{
    return strstr(factory, "IVF") && !strstr(factory, "Refine") && !strstr(factory, "RFlat") &&
           !strchr(factory, '+');
}

npr_status npr_faiss_search(const npr_faiss *f, const float *q, int nq, int block, int64_t k, int threads,
                            float *score, int64_t *id, int64_t *scanned)
{
    char text[512] = "";
    int failed = 0;
    npr_linalg_threads(1);
    if (scanned) faiss_IndexIVFStats_reset(faiss_get_indexIVF_stats());
    guard(1);
#pragma omp parallel num_threads(threads)
    {
        omp_set_num_threads(1); /* for FAISS's loops inside this one */
#pragma omp for schedule(dynamic)
        for (int i = 0; i < nq; i += block) {
            int n = nq - i < block ? nq - i : block;
            if (!faiss_Index_search(f->index, n, q + (size_t)i * (size_t)f->dim, k, score + i * k,
                                    id + i * k))
                continue;
#pragma omp critical(npr_faiss_text)
            {
                failed = 1;
                snprintf(text, sizeof text, "%s", said()); /* FAISS keeps it per thread */
            }
        }
    }
    guard(0);
    if (failed) return npr_fail(NPR_EINTERNAL, "FAISS cannot search: %s", text);
    if (scanned) *scanned += (int64_t)faiss_get_indexIVF_stats()->ndis;
    return NPR_OK;
}

/* ---- training ------------------------------------------------------------------------------------ */

int npr_faiss_threads(const char *factory, int threads)
{
    return strstr(factory, "HNSW") ? 1 : threads;
}

int npr_faiss_fill_threads(const char *factory, int threads)
{
    return strstr(factory, "IVF") ? threads : npr_faiss_threads(factory, threads);
}

/* Said before FAISS makes room for lists that it cannot train. */
static npr_status check_lists(const char *factory, int64_t n)
{
    const char *lists = strstr(factory, "IVF");
    long long wanted = lists ? strtoll(lists + 3, NULL, 10) : 0;
    if (wanted <= n) return NPR_OK;
    return npr_fail(NPR_EUSAGE, "%s has %lld lists, which cannot be trained on a sample of %lld rows",
                    factory, wanted, (long long)n);
}

npr_status npr_faiss_check(const char *factory, int dim, int64_t n)
{
    npr_faiss *f = NULL;
    NPR_TRY(check_lists(factory, n));
    NPR_TRY(npr_faiss_make(factory, dim, &f));
    npr_faiss_free(f);
    return NPR_OK;
}

int npr_faiss_open_lists(const char *factory)
{
    int lists = 0, links, end = 0;
    if (strstr(factory, "Refine") || strstr(factory, "RFlat") || strstr(factory, "IDMap")) return 0;
    if (sscanf(factory, "IVF%d%n", &lists, &end) != 1 || lists < 1) return 0;
    if (!strncmp(factory + end, "_HNSW", 5)) {
        int more = 0;
        if (sscanf(factory + end, "_HNSW%d%n", &links, &more) != 1) return 0;
        end += more;
    }
    return factory[end] == ',' ? lists : 0;
}

/* A quantizer that has as many vectors as the index has lists is taken for trained. */
static npr_status give_centroids(npr_faiss *f, const char *factory, const float *centroid, int lists)
{
    FaissIndexIVF *ivf = faiss_IndexIVF_cast(f->index);
    if (!ivf || faiss_IndexIVF_nlist(ivf) != (size_t)lists)
        return npr_fail(NPR_EINTERNAL, "%s: not an index of %d lists to FAISS", factory, lists);
    FaissIndex *quantizer = faiss_IndexIVF_quantizer(ivf);
    if (faiss_Index_add(quantizer, lists, centroid))
        return npr_fail(NPR_EINTERNAL, "%s: FAISS cannot take %d centroids: %s", factory, lists, said());
    return NPR_OK;
}

static npr_status train(npr_faiss *f, const char *factory, const float *rows, int64_t n, char **blob,
                        size_t *bytes)
{
    int rc = faiss_Index_is_trained(f->index) ? 0 : faiss_Index_train(f->index, n, rows);
    if (rc)
        return npr_fail(rc == FAISS_EXCEPT ? NPR_EUSAGE : NPR_EINTERNAL,
                        "FAISS cannot train %s on %lld rows: %s", factory, (long long)n, said());
    NPR_TRY(npr_faiss_save(f, blob, bytes));
    /* Some kinds only encode. Better to hear of it here than when the first part is read. */
    const int64_t id = 0;
    if (n > 0 && npr_faiss_add(f, rows, &id, 1, 1)) {
        free(*blob);
        *blob = NULL;
        return npr_fail(NPR_EUSAGE, "an index \"%s\" cannot hold rows: %s", factory, said());
    }
    return NPR_OK;
}

npr_status npr_faiss_train_codes(const char *factory, int dim, const float *centroid, int lists,
                                 const float *rows, int64_t n, int threads, char **blob, size_t *bytes)
{
    npr_faiss *f = NULL;
    NPR_TRY(npr_faiss_make(factory, dim, &f));
    omp_set_num_threads(threads);
    npr_linalg_threads(1);
    npr_status st = centroid ? give_centroids(f, factory, centroid, lists) : NPR_OK;
    if (!st) st = train(f, factory, rows, n, blob, bytes);
    npr_faiss_free(f);
    return st;
}

npr_status npr_faiss_train(const char *factory, int dim, const float *rows, int64_t n, int threads,
                           char **blob, size_t *bytes)
{
    NPR_TRY(check_lists(factory, n));
    return npr_faiss_train_codes(factory, dim, NULL, 0, rows, n, threads, blob, bytes);
}

/* ---- the flat search, for benchmarks ------------------------------------------------------------- */

struct npr_faiss_flat {
    FaissIndex *index;
};

npr_status npr_faiss_flat_make(const float *rows, int64_t n, int dim, npr_faiss_flat **out)
{
    npr_faiss_flat *f = npr_alloc(1, sizeof *f, "an index");
    if (!f) return NPR_EINTERNAL;
    if (faiss_index_factory(&f->index, dim, "Flat", METRIC_INNER_PRODUCT) ||
        faiss_Index_add(f->index, n, rows)) {
        npr_faiss_flat_free(f);
        return npr_fail(NPR_EINTERNAL, "FAISS cannot make a flat index of %lld rows: %s", (long long)n,
                        said());
    }
    *out = f;
    return NPR_OK;
}

npr_status npr_faiss_flat_search(npr_faiss_flat *f, const float *q, int nq, int k, int threads, float *score,
                                 int64_t *id)
{
    omp_set_num_threads(threads);
    npr_linalg_threads(threads);
    int rc = faiss_Index_search(f->index, nq, q, k, score, id);
    npr_linalg_threads(1);
    if (rc) return npr_fail(NPR_EINTERNAL, "FAISS cannot search: %s", said());
    return NPR_OK;
}

void npr_faiss_flat_free(npr_faiss_flat *f)
{
    if (!f) return;
    if (f->index) faiss_Index_free(f->index);
    free(f);
}

/* Its C interface does not tell: the build does (CMakeLists.txt). */
const char *npr_faiss_version(void)
{
    return "FAISS " NPR_FAISS_VERSION;
}
