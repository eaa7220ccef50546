#!/bin/bash
# faiss.sh - FAISS with its C API and for this kind of CPU, from source, into a folder: what npr wants as FAISS_ROOT.
#
#   bash slurm/env/faiss.sh PREFIX [SOURCE]
#
# SOURCE: an unpacked release; without it the release of VERSION (1.7.3) is fetched from GitHub. Needs a C++17 compiler, cmake and a BLAS
# (BLA_VENDOR, say Intel10_64lp; else OpenBLAS); no root. Ends with the line FAISS_ROOT=PREFIX. CPU: MARCH (x86-64-v3 or -v2 as this CPU has it;
# elsewhere the compiler's own). Where PREFIX is there already, nothing is done.
set -euo pipefail
say() { echo "faiss.sh: $*" >&2; }
die() {
  local code=$1
  shift
  say "$*"
  exit "$code"
}
case ${1:-} in
'' | -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit 0 ;;
esac
prefix=$(realpath -m "$1") source=${2:-} version=${VERSION:-1.7.3}
if [[ -d $prefix ]]; then
  echo "FAISS_ROOT=$prefix"
  exit 0
fi
if [[ -z ${MARCH+set} && $(uname -m) == x86_64 ]]; then
  MARCH=x86-64-v2
  ! grep -qw avx2 /proc/cpuinfo || MARCH=x86-64-v3
fi
mkdir -p "${prefix%/*}" || die 73 "cannot make ${prefix%/*}"
work=$(mktemp -d "$prefix.build-XXXXXX") || die 73 "cannot make a folder in ${prefix%/*}"
trap 'rm -rf "$work"' EXIT

if [[ -z $source ]]; then
  url=https://github.com/facebookresearch/faiss/archive/refs/tags/v$version.tar.gz
  curl -fsSL -o "$work/faiss.tar.gz" "$url" || die 66 "cannot fetch $url: unpack it yourself and give its folder as SOURCE"
  mkdir "$work/source"
  tar -xzf "$work/faiss.tar.gz" -C "$work/source" --strip-components=1
  source=$work/source
fi
[[ -e $source/c_api/CMakeLists.txt ]] || die 66 "$source is no source of FAISS: it has no c_api/CMakeLists.txt"

# A compiler here takes about 1 GiB.
memory=$(awk '/^MemAvailable/ { print int($2 / 1048576) }' /proc/meminfo)
jobs=$(nproc)
((jobs > memory)) && jobs=$((memory > 1 ? memory : 1))
cmake -S "$source" -B "$work/build" -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON -DBUILD_TESTING=OFF \
  -DFAISS_ENABLE_C_API=ON -DFAISS_ENABLE_GPU=OFF -DFAISS_ENABLE_PYTHON=OFF -DFAISS_OPT_LEVEL=generic \
  -DCMAKE_CXX_FLAGS="${MARCH:+-march=$MARCH}" -DBLA_VENDOR="${BLA_VENDOR:-OpenBLAS}" \
  -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON -DCMAKE_INSTALL_RPATH="\$ORIGIN" >&2
cmake --build "$work/build" -j "$jobs" --target faiss_c >&2
out=$work/out
mkdir -p "$out/lib" "$out/include/faiss/c_api"
cp -a "$work"/build/faiss/libfaiss.so* "$work"/build/c_api/libfaiss_c.so* "$out/lib/"
cp "$source/faiss/Index.h" "$out/include/faiss/" # tells its version
(cd "$source/c_api" && find . -name '*.h' -not -path './gpu/*' -exec cp --parents {} "$out/include/faiss/c_api/" \;)

# A library that does not link, load and answer is not worth keeping.
cat >"$work/try.c" <<'END'
#include <faiss/c_api/Index_c.h>
#include <faiss/c_api/index_factory_c.h>
int main(void)
{
    float row[8] = {1, 0, 0, 1, 3, 0, 0, 0}, score;
    idx_t id = -1;
    FaissIndex *index = 0;
    if (faiss_index_factory(&index, 2, "Flat", METRIC_INNER_PRODUCT) || faiss_Index_add(index, 4, row)) return 1;
    return faiss_Index_search(index, 1, row, 1, &score, &id) || id != 2;
}
END
"${CC:-cc}" -o "$work/try" -I"$out/include" "$work/try.c" -L"$out/lib" -Wl,-rpath,"$out/lib" -lfaiss_c -lfaiss
"$work/try" || die 78 "the library that was built does not answer"
mv -T "$out" "$prefix"
echo "FAISS_ROOT=$prefix"
