#!/bin/bash
# oracles.sh - the Python that tests compare CLIP with: open_clip 2.22 and what it stands on, at fixed versions.
#
#   bash tests/oracles.sh           make the environment if it is missing; the last line is its python
#   bash tests/oracles.sh --print   print its python, or leave with 77 if it is not there (with NPR_ORACLES=1: make it)
#   ... --faiss                     the same for another one: the newest faiss-cpu, alone with its numpy
#   ... --sklearn                   and one of the newest scikit-learn, alone with what it stands on
#
# It lies outside the tree, in ${NPR_CACHE:-${XDG_CACHE_HOME:-~/.cache}/npr}/oracles (oracles-faiss, oracles-sklearn), over the system's Python 3 with
# Debian's torch and torchvision: nothing npr builds or runs needs it. Packages come from pip's configured index.
set -euo pipefail

PACKAGES=(open_clip_torch==2.22.0 ftfy==6.3.1 regex==2023.8.8 wcwidth==0.2.13 tqdm==4.66.1)
PROBE='
import open_clip
open_clip.tokenizer.SimpleTokenizer().encode("a photo")
open_clip.create_model("ViT-B-32", pretrained=None).encode_text(open_clip.tokenize(["a photo"]))
'

FAISS_PACKAGES=(faiss-cpu) # no version: the peer is the newest release
FAISS_PROBE='import faiss; faiss.index_factory(64, "IVF4,PQ8x4fsr", faiss.METRIC_INNER_PRODUCT)'

SKLEARN_PACKAGES=(scikit-learn)
SKLEARN_PROBE='import sklearn.linear_model, threadpoolctl'

cache=${NPR_CACHE:-${XDG_CACHE_HOME:-${HOME:?is not set; set NPR_CACHE}/.cache}/npr}
root=$cache/oracles what=open_clip option='' system=--system-site-packages dependencies=--no-deps print=0
for arg in "$@"; do
  case $arg in
  --faiss)
    root=$cache/oracles-faiss what=faiss-cpu option=' --faiss' system='' dependencies=''
    PACKAGES=("${FAISS_PACKAGES[@]}") PROBE=$FAISS_PROBE
    ;;
  --sklearn)
    root=$cache/oracles-sklearn what=scikit-learn option=' --sklearn' system='' dependencies=''
    PACKAGES=("${SKLEARN_PACKAGES[@]}") PROBE=$SKLEARN_PROBE
    ;;
  --print) print=1 ;;
  -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit 0 ;;
  *) echo "oracles.sh: unknown option $arg (known: --print, --faiss, --sklearn, --help)" >&2 && exit 64 ;;
  esac
done
python=$root/bin/python

say() { echo "oracles.sh: $*" >&2; }
die() {
  local code=$1
  shift
  say "$*"
  exit "$code"
}

# The file is written last: an environment that has it, with these versions, is whole.
whole() { [[ -x $python && $(cat "$root/packages" 2>/dev/null) == "${PACKAGES[*]}" ]]; }

if ((print)) && ! whole && [[ ${NPR_ORACLES:-0} != 1 ]]; then
  die 77 "no $what to compare with: run bash tests/oracles.sh$option, or set NPR_ORACLES=1"
fi

make_environment() {
  rm -rf "$root"
  /usr/bin/python3 -m venv ${system:+"$system"} "$root"
  "$root/bin/pip" install --quiet --disable-pip-version-check ${dependencies:+"$dependencies"} "${PACKAGES[@]}"
  "$python" -W ignore -c "$PROBE"
  echo "${PACKAGES[*]}" >"$root/packages"
}

if ! whole; then
  modules=venv
  [[ $what != open_clip ]] || modules='torch, torchvision, venv'
  /usr/bin/python3 -c "import $modules" 2>/dev/null ||
    die 78 "missing: apt-get install python3-venv python3-torch python3-torchvision"
  mkdir -p "$cache" || die 73 "cannot make $cache (set NPR_CACHE to a folder that can be written)"
  exec 9>"$cache/lock-$(basename "$root")"
  flock 9
  if ! whole; then # still: the one we waited for may have made it
    log=$root.log
    say "installing ${PACKAGES[*]} (log: $log)"
    set +e # not `if ! (...)`, which would switch off `set -e` inside of the function too
    (set -e; make_environment) >"$log" 2>&1
    status=$?
    set -e
    ((status == 0)) || die 78 "the environment could not be made; the reason is at the end of $log"
  fi
fi
echo "$python"
