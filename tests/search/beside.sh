#!/bin/bash
# Merging beside the scan: enough parts and rows for several rounds. The pool has the bytes of one rank, which merges nothing; also after a
# kill in the middle of a merge, and a failure in one.
# shellcheck source=tests/lib.sh
source "$(dirname "$0")/../lib.sh"
cd "$TMP"
must 2 npr-minilaion --embeddings --out=world --rows=100000 --dim=64 --classes=20 --rows-per-file=25000
must 2 npr-ingest --emb=world/img_emb --meta=world/metadata --out=index --part-rows=4096
must 1 npr-ingest --emb=world/text/head.npy --meta=world/text/head.tsv --kind=head --out=head
search() { # RUNNER RANKS OUT
    "$1" "$2" npr-search --index=index --queries=head --mode=exact --k=700 --part-rows=4096 --out="$3"
}
search must 1 pool
facts "$TMP/out" >want
for ranks in 2 3; do
    rm -rf again
    search must "$ranks" again
    same pool again "$ranks ranks"
    facts "$TMP/out" | diff - want >&2 || fail "the record on $ranks ranks"
    [ "$(sed -n 's/^run.merges_beside=//p' "$TMP/out")" = 1 ] || fail "nothing was merged beside the scan on $ranks ranks"
done
# the ninth part of rank 0 is the one that is scanned beside a merge
for fault in search.part@0:9=kill merge.begin@2:2=kill search.journal@0:9=fail merge.begin@1=fail; do
    spare && continue
    rm -rf again
    NPR_FAULT=$fault search ranks 3 again && fail "$fault did not end the job"
    [ ! -e again/manifest.json ] || fail "$fault: the set is called complete"
    [[ $fault != *fail ]] || once "on 1 of 3 ranks; rank " || fail "$fault: $(head -3 "$TMP/err")"
    search must 2 again
    same pool again "$fault on 3 ranks, then 2"
done
done_with beside
