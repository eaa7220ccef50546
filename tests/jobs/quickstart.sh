#!/bin/bash
# quickstart.sh on a world of 3,000 pairs: every cell of its table is there, a second run changes nothing, and where PyTorch
# is there its own evaluation of the same files comes to the same accuracies.
# shellcheck source=tests/lib.sh
source "$(dirname "$0")/../lib.sh"
((!SANITIZED)) || { echo "quickstart: takes minutes with sanitizers; each of its stages has tests of its own" && exit 77; }
export BUILD=$BIN OUT=$TMP/q RANKS=2 WORLD_OPTIONS="--rows=3000 --tests=2 --val=2 --shots=10"

quickstart() { timeout 280 bash "$NPR_SOURCE/jobs/quickstart.sh" >"$TMP/out" 2>"$TMP/err"; }
quickstart || {
    code=$?
    cat "$TMP/err" >&2
    fail "ended with $code"
}
awk -F'\t' '{ cells[$1 "\t" $2]++; if ($4 < 0 || $4 > 100 || $5 > $4 || $6 < $4 || (NF != 6 && NF != 9)) bad++ }
    END { for (row in cells) { rows++; if (cells[row] != 4) bad++ }; exit !(rows == 34 && bad == 0) }' "$OUT/table.tsv" ||
    fail "cells are missing or wrong: $(head -3 "$OUT/table.tsv")"
[ "$(grep -c 'against 20 templates' "$TMP/out")" = 10 ] || fail "rows are missing from what is printed"
cp "$OUT/table.tsv" "$TMP/before"
quickstart || fail "a second run ended with $?"
same "$TMP/before" "$OUT/table.tsv" "a second run"
if command -v gnuplot >/dev/null; then
    for image in plot sheet; do
        [ "$(head -c 4 "$OUT/$image.png" | tail -c 3)" = PNG ] || fail "$image.png is no PNG"
    done
fi
/usr/bin/python3 -c 'import torch, PIL' 2>/dev/null || { echo "quickstart: no PyTorch to compare with" >&2 && done_with quickstart && exit; }
/usr/bin/python3 -B "$NPR_SOURCE/jobs/minilaion/evaluate.py" "$OUT/world" --out="$TMP/oracle.csv" >"$TMP/oracle.txt" || fail "evaluate.py"
/usr/bin/python3 - "$OUT/table.tsv" "$TMP/oracle.csv" <<'PY' || fail "the chain and PyTorch do not agree"
import csv, sys
ours = {tuple(line[:3]): float(line[3]) for line in csv.reader(open(sys.argv[1]), delimiter="\t")}
theirs = {(r["family"], r["row"], r["test"]): float(r["top1"]) for r in csv.DictReader(open(sys.argv[2]))}
rows = ("zero-shot, 1 template", "zero-shot, 20 templates", "CuPL-like")
both = [(ours[k], theirs[k]) for k in ours if k[1] in rows]
assert len(both) == 24 and all(abs(a - b) <= 1.001 for a, b in both), both # two of 200 pictures: features are rounded to fp16
assert sum(a == b for a, b in both) >= 16, both
PY
done_with quickstart
