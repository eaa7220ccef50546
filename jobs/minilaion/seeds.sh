#!/bin/bash
# seeds.sh - how much of what priming does in the painted world is luck: other worlds, other trainings.
#
#   bash jobs/minilaion/seeds.sh WORLD:TRAINING...     for example 1:1 1:2 2:1 3:1, seeds of npr-minilaion and of train.py
#
# For each pair: paint the world, make its vocabulary, train its CLIP (half an hour of one core; README.md says how; 1:1 is the
# one that is here), and run jobs/quickstart.sh with it. Then results/minilaion_seeds.csv (family, row, test set, runs, mean and
# sample deviation of top-1 and of the gain over 20 templates, and each run's gain, in per cent) and minilaion_seeds.png and
# .svg. Running it again only does what is not done. Needs python3-torch, python3-numpy, python3-pil; gnuplot for the pictures.
# Environment: WORK, where worlds and models go (build/seeds); OUT, where results go (results); PYTHON (/usr/bin/python3).
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
ROOT=${HERE%/jobs/minilaion}
# shellcheck source=slurm/env/local.sh
source "$ROOT/slurm/env/local.sh"
# shellcheck source=results/draw.sh
source "$ROOT/results/draw.sh"
WORK=${WORK:-$ROOT/build/seeds} OUT=${OUT:-$ROOT/results} PYTHON=${PYTHON:-/usr/bin/python3}
export BUILD=${BUILD:-$ROOT/build}
case ${1:---help} in
-h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit 0 ;;
esac
for pair in "$@"; do
    [[ $pair =~ ^[0-9]+:[0-9]+$ ]] || npr_die 64 "$pair: wanted WORLD:TRAINING, two seeds such as 2:1"
done

# model FOLDER WORLD TRAINING: the CLIP of a world, in FOLDER
model() {
    local folder=$1 world=$WORK/world-$2
    [ ! -e "$folder/model.safetensors" ] || return 0
    mkdir -p "$folder"
    "$BUILD/npr-minilaion" --seed="$2" --out="$world" --quiet >"$folder/world.txt"
    [ -e "$folder/vocab.txt.gz" ] || "$PYTHON" "$HERE/vocabulary.py" "$world" --out="$folder/vocab.txt.gz"
    MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=10000000000 MALLOC_TOP_PAD_=200000000 "$PYTHON" "$HERE/train.py" "$world" \
        --vocab="$folder/vocab.txt.gz" --out="$folder" --steps=1300 --whole=150 --drop=0.5 --seed="$3"
}

tables=()
for pair in "$@"; do
    world=${pair%:*} training=${pair#*:}
    folder=$WORK/model-$world-$training
    [ "$pair" != 1:1 ] || folder=$HERE
    echo "== world $world, training $training" >&2
    model "$folder" "$world" "$training"
    MODEL=$folder OUT=$WORK/run-$world-$training WORLD_OPTIONS="--seed=$world" bash "$ROOT/jobs/quickstart.sh" >&2
    tables+=("$WORK/run-$world-$training/table.tsv")
done

csv=$OUT/minilaion_seeds.csv
# k of "top k of each class" is chosen by each run on its validation set: one row for all
awk -F'\t' '
    function add(at, x) { sum[at] += x; squares[at] += x * x; runs[at]++; all[at] = all[at] sprintf(" %+.2f", x) }
    function mean(at) { return sum[at] / runs[at] }
    function sd(at) { return runs[at] < 2 ? 0 : sqrt((squares[at] - sum[at] * sum[at] / runs[at]) / (runs[at] - 1)) }
    { sub(/top [0-9]+ of/, "top k of", $2); gsub(/,/, ";", $2); row = $1 "," $2 "," $3
      if (!(row in seen)) { seen[row] = 1; rows[++n] = row }
      add(row "top1", $4); if (NF > 6) add(row "gain", $7) }
    END { print "family,row,set,runs,top1_mean,top1_sd,gain_mean,gain_sd,gains"
          for (i = 1; i <= n; i++) { r = rows[i]; top = r "top1"; gain = r "gain"
              printf "%s,%d,%.2f,%.2f,", r, runs[top], mean(top), sd(top)
              if (gain in runs) printf "%.2f,%.2f,%s\n", mean(gain), sd(gain), substr(all[gain], 2); else print ",," } }
' "${tables[@]}" >"$csv.new"
mv "$csv.new" "$csv"
command -v gnuplot >/dev/null || { echo "no gnuplot: no pictures" >&2 && exit 0; }
# of each run a small mark, of all a large one with one sample deviation
{
    echo "csv = '$csv'"
    cat <<'END'
set datafile separator ","
set multiplot layout 1,2
set xrange [-0.5:3.5]
set xtics ("test" 0, "sketch" 1, "dusk" 2, "smear" 3)
set xzeroaxis lt -1
set ylabel "top-1 against 20 templates, percentage points"
set key bmargin center horizontal samplen 1
at(t) = t eq "test" ? 0 : t eq "sketch" ? 1 : t eq "dusk" ? 2 : 3
of(f, r) = sprintf("< awk -F, '$1 == \"%s\" && $2 == \"%s\"' '%s'", f, r, csv)
single(f, r) = sprintf("< awk -F, '$1 == \"%s\" && $2 == \"%s\" { n = split($9, g, \" \"); for (i = 1; i <= n; i++) print $3 \",\" g[i] }' '%s'", f, r, csv)
array rows[3] = ["primed; argmax filter", "primed; top k of each class", "transductive; weighted (ours)"]
do for [f in "phrases coined"] {
    set title f." (synthetic world)"
    plot for [i=1:3] of(f, rows[i]) using (at(strcol(3)) + 0.2 * i - 0.4):7:8 with yerrorbars pt 7 lc i title rows[i], \
        for [i=1:3] single(f, rows[i]) using (at(strcol(1)) + 0.2 * i - 0.33):2 with points pt 6 ps 0.6 lc i notitle
}
END
} | draw "${csv%.csv}" 800 320 9 || npr_die 74 "gnuplot could not draw ${csv%.csv}"
