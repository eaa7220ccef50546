#!/bin/bash
# What quickstart.sh finds on a small painted world, and what numpy and PyTorch alone find from the same files (evaluate.py) with the
# same k and alpha: zero-shot and primed heads, transductive ones among them, are right on the same share of the pictures.
# shellcheck source=tests/lib.sh
source "$(dirname "$0")/../lib.sh"
((!SANITIZED)) || { echo "quickstart_oracle: takes minutes with sanitizers; each of its stages has tests of its own" && exit 77; }
/usr/bin/python3 -c 'import torch, PIL' 2>/dev/null ||
    { echo "quickstart_oracle: no PyTorch to compare with: apt-get install python3-torch python3-pil" && exit 77; }
export BUILD=$BIN OUT=$TMP/q RANKS=2 WORLD_OPTIONS="--rows=2000 --tests=4 --val=2 --shots=5"
timeout 280 bash "$NPR_SOURCE/jobs/quickstart.sh" >"$TMP/out" 2>"$TMP/err" || {
    code=$?
    cat "$TMP/err" >&2
    fail "ended with $code"
}
/usr/bin/python3 -B "$NPR_SOURCE/jobs/minilaion/evaluate.py" "$OUT/world" --chain="$OUT/table.tsv" --out="$TMP/oracle.csv" >"$TMP/oracle.txt" ||
    fail "evaluate.py"
cat "$TMP/oracle.txt"
/usr/bin/python3 - "$OUT/table.tsv" "$TMP/oracle.csv" <<'PY' || fail "the chain and PyTorch do not agree"
import csv, sys
chain = {tuple(line[:3]): line for line in csv.reader(open(sys.argv[1]), delimiter="\t") if " shots" not in line[1]}
rows = [r for r in csv.DictReader(open(sys.argv[2])) if r["chain"]]
assert sorted(chain) == sorted((r["family"], r["row"], r["test"]) for r in rows) and len(rows) == 2 * 10 * 4, len(rows)
for r in rows:
    line = chain[r["family"], r["row"], r["test"]]
    assert r["chain"] == line[3], r
    assert len(line) == 6 or float(r["settings"].split("alpha=")[1]) == float(line[9]), (r, line)
far = [abs(float(r["chain"]) - float(r["top1"])) for r in rows]
# two of 400 pictures: features are rounded to fp16, and a tie is broken otherwise
assert max(far) <= 0.501 and sum(d < 0.005 for d in far) >= 50, sorted(far)[-10:]
# and the rows are not all alike: a blend that does nothing would agree, too
assert len({r["top1"] for r in rows if r["family"] == "coined" and r["test"] == "test"}) >= 5, rows
PY
done_with quickstart_oracle
