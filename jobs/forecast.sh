#!/bin/bash
# forecast.sh - is npr-plan right? Forecasts every stage of a made-up world, runs it, and compares.
#
#   bash jobs/forecast.sh FOLDER [ROWS] [DIM]      default 200,000 rows of 512 values; a FOLDER with enough room, kept
#
# Everything runs on NPR_RANKS ranks (default 1) of one thread, with files in the page cache (they have just been written). NPR_BIN: the build folder.
# NPR_RUN: put before mpirun, say "taskset -c 1". A machine that others use is not the same from minute to minute: the rates that some stages need are
# calibrated right before them and again right after them, and the forecast is the mean of the two; a stage that takes less than 10 s is run three
# times, and the middle run counts. What a forecast cannot know and takes from the data:
# bytes of texts and tokens, the share of rows that name a class, rows of the pool, iterations of the probe. Not compared: a file system, a network
# between hosts, --method=wise (the steps of finetune) and, of npr-solve --dry-run, --alpha=val, --sweep and draws of shots. Writes FOLDER/npr-forecast-ROWS-DIM-RANKS/:
# forecast.csv (ranks, stage, seconds forecast before and after, seconds measured (time.total, all but starting MPI), mean forecast by measured), and
# the calibrations, node-BLOCK-before.txt and -after.txt.
set -euo pipefail
die() { # CODE WORDS...
    echo "forecast.sh: ${*:2}" >&2
    exit "$1"
}
case ${1:-} in
-h | --help | "") sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit 0 ;;
-*) die 64 "unknown option $1 (see --help)" ;;
esac
(($# <= 3)) || die 64 "\"${*:4}\" is too much: wanted FOLDER [ROWS] [DIM]"
root=$(cd "$(dirname "$0")/.." && pwd)
bin=$(cd "${NPR_BIN:-$root/build}" 2>/dev/null && pwd) || true # whole: programs are run in another folder
[ -x "$bin/npr-search" ] || die 78 "${NPR_BIN:-$root/build} has no npr-search: build npr, or say in NPR_BIN where its programs are"
ranks=${NPR_RANKS:-1} folder=$1 rows=${2:-200000} dim=${3:-512}
for number in ranks rows dim; do
    [[ ${!number} =~ ^[1-9][0-9]*$ ]] || die 64 "$number: wanted a whole number of at least 1, found \"${!number}\""
done
factory=${NPR_FORECAST_INDEX:-IVF256,PQ64np} sample=${NPR_FORECAST_SAMPLE:-20000} part=65536 queries=1000
mkdir -p "$folder/npr-forecast-$rows-$dim-$ranks" 2>/dev/null || die 73 "$folder: cannot make a folder in it" # nobody else's files are touched, and other sizes have another place
cd "$folder/npr-forecast-$rows-$dim-$ranks"

# run PROGRAM ARGS...: what it says is in run.log, and here if it fails
run() {
    # shellcheck disable=SC2086 # words on purpose
    ${NPR_RUN:-} mpirun -n "$ranks" "$bin/$1" --quiet "${@:2}" 2>run.log || { tail -n 20 run.log >&2 && return 1; }
}
value() { sed -n "s/^$1=//p" "$2"; }
model=(--model="$root/jobs/minilaion/model.safetensors" --config="$root/jobs/minilaion/config.json")
calibrate() { # BLOCK before|after
    rm -f "node-$1-$2.txt"
    run npr-bench --what=calibrate --only="${rates[$1]}" --rows=50000 --dim="$dim" --repeats=3 --scratch=. "${model[1]}" \
        --jpegs="painted/coined/test/*/0000.jpg" --record="node-$1-$2.txt"
}

# ---- forecast
plan() { # NODE STAGE ARGS...: its seconds
    rm -f plan.txt
    "$bin/npr-plan" --quiet --rows="$rows" --dim="$dim" --part-rows=$part --queries=$queries --classes=$queries --test="$(value result.rows test.txt)" \
        --ranks-per-node="$ranks" --cores="$ranks" --text="$text" --tokens="$tokens" --network=0 --cached --calibration="$1" --recall-queries="${recall:-0}" \
        --sample="$sample" --image-part-rows=500 "${@:3}" --record=plan.txt || kill "$$"
    value "plan.$2.seconds" plan.txt
}
share() { awk -v m="$(value result.matched "$1")" -v r="$rows" 'BEGIN { print m / r }'; }
compare() { # NAME BEFORE AFTER: a line of the table; NAME.txt is the stage's record
    awk -v ranks="$ranks" -v s="$1" -v a="$2" -v b="$3" -v m="$(value time.total.max "$1.txt")" \
        'BEGIN { if (a + 0 > 0 && b + 0 > 0) printf "%d,%s,%.3g,%.3g,%.3g,%.2f\n", ranks, s, a, b, m, (a + b) / 2 / m
                 else printf "%d,%s,%s,%s,%.3g,unknown\n", ranks, s, a, b, m }'
}
planned() { # BLOCK NAME STAGE ARGS...: by npr-plan
    compare "$2" "$(plan "node-$1-before.txt" "${@:3}")" "$(plan "node-$1-after.txt" "${@:3}")"
}
dry_run() { # NODE PROGRAM ARGS...: seconds by a stage's own --dry-run
    rm -f plan.txt
    run "${@:2}" --out=none --dry-run --calibration="$1" --record=plan.txt || kill "$$"
    value plan.seconds plan.txt
}
dried() { # BLOCK NAME PROGRAM ARGS...: by the stage itself
    compare "$2" "$(dry_run "node-$1-before.txt" "${@:3}")" "$(dry_run "node-$1-after.txt" "${@:3}")"
}

# stage NAME OUT PROGRAM ARGS...: run three times, the middle one's record is NAME.txt; one that takes 10 s is run once
stage() {
    local i name=$1 out=$2
    for i in 1 2 3; do
        rm -rf "$out"
        run "${@:3}" --out="$out" --record="$name-$i.txt"
        if awk -v t="$(value time.total.max "$name-$i.txt")" 'BEGIN { exit !(t > 10) }'; then break; fi
    done
    cp "$(for f in "$name"-[123].txt; do echo "$(value time.total.max "$f") $f"; done | sort -g | sed -n "$(((i + 1) / 2))s/.* //p")" "$name.txt"
}

# ---- worlds
rm -rf ./*-[123].txt index head test pool-* primed probed tuned features texthead pictures joined shards npr-calibration
run npr-minilaion --embeddings --out=world --rows="$rows" --dim="$dim" --classes=$queries --tests=20 >/dev/null
run npr-minilaion --out=painted --rows=2000 --tests=2 --val=1 --shots=1 >/dev/null
run npr-ingest --emb=world/text/head.npy --meta=world/text/head.tsv --kind=head --out=head --record=head.txt
run npr-ingest --emb=world/test/test.npy --labels=world/test/test_labels.txt --kind=test --out=test --record=test.txt
text=$(($(cat world/metadata/*.tsv | wc -c) / rows))
tokens=$(cat world/metadata/*.tsv | awk -F'\t' 'FNR > 1 && NR < 20000 { n += length($2) + 2; k++ } END { print n / k }')

# ---- measured, between two calibrations
messages=$([ "$ranks" = 1 ] || echo messages,)
declare -A rates=([ingest]=ingest [search]="${messages}reading,exact,captions" [solve]="${messages}reading,exact,captions,sums"
    [training]="${messages}reading,exact,captions,sums,training" [index]="${messages}reading,exact,faiss,captions" [clip]="reading,captions,pictures,images,text")
calibrate ingest before
stage ingest index npr-ingest --emb=world/img_emb --meta=world/metadata --part-rows=$part
calibrate ingest after

calibrate search before
stage exact pool-exact npr-search --index=index --head=head --mode=exact --k=100
stage batches pool-batches npr-search --index=index --head=head --mode=exact --k=100 --query-batch=250 --resident=1
named=(npr-search --index=index --head=head --names=world/text/classes.txt --mode=caption --k=100)
stage caption pool-caption "${named[@]}"
stage urls pool-urls "${named[@]}" --urls=urls.tsv
stage filter pool-filter "${named[@]}" --clip-filter
calibrate search after

calibrate solve before
stage solve primed npr-solve --head=head --pool=pool-exact --test=test --alpha=0.5
stage loo primed npr-solve --head=head --pool=pool-exact --test=test --alpha=loo
calibrate solve after

trained=(npr-solve --head=head --pool=pool-caption --test=test)
calibrate training before
stage probe probed "${trained[@]}" --method=probe --iterations=10
stage finetune tuned "${trained[@]}" --method=finetune --epochs=2
calibrate training after

calibrate index before
run npr-index --set=index --factory="$factory" --sample="$sample" --record=index.txt
proposed=(npr-search --index=index --head=head --mode=faiss --nprobe=16 --k=10)
stage faiss pool-faiss "${proposed[@]}" --recall-queries=0
stage recall pool-recall "${proposed[@]}" --recall-queries=20
calibrate index after

calibrate clip before
stage extract features npr-extract --images="painted/pictures/*.tar" --kind=features "${model[@]}" --part-rows=500
head=(npr-extract --classes=world/text/classes.txt --templates=painted/templates.txt --vocab="$root/jobs/minilaion/vocab.txt.gz" "${model[@]}")
stage text texthead "${head[@]}"
# what img2dataset would bring back for a pool: the pictures that its URLs stand for, 500 to a tar as the painted ones are
run npr-extract --images="painted/pictures/*.tar" --kind=index --id-field=id "${model[@]}" --out=pictures --record=pictures.txt
run npr-search --index=pictures --names=painted/classes.txt --mode=caption --k=2000 --out=pool-pictures --urls=urls.tsv --record=pool-pictures.txt
mkdir -p shards/all
for tar in painted/pictures/*.tar; do tar -xf "$tar" -C shards/all; done
awk -F'\t' 'NR > 1 { key = sprintf("%05d%04d", $3 / 500, $3 % 500); print key ".jpg\n" key ".json\n" key ".txt" }' urls.tsv |
    split -l 1500 -d - shards/of-
for list in shards/of-*; do tar --format=ustar -cf "shards/${list#*of-}.tar" -C shards/all -T "$list"; done
stage join joined npr-extract --images="shards/*.tar" --join=pool-pictures "${model[@]}" --part-rows=500
calibrate clip after

{
    echo "ranks,stage,forecast_before_s,forecast_after_s,measured_s,ratio"
    planned ingest ingest ingest
    planned index index index --mode="$factory"
    planned search exact search --k=100 --pool-rows="$(value result.pool_rows exact.txt)"
    planned search batches search --k=100 --query-batch=250 --resident=1 --pool-rows="$(value result.pool_rows batches.txt)"
    planned search caption search --mode=caption --k=100 --matches="$(share caption.txt)" --pool-rows="$(value result.pool_rows caption.txt)"
    planned search urls search --mode=caption --urls --k=100 --matches="$(share urls.txt)" --pool-rows="$(value result.pool_rows urls.txt)"
    planned search filter search --mode=caption --clip-filter --k=100 --matches="$(share filter.txt)" --pool-rows="$(value result.pool_rows filter.txt)"
    planned index faiss search --mode="$factory" --k=10 --nprobe=16 --pool-rows="$(value result.pool_rows faiss.txt)"
    recall=20 planned index recall search --mode="$factory" --k=10 --nprobe=16 --pool-rows="$(value result.pool_rows recall.txt)"
    planned solve solve solve --k=100 --pool-rows="$(value result.pool_rows exact.txt)"
    planned solve loo solve --k=100 --pool-rows="$(value result.pool_rows exact.txt)" --alpha=loo
    planned training probe solve --pool-rows="$(value result.training.rows probe.txt)" --method=probe --iterations="$(value result.training.iterations probe.txt)" \
        --evaluations="$(value result.training.evaluations probe.txt)"
    planned training finetune solve --pool-rows="$(value result.training.rows finetune.txt)" --method=finetune --epochs=2
    planned clip extract extract --images="$(value result.seen extract.txt)" "${model[1]}"
    dried clip text "${head[@]}" # who knows how many tokens a prompt has
    planned clip join extract --join --images="$(value result.join.pictures join.txt)" --pool-rows="$(value result.join.wanted join.txt)" "${model[1]}"
} | tee forecast.csv
! grep -q unknown forecast.csv || { echo "forecast.sh: a rate that a stage needs was not calibrated" >&2 && exit 70; }
