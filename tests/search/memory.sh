#!/bin/bash
# Memory of a search is bounded by tiles and lists, not by the part: a part of six times the rows takes no more of it, nor, with
# FAISS, do six times as many parts; and what is taken lies below what --dry-run states.
# shellcheck source=tests/lib.sh
source "$(dirname "$0")/../lib.sh"
((!SANITIZED)) || { echo "skipped: the sanitizers' own memory would be measured" && exit 77; }
cd "$TMP"

must 2 npr-minilaion --embeddings --out=world --rows=120000 --dim=256 --classes=50 --rows-per-file=20000
must 1 npr-ingest --emb=world/img_emb/img_emb_0000.npy --meta=world/metadata/metadata_0000.tsv --out=small
must 2 npr-ingest --emb=world/img_emb --meta=world/metadata --out=large
must 1 npr-ingest --emb=world/text/head.npy --meta=world/text/head.tsv --kind=head --out=head
[ "$(ls large)" = "$(ls small)" ] || fail "both should be one part: $(ls large)"
(($(stat -c %s large/part-00000.h5) > 60000000)) || fail "the large part is $(stat -c %s large/part-00000.h5) bytes"

peak() { sed -n 's/^run.peak_bytes_per_rank=//p' out; }
# compare WHAT SMALL LARGE OPTIONS...: bytes of searches of both sets beside the plan's
compare() {
    local what=$1 sets=("$2" "$3") bare small large plan
    shift 3
    must 1 npr-search --index="${sets[1]}" --out=y "$@" --dry-run
    bare=$(peak) # of a process with its libraries, and what it read to plan
    plan=$(awk -F= '$1 == "plan.memory_gib_per_rank_most" { printf "%d", $2 * 2^30 }' out)
    must 1 npr-search --index="${sets[0]}" --out="small-$what" "$@"
    small=$(peak)
    must 1 npr-search --index="${sets[1]}" --out="large-$what" "$@"
    large=$(peak)
    echo "$what: $((bare >> 10)) KiB before, small set $((small >> 10)), large set $((large >> 10)), plan $((plan >> 10)) more"
    ((large - small < 8 << 20)) || fail "$what: six times the rows take $((large - small)) bytes more"
    ((large - bare < plan)) || fail "$what: $((large - bare)) bytes were taken, --dry-run said $plan"
}
compare exact small large --head=head --k=20 --tile-rows=4096
compare caption small large --mode=caption --head=head --k=20 --tile-rows=4096 --clip-filter

# 5,000 candidates of each of 50 queries, out of 4 parts and out of 24: a part's index takes 5 MB, and none stays
must 1 npr-ingest --emb=world/img_emb/img_emb_0000.npy --meta=world/metadata/metadata_0000.tsv --part-rows=5000 --out=few
must 2 npr-ingest --emb=world/img_emb --meta=world/metadata --part-rows=5000 --out=many
for set in few many; do must 2 npr-index --set=$set --factory=IVF16,Flat --sample=5000; done
[ "$(find few -name 'part-*.h5' | wc -l) $(find many -name 'part-*.h5' | wc -l)" = "4 24" ] || fail "not 4 parts and 24"
compare faiss few many --mode=faiss --head=head --k=500 --refine=10 --nprobe=16 --recall-queries=0
done_with memory
