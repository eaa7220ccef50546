#!/bin/bash
# scaling.sh - the same stage on growing numbers of nodes, and its records as a table.
#
#   bash slurm/scaling.sh strong|weak STAGE "1 2 4 ..."    submit the points as a chain of jobs (sites of slurm/site.sh)
#   bash slurm/scaling.sh strong|weak STAGE "1 2 4 ..." --here    run them now, mpirun, the numbers are ranks
#   bash slurm/scaling.sh table FOLDER                      FOLDER/*.txt as a table (csv) on standard output
#
# STAGE: search or (strong only) solve; inputs are the sets of site.sh. strong: the same index for all; weak: point n searches $NPR_WORK/scaling/index-n,
# an index of n times the rows of index-1. Every point writes the record of its program, $NPR_WORK/scaling/records/KIND-STAGE-N.txt: version, host,
# ranks, seconds per phase (least, mean, most, slowest rank), bytes, digests of the result; its outputs are removed. Prints a line per job:
# nodes and job number. Of searches, `bash results/plot-scaling.sh $NPR_WORK/scaling/records` makes scaling.csv and pictures.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

# table FOLDER: one line per record; efficiency against the record of the fewest ranks
table() {
    awk -F= 'FNR == 1 { files[++n] = FILENAME } { v[FILENAME, $1] = $2 } END {
        split("run.version run.host run.ranks run.cores time.total.max time.scan.min time.scan.avg time.scan.max time.scan.slowest " \
              "time.merge.max time.pool.max run.bytes_scanned run.scan_gb_per_s check.pool check.head", key, " ")
        printf "study"
        for (k = 1; k in key; k++) printf ",%s", key[k]
        print ",merge_share"
        for (i = 1; i <= n; i++) {
            f = files[i]
            name = f; sub(/.*\//, "", name); sub(/-[0-9]+\.txt$/, "", name)
            printf "%s", name
            for (k = 1; k in key; k++) printf ",%s", v[f, key[k]]
            total = v[f, "time.total.max"]
            printf ",%.4g\n", (total > 0 ? v[f, "time.merge.max"] / total : 0)
        }
    }' "$1"/*.txt
}

wrong() { # CODE WORDS...
    echo "scaling.sh: ${*:2}" >&2
    exit "$1"
}
case ${1:-} in
table)
    (($# == 2)) || wrong 64 "a table of which folder of records? wanted table FOLDER"
    compgen -G "$2/*.txt" >/dev/null || wrong 66 "$2: no record is there (*.txt)"
    table "$2" && exit 0
    ;;
strong | weak) ;;
-h | --help | '') sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit 0 ;;
*) wrong 64 "unknown study \"$1\" (known: strong weak table; see --help)" ;;
esac
# shellcheck source=slurm/common.sh
source "$here/common.sh"
kind=$1 stage=${2:-} points=${3:-} launch=${4:-}
[ -n "$stage" ] || npr_fail 64 "scaling of which stage? (known: search solve)"
[ "${*:4}" = "" ] || [ "${*:4}" = --here ] || npr_fail 64 "\"${*:4}\" is unknown (known: --here)"
[ "$kind $stage" != "weak solve" ] || npr_fail 64 "solve has no weak scaling: its sets are the same for all points (known: weak search)"
npr_make_work
mkdir -p "$NPR_WORK/scaling/records"
(($(wc -w <<<"$points"))) || npr_fail 64 "which numbers of nodes? say \"1 2 4\""

# point N: the command of a point, as words in `command`; what it writes in `out`
point() {
    local n=$1 index=$NPR_WORK/index
    out=$NPR_WORK/scaling/$kind-$stage-$n
    [ "$kind" = strong ] || index=$NPR_WORK/scaling/index-$n
    case $stage in
    search) command=(npr-search --index="$index" --head="$NPR_WORK/head" --names="$NPR_CLASSES" "${NPR_SEARCH_OPTIONS[@]}") ;;
    solve) command=(npr-solve --head="$NPR_TOWER/head" --pool="$NPR_TOWER/pool" --test="$NPR_TOWER/test" "${NPR_SOLVE_OPTIONS[@]}") ;;
    *) npr_fail 64 "scaling of \"$stage\" (known: search solve)" ;;
    esac
    command+=(--threads="$NPR_CORES_PER_RANK")
    [[ $n =~ ^[1-9][0-9]*$ ]] || npr_fail 64 "\"$n\" is no number of nodes"
    if [ "$kind" = weak ] && [ "$stage" = search ] && [ ! -e "$index/manifest.json" ]; then
        npr_fail 66 "weak scaling wants the index $index of $n times the rows of index-1: make it with npr-minilaion and npr-ingest"
    fi
}

for n in $points; do point "$n"; done # all are right before the first is queued
after=()
[ "$launch" != --here ] || npr_load
for n in $points; do
    point "$n"
    if [ "$launch" = --here ]; then
        rm -rf "$out"
        mpirun -n "$n" "${NPR_PREFIX[@]}" "$NPR_BIN/${command[0]}" "${command[@]:1}" --out="$out" --record="$NPR_WORK/scaling/records/$kind-$stage-$n.txt"
        rm -rf "$out"
        continue
    fi
    job=$(npr_submit --job-name="npr-$kind-$stage-$n" --nodes="$n" --exclusive "${after[@]}" "$NPR_ROOT/slurm/scaling.sbatch" \
        "$kind-$stage-$n" "$out" "${command[@]}")
    echo "$n $job"
    after=(--dependency="afterany:$job") # one after the other: points must not disturb one another
done
