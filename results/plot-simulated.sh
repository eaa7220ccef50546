#!/bin/bash
# plot-simulated.sh - simulated.csv (slurm/simulate.sh) as simulated.svg and .png: the merge beside its bound and beside other ways; efficiency of
# the whole search. Needs gnuplot: bash slurm/env/debian.sh --plots
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=results/draw.sh
source ./draw.sh
need_gnuplot
draw simulated 1000 440 11 <<END
set datafile separator ','
set multiplot layout 1,2
set xlabel 'nodes'
set logscale x 2
set xtics (1, 4, 16, 64, 256, 1024)
set xrange [3:1400]
set grid ytics lc rgb '#dddddd'
rows(study, net, gbit, way) = "< grep '^".study.",".net.",".gbit.",[0-9]*,".way.",' simulated.csv | awk -F, '\$4 > 1' | sort -t, -k4n"
set title 'Merge of 1,000 lists of 1,000 hits'
set ylabel 'seconds'
set logscale y
set yrange [3e-4:2]
set format y '10^{%T}'
set key top left
plot rows('merge', 'fattree', '100', 'reduce') using 4:6 with linespoints lc 4 pt 8 title 'MPI reduce and broadcast, fat tree, 100 Gb/s', \
    rows('merge', 'fattree', '100', 'allreduce') using 4:6 with linespoints lc 3 pt 6 title 'MPI allreduce, the same', \
    rows('merge', 'fattree', '100', 'npr') using 4:6 with linespoints lc 1 pt 7 title 'npr, the same', \
    rows('merge', 'dragonfly', '100', 'npr') using 4:6 with linespoints lc 2 pt 5 title 'npr, dragonfly, 100 Gb/s', \
    rows('merge', 'fattree', '100', 'npr') using 4:7 with lines lc 0 dt 2 title 'an allreduce needs, 100 Gb/s', \
    rows('merge', 'fattree', '400', 'npr') using 4:6 with linespoints lc 6 pt 7 title 'npr, fat tree, 400 Gb/s', \
    rows('merge', 'dragonfly', '400', 'npr') using 4:6 with linespoints lc 7 pt 5 title 'npr, dragonfly, 400 Gb/s', \
    rows('merge', 'fattree', '400', 'npr') using 4:7 with lines lc 0 dt 3 title 'an allreduce needs, 400 Gb/s'
set title 'Whole search, 1,000 queries, k = 1,000: efficiency'
set ylabel 'per cent'
unset logscale y
set yrange [60:102]
set format y '%g'
set key bottom left
plot rows('weak', 'fattree', '100', 'npr') using 4:(100 * column(11) / column(10)) with linespoints lc 1 pt 7 title 'weak, fat tree, 100 Gb/s', \
    rows('weak', 'dragonfly', '400', 'npr') using 4:(100 * column(11) / column(10)) with linespoints lc 7 pt 5 title 'weak, dragonfly, 400 Gb/s', \
    rows('strong', 'fattree', '100', 'npr') using 4:(100 * column(11) / column(10)) with linespoints lc 3 pt 6 title 'strong, 2.3e9 rows, fat tree, 100 Gb/s', \
    rows('strong', 'dragonfly', '400', 'npr') using 4:(100 * column(11) / column(10)) with linespoints lc 4 pt 8 title 'strong, dragonfly, 400 Gb/s', \
    rows('small', 'fattree', '100', 'npr') using 4:(100 * column(11) / column(10)) with linespoints lc 2 pt 5 title 'strong, parts of 2^{18}, fat tree, 100 Gb/s', \
    rows('strong', 'fattree', '100', 'npr') using 4:(100 * 2194.0 / column(4) / ceil(2194.0 / column(4))) with lines lc 0 dt 2 title 'strong, parts of 2^{20}: allowed'
END
