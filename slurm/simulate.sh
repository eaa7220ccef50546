#!/bin/bash
# simulate.sh - the collectives of npr on described networks of up to 1,024 nodes (SimGrid), as FOLDER/simulated.csv.
#
#   bash slurm/simulate.sh FOLDER [STUDIES [NETWORKS [RANKS...]]]
#   STUDIES: merge,strong,small,weak,solve,counter,deal   NETWORKS: fattree100,dragonfly400,fattree400,dragonfly100   RANKS: 1 4 16 64 256 1024
#
# Lines that are there already are not made again. A line takes seconds up to 64 ranks; a whole search a minute of one core on 512, almost
# four (and 1.6 GB) on 1,024; about half of that is SMPI making a communicator.
#
#   merge   one merge of 1,000 lists of 1,000 hits; on fattree100 also two MPI operations up to 256 ranks; no time for computing. bound_s:
#           the lists twice over one link (as an allreduce must send them) and a latency of 1 us on two links for each of 2 log2(ranks) messages
#   strong  a search of 2.3e9 x 512 in 2,194 parts, 1,000 queries, k = 1,000: rounds of parts with merges beside them
#   small   the same in 8,774 parts of 2^18 rows: 1,024 nodes then have 8 or 9 each
#   weak    the same with 9 parts (9.4e6 rows) per node
#   solve   sums of 1,000 classes x 512 in double, as npr-solve makes them and every step of a probe does; an agreement
#   counter ten numbers a node from the counter of work, by all nodes as fast as they can: draws_per_s; wait_s: of a node, for all its draws; longest_s: for one
#   deal    a search's 2,194 parts dealt out by the counter, taking half to one and a half times as long: harder than anything npr does with it (npr-search
#           owns parts by number; a part of npr-extract takes tens of seconds). ideal_s: computing of all nodes, evenly spread
#
# A rank per node. The code is the project's own (tests/simgrid/merge_mpi.c says how). To fit into one machine's memory each rank has 100
# lists of 100 hits on a network of a hundredth of the bandwidth and with a hundred times the time per hit: by the linear model of
# both the same times as 1,000 x 1,000. Assumed of a node: 64 cores with 75 GFLOP/s of screening each, so 0.2238 s per part of 2^20 rows
# (PART_S), and MERGE_NS = 1 nanosecond per hit looked at in a merge (8 threads at 8 ns; strong and weak only).
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=slurm/env/local.sh
source "$ROOT/slurm/env/local.sh"
# shellcheck source=tests/simgrid/lib_simgrid.sh
source "$ROOT/tests/simgrid/lib_simgrid.sh"
case ${1:-} in
-h | --help | "") sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit 0 ;;
-*) npr_die 64 "unknown option $1 (see --help)" ;;
esac
out=$1 studies=${2:-merge,strong,small,weak,solve,counter,deal} networks=${3:-fattree100,dragonfly400,fattree400,dragonfly100}
shift $(($# < 3 ? $# : 3))
(($#)) || set -- 1 4 16 64 256 1024
for study in ${studies//,/ }; do
    [[ " merge strong small weak solve counter deal " == *" $study "* ]] || npr_die 64 "unknown study \"$study\" (see --help)"
done
for network in ${networks//,/ }; do
    [[ $network =~ ^(fattree|dragonfly)[1-9][0-9]*$ ]] || npr_die 64 "unknown network \"$network\" (fattree or dragonfly, and Gbit/s)"
done
for ranks in "$@"; do
    [[ $ranks =~ ^[1-9][0-9]{0,3}$ && $ranks -le 1024 ]] || npr_die 64 "\"$ranks\" is no number of ranks from 1 to 1024"
done
mkdir -p "$out" 2>/dev/null || npr_die 73 "$out: cannot make this folder"
csv=$out/simulated.csv
header=study,network,gbit,ranks,way,merge_s,bound_s,bcast_s,exposed_s,whole_s,ideal_s,sums_s,agree_s,draws_per_s,wait_s,longest_s
[ -s "$csv" ] || echo "$header" >"$csv"
[ "$(head -n 1 "$csv")" = "$header" ] || {
    npr_die 65 "$csv has other columns, of another version: wanted \"$header\"; name another folder or remove it"
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset "${!OMPI_@}"
simgrid_build "$ROOT" "$work"
part=${PART_S:-0.2238}
merge_ns=$(awk -v m="${MERGE_NS:-1}" 'BEGIN { print 100 * m }')

# line STUDY NETWORK GBIT RANKS WAY
line() {
    local study=$1 network=$2 gbit=$3 ranks=$4 way=$5 parts=2194 scale=100 seconds=$part args=(merge)
    ! grep -q "^$study,$network,$gbit,$ranks,$way," "$csv" || return 0
    case $study in
    merge) args+=(merge 100 100 "$way" 0) ;;
    strong | small | weak)
        [ "$study" != weak ] || parts=$((9 * ranks))
        [ "$study" != small ] || { parts=8774 && seconds=$(awk -v s="$part" 'BEGIN { print s / 4 }'); }
        args+=(search 100 100 "$parts" "$seconds" "$merge_ns")
        ;;
    solve) args+=(solve) scale=1 ;;
    counter) args=(counter $((10 * ranks)) 0) scale=1 ;;
    deal) args=(counter "$parts" "$part") scale=1 ;;
    esac
    simgrid_platform "$network" "$(awk -v g="$gbit" -v s=$scale 'BEGIN { print g / s }')" >"$work/platform.xml"
    simgrid_run "$work" "$ranks" "${args[@]}" 2>"$work/err" | grep ^ranks= >"$work/line" || { cat "$work/err" >&2 && return 1; }
    awk -v study="$study" -v n="$network" -v g="$gbit" -v r="$ranks" -v way="$way" -v parts="$parts" -v part="$seconds" '{
        for (i = 1; i <= NF; i++) { split($i, p, "="); v[p[1]] = p[2] }
        for (steps = 0; 2 ^ steps < r; steps++);
        bound = study == "merge" ? sprintf("%.6g", 2 * (r - 1) / r * 24e6 / (g / 8 * 1e9) + 2 * steps * 2e-6) : ""
        ideal = study ~ /^(strong|small|weak)$/ ? parts * part / r : v["computed_s"]
        rate = study == "counter" ? sprintf("%.6g", v["draws"] / v["whole_s"]) : ""
        printf "%s,%s,%d,%d,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s\n", study, n, g, r, way, v["merge_s"], bound, v["bcast_s"], v["exposed_s"],
            v["whole_s"], ideal, v["sums_s"], v["agree_s"], rate, v["wait_s"], v["longest_s"] }' "$work/line" | tee -a "$csv"
}

for ranks in "$@"; do
    for network in ${networks//,/ }; do
        for study in ${studies//,/ }; do
            kind=${network%%[0-9]*} gbit=${network##*[a-z]}
            line "$study" "$kind" "$gbit" "$ranks" npr
            if [ "$study" = merge ] && [ "$network" = fattree100 ] && ((ranks <= 256)); then
                line merge "$kind" "$gbit" "$ranks" allreduce
                line merge "$kind" "$gbit" "$ranks" reduce
            fi
        done
    done
done
