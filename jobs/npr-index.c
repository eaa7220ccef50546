/* npr-index - build a FAISS index inside every part of a set. The work is npr_index_run() in
 * src/search/faiss/index_mpi.c. */
#include <stdlib.h>

#include "job.h"
#include "npr/search.h"

static const char *set, *factory, *budget;
static int64_t sample = 0, seed = 1, threads = 1;

static npr_opt options[] = {
    {"set", NPR_OPT_TEXT, &set, "DIR", "the set whose parts get an index", 1, 1, 0, 0, 0},
    {"factory", NPR_OPT_TEXT, &factory, "TEXT",
     "FAISS factory string of the index, one per part (inner product): Flat; IVF1024,SQ8;\n"
     "IVF4096,SQfp16; IVF4096,PQ64x4fsr; OPQ64,IVF4096,PQ64np; HNSW32; ...; without it and\n"
     "without --budget: " NPR_FACTORY_DEFAULT,
     0, 1, 0, 0, 0},
    {"budget", NPR_OPT_TEXT, &budget, "BYTES",
     "instead of --factory: the best index that takes at most so many bytes per row of a part,\nall told "
     "(24B; see below)",
     0, 1, 0, 0, 0},
    {"sample", NPR_OPT_INT, &sample, "N",
     "rows to train on, chosen from the whole set by a hash of the id; 0: 64 per list, at least\n"
     "65,536. Memory: each rank holds the chosen rows of its own parts, 2 bytes per value; rank 0\n"
     "also holds, at 6 bytes per value, those that FAISS trains on (all, if FAISS trains the lists)",
     0, 1, 0, 1e9, 0},
    {"seed", NPR_OPT_INT, &seed, "N", "seed of the hash of --sample", 0, 1, 0, 9e15, 0},
    {"threads", NPR_OPT_INT, &threads, "N", "threads per rank", 0, 0, 1, 4096, 0},
};

static const char notes[] =
    "The index is trained once, on a sample of the whole set, and filled part by part. Every part holds\n"
    "its own in the dataset \"index\", as FAISS's own serialised bytes. npr-search --mode=faiss takes\n"
    "candidates from it and scores them exactly, so a coarse index costs recall (which npr-search\n"
    "measures with --recall-queries), never precision. IVFn needs at least 39 n rows of sample.\n"
    "Lists IVFn and IVFn_HNSWm are trained on all ranks and threads; codes, and lists behind a transform\n"
    "(OPQ, PCA), by FAISS on rank 0.\n"
    "Codes PQn are trained much faster as PQnnp (without FAISS's polysemous step, of no use here).\n"
    "\n"
    "Presets of --budget, for parts of 2^20 rows (the lists of a part: sqrt(rows), a power of two; four "
    "times\n"
    "as many and a coarse graph for SQ). Bytes per row hold code, row number and the part's own centroids:\n"
    "  bytes: 512 columns    768   index                   a row's code\n"
    "               18.2    19.2   IVF1024,PQ16x4fsr       8 bytes\n"
    "                  -    23.3   IVF1024,PQ24x4fsr       12 bytes\n"
    "               26.3    27.3   IVF1024,PQ32x4fsr       16 bytes\n"
    "               42.6    43.6   IVF1024,PQ64x4fsr       32 bytes\n"
    "               75.1    76.1   IVF1024,PQ128x4fsr      64 bytes\n"
    "                529     789   IVF4096_HNSW32,SQ8      a byte a column\n"
    "               1041    1557   IVF4096_HNSW32,SQfp16   two bytes a column\n"
    "--dry-run says what was chosen, bytes and memory. OPQ is not among them: its training is long;\n"
    "with --factory it works.\n"
    "Another factory string replaces an index. An interrupted run resumes when the same command is run\n"
    "again, on any number of ranks.\n\n"
    "  mpirun -n 8 npr-index --set=index --budget=27B --threads=8\n"
    "  mpirun -n 8 npr-index --set=index --factory=IVF4096,PQ64x4fsr --threads=8 --dry-run\n";

static npr_status run(const npr_job *job)
{
    npr_index_job j = {.set = set,
                       .factory = factory,
                       .budget = budget,
                       .sample = sample,
                       .seed = (uint64_t)seed,
                       .threads = (int)threads,
                       .dry_run = job->dry_run};
    return npr_index_run(&job->comm, &job->log, job->rec, &j);
}

int main(int argc, char **argv)
{
    static const npr_program program = {.name = "npr-index",
                                        .purpose = "build a FAISS index inside every part of a set",
                                        .notes = notes,
                                        .options = options,
                                        .option_count = NPR_COUNT(options),
                                        .run = run,
                                        .forecasts = 1};
    return npr_program_main(argc, argv, &program);
}
