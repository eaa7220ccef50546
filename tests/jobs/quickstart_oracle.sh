#!/bin/bash
# What quickstart.sh finds on a small painted world, and what numpy and PyTorch alone find from the same files (evaluate.py) with the
# same k and alpha: zero-shot and primed heads, transductive ones among them, are right on the same share of the pictures.
# shellcheck source=tests/lib.sh
source "$(dirname "$0")/../lib.sh"
((!SANITIZED)) || { echo "quickstart_oracle: takes minutes with sanitizers; each of its stages has tests of its own" && exit 77; }
/usr/bin/python3 -c 'import torch, PIL' 2>/dev/null ||
    { echo "quickstart_oracle: no PyTorch to compare with: apt-get install python3-torch python3-pil" && exit 77; }
export BUILD=$BIN OUT=$TMP/q RANKS=2 WORLD_OPTIONS="--rows=2000 --tests=4 --val=2 --shots=5"
timeout 300 bash "$NPR_SOURCE/jobs/quickstart.sh" >"$TMP/out" 2>"$TMP/err" || {
    code=$?
    cat "$TMP/err" >&2
    fail "ended with $code"
}

# In a world as small as this one validation may choose alpha 1, where nothing is primed: here every primed row has alpha 0.3.
fixed() { # FAMILY ROW POOL WEIGHT: lines as those of table.tsv; TEST in the pool's name is the test set's
    local f=$1 t
    for t in test sketch; do
        must 1 npr-solve --head="$OUT/$f/text" --pool="$OUT/$f/${3//TEST/$t}" --weight="$4" --alpha=0.3 --test="$OUT/$f/$t" --out="$TMP/$f-$3-$4-$t"
        awk -F= -v start="$f	$2	$t" '{ v[$1] = 100 * $2 } END { printf "%s\t%.2f\t\t\t\t\t\t0.3\n", start, v["result.primed.top1"] }' "$TMP/out"
    done
}
for f in phrases coined; do
    k=$(cat "$OUT/$f/keep.txt")
    fixed $f "primed, no filter" all rows
    fixed $f "primed, argmax filter" argmax rows
    fixed $f "primed, top $k of each class" "top$k" rows
    fixed $f "transductive, rows once" near-TEST rows
    fixed $f "transductive, weighted (ours)" near-TEST count
    fixed $f "transductive, weighted, argmax" near-argmax-TEST count
done >"$TMP/fixed.tsv"
grep -P '\tzero-shot|CuPL' "$OUT/table.tsv" | cat - "$TMP/fixed.tsv" >"$TMP/chain.tsv"
timeout 200 /usr/bin/python3 -B "$NPR_SOURCE/jobs/minilaion/evaluate.py" "$OUT/world" --chain="$TMP/chain.tsv" --out="$TMP/oracle.csv" >"$TMP/oracle.txt" ||
    fail "evaluate.py"
tail -n 2 "$TMP/oracle.txt"
/usr/bin/python3 - "$TMP/chain.tsv" "$TMP/oracle.csv" <<'PY' || fail "the chain and PyTorch do not agree"
import csv, sys
chain = {tuple(line[:3]): line for line in csv.reader(open(sys.argv[1]), delimiter="\t")}
rows = [r for r in csv.DictReader(open(sys.argv[2])) if r["chain"]]
assert sorted(chain) == sorted((r["family"], r["row"], r["test"]) for r in rows) and len(rows) == 2 * (4 * 4 + 6 * 2), len(rows)
assert all(r["settings"].endswith("alpha=0.3") for r in rows if "zero-shot" not in r["row"] and "CuPL" not in r["row"])
assert all(r["chain"] == chain[r["family"], r["row"], r["test"]][3] for r in rows)
far = sorted((abs(float(r["chain"]) - float(r["top1"])), r["family"], r["row"], r["test"]) for r in rows)
# of 400 pictures: features are rounded to binary16, so a picture or two fall on the other side
assert far[-1][0] <= 0.751 and sum(d[0] < 0.005 for d in far) >= 28, far[-12:]
# and rows differ from one another by more than that: one that did not prime, or not in its own way, would be seen
for test in ("test", "sketch"):
    primed = {r["row"]: float(r["top1"]) for r in rows if r["family"] == "coined" and r["test"] == test}
    assert len(set(primed.values())) >= 6, primed
PY
done_with quickstart_oracle
