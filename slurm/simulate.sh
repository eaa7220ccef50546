#!/bin/bash
# simulate.sh - the collectives of npr on described networks of up to 1,024 nodes (SimGrid), as results/simulated.csv and plots.
#
#   bash slurm/simulate.sh FOLDER [RANKS...]      default 1 4 16 64 256 1024; the last takes minutes
#
# What is simulated: a search of 2.3e9 rows x 512 with 1,000 queries and k = 1,000, a rank per node. The code is the project's
# own (tests/simgrid/merge_mpi.c says how). To fit into one machine's memory each rank has 100 lists of 100 hits on a network of a
# hundredth of the bandwidth and with a hundred times the time per merged hit: by the linear model of both the same times as
# 1,000 x 1,000. Assumed of a node: 64 cores with 75 GFLOP/s of screening each (scan: 2 x 2.3e9 x 512 x 1000 / 4.8e12 = 491
# node-seconds), MERGE_NS nanoseconds per merged hit (default 1: 8 threads at 8 ns, measured with npr-bench).
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tests/simgrid/lib_simgrid.sh
source "$ROOT/tests/simgrid/lib_simgrid.sh"
case ${1:-} in
-h | --help | "") sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit 0 ;;
esac
out=$1
shift
(($#)) || set -- 1 4 16 64 256 1024
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
simgrid_build "$ROOT" "$work"
scan=491 merge_ns=$(awk -v m="${MERGE_NS:-1}" 'BEGIN { print 100 * m }')
[ -s "$out/simulated.csv" ] || echo "network,gbit,ranks,way,merge_s,scan_s,whole_s,bound_s" >"$out/simulated.csv"
for network in fattree dragonfly; do
    for gbit in 100 400; do
        simgrid_platform "$network" "$(awk -v g=$gbit 'BEGIN { print g / 100 }')" >"$work/platform.xml"
        for ranks in "$@"; do
            for way in npr allreduce reduce; do
                ! grep -q "^$network,$gbit,$ranks,$way," "$out/simulated.csv" || continue
                [ "$way" = npr ] || [ "$network$gbit" = fattree100 ] || continue
                line=$(simgrid_run "$work" "$ranks" 100 100 "$way" "$scan" "$merge_ns" 2>/dev/null | grep ^ranks=)
                # twice the lists over one link, and a latency of 1 us on at least two links per message
                awk -v n="$network" -v g="$gbit" -v r="$ranks" '{ for (i = 1; i <= NF; i++) { split($i, p, "="); v[p[1]] = p[2] }
                    for (steps = 0; 2 ^ steps < r; steps++);
                    printf "%s,%d,%d,%s,%s,%s,%s,%.6g\n", n, g, r, v["way"], v["merge_s"], v["scan_s"], v["whole_s"],
                        2 * (r - 1) / r * 24e6 / (g / 8 * 1e9) + 2 * steps * 2e-6 }' <<<"$line" | tee -a "$out/simulated.csv"
            done
        done
    done
done
