#!/bin/bash
# npr-plan: the same files, bytes and memory as the programs' --dry-run and as they are found on disk afterwards (one formula), seconds that
# follow the calibration, and what does not fit is said, with how much. How well seconds are forecast is a study (jobs/forecast.sh).
# shellcheck source=tests/lib.sh
source "$(dirname "$0")/../lib.sh"
cd "$TMP"
value() { sed -n "s/^$1=//p" "$2"; }

# near A B SHARE WHAT: A is B but for a share of it
near() { awk -v a="$1" -v b="$2" -v s="$3" 'BEGIN { d = a - b; exit !((d < 0 ? -d : d) <= s * (b < 0 ? -b : b)) }' || fail "$4: $1 and $2"; }
# ratio A B FROM TO WHAT
ratio() { awk -v a="$1" -v b="$2" -v f="$3" -v t="$4" 'BEGIN { exit !(a >= f * b && a <= t * b) }' || fail "$5: $1 and $2"; }

# ---- the same as --dry-run, and as what is there in the end
must 1 npr-minilaion --embeddings --out=world --rows=6000 --dim=64 --classes=20
must 1 npr-ingest --emb=world/img_emb --meta=world/metadata --out=index --part-rows=2048
must 1 npr-ingest --emb=world/text/head.npy --meta=world/text/head.tsv --kind=head --out=head
must 1 npr-search --index=index --head=head --mode=exact --k=40 --tile-rows=1024 --out=pool --dry-run --record=dry.txt
must 1 npr-plan --rows=6000 --dim=64 --queries=20 --k=40 --tile-rows=1024 --part-rows=2048 --record=plan.txt
near "$(value plan.search.memory_gib_per_rank plan.txt)" "$(value plan.memory_gib_per_rank_most dry.txt)" 1e-6 "memory"
near "$(value plan.search.read_gib plan.txt)" "$(value plan.read_gib_most dry.txt)" 1e-6 "bytes read"
[ "$(value plan.ingest.files plan.txt)" = 3 ] && [ "$(find index -name 'part-*' | wc -l)" = 3 ] || fail "files: $(cat plan.txt)"
text=$(cat world/metadata/*.tsv | wc -c)
must 1 npr-plan --rows=6000 --dim=64 --part-rows=2048 --text=$((text / 6000)) --mode=IVF16,SQ8 --record=plan.txt
near "$(value plan.ingest.disk_gib plan.txt)" "$(cat index/part-* | wc -c | awk '{ print $1 / 2^30 }')" 0.1 "bytes of the set"
before=$(cat index/part-* | wc -c)
must 1 npr-index --set=index --factory=IVF16,SQ8 --sample=3000
near "$(value plan.index.disk_gib plan.txt)" "$(cat index/part-* | wc -c | awk -v b="$before" '{ print ($1 - b) / 2^30 }')" 0.1 "bytes of the index"
grep -q '^plan.search.seconds' plan.txt && fail "seconds without a calibration"

# ---- a calibration: every rate is there, and above nothing; its folder is gone
ranks 2 npr-bench --what=calibrate --rows=4096 --dim=64 --repeats=1 --scratch="$TMP/disk" --record=node.txt \
    --config="${NPR_SOURCE:?}/tests/data/tiny_clip_gelu.json" || { cat err >&2 && fail "calibrate"; }
for rate in memory_read sgemm file_write file_read file_read_cached part_read ingest_vectors ingest_text exact.nq1 exact.nq10 exact.nq1000 \
    caption pool_start train train_pq add encode_pq index_load coarse tables code.flat code.sq code.pq code.fs candidate decode tower sums argmax loo \
    latency bandwidth text gradient step picture; do
    awk -F= -v key="calibration.$rate" '$1 == key && $2 > 0 { n++ } END { exit n != 1 }' node.txt || fail "rate $rate: $(grep "$rate" node.txt)"
done
for rate in gradient_cell step_cell url_row merge_hit caption_match caption_filter pool_row exact_hit part_pick ingest_part train_polysemous index_row \
    code_hit.flat code_hit.sq code_hit.pq code_hit.fs; do
    grep -q "^calibration.$rate=[0-9]" node.txt || fail "rate $rate: $(grep "$rate" node.txt)" # differences, which may be nothing
done
[ ! -e disk/npr-calibration ] || fail "left behind: $(ls disk/npr-calibration)"

# ---- seconds: in proportion to rows, nodes and rates, from a machine made up for this
{
    printf 'calibration.%s=%s\n' threads 8 ranks 8 dim 512 file_write 1e9 file_read 2e9 part_read 2e9 part_pick 1e-6 ingest_vectors 3e8 ingest_text 4e7 \
        ingest_part 0.04 exact.nq1 5e-11 exact.nq4 5e-11 exact.nq10 1e-10 exact.nq100 4e-10 exact.nq1000 4e-9 exact_hit 2e-8 caption 4e9 \
        caption_match 2e-7 caption_filter 1e-11 pool_row 1e-5 pool_start 0.05 train 5e10 train_pq 1e10 train_polysemous 3 add 3e10 encode_pq 8e10 index_row 2e-8 \
        index_load 1e9 coarse 1e11 tables 1e10 code.flat 4e10 code.sq 2e10 code.pq 1e10 code.fs 1e11 code_hit.flat 1e-7 code_hit.sq 1e-7 \
        code_hit.pq 1e-7 code_hit.fs 5e-8 candidate 1e-10 decode 800 tower 4e11 sums 4e10 \
        argmax 4e11 loo 2e11 merge_hit 1e-9 latency 1e-6 bandwidth 5e9 text 2e11 gradient 1e11 gradient_cell 1e-8 step 5e10 step_cell 2e-9 picture 1e-5 url_row 2e-6
} >made.txt
plan() { must 1 npr-plan --queries=1000 --k=1000 --cores=64 --ranks-per-node=8 --calibration=made.txt "$@"; }
plan --rows=4294967296 --nodes=32 --read=1000 --record=a.txt
plan --rows=4294967296 --nodes=64 --read=1000 --record=b.txt
ratio "$(value plan.search.seconds.scan a.txt)" "$(value plan.search.seconds.scan b.txt)" 1.9 2.1 "twice the nodes, half the time"
# 16 parts of 2^20 rows a rank: 2^24 rows x 512 x 4e-9, the lists, and vectors copied by 8 threads
near "$(value plan.search.seconds.scan a.txt)" "$(awk 'BEGIN { n = 2^24; print n * 512 * 4e-9 + 1000 * 1000 * (1 + log(n / 1000)) * 2e-8 + n * 1032 / (2e9 * 8) }')" 1e-3 "the scan"
plan --rows=4294967296 --nodes=32 --read=0.001 --record=c.txt
near "$(value plan.search.seconds.scan c.txt)" "$(awk 'BEGIN { print 8 * 2^24 * 1032 / 1e6 }')" 1e-3 "a slow file system decides"
grep -q '^plan.search.sbatch=#SBATCH --nodes=32 --ntasks-per-node=8 --cpus-per-task=8 --mem=[0-9]*M --time=' a.txt || fail "sbatch: $(grep sbatch a.txt)"
grep -q '^plan.search.model.scan=.*exact' a.txt || fail "the model: $(grep model a.txt)"
plan --rows=2.3e9 --nodes=32 --mode=caption --clip-filter --read=1000 --record=d.txt
near "$(value plan.search.seconds.matches d.txt)" "$(awk 'BEGIN { print 9 * 2^20 * 0.15 * 512 * 1000 * 1e-11 }')" 1e-3 "matches"
# so many matches are in every chunk: the file system gives all vectors, 8 ranks of a node at once
plan --rows=2.3e9 --nodes=32 --mode=caption --clip-filter --read=2 --record=d.txt
near "$(value plan.search.seconds.matches d.txt)" "$(awk 'BEGIN { print 8 * 9 * 2^20 * 1024 / 2e9 }')" 1e-3 "vectors of matches from the file system"
plan --rows=1e6 --images=1e6 --config="$NPR_SOURCE/tests/data/tiny_clip_gelu.json" --nodes=1 --record=e.txt
near "$(value plan.extract.seconds.decode e.txt)" "$(awk 'BEGIN { print (1e6 / 8 + 2048) / 800 }')" 1e-3 "decoding"

# ---- text heads, trainings, parts in memory, URLs, a join: their formulas
plan --prompts=80 --prompt-tokens=10 --classes=1000 --config="$NPR_SOURCE/tests/data/tiny_clip_gelu.json" --record=g.txt
# a class's row is done by one of 8 ranks in parts of 64: the busiest has 128 of 1,000
awk -F= '$1 == "plan.text.seconds.tower" && $2 > 0 { n++ } END { exit n != 1 }' g.txt || fail "text head: $(grep plan.text g.txt)"
plan --prompts=40 --prompt-tokens=10 --classes=1000 --config="$NPR_SOURCE/tests/data/tiny_clip_gelu.json" --record=h.txt
near "$(value plan.text.seconds.tower g.txt)" "$(awk -v t="$(value plan.text.seconds.tower h.txt)" 'BEGIN { print 2 * t }')" 1e-6 "twice the prompts"
plan --rows=1e8 --pool-rows=1e6 --method=probe --iterations=100 --evaluations=110 --record=i.txt
near "$(value plan.solve.seconds.gradients i.txt)" "$(awk 'BEGIN { print 110 * 4 * 1e6 / 8 * 512000 / 1e11 }')" 1e-6 "gradients of the probe"
near "$(value plan.solve.seconds.descent i.txt)" "$(awk 'BEGIN { print 100 * 512000 * 1e-8 }')" 1e-6 "descent of the probe"
plan --rows=1e8 --pool-rows=1e6 --method=wise --epochs=5 --batch=1000 --latency=2 --network=12.5 --record=j.txt
near "$(value plan.solve.seconds.gradients j.txt)" "$(awk 'BEGIN { print 5 * 4 * 1e6 / 8 * 512000 / 5e10 }')" 1e-6 "gradients of fine-tuning"
near "$(value plan.solve.seconds.gradient_sums j.txt)" "$(awk 'BEGIN { print 5000 * (2 * 3 * 2e-6 + 16 * 512000 / 12.5e9) }')" 1e-6 "sums over ranks"
plan --rows=1e8 --pool-rows=1e6 --cached --record=i.txt
plan --rows=1e8 --pool-rows=1e6 --cached --alpha=loo --record=j.txt
near "$(value plan.solve.seconds.loo j.txt)" "$(awk 'BEGIN { print 4 * 8 * 16384 * 512000 / 2e11 }')" 1e-5 "leave-one-out"
near "$(value plan.solve.seconds.sums j.txt)" "$(value plan.solve.seconds.sums i.txt)" 1e-6 "class sums, once"
# parts of the pool are npr-search's own, not the index's: one is written by one of 8 ranks, eight by all
plan --rows=1e8 --part-rows=65536 --pool-rows=1e6 --cached --record=k.txt
plan --rows=1e8 --part-rows=65536 --pool-rows=1e6 --pool-part-rows=125000 --cached --record=l.txt
near "$(awk -v a="$(value plan.search.seconds.pool k.txt)" -v b="$(value plan.search.seconds.pool l.txt)" 'BEGIN { print a - b }')" \
    "$(awk 'BEGIN { print 1e6 * 1e-5 * (1 - 1 / 8) }')" 1e-6 "parts of the pool"
plan --rows=1e8 --query-batch=100 --cached --record=k.txt
plan --rows=1e8 --query-batch=100 --cached --resident=100 --record=l.txt
# 5e-7 s a row are read, 2e-7 computed: ten passes against one, and nine that compute
ratio "$(value plan.search.seconds.scan k.txt)" "$(value plan.search.seconds.scan l.txt)" 1.9 2.3 "parts in memory are not read again"
near "$(value plan.search.memory_gib_per_rank l.txt)" "$(awk -v m="$(value plan.search.memory_gib_per_rank k.txt)" 'BEGIN { print m + 1e8 * (1024 + 32) / 2^30 }')" 0.01 "memory of all parts"
plan --rows=8e6 --query-batch=100 --read=0.1 --record=k.txt
plan --rows=8e6 --query-batch=100 --read=0.1 --resident=100 --record=l.txt
ratio "$(value plan.search.seconds.scan k.txt)" "$(value plan.search.seconds.scan l.txt)" 9 10 "a slow file system read once instead of ten times"
plan --rows=1e8 --pool-rows=1e6 --urls --images=9e5 --join --config="$NPR_SOURCE/tests/data/tiny_clip_gelu.json" --record=m.txt
near "$(value plan.search.seconds.urls m.txt)" 2 1e-6 "URLs"
ratio "$(value plan.extract.seconds.join m.txt)" "$(awk 'BEGIN { print 9e5 / 8 * 1e-5 }')" 1 1.2 "the join"

# ---- --dry-run of a stage with a calibration: the same seconds as npr-plan's
must 1 npr-search --index=index --head=head --mode=exact --k=40 --tile-rows=1024 --out=pool --dry-run --calibration=made.txt --record=dry.txt
must 1 npr-plan --rows=6000 --dim=64 --queries=20 --k=40 --tile-rows=1024 --part-rows=2048 --calibration=made.txt --record=plan.txt
near "$(value plan.seconds.scan dry.txt)" "$(value plan.search.seconds.scan plan.txt)" 1e-6 "seconds of a dry run"
grep -q '^plan.model.scan=.*exact' dry.txt || fail "the model of a dry run: $(cat dry.txt)"
for stage in "npr-ingest --emb=world/img_emb --meta=world/metadata --out=none" "npr-index --set=index --factory=IVF16,SQ8 --sample=3000" \
    "npr-search --index=index --head=head --mode=caption --out=none" "npr-solve --head=head --pool=index --test=index --method=probe --out=none"; do
    # shellcheck disable=SC2086 # words on purpose
    must 2 $stage --dry-run --calibration=made.txt --record=dry.txt
    awk -F= '$1 == "plan.seconds" && $2 > 0 { n++ } END { exit n != 1 }' dry.txt || fail "$stage: $(grep ^plan dry.txt)"
    [ ! -e none ] || fail "$stage wrote something"
done

# alpha by leave-one-out passes over the pool, and a sweep tries 21 heads more than three
solve=(npr-solve --head=head --pool=head --test=head --dry-run --calibration=made.txt)
must 1 "${solve[@]}" --alpha=loo --out=none --record=dry.txt
near "$(value plan.seconds.loo dry.txt)" "$(awk 'BEGIN { print 4 * 20 * 20 * 64 / (2e11 / 8) }')" 1e-6 "leave-one-out of a dry run"
must 1 "${solve[@]}" --sweep --out=none --record=c.txt
near "$(value plan.seconds.evaluate c.txt)" "$(awk -v t="$(value plan.seconds.evaluate dry.txt)" 'BEGIN { print 8 * t }')" 1e-6 "a sweep"

# ---- the issue's example, and what does not fit
plan --rows=2.3e9 --dim=512 --nodes=32 --memory=256G --mode=IVF262144,PQ64 --time=24:00:00 --record=f.txt
for stage in ingest index search solve; do
    grep -q "^plan.$stage.seconds=[0-9]" f.txt && grep -q "^plan.$stage.sbatch=#SBATCH .*--mem=" f.txt || fail "$stage: $(grep "$stage" f.txt)"
done
# README's layout: memory always, no more nodes than have work, and no time where seconds are not known
readme=(--rows=2.3e9 --dim=768 --mode=caption --clip-filter --alpha=loo --nodes=32 --ranks-per-node=8 --cores=64)
sbatch() { # STAGE NODES TIME
    local mem
    mem=$(value "plan.$1.memory_gib_per_node" g.txt | awk '{ m = 1.2 * 1024 * $1; print m == int(m) ? m : int(m) + 1 }')
    [ "$(value "plan.$1.sbatch" g.txt)" = "#SBATCH --nodes=$2 --ntasks-per-node=8 --cpus-per-task=8 --mem=${mem}M$3 --signal=B:USR1@300" ] ||
        fail "the line of $1: $(grep "$1.sbatch" g.txt), $mem"
}
must 1 npr-plan "${readme[@]}" --record=g.txt
sbatch ingest 32 ""
sbatch search 32 ""
sbatch solve 8 "" # a million rows are 62 tiles
[ "$(grep -c "warning: solve: 194 of 256 ranks have no part or tile to work on: its #SBATCH line asks for 8 of 32 nodes; smaller parts (--part-rows) or tiles (--tile-rows)" err)" = 1 ] || fail "idle ranks: $(cat err)"
must 1 npr-plan "${readme[@]}" --time=6:00:00 --record=g.txt
sbatch search 32 " --time=06:00:00"
must 1 npr-plan "${readme[@]}" --method=probe --record=g.txt # rows are dealt out evenly to train on
sbatch solve 32 ""

# the time on the line is of the nodes that it asks for: more of them would share the pool, not the two parts
few=(--rows=2e6 --queries=1000 --k=1e5 --pool-part-rows=1e5 --cores=64 --ranks-per-node=8 --calibration=made.txt)
must 1 npr-plan "${few[@]}" --nodes=32 --record=g.txt
must 1 npr-plan "${few[@]}" --nodes=1 --record=b.txt
[ "$(value plan.search.sbatch g.txt)" = "$(value plan.search.sbatch b.txt)" ] || fail "not of one node: $(grep search.sbatch g.txt b.txt)"
awk -v a="$(value plan.search.seconds g.txt)" -v b="$(value plan.search.seconds b.txt)" 'BEGIN { exit !(2 * a < b) }' || fail "nothing is shared"
# an index that npr-index refuses is not planned
expect 64 "262144 lists, which cannot be trained on a sample of" 1 npr-plan --rows=1e5 --mode=IVF262144,PQ64
expect 64 "262144 lists, which cannot be trained on a sample of" 1 npr-plan --rows=1e9 --sample=1e5 --mode=IVF262144,PQ64

# every part of 2^20 rows holds the centroids: 2^18 x 512 floats, and the codebooks
near "$(value plan.index.disk_gib f.txt)" "$(awk 'BEGIN { print (2.3e9 * 72 + 2194 * (2^18 + 256) * 2048) / 2^30 }')" 1e-3 "bytes of the index"
# warns WORDS ARGS...: it ends well, and warns of this once
warns() {
    must 1 npr-plan --calibration=made.txt "${@:2}"
    [ "$(grep -c "warning: .*$1" err)" = 1 ] || fail "wanted a warning \"$1\": $(cat err)"
}
warns "search does not fit: a node needs [0-9.]* GiB, [0-9.]* GiB more"  --rows=2.3e9 --k=100000 --memory=16G --ranks-per-node=8
# lists are trained on all ranks, a round of ten at a time; behind a transform by FAISS on one thread
near "$(value plan.index.seconds.lists f.txt)" "$(awk 'BEGIN { here = 9 * 2^20 / 2.3e9 * 2^24; print 10 * (2 * here * 2^18 * 512 / 5e10 + 2 * 255 / 256 * 2^18 * 4096 / 5e9) }')" 1e-2 "training lists"
# a query and all codes of a part, of nine parts
near "$(value plan.search.seconds.tables f.txt)" "$(awk 'BEGIN { print 9 * 1000 * 2 * 256 * 512 / 1e10 }')" 1e-4 "tables of codes"
# FAISS's lists: each of nine parts is asked for what is likely of 4,000 rows in 2,194 parts
near "$(value plan.search.seconds.hits f.txt)" "$(awk -v probes="$(value option.nprobe f.txt)" -v refine="$(value option.refine f.txt)" \
    'function hits(n, k) { return n > k ? k * (1 + log(n / k)) : n }
    BEGIN { n = probes / 2^18 * 2^20; all = 1000 * refine; even = all / 2194; print 1000 * 9 * hits(n, even + 4 * sqrt(even) + 16) * 1e-7 }')" 2e-2 "FAISS's lists"
warns "index takes [0-9]* s, [0-9]* s more than a job has: it will be queued again" --rows=2.3e9 --mode=IVF262144,PQ64np --time=1:00:00 --cores=8 --nodes=32 --queries=10
warns "index does not fit: training takes [0-9]* s and cannot be interrupted" --rows=2.3e9 --mode=IVF262144,PQ64 --time=0:05:00 --cores=8 --nodes=32 --queries=10
warns "index does not fit: training takes [0-9]* s and cannot be interrupted" --rows=2.3e9 --mode=OPQ64,IVF262144,PQ64np --time=24:00:00 --cores=8 --nodes=32
warns "search takes [0-9]* s, [0-9]* s more than a job has: it will be queued again, 2 jobs" --rows=2.3e9 --time=60 --cores=8 --test=0
warns "solve: 7 of 8 ranks have no part" --rows=2e6 --nodes=8 --queries=1 --k=10 --part-rows=1024 --test=10
expect 65 "no record of npr-bench --what=calibrate" 1 npr-plan --rows=1e6 --calibration=plan.txt
expect 64 "wanted a size such as 256G" 1 npr-plan --rows=1e6 --memory=256X
expect 64 "wanted a time such as" 1 npr-plan --rows=1e6 --time=1:2
expect 64 "which model extracts" 1 npr-plan --images=1e6
expect 64 "nothing to plan" 1 npr-plan
expect 64 "what is joined to what" 1 npr-plan --rows=1e6 --join
expect 65 "no record of npr-bench --what=calibrate" 2 npr-search --index=index --head=head --out=none --dry-run --calibration=plan.txt
# --calibration is offered where seconds are forecast, and nowhere else
for program in ingest index extract search solve plan; do
    "$BIN/npr-$program" --help >help.txt
    grep -q -- "^  --calibration=FILE " help.txt || fail "npr-$program does not offer --calibration"
done
for program in verify sheet minilaion bench; do
    "$BIN/npr-$program" --help >help.txt
    grep -q -- '--dry-run' help.txt || fail "npr-$program --help: $(cat help.txt)"
    grep -q -- '--calibration' help.txt && fail "npr-$program offers --calibration, which does nothing there"
    expect 64 "unknown option --calibration" 1 npr-$program --calibration=made.txt
done
expect 64 "wanted some of machine" 1 npr-bench --what=calibrate --only=reading,speed

# ---- forecast.sh, given a build folder by a path from here: what a program that fails has said is told
mkdir fake
for program in "$BIN"/npr-*; do [ ! -x "$program" ] || ln -s "$(realpath "$program")" fake/; done
rm fake/npr-bench
printf '%s\n' '#!/bin/bash' 'echo "npr-bench: no room in ." >&2' 'exit 74' >fake/npr-bench
chmod +x fake/npr-bench
! NPR_BIN=fake timeout 100 bash "$NPR_SOURCE/jobs/forecast.sh" study 2000 64 >out 2>err || fail "forecast.sh went on after npr-bench had failed"
grep -qx 'npr-bench: no room in .' err || fail "forecast.sh does not tell why npr-bench failed: $(tail -5 err)"
# a mode that npr-search and npr-index would not take either
for mode in nonsense captions IVF0,PQ8 PQ7; do
    expect 64 "--mode=$mode is not exact, nor caption, nor an index" 1 npr-plan --rows=1e6 --mode=$mode
done
done_with plan
