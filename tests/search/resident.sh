#!/bin/bash
# Parts that stay in memory from batch to batch: the same pool, fewer parts read, and memory within what --dry-run states.
# shellcheck source=tests/lib.sh
source "$(dirname "$0")/../lib.sh"
cd "$TMP"

must 2 npr-minilaion --embeddings --out=world --rows=9000 --dim=64 --classes=40 --rows-per-file=3000
must 2 npr-ingest --emb=world/img_emb --meta=world/metadata --out=index --part-rows=1500
must 1 npr-ingest --emb=world/text/head.npy --meta=world/text/head.tsv --kind=head --out=head

search=(npr-search --index=index --head=head --k=15 --tile-rows=400 --query-batch=9) # 5 batches, 6 parts
fact() { sed -n "s/^$1=//p" out; }
must 1 "${search[@]}" --out=plain
[ -z "$(fact run.parts_from_memory)" ] || fail "parts from memory without --resident"
for time in scan_rows_waited scan_reading; do
    awk -F= -v key="time.$time.max" '$1 == key && $2 > 0 { n++ } END { exit n != 1 }' out || fail "time.$time: $(fact "time.$time.max")"
done
try() { # RANKS THREADS GIB: as many parts from memory as said
    must "$1" "${search[@]}" --out=again --threads="$2" --resident="$3"
    same plain again "--resident=$3 on $1 ranks, $2 threads"
    [ "$(fact run.parts_from_memory)" = "$4" ] || fail "--resident=$3 on $1 ranks: $(fact run.parts_from_memory) parts from memory, not $4"
    rm -r again
}
try 1 1 1 24 # all 6 parts, in 4 of 5 batches
try 3 2 1 24
try 1 2 0.0005 8 # 512 KiB hold 2 parts of 1,500 rows of 136 bytes
must 1 npr-search --index=index --head=head --k=15 --resident=1 --out=single
[ -z "$(fact run.parts_from_memory)" ] || fail "a single batch keeps parts"
must 1 "${search[@]}" --resident=1 --out=dry --dry-run
awk -F= '$1 == "plan.memory_gib.resident_most" && $2 > 9000 * 128 / 2^30 && $2 < 0.01 { n++ } END { exit n != 1 }' out ||
    fail "the plan: $(fact plan.memory_gib.resident_most)"

# a run that fails goes on; with limits, whose columns are kept too
NPR_FAULT=search.part@0:3=fail ranks 2 "${search[@]}" --resident=1 --out=again && fail "the fault did not end the run"
must 1 "${search[@]}" --resident=1 --out=again
same plain again "--resident after a failure"
rm -r again

# A resumed pass deals out what is left, the next ones everything: parts that are another rank's then must not take the room of a
# rank's own. Two ranks with room for 2 parts each; of the first batch part 0 is done: left are 1..5, so rank 0 reads 1 and 3, and owns 0, 2, 4 later.
NPR_FAULT=search.part@0:2=fail ranks 1 "${search[@]}" --out=again && fail "the fault did not end the run"
must 2 "${search[@]}" --resident=0.0005 --out=again
same plain again "--resident after a failure, parts dealt anew"
[ "$(fact run.parts_from_memory)" = 12 ] || fail "after a resumed pass $(fact run.parts_from_memory) parts from memory, not 12: 2 of each rank in the last 3 of 5 batches"
must 1 "${search[@]}" --min-similarity=0.1 --out=limited
must 2 "${search[@]}" --min-similarity=0.1 --resident=1 --out=limited-again
same limited limited-again "--resident with limits"
expect 64 "--resident" 1 npr-search --index=index --head=head --out=y --resident=-1
done_with resident
