#!/bin/bash
# plot-simulated.sh - simulated.csv (slurm/simulate.sh) as simulated.svg and .png: time of the merge against nodes, per way and network, and
# the bound. Needs gnuplot: bash slurm/env/debian.sh --plots
set -euo pipefail
cd "$(dirname "$0")"
command -v gnuplot >/dev/null || { echo "plot-simulated.sh: gnuplot is missing (bash slurm/env/debian.sh --plots)" >&2 && exit 78; }
for terminal in "svg size 720,440 dynamic background '#ffffff'" "pngcairo size 1080,660"; do
    name=${terminal%% *}
    gnuplot <<END
set terminal $terminal font 'sans,$([ "$name" = svg ] && echo 12 || echo 15)'
set output 'simulated.$([ "$name" = svg ] && echo svg || echo png)'
set datafile separator ','
set title 'Merge of 1,000 lists of 1,000 hits, simulated, fat tree of 100 Gb/s'
set xlabel 'nodes'
set ylabel 'seconds'
set logscale xy
set format y '10^{%T}'
set key top left
file = 'simulated.csv'
way(w) = "< grep '^fattree,100,' simulated.csv | grep ',".w.",' | awk -F, '\$3 > 1' | sort -t, -k3n"
plot way('reduce') using 3:5 with linespoints title 'MPI reduce and broadcast', \
    way('allreduce') using 3:5 with linespoints title 'MPI allreduce', \
    way('npr') using 3:5 with linespoints title 'npr: recursive halving, nearest first', \
    way('npr') using 3:8 with lines dashtype 2 title 'latency and bandwidth allow', \
    way('npr') using 3:(0.02 * column(6)) with lines dashtype 3 title '2 % of the scan'
END
done
