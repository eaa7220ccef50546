#!/bin/bash
# quickstart.sh - from a clone to primed classifiers on one Debian 12 machine, in one command.
#
#   bash jobs/quickstart.sh
#
# Installs what is missing, builds into build/, paints a world of pictures and captions (SYNTHETIC, see npr-minilaion
# --help), turns it into features with the small CLIP in jobs/minilaion, recalls priming pools by caption, filters them,
# primes the text heads of two families of classes, and compares their accuracy with alternatives on four test sets.
# Everything is kept in build/quickstart: world, sets, records, logs, table.tsv, plot.png, plot.svg, sheet.png. A second
# run does only what is missing. Environment: RANKS of the long stages (4); OUT, where to work; WORLD_OPTIONS, more options
# of npr-minilaion; MODEL, a folder with the CLIP of that world (model.safetensors, config.json, vocab.txt.gz); BUILD, a folder
# with npr's programs: then nothing is installed or built.
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=slurm/env/local.sh
source "$ROOT/slurm/env/local.sh"
# shellcheck source=jobs/stage.sh
source "$ROOT/jobs/stage.sh"
# shellcheck source=results/draw.sh
source "$ROOT/results/draw.sh"
case ${1:-} in
'') ;;
-h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit 0 ;;
*) npr_die 64 "unknown option $1 (it takes none; see --help)" ;;
esac

RANKS=${RANKS:-4}
OUT=${OUT:-$ROOT/build/quickstart} BIN=${BUILD:-$ROOT/build}
read -ra WORLD <<<"${WORLD_OPTIONS:-}"
TESTS=(test sketch dusk smear)
KEEP=(10 15 20 25 30) # per class: which is best is chosen on the validation set
MODEL=${MODEL:-$ROOT/jobs/minilaion}
npr_whole RANKS
for file in model.safetensors config.json vocab.txt.gz; do
    [ -r "$MODEL/$file" ] || npr_die 66 "MODEL=$MODEL: has no $file"
done
mkdir -p "$OUT" 2>/dev/null || npr_die 73 "OUT=$OUT: cannot make this folder"
model=(--model="$MODEL/model.safetensors" --config="$MODEL/config.json")

# ---- the chain, for one family of classes -------------------------------------------------------------------------

# text FAMILY NAME SOURCE...: a text head
text() {
    local f=$1 name=$2
    shift 2
    stage 1 "$f/$name" npr-extract --classes="$OUT/world/$f/classes.txt" "$@" "${model[@]}" \
        --vocab="$MODEL/vocab.txt.gz" --out="$OUT/$f/$name"
}

# recall FAMILY NAME FILTER...: a pool of the rows whose captions name a class
recall() {
    local f=$1 name=$2
    shift 2
    stage 1 "$f/$name" npr-search --mode=caption --index="$OUT/index" --head="$OUT/$f/text" --k=1000000 \
        --names="$OUT/world/$f/classes.txt" "$@" --out="$OUT/$f/$name"
}

# prime FAMILY NAME POOL TEST OPTIONS...: a head from the pool, with the alpha that is best on the validation set, tried on
# a test set
prime() {
    local f=$1 name=$2 pool=$3 test=$4
    shift 4
    stage 1 "$f/$name-$test" npr-solve --head="$OUT/$f/text" --pool="$OUT/$f/$pool" --test="$OUT/$f/$test" --alpha=val \
        --validation="$OUT/$f/val" "$@" --out="$OUT/$f/$name"
}

# near FAMILY NAME FILTER...: for validation and test sets a pool of the rows nearest to their images, of which no label is known
near() {
    local f=$1 name=$2 t
    shift 2
    for t in val "${TESTS[@]}"; do
        stage 1 "$f/$name-$t" npr-search --mode=exact --index="$OUT/$f/all" --queries="$OUT/$f/$t" --pool=row --k=10 \
            --head="$OUT/$f/text" "$@" --out="$OUT/$f/$name-$t"
    done
}

# transductive FAMILY NAME NEAR WEIGHT: priming with these: a recalled row counts once (rows: the paper's) or as often as it was
# recalled (count: ours). alpha is the one that does best when the validation set's images are used in the same way.
transductive() {
    local f=$1 name=$2 near=$3 t alpha solve
    solve=(npr-solve --head="$OUT/$f/text" --weight="$4")
    stage 1 "$f/$name-val" "${solve[@]}" --pool="$OUT/$f/$near-val" --alpha=val --validation="$OUT/$f/val" --out="$OUT/$f/$name-val"
    alpha=$(value "$f/$name-val" result.alpha)
    for t in "${TESTS[@]}"; do
        stage 1 "$f/$name-$t" "${solve[@]}" --pool="$OUT/$f/$near-$t" --alpha="$alpha" --test="$OUT/$f/$t" --out="$OUT/$f/$name-$t"
    done
}

# Which number of rows per class did best on the validation set, with its best alpha; ties to the larger.
best_keep() {
    local k
    for k in "${KEEP[@]}"; do
        sed -n "s/^result\.validation\.[0-9.]*=/$k /p" "$OUT/records/$1/top$k-primed-test.txt"
    done | sort -k2,2gr -k1,1gr | sed -n '1s/ .*//p'
}

family() {
    local f=$1 k t templates=$OUT/world/templates.txt
    text "$f" one --templates="$ROOT/jobs/minilaion/template.txt"
    text "$f" text --templates="$templates"
    text "$f" cupl --prompts="$OUT/world/$f/prompts.json"
    text "$f" both --templates="$templates" --prompts="$OUT/world/$f/prompts.json"
    for t in val shots "${TESTS[@]}"; do
        stage 1 "$f/$t" npr-extract --kind=test --images="$OUT/world/$f/$t" "${model[@]}" --out="$OUT/$f/$t"
    done
    recall "$f" all
    recall "$f" argmax --clip-filter
    for k in "${KEEP[@]}"; do
        recall "$f" "top$k" --keep-per-class="$k"
        prime "$f" "top$k-primed" "top$k" test
    done
    k=$(best_keep "$f")
    echo "$k" >"$OUT/$f/keep.txt"
    for t in "${TESTS[@]}"; do
        prime "$f" all-primed all "$t" --baseline="$OUT/$f/one,$OUT/$f/cupl,$OUT/$f/both"
        prime "$f" argmax-primed argmax "$t"
        prime "$f" "top$k-primed" "top$k" "$t"
        prime "$f" few "top$k" "$t" --shots="$OUT/$f/shots" --shots-per-class=1,2,5,10 --seeds=5
    done
    near "$f" near
    near "$f" near-argmax --clip-filter
    transductive "$f" once near rows
    transductive "$f" weighted near count
    transductive "$f" weighted-argmax near-argmax count
}

# ---- what came out ------------------------------------------------------------------------------------------------

# cells FAMILY ROW RECORD KEY GAIN: a line of table.tsv per test set, in per cent: family, row, test set, top-1 and its interval; of
# primed heads the gain over 20 templates, its interval, and alpha
cells() {
    local f=$1 row=$2 record=$3 key=$4 gain=$5 t r
    for t in "${TESTS[@]}"; do
        r=${record//TEST/$t}
        awk -v family="$f" -v row="$row" -v t="$t" -v key="result.$key." -v gain="result.$gain." -F= '
            index($1, key) == 1 { v[substr($1, length(key) + 1)] = 100 * $2 }
            index($1, gain) == 1 { g[substr($1, length(gain) + 1)] = 100 * $2 }
            $1 == "result.alpha" { alpha = $2 }
            END { if ("low" in v) { low = v["low"]; high = v["high"] } else { low = v["top1"] - v["top1_sd"]; high = v["top1"] + v["top1_sd"] }
                  printf "%s\t%s\t%s\t%.2f\t%.2f\t%.2f", family, row, t, v["top1"], low, high
                  if ("top1" in g) printf "\t%.2f\t%.2f\t%.2f\t%s", g["top1"], g["low"], g["high"], alpha
                  print "" }' "$OUT/records/$f/$r.txt"
    done
}

table() {
    local f k n
    for f in phrases coined; do
        k=$(cat "$OUT/$f/keep.txt")
        cells "$f" "zero-shot, 1 template" all-primed-TEST baseline.1 none
        cells "$f" "zero-shot, 20 templates" all-primed-TEST zero_shot none
        cells "$f" "CuPL-like" all-primed-TEST baseline.2 none
        cells "$f" "templates + CuPL-like" all-primed-TEST baseline.3 none
        cells "$f" "primed, no filter" all-primed-TEST primed gain
        cells "$f" "primed, argmax filter" argmax-primed-TEST primed gain
        cells "$f" "primed, top $k of each class" "top$k-primed-TEST" primed gain
        cells "$f" "transductive, rows once" once-TEST primed gain
        cells "$f" "transductive, weighted (ours)" weighted-TEST primed gain
        cells "$f" "transductive, weighted, argmax" weighted-argmax-TEST primed gain
        for n in 1 2 5 10; do
            cells "$f" "$n shots" few-TEST "fewshot.$n.alone" none
            cells "$f" "$n shots and the pool" few-TEST "fewshot.$n.pool" none
        done
    done
}

print_table() {
    awk -F'\t' '
        $1 != family { family = $1; printf "\n%-32s%18s%18s%18s%18s\n", family, "test", "sketch", "dusk", "smear" }
        $3 == "test" { printf "  %-30s", $2; gains = "" }
        { printf "  %5.1f %4.1f to %4.1f", $4, $5, $6
          if (NF > 6) gains = gains sprintf("  %+5.1f %+4.1f to %+4.1f", $7, $8, $9) }
        $3 == "smear" { print ""; if (gains != "") printf "  %-30s%s\n", "    against 20 templates", gains }' "$OUT/table.tsv"
}

# plot.png, plot.svg: top-1 of some rows on all test sets, with intervals.
plot() {
    {
        echo "table = '$OUT/table.tsv'"
        cat <<'PLOT'
set datafile separator "\t"
set multiplot layout 1,2
set xrange [-0.5:3.5]
stats table using 6 nooutput
set yrange [0:5 * ceil(STATS_max / 5)] # of both panels the same
set xtics ("test" 0, "sketch" 1, "dusk" 2, "smear" 3)
set ylabel "top-1, per cent; bars: 95 % interval (shots: sd)"
set key bmargin center horizontal maxcols 2 samplen 1
at(t) = t eq "test" ? 0 : t eq "sketch" ? 1 : t eq "dusk" ? 2 : 3
of(f, r) = sprintf("< awk -F'\\t' '$1 == \"%s\" && index($2, \"%s\") == 1' '%s'", f, r, table)
rows = "'zero-shot, 20' 'primed, top' 'transductive, rows' 'transductive, weighted (' '10 shots and'"
names = "'zero-shot, 20 templates' 'primed, top k of each class' 'transductive, rows once (paper)' 'transductive, weighted (ours)' '10 shots and the pool'"
do for [f in "phrases coined"] {
    set title f." (synthetic world)"
    plot for [i=1:5] of(f, word(rows, i)) using (at(strcol(3)) + 0.12 * i - 0.36):4:5:6 with yerrorbars pt 7 title word(names, i)
}
PLOT
    } | draw "$OUT/plot" 800 320 9 || npr_die 74 "gnuplot could not draw $OUT/plot"
}

# sheet.png, of pixels: what captions recalled for three classes, and what the filter kept, least common class last.
sheet() {
    local f=coined k classes=3,42,77 names
    k=$(cat "$OUT/$f/keep.txt")
    names=$(sed -n '4p;43p;78p' "$OUT/world/$f/classes.txt" | paste -sd,)
    for pool in all "top$k"; do
        stage 1 "sheet-$pool" npr-sheet --set="$OUT/$f/$pool" --root="$OUT/world/pictures" --classes=$classes \
            --columns=24 --out="$OUT/$pool.jpg"
    done
    gnuplot -e "all='$OUT/all.jpg'; kept='$OUT/top$k.jpg'; names='$names'; image='$OUT/sheet.png'" /dev/stdin <<'PLOT'
set terminal pngcairo size 1240,420 font "sans,11"
set output image
set multiplot layout 2,1 margins 0.01,0.99,0.01,0.94 spacing 0.01,0.08
unset xtics
unset ytics
unset border
unset key
set size ratio -1
set autoscale fix
set title "recalled by caption: ".names
plot all binary filetype=jpg with rgbimage
set title "kept: the most similar to the class's text"
plot kept binary filetype=jpg with rgbimage
PLOT
}

if [ -z "${BUILD:-}" ]; then
    echo "== machine: packages and FAISS" >&2
    npr_prepare --plots
    echo "== build in build/ (a minute or two the first time)" >&2
    npr_build "$ROOT/build"
fi
npr_programs "$BIN" BUILD
begun=$(date +%s)
stage "$RANKS" world npr-minilaion "${WORLD[@]}" --out="$OUT/world"
stage "$RANKS" index npr-extract --kind=index --images="$OUT/world/pictures" --id-field=id "${model[@]}" --out="$OUT/index"
echo "== phrases, coined: heads, test sets, pools, priming (one rank each; logs in $OUT/logs)" >&2
families=$(date +%s)
family phrases &
phrases=$!
family coined
wait "$phrases"
families=$(($(date +%s) - families))
table >"$OUT/table.tsv"
echo
echo "A SYNTHETIC world of $(value world result.rows) image-text pairs. Top-1 accuracy in per cent with its 95 % interval; of few shots" \
    "mean and standard deviation over 5 draws. k and alpha were chosen on validation sets."
print_table
echo
for f in phrases coined; do
    k=$(cat "$OUT/$f/keep.txt")
    echo "  pool of $f: $(value "$f/all" result.pool_rows) rows recalled by caption, $(value "$f/argmax" result.pool_rows) after the argmax filter," \
        "$(value "$f/top$k" result.pool_rows) most similar"
done
printf '  seconds: world %.0f, index %.0f, both families %d\n' "$(value world time.total.max)" "$(value index time.total.max)" "$families"
if command -v gnuplot >/dev/null; then
    plot
    sheet
    echo "  plot.png, sheet.png, table.tsv, records and logs: ${OUT#"$PWD"/}"
fi
echo "  $(($(date +%s) - begun)) seconds since the build, on $(nproc) cores"
