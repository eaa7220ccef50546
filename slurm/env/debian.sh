#!/bin/bash
# debian.sh - everything npr needs on Debian 12 (bookworm, amd64): packages that are missing, and the C API of FAISS.
#
#   bash slurm/env/debian.sh            install what is missing, build FAISS once; ends with the line FAISS_ROOT=...
#   bash slurm/env/debian.sh --tests    the same, and what the tests compare with (numpy, h5py, sqlite3, ...)
#   bash slurm/env/debian.sh --fuzz     the same, and what tests/nightly.sh builds with (clang)
#   bash slurm/env/debian.sh --emulator  the same, and what tests/emulated_cpu.sh runs (Bochs)
#   bash slurm/env/debian.sh --plots    the same, and what results/*.sh draw with (gnuplot)
#   bash slurm/env/debian.sh --print    only print FAISS_ROOT=..., for: cmake -D "$(bash slurm/env/debian.sh --print)"
#
# Debian's libfaiss-dev has no C API and no AVX2, so faiss.sh builds FAISS from Debian's own source package (about a minute
# on two cores). It is kept outside the tree, in ${NPR_CACHE:-${XDG_CACHE_HOME:-~/.cache}/npr}. Needs root or sudo
# only if packages are missing.
set -euo pipefail

PACKAGES=(build-essential dpkg-dev cmake ninja-build pkg-config git libopenmpi-dev openmpi-bin libhdf5-dev
  libopenblas-pthread-dev libsqlite3-dev libjansson-dev libxxhash-dev libutf8proc-dev zlib1g-dev libjpeg62-turbo-dev
  libarchive-dev libdnnl-dev)
FUZZ_PACKAGES=(clang-14 libclang-rt-14-dev libomp-14-dev)
PLOT_PACKAGES=(gnuplot-nox)
EMULATOR_PACKAGES=(bochs bochs-term bochsbios vgabios isolinux syslinux-common genisoimage busybox-static)
TEST_PACKAGES=(python3-numpy python3-h5py python3-pil python3-scipy sqlite3 xxhash shellcheck slurm-wlm munge procps libsimgrid-dev gnuplot-nox)
VERSION=1.7.3

say() { echo "debian.sh: $*" >&2; }
die() {
  local code=$1
  shift
  say "$*"
  exit "$code"
}

print=0
for arg in "$@"; do
  case $arg in
  --print) print=1 ;;
  --tests) PACKAGES+=("${TEST_PACKAGES[@]}") ;;
  --fuzz) PACKAGES+=("${FUZZ_PACKAGES[@]}") ;;
  --emulator) PACKAGES+=("${EMULATOR_PACKAGES[@]}") ;;
  --plots) PACKAGES+=("${PLOT_PACKAGES[@]}") ;;
  -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit 0 ;;
  *) die 64 "unknown option $arg (known: --tests, --fuzz, --plots, --emulator, --print, --help)" ;;
  esac
done

# ---- where FAISS goes: one build per kind of CPU, as a cluster's nodes may share a home --------------------------
march=x86-64-v2
if /lib64/ld-linux-x86-64.so.2 --help 2>/dev/null | grep -q 'x86-64-v3 (supported'; then march=x86-64-v3; fi
cache=${NPR_CACHE:-${XDG_CACHE_HOME:-${HOME:?is not set; set NPR_CACHE}/.cache}/npr}
root=$cache/faiss-$VERSION-$march
if ((print)); then
  [[ -d $root ]] || die 78 "FAISS is not built yet: run bash $0 first"
  echo "FAISS_ROOT=$root"
  exit 0
fi

# ---- packages -----------------------------------------------------------------------------------------------------
codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release 2>/dev/null || true)
if [[ $codename != bookworm || $(dpkg --print-architecture 2>/dev/null) != amd64 ]]; then
  die 78 "this is not Debian 12 on amd64; install MPI, HDF5, OpenBLAS, SQLite, jansson, xxHash, utf8proc, libjpeg-turbo and" \
    "libarchive your own way and FAISS with slurm/env/faiss.sh, and give FAISS_ROOT to cmake"
fi

installed=$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' "${PACKAGES[@]}" 2>/dev/null || true)
missing=()
for package in "${PACKAGES[@]}"; do
  grep -qx "$package installed" <<<"$installed" || missing+=("$package")
done

install_missing() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}"
}

if ((${#missing[@]})); then
  as_root=()
  if ((EUID != 0)); then
    if ! command -v sudo >/dev/null || ! sudo -v 2>/dev/null; then
      die 78 "packages are missing, and this user is neither root nor may use sudo; ask an administrator for:" \
        "apt-get install ${missing[*]}"
    fi
    as_root=(sudo)
  fi
  say "installing ${missing[*]}"
  log=$(mktemp "${TMPDIR:-/tmp}/npr-apt-XXXXXX.log")
  # An old or empty package list is the usual reason to fail: only then is it worth an update.
  install_missing >"$log" 2>&1 || { "${as_root[@]}" apt-get update -qq && install_missing; } >>"$log" 2>&1 ||
    die 78 "apt-get could not install ${missing[*]}; its words are in $log"
  rm -f "$log"
fi

# ---- FAISS ----------------------------------------------------------------------------------------------------------

# Debian's own source package through apt's own client, with this machine's mirror, keys and proxy, but with lists of
# our own: the system's do not change, and no root is needed. Both formats of sources are read: one-line and deb822.
fetch_source() {
  local apt=$1/apt file
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/parts"
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    if [[ -f $file ]]; then
      sed -nE 's/^[[:space:]]*deb([[:space:]].*[[:space:]]bookworm[[:space:]].*\<main\>)/deb-src\1/p' "$file"
    fi
  done >"$apt/parts/one-line.list"
  for file in /etc/apt/sources.list.d/*.sources; do
    if [[ -f $file ]]; then
      grep -v '^#' "$file" | awk 'BEGIN { RS = ""; ORS = "\n\n" }
        /(^|\n)Types:[^\n]*deb/ && /(^|\n)Suites:[^\n]* bookworm( |\n|$)/ && !/(^|\n)Enabled: *no/ {
          sub(/Types:[^\n]*/, "Types: deb-src"); sub(/Suites:[^\n]*/, "Suites: bookworm"); print }'
    fi
  done >"$apt/parts/deb822.sources"
  local options=(-o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o Dir::Etc::sourcelist=/dev/null
    -o "Dir::Etc::sourceparts=$apt/parts" -o APT::Sandbox::User=root)
  # Another vendor's archive for bookworm may have no sources: what counts is whether FAISS arrives.
  apt-get "${options[@]}" update -qq || true
  (cd "$1" && apt-get "${options[@]}" source -qq "faiss")
  [[ -d $1/faiss-$VERSION ]]
}

build_faiss() {
  MARCH=$march bash "$(dirname "$0")/faiss.sh" "$root" "$1/faiss-$VERSION"
}

if [[ ! -d $root ]]; then
  mkdir -p "$cache" || die 73 "cannot make $cache (set NPR_CACHE to a folder that can be written)"
  exec 9>"$cache/lock"
  flock -n 9 || { say "waiting for another debian.sh that builds FAISS" && flock 9; }
fi
if [[ ! -d $root ]]; then # still: the one we waited for may have built it
  rm -rf "$cache"/build-* "$root".build-*
  work=$(mktemp -d "$cache/build-XXXXXX")
  trap 'rm -rf "$work"' EXIT
  log=$cache/faiss-$march.log
  : >"$log"
  for step in fetch_source build_faiss; do
    say "FAISS $VERSION for $march: $step (log: $log)"
    set +e # not `if ! (...)`, which would switch off `set -e` inside of the function too
    (set -e; "$step" "$work") >>"$log" 2>&1
    status=$?
    set -e
    ((status == 0)) || die 78 "$step failed; the reason is at the end of $log"
  done
fi
echo "FAISS_ROOT=$root"
