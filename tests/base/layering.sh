#!/bin/bash
# The house's rules that a compiler does not see: who may include and call what, sizes, no machine's paths.
# Nothing here fails on grep's "not found": each rule prints what breaks it, and refuse() counts that.
set -u
cd "${NPR_SOURCE:-$(dirname "$0")/../..}" || exit 1
bad=0

# refuse RULE: what comes on standard input breaks it.
refuse() {
    local found
    found=$(cat)
    [ -n "$found" ] || return
    printf 'broken: %s\n%s\n' "$1" "$found" >&2
    bad=1
}

# in_files PATTERN FILES-ARGUMENTS-OF-FIND...: lines of C that match
in_files() {
    local pattern=$1
    shift
    find "$@" -name '*.[ch]' -exec grep -HnE "$pattern" {} + | sort
}

refuse "only src/par, *_mpi.c and jobs/{job,version}.c talk MPI" < <(
    in_files '#include <mpi\.h>|\bMPI_[A-Z][a-z]\w*\(' src jobs include tests |
        grep -vE '^((src|tests)/par/[^:]*|[^:]*_mpi\.[ch]|jobs/(job|version)\.[ch]|include/npr/comm\.h):')

refuse "each third-party header has one home" < <(
    for header in hdf5.h cblas.h jansson.h xxhash.h utf8proc.h zlib.h sqlite3.h jpeglib.h faiss/ archive.h dnnl.h; do
        homes=$(find src include jobs -name '*.[ch]' -exec grep -lE "#include [<\"]$header" {} + | sort)
        [ "$(grep -c . <<<"$homes")" -le 1 ] || echo "$header: in" "$homes"
    done)

# Of src: a folder, and the folders and public headers it may include besides its own.
while read -r folder others headers; do
    refuse "src/$folder includes only $folder $others" < <(
        in_files '#include "' "src/$folder" | grep -vE "#include \"([a-z0-9_]+\.h|($folder|$others)/|npr/($headers)\.h)")
done <<'RULES'
base   base           status|opt
par    base           status|comm|log|record|watchdog|bench
plan   base           status|plan
io     base           status|comm|log|record|set|source|image|plan|bench
search base|io        status|comm|log|record|watchdog|set|source|topk|search|bench|plan
prime  base|io        status|comm|log|record|set|source|prime|bench|plan
clip   base|io        status|comm|log|record|set|source|image|clip|sheet|bench|plan
world  base|io        status|comm|log|record|source|image|minilaion
RULES

refuse "captions know nothing of exact scans and FAISS, exact scans nothing of the others" < <(
    in_files '#include "search/(exact|faiss|bench)/' src/search/caption
    in_files '#include "search/(faiss|caption|bench)/' src/search/exact
    in_files '#include "search/(caption|bench)/' src/search/faiss)

refuse "public headers include the C library and one another only" < <(
    in_files '#include' include | grep -vE '<(stddef|stdint|stdio|stdarg)\.h>|"npr/|comm\.h:[0-9]+:#include <mpi\.h>')

refuse "npr.h, the whole contract, includes every public header" < <(
    for header in include/npr/*.h; do
        [ "$header" = include/npr/npr.h ] || grep -q "^#include \"${header#include/}\"" include/npr/npr.h || echo "$header"
    done)

refuse "CMakeLists.txt, CHANGELOG.md and CITATION.cff tell one version" < <(
    version=$(sed -n 's/^project(npr VERSION \([0-9.]*\) .*/\1/p' CMakeLists.txt)
    [ -n "$version" ] || echo "CMakeLists.txt: no version"
    grep -qx "## $version" CHANGELOG.md || echo "CHANGELOG.md: no ## $version"
    grep -qx "version: \"$version\"" CITATION.cff || echo "CITATION.cff: no version: \"$version\"")

refuse "a file has at most 400 lines" < <(
    find src include jobs tests slurm -type f -exec wc -l {} + | awk '$2 != "total" && $1 > 400' | grep -vE ' tests/data/|\.safetensors$')

refuse "no paths of one machine" < <(
    grep -rnE '(^|[^[:alnum:]_}.])/(home|work|root|Users)/[a-z]' CMakeLists.txt include src jobs tests slurm | grep -v '^tests/base/layering')

[ "$bad" = 0 ] && echo "layering: passed"
