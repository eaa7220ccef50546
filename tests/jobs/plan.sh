#!/bin/bash
# npr-plan: the same memory and bytes as npr-search --dry-run (one formula), sensible times, and what does not fit is said. How well times
# are forecast is a study (results/), not a test.
# shellcheck source=tests/lib.sh
source "$(dirname "$0")/../lib.sh"
cd "$TMP"
value() { sed -n "s/^$1=//p" "$2"; }

# near A B WHAT: equal to the last printed digits
near() { awk -v a="$1" -v b="$2" 'BEGIN { d = a - b; exit !((d < 0 ? -d : d) <= 1e-6 * (a < 0 ? -a : a)) }' || fail "$3: $1 and $2"; }

must 1 npr-minilaion --embeddings --out=world --rows=3000 --dim=64 --classes=20
must 1 npr-ingest --emb=world/img_emb --meta=world/metadata --out=index
must 1 npr-ingest --emb=world/text/head.npy --meta=world/text/head.tsv --kind=head --out=head
must 1 npr-search --index=index --head=head --mode=exact --k=40 --tile-rows=1024 --out=pool --dry-run --record=dry.txt
must 1 npr-plan --rows=3000 --dim=64 --queries=20 --k=40 --tile-rows=1024 --record=plan.txt
near "$(value plan.memory_gib_per_rank_most dry.txt)" "$(value plan.memory_gib_per_rank plan.txt)" "memory"
near "$(value plan.read_gib_most dry.txt)" "$(value plan.read_gib plan.txt)" "bytes"

must 1 npr-bench --rows=2000 --dim=64 --queries=1,10 --k=10 --repeats=1 --record=node.txt
plan() { must 1 npr-plan --rows=4294967296 --queries=1000 --k=1000 --cores=64 --ranks-per-node=8 --calibration=node.txt "$@"; }
plan --nodes=32 --read=1000 --record=a.txt
plan --nodes=64 --read=1000 --record=b.txt
awk -v a="$(value plan.seconds.screen a.txt)" -v b="$(value plan.seconds.screen b.txt)" 'BEGIN { exit !(a > 1.9 * b && a < 2.1 * b) }' ||
    fail "twice the nodes, half the time: $(value plan.seconds.screen a.txt) $(value plan.seconds.screen b.txt)"
plan --nodes=32 --read=0.001 --record=c.txt
near "$(value plan.seconds.scan c.txt)" "$(value plan.seconds.read c.txt)" "a slow file system decides"
grep -q '^plan.sbatch=--nodes=32 --ntasks-per-node=8 --cpus-per-task=8 --time=' a.txt || fail "sbatch: $(grep sbatch a.txt)"
expect 0 "does not fit: a node needs" 1 npr-plan --rows=2.3e9 --k=100000 --memory=16 --ranks-per-node=8
expect 0 "have no part" 1 npr-plan --rows=2e6 --nodes=8
expect 65 "no record of npr-bench" 1 npr-plan --rows=1e6 --calibration=plan.txt
done_with plan
