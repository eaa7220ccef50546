/* version.c - what --version prints: npr, and the libraries it stands on, each as its home file tells it. */
#include <string.h>

#include "base/digest.h"
#include "base/json.h"
#include "base/linalg.h"
#include "clip/dnn.h"
#include "clip/unicode.h"
#include "clip/vocabulary.h"
#include "io/h5.h"
#include "io/tar.h"
#include "job.h"
#include "npr/image.h"
#include "npr/source.h"
#include "search/faiss/faiss.h"

static const char *(*const library[])(void) = {
    npr_linalg_version,
    npr_dnn_version,
    npr_h5_version,
    npr_faiss_version,
    npr_sqlite_version,
    npr_json_version,
    npr_digest_version,
    npr_jpeg_version,
    npr_tar_version,
    npr_ucs_version,
    npr_vocabulary_zlib_version,
};

void npr_version_print(const char *program, FILE *to)
{
    char mpi[MPI_MAX_LIBRARY_VERSION_STRING];
    int n;
    MPI_Get_library_version(mpi, &n); /* may be called before MPI_Init */
    mpi[strcspn(mpi, ",\n")] = 0;
    fprintf(to, "%s %s\n%s\n", program, NPR_VERSION, mpi);
    for (size_t i = 0; i < NPR_COUNT(library); i++) fprintf(to, "%s\n", library[i]());
}
