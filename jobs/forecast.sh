#!/bin/bash
# forecast.sh - is npr-plan right? Calibrates this machine, forecasts every stage of a made-up world, runs them, and compares.
#
#   bash jobs/forecast.sh FOLDER [ROWS] [DIM]      default 200,000 rows of 512 values; a FOLDER with enough room, kept
#
# Everything runs on NPR_RANKS ranks (default 1) of one thread, with files in the page cache (they have just been written). NPR_BIN: the build folder.
# NPR_RUN: put before mpirun, say "taskset -c 1". What a forecast cannot know and takes from the data: bytes of texts, the share of rows that name a
# class, rows of the pool. Writes FOLDER/npr-forecast-ROWS-DIM/forecast.csv: stage, seconds forecast, seconds measured (time.total, all but starting MPI), their ratio.
set -euo pipefail
case ${1:-} in
-h | --help | "") sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit 0 ;;
esac
root=$(cd "$(dirname "$0")/.." && pwd)
bin=${NPR_BIN:-$root/build} ranks=${NPR_RANKS:-1} folder=$1 rows=${2:-200000} dim=${3:-512}
factory=${NPR_FORECAST_INDEX:-IVF256,PQ64np} sample=${NPR_FORECAST_SAMPLE:-20000} part=65536 queries=1000
mkdir -p "$folder/npr-forecast-$rows-$dim" # nobody else's files are touched, and other sizes have another place
cd "$folder/npr-forecast-$rows-$dim"

# run PROGRAM ARGS...: its record to PROGRAM's name or $to
run() {
    # shellcheck disable=SC2086 # words on purpose
    ${NPR_RUN:-} mpirun -n "$ranks" "$bin/$1" --quiet "${@:2}"
}
value() { sed -n "s/^$1=//p" "$2"; }
rm -rf index head test pool-* primed features
run npr-minilaion --embeddings --out=world --rows="$rows" --dim="$dim" --classes=$queries --tests=5 >/dev/null
run npr-minilaion --out=painted --rows=2000 --tests=2 --val=1 --shots=1 >/dev/null
model=(--model="$root/jobs/minilaion/model.safetensors" --config="$root/jobs/minilaion/config.json")

if [ ! -s node.txt ]; then
    run npr-bench --what=calibrate --rows=50000 --dim="$dim" --repeats=3 --scratch=. "${model[1]}" \
        --jpegs="painted/coined/test/*/0000.jpg" --record=node.txt 2>/dev/null
fi

# ---- measured
run npr-ingest --emb=world/text/head.npy --meta=world/text/head.tsv --kind=head --out=head --record=head.txt
run npr-ingest --emb=world/test/test.npy --labels=world/test/test_labels.txt --kind=test --out=test --record=test.txt
run npr-ingest --emb=world/img_emb --meta=world/metadata --out=index --part-rows=$part --record=ingest.txt
run npr-search --index=index --head=head --mode=exact --k=100 --out=pool-exact --record=exact.txt
run npr-search --index=index --head=head --names=world/text/classes.txt --mode=caption --k=100 --out=pool-caption --record=caption.txt
run npr-search --index=index --head=head --names=world/text/classes.txt --mode=caption --clip-filter --k=100 --out=pool-filter --record=filter.txt
run npr-solve --head=head --pool=pool-exact --test=test --alpha=0.5 --out=primed --record=solve.txt
run npr-index --set=index --factory="$factory" --sample="$sample" --record=index.txt
run npr-search --index=index --head=head --mode=faiss --nprobe=16 --k=10 --recall-queries=0 --out=pool-faiss --record=faiss.txt
run npr-extract --images="painted/pictures/*.tar" --kind=features "${model[@]}" --part-rows=500 --out=features --record=extract.txt

# ---- forecast
text=$(($(cat world/metadata/*.tsv | wc -c) / rows))
tokens=$(cat world/metadata/*.tsv | awk -F'\t' 'FNR > 1 && NR < 20000 { n += length($2) + 2; k++ } END { print n / k }')
plan() { # STAGE ARGS...: its seconds
    rm -f plan.txt
    "$bin/npr-plan" --quiet --rows="$rows" --dim="$dim" --part-rows=$part --queries=$queries --classes=$queries --test="$(value result.rows test.txt)" \
        --ranks-per-node="$ranks" --cores="$ranks" --text="$text" --tokens="$tokens" --network=0 --cached --calibration=node.txt --recall-queries=0 \
        --sample="$sample" --image-part-rows=500 "${@:2}" --record=plan.txt || kill "$$"
    value "plan.$1.seconds" plan.txt
}
share() { awk -v m="$(value result.matched "$1")" -v r="$rows" 'BEGIN { print m / r }'; }
{
    echo "stage,forecast_s,measured_s,ratio"
    {
        echo "ingest $(plan ingest) ingest.txt"
        echo "index $(plan index --mode="$factory") index.txt"
        echo "exact $(plan search --k=100 --pool-rows="$(value result.pool_rows exact.txt)") exact.txt"
        echo "caption $(plan search --mode=caption --k=100 --matches="$(share caption.txt)" --pool-rows="$(value result.pool_rows caption.txt)") caption.txt"
        echo "filter $(plan search --mode=caption --clip-filter --k=100 --matches="$(share filter.txt)" --pool-rows="$(value result.pool_rows filter.txt)") filter.txt"
        echo "faiss $(plan search --mode="$factory" --k=10 --nprobe=16 --pool-rows="$(value result.pool_rows faiss.txt)") faiss.txt"
        echo "solve $(plan solve --k=100 --pool-rows="$(value result.pool_rows exact.txt)") solve.txt"
        echo "extract $(plan extract --images="$(value result.seen extract.txt)" "${model[1]}") extract.txt"
    } | while read -r stage forecast record; do
        awk -v s="$stage" -v f="$forecast" -v m="$(value time.total.max "$record")" 'BEGIN { printf "%s,%.3g,%.3g,%.2f\n", s, f, m, f / m }'
    done
} | tee forecast.csv
