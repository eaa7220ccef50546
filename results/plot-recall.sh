#!/bin/bash
# plot-recall.sh - recall and speed of searches through FAISS indexes, from records, as a table and pictures, and what
# that says about 2.3 billion rows. Needs gnuplot (bash slurm/env/debian.sh --plots).
#
#   npr-search --mode=faiss ... --nprobe=16 --record=results/recall-43-16-64.txt   one for each point
#   bash results/plot-recall.sh                     results/recall.csv, recall.svg, recall.png
#
# Extrapolated, not measured: with the lists of a part as they are, a query compares the same share of the rows, so its
# time grows with the rows: queries/s at 2.3e9 rows = measured x rows / 2.3e9, on as many cores as were measured on.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=results/draw.sh
source ./draw.sh
need_gnuplot
mapfile -t records < <(grep -lx 'option.mode=faiss' recall-*.txt 2>/dev/null || true)
((${#records[@]})) || { echo "plot-recall.sh: no record recall-*.txt of npr-search --mode=faiss is in $PWD" >&2 && exit 66; }

# fact FILE KEY: its value; a record without it is no record of such a search
fact() {
    sed -n "s/^$2=//p" "$1" | grep . || { echo "plot-recall.sh: $1 has no $2" >&2 && exit 65; }
}

{
    echo "rows,index,k,ranks,threads,nprobe,refine,recall_at_1,recall_at_10,recall_at_k,scanned_share,queries_per_s,extrapolated_queries_per_s_2.3e9"
    for r in "${records[@]}"; do
        rows=$(fact "$r" result.index_rows)
        speed=$(fact "$r" run.queries_per_s)
        nprobe=$(fact "$r" option.nprobe)
        refine=$(fact "$r" option.refine)
        ! grep -q '^result.tuned_nprobe=' "$r" || nprobe=$(fact "$r" result.tuned_nprobe) refine=$(fact "$r" result.tuned_refine)
        printf '%s,"%s",%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s\n' "$rows" "$(fact "$r" result.index)" "$(fact "$r" option.k)" "$(fact "$r" run.ranks)" \
            "$(fact "$r" option.threads)" "$nprobe" "$refine" "$(fact "$r" result.recall_at_1)" "$(fact "$r" result.recall_at_10)" \
            "$(fact "$r" result.recall_at_k)" "$(fact "$r" result.scanned_share)" "$speed" "$(awk "BEGIN { printf \"%.4g\", $speed * $rows / 2.3e9 }")"
    done | sort -t, -k8,8n -k7,7n
} >recall.csv

# one series for each index, probes and refine beside each point
[ "$(for r in "${records[@]}"; do echo "$(fact "$r" result.index_rows) $(fact "$r" option.k)"; done | sort -u | wc -l)" = 1 ] ||
    { echo "plot-recall.sh: the records differ in rows or k: one picture cannot show them" >&2 && exit 65; }
mapfile -t indexes < <(for r in "${records[@]}"; do fact "$r" result.index; done | sort -uV)
colours=('#2b6c99' '#b5532a' '#3d7d3d' '#7a4a8c')
series=()
for i in "${!indexes[@]}"; do
    rows="'<grep -F \"\\\"${indexes[i]}\\\"\" recall.csv'" colour=${colours[i % ${#colours[@]}]}
    series+=("$rows using 10:12 with points ps 1.4 pt $((5 + 2 * i)) lc rgb '$colour' title '${indexes[i]}' noenhanced")
    series+=("$rows using 10:12:(sprintf('%d/%d', \$6, \$7)) with labels rotate by 45 left offset 0.3,0.4 tc rgb '$colour' notitle")
done
title="$(fact "${records[0]}" result.index_rows) made-up rows, k = $(fact "${records[0]}" option.k); labels: probes/refine"
draw recall 720 440 12 <<END
set datafile separator ','
set title "$title" noenhanced
set xlabel 'recall\@k'
set ylabel 'queries per second'
set logscale y
set yrange [10:600]
set xrange [0.3:1.05]
set key bottom left
set grid
plot $(printf '%s, ' "${series[@]}" | sed 's/, $//')
END
echo "results: recall.csv, recall.svg, recall.png from ${#records[@]} records"
