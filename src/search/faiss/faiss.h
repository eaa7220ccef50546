/* faiss.h - an index of FAISS in memory, without FAISS's types: what the scanner (scan_faiss.c) and the index
 * builder (faiss_build.c) need. Local. */
#ifndef NPR_SEARCH_FAISS_H
#define NPR_SEARCH_FAISS_H

#include <stddef.h>
#include <stdint.h>

#include "npr/plan.h"
#include "npr/set.h"
#include "npr/status.h"

typedef struct npr_faiss npr_faiss;

enum {
    NPR_FACTORY_MAX = 200
}; /* bytes of a factory string: FAISS parses it by recursive regular expressions */

/* From a factory string (inner product), untrained; from serialised bytes, refused unless they are a trained
 * inner-product index of `dim` columns. `origin` names the bytes in messages. */
npr_status npr_faiss_make(const char *factory, int dim, npr_faiss **out);
npr_status npr_faiss_load(const char *blob, size_t bytes, int dim, const char *origin, npr_faiss **out);

/* Name the part whose index is read and searched next: if FAISS crashes in it (a damaged index whose digest
 * is nevertheless the manifest's), one sentence with this name goes to standard error and the process leaves
 * with NPR_EDATA. Signals are caught in npr_faiss_load() and npr_faiss_search() only. */
void npr_faiss_name(const char *folder, const char *file);

npr_status npr_faiss_save(const npr_faiss *f, char **blob, size_t *bytes); /* release with free() */
void npr_faiss_free(npr_faiss *f);                                         /* NULL is fine */

/* Can an index of this factory string be trained on n rows? Finds most of what is wrong with one, at once. */
npr_status npr_faiss_check(const char *factory, int dim, int64_t n);

/* Lists whose centroids can be given to npr_faiss_train_codes(): of "IVFn,..." and "IVFn_HNSWm,...", which
 * take vectors as they are; 0: there are none. */
int npr_faiss_open_lists(const char *factory);

/* As npr_faiss_train(), but the lists' centroids [lists][dim] are trained already: FAISS trains what encodes
 * rows. */
npr_status npr_faiss_train_codes(const char *factory, int dim, const float *centroid, int lists,
                                 const float *rows, int64_t n, int threads, char **blob, size_t *bytes);

/* Threads that train an index of this factory, and that fill it, to the same bytes as one would: all of
 * `threads`, but one where a graph is made, whose links depend on which thread comes first: of centroids
 * while training, of rows while filling. */
int npr_faiss_threads(const char *factory, int threads);
int npr_faiss_fill_threads(const char *factory, int threads);

int64_t npr_faiss_rows(const npr_faiss *f);

/* Add n float rows [n][dim] under the numbers id[n]. */
npr_status npr_faiss_add(npr_faiss *f, const float *rows, const int64_t *id, int64_t n, int threads);

/* How many lists a query looks into. Nothing happens to an index without lists. */
npr_status npr_faiss_set_probes(npr_faiss *f, int nprobe);

/* Queries are answered together in blocks of so many from the first on (npr_plan_faiss_block()), each on one
 * thread: an answer depends on the index and on the queries of its block, and nothing else. So callers cut
 * batches of queries at multiples of a block only. */
enum { NPR_FAISS_BLOCK = NPR_PLAN_FAISS_BLOCK }; /* the least */

/* The k best rows of each query [nq][dim]: score and id are [nq][k], best first, id -1 where fewer were
 * found. scanned, unless NULL: adds the rows whose codes were compared in inverted lists; wants threads = 1,
 * as FAISS counts for the whole process. */
npr_status npr_faiss_search(const npr_faiss *f, const float *q, int nq, int block, int64_t k, int threads,
                            float *score, int64_t *id, int64_t *scanned);

/* Do the answers of an index of this factory nest: is the answer of k rows the beginning of that of more, but
 * for rows of equal scores? Not where k says how far a graph of rows is searched, or how many rows are
 * refined. */
int npr_faiss_nests(const char *factory);

/* The index inside a part, trained and of the set's columns. */
npr_status npr_faiss_of_part(const npr_set *set, int part, npr_faiss **out);

/* Library name and version, for --version. */
const char *npr_faiss_version(void);

#endif
