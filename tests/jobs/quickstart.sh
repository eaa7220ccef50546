#!/bin/bash
# quickstart.sh on a world of 3,000 pairs: every cell of its table is there, and a second run changes nothing. quickstart_oracle.sh
# is about what is in the cells.
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
awk -F'\t' '{ cells[$1 "\t" $2]++; if ($4 < 0 || $4 > 100 || $5 > $4 || $6 < $4 || (NF != 6 && NF != 10) || (NF == 10 && ($10 < 0 || $10 > 1))) bad++ }
    END { for (row in cells) { rows++; if (cells[row] != 4) bad++ }; exit !(rows == 36 && bad == 0) }' "$OUT/table.tsv" ||
    fail "cells are missing or wrong: $(head -3 "$OUT/table.tsv")"
[ "$(grep -c 'against 20 templates' "$TMP/out")" = 12 ] || fail "rows are missing from what is printed"
cp "$OUT/table.tsv" "$TMP/before"
quickstart || fail "a second run ended with $?"
same "$TMP/before" "$OUT/table.tsv" "a second run"
if command -v gnuplot >/dev/null; then
    for image in plot sheet; do
        [ "$(head -c 4 "$OUT/$image.png" | tail -c 3)" = PNG ] || fail "$image.png is no PNG"
    done
fi
done_with quickstart
