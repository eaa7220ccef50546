#!/bin/bash
# quickstart.sh - from a clone to a primed classifier on one Debian 12 machine, in one command.
#
#   bash jobs/quickstart.sh
#
# Installs what is missing, builds into build/, writes the embedded world (SYNTHETIC, see npr-minilaion --help), turns it
# into sets, recalls a priming pool from its captions and primes the text head with it, all on 4 ranks. What it made
# stays in build/quickstart. Running it again only does what is not done. ROWS=1000000 RANKS=8 bash jobs/quickstart.sh
# makes another world, in its own folder.
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=slurm/env/local.sh
source "$ROOT/slurm/env/local.sh"
case ${1:-} in
'') ;;
-h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit 0 ;;
*) npr_die 64 "unknown option $1 (it takes none; see --help)" ;;
esac

RANKS=${RANKS:-4} ROWS=${ROWS:-200000}
OUT=$ROOT/build/quickstart
[ "$ROWS" = 200000 ] || OUT+=-$ROWS
stages=()

# stage NAME PROGRAM OPTIONS...: run it on all ranks. The record of the run that did the work is kept: a run that finds
# all done gives the same results but no times worth telling.
stage() {
    local name=$1 program=$2 code=0 record=$OUT/records/$1.txt log=$OUT/logs/$1.log
    shift 2
    stages+=("$name")
    echo "== $name: $program" >&2
    mpirun -n "$RANKS" "$ROOT/build/$program" "$@" --record="$record.new" 2> >(tee "$log" >&2) || code=$?
    ((code == 0)) || npr_die "$code" "$name failed with exit code $code; what it said is in $log"
    if cmp -s <(facts "$record") <(facts "$record.new"); then
        rm "$record.new"
    else
        mv "$record.new" "$record"
    fi
}

facts() { grep -E '^(option|result|check)\.' "$1" 2>/dev/null || true; }
value() { sed -n "s/^$2=//p" "$OUT/records/$1.txt"; }

echo "== machine: packages and FAISS" >&2
# shellcheck disable=SC2119 # it is called without options
npr_prepare
echo "== build in build/ (a minute or two the first time)" >&2
npr_build "$ROOT/build"
mkdir -p "$OUT/records" "$OUT/logs"

stage world npr-minilaion --embeddings --out="$OUT/world" --rows="$ROWS" --tests=50
made_by=(--model=npr-minilaion) # sets of different models are refused
stage index npr-ingest --kind=index --emb="$OUT/world/img_emb" --meta="$OUT/world/metadata" --part-rows=16384 \
    "${made_by[@]}" --out="$OUT/index"
stage head npr-ingest --kind=head --emb="$OUT/world/text/head.npy" --meta="$OUT/world/text/head.tsv" \
    "${made_by[@]}" --out="$OUT/head"
stage test npr-ingest --kind=test --emb="$OUT/world/test/test.npy" --labels="$OUT/world/test/test_labels.txt" \
    "${made_by[@]}" --out="$OUT/test"
stage search npr-search --mode=caption --index="$OUT/index" --head="$OUT/head" --names="$OUT/world/text/classes.txt" \
    --clip-filter --k=100 --out="$OUT/pool"
stage solve npr-solve --head="$OUT/head" --pool="$OUT/pool" --test="$OUT/test" --alpha=0.5 --sweep \
    --out="$OUT/primed"

# ---- what came out ------------------------------------------------------------------------------------------------

# accuracy LABEL KEY FORMAT: a row of the table, shares as per cent
accuracy() {
    awk -v label="$1" -v format="$3" -v top="$(value solve "result.$2.top1")" -v low="$(value solve "result.$2.low")" \
        -v high="$(value solve "result.$2.high")" \
        'BEGIN { printf "  %-32s" format "   " format " to " format "\n", label, 100 * top, 100 * low, 100 * high }'
}

echo
echo "A SYNTHETIC world of $(value world result.rows) image-text pairs; $(value solve result.classes) classes," \
    "$(value solve result.test_rows) test images of other styles"
echo
echo "                                  top-1 %   95 % interval"
accuracy "text head (zero-shot)" zero_shot "%6.2f"
accuracy "primed, alpha $(value solve result.alpha)" primed "%6.2f"
accuracy "gain" gain "%+6.2f"
echo
echo "  pool: $(value search result.pool_rows) rows out of $(value search result.matched) captions that name a class;" \
    "classes without any: $(value search result.classes_empty)"
printf '  seconds:'
total=0
for name in "${stages[@]}"; do
    seconds=$(value "$name" time.total.max)
    printf ' %s %.1f' "$name" "$seconds"
    total=$(awk "BEGIN { print $total + $seconds }")
done
printf '; together %.1f on %s ranks and %s cores\n' "$total" "$(value solve run.ranks)" "$(nproc)"
echo "  sets, records and logs: ${OUT#"$PWD"/}; the reference's alpha 0.9 and others: result.sweep.* in records/solve.txt"
