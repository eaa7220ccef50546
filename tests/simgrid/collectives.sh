#!/bin/bash
# The collectives of npr on simulated networks of up to 16 nodes: right answers, and the merge within twice what latency and bandwidth
# allow. The study on up to 1,024 nodes is slurm/simulate.sh; its results are in results/.
# shellcheck source=tests/lib.sh
source "$(dirname "$0")/../lib.sh"
((!SANITIZED)) || { echo "collectives: smpicc builds them anew, without sanitizers" && exit 77; }
command -v smpicc >/dev/null || { echo "skipped: SimGrid is not installed (slurm/env/debian.sh --tests)" && exit 77; }
# shellcheck source=tests/simgrid/lib_simgrid.sh
source "${NPR_SOURCE:?}/tests/simgrid/lib_simgrid.sh"
unset "${!OMPI_@}"
simgrid_build "$NPR_SOURCE" "$TMP" >"$TMP/err" 2>&1 || { cat "$TMP/err" >&2 && exit 1; }
for network in fattree dragonfly; do
    simgrid_platform "$network" 1 >"$TMP/platform.xml" # each hit stands for a hundred on 100 Gb/s
    for ranks in 1 3 7 16; do
        for way in npr allreduce sums; do
            simgrid_run "$TMP" "$ranks" 40 50 "$way" 1 500 >"$TMP/out" 2>"$TMP/err" || fail "$network, $ranks ranks, $way: $(tail -3 "$TMP/err")"
            grep -q "^ranks=$ranks " "$TMP/out" || fail "$network, $ranks ranks, $way: $(cat "$TMP/out")"
        done
    done
    simgrid_run "$TMP" 16 400 50 npr 1 0 >"$TMP/out" 2>/dev/null
    # 400 x 50 hits of 24 bytes twice at 0.125 GB/s, and 8 steps of at most 5 us
    awk -F'merge_s=' '{ split($2, s, " "); bound = 2 * 15 / 16 * 400 * 50 * 24 / 0.125e9 + 8 * 5e-6
        printf "%.3f of the bound\n", s[1] / bound; exit !(s[1] < 2 * bound) }' "$TMP/out" || fail "$network: merge: $(cat "$TMP/out")"
done
done_with simgrid
