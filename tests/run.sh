#!/bin/bash
# run.sh - set up, build and run every test of npr on one machine; ends with ctest's summaries.
#
#   bash tests/run.sh            a build with warnings as errors, then one with AddressSanitizer and UBSan
#   bash tests/run.sh --quick    the first only
#
# Builds are kept in build/test and build/sanitize, so a second run is quick.
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=slurm/env/local.sh
source "$ROOT/slurm/env/local.sh"

quick=0
for arg in "$@"; do
    case $arg in
    --quick) quick=1 ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit 0 ;;
    *) npr_die 64 "unknown option $arg (known: --quick, --help)" ;;
    esac
done

npr_prepare --tests

# Tests write and sync thousands of small files; in memory they wait for no disk. Not where memory is short, or nothing may be run from there.
room() {
    [ -d /dev/shm ] || return
    (($(df --output=avail -k /dev/shm | tail -n 1) > 4 << 20)) && (($(awk '/^MemAvailable/ { print $2 }' /proc/meminfo) > 8 << 20)) &&
        (($(grep -hsx '[0-9]*' /sys/fs/cgroup/memory.max || echo $((1 << 62))) > 8 << 30)) # of a container; "max" or none: no limit
}
memory='' building=''
trap '[ -z "$building" ] || kill -- "-$building" 2>/dev/null || true; [ -z "$memory" ] || rm -rf "$memory"' EXIT
if [ -z "${TMPDIR:-}" ] && room; then
    for old in /dev/shm/npr-[0-9]*-*; do # of a run that was killed
        process=${old#*/npr-}
        [ ! -d "$old" ] || [ -e "/proc/${process%%-*}" ] || rm -rf "$old"
    done
    memory=$(mktemp -d "/dev/shm/npr-$$-XXXXXX")
    install -m 755 /dev/stdin "$memory/try" <<<'#!/bin/bash'
    ! "$memory/try" 2>/dev/null || export TMPDIR=$memory
fi

# build NAME CMAKE-OPTIONS...: in build/NAME
build() {
    echo "== $1: building" >&2
    npr_build "$ROOT/build/$1" "${@:2}"
}

# suite NAME: run what ctest finds in build/NAME; the summary goes to `summaries`.
summaries=()
failed=0
suite() {
    local name=$1 folder=$ROOT/build/$1 code=0
    echo "== $name: testing" >&2
    # two more than cores, since much of the tests' time is waiting
    ctest --test-dir "$folder" -j "$(($(nproc) + 2))" --output-on-failure | tee "$folder/ctest.log" || code=$?
    summaries+=("$name: $(grep -E 'tests passed|No tests' "$folder/ctest.log" || echo "ctest ended with $code")")
    ((code == 0)) || failed=1
}

build test -DCMAKE_BUILD_TYPE=Release -DNPR_WERROR=ON
if ((!quick)); then
    # in the time that the first suite waits: tests come first
    set -m # a group of processes of its own, to be ended together
    (
        renice -n 19 -p "$BASHPID" >/dev/null
        build sanitize -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS_DEBUG="-O1 -g" -DNPR_WERROR=ON -DNPR_SANITIZE=ON
    ) &
    building=$!
    set +m
fi
suite test
if ((!quick)); then
    built=0
    wait "$building" || built=$?
    building=
    if ((built == 0)); then suite sanitize; else failed=1 && summaries+=("sanitize: not built, see build/sanitize/build.log"); fi
fi

echo
printf '%s\n' "${summaries[@]}"
exit "$failed"
