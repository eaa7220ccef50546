#!/bin/bash
# A search on four hosts with 1 ms and 10 ms of delay and 1 Gb/s between them, through TCP: the bytes of a local run, also when a rank dies
# and the search goes on elsewhere. The hosts are network namespaces of this machine.
#
# NPR_HOSTS_INPUT=FOLDER NPR_HOSTS_RECORDS=FOLDER: measure k = 1,000 on FOLDER/index and FOLDER/test instead, and keep the records
# (results/README.md says how they were made). NPR_HOSTS_OPTIONS: more options of npr-search.
# shellcheck source=tests/lib.sh
source "$(dirname "$0")/../lib.sh"
((!SANITIZED)) || { echo "hosts: the programs have sanitized tests of their own" && exit 77; }
# shellcheck source=tests/hosts/lib_hosts.sh
source "$(dirname "$0")/lib_hosts.sh"
hosts_need
cd "$TMP"
k=100 more=()
if [ -n "${NPR_HOSTS_INPUT:-}" ]; then
    k=1000 HOSTS_TIMEOUT=250
    read -ra more <<<"${NPR_HOSTS_OPTIONS:-}"
    ln -s "$NPR_HOSTS_INPUT/index" "$NPR_HOSTS_INPUT/test" .
else
    must 2 npr-minilaion --embeddings --out=world --rows=40000 --dim=64 --classes=20 --tests=10 --rows-per-file=20000
    must 2 npr-ingest --emb=world/img_emb --meta=world/metadata --out=index --part-rows=2048
    must 1 npr-ingest --emb=world/test/test.npy --labels=world/test/test_labels.txt --kind=test --out=test
fi
search() { # RUNNER RANKS OUT
    "$1" "$2" npr-search --index=index --queries=test --mode=exact --k="$k" "${more[@]}" --out="$3"
}
search must 1 pool
facts "$TMP/out" >want
for delay in 1000 10000; do
    hosts_up 4 "$delay" 1000
    # twice the delay, and what a busy machine adds
    rtt=$(round_trip)
    awk -v r="$rtt" -v d="$delay" 'BEGIN { exit !(r >= 2 * d / 1000) }' || fail "a round trip took $rtt ms, wanted at least twice $delay us"
    rm -rf again
    search on_hosts 4 again || fail "$delay us: exit code $?: $(tail -5 "$TMP/err")"
    grep -q "npr-search on 4 ranks\|^run.ranks=4" "$TMP/out" "$TMP/err" || fail "$delay us: not on four ranks: $(head -3 "$TMP/err")"
    same pool again "four hosts, $delay us"
    facts "$TMP/out" | diff - want >&2 || fail "the record with $delay us"
    [ -z "${NPR_HOSTS_RECORDS:-}" ] || cp "$TMP/out" "$NPR_HOSTS_RECORDS/hosts-$((delay / 1000))ms.txt"
    if [ "$delay" = 1000 ] && [ -z "${NPR_HOSTS_INPUT:-}" ]; then
        rm -rf again
        NPR_FAULT=search.part@2:2=kill search on_hosts 4 again && fail "a rank died and nobody noticed"
        search must 3 again
        same pool again "a rank lost on four hosts, then three ranks here"
    fi
    hosts_down
done
done_with hosts
