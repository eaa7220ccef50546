#!/bin/bash
# plot-scaling.sh - scaling studies of searches in a folder (this one) as scaling.csv, scaling.svg and scaling.png: speed-up, efficiency, roofline,
# share of communication. Needs gnuplot: bash slurm/env/debian.sh --plots
#
#   mpirun -n 64 npr-bench --what=scaling --kind=strong --record=results/scaling-strong.txt      (and weak)
#   mpirun -n 64 npr-bench --what=calibrate --record=results/scaling-node.txt                    the roofline's limits; of a rank
#   bash results/plot-scaling.sh [FOLDER]
#
# FOLDER holds such records or those of `slurm/scaling.sh strong|weak search ...` ($NPR_WORK/scaling/records), and scaling-node.txt. Speed-up is told
# against the point of the fewest ranks.
set -euo pipefail
# shellcheck source=results/draw.sh
source "$(dirname "$0")/draw.sh"
cd "${1:-$(dirname "$0")}"
need_gnuplot
mapfile -t records < <(grep -lx 'option.what=scaling' scaling-*.txt 2>/dev/null || true
    grep -lx 'run.program=npr-search' {strong,weak}-search-*.txt 2>/dev/null || true)
((${#records[@]})) || {
    echo "plot-scaling.sh: no record scaling-*.txt of npr-bench --what=scaling and no KIND-search-N.txt of slurm/scaling.sh is in $PWD" >&2 && exit 66
}
node=scaling-node.txt
grep -qx 'option.what=calibrate' "$node" 2>/dev/null || { echo "plot-scaling.sh: $node is no record of npr-bench --what=calibrate" >&2 && exit 66; }

# A run of its own is a point as those inside of npr-bench's record are.
for record in "${records[@]}"; do
    case $record in
    scaling-*) cat "$record" ;;
    *) sed -n "s/^\(time\|work\|check\)\./scaling.${record%%-*}.$(sed -n 's/^run.ranks=//p' "$record").&/p" "$record" ;;
    esac
done | awk -F= '$1 ~ /^scaling\.(strong|weak)\.[0-9]+\./ {
    split($1, name, ".")
    id = name[2] "," name[3]
    if (!(id in seen)) { seen[id] = 1; order[++n] = id }
    if (!(name[2] in least) || name[3] + 0 < least[name[2]]) least[name[2]] = name[3] + 0
    key = $1
    sub(/^scaling\.[a-z]+\.[0-9]+\./, "", key)
    v[id, key] = $2
} END {
    print "kind,ranks,total_s,scan_min_s,scan_s,slowest,merge_s,merge_exposed_s,pool_s,scan_bytes,scan_flops,merge_bytes,speedup,efficiency,communication"
    for (i = 1; i <= n; i++) {
        id = order[i]
        split(id, part, ",")
        weak = part[1] == "weak"
        first = v[part[1] "," least[part[1]], "time.total.max"]
        speedup = first / v[id, "time.total.max"] * (weak ? part[2] : least[part[1]])
        printf "%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%.4g,%.4g,%.4g\n", id, v[id, "time.total.max"] "", v[id, "time.scan.min"] "", v[id, "time.scan.max"] "",
            v[id, "time.scan.slowest"] "", v[id, "time.merge.max"] "", v[id, "time.merge_exposed.max"] "", v[id, "time.pool.max"] "",
            v[id, "work.scan.bytes"] "", v[id, "work.scan.flops"] "", v[id, "work.merge.bytes"] + 0, speedup, speedup / part[2],
            v[id, "time.merge_exposed.max"] / v[id, "time.total.max"]
    }
}' >scaling.csv
limit() { sed -n "s/^calibration\.$1=//p" "$node"; }
# two points are no curve
line=linespoints
(($(cut -d, -f1 scaling.csv | sort | uniq -c | sort -n | awk 'END { print $1 }') > 2)) || line=points
most=$(cut -d, -f2 scaling.csv | sort -n | tail -1)
draw scaling 900 640 11 <<END
set datafile separator ','
set multiplot layout 2,2 title "Search: $(sed -n 's/^run.cpu=//p' "${records[0]}")" noenhanced
rows(kind) = "< grep '^".kind.",' scaling.csv"
set grid lc rgb '#dddddd'
set key top left box lc rgb '#999999'
set xlabel 'ranks'
set xrange [0.8:1.2*$most]
set logscale x 2
set title 'speed-up'
set logscale y 2
plot x with lines dt 2 lc rgb '#999999' title 'ideal', rows('strong') using 2:13 with $line pt 7 lw 2 lc rgb '#2b6c99' title 'strong', \
    rows('weak') using 2:13 with $line pt 5 lw 2 lc rgb '#b04a3a' title 'weak (work done)'
unset logscale y
set title 'efficiency'
set yrange [0:1.2]
set key bottom left
plot 1 with lines dt 2 lc rgb '#999999' notitle, rows('strong') using 2:14 with $line pt 7 lw 2 lc rgb '#2b6c99' title 'strong', \
    rows('weak') using 2:14 with $line pt 5 lw 2 lc rgb '#b04a3a' title 'weak'
set title 'share of communication that is waited for'
set yrange [0:*]
set offsets 0, 0, graph 0.4, 0 # room for the key
set ytics format '%.2f %%'
set key top left
plot rows('strong') using 2:(100*column(15)) with $line pt 7 lw 2 lc rgb '#2b6c99' title 'strong', \
    rows('weak') using 2:(100*column(15)) with $line pt 5 lw 2 lc rgb '#b04a3a' title 'weak'
set offsets 0, 0, 0, 0
set ytics format '%g'
set title 'roofline of a rank'
set xlabel 'flop per byte read from disk or page cache'
set ylabel 'GFLOP/s'
set xrange [1:1000]
set yrange [1:*]
set logscale xy 10
set key bottom right
low(a, b) = a < b ? a : b
plot low(x * $(limit memory_read) / 1e9, $(limit sgemm) / 1e9) with lines lw 2 title 'memory, sgemm', \
    low(x * $(limit part_read) / 1e9, $(limit sgemm) / 1e9) with lines dt 2 title 'parts read, sgemm', \
    rows('strong') using (column(11)/column(10)):(column(11)/column(5)/column(2)/1e9) with points pt 7 lc rgb '#2b6c99' title 'strong', \
    rows('weak') using (column(11)/column(10)):(column(11)/column(5)/column(2)/1e9) with points pt 5 lc rgb '#b04a3a' title 'weak'
unset multiplot
END
echo "results: scaling.csv, scaling.svg, scaling.png from ${#records[@]} records"
