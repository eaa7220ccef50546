#!/bin/bash
# Jobs that hang end with 70 and each rank's last phase: a collective that one rank leaves out, and stages in which a process
# is stopped (SIGSTOP) - any rank, at any point. Afterwards the same command goes on and gives the same bytes.
# shellcheck source=tests/lib.sh
source "$(dirname "$0")/../lib.sh"
cd "$TMP"

# hangs SECONDS WORDS COMMAND...: ends with 70 within SECONDS and says WORDS (a pattern) on standard error, once
hangs() {
    local most=$1 words=$2 code=0 start=$SECONDS
    shift 2
    "$@" || code=$?
    [ "$code" = 70 ] || fail "exit code $code, wanted 70: $words: $(head -5 "$TMP/err")"
    [ $((SECONDS - start)) -le "$most" ] || fail "took $((SECONDS - start)) s: $words"
    [ "$(grep -cE -- "$words" "$TMP/err")" = 1 ] || fail "wanted \"$words\" once: $(head -5 "$TMP/err")"
    [ "$(grep -c "no progress for" "$TMP/err")" = 1 ] || fail "one verdict: $(cat "$TMP/err")"
}

hangs 10 "ranks 0,2: waiting for the others in: a sum" ranks 3 tests/test_par_watchdog lost
grep -q "rank 1 ($(hostname), process [0-9]*): last phase: counting" "$TMP/err" || fail "the lost rank: $(cat "$TMP/err")"
hangs 15 "rank 2: waiting for the others in: a sum" ranks 4 tests/test_par_watchdog deaf
grep -q "ranks 0-1: silent" "$TMP/err" || fail "deaf: $(cat "$TMP/err")"

must 2 npr-minilaion --embeddings --out=world --rows=6000 --dim=64 --classes=20 --rows-per-file=2500
ingest() { "$1" 3 npr-ingest --emb=world/img_emb --meta=world/metadata --out="$2" --part-rows=1024 --watchdog=2; }
index() { "$1" 3 npr-index --set="$2" --factory=IVF8,SQ8 --sample=2000 --watchdog=2; }
search() {
    "$1" 3 npr-search --index=index --head=head --mode=exact --k=40 --part-rows=256 --out="$2" --watchdog=2
}
solve() { "$1" 3 npr-solve --head=head --pool=pool --test=test --alpha=0.5 --out="$2" --watchdog=2; }
ingest must index
must 1 npr-ingest --emb=world/text/head.npy --meta=world/text/head.tsv --kind=head --out=head
must 1 npr-ingest --emb=world/test/test.npy --labels=world/test/test_labels.txt --kind=test --out=test
search must pool
solve must primed
cp -r index indexed
index must indexed

# freeze STAGE REFERENCE POINT RANK PHASE
freeze() {
    spare && return
    rm -rf again
    [ "$1" != index ] || cp -r index again
    NPR_FAULT="$3=freeze" hangs 12 "rank $4 \\(.*silent for .* last phase: $5" "$1" ranks again
    grep -q ": waiting for the others in: " "$TMP/err" || fail "$1: nothing on the other ranks: $(cat "$TMP/err")"
    "$1" must again
    same "$2" again "$1 frozen at $3, then resumed"
}
freeze ingest index ingest.batch@1 1 ingest
freeze index indexed index.part@2:2 2 indexing
freeze search pool search.part@0:2 0 scan
freeze search pool pool.batch@1 1 pool
freeze solve primed solve.tile@1 1 "class sums"

# a long round of training is no standstill: the five blocks of rows of the last one take a second each
/usr/bin/python3 -c 'import numpy as np; x = np.random.default_rng(1).normal(size=(17000, 8)); np.save("x.npy", x.astype(np.float16))'
must 1 npr-ingest --kind=index --emb=x.npy --out=long --normalize
NPR_FAULT=index.block@0:46=slow must 1 npr-index --set=long --factory=IVF8,SQ8 --sample=17000 --watchdog=2

# a whole job that is suspended and continued is left alone
rm -rf again
NPR_FAULT=solve.tile@0=freeze ranks 3 npr-solve --head=head --pool=pool --test=test --alpha=0.5 --out=again --watchdog=2 &
job=$!
mine() { pgrep -f "^$BIN/npr-solve .*--out=again"; }
until mapfile -t all < <(mine) && [ "${#all[@]}" = 3 ] && ps -o stat= -p "$(mine | paste -sd,)" | grep -q T; do sleep 0.1; done
kill -STOP "${all[@]}"
sleep 4
kill -CONT "${all[@]}"
wait "$job" || fail "a job that was suspended and continued: $(cat "$TMP/err")"
same primed again "suspended and continued"
done_with watchdog
