#!/bin/bash
# nightly.sh - the long tests: every fuzz target (tests/fuzz) for many runs, with AddressSanitizer and UBSan, by clang's libFuzzer.
#
#   bash tests/nightly.sh [--runs=N] [--seed=N] [NAME...]     10^7 runs of each target, or of those named
#   bash tests/nightly.sh captions                            10^7 made-up captions, their tokens compared with SQLite FTS5's
#   bash tests/nightly.sh kill                                100 random kills over all stages, each resumed (tests/jobs/kill.sh)
#   bash tests/nightly.sh slurm                               30 random kills of jobs on a real Slurm: each victim in each stage (tests/slurm/kill.sh)
#   bash tests/nightly.sh cpu                                 the kernels for AVX-512 on an emulated CPU (tests/emulated_cpu.sh)
#
# Interesting inputs are kept in build/fuzz/corpus/NAME for the next night. An input that fails is kept as
# build/fuzz/NAME-*: when its bug is fixed, move it to tests/data/fuzz/NAME, and the suite replays it.
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=slurm/env/local.sh
source "$ROOT/slurm/env/local.sh"

runs=10000000
seed=0
names=()
for arg in "$@"; do
    case $arg in
    --runs=*) runs=${arg#*=} ;;
    --seed=*) seed=${arg#*=} ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit 0 ;;
    -*) npr_die 64 "unknown option $arg (known: --runs, --seed, --help)" ;;
    *) names+=("$arg") ;;
    esac
done

if [ "${names[*]}" = kill ]; then
    npr_prepare --tests
    npr_build "$ROOT/build/test" -DCMAKE_BUILD_TYPE=Release
    NPR_BIN=$ROOT/build/test NPR_SOURCE=$ROOT NPR_KILLS=100 NPR_SEED=${seed/#0/$RANDOM} exec bash "$ROOT/tests/jobs/kill.sh"
fi

if [ "${names[*]}" = slurm ]; then
    npr_prepare --tests
    npr_build "$ROOT/build/test" -DCMAKE_BUILD_TYPE=Release
    NPR_BIN=$ROOT/build/test NPR_SOURCE=$ROOT NPR_KILLS=30 NPR_SEED=${seed/#0/$RANDOM} exec bash "$ROOT/tests/slurm/kill.sh"
fi

if [ "${names[*]}" = cpu ]; then
    exec bash "$ROOT/tests/emulated_cpu.sh"
fi

if [ "${names[*]}" = captions ]; then
    npr_prepare --tests
    npr_build "$ROOT/build/test" -DCMAKE_BUILD_TYPE=Release
    NPR_CAPTIONS=$runs exec "$ROOT/build/test/tests/test_io_captions"
fi

folder=$ROOT/build/fuzz
npr_prepare --fuzz
npr_build "$folder" -DCMAKE_C_COMPILER=clang-14 -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS_DEBUG="-O1 -g" -DNPR_FUZZ=ON
((${#names[@]})) || mapfile -t names < <(sed -n 's/^npr_fuzz(\([a-z_]*\) .*/\1/p' "$ROOT/tests/fuzz/CMakeLists.txt")

failed=()
for name in "${names[@]}"; do
    program=$folder/tests/fuzz/fuzz_$name
    [[ -x $program ]] || npr_die 64 "there is no fuzz target $name"
    mkdir -p "$folder/corpus/$name"
    echo "== $name: $runs runs" >&2
    "$program" -runs="$runs" -seed="$seed" -max_len=4096 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$folder/$name-" "$folder/corpus/$name" "$ROOT/tests/data/fuzz/$name" \
        >"$folder/$name.log" 2>&1 || failed+=("$name")
    grep -E '^(Done|stat::(number_of_executed_units|average_exec|peak_rss))|SUMMARY' "$folder/$name.log" || tail -n 20 "$folder/$name.log"
done

((${#failed[@]} == 0)) || npr_die 1 "failed: ${failed[*]}; their words are in $folder/NAME.log"
