#!/bin/bash
# Kill any stage at any point, run the same command again on another number of ranks: the result has the same bytes as
# an undisturbed run. Points are named in the code (NPR_FAULT); after them come SIGKILLs at random moments, and SIGUSR1.
# shellcheck source=tests/lib.sh
source "$(dirname "$0")/../lib.sh"
cd "$TMP"

must 2 npr-minilaion --embeddings --out=world --rows=12000 --dim=64 --classes=20 --rows-per-file=5000
ingest() { # RUNNER RANKS OUT
    "$1" "$2" npr-ingest --emb=world/img_emb --meta=world/metadata --out="$3" --part-rows=2048
}
search() {
    "$1" "$2" npr-search --index=index --head=head --names=world/text/classes.txt --mode=caption --clip-filter --k=40 \
        --part-rows=256 --out="$3"
}
extract() {
    "$1" "$2" npr-extract --images=painted/phrases/test --kind=test --model="$NPR_SOURCE/tests/data/tiny_clip.safetensors" \
        --config="$NPR_SOURCE/tests/data/tiny_clip_gelu.json" --part-rows=4 --out="$3"
}
index() { "$1" "$2" npr-index --set="$3" --factory=IVF8,SQ8 --sample=2000; }
solve() {
    "$1" "$2" npr-solve --head=head --pool=pool --test=test --alpha=0.5 --out="$3"
}

must 2 npr-minilaion --out=painted --rows=100 --classes=6 --tests=12 --val=2 --shots=2

# the undisturbed runs
ingest must 3 index
must 1 npr-ingest --emb=world/text/head.npy --meta=world/text/head.tsv --kind=head --out=head
must 1 npr-ingest --emb=world/test/test.npy --labels=world/test/test_labels.txt --kind=test --out=test
search must 3 pool
solve must 2 primed
extract must 3 features
cp -r index indexed
index must 2 indexed

# try STAGE REFERENCE FAULT RANKS-BEFORE RANKS-AFTER: kill, look at what is left, run again, compare
try() {
    local stage=$1 reference=$2 fault=$3 before=$4 after=$5 code=0
    ! spare_kill "$fault" || return 0
    rm -rf again
    [ "$stage" != index ] || cp -r index again
    NPR_FAULT=$fault "$stage" ranks "$before" again || code=$?
    [ "$code" != 0 ] || fail "$stage: NPR_FAULT=$fault did not end the job"
    [ "$stage" = index ] || [ ! -e again/manifest.json ] || fail "$stage: $fault: the set is called complete"
    "$stage" must "$after" again
    same "$reference" again "$stage, $fault, $before then $after ranks"
}

try ingest index part.write@0:2=kill 3 2
try ingest index part.rename@1=kill 2 5
try ingest index journal.append@2:1=kill 3 1
try ingest index ingest.batch@0:3=kill 1 3
try ingest index manifest.write@0=kill 2 3
try ingest index part.verify@1=fail 2 3
try search pool search.part@1:2=kill 3 2
try search pool search.journal@0:3=kill 2 7
try search pool pool.batch@0=kill 3 1
try search pool part.close@0=kill 2 3
try search pool part.close@0=fail 1 2
try index indexed part.write@1:1=kill 2 3
try index indexed journal.append@0:2=kill 3 1
try extract features extract.batch@1=kill 3 2
try solve primed solve.tile@0=kill 2 1
try solve primed manifest.write@0=kill 1 2

rounds=(1 2 3 4 5 6)
((SANITIZED)) && rounds=(1)

# asked to stop: exit code 75, said once, and nothing lost
stop() {
    local stage=$1 reference=$2 fault=$3 before=$4 after=$5 code=0
    rm -rf again
    NPR_FAULT=$fault "$stage" ranks "$before" again || code=$?
    [ "$code" = 75 ] || fail "$stage: $fault: exit code $code, wanted 75: $(head -3 "$TMP/err")"
    grep -q "run the same command again" "$TMP/err" || fail "$stage: $fault: does not say what to do: $(head -3 "$TMP/err")"
    "$stage" must "$after" again
    same "$reference" again "$stage stopped at $fault, $before then $after ranks"
}
stop ingest index ingest.batch@0:2=stop 2 3
stop search pool search.part@1=stop 3 2

# Only ranks of this test are meant: their command line begins with the program, mpirun's does not.
signal_rank() { # SIGNAL PROGRAM: to the newest rank, 0.2 to 0.7 s from now
    sleep "0.$((RANDOM % 6 + 2))"
    pkill "-$1" -n -f "^$BIN/$2 .*--out=$TMP/again" || true
}

# A random stage on 2 to 4 ranks; at a random moment SIGKILL of a rank or of mpirun, or SIGUSR1; then the same command on another
# number of ranks. A run that is over before that is fine. NPR_KILLS=100 (tests/nightly.sh) for more.
RANDOM=${NPR_SEED:-20261124}
stages=(ingest search index solve extract)
references=(index pool indexed primed features)
victims=("-9 ^$BIN/npr-" "-9 ^$BIN/npr-" "-9 ^mpirun " "-USR1 ^mpirun ")
hit=0
kills=${NPR_KILLS:-10}
((SANITIZED)) && kills=2
for ((round = 1; round <= kills; round++)); do
    i=$((RANDOM % 5)) before=$((RANDOM % 3 + 2)) after=$((RANDOM % 4 + 1))
    read -r signal who <<<"${victims[RANDOM % 4]}"
    rm -rf again
    [ "${stages[i]}" != index ] || cp -r index again
    "${stages[i]}" ranks "$before" "$TMP/again" &
    job=$!
    sleep "0.$((RANDOM % 5 + 2))"
    mapfile -t pids < <(pgrep -f "$who.*=$TMP/again")
    if ((${#pids[@]})) && kill "$signal" "${pids[RANDOM % ${#pids[@]}]}" 2>/dev/null; then hit=$((hit + 1)); fi
    wait "$job" || true
    for _ in {1..100}; do # orphans of a dead mpirun leave by themselves
        pgrep -f "^$BIN/npr-.*=$TMP/again" >/dev/null || break
        sleep 0.1
    done
    "${stages[i]}" must "$after" "$TMP/again"
    same "${references[i]}" again "round $round: ${stages[i]}, $signal of $who, $before then $after ranks"
done
echo "$hit of $((round - 1)) signals hit a running job" >&2

# SIGUSR1 at a random moment: exit code 75 from where a rank listens (before MPI is up the signal just ends it)
for round in "${rounds[@]}"; do
    rm -rf again
    code=0
    signal_rank USR1 npr-ingest &
    ingest ranks 3 "$TMP/again" || code=$?
    wait
    [[ $code == 0 || $code == 75 || $code == $((128 + $(kill -l USR1))) ]] || fail "SIGUSR1 gave $code: $(head -3 err)"
    [ "$code" != 75 ] || grep -q "run the same command again" err || fail "SIGUSR1, code 75: $(head -3 err)"
    [ "$code" = 0 ] || [ ! -e again/manifest.json ] || fail "SIGUSR1, code $code: the set is called complete"
    ingest must "$((round % 3 + 1))" "$TMP/again"
    same index again "ingest asked to stop at a random moment, round $round"
done

# the death of one rank ends the job within seconds, in words that name rank and host
start=$SECONDS
NPR_FAULT=search.part@1=kill search ranks 3 again-dead && fail "a killed rank went unnoticed"
[ $((SECONDS - start)) -lt 20 ] || fail "the job took $((SECONDS - start)) s to end after a rank's death"
grep -q "rank 1 .* on node $(hostname -s)" "$TMP/err" || fail "no line names rank and host: $(cat "$TMP/err")"

done_with kill
