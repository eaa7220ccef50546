#!/bin/bash
# scaling.sh - the same stage on growing numbers of nodes, and its records as a table.
#
#   bash slurm/scaling.sh strong|weak STAGE "1 2 4 ..."    submit the points as a chain of jobs (sites of slurm/site.sh)
#   bash slurm/scaling.sh strong|weak STAGE "1 2 4 ..." --here    run them now, mpirun, the numbers are ranks
#   bash slurm/scaling.sh table FOLDER                      FOLDER/*.txt as a table (csv) on standard output
#
# STAGE: search or solve; inputs are the sets of site.sh, results go to $NPR_WORK/scaling. strong: the same index for all; weak: point
# n searches $NPR_WORK/scaling/index-n, an index of n times the rows of index-1. Every point leaves the record of its program: version, host, ranks, seconds per phase (least, mean, most, slowest rank), bytes, digests of the result.
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
            printf ",%.4g\n", total > 0 ? v[f, "time.merge.max"] / total : 0
        }
    }' "$1"/*.txt
}

case ${1:-} in
table) table "${2:?a folder of records}" && exit 0 ;;
strong | weak) ;;
*) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit 0 ;;
esac
# shellcheck source=slurm/common.sh
source "$here/common.sh"
kind=$1 stage=${2:?which stage} points=${3:?numbers of nodes} launch=${4:-}
npr_make_work
mkdir -p "$NPR_WORK/scaling"

# point N: the command of a point, as words in `command`
point() {
    local n=$1 index=$NPR_WORK/index
    [ "$kind" = strong ] || index=$NPR_WORK/scaling/index-$n
    case $stage in
    search) command=(npr-search --index="$index" --head="$NPR_WORK/head" --names="$NPR_CLASSES" --out="$NPR_WORK/scaling/$kind-pool-$n"
        --threads="$NPR_CORES_PER_RANK" "${NPR_SEARCH_OPTIONS[@]}") ;;
    solve) command=(npr-solve --head="$NPR_WORK/head" --pool="$NPR_WORK/pool" --test="$NPR_WORK/test"
        --out="$NPR_WORK/scaling/$kind-head-$n" --threads="$NPR_CORES_PER_RANK" "${NPR_SOLVE_OPTIONS[@]}") ;;
    *) npr_fail 64 "scaling of \"$stage\" (known: search solve)" ;;
    esac
    command+=(--record="$NPR_WORK/scaling/$kind-$stage-$n.txt" --watchdog="$NPR_WATCHDOG")
    # a point is measured once more from nothing, not taken from an earlier run
    rm -rf "$NPR_WORK/scaling/$kind"-{pool,head}-"$n"
}

after=()
for n in $points; do
    point "$n"
    if [ "$kind" = weak ] && [ ! -e "$NPR_WORK/scaling/index-$n/manifest.json" ]; then
        npr_fail 66 "weak scaling wants the index $NPR_WORK/scaling/index-$n of $n times the rows of index-1: make it with npr-minilaion and npr-ingest"
    fi
    if [ "$launch" = --here ]; then
        mpirun -n "$n" "$NPR_BIN/${command[0]}" "${command[@]:1}"
        continue
    fi
    job=$(sbatch --parsable --job-name="npr-$kind-$n" --nodes="$n" --ntasks-per-node="$NPR_RANKS_PER_NODE" \
        --cpus-per-task="$NPR_CORES_PER_RANK" --time="$NPR_TIME" --exclusive --output="$NPR_WORK/logs/%x-%j.log" \
        ${NPR_ACCOUNT:+--account="$NPR_ACCOUNT"} ${NPR_PARTITION:+--partition="$NPR_PARTITION"} "${NPR_SBATCH[@]}" "${after[@]}" \
        --export="ALL,NPR_SLURM=$here" --wrap="source '$here/common.sh'; npr_modules; npr_step $(printf '%q ' "${command[@]}")")
    echo "$n ${job%%;*}"
    after=(--dependency="afterany:${job%%;*}") # one after the other: points must not disturb one another
done
