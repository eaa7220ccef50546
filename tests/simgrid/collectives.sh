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
    for ranks in 1 3 16; do
        for what in "merge 40 50 npr 500" "search 40 50 $((ranks * 5 + 1)) 0.2 500" solve; do
            read -ra args <<<"$what"
            simgrid_run "$TMP" "$ranks" merge "${args[@]}" >"$TMP/out" 2>"$TMP/err" || fail "$network, $ranks ranks, $what: $(tail -3 "$TMP/err")"
            grep -q "^ranks=$ranks " "$TMP/out" || fail "$network, $ranks ranks, $what: $(cat "$TMP/out")"
            # six parts of 0.2 s on the rank that has most, and almost nothing beside
            [[ $what != search* ]] || awk -F'whole_s=' '{ exit !($2 > 1.2 && $2 < 1.2 * 1.02) }' "$TMP/out" || fail "$network: $(cat "$TMP/out")"
        done
        # each number once, and none takes longer than its way there and back, twice 4 links, behind all others
        simgrid_run "$TMP" "$ranks" counter 50 0 >"$TMP/out" 2>"$TMP/err" || fail "$network, $ranks ranks, counter: $(tail -3 "$TMP/err")"
        awk -v n="$ranks" -F'whole_s=' '{ exit !($2 > 0 && $2 < (50 + n) * 8 * 1.1e-6) }' "$TMP/out" || fail "$network: counter: $(cat "$TMP/out")"
    done
    simgrid_run "$TMP" 16 merge merge 400 50 npr 0 >"$TMP/out" 2>/dev/null
    # what an allreduce of 400 x 50 hits of 24 bytes at 0.125 GB/s takes, and 8 steps of at most 5 us: floors save up to half of that
    awk -F'merge_s=' '{ split($2, s, " "); bound = 2 * 15 / 16 * 400 * 50 * 24 / 0.125e9 + 8 * 5e-6
        printf "%.3f of the bound\n", s[1] / bound; exit !(s[1] < 1.2 * bound) }' "$TMP/out" || fail "$network: merge: $(cat "$TMP/out")"
done
done_with simgrid
