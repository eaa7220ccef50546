#!/bin/bash
# Memory of a search is bounded by tiles and lists, not by the part: a part of six times the rows takes no more of it, and
# what is taken lies below what --dry-run states.
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
# compare WHAT OPTIONS...: bytes of both searches beside the plan's
compare() {
    local what=$1 bare small large plan
    shift
    must 1 npr-search --index=large --out=y "$@" --dry-run
    bare=$(peak) # of a process with its libraries, and what it read to plan
    plan=$(awk -F= '$1 == "plan.memory_gib_per_rank_most" { printf "%d", $2 * 2^30 }' out)
    must 1 npr-search --index=small --out="small-$what" "$@"
    small=$(peak)
    must 1 npr-search --index=large --out="large-$what" "$@"
    large=$(peak)
    echo "$what: $((bare >> 10)) KiB before, small part $((small >> 10)), large part $((large >> 10)), plan $((plan >> 10)) more"
    ((large - small < 8 << 20)) || fail "$what: six times the rows take $((large - small)) bytes more"
    ((large - bare < plan)) || fail "$what: $((large - bare)) bytes were taken, --dry-run said $plan"
}
compare exact --head=head --k=20 --tile-rows=4096
compare caption --mode=caption --head=head --k=20 --tile-rows=4096 --clip-filter
done_with memory
