#!/bin/bash
# npr-bench --what=scaling: every point is there with its work, a strong study finds the same pool on all numbers of ranks, twice the rows of a weak one are
# twice the work; and results/plot-scaling.sh makes the table and the pictures.
# shellcheck source=tests/lib.sh
source "$(dirname "$0")/../lib.sh"
cd "$TMP"
value() { sed -n "s/^$1=//p" "$2"; }
mkdir results
must 3 npr-bench --what=scaling --kind=strong --rows=2048 --dim=64 --k=10 --scratch=disk --record=results/scaling-strong.txt
must 3 npr-bench --what=scaling --kind=weak --rows=2048 --dim=64 --k=10 --scratch=disk --record=results/scaling-weak.txt
[ ! -e disk/npr-scaling ] || fail "left behind: $(ls disk/npr-scaling)"
for n in 1 2 3; do
    # 2 x rows x dim x 100 queries
    [ "$(value scaling.strong.$n.work.scan.flops results/scaling-strong.txt)" = $((2 * 3 * 2048 * 64 * 100)) ] ||
        fail "strong, $n: $(grep flops results/scaling-strong.txt)"
    [ "$(value scaling.weak.$n.work.scan.flops results/scaling-weak.txt)" = $((2 * n * 2048 * 64 * 100)) ] ||
        fail "weak, $n: $(grep flops results/scaling-weak.txt)"
done
[ "$(grep '^scaling.strong.*check.pool=' results/scaling-strong.txt | cut -d= -f2 | sort -u | wc -l)" = 1 ] || fail "another pool"
if command -v gnuplot >/dev/null; then
    cp "${NPR_SOURCE:?}"/results/{plot-scaling,draw}.sh results/
    code=0
    bash results/plot-scaling.sh >said 2>&1 || code=$?
    [[ $code == 66 ]] && grep -q "scaling-node.txt is no record" said || fail "without a calibration: $code $(cat said)"
    printf '%s\n' option.what=calibrate calibration.memory_read=2e10 calibration.sgemm=5e10 calibration.part_read=2e9 >results/scaling-node.txt
    bash results/plot-scaling.sh >said 2>&1 || fail "plot-scaling.sh: $(cat said)"
    [ -s results/scaling.svg ] && [ -s results/scaling.png ] && [ "$(wc -l <results/scaling.csv)" = 7 ] || fail "no table or picture: $(cat said)"
    awk -F, '$1 == "strong" && $2 == 1 { exit !($13 == 1 && $14 == 1) }' results/scaling.csv || fail "one rank is its own measure: $(cat results/scaling.csv)"
else
    echo "plot-scaling.sh is not tried: gnuplot is missing" >&2
fi
done_with scaling
