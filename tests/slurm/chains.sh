#!/bin/bash
# What is longer than a pipeline, on a real Slurm of four nodes: scaling studies up to their pictures, a pool's own pictures encoded with
# another tower, a table of the paper. Bytes are those of local runs.
# shellcheck source=tests/lib.sh
source "$(dirname "$0")/../lib.sh"
((!SANITIZED)) || { echo "chains: it tests scripts; the programs have sanitized tests of their own" && exit 77; }
# shellcheck source=tests/slurm/lib_cluster.sh
source "$(dirname "$0")/lib_cluster.sh"
cluster_needs
cluster_up
clip=$NPR_SOURCE/jobs/minilaion
cluster_clone "NPR_CLIP_WEIGHTS=$clip/model.safetensors" "NPR_CLIP_CONFIG=$clip/config.json" "NPR_CLIP_VOCAB=$clip/vocab.txt.gz" \
    "NPR_CLIP_TEMPLATES=$TMP/world/templates.txt" "NPR_TEST_IMAGES=$TMP/world/coined/test" "NPR_CLASSES=$TMP/world/coined/classes.txt" \
    'NPR_SEARCH_OPTIONS=(--mode=caption --clip-filter --k=8 --part-rows=64)' 'NPR_SOLVE_OPTIONS=(--alpha=0.5)' "NPR_EXTRACT_OPTIONS=(--part-rows=64)"

# ---- scaling: the same index on 1, 2 and 4 nodes, and n times the rows on n of them
mkdir -p work/scaling
must 2 npr-minilaion --embeddings --out=rows --rows=8000 --dim=64 --classes=20 --rows-per-file=2000
must 1 npr-ingest --emb=rows/text/head.npy --meta=rows/text/head.tsv --kind=head --model=m --out=work/head
for n in 1 2 4; do
    printf 'rows/img_emb/img_emb_%04d.npy\n' $(seq 0 $((n - 1))) >emb.txt
    printf 'rows/metadata/metadata_%04d.tsv\n' $(seq 0 $((n - 1))) >meta.txt
    must 2 npr-ingest --emb=@emb.txt --meta=@meta.txt --model=m --part-rows=250 --out=work/scaling/index-$n
done
cp -r work/scaling/index-4 work/index
scaling() { # KIND
    bash clone/slurm/scaling.sh "$1" search "1 2 4"
}
sed -i "s|^NPR_CLASSES=.*world.*|NPR_CLASSES=$TMP/rows/text/classes.txt|" clone/slurm/site.sh
scaling strong >strong.jobs
scaling weak >weak.jobs
bash clone/slurm/scaling.sh weak search "1 3" >said 2>&1 && fail "a weak point without an index"
grep -q "weak scaling wants the index $TMP/work/scaling/index-3" said || fail "a weak point without an index: $(cat said)"
bash clone/slurm/scaling.sh strong search "" >said 2>&1 && fail "no points"

# ---- meanwhile the painted world: what another tower and the table start from, and the same without Slurm
must 2 npr-minilaion --rows=600 --classes=8 --tests=3 --val=2 --shots=3 --out=world
tower=(--model="$clip/model.safetensors" --config="$clip/config.json")
must 2 npr-extract --kind=index --images=world/pictures "${tower[@]}" --model-name=other --part-rows=64 --out=index
must 1 npr-extract --classes=world/coined/classes.txt --templates=world/templates.txt --vocab="$clip/vocab.txt.gz" "${tower[@]}" --out=head
must 2 npr-extract --kind=test --images=world/coined/test "${tower[@]}" --part-rows=64 --out=test
cat >tables.conf <<'CONF'
note = SYNTHETIC
weights = clone/jobs/minilaion/model.safetensors
config = clone/jobs/minilaion/config.json
vocab = clone/jobs/minilaion/vocab.txt.gz
templates = world/templates.txt
index_images = world/pictures
per_class = 1000000
filters = top3
alpha = 0.5
[coined]
classes = world/coined/classes.txt
test = world/coined/test
[sketch]
paper = ImageNet-R
base = coined
test = world/coined/sketch
CONF
BUILD=$BIN RANKS=2 timeout 300 bash clone/jobs/reproduce.sh table2 --conf=tables.conf --work=local --out=local/results >said 2>&1 ||
    fail "jobs/reproduce.sh: $(tail -n 3 said)"

mapfile -t points < <(cut -d' ' -f2 strong.jobs weak.jobs)
until_done 120 "${points[@]}"
cd work/scaling/records
for kind in strong weak; do
    for n in 1 2 4; do
        [ "$(grep -h '^run\.\(program\|ranks\)=' $kind-search-$n.txt | paste -sd' ')" = "run.program=npr-search run.ranks=$n" ] ||
            fail "$kind, $n nodes: $(cat $kind-search-$n.txt; log "${points[0]}")"
    done
done
[ "$(grep -h '^check.pool=' strong-*.txt weak-search-4.txt | sort -u | wc -l)" = 1 ] || fail "another pool: $(grep check.pool ./*.txt)"
[ "$(grep -h '^result.index_rows=' weak-*.txt | paste -sd' ')" = "result.index_rows=2000 result.index_rows=4000 result.index_rows=8000" ] ||
    fail "weak: $(grep index_rows weak-*.txt)"
[ -z "$(ls -d ../*-search-* 2>/dev/null)" ] || fail "left behind: $(ls ..)"
[ "$(bash "$TMP/clone/slurm/scaling.sh" table . | wc -l)" = 7 ] || fail "the table: $(bash "$TMP/clone/slurm/scaling.sh" table .)"
if command -v gnuplot >/dev/null; then
    printf '%s\n' option.what=calibrate calibration.memory_read=2e10 calibration.sgemm=5e10 calibration.part_read=2e9 >scaling-node.txt
    bash "$TMP/clone/results/plot-scaling.sh" . >said 2>&1 || fail "plot-scaling.sh: $(cat said)"
    [ -s scaling.svg ] && [ -s scaling.png ] && [ "$(cut -d, -f1,2 scaling.csv | sort | paste -sd' ')" = \
        "kind,ranks strong,1 strong,2 strong,4 weak,1 weak,2 weak,4" ] || fail "scaling.csv: $(cat scaling.csv said)"
    for n in 1 2 4; do # each point's seconds are its record's
        [ "$(awk -F, -v n=$n '$1 == "strong" && $2 == n { print $3 }' scaling.csv)" = "$(sed -n 's/^time.total.max=//p' strong-search-$n.txt)" ] ||
            fail "$n nodes: $(cat scaling.csv)"
    done
fi
cd "$TMP"

# ---- the table, and beside it the chain of another tower
bash clone/slurm/reproduce.sh table2 --conf=tables.conf --work=cluster --out=cluster/results >jobs
mapfile -t table < <(cut -d' ' -f2 jobs)
[ "$(cut -d' ' -f1 jobs | paste -sd' ')" = "coined sketch tables" ] || fail "jobs of the table: $(cat jobs)"

# the index's tower, called "other": its head is made, its pool recalled, the pool's URLs written
rm -rf work/index work/head
cp -r index work/index
printf '%s\n' "NPR_CLASSES=$TMP/world/coined/classes.txt" NPR_CLIP_NAME=other "NPR_URLS=$TMP/work/urls.tsv" >>clone/slurm/site.sh
pipeline extract search >jobs
mapfile -t chain < <(cut -d' ' -f2 jobs)
until_done 120 "${chain[@]}"
[ "$(wc -l <work/urls.tsv)" -gt 10 ] || fail "the pool's URLs: $(ls work; log "${chain[0]}"; log "${chain[1]}")"
pipeline --unchecked join >jobs # before site.sh names another folder
until_done 60 "$(cut -d' ' -f2 jobs)"
[ "$(field "$(cut -d' ' -f2 jobs)" ExitCode)" = 64:0 ] || fail "a join over the pool: $(log "$(cut -d' ' -f2 jobs)")"

# "downloaded" are all but one tar; then the tower that solves: head, test, the pool again
mkdir shards && cp world/pictures/*.tar shards/ && rm "$(ls shards/*.tar | tail -n 1)"
printf '%s\n' "NPR_TOWER=$TMP/work/tower" NPR_CLIP_NAME= "NPR_SHARDS='$TMP/shards/*.tar'" >>clone/slurm/site.sh
pipeline extract join solve verify >jobs
mapfile -t chain < <(cut -d' ' -f2 jobs)
must 2 npr-extract --images="$TMP/shards/*.tar" --join=work/pool "${tower[@]}" --part-rows=64 --out=pool
must 1 npr-solve --head=head --pool=pool --test=test --alpha=0.5 --out=primed
until_done 120 "${chain[@]}"
[ "$(field "${chain[3]}" JobState)" = COMPLETED ] || fail "another tower: $(cat work/logs/npr-{extract,join,solve,verify}-*.log)"
for set in head test pool primed; do same "$set" "work/tower/$set" "$set of another tower, by Slurm and by mpirun"; done
[ "$(sed -n 's/^result.join.missing=//p' work/records/join.txt)" -gt 0 ] || fail "no picture is missing: $(grep join work/records/join.txt)"

until_done 200 "${table[@]}"
[ "$(field "${table[2]}" JobState)" = COMPLETED ] || fail "the table: $(cat work/logs/npr-reproduce-*.log)"
same local/results/table2.csv cluster/results/table2.csv "table 2 by Slurm and by mpirun"
[ "$(awk -F, '$1 == "ImageNet-R" && $8 ~ /^[0-9.]+$/' cluster/results/table2.csv | wc -l)" -gt 8 ] || fail "table 2: $(cat cluster/results/table2.csv)"
[ "$FAILURES" = 0 ] || tail -n 100 work/logs/*.log >&2
[ -z "${KEEP:-}" ] || cp -r work cluster "$CLUSTER"/*.log "$KEEP"
done_with chains
