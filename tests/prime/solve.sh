#!/bin/bash
# npr-solve end to end: the same bytes however it is run, killed or stopped; and what it refuses.
source "$(dirname "$0")/../lib.sh"

# A small world in .npy files: 30 classes of which 4 and 29 have no pool rows, 5000 pool rows in five parts.
/usr/bin/python3 - "$TMP" <<'PY'
import sys
import numpy as np
rng, classes, dim = np.random.default_rng(1), 30, 96
unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)
concept = unit(rng.normal(size=(classes, dim)))
def write(name, of, noise):
    rows = unit(0.5 * concept[of] + 0.4 + noise * rng.normal(size=(len(of), dim)))
    np.save(f"{sys.argv[1]}/{name}.npy", rows.astype(np.float16))
    np.savetxt(f"{sys.argv[1]}/{name}.labels", of, fmt="%d")
pool = rng.integers(0, classes, 5000)
pool[(pool == 4) | (pool == 29)] = 5
write("pool", pool, 0.2)
write("test", rng.integers(0, classes, 900), 0.2)
write("shots", np.delete(np.arange(classes), 29), 0.1)
text = unit(concept + 0.5 + 0.05 * rng.normal(size=(classes, dim)))
np.save(f"{sys.argv[1]}/head.npy", text.astype(np.float32))
np.save(f"{sys.argv[1]}/narrow.npy", unit(rng.normal(size=(classes, 64))).astype(np.float32))
names = "".join(f"class {c}\n" for c in range(classes))
open(f"{sys.argv[1]}/names.tsv", "w").write("caption\n" + names)
np.savetxt(f"{sys.argv[1]}/bad.labels", np.full(900, 30), fmt="%d")
np.savetxt(f"{sys.argv[1]}/none.labels", np.where(np.arange(900) == 500, -1, 0), fmt="%d")
PY
for name in pool test shots; do
    must 2 npr-ingest --kind=features --emb="$TMP/$name.npy" --labels="$TMP/$name.labels" --out="$TMP/$name" \
        --part-rows=1024 --model=ViT-B-32
done
for name in head narrow; do
    must 1 npr-ingest --kind=head --emb="$TMP/$name.npy" --meta="$TMP/names.tsv" --out="$TMP/$name" \
        --model=ViT-B-32
done
must 1 npr-ingest --kind=test --emb="$TMP/test.npy" --out="$TMP/unlabelled" --model=ViT-B-32
must 1 npr-ingest --kind=test --emb="$TMP/test.npy" --labels="$TMP/test.labels" --out="$TMP/other-model" \
    --model=ViT-L-14
for name in bad none; do
    must 1 npr-ingest --kind=test --emb="$TMP/test.npy" --labels="$TMP/$name.labels" --out="$TMP/$name" \
        --model=ViT-B-32
done
sets=(--head="$TMP/head" --pool="$TMP/pool")

# ---- the same bytes for any ranks, threads and tiles, alpha chosen by leave-one-out over the pool
options=("${sets[@]}" --shots="$TMP/shots" --test="$TMP/test" --alpha=loo --sweep --grid-step=0.1)
must 1 npr-solve "${options[@]}" --out="$TMP/first" --predictions="$TMP/first.tsv"
facts "$TMP/out" >"$TMP/first.facts"
for how in "1 2 100" "2 1 1" "3 2 1000" "5 1 7" "7 2 16384"; do
    spare && continue
    read -r ranks threads tile <<<"$how"
    must "$ranks" npr-solve "${options[@]}" --out="$TMP/again" --predictions="$TMP/again.tsv" \
        --threads="$threads" --tile-rows="$tile"
    facts "$TMP/out" >"$TMP/again.facts"
    same "$TMP/first" "$TMP/again" "head of $ranks ranks, $threads threads, tiles of $tile"
    same "$TMP/first.tsv" "$TMP/again.tsv" "predictions of $ranks ranks, $threads threads, tiles of $tile"
    same "$TMP/first.facts" "$TMP/again.facts" "record of $ranks ranks, $threads threads, tiles of $tile"
    rm -r "$TMP/again"
done

# ---- what the record and the tables say
says() { grep -qxF -- "$1" "$TMP/first.facts" || fail "no line $1 in the record"; }
says "result.classes=30"
says "result.classes_empty=1"
says "result.classes_empty_names=class 29"
says "result.pool_rows=5000"
says "result.shot_rows=29"
says "result.test_rows=900"
says "result.alpha_from=leave-one-out"
[ "$(grep -cE '^result\.sweep\.(0\.[0-9]|1\.0)0\.top1=' "$TMP/first.facts")" = 11 ] || fail "sweep lines"
[ "$(head -1 "$TMP/first.tsv")" = $'id\tlabel\tzero_shot\tprimed' ] || fail "header of the predictions"
[ "$(wc -l <"$TMP/first.tsv")" = 901 ] || fail "lines of the predictions"
grep -qx $'4\tclass 4\t0\t1\t0' "$TMP/first/classes.tsv" || fail "classes.tsv: a class with shots only"
grep -qx $'29\tclass 29\t0\t0\t1' "$TMP/first/classes.tsv" || fail "classes.tsv: a class with nothing"
if command -v xxh128sum >/dev/null; then
    digest=$(xxh128sum "$TMP/first.tsv" | cut -d' ' -f1)
    says "check.predictions=$digest"
fi

# ---- complete: the same record again; another alpha is another head
must 2 npr-solve "${options[@]}" --out="$TMP/first" --predictions="$TMP/again.tsv"
same "$TMP/first.facts" <(facts "$TMP/out") "record of a complete head"
grep -q "is complete" "$TMP/err" || fail "a complete head is not called so"
expect 73 "$TMP/first" 2 npr-solve "${sets[@]}" --alpha=0.3 --out="$TMP/first"
must 1 npr-solve "${sets[@]}" --test="$TMP/test" --alpha=rule --sigma=500 --out="$TMP/rule"
grep -qx "result.alpha=0.894839" "$TMP/out" || fail "alpha by rule: $(grep alpha "$TMP/out")"
must 1 npr-solve "${sets[@]}" --out="$TMP/nothing" --dry-run
grep -q "^plan.memory_per_rank=" "$TMP/out" || fail "no plan"
[ ! -e "$TMP/nothing" ] || fail "--dry-run wrote something"

# ---- stopped, failed, killed: the next run gives the same bytes
fault() { # fault CODE WORDS FAULT
    local code=$1 words=$2
    NPR_FAULT=$3 expect "$code" "$words" 3 npr-solve "${options[@]}" --out="$TMP/again" --tile-rows=500
    must 2 npr-solve "${options[@]}" --out="$TMP/again"
    facts "$TMP/out" | sed '/^check.predictions/d' >"$TMP/again.facts"
    same "$TMP/again.facts" <(sed '/^check.predictions/d' "$TMP/first.facts") "record after $3"
    same "$TMP/first" "$TMP/again" "head after $3"
    rm -r "$TMP/again"
}
fault 74 "class sums failed on 1 of 3 ranks; rank 1" solve.tile@1
fault 74 "evaluation failed on 1 of 3 ranks; rank 2" solve.tile@2:13
fault 75 "run the same command again" solve.tile@1:2=stop
NPR_FAULT=solve.tile@1:2=kill ranks 3 npr-solve "${options[@]}" --out="$TMP/again" &&
    fail "a killed rank is a success"
must 2 npr-solve "${options[@]}" --out="$TMP/again"
same "$TMP/first" "$TMP/again" "head after a kill"
rm -r "$TMP/again"

# ---- refused in one sentence: some by two ranks, the rest by one without mpirun, which ends failed jobs late
refused() { # refused CODE WORDS OPTIONS...
    local want=$1 words=$2 got=0
    shift 2
    timeout 60 "$BIN/npr-solve" "$@" --out="$TMP/refused" >"$TMP/out" 2>"$TMP/err" || got=$?
    [ "$got" = "$want" ] || fail "exit code $got, wanted $want: $*"
    once "$words" || fail "wanted \"$words\" once: $*: $(head -5 "$TMP/err")"
    [ ! -e "$TMP/refused/manifest.json" ] || fail "a refused head was written: $*"
    rm -rf "$TMP/refused"
}
expect 65 "has label 30; the head has the classes 0 to 29" \
    2 npr-solve "${sets[@]}" --test="$TMP/bad" --out="$TMP/refused"
expect 65 "is a second row of class" 2 npr-solve --head="$TMP/test" --pool="$TMP/pool" --out="$TMP/refused"
touch "$TMP/bad_place"
expect 73 "bad_place: is a file, wanted a folder" \
    2 npr-solve "${sets[@]}" --test="$TMP/test" --predictions="$TMP/bad_place/p" --out="$TMP/refused"
[ ! -e "$TMP/refused/manifest.json" ] || fail "a refused head was written"
rm -rf "$TMP/refused"
refused 64 "wanted a number from 0 to 1" "${sets[@]}" --alpha=1.5
refused 64 "picks nothing" "${sets[@]}" --alpha=sweep
refused 64 "--sweep needs" "${sets[@]}" --sweep
refused 64 "--predictions needs" "${sets[@]}" --predictions="$TMP/p"
refused 64 "grid step" "${sets[@]}" --grid-step=0.3
refused 78 "embeddings of 64 dimensions" --head="$TMP/narrow" --pool="$TMP/pool"
refused 78 "ViT-L-14" "${sets[@]}" --test="$TMP/other-model"
refused 65 "has no column label, which evaluation needs" "${sets[@]}" --test="$TMP/unlabelled"
refused 65 "has label -1; the head has the classes 0 to 29" "${sets[@]}" --test="$TMP/none"
refused 65 "has label 30" --head="$TMP/head" --pool="$TMP/bad"
refused 65 "a head needs the column label" --head="$TMP/unlabelled" --pool="$TMP/pool"
refused 66 "$TMP/missing" --head="$TMP/missing" --pool="$TMP/pool"

# ---- a test set of class folders: their names, if they are the head's, must stand where the head has them
cp -r "$TMP/test" "$TMP/folders"
seq -f 'Class_%g' 0 29 >"$TMP/folders/classes.txt"
must 2 npr-solve "${sets[@]}" --test="$TMP/folders" --alpha=0.5 --out="$TMP/o-folders"
! grep -q "nothing tells" "$TMP/err" || fail "the same names, but for case and underscores: $(cat "$TMP/err")"
sed -i 5d "$TMP/folders/classes.txt"
refused 65 'label 4 is of "Class_5", which is class 5 of' "${sets[@]}" --test="$TMP/folders"
refused 65 'label 4 is of "Class_5", which is class 5 of' "${sets[@]}" --shots="$TMP/folders" --test="$TMP/test"
seq -f 'n%08g' 1 31 >"$TMP/folders/classes.txt"
must 1 npr-solve "${sets[@]}" --test="$TMP/folders" --alpha=0.5 --out="$TMP/o-wnids"
grep -qF 'has 31 classes, the head 30, and "n00000001" is not one of them' "$TMP/err" || fail "31 other names: $(cat "$TMP/err")"
done_with solve
