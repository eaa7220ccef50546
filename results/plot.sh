#!/bin/bash
# plot.sh - what the records in this folder say, as tables (csv) and pictures (svg, png). Needs gnuplot:
#   bash slurm/env/debian.sh --plots
#
#   npr-bench --what=search --record=results/search-1.txt     one run, one record; several of them give medians
#   npr-bench --rows=1000000 --dim=D --k=K --record=results/million-D-K.txt
#   bash results/plot.sh                                       results/search.csv, search.svg, search.png; million.csv
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=results/draw.sh
source ./draw.sh
need_gnuplot

# medians KEY...: one line per number of queries, the median of each bench.nqN.KEY over all records of npr-bench
medians() {
    awk -F= -v keys="$*" '
        function median(n, i, j, t) { # of v[1..n]
            for (i = 2; i <= n; i++)
                for (j = i; j > 1 && v[j - 1] > v[j]; j--) { t = v[j]; v[j] = v[j - 1]; v[j - 1] = t }
            return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
        }
        $1 ~ /^bench\.nq[0-9]+\./ {
            split($1, name, ".")
            nq = substr(name[2], 3)
            if (!(nq in seen)) { seen[nq] = 1; order[++sizes] = nq }
            value[nq, name[3], ++count[nq, name[3]]] = $2
        }
        END {
            columns = split(keys, key, " ")
            printf "queries,runs"
            for (c = 1; c <= columns; c++) printf ",%s", key[c]
            print ""
            for (s = 1; s <= sizes; s++) {
                printf "%s,%d", order[s], count[order[s], key[1]]
                for (c = 1; c <= columns; c++) {
                    n = count[order[s], key[c]]
                    for (i = 1; i <= n; i++) v[i] = value[order[s], key[c], i] + 0
                    printf ",%.6g", median(n)
                }
                print ""
            }
        }' "${records[@]}"
}

# fact KEY: its value, which must be the same in all records: medians of different things mean nothing
fact() {
    local values
    values=$(sed -n "s/^$1=//p" "${records[@]}" | sort -u)
    [ "$(wc -l <<<"$values")" = 1 ] || { echo "plot.sh: the records differ in $1: $values" >&2 && exit 65; }
    echo "$values"
}

mapfile -t records < <(grep -lx 'option.what=search' search-*.txt 2>/dev/null || true)
((${#records[@]})) || { echo "plot.sh: no record search-*.txt of npr-bench is in $PWD" >&2 && exit 66; }
rows=$(fact option.rows)
dim=$(fact option.dim)
k=$(fact option.k)
threads=$(fact option.threads)
cpu=$(fact run.cpu)
title="$rows x $dim binary16 rows, k = $k, $threads thread(s), $cpu"
medians ours_ms_per_query faiss_ms_per_query ratio share_of_bandwidth share_of_sgemm differences >search.csv

draw search 720 440 12 <<END
set datafile separator ','
set title "Exact search: $title" noenhanced
set xlabel 'queries per batch'
set ylabel 'ms per query (median)'
set logscale xy
set key top right
set grid ytics lc rgb '#dddddd'
set offsets graph 0.05, graph 0.08, graph 0.3, graph 0.1
plot 'search.csv' skip 1 using 1:4 with linespoints lw 2 pt 7 lc rgb '#b04a3a' title 'FAISS IndexFlatIP', \
     '' skip 1 using 1:3 with linespoints lw 2 pt 5 lc rgb '#2b6c99' title 'npr', \
     '' skip 1 using 1:3:(sprintf('%.1fx', \$5)) with labels offset 0,-1 tc rgb '#2b6c99' notitle
END
echo "results: search.csv, search.svg, search.png from ${#records[@]} records"

# a line per record and number of queries
records=(million-*.txt)
[ -e "${records[0]}" ] || exit 0
keys="screen ours_ms_per_query faiss_ms_per_query ratio share_of_bandwidth share_of_sgemm differences"
{
    echo "dim,k,threads,queries,${keys// /,}"
    for r in $(printf '%s\n' "${records[@]}" | sort -V); do
        awk -F= -v keys="$keys" '
            { value[$1] = $2 }
            END {
                columns = split(keys, key, " ")
                sizes = split(value["option.queries"], nq, ",")
                for (s = 1; s <= sizes; s++) {
                    printf "%s,%s,%s,%s", value["option.dim"], value["option.k"], value["option.threads"], nq[s]
                    for (c = 1; c <= columns; c++) printf ",%s", value["bench.nq" nq[s] "." key[c]]
                    print ""
                }
            }' "$r"
    done
} >million.csv
echo "results: million.csv from ${#records[@]} records"
